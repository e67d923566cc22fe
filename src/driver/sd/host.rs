//! What the card protocol asks of a host controller.

use core::fmt;

use super::contents::status;
use crate::{dma::Buffer, time::Clock};

/// Bus timing, from the slowest to the fastest that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timing {
    /// What a card starts with: SD default speed (or SDR12), eMMC backward compatible.
    Default,
    /// SD or eMMC high speed.
    HighSpeed,
    /// UHS-I SDR25.
    Sdr25,
    /// eMMC high speed, dual data rate.
    Ddr52,
    /// UHS-I SDR50.
    Sdr50,
    /// UHS-I SDR104.
    Sdr104,
    /// eMMC HS200.
    Hs200,
    /// eMMC HS400.
    Hs400,
    /// eMMC HS400 with enhanced strobe.
    Hs400EnhancedStrobe,
}

impl Timing {
    /// The highest clock that the card specifications allow, in hertz.
    pub const fn max_hertz(self) -> u32 {
        match self {
            Self::Default => 25_000_000,
            Self::HighSpeed | Self::Sdr25 => 50_000_000,
            Self::Ddr52 => 52_000_000,
            Self::Sdr50 => 100_000_000,
            Self::Sdr104 => 208_000_000,
            Self::Hs200 | Self::Hs400 | Self::Hs400EnhancedStrobe => 200_000_000,
        }
    }

    /// Whether data moves on both clock edges.
    pub const fn is_ddr(self) -> bool {
        matches!(self, Self::Ddr52 | Self::Hs400 | Self::Hs400EnhancedStrobe)
    }

    /// Whether the data strobe line clocks what the card sends.
    pub const fn has_strobe(self) -> bool {
        matches!(self, Self::Hs400 | Self::Hs400EnhancedStrobe)
    }

    /// The tuning command, where the sampling point must be searched for.
    pub const fn tuning_command(self) -> Option<u8> {
        match self {
            Self::Sdr50 | Self::Sdr104 => Some(19),
            Self::Hs200 => Some(21),
            _ => None,
        }
    }
}

/// Number of data lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BusWidth {
    /// DAT0.
    One,
    /// DAT0 to DAT3.
    Four,
    /// DAT0 to DAT7.
    Eight,
}

impl BusWidth {
    /// The number.
    pub const fn lines(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// How card and host talk; ordered by preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mode {
    /// Timing on the wires.
    pub timing: Timing,
    /// Data lines in use.
    pub width: BusWidth,
}

impl Mode {
    /// What every card starts with.
    pub const START: Self = Self { timing: Timing::Default, width: BusWidth::One };
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timing = match self.timing {
            Timing::Default => "default speed",
            Timing::HighSpeed => "high speed",
            Timing::Sdr25 => "SDR25",
            Timing::Ddr52 => "DDR52",
            Timing::Sdr50 => "SDR50",
            Timing::Sdr104 => "SDR104",
            Timing::Hs200 => "HS200",
            Timing::Hs400 => "HS400",
            Timing::Hs400EnhancedStrobe => "HS400 enhanced strobe",
        };
        write!(f, "{timing}, {} bit", self.width.lines())
    }
}

/// Voltage of the CMD and DAT lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalling {
    /// 3.3 V only.
    Fixed3V3,
    /// 1.8 V only: a soldered eMMC.
    Fixed1V8,
    /// 3.3 V, and 1.8 V on request. Needs a power switch: a card leaves 1.8 V signalling only by
    /// losing power.
    Switchable,
}

/// A timing that a board allows, with the clock that its traces carry.
#[derive(Clone, Copy, Debug)]
pub struct ModeLimit {
    /// The timing.
    pub timing: Timing,
    /// Highest clock, in hertz.
    pub hertz: u32,
}

/// What a board allows in a slot.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Data lines that are wired.
    pub width: BusWidth,
    /// Voltage of the lines.
    pub signalling: Signalling,
    /// Timings to use; [`Timing::Default`] is always allowed.
    pub modes: &'static [ModeLimit],
}

impl Limits {
    /// Whether `mode` may be tried at all.
    pub fn allow(&self, mode: Mode) -> bool {
        mode.width <= self.width && self.hertz(mode.timing).is_some()
    }

    /// The highest clock for `timing`, if the board allows it.
    pub fn hertz(&self, timing: Timing) -> Option<u32> {
        let allowed = self.modes.iter().find(|limit| limit.timing == timing);
        match (allowed, timing) {
            (Some(limit), _) => Some(limit.hertz.min(timing.max_hertz())),
            (None, Timing::Default) => Some(Timing::Default.max_hertz()),
            (None, _) => None,
        }
    }
}

