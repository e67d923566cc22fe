//! Memory that a device reads or writes on its own.
//!
//! A driver hands memory to a [`Dma`] before it starts the device and takes it back when the device
//! has stopped; in between nobody else can touch it: borrowed memory because of the borrow
//! ([`Receive`], [`Send`]), a [`Buffer`] because the driver owns it ([`Lent`]). The firmware's
//! implementation does the cache maintenance, a host test's copies to and from the model.

#![forbid(unsafe_code)]

use alloc::{vec, vec::Vec};
use core::{
    fmt,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
};

use crate::zeroed::zeroed;

/// Alignment, in bytes, of both ends of a buffer that a device writes: the Cortex-A53's cache line.
/// Invalidating a line that is shared with other data would lose that data.
pub const ALIGNMENT: usize = 64;

/// Why a buffer cannot be given to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Start or length is not a multiple of [`ALIGNMENT`].
    Unaligned,
    /// Lies (partly) above 4 GiB, where 32-bit bus masters cannot reach.
    Unreachable,
}

/// Gives memory to bus masters and takes it back.
pub trait Dma {
    /// Makes `buffer` ready to be written by a device and returns its bus address. Until
    /// [`Dma::end_receive`] the caller must not touch it.
    fn begin_receive(&self, buffer: &mut [u8]) -> Result<u32, Error>;
    /// Makes what the device wrote visible in `buffer`.
    fn end_receive(&self, buffer: &mut [u8], bus_address: u32);
    /// Makes `buffer` visible to a device that reads it and returns its bus address.
    fn begin_send(&self, buffer: &[u8]) -> Result<u32, Error>;
    /// The device has finished reading.
    fn end_send(&self, buffer: &[u8], bus_address: u32);
}

impl<D: Dma + ?Sized> Dma for &D {
    fn begin_receive(&self, buffer: &mut [u8]) -> Result<u32, Error> {
        (**self).begin_receive(buffer)
    }
    fn end_receive(&self, buffer: &mut [u8], bus_address: u32) {
        (**self).end_receive(buffer, bus_address);
    }
    fn begin_send(&self, buffer: &[u8]) -> Result<u32, Error> {
        (**self).begin_send(buffer)
    }
    fn end_send(&self, buffer: &[u8], bus_address: u32) {
        (**self).end_send(buffer, bus_address);
    }
}

/// A buffer in the hands of a device that writes it; given back when this is dropped, which must
/// not be before the device has stopped.
#[derive(Debug)]
pub struct Receive<'a, D: Dma> {
    dma: &'a D,
    buffer: &'a mut [u8],
    address: u32,
}

impl<'a, D: Dma> Receive<'a, D> {
    /// Gives `buffer` to the device; [`Dma::begin_receive`].
    pub fn begin(dma: &'a D, buffer: &'a mut [u8]) -> Result<Self, Error> {
        let address = dma.begin_receive(buffer)?;
        Ok(Self { dma, buffer, address })
    }

    /// Where the device finds it.
    pub fn bus_address(&self) -> u32 {
        self.address
    }
}

impl<D: Dma> Drop for Receive<'_, D> {
    fn drop(&mut self) {
        self.dma.end_receive(self.buffer, self.address);
    }
}

/// A buffer in the hands of a device that reads it; given back when this is dropped.
#[derive(Debug)]
pub struct Send<'a, D: Dma> {
    dma: &'a D,
    buffer: &'a [u8],
    address: u32,
}

impl<'a, D: Dma> Send<'a, D> {
    /// Gives `buffer` to the device; [`Dma::begin_send`].
    pub fn begin(dma: &'a D, buffer: &'a [u8]) -> Result<Self, Error> {
        let address = dma.begin_send(buffer)?;
        Ok(Self { dma, buffer, address })
    }

    /// Where the device finds it.
    pub fn bus_address(&self) -> u32 {
        self.address
    }
}

impl<D: Dma> Drop for Send<'_, D> {
    fn drop(&mut self) {
        self.dma.end_send(self.buffer, self.address);
    }
}

/// Memory from the heap that a device can write without a bounce: it begins with a cache line, and
/// shares none. It can change hands while the device writes: its bytes stay where they are.
pub struct Buffer {
    storage: Vec<u8>,
    start: usize,
    length: usize,
    capacity: usize,
}

impl Buffer {
    /// `length` bytes, all zero. For small, fixed lengths: without memory the program ends.
    pub fn new(length: usize) -> Self {
        Self::within(vec![0; Self::storage_size(length)], length)
    }

    /// `length` bytes, all zero, if there is memory.
    pub fn try_new(length: usize) -> Option<Self> {
        let storage = zeroed(Self::storage_size(length)).ok()?;
        Some(Self::within(storage, length))
    }

    /// Bytes that hold `length` ones at the right place, to the end of their last line.
    fn storage_size(length: usize) -> usize {
        let lines = length.checked_next_multiple_of(ALIGNMENT);
        lines.unwrap_or(usize::MAX).saturating_add(ALIGNMENT - 1)
    }

