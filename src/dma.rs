//! Memory that a device reads or writes on its own.
//!
//! A driver hands a buffer to a [`Dma`] before it starts the device and takes it back when the
//! device has stopped; in between the borrow keeps the processor away from it. The firmware's
//! implementation does the cache maintenance, a host test's copies to and from the model.

#![forbid(unsafe_code)]

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
        crate::arch::cache::invalidate(buffer);
        Ok(address)
    }

    fn end_receive(&self, buffer: &mut [u8], _: u32) {
        // The processor may have read ahead while the device wrote.
        crate::arch::cache::invalidate(buffer);
    }

    fn begin_send(&self, buffer: &[u8]) -> Result<u32, Error> {
        let address = Self::bus_address(buffer)?;
        crate::arch::cache::clean(buffer);
        Ok(address)
    }

    fn end_send(&self, _: &[u8], _: u32) {}
}
