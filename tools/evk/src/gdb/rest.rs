//! A processor that spins for ever, put to rest, so that time passes quickly.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::rsp::Client;

const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// `wfi`, and a branch back to it. Source: Arm Architecture Reference Manual, C6.2.
const WAIT_FOR_INTERRUPTS: [u32; 2] = [0xd503_207f, 0x17ff_ffff];

/// Lets the processor behind the GDB port at `socket` wait for interrupts, in place of whatever it spins
/// in. It takes them as before: a kernel that has panicked still has its clock.
pub(crate) fn let_rest(socket: &Path) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        // Whoever connects stops the machine.
        let mut machine = Client::connect(socket, PATIENCE)?;
        let registers = machine.registers()?;
        // While they are masked it is busy with one.
        let spins = !registers.masks_interrupts();
        if spins {
            machine.set_instructions(registers.pc(), &WAIT_FOR_INTERRUPTS)?;
        }
        machine.detach()?;
        match spins {
            true => return Ok(()),
            false if Instant::now() > until => bail!("the processor never takes interrupts"),
            false => thread::sleep(BETWEEN_LOOKS),
        }
    }
}
