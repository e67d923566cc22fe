//! The i.MX I2C controller as a master, behind `embedded-hal`'s `I2c`.
//!
//! Polled, 7-bit addresses. Every wait has a deadline of two milliseconds, so that a device that is
//! missing or a line that is held down costs milliseconds; a transaction is tried three times, and a
//! device that holds SDA down is clocked until it lets go, where the board's data gives the pads.
//!
//! Source: i.MX 8M Plus reference manual, "I2C Controller (I2C)", with its programming sequences; the
//! order of accesses as mainline U-Boot's `drivers/i2c/mxc_i2c.c` makes them. UM10204 "I2C-bus
//! specification", 3.1.16 "Bus clear".

#![forbid(unsafe_code)]

use core::{fmt, time::Duration};

use embedded_hal::{
    digital::InputPin,
    i2c::{self, ErrorKind, ErrorType, NoAcknowledgeSource, Operation, SevenBitAddress},
};

use crate::{
    driver::gpio::{Line, Pin},
    mmio::ByteBus,
    soc::{ccm, iomuxc::Pad},
    time::{Clock, TimedOut, delay, poll},
};

/// Registers of 8 bits, one every four bytes. Divider.
const IFDR: u32 = 0x04;
/// Control.
const I2CR: u32 = 0x08;
const I2CR_IEN: u8 = 1 << 7;
/// Set makes a START, clear a STOP.
const I2CR_MSTA: u8 = 1 << 5;
const I2CR_MTX: u8 = 1 << 4;
/// No acknowledgement for the next byte that is received.
const I2CR_TXAK: u8 = 1 << 3;
const I2CR_RSTA: u8 = 1 << 2;
/// Status; zeros written clear IIF and IAL.
const I2SR: u32 = 0x0c;
const I2SR_IBB: u8 = 1 << 5;
const I2SR_IAL: u8 = 1 << 4;
const I2SR_IIF: u8 = 1 << 1;
const I2SR_RXAK: u8 = 1 << 0;
/// Data: a write sends it, a read also starts receiving the next byte.
const I2DR: u32 = 0x10;

/// A byte takes 23 us at 400 kHz, 90 us at 100 kHz.
const WAIT: Duration = Duration::from_millis(2);
/// From enabling the controller to the first START.
const START_UP: Duration = Duration::from_micros(50);
/// How often a transaction is tried, and the pause between.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_micros(100);
/// Half a clock at 100 kHz, which every device follows.
const HALF_CLOCK: Duration = Duration::from_micros(5);
/// A device that is in the middle of a byte lets go of SDA within so many clocks.
const CLEAR_CLOCKS: usize = 9;

/// A controller, and how the board wires it.
#[derive(Debug)]
pub struct Wiring {
    /// Base address.
    pub base: u32,
    /// What it divides its clock from.
    pub clock: ccm::Clock,
    /// The divider's code (IFDR).
    pub divider: u8,
    /// SCL and SDA.
    pub pads: [Pad; 2],
    /// The same pads as GPIO, to free a bus that a device holds.
    pub recovery: Option<Recovery>,
}

/// The lines of a bus as GPIO.
#[derive(Debug)]
pub struct Recovery {
    /// SCL and SDA.
    pub pads: [Pad; 2],
    /// The clock line; "on" is low.
    pub scl: Line,
    /// The data line; "on" is low.
    pub sda: Line,
}

/// A transaction failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No device acknowledges the address.
    NoDevice,
    /// The device does not acknowledge a byte.
    Refused,
    /// Somebody else drives the data line.
    ArbitrationLost,
    /// The bus is busy and stays so: a line is held down.
    Busy,
    /// The bus does not move on: the clock line is held down, or the controller has no clock.
    Stalled,
}

impl i2c::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoDevice => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address),
            Self::Refused => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data),
            Self::ArbitrationLost => ErrorKind::ArbitrationLoss,
            Self::Busy | Self::Stalled => ErrorKind::Bus,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoDevice => "no device acknowledges the address",
            Self::Refused => "the device refuses a byte",
            Self::ArbitrationLost => "somebody else drives the data line",
            Self::Busy => "a line of the bus is held down",
            Self::Stalled => "the bus does not move on: its clock line is held down",
        })
    }
}

