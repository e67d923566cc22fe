//! A client of the GDB remote serial protocol, as far as the bus needs it.
//!
//! Source: "Debugging with GDB", appendix E "GDB Remote Serial Protocol".

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::Machine;

/// How long QEMU may take to answer anything but a resume.
const ANSWER: Duration = Duration::from_secs(30);

/// The longest packet that is believed; QEMU's own limit is 4096 bytes of payload.
const LONGEST: usize = 1 << 16;
/// Bytes of memory in one packet, two digits each, and how many packets are under way at once.
const CHUNK: usize = 2000;
const UNDER_WAY: usize = 8;

/// Digits of a register in a packet, and how many registers the bus needs: x0 to x30, sp, pc.
const DIGITS: usize = 16;
const STACK_POINTER: u8 = 31;
const PROGRAM_COUNTER: u8 = 32;

/// The general-purpose registers of the stopped machine, and what is to become of them.
///
/// Kept as they came, because an access needs three of the thirty-three.
#[derive(Clone, Debug)]
pub(super) struct Registers {
    digits: Vec<u8>,
    changed: Vec<(u8, u64)>,
}

impl Default for Registers {
    fn default() -> Self {
        Self {
            digits: vec![b'0'; DIGITS * (usize::from(PROGRAM_COUNTER) + 1)],
            changed: Vec::new(),
        }
    }
}

impl Registers {
    fn parse(digits: Vec<u8>) -> Result<Self> {
        let least = DIGITS * (usize::from(PROGRAM_COUNTER) + 1);
        ensure!(digits.len() >= least, "the register packet is too short");
        Ok(Self { digits, changed: Vec::new() })
    }

    /// A register by its number in an instruction: 31 is the zero register.
    pub(super) fn general(&self, number: u8) -> u64 {
        if number < STACK_POINTER { self.numbered(number) } else { 0 }
    }

    pub(super) fn set_general(&mut self, number: u8, value: u64) {
        if number < STACK_POINTER {
            self.change(number, value);
        }
    }

    /// The exception level in the CPSR, which follows the program counter.
    pub(super) fn exception_level(&self) -> u8 {
        let state = DIGITS * (usize::from(PROGRAM_COUNTER) + 1);
        // The second digit of the lowest byte has bits 3:0.
        self.digits.get(state + 1).map_or(3, |digit| digit_value(*digit) >> 2)
    }

    /// Whether interrupts are masked: bit 7 of the CPSR.
    pub(super) fn masks_interrupts(&self) -> bool {
        let state = DIGITS * (usize::from(PROGRAM_COUNTER) + 1);
        self.digits.get(state).is_none_or(|digit| digit_value(*digit) & 8 != 0)
    }

    pub(super) fn sp(&self) -> u64 {
        self.numbered(STACK_POINTER)
    }

    pub(super) fn set_sp(&mut self, value: u64) {
        self.change(STACK_POINTER, value);
    }

    pub(super) fn pc(&self) -> u64 {
        self.numbered(PROGRAM_COUNTER)
    }

    fn numbered(&self, number: u8) -> u64 {
        let changed = self.changed.iter().rev().find(|(changed, _)| *changed == number);
        changed.map_or_else(|| self.received(number), |(_, value)| *value)
    }

    fn received(&self, number: u8) -> u64 {
        let start = DIGITS * usize::from(number);
        value_of(self.digits.get(start..start + DIGITS).unwrap_or_default())
    }

    fn change(&mut self, number: u8, value: u64) {
        self.changed.retain(|(changed, _)| *changed != number);
        self.changed.push((number, value));
    }
}

/// A register's value, of which the lowest byte comes first.
fn value_of(digits: &[u8]) -> u64 {
    let value = digits.iter().fold(0, |value, digit| value << 4 | u64::from(digit_value(*digit)));
    value.swap_bytes()
}

/// The number of a register in a description as GDB takes it.
fn number_of(description: &str, name: &str) -> Option<u32> {
    let (_, register) = description.split_once(&format!("<reg name=\"{name}\" "))?;
    let (_, number) = register.split_once('>')?.0.split_once("regnum=\"")?;
    number.split('"').next()?.parse().ok()
}

/// What a hexadecimal digit stands for; anything else counts as 0.
fn digit_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

/// Why the machine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is about to access this watched address.
    Watchpoint(u64),
    /// It is about to execute a breakpoint's address.
    Breakpoint,
    /// It runs no more.
    Gone,
}

