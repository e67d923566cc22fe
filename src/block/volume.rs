//! A partition, or a whole card, as a file system sees it: bytes from 0 on.

use alloc::{rc::Rc, string::String};
use core::fmt;

use super::{BLOCK_SIZE, Error, ErrorKind, SharedDevice, blocks_in, partition::Partition};
use crate::dma::Buffer;

/// A range of blocks of a shared device.
#[derive(Clone)]
pub struct Volume {
    device: SharedDevice,
    start: u64,
    block_count: u64,
}

impl Volume {
    /// The range of `partition` on `device`, as far as the device reaches.
    pub fn new(device: SharedDevice, partition: &Partition) -> Self {
        let behind_start = device.borrow().block_count().saturating_sub(partition.start);
        let block_count = partition.block_count.min(behind_start);
        Self { device, start: partition.start, block_count }
    }

    /// All of `device`.
    pub fn whole(device: SharedDevice) -> Self {
        let block_count = device.borrow().block_count();
        Self { device, start: 0, block_count }
    }

    /// Size in blocks.
    pub fn block_count(&self) -> u64 {
        self.block_count
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.block_count.saturating_mul(BLOCK_SIZE as u64)
    }

    /// Name of the device.
    pub fn device_name(&self) -> String {
        self.device.borrow().name().into()
    }

    /// Reads whole blocks, from `first_block` of the volume on.
    ///
    /// # Panics
    /// If the length is not a multiple of 512.
    pub fn read_blocks(&self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        let end = first_block.checked_add(blocks_in(destination));
        if end.is_none_or(|end| end > self.block_count) {
            return Err(self.out_of_range(first_block));
        }
        self.device.borrow_mut().read(self.start + first_block, destination)
    }

    /// Reads bytes, from `offset` of the volume on. Whole blocks go straight into `destination` in
    /// one request; what is left at either end is bounced.
    pub fn read_at(&self, offset: u64, destination: &mut [u8]) -> Result<(), Error> {
        const BLOCK: u64 = BLOCK_SIZE as u64;
        let mut block = offset / BLOCK;
        let mut rest = destination;
        let within = (offset % BLOCK) as usize;
        if within != 0 && !rest.is_empty() {
            let (head, behind) = rest.split_at_mut(rest.len().min(BLOCK_SIZE - within));
            self.read_part(block, within, head)?;
            block += 1;
            rest = behind;
        }
        let (whole, tail) = rest.split_at_mut(rest.len() - rest.len() % BLOCK_SIZE);
        if !whole.is_empty() {
            self.read_blocks(block, whole)?;
            block += blocks_in(whole);
        }
        if !tail.is_empty() {
            self.read_part(block, 0, tail)?;
        }
        Ok(())
    }

    /// Starts to read bytes into all of `buffer`, from `offset` of the volume on.
    ///
    /// # Errors
    /// The buffer: where it cannot be done in this way or not now, [`Volume::read_at`] reads all the
    /// same, or says why not.
    pub fn start(&self, offset: u64, buffer: Buffer) -> Result<Reading, Buffer> {
        let Some(block) = self.whole_blocks(offset, &buffer) else { return Err(buffer) };
        self.device.borrow_mut().start(block, buffer)?;
        Ok(self.reading())
    }

    /// [`Reading::finish`], then [`Volume::start`], so soon after each other that the device hardly
    /// rests. After an error nothing is started.
    pub fn start_after(
        &self,
        before: Reading,
        offset: u64,
        buffer: Buffer,
    ) -> (Result<Buffer, Error>, Result<Reading, Buffer>) {
        match self.whole_blocks(offset, &buffer) {
            Some(block) if Rc::ptr_eq(&self.device, &before.device) => {
                let device = before.into_device();
                let (finished, started) = device.borrow_mut().finish_and_start(block, buffer);
                (finished, started.map(|()| self.reading()))
            }
            _ => (before.finish(), Err(buffer)),
        }
    }

    /// The block of the device at `offset`, if `buffer` takes whole blocks of the volume from there.
    fn whole_blocks(&self, offset: u64, buffer: &Buffer) -> Option<u64> {
        let end = offset.checked_add(buffer.len() as u64)?;
        let fits = offset.is_multiple_of(BLOCK_SIZE as u64)
            && buffer.len().is_multiple_of(BLOCK_SIZE)
            && !buffer.is_empty()
            && end <= self.size();
        fits.then(|| self.start + offset / BLOCK_SIZE as u64)
    }

    fn reading(&self) -> Reading {
        Reading { device: self.device.clone(), wanted: true }
    }

    /// Reads a part of one block.
    fn read_part(&self, block: u64, start: usize, destination: &mut [u8]) -> Result<(), Error> {
        let mut bounce = [0; BLOCK_SIZE];
        self.read_blocks(block, &mut bounce)?;
        destination.copy_from_slice(&bounce[start..start + destination.len()]);
        Ok(())
    }

    fn out_of_range(&self, block: u64) -> Error {
        Error {
            kind: ErrorKind::OutOfRange,
            device: self.device_name(),
            block: self.start.saturating_add(block),
        }
    }
}

/// A read that goes on by itself. If it is dropped, the device has ended it.
pub struct Reading {
    device: SharedDevice,
    wanted: bool,
}

impl Reading {
    /// Waits for its end; [`super::BlockDevice::finish`].
    pub fn finish(self) -> Result<Buffer, Error> {
        self.into_device().borrow_mut().finish()
    }

    /// The device, which nobody ends it for any longer.
    fn into_device(mut self) -> SharedDevice {
        self.wanted = false;
        self.device.clone()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.wanted {
            self.device.borrow_mut().abandon();
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume")
            .field("start", &self.start)
            .field("block_count", &self.block_count)
            .finish_non_exhaustive()
    }
}
