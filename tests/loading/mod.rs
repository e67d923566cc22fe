//! Loading in a small memory that shows every byte written outside of what was planned, and kernels
//! to load, packed by the tools that people pack them with.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use firn::{
    board::BOARD,
    boot::{Facts, HandOver, Job, LoadError, LoadMemory, Unavailable, load},
    devicetree::{DeviceTree, chosen::Boot},
    error::Coded,
    fs::{self, DirEntry, ErrorKind, File, FileSystem, FileType, Metadata},
    linux::{Dram, Mapping, dram},
    memory::Region,
    nixos::{BootFiles, Generation, Source},
};

/// The board's device tree.
pub(crate) const TREE: &[u8] = include_bytes!("../fixtures/devicetree/board.dtb");

/// Where the test's memory begins.
const START: u64 = 0x4000_0000;
/// Its size in bytes: enough for [`kernel`] and a tree, not for much more.
const SIZE: u64 = 8 << 20;
/// Memory that is somebody else's, in the middle.
const TAKEN: Region = Region::new(0x4040_0000, 0x1000);
/// What memory holds that nobody has written to.
const FENCE: u8 = 0xc3;

// --- memory ------------------------------------------------------------------------------------

/// Memory to load to.
pub(crate) struct Memory {
    bytes: Vec<u8>,
    claimed: Vec<Region>,
    fence: Vec<u8>,
    /// How far from what is claimed one looks for what should not be there.
    pub(crate) reach: u64,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![FENCE; SIZE as usize],
            claimed: Vec::new(),
            fence: vec![FENCE; 1 << 16],
            reach: SIZE,
        }
    }

    /// The bytes of a region.
    pub(crate) fn at(&self, region: Region) -> &[u8] {
        let start = (region.start() - START) as usize;
        &self.bytes[start..][..region.size() as usize]
    }

    /// Whether nothing was written but to what is claimed, as far as `reach` bytes from it.
    pub(crate) fn is_intact(&self, reach: u64) -> bool {
        let mut claimed = self.claimed.clone();
        claimed.sort();
        claimed.insert(0, Region::new(START, 0));
        claimed.push(Region::new(START + SIZE, 0));
        claimed.windows(2).all(|pair| {
            let gap = Region::between(pair[0].end(), pair[1].start());
            let behind = Region::between(gap.start(), gap.end().min(gap.start() + reach));
            let before =
                Region::between(gap.start().max(gap.end().saturating_sub(reach)), gap.end());
            self.is_fence(behind) && self.is_fence(before)
        })
    }

    fn is_fence(&self, region: Region) -> bool {
        let mut pieces = self.at(region).chunks(self.fence.len());
        pieces.all(|piece| *piece == self.fence[..piece.len()])
    }

    /// As it was at first.
    pub(crate) fn wipe(&mut self) {
        for region in std::mem::take(&mut self.claimed) {
            let start = (region.start() - START) as usize;
            self.bytes[start..][..region.size() as usize].fill(FENCE);
        }
    }
}

impl LoadMemory for Memory {
    fn claim(&mut self, region: Region) -> Result<&mut [u8], Unavailable> {
        assert!(Region::new(START, SIZE).contains(region), "{region} is not memory");
        assert!(!TAKEN.overlaps(region), "{region} is somebody else's");
        assert!(!self.claimed.iter().any(|other| other.overlaps(region)), "{region} is claimed");
        self.claimed.push(region);
        let start = (region.start() - START) as usize;
        Ok(&mut self.bytes[start..][..region.size() as usize])
    }

    fn release(&mut self) {
        self.claimed.clear();
    }
}

// --- files -------------------------------------------------------------------------------------

/// A file system of files that are in memory.
#[derive(Clone, Default)]
pub(crate) struct Files {
    files: BTreeMap<String, Rc<[u8]>>,
    /// Bytes that were read, of all files.
    pub(crate) read: Rc<RefCell<u64>>,
}

impl Files {
    pub(crate) fn of(files: &[(&str, &[u8])]) -> Self {
        let mut all = Self::default();
        for (path, bytes) in files {
            all.put(path, bytes);
        }
        all
    }

    pub(crate) fn put(&mut self, path: &str, bytes: &[u8]) {
        self.files.insert(path.into(), bytes.into());
    }
}

struct Open {
    path: String,
    bytes: Rc<[u8]>,
    read: Rc<RefCell<u64>>,
}

