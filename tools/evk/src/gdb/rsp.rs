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

/// Bytes of memory in one packet, two digits each. Source: QEMU 10.0 `gdbstub/internals.h`,
/// `MAX_PACKET_LENGTH`: 4096 characters with the command before them.
const PIECE: usize = 2016;

/// The longest packet that is believed; QEMU's own limit is 4096 bytes of payload.
const LONGEST: usize = 1 << 16;

/// The general-purpose registers.
#[derive(Clone, Debug, Default)]
pub(super) struct Registers {
    /// x0 to x30.
    x: [u64; 31],
    pub(super) sp: u64,
    pub(super) pc: u64,
    /// What follows them in the packet, sent back as it came.
    rest: Vec<u8>,
}

impl Registers {
    /// A register by its number in an instruction: 31 is the zero register.
    pub(super) fn general(&self, number: u8) -> u64 {
        self.x.get(usize::from(number)).copied().unwrap_or(0)
    }

    pub(super) fn set_general(&mut self, number: u8, value: u64) {
        if let Some(register) = self.x.get_mut(usize::from(number)) {
            *register = value;
        }
    }

    /// The exception level in the CPSR, which follows the program counter.
    pub(super) fn exception_level(&self) -> u8 {
        self.rest.first().map_or(3, |cpsr| cpsr >> 2 & 3)
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let mut next = || words.next().context("the register packet is too short");
        let mut x = [0; 31];
        for register in &mut x {
            *register = next()?;
        }
        let (sp, pc) = (next()?, next()?);
        let rest = words.flat_map(u64::to_le_bytes).chain(rest.iter().copied()).collect();
        Ok(Self { x, sp, pc, rest })
    }

    fn bytes(&self) -> Vec<u8> {
        let words = self.x.iter().chain([&self.sp, &self.pc]);
        words.flat_map(|word| word.to_le_bytes()).chain(self.rest.iter().copied()).collect()
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
    /// Bytes received, from `taken` on not looked at.
    buffer: Vec<u8>,
    taken: usize,
    /// Memory is asked for by physical addresses.
    physical: bool,
    /// How long the machine has run.
    ran: Duration,
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
        Ok(Self { stream, buffer: Vec::new(), taken: 0, physical: false, ran: Duration::ZERO })
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

    pub(super) fn registers(&mut self) -> Result<Registers> {
        let answer = self.ask("g")?;
        Registers::parse(&unhex(&answer)?)
    }

    pub(super) fn set_registers(&mut self, registers: &Registers) -> Result<()> {
        self.command(&format!("G{}", hex(&registers.bytes())))
    }

    /// The instruction at the virtual address `address`.
    pub(super) fn instruction(&mut self, address: u64) -> Result<u32> {
        self.set_physical(false)?;
        let answer = self.ask(&format!("m{address:x},4"))?;
        let bytes = unhex(&answer)?;
        let word = bytes.try_into().ok().with_context(|| format!("no memory at {address:#x}"))?;
        Ok(u32::from_le_bytes(word))
    }

    /// Lets the machine run until it stops, which may be never.
    pub(super) fn resume(&mut self) -> Result<Stop> {
        let from = Instant::now();
        self.send("c")?;
        self.stream.set_read_timeout(None)?;
        let Some(packet) = self.receive()? else { return Ok(Stop::Gone) };
        self.ran += from.elapsed();
        stop(&packet)
    }

    /// Chooses which addresses [`ask`](Self::ask) takes for memory. Source: QEMU "GDB usage",
    /// "Changing the memory access mode".
    fn set_physical(&mut self, physical: bool) -> Result<()> {
        if self.physical != physical {
            self.command(&format!("Qqemu.PhyMemMode:{}", u8::from(physical)))?;
            self.physical = physical;
        }
        Ok(())
    }

    fn command(&mut self, packet: &str) -> Result<()> {
        let answer = self.ask(packet)?;
        ensure!(answer == "OK", "the GDB port answers {answer:?} to {packet:.20}");
        Ok(())
    }

    fn ask(&mut self, packet: &str) -> Result<String> {
        self.send(packet)?;
        self.stream.set_read_timeout(Some(ANSWER))?;
        self.receive()?.with_context(|| format!("the GDB port closed at {packet:.20}"))
    }

    fn send(&mut self, packet: &str) -> Result<()> {
        let sum = checksum(packet.as_bytes());
        self.stream
            .write_all(format!("${packet}#{sum:02x}").as_bytes())
            .context("the GDB port is closed")
    }

    /// The next packet, acknowledged; `None` when the connection has ended.
    fn receive(&mut self) -> Result<Option<String>> {
        // Acknowledgements come in between; nothing is lost on a local socket.
        loop {
            match self.byte()? {
                Some(b'$') => break,
                Some(_) => {}
                None => return Ok(None),
            }
        }
        let mut packet = Vec::new();
        loop {
            match self.byte()? {
                Some(b'#') => break,
                Some(byte) if packet.len() < LONGEST => packet.push(byte),
                Some(_) => bail!("a packet without end"),
                None => return Ok(None),
            }
        }
        for _ in 0..2 {
            if self.byte()?.is_none() {
                return Ok(None);
            }
        }
        // Fails when QEMU ended after its last packet.
        drop(self.stream.write_all(b"+"));
        Ok(Some(String::from_utf8(packet).context("a packet that is no text")?))
    }

    fn byte(&mut self) -> Result<Option<u8>> {
        if self.taken == self.buffer.len() {
            self.buffer.resize(4096, 0);
            let count = match self.stream.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
                Err(error) => return Err(error).context("the GDB port does not answer"),
            };
            self.buffer.truncate(count);
            self.taken = 0;
        }
        let byte = self.buffer.get(self.taken).copied();
        self.taken += usize::from(byte.is_some());
        Ok(byte)
    }
}

impl Machine for Client {
    fn now(&self) -> Duration {
        self.ran
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.set_physical(true)?;
        let mut at = address;
        for piece in bytes.chunks_mut(PIECE) {
            let answer = self.ask(&format!("m{at:x},{:x}", piece.len()))?;
            let read = unhex(&answer).with_context(|| format!("reading memory at {at:#x}"))?;
            ensure!(read.len() == piece.len(), "no memory at {at:#x}");
            piece.copy_from_slice(&read);
            at = at.wrapping_add(piece.len() as u64);
        }
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        self.set_physical(true)?;
        let mut at = address;
        for piece in bytes.chunks(PIECE) {
            self.command(&format!("M{at:x},{:x}:{}", piece.len(), hex(piece)))
                .with_context(|| format!("writing memory at {at:#x}"))?;
            at = at.wrapping_add(piece.len() as u64);
        }
        Ok(())
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

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    ensure!(rest.is_empty(), "half a byte in {text:.20}");
    pairs
        .iter()
        .map(|pair| {
            let digits = std::str::from_utf8(pair)?;
            u8::from_str_radix(digits, 16).with_context(|| format!("answered {text:.20}"))
        })
        .collect()
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
    fn registers_go_back_as_they_came() {
        let bytes: Vec<u8> = (0..268u32).map(|n| (n % 251) as u8).collect();
        let registers = Registers::parse(&bytes).unwrap();
        assert_eq!(registers.bytes(), bytes);
        assert_eq!(registers.general(31), 0);
        let mut at_el2 = bytes.clone();
        at_el2[33 * 8..][..4].copy_from_slice(&0x3c9u32.to_le_bytes());
        assert_eq!(Registers::parse(&at_el2).unwrap().exception_level(), 2);
        assert!(Registers::parse(&bytes[..200]).is_err());
    }
}
