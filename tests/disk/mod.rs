//! Disk images for tests: kept small on disk and in memory, read through a device that counts.
//!
//! An [`Image`] knows two kinds of blocks besides zero: literal ones, and those of [`content`], the
//! recognisable filling of test files, of which only the place is kept. So an image with a file of
//! 60 MB packs into a few KiB.

#![allow(dead_code, unreachable_pub, reason = "a module of several tests; each uses a part")]
#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

pub mod recipes;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use firn::block::{
    BLOCK_SIZE, BlockDevice, Error, ErrorKind, SharedDevice, cache::Cache, volume::Volume,
};

pub type Block = [u8; BLOCK_SIZE];

const CONTENT_MAGIC: &[u8; 4] = b"firn";

/// Block `number` of the test file `seed`: no two are alike, and all are quickly made.
fn content_block(seed: u32, number: u64) -> Block {
    let mut block = [seed as u8 ^ number as u8; BLOCK_SIZE];
    block[..4].copy_from_slice(CONTENT_MAGIC);
    block[4..8].copy_from_slice(&seed.to_le_bytes());
    block[8..16].copy_from_slice(&number.to_le_bytes());
    block
}

/// What the test file `seed` of `size` bytes holds.
pub fn content(seed: u32, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size.next_multiple_of(BLOCK_SIZE)];
    for (number, block) in (0..).zip(bytes.chunks_exact_mut(BLOCK_SIZE)) {
        block.copy_from_slice(&content_block(seed, number));
    }
    bytes.truncate(size);
    bytes
}

/// Consecutive blocks of a test file, consecutive on the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ContentRun {
    start: u64,
    count: u64,
    seed: u32,
    number: u64,
}

/// A disk.
#[derive(Clone, Default)]
pub struct Image {
    pub block_count: u64,
    literal: BTreeMap<u64, Block>,
    content: Vec<ContentRun>,
}

impl Image {
    pub fn blank(block_count: u64) -> Self {
        Self { block_count, ..Self::default() }
    }

    /// Takes in a raw image file, sparse or not.
    pub fn load(path: &Path) -> Self {
        use std::io::Read;
        let mut file = std::fs::File::open(path).expect("an image that a recipe made");
        let size = file.metadata().expect("its size").len();
        let mut image = Self::blank(size / BLOCK_SIZE as u64);
        let mut buffer = vec![0; 1 << 20];
        let mut block = 0;
        while block < image.block_count {
            let left = (image.block_count - block) as usize * BLOCK_SIZE;
            let piece = &mut buffer[..left.min(1 << 20)];
            file.read_exact(piece).expect("all of the image");
            for bytes in piece.chunks_exact(BLOCK_SIZE) {
                image.put(block, bytes.try_into().expect("a block"));
                block += 1;
            }
        }
        image
    }

    /// Writes a raw image file, sparse.
    pub fn save(&self, path: &Path) {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::create(path).expect("an image file");
        file.set_len(self.block_count * BLOCK_SIZE as u64).expect("room");
        let content = self.content.iter().flat_map(|run| run.start..run.start + run.count);
        for number in self.literal.keys().copied().chain(content) {
            let at = number * BLOCK_SIZE as u64;
            file.write_all_at(&self.block(number), at).expect("room");
        }
    }

    /// Appends a block in ascending order.
    fn put(&mut self, number: u64, block: &Block) {
        if block.iter().all(|&byte| byte == 0) {
            return;
        }
        if let Some((seed, at)) = recognise_content(block) {
            if let Some(last) = self.content.last_mut() {
                let next = (last.start + last.count, last.seed, last.number + last.count);
                if next == (number, seed, at) {
                    last.count += 1;
                    return;
                }
            }
            self.content.push(ContentRun { start: number, count: 1, seed, number: at });
            return;
        }
        self.literal.insert(number, *block);
    }

    pub fn block(&self, number: u64) -> Block {
        if let Some(block) = self.literal.get(&number) {
            return *block;
        }
        let next = self.content.partition_point(|run| run.start + run.count <= number);
        match self.content.get(next) {
            Some(run) if run.start <= number => {
                content_block(run.seed, run.number + (number - run.start))
            }
            _ => [0; BLOCK_SIZE],
        }
    }