/// A connection to QEMU's GDB port.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    /// Whether a wait has an end.
    hurried: bool,
    /// Bytes received, from `taken` on not looked at.
    received: Vec<u8>,
    taken: usize,
    /// Memory is asked for by physical addresses.
    physical: bool,
    /// How long the machine has run.
    ran: Duration,
    /// What QEMU says of its system registers, once it was asked.
    description: String,
}

impl Client {
    /// Connects as soon as the socket is there.
    pub(super) fn connect(socket: &Path, patience: Duration) -> Result<Self> {
        let until = Instant::now() + patience;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("no GDB port at {}", socket.display()));
                }
            }
        };
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Self {
            stream,
            hurried: false,
            received: Vec::new(),
            taken: 0,
            physical: false,
            ran: Duration::ZERO,
            description: String::new(),
        })
    }

    /// Lets waits end after [`ANSWER`], or never. Each change costs a system call.
    fn hurry(&mut self, hurried: bool) -> Result<()> {
        if self.hurried != hurried {
            self.stream.set_read_timeout(hurried.then_some(ANSWER))?;
            self.hurried = hurried;
        }
        Ok(())
    }

    pub(super) fn watch(&mut self, start: u64, length: u64) -> Result<()> {
        self.command(&format!("Z4,{start:x},{length:x}"))
    }

    pub(super) fn unwatch(&mut self, start: u64, length: u64) -> Result<()> {
        self.command(&format!("z4,{start:x},{length:x}"))
    }

    pub(super) fn set_breakpoint(&mut self, address: u64) -> Result<()> {
        self.command(&format!("Z1,{address:x},4"))
    }

    pub(super) fn clear_breakpoint(&mut self, address: u64) -> Result<()> {
        self.command(&format!("z1,{address:x},4"))
    }

    pub(super) fn detach(&mut self) -> Result<()> {
        self.command("D")
    }

    /// Ends QEMU.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        drop(self.send("k"));
    }

    pub(super) fn registers(&mut self) -> Result<Registers> {
        self.send("g")?;
        Registers::parse(self.answer("g")?)
    }

    /// A system register by the name that QEMU describes it with.
    pub(super) fn system_register(&mut self, name: &str) -> Result<u64> {
        if self.description.is_empty() {
            self.description = self.describe_system_registers()?;
        }
        let number = number_of(&self.description, name)
            .with_context(|| format!("QEMU does not describe the register {name}"))?;
        let digits = self.ask(&format!("p{number:x}"))?;
        let whole = digits.len() == DIGITS;
        ensure!(whole, "the GDB port answers {:?} for {name}", String::from_utf8_lossy(&digits));
        Ok(value_of(&digits))
    }

    fn describe_system_registers(&mut self) -> Result<String> {
        let mut text = Vec::new();
        loop {
            let from = text.len();
            let request = format!("qXfer:features:read:system-registers.xml:{from:x},{CHUNK:x}");
            let answer = self.ask(&request)?;
            let (more, part) = answer.split_first().context("an empty description")?;
            text.extend_from_slice(part);
            match more {
                b'm' if !part.is_empty() => {}
                b'l' => return Ok(String::from_utf8(text)?),
                _ => bail!("QEMU does not describe its system registers"),
            }
        }
    }

    /// The instruction at the virtual address `address`.
    pub(super) fn instruction(&mut self, address: u64) -> Result<u32> {
        self.set_physical(false)?;
        let mut bytes = [0; 4];
        self.read_memory(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Puts instructions at the virtual address `address`, whether or not the machine itself may.
    pub(super) fn set_instructions(&mut self, address: u64, words: &[u32]) -> Result<()> {
        self.set_physical(false)?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.write_memory(address, &bytes)
    }

    /// Chooses which addresses the machine takes for memory. Source: QEMU "GDB usage", "Changing the
    /// memory access mode".
    fn set_physical(&mut self, physical: bool) -> Result<()> {
        if self.physical != physical {
            self.command(&format!("Qqemu.PhyMemMode:{}", u8::from(physical)))?;
            self.physical = physical;
        }
        Ok(())
    }

    fn read_memory(&mut self, address: u64, buffer: &mut [u8]) -> Result<()> {
        let mut at = address;
        for part in buffer.chunks_mut(CHUNK) {
            let length = part.len();
            let answer = self.ask(&format!("m{at:x},{length:x}"))?;
            let (pairs, rest) = answer.as_chunks::<2>();
            let whole = pairs.len() == length && rest.is_empty();
            ensure!(whole, "no memory at {at:#x}");
            for (byte, [high, low]) in part.iter_mut().zip(pairs) {
                *byte = digit_value(*high) << 4 | digit_value(*low);
            }
            at = at.wrapping_add(length as u64);
        }
        Ok(())
    }

    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        let mut at = address;
        for group in bytes.chunks(CHUNK * UNDER_WAY) {
            let mut packets = Vec::with_capacity(2 * group.len() + 32 * UNDER_WAY);
            let parts = group.chunks(CHUNK);
            let count = parts.len();
            for part in parts {
                let mut packet = format!("M{at:x},{:x}:", part.len()).into_bytes();
                push_digits(&mut packet, part);
                push_packet(&mut packets, &packet);
                at = at.wrapping_add(part.len() as u64);
            }
            self.send_packets(&packets)?;
            for _ in 0..count {
                self.acknowledge(&format!("a store of memory before {at:#x}"))?;
            }
        }
        Ok(())
    }

    /// Changes what was changed of `registers`, and lets the machine run from `pc` on until it stops,
    /// which may be never.
    pub(super) fn resume_at(&mut self, pc: u64, registers: &Registers) -> Result<Stop> {
        let mut packets = Vec::new();
        for (number, value) in &registers.changed {
            let value = value.swap_bytes();
            push_packet(&mut packets, format!("P{number:x}={value:016x}").as_bytes());
        }
        push_packet(&mut packets, format!("c{pc:x}").as_bytes());
        // Before the machine is told to run: whoever tells it may lose the processor right after that.
        let from = Instant::now();
        self.send_packets(&packets)?;
        for _ in &registers.changed {
            self.acknowledge("a change of a register")?;
        }
        self.hurry(false)?;
        let Some(packet) = self.receive()? else { return Ok(Stop::Gone) };
        self.ran += from.elapsed();
        stop(&String::from_utf8_lossy(&packet))
    }

    fn command(&mut self, packet: &str) -> Result<()> {
        self.send(packet)?;
        self.acknowledge(packet)
    }

    /// Takes the OK to `what`.
    fn acknowledge(&mut self, what: &str) -> Result<()> {
        let answer = self.answer(what)?;
        let told = String::from_utf8_lossy(&answer);
        ensure!(answer == b"OK", "the GDB port answers {told:?} to {what:.20}");
        Ok(())
    }

    fn ask(&mut self, packet: &str) -> Result<Vec<u8>> {
        self.send(packet)?;
        self.answer(packet)
    }

    fn answer(&mut self, what: &str) -> Result<Vec<u8>> {
        self.hurry(true)?;
        self.receive()?.with_context(|| format!("the GDB port closed at {what:.20}"))
    }

    fn send(&mut self, packet: &str) -> Result<()> {
        let mut packets = Vec::with_capacity(packet.len() + 4);
        push_packet(&mut packets, packet.as_bytes());
        self.send_packets(&packets)
    }

    fn send_packets(&mut self, packets: &[u8]) -> Result<()> {
        self.stream.write_all(packets).context("the GDB port is closed")
    }

    /// The next packet; `None` when the connection has ended. Nothing is acknowledged: QEMU takes the
    /// next packet for that, and nothing is lost on a local socket.
    fn receive(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some((packet, end)) =
                first_packet(self.received.get(self.taken..).unwrap_or_default())
            {
                let packet = packet.to_vec();
                self.taken += end;
                return Ok(Some(packet));
            }
            self.received.drain(..self.taken);
            self.taken = 0;
            ensure!(self.received.len() < LONGEST, "a packet without end");
            let mut news = [0; 4096];
            let count = match self.stream.read(&mut news) {
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
                Err(error) => return Err(error).context("the GDB port does not answer"),
            };
            if count == 0 {
                return Ok(None);
            }
            self.received.extend_from_slice(&news[..count]);
        }
    }
}

