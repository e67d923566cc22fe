//! Block devices and what divides them.
//!
//! [`BlockDevice`] is all that a partition table or a file system knows of a card. A card is wrapped
//! in a [`cache::Cache`] and shared; [`partition::scan`] tells what is on it, and a
//! [`volume::Volume`] is one partition of it, read by byte.

#![forbid(unsafe_code)]

pub mod cache;
mod gpt;
mod mbr;
pub mod partition;
pub mod volume;

use alloc::{rc::Rc, string::String};
use core::{cell::RefCell, fmt};

use crate::{
    dma,
    error::{Code, Coded},
};

/// Bytes in a block. SD and eMMC cards have no other size on their bus.
pub const BLOCK_SIZE: usize = 512;

/// A device of 512-byte blocks.
pub trait BlockDevice {
    /// What a user calls it: "SD card (uSDHC2)".
    fn name(&self) -> &str;
    /// How it is driven at present, where there is a choice: "high speed, 4 bit".
    fn mode(&self) -> Option<String> {
        None
    }
    /// Number of blocks.
    fn block_count(&self) -> u64;
    /// Reads `destination.len() / 512` blocks from `first_block` on. Retries, lower speeds and the
    /// bounce of unaligned buffers are the device's business. On an error the contents of
    /// `destination` are unspecified.
    ///
    /// # Panics
    /// If the length is not a multiple of 512.
    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error>;
    /// Like [`BlockDevice::read`], but from the medium, whatever of it is kept in memory.
    fn read_medium(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        self.read(first_block, destination)
    }
    /// Starts to read blocks from `first_block` on into all of `buffer` and returns while the device
    /// goes on by itself, until [`BlockDevice::finish`] or [`BlockDevice::abandon`]. There is one
    /// such read at a time; whatever else is asked of the device comes after it. Only for
    /// [`volume::Reading`], which knows whose it is.
    ///
    /// # Errors
    /// The buffer: not in this way, or not now. [`BlockDevice::read`] reads all the same.
    ///
    /// # Panics
    /// If the length is not a multiple of 512.
    fn start(&mut self, first_block: u64, buffer: dma::Buffer) -> Result<(), dma::Buffer> {
        let _ = first_block;
        Err(buffer)
    }
    /// Waits for the end of what was started. Retries and lower speeds are the device's business, as
    /// for any other read; its deadlines count from the start.
    ///
    /// # Errors
    /// It cannot be read; or nothing was started, or the device was stopped since.
    fn finish(&mut self) -> Result<dma::Buffer, Error> {
        Err(Error { kind: ErrorKind::NoCard, device: self.name().into(), block: 0 })
    }
    /// [`BlockDevice::finish`], then [`BlockDevice::start`], so soon after each other that the device
    /// hardly rests. After an error nothing is started.
    fn finish_and_start(
        &mut self,
        first_block: u64,
        buffer: dma::Buffer,
    ) -> (Result<dma::Buffer, Error>, Result<(), dma::Buffer>) {
        let finished = self.finish();
        let started = match finished {
            Ok(_) => self.start(first_block, buffer),
            Err(_) => Err(buffer),
        };
        (finished, started)
    }
    /// Ends what was started and is not wanted any longer. Its buffer is free when this returns.
    fn abandon(&mut self) {}
    /// Whether it takes writes, as far as that is known without one.
    fn is_writable(&self) -> bool {
        false
    }
    /// Writes `source.len() / 512` blocks from `first_block` on; when it returns they are on the
    /// medium. In an eMMC, each block keeps what it holds until the new contents are there (reliable
    /// write); elsewhere a power cut may leave anything in it. Only the state record is ever
    /// written. On an error nobody knows what the blocks hold.
    ///
    /// # Panics
    /// If the length is not a multiple of 512.
    fn write(&mut self, first_block: u64, source: &[u8]) -> Result<(), Error> {
        let _ = source;
        Err(Error { kind: ErrorKind::ReadOnly, device: self.name().into(), block: first_block })
    }
}

/// A device that several partitions and file systems share. The firmware is single-threaded; nobody
/// keeps a borrow over a call into another layer.
pub type SharedDevice = Rc<RefCell<dyn BlockDevice>>;

/// What went wrong with an access, without where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nothing answers.
    NoCard,
    /// The card went silent.
    Timeout,
    /// CRC or end-bit errors that retries did not cure.
    Transfer,
    /// The card was pulled.
    Removed,
    /// The card or one of its answers is outside of what the driver can use.
    Unsupported,
    /// The range is not on the device.
    OutOfRange,
    /// The controller reported a DMA or internal fault.
    Controller,
    /// It is protected against writing, or cannot be written to from here.
    ReadOnly,
}

impl ErrorKind {
    /// Whether another block of the same device may be readable.
    fn is_about_a_block(self) -> bool {
        matches!(self, Self::Transfer | Self::Timeout | Self::Controller)
    }
}

/// A failed access: what, on which device, at which block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What went wrong.
    pub kind: ErrorKind,
    /// [`BlockDevice::name`] of the device.
    pub device: String,
    /// First block of the failed access.
    pub block: u64,
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self.kind {
            ErrorKind::NoCard => Code::NoCard,
            ErrorKind::Timeout => Code::CardTimeout,
            ErrorKind::Transfer => Code::CardTransfer,
            ErrorKind::Removed => Code::CardRemoved,
            ErrorKind::Unsupported => Code::CardUnsupported,
            ErrorKind::OutOfRange => Code::ReadBeyondEnd,
            ErrorKind::Controller => Code::ControllerFault,
            ErrorKind::ReadOnly => Code::ReadOnly,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, block {}: {}", self.device, self.block, self.code().summary())
    }
}

impl core::error::Error for Error {}

/// Number of blocks that fill `buffer`.
///
/// # Panics
/// If its length is not a multiple of [`BLOCK_SIZE`].
fn blocks_in(buffer: &[u8]) -> u64 {
    assert!(buffer.len().is_multiple_of(BLOCK_SIZE), "{} bytes are no whole blocks", buffer.len());
    (buffer.len() / BLOCK_SIZE) as u64
}

/// Whether `count` blocks from `first_block` on are on `device`.
fn check_range<D: BlockDevice + ?Sized>(
    device: &D,
    first_block: u64,
    count: u64,
) -> Result<(), Error> {
    match first_block.checked_add(count) {
        Some(end) if end <= device.block_count() => Ok(()),
        _ => Err(Error {
            kind: ErrorKind::OutOfRange,
            device: device.name().into(),
            block: first_block,
        }),
    }
}
