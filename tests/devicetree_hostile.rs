//! Broken trees: what is said about them, and that nothing above validation can be hurt by them.

mod patching;

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use firn::{
    devicetree::{DeviceTree, DeviceTreeBuf, Error, ErrorKind, MAX_SIZE, total_size},
    error::{Code, Coded},
};
use patching::{exercise, lay_over};
use proptest::prelude::*;

const BOARD_DTB: &[u8] = include_bytes!("fixtures/devicetree/board.dtb");
const ONE_CELL_DTB: &[u8] = include_bytes!("fixtures/devicetree/one-cell.dtb");
const SMALLEST_DTB: &[u8] = include_bytes!("fixtures/devicetree/smallest.dtb");
const BASE_DTB: &[u8] = include_bytes!("fixtures/devicetree/overlays/base.dtb");
const OVERLAYS: [&[u8]; 2] = [
    include_bytes!("fixtures/devicetree/overlays/codec.dtbo"),
    include_bytes!("fixtures/devicetree/overlays/numbered.dtbo"),
];

const BEGIN: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
const EMPTY: u32 = 0;

/// A tree with this structure block and these strings.
fn blob(structure: &[u32], strings: &[u8]) -> Vec<u8> {
    let words: Vec<u8> = structure.iter().flat_map(|word| word.to_be_bytes()).collect();
    blob_of_bytes(&words, strings)
}

fn blob_of_bytes(structure: &[u8], strings: &[u8]) -> Vec<u8> {
    let start = 40 + 16;
    let end = start + structure.len();
    let numbers = [end + strings.len(), start, end, 40, 17, 16, 0, strings.len(), structure.len()];
    let mut bytes = 0xd00d_feed_u32.to_be_bytes().to_vec();
    bytes.extend(numbers.iter().flat_map(|&number| u32::try_from(number).unwrap().to_be_bytes()));
    bytes.extend([0; 16]);
    bytes.extend(structure);
    bytes.extend(strings);
    bytes
}