/// The first whole packet in `bytes`, and where it ends. What stands in front of it are
/// acknowledgements.
fn first_packet(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let start = bytes.iter().position(|byte| *byte == b'$')? + 1;
    let length = bytes[start..].iter().position(|byte| *byte == b'#')?;
    let (end, sum) = (start + length, 2);
    (bytes.len() > end + sum).then(|| (&bytes[start..end], end + 1 + sum))
}

impl Machine for Client {
    fn now(&self) -> Duration {
        self.ran
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.set_physical(true)?;
        self.read_memory(address, bytes)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        self.set_physical(true)?;
        self.write_memory(address, bytes)
    }
}

fn stop(packet: &str) -> Result<Stop> {
    match packet.as_bytes().first() {
        Some(b'W' | b'X') => return Ok(Stop::Gone),
        Some(b'T') => {}
        _ => bail!("the machine stopped with {packet:?}"),
    }
    let watched = packet
        .split([';', ':'])
        .skip_while(|word| !word.ends_with("watch"))
        .nth(1)
        .map(|address| u64::from_str_radix(address, 16));
    match watched {
        Some(address) => Ok(Stop::Watchpoint(address.context("a watchpoint without address")?)),
        None if packet.starts_with("T05") => Ok(Stop::Breakpoint),
        None => bail!("the machine stopped with {packet:?}"),
    }
}