    fn within(storage: Vec<u8>, length: usize) -> Self {
        let start = storage.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT - 1);
        Self { storage, start, length, capacity: length }
    }

    /// The most bytes that it can have.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// From now on it has `length` bytes, or as many as it can have.
    pub fn set_length(&mut self, length: usize) {
        self.length = length.min(self.capacity);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.length]
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("length", &self.length).finish_non_exhaustive()
    }
}

/// A [`Buffer`] in the hands of a device that writes it, for as long as the device may. Nobody can
/// look at it, and its memory is used for nothing else, until the driver says that the device has
/// stopped. Should that never be said, the memory is lost.
#[derive(Debug)]
pub struct Lent {
    buffer: ManuallyDrop<Buffer>,
    address: u32,
}

impl Lent {
    /// Gives all of `buffer` to the device; [`Dma::begin_receive`].
    ///
    /// # Errors
    /// What stands in the way, and the buffer.
    pub fn begin<D: Dma + ?Sized>(dma: &D, mut buffer: Buffer) -> Result<Self, (Error, Buffer)> {
        match dma.begin_receive(&mut buffer) {
            Ok(address) => Ok(Self { buffer: ManuallyDrop::new(buffer), address }),
            Err(error) => Err((error, buffer)),
        }
    }

    /// Where the device finds it.
    pub fn bus_address(&self) -> u32 {
        self.address
    }

    /// Bytes in it.
    pub fn length(&self) -> usize {
        self.buffer.length
    }

    /// Takes the buffer back: the device has stopped.
    pub fn end<D: Dma + ?Sized>(self, dma: &D) -> Buffer {
        let mut buffer = ManuallyDrop::into_inner(self.buffer);
        dma.end_receive(&mut buffer, self.address);
        buffer
    }
}

/// The SoC's bus masters: they see memory at its own address and bypass the processor's caches.
#[cfg(target_os = "none")]
#[derive(Clone, Copy, Debug)]
pub struct Hardware(());

#[cfg(target_os = "none")]
impl Hardware {
    /// There is one memory; its maintenance needs no state.
    pub(crate) const fn new() -> Self {
        Self(())
    }

    fn bus_address(memory: &[u8]) -> Result<u32, Error> {
        let last = memory.as_ptr().addr().saturating_add(memory.len().saturating_sub(1));
        u32::try_from(last).map_err(|_| Error::Unreachable)?;
        u32::try_from(memory.as_ptr().expose_provenance()).map_err(|_| Error::Unreachable)
    }
}

#[cfg(target_os = "none")]
impl Dma for Hardware {
    fn begin_receive(&self, buffer: &mut [u8]) -> Result<u32, Error> {
        let aligned = buffer.as_ptr().addr().is_multiple_of(ALIGNMENT);
        if !aligned || !buffer.len().is_multiple_of(ALIGNMENT) {
            return Err(Error::Unaligned);
        }
        let address = Self::bus_address(buffer)?;
        // No line may be written back over what the device will write.
        drop_lines(buffer);
        Ok(address)
    }

    fn end_receive(&self, buffer: &mut [u8], _: u32) {
        // The processor may have read ahead while the device wrote.
        drop_lines(buffer);
    }

    fn begin_send(&self, buffer: &[u8]) -> Result<u32, Error> {
        let address = Self::bus_address(buffer)?;
        crate::arch::cache::clean(buffer);
        Ok(address)
    }

    fn end_send(&self, _: &[u8], _: u32) {}
}

/// Drops what caches hold of `buffer`, if any may; what comes before has happened, and what comes
/// behind has not.
#[cfg(target_os = "none")]
fn drop_lines(buffer: &mut [u8]) {
    if crate::arch::memory::is_uncached(buffer) {
        aarch64_cpu::asm::barrier::dsb(aarch64_cpu::asm::barrier::SY);
    } else {
        crate::arch::cache::invalidate(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_with_a_cache_line_and_shares_none() {
        for length in [0, 1, 63, 64, 65, 512, 100_000] {
            for buffer in [Buffer::new(length), Buffer::try_new(length).expect("memory")] {
                assert_eq!(buffer.len(), length);
                assert!(buffer.iter().all(|&byte| byte == 0));
                assert_eq!(buffer.as_ptr().addr() % ALIGNMENT, 0);
                let line_end = buffer.start + length.next_multiple_of(ALIGNMENT);
                assert!(line_end <= buffer.storage.len(), "{length}");
            }
        }
    }

    #[test]
    fn a_buffer_can_be_shortened_and_gets_its_length_back() {
        let mut buffer = Buffer::new(1024);
        buffer.set_length(512);
        assert_eq!(buffer.len(), 512);
        buffer.set_length(4096);
        assert_eq!(buffer.len(), 1024);
    }

    #[test]
    fn more_memory_than_there_is_gives_no_buffer() {
        assert!(Buffer::try_new(usize::MAX / 2).is_none());
    }
}