fn with_word(bytes: &[u8], offset: usize, value: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn error(bytes: &[u8]) -> Error {
    DeviceTree::validate(bytes).unwrap_err()
}

#[test]
fn each_damage_is_told_with_its_place() {
    const NAME: &[u8] = b"name\0";
    let structure = |words: &[u32]| error(&blob(words, NAME));
    let at = |offset: usize| 56 + 4 * offset;
    let cases = [
        (error(b""), ErrorKind::TooShort, 0),
        (error(&BOARD_DTB[..39]), ErrorKind::TooShort, 39),
        (error(&with_word(BOARD_DTB, 0, 0x1f8b_0800)), ErrorKind::Magic(0x1f8b_0800), 0),
        (error(&with_word(BOARD_DTB, 4, 39)), ErrorKind::TooShort, 4),
        (error(&with_word(BOARD_DTB, 4, 3 << 20)), ErrorKind::TooLarge { size: 3 << 20 }, 4),
        (error(&BOARD_DTB[..1000]), ErrorKind::Truncated { size: BOARD_DTB.len(), found: 1000 }, 4),
        (
            error(&with_word(BOARD_DTB, 20, 16)),
            ErrorKind::Version { version: 16, compatible: 16 },
            20,
        ),
        (
            error(&with_word(BOARD_DTB, 24, 18)),
            ErrorKind::Version { version: 17, compatible: 18 },
            20,
        ),
        (error(&with_word(BOARD_DTB, 8, 58)), ErrorKind::BlockUnaligned, 8),
        (error(&with_word(BOARD_DTB, 8, 36)), ErrorKind::BlockOutside, 8),
        (error(&with_word(BOARD_DTB, 36, u32::MAX - 3)), ErrorKind::BlockOutside, 8),
        (error(&with_word(BOARD_DTB, 12, u32::MAX)), ErrorKind::BlockOutside, 12),
        (error(&with_word(BOARD_DTB, 16, 44)), ErrorKind::BlockUnaligned, 16),
        (error(&with_word(BOARD_DTB, 16, 0)), ErrorKind::BlockOutside, 16),
        (
            error(&with_word(&blob(&[BEGIN, EMPTY, END_NODE, END], NAME), 48, 1)),
            ErrorKind::ReservationsUnterminated,
            72,
        ),
        (error(&with_word(BOARD_DTB, 12, 100)), ErrorKind::BlocksOverlap, 12),
        (structure(&[BEGIN, EMPTY, 5]), ErrorKind::Token(5), at(2)),
        (structure(&[]), ErrorKind::CutOff, at(0)),
        (structure(&[BEGIN, EMPTY]), ErrorKind::CutOff, at(2)),
        (structure(&[BEGIN, EMPTY, PROPERTY, 0]), ErrorKind::CutOff, at(2)),
        (structure(&[BEGIN, EMPTY, PROPERTY, 5, 0, 0]), ErrorKind::ValueOutside, at(2)),
        (structure(&[BEGIN, EMPTY, PROPERTY, u32::MAX, 0]), ErrorKind::ValueOutside, at(2)),
        (structure(&[BEGIN, EMPTY, PROPERTY, 0, 6]), ErrorKind::NameOutside, at(2)),
        (structure(&[BEGIN, EMPTY, PROPERTY, 0, 5]), ErrorKind::NameUnterminated, at(2)),
        (structure(&[BEGIN, EMPTY, PROPERTY, 0, 4]), ErrorKind::Name, at(2)),
        (structure(&[BEGIN, 0x6161_6161]), ErrorKind::NameUnterminated, at(0)),
        (
            structure(&[&[BEGIN], &[0x6161_6161; 64][..], &[0]].concat()),
            ErrorKind::NameTooLong,
            at(0),
        ),
        (structure(&[BEGIN, 0x612f_6200]), ErrorKind::Name, at(0)),
        (structure(&[BEGIN, EMPTY, BEGIN, EMPTY]), ErrorKind::Name, at(2)),
        (structure(&[PROPERTY, 0, 0]), ErrorKind::PropertyOutside, at(0)),
        (
            structure(&[BEGIN, EMPTY, BEGIN, 0x6100_0000, END_NODE, PROPERTY, 0, 0]),
            ErrorKind::PropertyOutside,
            at(5),
        ),
        (structure(&[END_NODE]), ErrorKind::EndOutsideNode, at(0)),
        (structure(&[END]), ErrorKind::NodeUnterminated, at(0)),
        (structure(&[BEGIN, EMPTY, END]), ErrorKind::NodeUnterminated, at(2)),
        (structure(&[BEGIN, EMPTY, END_NODE, BEGIN, EMPTY]), ErrorKind::SecondRoot, at(3)),
        (structure(&[BEGIN, 0x6100_0000].repeat(65)), ErrorKind::TooDeep, at(128)),
    ];
    for (error, kind, offset) in cases {
        assert_eq!((error.kind, error.offset), (kind, offset));
        assert_eq!(error.code(), Code::DeviceTreeCorrupt);
        assert!(error.to_string().ends_with(&format!("at offset {offset:#x}")), "{error}");
    }
}

#[test]
fn padding_tokens_and_bytes_behind_the_tree_do_no_harm() {
    let mut bytes =
        blob(&[NOP, BEGIN, EMPTY, NOP, PROPERTY, 4, 0, 7, NOP, NOP, END_NODE, NOP, END], b"name\0");
    bytes.extend([0xa5; 100]);
    let tree = DeviceTree::validate(&bytes).unwrap();
    assert_eq!(tree.root().property("name").unwrap().as_u32(), Some(7));

    let mut edited = DeviceTreeBuf::from(tree);
    edited.root_mut().set_u32("name", 8).unwrap();
    edited.root_mut().add_child("child").unwrap().set_u32("name", 9).unwrap();
    let written = edited.to_vec(0).unwrap();
    let tree = DeviceTree::validate(&written).unwrap();
    assert_eq!(tree.root().property("name").unwrap().as_u32(), Some(8));
    assert_eq!(tree.find("/child").unwrap().property("name").unwrap().as_u32(), Some(9));
}

#[test]
fn blocks_may_come_in_any_order() {
    let ordered = blob(&[BEGIN, EMPTY, PROPERTY, 0, 0, END_NODE, END], b"name\0\0\0\0");
    let (front, strings) = ordered.split_at(ordered.len() - 8);
    let (header, rest) = front.split_at(40);
    let mut bytes = [header, strings, rest].concat();
    for (offset, value) in [(8, 64u32), (12, 40), (16, 48)] {
        bytes = with_word(&bytes, offset, value);
    }
    let tree = DeviceTree::validate(&bytes).unwrap();
    assert!(tree.root().property("name").is_some());
}

#[test]
fn the_size_of_a_tree_in_memory_is_told_by_its_header_alone() {
    assert_eq!(total_size(&BOARD_DTB[..40]), Ok(BOARD_DTB.len()));
    assert!(total_size(&BOARD_DTB[..7]).is_err());
    assert!(total_size(&with_word(&BOARD_DTB[..40], 4, u32::MAX)).is_err());
    assert!(total_size(&[0; 40]).is_err());
}

/// Trees of the largest size that make a careless reader or editor take minutes.
#[test]
fn the_largest_trees_are_handled_in_no_time() {
    let many = |count, words: &[u32]| {
        [&[BEGIN, EMPTY], &words.repeat(count)[..], &[END_NODE, END]].concat()
    };
    let memory_nodes =
        many(40_000, &[BEGIN, 0x6d00_0000, PROPERTY, 7, 0, 0x6d65_6d6f, 0x7279_0000, END_NODE]);
    let same_property = many(150_000, &[PROPERTY, 0, 0]);
    let small_nodes = many(150_000, &[BEGIN, 0x6100_0000, END_NODE]);
    let deep = [&[BEGIN, 0x6100_0000].repeat(64)[..], &[END_NODE; 64], &[END]].concat();
    let long_name = [&[b'n'; 255][..], b"\0"].concat();

    for (structure, strings) in [
        (memory_nodes, b"device_type\0".to_vec()),
        (same_property.clone(), b"bootargs\0".to_vec()),
        (same_property, [long_name.repeat(1000), b"bootargs\0".to_vec()].concat()),
        (small_nodes, b"x\0".to_vec()),
        (deep, b"x\0".to_vec()),
    ] {
        let bytes = blob(&structure, &strings);
        let before = Instant::now();
        exercise(&bytes, &[]).unwrap();
        assert!(before.elapsed().as_secs() < 60, "{:?}", before.elapsed());
    }
}

/// xorshift64: the same mutations on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end
    }

    /// `original` with a few bytes, words or ranges changed.
    fn mutate(&mut self, original: &[u8]) -> Vec<u8> {
        let mut bytes = original.to_vec();
        for _ in 0..=self.below(4) {
            let offset = self.below(bytes.len());
            let word = offset / 4 * 4;
            match self.below(6) {
                0 => bytes[offset] ^= 1 << self.below(8),
                1 => bytes[offset] = u8::try_from(self.below(256)).unwrap(),
                2 if word + 4 <= bytes.len() => {
                    let tokens = [BEGIN, END_NODE, PROPERTY, NOP, END, 0, 4, 8, 64, u32::MAX];
                    let token = tokens[self.below(tokens.len())];
                    bytes[word..word + 4].copy_from_slice(&token.to_be_bytes());
                }
                3 => {
                    let (from, size) = (self.below(bytes.len()), self.below(64));
                    let size = size.min(bytes.len() - from).min(bytes.len() - offset);
                    bytes.copy_within(from..from + size, offset);
                }
                4 => {
                    let header = 4 * self.below(10);
                    let value = u32::try_from(self.below(2 * original.len())).unwrap();
                    bytes[header..header + 4].copy_from_slice(&value.to_be_bytes());
                }
                _ if self.below(8) == 0 => bytes.truncate(offset.max(40)),
                _ => bytes[offset] = 0,
            }
        }
        bytes
    }
}