fn push_packet(packets: &mut Vec<u8>, packet: &[u8]) {
    let sum = packet.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    packets.push(b'$');
    packets.extend_from_slice(packet);
    packets.push(b'#');
    push_digits(packets, &[sum]);
}

fn push_digits(digits: &mut Vec<u8>, bytes: &[u8]) {
    const DIGIT: [u8; 16] = *b"0123456789abcdef";
    let both = |byte: &u8| [DIGIT[usize::from(byte >> 4)], DIGIT[usize::from(byte & 0xf)]];
    digits.extend(bytes.iter().flat_map(both));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchpoint_stop_tells_its_address() {
        let packet = "T05thread:p01.01;awatch:303a0190;";
        assert_eq!(stop(packet).unwrap(), Stop::Watchpoint(0x303a_0190));
    }

    #[test]
    fn other_stops_are_told_apart() {
        assert_eq!(stop("T05thread:p01.01;").unwrap(), Stop::Breakpoint);
        assert_eq!(stop("W00").unwrap(), Stop::Gone);
        assert!(stop("T02thread:p01.01;").is_err());
        assert!(stop("E01").is_err());
    }

    #[test]
    fn registers_come_with_their_lowest_byte_first() {
        let mut digits = vec![b'0'; 536];
        digits[DIGITS * 3..DIGITS * 4].copy_from_slice(b"efcdab8967452301");
        digits[DIGITS * 32..DIGITS * 33].copy_from_slice(b"0000920000000000");
        digits[DIGITS * 33..DIGITS * 33 + 8].copy_from_slice(b"c9030000");
        let registers = Registers::parse(digits).unwrap();
        assert_eq!(registers.exception_level(), 2);
        assert_eq!(registers.general(3), 0x0123_4567_89ab_cdef);
        assert_eq!((registers.general(31), registers.pc()), (0, 0x92_0000));
        assert!(Registers::parse(vec![b'0'; 500]).is_err());
    }

    #[test]
    fn a_changed_register_reads_as_changed_and_the_zero_register_cannot_change() {
        let mut registers = Registers::default();
        for (number, value) in [(3, 1), (3, 2), (31, 7)] {
            registers.set_general(number, value);
        }
        assert_eq!((registers.general(3), registers.general(31), registers.sp()), (2, 0, 0));
        assert_eq!(registers.changed, [(3, 2)]);
    }

    #[test]
    fn a_system_register_is_found_by_its_whole_name() {
        let text = r#"<reg name="SCTLR" bitsize="64" regnum="109"/><reg name="SCTLR_EL3" regnum="173" type="int"/>"#;
        assert_eq!(number_of(text, "SCTLR"), Some(109));
        assert_eq!(number_of(text, "SCTLR_EL3"), Some(173));
        assert_eq!(number_of(text, "SCTLR_EL2"), None);
    }

    #[test]
    fn a_packet_may_come_in_pieces_and_behind_acknowledgements() {
        for end in 0..8 {
            assert_eq!(first_packet(&b"++$OK#9a"[..end]), None);
        }
        assert_eq!(first_packet(b"++$OK#9a+$T05#b9"), Some((&b"OK"[..], 8)));
    }

    #[test]
    fn a_packet_ends_with_the_sum_of_its_bytes() {
        let mut packets = Vec::new();
        push_packet(&mut packets, b"c920000");
        push_packet(&mut packets, b"g");
        assert_eq!(packets, b"$c920000#8e$g#67");
    }
}