/// A controller in use.
#[derive(Debug)]
pub struct I2c<'a, B, C> {
    bus: B,
    clock: C,
    wiring: &'a Wiring,
}

impl<'a, B: ByteBus, C: Clock> I2c<'a, B, C> {
    /// Sets up pads, clock and divider.
    pub fn new(bus: B, clock: C, wiring: &'a Wiring) -> Self {
        wiring.pads.iter().for_each(|pad| pad.apply(&bus));
        ccm::start(&bus, &wiring.clock);
        let i2c = Self { bus, clock, wiring };
        i2c.write(IFDR, wiring.divider);
        i2c.reset();
        i2c
    }

    /// One try.
    fn attempt(&self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), Error> {
        self.start()?;
        let runs = operations.chunk_by(of_a_kind).count();
        let mut addressed = false;
        for (index, run) in operations.chunk_by_mut(of_a_kind).enumerate() {
            if asks_nothing(run) {
                continue;
            }
            if addressed {
                self.change(0, I2CR_RSTA);
            }
            addressed = true;
            self.transfer(address, run, index + 1 == runs)?;
        }
        if self.read(I2CR) & I2CR_MSTA != 0 {
            self.stop()?;
        }
        Ok(())
    }

    /// Takes the bus.
    fn start(&self) -> Result<(), Error> {
        if self.read(I2CR) & I2CR_IEN == 0 {
            self.write(I2CR, I2CR_IEN);
            delay(&self.clock, START_UP);
        }
        self.write(I2SR, 0);
        self.wait_busy(false)?;
        self.change(0, I2CR_MSTA);
        self.wait_busy(true)?;
        self.change(0, I2CR_MTX | I2CR_TXAK);
        Ok(())
    }

