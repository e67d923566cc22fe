//! What is on a card: an image that all runs share, and what one of them does to it.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result};
use firn::block::{self, BLOCK_SIZE, BlockDevice, ErrorKind};
use rustix::fs::seek;

use crate::models::usdhc::Storage;

/// A block of a card.
pub(super) type Block = [u8; BLOCK_SIZE];

/// An image of which only the blocks are kept that are not zero.
pub(super) struct Image {
    blocks: HashMap<u64, Block>,
    block_count: u64,
}

impl Image {
    /// Reads an image file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let size = file.metadata()?.len();
        let mut blocks = HashMap::new();
        let mut at = 0;
        let mut bytes = vec![0; 1 << 16];
        // Holes of the file are passed over.
        while let Ok(start) = seek(&file, rustix::fs::SeekFrom::Data(at)) {
            at = start / BLOCK_SIZE as u64 * BLOCK_SIZE as u64;
            let count = bytes.len().min(usize::try_from(size - at)?);
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut bytes[..count])?;
            for (number, block) in (at / BLOCK_SIZE as u64..).zip(bytes[..count].as_chunks().0) {
                if *block != [0; BLOCK_SIZE] {
                    blocks.insert(number, *block);
                }
            }
            at += count as u64;
            if at >= size {
                break;
            }
        }
        Ok(Self { blocks, block_count: size / BLOCK_SIZE as u64 })
    }

    /// One block.
    pub(super) fn block(&self, number: u64) -> Block {
        self.blocks.get(&number).copied().unwrap_or([0; BLOCK_SIZE])
    }

    /// Numbers of the blocks that are not zero.
    pub(super) fn used(&self) -> Vec<u64> {
        let mut used: Vec<_> = self.blocks.keys().copied().collect();
        used.sort_unstable();
        used
    }
}

/// The medium of one run. Copies are the same medium.
#[derive(Clone)]
pub(super) struct Medium {
    image: Arc<Image>,
    changes: Arc<Mutex<Changes>>,
}

#[derive(Default)]
struct Changes {
    /// By a fault.
    damaged: BTreeMap<u64, Block>,
    /// By the loader, or by the system that it started.
    written: BTreeMap<u64, Block>,
}

impl Medium {
    /// A card with that image.
    pub(super) fn new(image: Arc<Image>) -> Self {
        Self { image, changes: Arc::default() }
    }

    /// Flips bits of byte `at` of a block behind everybody's back.
    pub(super) fn damage(&self, number: u64, at: usize, bits: u8) {
        let mut block = self.get(number);
        block[at] ^= bits;
        self.with(|changes| changes.damaged.insert(number, block));
    }

    /// Fills a block behind everybody's back.
    pub(super) fn overwrite(&self, number: u64, byte: u8) {
        self.with(|changes| changes.damaged.insert(number, [byte; BLOCK_SIZE]));
    }

    /// Blocks that were written to.
    pub(super) fn written(&self) -> Vec<u64> {
        self.with(|changes| changes.written.keys().copied().collect())
    }

    /// Blocks that a fault has changed.
    pub(super) fn damaged(&self) -> Vec<u64> {
        self.with(|changes| changes.damaged.keys().copied().collect())
    }

    fn get(&self, number: u64) -> Block {
        self.with(|changes| {
            let changed = changes.written.get(&number).or_else(|| changes.damaged.get(&number));
            changed.copied().unwrap_or_else(|| self.image.block(number))
        })
    }

    fn with<T>(&self, action: impl FnOnce(&mut Changes) -> T) -> T {
        action(&mut self.changes.lock().expect("no one panics with it"))
    }
}

impl Storage for Medium {
    fn read(&self, block: u64, bytes: &mut Block) {
        *bytes = self.get(block);
    }

    fn write(&mut self, block: u64, bytes: &Block) -> io::Result<()> {
        self.with(|changes| changes.written.insert(block, *bytes));
        Ok(())
    }
}

/// As the running system sees the card.
impl BlockDevice for Medium {
    fn name(&self) -> &'static str {
        "the card in the running system"
    }

    fn block_count(&self) -> u64 {
        self.image.block_count
    }

    fn read(&mut self, first: u64, destination: &mut [u8]) -> Result<(), block::Error> {
        self.check(first, destination.len())?;
        for (number, block) in (first..).zip(destination.as_chunks_mut().0) {
            *block = self.get(number);
        }
        Ok(())
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn write(&mut self, first: u64, source: &[u8]) -> Result<(), block::Error> {
        self.check(first, source.len())?;
        for (number, block) in (first..).zip(source.as_chunks().0) {
            self.with(|changes| changes.written.insert(number, *block));
        }
        Ok(())
    }
}

impl Medium {
    fn check(&self, first: u64, bytes: usize) -> Result<(), block::Error> {
        let end = first.checked_add((bytes / BLOCK_SIZE) as u64);
        match end.is_some_and(|end| end <= self.image.block_count) {
            true => Ok(()),
            false => Err(block::Error {
                kind: ErrorKind::OutOfRange,
                device: self.name().into(),
                block: first,
            }),
        }
    }
}