impl File for Open {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&mut self, offset: u64, destination: &mut [u8]) -> Result<(), fs::Error> {
        let bytes = self.bytes.get(offset as usize..).and_then(|b| b.get(..destination.len()));
        let error = || fs::Error { kind: ErrorKind::BeyondEnd, path: self.path.clone() };
        destination.copy_from_slice(bytes.ok_or_else(error)?);
        *self.read.borrow_mut() += destination.len() as u64;
        Ok(())
    }
}

impl FileSystem for Files {
    fn kind(&self) -> &'static str {
        "test"
    }

    fn label(&self) -> Option<String> {
        None
    }

    fn open(&mut self, path: &str) -> Result<Box<dyn File>, fs::Error> {
        let missing = || fs::Error { kind: ErrorKind::NotFound, path: path.into() };
        let bytes = self.files.get(path).cloned().ok_or_else(missing)?;
        Ok(Box::new(Open { path: path.into(), bytes, read: self.read.clone() }))
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, fs::Error> {
        let size = self.open(path)?.size();
        Ok(Metadata { file_type: FileType::File, size })
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, fs::Error> {
        Err(fs::Error { kind: ErrorKind::NotFound, path: path.into() })
    }

    fn read_link(&mut self, path: &str) -> Result<String, fs::Error> {
        Err(fs::Error { kind: ErrorKind::NotFound, path: path.into() })
    }
}

// --- loading -----------------------------------------------------------------------------------

/// The files of an entry whose kernel is `/kernel`, with the device tree of the stage before.
pub(crate) fn entry() -> BootFiles {
    BootFiles { kernel: "/kernel".into(), command_line: "quiet".into(), ..BootFiles::default() }
}

/// What loading an entry comes to; that nothing was written but to what was planned is sure.
pub(crate) fn load_entry(
    memory: &mut Memory,
    files: &Files,
    entry: BootFiles,
) -> Result<HandOver, LoadError> {
    let generation = Generation {
        id: "test".into(),
        source: Source::Extlinux,
        name: "test".into(),
        title: "test".into(),
        number: None,
        profile: None,
        specialisation: None,
        date: None,
        version: None,
        kernel_version: None,
        default: true,
        files: entry,
        tries: None,
        unread: false,
        broken: None,
    };
    let facts = Facts {
        board: &BOARD,
        dram: Dram { banks: vec![Region::new(START, SIZE)], source: dram::Source::FirmwareTree },
        taken: vec![(TAKEN, "somebody", Mapping::Normal)],
        firmware_tree: Some(DeviceTree::validate(TREE).unwrap()),
        part: Default::default(),
        tee: None,
        board_addresses: vec![],
        entry: "EL2".into(),
        entropy: RefCell::default(),
        recovery: None,
        reset: None,
        times: Vec::new(),
    };
    start_log();
    memory.wipe();
    let job = Job {
        generation: &generation,
        file_system: &mut files.clone(),
        command_line: None,
        boot: Boot::default(),
    };
    let outcome = load(job, &facts, memory);
    assert!(memory.is_intact(memory.reach), "something was written outside of what was planned");
    outcome
}

/// Loads a kernel alone.
pub(crate) fn load_kernel(memory: &mut Memory, kernel: &[u8]) -> Result<HandOver, LoadError> {
    load_entry(memory, &Files::of(&[("/kernel", kernel)]), entry())
}

/// The error of a kernel that does not load, as a person sees it.
pub(crate) fn refusal(kernel: &[u8]) -> String {
    let error = load_kernel(&mut Memory::new(), kernel).expect_err("it loads");
    format!("[{}] {error}", error.code())
}

// --- the log -----------------------------------------------------------------------------------

thread_local! {
    static LOG: RefCell<String> = const { RefCell::new(String::new()) };
}

struct ThreadLog;

impl log::Log for ThreadLog {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOG.with_borrow_mut(|log| {
            log.push_str(&format!("{}\n", record.args()));
        });
    }

    fn flush(&self) {}
}

/// Begins the log of this thread anew.
pub(crate) fn start_log() {
    // Another thread of the test may have been first.
    if log::set_logger(&ThreadLog).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    LOG.take();
}

/// What this thread has logged since.
pub(crate) fn log() -> String {
    LOG.with_borrow(Clone::clone)
}

// --- kernels -----------------------------------------------------------------------------------

/// Bytes of [`kernel`].
pub(crate) const KERNEL_SIZE: usize = 200_000;
/// Bytes of memory that it asks for.
pub(crate) const IMAGE_SIZE: usize = 300_000;