    /// Operations of one direction, behind a START.
    fn transfer(&self, address: u8, run: &mut [Operation<'_>], last: bool) -> Result<(), Error> {
        let total = bytes(run);
        if let [Operation::Read(_), ..] = run {
            self.send(address << 1 | 1).map_err(at_address)?;
            return self.receive(run, total, last);
        }
        self.send(address << 1).map_err(at_address)?;
        for operation in run {
            if let Operation::Write(data) = operation {
                data.iter().try_for_each(|&byte| self.send(byte))?;
            }
        }
        Ok(())
    }

    fn send(&self, byte: u8) -> Result<(), Error> {
        self.write(I2SR, 0);
        self.write(I2DR, byte);
        let status = self.wait_byte()?;
        if status & I2SR_RXAK == 0 { Ok(()) } else { Err(Error::Refused) }
    }

    /// Receives `total` bytes, at least one. Reading a byte clocks the next one in, so each is
    /// announced to be the last before the one in front of it is read.
    fn receive(&self, run: &mut [Operation<'_>], total: usize, last: bool) -> Result<(), Error> {
        let acknowledge = if total > 1 { I2CR_TXAK } else { 0 };
        self.change(I2CR_MTX | acknowledge, 0);
        self.write(I2SR, 0);
        // What it reads is not from the device; it starts the first byte.
        let _ = self.read(I2DR);
        let mut left = total;
        for operation in run {
            let Operation::Read(buffer) = operation else { continue };
            for byte in buffer.iter_mut() {
                self.wait_byte()?;
                left -= 1;
                match left {
                    0 if last => self.stop()?,
                    0 => self.change(0, I2CR_MTX),
                    1 => self.change(0, I2CR_TXAK),
                    _ => {}
                }
                self.write(I2SR, 0);
                *byte = self.read(I2DR);
            }
        }
        Ok(())
    }

    /// Gives the bus back.
    fn stop(&self) -> Result<(), Error> {
        self.change(I2CR_MSTA | I2CR_MTX, 0);
        self.wait_busy(false)
    }

    fn wait_busy(&self, busy: bool) -> Result<(), Error> {
        let outcome = poll(&self.clock, WAIT, || {
            let status = self.read(I2SR);
            if busy && status & I2SR_IAL != 0 {
                return Some(Err(Error::ArbitrationLost));
            }
            ((status & I2SR_IBB != 0) == busy).then_some(Ok(()))
        });
        outcome.unwrap_or(Err(if busy { Error::Stalled } else { Error::Busy }))
    }

    /// Waits until a byte has gone over the bus; the status.
    fn wait_byte(&self) -> Result<u8, Error> {
        let done = || Some(self.read(I2SR)).filter(|status| status & (I2SR_IIF | I2SR_IAL) != 0);
        let status = poll(&self.clock, WAIT, done).map_err(|TimedOut| Error::Stalled)?;
        if status & I2SR_IAL != 0 { Err(Error::ArbitrationLost) } else { Ok(status) }
    }

    /// Whatever it was doing is over.
    fn reset(&self) {
        self.write(I2CR, 0);
        self.write(I2SR, 0);
    }

    /// Frees the bus of a device that waits in the middle of a byte, for the rest of its clocks.
    fn clear_bus(&self) {
        let Some(lines) = &self.wiring.recovery else { return };
        release(&self.bus, lines.scl);
        release(&self.bus, lines.sda);
        lines.pads.iter().for_each(|pad| pad.apply(&self.bus));
        if self.is_down(lines.sda) {
            for _ in 0..CLEAR_CLOCKS {
                self.pulse(lines.scl);
                if !self.is_down(lines.sda) {
                    break;
                }
            }
            self.stop_by_hand(lines);
        }
        self.wiring.pads.iter().for_each(|pad| pad.apply(&self.bus));
    }

    fn pulse(&self, scl: Line) {
        pull(&self.bus, scl);
        delay(&self.clock, HALF_CLOCK);
        release(&self.bus, scl);
        delay(&self.clock, HALF_CLOCK);
    }

    /// SDA rises while SCL is high.
    fn stop_by_hand(&self, lines: &Recovery) {
        pull(&self.bus, lines.scl);
        pull(&self.bus, lines.sda);
        for line in [lines.scl, lines.sda] {
            delay(&self.clock, HALF_CLOCK);
            release(&self.bus, line);
        }
        delay(&self.clock, HALF_CLOCK);
    }

    fn is_down(&self, line: Line) -> bool {
        release(&self.bus, line).is_high().unwrap_or(false)
    }

    fn read(&self, register: u32) -> u8 {
        self.bus.read8(self.wiring.base + register)
    }

    fn write(&self, register: u32, value: u8) {
        self.bus.write8(self.wiring.base + register, value);
    }

    fn change(&self, clear: u8, set: u8) {
        self.write(I2CR, self.read(I2CR) & !clear | set);
    }
}

impl<B, C> ErrorType for I2c<'_, B, C> {
    type Error = Error;
}

impl<B: ByteBus, C: Clock> i2c::I2c<SevenBitAddress> for I2c<'_, B, C> {
    fn transaction(
        &mut self,
        address: SevenBitAddress,
        operations: &mut [Operation<'_>],
    ) -> Result<(), Error> {
        if asks_nothing(operations) {
            return Ok(());
        }
        let mut outcome = Ok(());
        for _ in 0..TRIES {
            outcome = self.attempt(address, operations);
            let Err(error) = outcome else { break };
            if matches!(error, Error::NoDevice | Error::Refused) {
                // The bus is still ours. If even this fails, the next try says so.
                let _ = self.stop();
                self.reset();
            } else {
                self.reset();
                self.clear_bus();
            }
            delay(&self.clock, PAUSE);
        }
        outcome
    }
}

/// Whether no START comes between two operations.
fn of_a_kind(one: &Operation<'_>, other: &Operation<'_>) -> bool {
    matches!(one, Operation::Read(_)) == matches!(other, Operation::Read(_))
}

/// Reads of nothing: a device that is asked sends a byte nevertheless.
fn asks_nothing(operations: &[Operation<'_>]) -> bool {
    let nothing = |operation: &Operation<'_>| matches!(operation, Operation::Read(buffer) if buffer.is_empty());
    operations.iter().all(nothing)
}

fn bytes(run: &[Operation<'_>]) -> usize {
    let length = |operation: &Operation<'_>| match operation {
        Operation::Read(buffer) => buffer.len(),
        Operation::Write(data) => data.len(),
    };
    run.iter().map(length).sum()
}

fn at_address(error: Error) -> Error {
    if error == Error::Refused { Error::NoDevice } else { error }
}

/// Open drain: a line is pulled down or let go, never driven high.
fn pull<B: ByteBus>(bus: &B, line: Line) {
    Pin::output(bus, line);
}

fn release<B: ByteBus>(bus: &B, line: Line) -> Pin<&B> {
    Pin::input(bus, line)
}
