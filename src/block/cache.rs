//! Read-ahead for metadata.
//!
//! File systems look at FAT sectors, inodes and directories in pieces of a few hundred bytes, often
//! next to each other and often again. A [`Cache`] in front of a card turns that into few reads of
//! [`LINE_BLOCKS`] blocks. File contents are read once, in large pieces: they pass by, straight into
//! their destination.

use alloc::{string::String, vec::Vec};

use super::{BLOCK_SIZE, BlockDevice, Error, ErrorKind};
use crate::dma::Buffer;

/// Blocks that are read together: 32 KiB take a high-speed card little longer than one block does.
pub const LINE_BLOCKS: u64 = (LINE_SIZE / BLOCK_SIZE) as u64;
const LINE_SIZE: usize = 32 * 1024;
/// Lines kept, 1 MiB in all: the metadata that one boot needs, several times over.
const LINES: usize = 32;
/// Reads of at least so many bytes go past the cache.
const BYPASS_SIZE: usize = 2 * LINE_SIZE;

/// What a cache did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Pieces of small reads that were found in a line.
    pub hits: u64,
    /// Pieces of small reads for which a line was read.
    pub misses: u64,
    /// Large reads, and those that ask for the medium, passed on as they were.
    pub bypasses: u64,
    /// Read requests made to the device.
    pub device_reads: u64,
    /// Blocks read from the device.
    pub device_blocks: u64,
}

impl Statistics {
    fn count_started(&mut self, blocks: u64) {
        self.bypasses += 1;
        self.device_reads += 1;
        self.device_blocks += blocks;
    }
}

/// A block device with a small cache of what was read in small pieces.
pub struct Cache<D> {
    device: D,
    lines: Vec<Line>,
    statistics: Statistics,
    uses: u64,
}

/// A line's worth of blocks, or fewer at the end of the device.
struct Line {
    first_block: u64,
    last_use: u64,
    buffer: Buffer,
}

impl<D: BlockDevice> Cache<D> {
    /// Puts a cache in front of `device`. Memory for the lines is taken as they are used.
    pub fn new(device: D) -> Self {
        Self { device, lines: Vec::new(), statistics: Statistics::default(), uses: 0 }
    }

    /// What the cache did so far.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// The device behind the cache.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device behind the cache, for what is not reading.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Forgets all lines, as when another card is put in.
    pub fn clear(&mut self) {
        self.lines.clear();
    }

    fn read_device(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        self.statistics.device_reads += 1;
        self.statistics.device_blocks += (destination.len() / BLOCK_SIZE) as u64;
        let result = self.device.read(first_block, destination);
        self.forget_if_gone(&result);
        result
    }

    fn forget_if_gone<T>(&mut self, result: &Result<T, Error>) {
        if let Err(Error { kind: ErrorKind::NoCard | ErrorKind::Removed, .. }) = result {
            self.clear();
        }
    }

    /// Whether blocks go past the cache into `buffer`.
    fn may_start(&self, first_block: u64, buffer: &Buffer) -> bool {
        let count = super::blocks_in(buffer);
        buffer.len() >= BYPASS_SIZE && super::check_range(self, first_block, count).is_ok()
    }

    /// Forgets the lines that hold any of `count` blocks from `first_block` on.
    fn forget(&mut self, first_block: u64, count: u64) {
        let end = first_block.saturating_add(count);
        self.lines.retain(|line| {
            line.first_block >= end || line.first_block.saturating_add(LINE_BLOCKS) <= first_block
        });
    }