/// What people and the kernel's makefiles compress kernels with, what the makefiles call that, and
/// what the log and FIT images call it.
pub(crate) const COMPRESSED: &[(&str, &str, &str)] = &[
    ("gzip -c -n -9", "gzip", "gzip"),
    ("zstd -c -22 --ultra", "zstd22", "zstd"),
    ("lz4 -c -9", "lz4", "lz4"),
    ("lz4 -c -l -9", "lz4", "lz4"),
    ("xz -c -9", "xzkern", "xz"),
    ("xz -c --check=crc32 --arm64 --lzma2=dict=128MiB", "xzkern", "xz"),
    ("xz -c --format=lzma -9", "lzma", "lzma"),
    ("lzop -c -9", "lzo", "lzo"),
];

/// [`image`] of a size that its packages are unpacked in no time, but take more than one step.
pub(crate) fn kernel() -> Vec<u8> {
    image(KERNEL_SIZE, IMAGE_SIZE)
}

/// An arm64 Image as the kernel's build makes it: header, PE section table, contents. It has `size`
/// bytes and asks for `image_size`.
pub(crate) fn image(size: usize, image_size: usize) -> Vec<u8> {
    let mut bytes = sample(size);
    bytes[..512].fill(0);
    bytes[..2].copy_from_slice(b"MZ");
    bytes[16..24].copy_from_slice(&(image_size as u64).to_le_bytes());
    bytes[24..32].copy_from_slice(&0b1010_u64.to_le_bytes());
    bytes[56..60].copy_from_slice(b"ARM\x64");
    pe_header(&mut bytes, 0xaa64, &[(4096, size as u32 - 4096)]);
    bytes
}

/// Writes a PE header with sections at these offsets and of these sizes.
pub(crate) fn pe_header(bytes: &mut [u8], machine: u16, sections: &[(u32, u32)]) {
    bytes[0x3c..0x40].copy_from_slice(&0x40u32.to_le_bytes());
    bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
    bytes[0x44..0x46].copy_from_slice(&machine.to_le_bytes());
    bytes[0x46..0x48].copy_from_slice(&(sections.len() as u16).to_le_bytes());
    bytes[0x54..0x56].copy_from_slice(&160u16.to_le_bytes());
    for (index, (offset, size)) in sections.iter().enumerate() {
        let entry = 0x40 + 24 + 160 + 40 * index;
        bytes[entry + 16..entry + 20].copy_from_slice(&size.to_le_bytes());
        bytes[entry + 20..entry + 24].copy_from_slice(&offset.to_le_bytes());
    }
}

/// Bytes with repetitions and stretches that cannot be compressed.
pub(crate) fn sample(size: usize) -> Vec<u8> {
    let mut random = Random(1);
    let mut bytes = Vec::with_capacity(size + 256);
    while bytes.len() < size {
        let length = 1 + random.below(200);
        match random.below(3) {
            0 => bytes.extend((0..length).map(|_| random.next() as u8)),
            1 if !bytes.is_empty() => {
                let start = random.below(bytes.len());
                let end = (start + 3 * length).min(bytes.len());
                bytes.extend_from_within(start..end);
            }
            _ => bytes.extend(std::iter::repeat_n(random.next() as u8, length)),
        }
    }
    bytes.truncate(size);
    bytes
}

/// A sequence of numbers, the same for the same seed (Steele and others' SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// An EFI zboot kernel as Linux's `Makefile.zboot` and `zboot-header.S` make it: `payload` is packed
/// by `name`, and unpacks to `size` bytes.
pub(crate) fn zboot(name: &str, payload: &[u8], size: usize, machine: u16) -> Vec<u8> {
    const HEADER: usize = 4096;
    let mut bytes = vec![0; HEADER];
    bytes[..8].copy_from_slice(b"MZ\0\0zimg");
    bytes[8..12].copy_from_slice(&(HEADER as u32).to_le_bytes());
    bytes[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes[24..24 + name.len()].copy_from_slice(name.as_bytes());
    bytes[0x38..0x3c].copy_from_slice(&0x8182_23cd_u32.to_le_bytes());
    bytes.extend(payload);
    if name != "gzip" {
        bytes.extend((size as u32).to_le_bytes());
    }
    // The program that unpacks itself.
    bytes.extend([0x5a; 3000]);
    let end = bytes.len() as u32;
    pe_header(&mut bytes, machine, &[(HEADER as u32, end - HEADER as u32)]);
    bytes
}