/// Exercises mutations of `original`; returns how many were accepted as trees.
fn exercise_mutations(original: &[u8], overlays: &[&[u8]], count: usize, seed: u64) -> usize {
    let mut random = Random(seed | 1);
    (0..count).filter(|_| exercise(&random.mutate(original), overlays).is_ok()).count()
}

/// Lays mutations of `overlay` over `base`; returns how many could be.
fn overlay_mutations(base: &[u8], overlay: &[u8], count: usize, seed: u64) -> usize {
    let base = DeviceTree::validate(base).unwrap();
    let mut random = Random(seed | 1);
    (0..count).filter(|_| lay_over(base, &random.mutate(overlay)).is_some()).count()
}

/// A set that is always or never refused would show nothing about what follows.
fn assert_some_of(count: usize, accepted: usize) {
    assert!((count / 20..count * 19 / 20).contains(&accepted), "{accepted} of {count}");
}

#[test]
fn no_mutation_of_a_tree_hurts() {
    let cases =
        [(BOARD_DTB, 8_000), (BASE_DTB, 4_000), (ONE_CELL_DTB, 4_000), (SMALLEST_DTB, 4_000)];
    for (original, count) in cases {
        assert_some_of(count, exercise_mutations(original, &OVERLAYS, count, 0x5eed));
    }
}

#[test]
fn no_mutation_of_an_overlay_hurts() {
    for overlay in OVERLAYS {
        assert_some_of(5_000, overlay_mutations(BASE_DTB, overlay, 5_000, 0x5eed));
    }
}