/// What comes back after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    /// Nothing.
    None,
    /// Card status (R1, and R6 and R7, which look the same on the wire).
    Short,
    /// Card status, then DAT0 held low while the card is busy (R1b).
    ShortBusy,
    /// CID or CSD, 136 bits (R2).
    Long,
    /// Operating conditions, without CRC (R3).
    Unprotected,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// 0 to 63.
    pub index: u8,
    /// The argument.
    pub argument: u32,
    /// What comes back.
    pub response: ResponseKind,
}

impl Command {
    /// A command.
    pub const fn new(index: u8, argument: u32, response: ResponseKind) -> Self {
        Self { index, argument, response }
    }
}

/// What a card answered: the controller's four response registers, the lowest bits first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Response(pub [u32; 4]);

impl Response {
    /// A 48-bit response's 32 bits.
    pub const fn short(self) -> u32 {
        self.0[0]
    }

    /// What the card answered to the CMD12 by which the controller ended a transfer.
    pub const fn stop(self) -> u32 {
        self.0[3]
    }

    /// Turns the error bits of the card's status, in its answer to command `index`, into an error.
    pub fn check(self, index: u8) -> Result<Self, Error> {
        match self.short() & status::ERRORS {
            0 => Ok(self),
            _ => Err(Error::Status(index, self.short())),
        }
    }

    /// A 136-bit response's bits 127:8 in their place; the CRC below them reads 0.
    pub fn long(self) -> u128 {
        self.0.iter().rev().fold(0, |bits, word| bits << 32 | u128::from(*word)) << 8
    }
}

/// A command that brings data from the card.
#[derive(Debug)]
pub struct Transfer<'a> {
    /// The command.
    pub command: Command,
    /// Bytes in a block, at most 512.
    pub block_size: u16,
    /// Whether the controller ends the transfer with CMD12, because its length was not announced.
    pub stop: bool,
    /// Where the data goes: at most 65,535 whole blocks.
    pub destination: &'a mut [u8],
}

/// A command that brings whole blocks of 512 bytes from the card while the processor does something
/// else.
#[derive(Debug)]
pub struct Incoming {
    /// What the card is told before: how many blocks it will be asked for.
    pub announcement: Option<Command>,
    /// The command.
    pub command: Command,
    /// Whether the controller ends the transfer with CMD12, because its length was not announced.
    pub stop: bool,
    /// Where the data goes: at most 65,535 blocks.
    pub buffer: Buffer,
}

/// How what was started has ended.
#[derive(Debug)]
pub struct Finished {
    /// Whether the data is there; error bits of the card's status are errors, too.
    pub outcome: Result<(), Error>,
    /// The buffer; lost if the controller cannot be stopped, because it may still write there.
    pub buffer: Option<Buffer>,
}

impl Finished {
    /// Ended before it began.
    pub fn failed((error, buffer): (Error, Buffer)) -> Self {
        Self { outcome: Err(error), buffer: Some(buffer) }
    }
}

/// A command that takes blocks of 512 bytes to the card.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// The command.
    pub command: Command,
    /// Whether the controller ends the transfer with CMD12, because its length was not announced.
    pub stop: bool,
    /// At most 65,535 whole blocks, at an address that is a multiple of 4.
    pub source: &'a [u8],
}

/// A fault of the controller, not of the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It did not come out of reset.
    Reset,
    /// Its clock for the card does not start.
    Clock,
    /// It does not accept a command.
    Inhibited,
    /// It neither finished nor failed.
    Silent,
    /// Its bus master failed; ADMA_ERR_STATUS.
    Dma(u32),
}