    /// Reads a piece that lies in one line.
    fn read_piece(&mut self, block: u64, destination: &mut [u8]) -> Result<(), Error> {
        let line_block = block - block % LINE_BLOCKS;
        let index = match self.lines.iter().position(|line| line.first_block == line_block) {
            Some(index) => {
                self.statistics.hits += 1;
                index
            }
            None => {
                self.statistics.misses += 1;
                match self.fill_line(line_block) {
                    Ok(index) => index,
                    // What was only read ahead may be unreadable without harm.
                    Err(error) if error.kind.is_about_a_block() => {
                        return self.read_device(block, destination);
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        self.uses += 1;
        let line = &mut self.lines[index];
        line.last_use = self.uses;
        let start = offset_in_line(block);
        destination.copy_from_slice(&line.buffer[start..start + destination.len()]);
        Ok(())
    }

    /// Reads the line at `line_block` in the place of the one that was not used for longest.
    fn fill_line(&mut self, line_block: u64) -> Result<usize, Error> {
        let mut line = self.evict();
        let behind_start = self.device.block_count().saturating_sub(line_block);
        let size =
            if behind_start < LINE_BLOCKS { offset_in_line(behind_start) } else { LINE_SIZE };
        self.read_device(line_block, &mut line.buffer[..size])?;
        line.first_block = line_block;
        self.lines.push(line);
        Ok(self.lines.len() - 1)
    }

    fn evict(&mut self) -> Line {
        let oldest = (0..self.lines.len()).min_by_key(|&index| self.lines[index].last_use);
        match oldest {
            Some(index) if self.lines.len() == LINES => self.lines.swap_remove(index),
            _ => Line { first_block: 0, last_use: 0, buffer: Buffer::new(LINE_SIZE) },
        }
    }
}

impl<D: BlockDevice> BlockDevice for Cache<D> {
    fn name(&self) -> &str {
        self.device.name()
    }

    fn mode(&self) -> Option<String> {
        self.device.mode()
    }

    fn block_count(&self) -> u64 {
        self.device.block_count()
    }

    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        let count = super::blocks_in(destination);
        super::check_range(self, first_block, count)?;
        if destination.len() >= BYPASS_SIZE {
            self.statistics.bypasses += 1;
            return self.read_device(first_block, destination);
        }
        let mut block = first_block;
        let mut rest = destination;
        while !rest.is_empty() {
            let in_line = LINE_SIZE - offset_in_line(block);
            let (piece, behind) = rest.split_at_mut(in_line.min(rest.len()));
            self.read_piece(block, piece)?;
            block += super::blocks_in(piece);
            rest = behind;
        }
        Ok(())
    }

    fn read_medium(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        super::check_range(self, first_block, super::blocks_in(destination))?;
        self.statistics.bypasses += 1;
        self.read_device(first_block, destination)
    }

    fn start(&mut self, first_block: u64, buffer: Buffer) -> Result<(), Buffer> {
        let count = super::blocks_in(&buffer);
        if !self.may_start(first_block, &buffer) {
            return Err(buffer);
        }
        self.device.start(first_block, buffer)?;
        self.statistics.count_started(count);
        Ok(())
    }

    fn finish(&mut self) -> Result<Buffer, Error> {
        let result = self.device.finish();
        self.forget_if_gone(&result);
        result
    }

    fn finish_and_start(
        &mut self,
        first_block: u64,
        buffer: Buffer,
    ) -> (Result<Buffer, Error>, Result<(), Buffer>) {
        let count = super::blocks_in(&buffer);
        if !self.may_start(first_block, &buffer) {
            return (self.finish(), Err(buffer));
        }
        let (finished, started) = self.device.finish_and_start(first_block, buffer);
        if started.is_ok() {
            self.statistics.count_started(count);
        }
        self.forget_if_gone(&finished);
        (finished, started)
    }

    fn abandon(&mut self) {
        self.device.abandon();
    }

    fn is_writable(&self) -> bool {
        self.device.is_writable()
    }

    fn write(&mut self, first_block: u64, source: &[u8]) -> Result<(), Error> {
        let count = super::blocks_in(source);
        super::check_range(self, first_block, count)?;
        // Before the write: should it fail, nobody knows what the card holds.
        self.forget(first_block, count);
        self.device.write(first_block, source)
    }
}

/// Where `block` lies in its line, in bytes.
#[allow(clippy::cast_possible_truncation, reason = "less than LINE_BLOCKS")]
fn offset_in_line(block: u64) -> usize {
    (block % LINE_BLOCKS) as usize * BLOCK_SIZE
}