/// By hand: `FIRN_DTBS=DIRECTORY FIRN_MUTATIONS=N cargo test --release --test devicetree_hostile \
/// -- --ignored --nocapture`, with device trees of a kernel and overlays for them. Half of a tree's
/// N mutations are those of overlays, where some fit.
#[test]
#[ignore = "long; wants a directory of device trees in FIRN_DTBS"]
fn no_mutation_of_a_real_tree_hurts() {
    let directory = PathBuf::from(env::var("FIRN_DTBS").expect("FIRN_DTBS names a directory"));
    let count: usize = env::var("FIRN_MUTATIONS").map_or(1000, |count| count.parse().unwrap());
    let (trees, overlays) = (files(&directory, "dtb"), files(&directory, "dtbo"));
    assert!(!trees.is_empty());
    let start = Instant::now();
    let (mut done, mut accepted, mut laid) = (0, 0, 0);
    for ((path, tree), seed) in trees.iter().zip(1..) {
        let before = start.elapsed();
        let base = DeviceTree::validate(tree).unwrap();
        let fitting = overlays.iter().map(|(_, overlay)| &overlay[..]);
        let fitting: Vec<_> = fitting.filter(|overlay| lay_over(base, overlay).is_some()).collect();
        let of_overlays = if fitting.is_empty() { 0 } else { count / 2 / fitting.len() };
        for overlay in &fitting {
            laid += overlay_mutations(tree, overlay, of_overlays, seed);
        }
        let of_tree = count - of_overlays * fitting.len();
        let some = if fitting.is_empty() { &OVERLAYS[..1] } else { &fitting[..1] };
        accepted += exercise_mutations(tree, some, of_tree, seed);
        done += count;
        println!(
            "{}: {of_tree} mutations, and {of_overlays} of each of {} overlays, {:.1?}",
            path.display(),
            fitting.len(),
            start.elapsed().saturating_sub(before)
        );
    }
    println!(
        "{done} mutations of {} trees in {:.0?}: {accepted} accepted as trees, {laid} laid over one",
        trees.len(),
        start.elapsed()
    );
    assert!(start.elapsed() < Duration::from_millis(20) * u32::try_from(done).unwrap());
}

/// The files in `directory` with this extension, in order.
fn files(directory: &Path, extension: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|one| one == extension));
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// What `dtoolkit` reads of a validated tree: it does not check what it reads, so it panics where
/// validation let something through.
fn compare_with_dtoolkit(bytes: &[u8], tree: DeviceTree<'_>) {
    use dtoolkit::{Node, Property, fdt::Fdt, fdt::FdtNode};

    fn compare(ours: firn::devicetree::Node<'_>, theirs: &FdtNode<'_>) {
        assert_eq!(ours.name(), theirs.name());
        let our_properties = ours.properties().map(|property| (property.name(), property.value()));
        let their_properties: Vec<_> = theirs.properties().collect();
        assert!(our_properties.eq(their_properties.iter().map(|p| (p.name(), p.value()))));
        let mut their_children = theirs.children();
        for child in ours.children() {
            compare(child, &their_children.next().unwrap());
        }
        assert!(their_children.next().is_none());
    }
    let theirs = Fdt::new_unchecked(&bytes[..total_size(bytes).unwrap()]);
    compare(tree.root(), &theirs.root());
    assert_eq!(tree.memory_reservations().count(), theirs.memory_reservations().count());
}

#[test]
fn another_reader_finds_the_same_in_every_tree_that_is_accepted() {
    let mut random = Random(0xd17);
    for original in [BOARD_DTB, ONE_CELL_DTB, SMALLEST_DTB] {
        for _ in 0..5_000 {
            let bytes = random.mutate(original);
            match DeviceTree::validate(&bytes) {
                Ok(tree) if begins_with_root(&bytes) => compare_with_dtoolkit(&bytes, tree),
                _ => {}
            }
        }
    }
}

/// `dtoolkit` takes the first word of the structure for the root's token.
fn begins_with_root(tree: &[u8]) -> bool {
    let start = u32::from_be_bytes(tree[8..12].try_into().unwrap()) as usize;
    tree[start..start + 4] == BEGIN.to_be_bytes()
}

proptest! {
    #[test]
    fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = DeviceTree::validate(&bytes);
        let _ = DeviceTree::validate(&[&BOARD_DTB[..40], &bytes].concat());
        prop_assert!(total_size(&bytes).map_or(true, |size| size <= MAX_SIZE));
    }
}
