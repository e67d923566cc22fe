//! DRAM: a few attempts, and a look at what came out.

use core::{fmt, time::Duration};

use crate::{
    ddr::{
        self, Dram,
        check::{self, Cells},
        firmware::Firmware,
        saved::{self, Saved},
        timing::Timing,
    },
    error::{Code, Coded},
    handoff::{HandOff, Training},
    memory::Size,
    mmio::Bus,
    time::Clock,
};

/// How often memory is brought up before it counts as dead. Training is analogue: what fails once
/// at the edge of a temperature may pass the next time.
pub const ATTEMPTS: u8 = 3;

/// Memory that can be used.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// How much there is, and where.
    pub dram: Dram,
    /// What the second stage is told.
    pub training: Training,
    /// What the attempt took that succeeded.
    pub time: Duration,
}

impl Ready {
    /// Tells the second stage, to whom memory could be used from `now` on.
    pub fn tell(&self, record: &mut HandOff, now: Duration) {
        for (place, bank) in record.banks.iter_mut().zip(self.dram.banks()) {
            *place = Some(bank);
        }
        record.training = Some(self.training);
        record.times.dram = now;
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dram, training: Training { rate, attempts, firmware }, time } = self;
        let bytes: u64 = dram.banks().map(|bank| bank.size()).sum();
        write!(
            f,
            "DRAM: {} at {rate} MT/s, trained in {} ms by firmware {firmware:#06x}",
            Size(bytes),
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        )?;
        if *attempts > 1 { write!(f, ", attempt {attempts}") } else { Ok(()) }
    }
}

/// Why there is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It could not be brought up.
    BringUp(ddr::Error),
    /// It does not hold what is written.
    Fault(check::Fault),
    /// There is no room for what BL31 wants to know of it.
    NoRoom,
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::BringUp(error) => error.code(),
            Self::Fault(fault) => fault.code(),
            Self::NoRoom => Code::DramController,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BringUp(error) => error.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
            Self::NoRoom => f.write_str("DRAM: no room for the saved timing"),
        }
    }
}

impl core::error::Error for Error {}

/// Brings memory up and tries it, [`ATTEMPTS`] times at most. `room` is where BL31 looks for what
/// training found. `failed` is told of each attempt that does not count.
///
/// # Errors
/// Why the last attempt failed.
pub fn bring_up<B: Bus, C: Clock>(
    (bus, clock, cells): (&B, &C, &impl Cells),
    timing: &Timing,
    firmware: Firmware<'_>,
    room: &mut [u32],
    mut failed: impl FnMut(&Error),
) -> Result<Ready, Error> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let start = clock.now();
        match attempt((bus, clock, cells), timing, firmware, room) {
            Ok((dram, revision)) => {
                let rate = timing.rates.first().copied().unwrap_or(0);
                let training = Training { rate, attempts, firmware: revision };
                return Ok(Ready { dram, training, time: clock.now().saturating_sub(start) });
            }
            Err(error) if attempts >= ATTEMPTS => return Err(error),
            Err(error) => failed(&error),
        }
    }
}

/// The memory, and the firmware's revision.
fn attempt<B: Bus, C: Clock>(
    (bus, clock, cells): (&B, &C, &impl Cells),
    timing: &Timing,
    firmware: Firmware<'_>,
    room: &mut [u32],
) -> Result<(Dram, u16), Error> {
    let saved = Saved::new(saved::ADDRESS, room, timing).map_err(|_| Error::NoRoom)?;
    let online = ddr::bring_up(bus, clock, timing, firmware, saved)
        .map_err(|error| Error::BringUp(ddr::examine(error, bus, clock)))?;
    online.check(cells).map_err(Error::Fault)?;
    let revision = online.findings().runs().last().map_or(0, |run| run.evidence.revision);
    Ok((online.dram(), revision))
}