    /// Overwrites bytes, as a stray tool or a bad card would.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let number = at / BLOCK_SIZE as u64;
            let within = (at % BLOCK_SIZE as u64) as usize;
            let (piece, behind) = rest.split_at(rest.len().min(BLOCK_SIZE - within));
            let mut block = self.block(number);
            block[within..within + piece.len()].copy_from_slice(piece);
            self.literal.insert(number, block);
            at += piece.len() as u64;
            rest = behind;
        }
    }

    pub fn read(&self, offset: u64, size: usize) -> Vec<u8> {
        (offset..offset + size as u64)
            .map(|at| self.block(at / BLOCK_SIZE as u64)[(at % BLOCK_SIZE as u64) as usize])
            .collect()
    }

    /// The number of the block that holds `bytes`.
    pub fn find(&self, bytes: &[u8]) -> u64 {
        let found = (0..self.block_count).find(|&number| self.block(number) == bytes);
        found.expect("a block with these bytes")
    }

    /// The numbers of the blocks that hold neither zeros nor file contents: all metadata.
    pub fn literal_blocks(&self) -> Vec<u64> {
        self.literal.keys().copied().collect()
    }

    /// Puts another image into this one, as a partition.
    pub fn embed(&mut self, start: u64, partition: &Image) {
        for (&number, block) in &partition.literal {
            self.literal.insert(start + number, *block);
        }
        self.content.extend(
            partition.content.iter().map(|run| ContentRun { start: start + run.start, ..*run }),
        );
        self.content.sort_by_key(|run| run.start);
    }

    /// The form of `tests/fixtures`: deflate over counts and numbers in little-endian, then data as
    /// differences of 32-bit words, because allocation tables count.
    pub fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut number = |value: u64| bytes.extend(value.to_le_bytes());
        number(self.block_count);
        number(self.content.len() as u64);
        for run in &self.content {
            for value in [run.start, run.count, u64::from(run.seed), run.number] {
                number(value);
            }
        }
        number(self.literal.len() as u64);
        for &block in self.literal.keys() {
            number(block);
        }
        let mut last = 0;
        for word in self.literal.values().flat_map(|block| block.chunks_exact(4)) {
            let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
            bytes.extend(word.wrapping_sub(last).to_le_bytes());
            last = word;
        }
        miniz_oxide::deflate::compress_to_vec(&bytes, 10)
    }

    pub fn unpack(packed: &[u8]) -> Self {
        let bytes = miniz_oxide::inflate::decompress_to_vec(packed).expect("a packed image");
        let (mut at, bytes) = (0, bytes.as_slice());
        let mut number = || {
            at += 8;
            u64::from_le_bytes(bytes[at - 8..at].try_into().expect("eight bytes"))
        };
        let block_count = number();
        let content = (0..number())
            .map(|_| ContentRun {
                start: number(),
                count: number(),
                seed: u32::try_from(number()).expect("a seed"),
                number: number(),
            })
            .collect();
        let numbers: Vec<u64> = (0..number()).map(|_| number()).collect();
        let mut last = 0_u32;
        let data: Vec<u8> = bytes[at..]
            .chunks_exact(4)
            .flat_map(|word| {
                let difference = u32::from_le_bytes(word.try_into().expect("four bytes"));
                last = last.wrapping_add(difference);
                last.to_le_bytes()
            })
            .collect();
        let blocks = data.chunks_exact(BLOCK_SIZE);
        let literal = numbers
            .into_iter()
            .zip(blocks.map(|block| block.try_into().expect("a block")))
            .collect();
        Self { block_count, literal, content }
    }

    /// An image of `tests/fixtures`, by the name of its recipe.
    pub fn fixture(name: &str) -> Self {
        let path = fixture_path(name);
        let packed = std::fs::read(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; tests/fixtures/README.md tells how to make it", path.display())
        });
        Self::unpack(&packed)
    }
}

/// Where fixtures are, if not in `tests/fixtures`.
pub const FIXTURES: &str = "FIRN_FIXTURES";

pub fn fixture_path(name: &str) -> PathBuf {
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let directory = std::env::var_os(FIXTURES).map_or(checked_in, PathBuf::from);
    directory.join(format!("{name}.image"))
}

fn recognise_content(block: &Block) -> Option<(u32, u64)> {
    if &block[..4] != CONTENT_MAGIC {
        return None;
    }
    let seed = u32::from_le_bytes(block[4..8].try_into().ok()?);
    let number = u64::from_le_bytes(block[8..16].try_into().ok()?);
    (content_block(seed, number) == *block).then_some((seed, number))
}

/// What was asked of a [`Disk`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    pub commands: u64,
    pub blocks: u64,
}

/// A device over an image, with counters and bad blocks.
pub struct Disk {
    image: Rc<Image>,
    counters: Rc<Cell<Counters>>,
    bad_blocks: Vec<(u64, ErrorKind)>,
    budget: Option<u64>,
}

impl Disk {
    pub fn new(image: impl Into<Rc<Image>>) -> Self {
        Self { image: image.into(), counters: Rc::default(), bad_blocks: Vec::new(), budget: None }
    }

    /// Reads that touch `block` fail.
    pub fn with_bad_block(mut self, block: u64, kind: ErrorKind) -> Self {
        self.bad_blocks.push((block, kind));
        self
    }

    /// Panics after so many commands: what a hang would be on a real card.
    pub fn with_budget(mut self, commands: u64) -> Self {
        self.budget = Some(commands);
        self
    }

    pub fn counters(&self) -> Rc<Cell<Counters>> {
        Rc::clone(&self.counters)
    }

    /// Behind a cache, as the loader has it.
    pub fn cached(self) -> SharedDevice {
        Rc::new(RefCell::new(Cache::new(self)))
    }

    /// All of it, behind a cache.
    pub fn volume(self) -> Volume {
        Volume::whole(self.cached())
    }
}

impl BlockDevice for Disk {
    fn name(&self) -> &str {
        "test card"
    }

    fn block_count(&self) -> u64 {
        self.image.block_count
    }

    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        assert!(destination.len().is_multiple_of(BLOCK_SIZE));
        let count = (destination.len() / BLOCK_SIZE) as u64;
        let Counters { commands, blocks } = self.counters.get();
        self.counters.set(Counters { commands: commands + 1, blocks: blocks + count });
        assert!(self.budget.is_none_or(|budget| commands < budget), "endless reading");

        let error = |kind, block| Err(Error { kind, device: self.name().into(), block });
        if first_block.checked_add(count).is_none_or(|end| end > self.image.block_count) {
            return error(ErrorKind::OutOfRange, first_block);
        }
        for &(bad, kind) in &self.bad_blocks {
            if (first_block..first_block + count).contains(&bad) {
                return error(kind, bad);
            }
        }
        for (number, block) in (first_block..).zip(destination.chunks_exact_mut(BLOCK_SIZE)) {
            block.copy_from_slice(&self.image.block(number));
        }
        Ok(())
    }
}