/// Why the card could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Nothing answers.
    NoCard,
    /// The card was pulled.
    Removed,
    /// A command got no answer.
    NoResponse(u8),
    /// The answer to a command was damaged: CRC, index or end bit.
    DamagedResponse(u8),
    /// A command's data did not come.
    NoData(u8),
    /// A command's data was damaged: CRC or end bit.
    DamagedData(u8),
    /// The card stayed busy after a command.
    Busy(u8),
    /// The card answered a command with error bits: its status.
    Status(u8, u32),
    /// The card, or its slot's switch, allows no writing.
    WriteProtected,
    /// The card refused to change its mode.
    SwitchRefused(Mode),
    /// The lines did not follow to 1.8 V.
    VoltageSwitch,
    /// No sampling point was found.
    Tuning,
    /// The strobe's delay line did not lock.
    Strobe,
    /// The data read in the new mode is not what it was.
    Mismatch,
    /// The card is outside of what the driver can use.
    Unsupported(&'static str),
    /// The blocks are not on the card.
    OutOfRange,
    /// The memory is not in reach of the bus master.
    Unreachable,
    /// The controller failed.
    Controller(Fault),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCard => write!(f, "no card"),
            Self::Removed => write!(f, "card removed"),
            Self::NoResponse(command) => write!(f, "CMD{command}: no response"),
            Self::DamagedResponse(command) => write!(f, "CMD{command}: response damaged"),
            Self::NoData(command) => write!(f, "CMD{command}: no data"),
            Self::DamagedData(command) => write!(f, "CMD{command}: data damaged"),
            Self::Busy(command) => write!(f, "CMD{command}: card stays busy"),
            Self::Status(command, status) => write!(f, "CMD{command}: card status {status:#010x}"),
            Self::WriteProtected => write!(f, "card is protected against writing"),
            Self::SwitchRefused(mode) => write!(f, "card refuses {mode}"),
            Self::VoltageSwitch => write!(f, "lines did not change to 1.8 V"),
            Self::Tuning => write!(f, "tuning found no sampling point"),
            Self::Strobe => write!(f, "strobe delay line did not lock"),
            Self::Mismatch => write!(f, "data differs between modes"),
            Self::Unsupported(what) => f.write_str(what),
            Self::OutOfRange => write!(f, "beyond the end of the card"),
            Self::Unreachable => write!(f, "memory out of reach of DMA"),
            Self::Controller(Fault::Reset) => write!(f, "controller stays in reset"),
            Self::Controller(Fault::Clock) => write!(f, "card clock does not start"),
            Self::Controller(Fault::Inhibited) => write!(f, "controller accepts no command"),
            Self::Controller(Fault::Silent) => write!(f, "controller went silent"),
            Self::Controller(Fault::Dma(status)) => write!(f, "DMA error, status {status:#x}"),
        }
    }
}

impl core::error::Error for Error {}

/// A host controller with its slot. Every call ends, at the latest by a deadline; after an error
/// the controller accepts the next command, while the card may still be sending.
pub trait Host: Clock {
    /// What the board allows.
    fn limits(&self) -> Limits;
    /// What the card-detect pin says; `true` where there is none.
    fn card_present(&mut self) -> bool;
    /// Spends `microseconds`.
    fn delay_us(&mut self, microseconds: u32);
    /// Starts over: controller reset, card without power for a while where the board can do that,
    /// then [`Mode::START`] at no more than 400 kHz, lines at their first voltage.
    fn restart(&mut self) -> Result<(), Error>;
    /// Runs the bus in `mode`, at the clock that [`Limits`] give. Includes locking the strobe's
    /// delay line, but not tuning.
    fn set_mode(&mut self, mode: Mode) -> Result<(), Error>;
    /// Takes the lines to 1.8 V, after the card agreed to it (CMD11).
    fn switch_to_1v8(&mut self) -> Result<(), Error>;
    /// Searches the sampling point with tuning command `index`.
    fn tune(&mut self, index: u8) -> Result<(), Error>;
    /// Sends a command without data and waits for the end of [`ResponseKind::ShortBusy`].
    fn command(&mut self, command: Command) -> Result<Response, Error>;
    /// Sends a command and receives its data.
    fn read(&mut self, transfer: Transfer<'_>) -> Result<Response, Error>;
    /// Sends a command and returns when the card has answered it; its data comes by itself, until
    /// [`Host::finish`]. Whatever moves something on the bus before then breaks it off.
    ///
    /// # Errors
    /// How it has ended already.
    fn start(&mut self, incoming: Incoming) -> Result<(), Finished>;
    /// Waits for the end of what was started; `None` if nothing was.
    fn finish(&mut self) -> Option<Finished>;
    /// [`Host::finish`], then [`Host::start`], with as little as can be between the last block of the
    /// one and the command of the other. Returns the first one's buffer and whether the second was
    /// started.
    ///
    /// # Errors
    /// How the first one has ended, and the buffer of the second, which was not started.
    fn finish_and_start(
        &mut self,
        incoming: Incoming,
    ) -> Result<(Buffer, Result<(), Finished>), (Finished, Buffer)>;
    /// What the slot's write-protect switch says; `false` where there is none.
    fn write_protected(&self) -> bool;
    /// Sends a command and its data, and waits while the card is busy with it, for three seconds
    /// at most.
    ///
    /// # Errors
    /// [`Error::Unreachable`], before anything is sent, if `source` is not where the bus master can
    /// fetch it.
    fn write(&mut self, outgoing: Outgoing<'_>) -> Result<Response, Error>;
    /// Stops everything: no DMA, no card clock, lines at their first voltage, the card in a state
    /// from which it can be identified. A card at 1.8 V gets there only by losing power. Linux takes
    /// the power of such a slot away when its regulator driver starts (`regulator-fixed` without
    /// `regulator-boot-on`), but a kernel without that driver, or one that keeps the regulator on,
    /// would meet a card that does not understand it.
    fn stop(&mut self);
}
