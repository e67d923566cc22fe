//! What the first stage loads, from each medium that the boot ROM starts, and what a user reads when
//! it cannot: the real loading code on a model of the ROM.

#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

use std::{cell::RefCell, collections::HashMap};

use evk::models::{
    boot_rom::{BootRom, Fault, Medium as Plugged},
    usdhc::Storage,
};
use firn::{
    board::BOARD,
    error::Coded,
    handoff::Recovery,
    image::{
        build::{self, Input, Piece},
        container::PartKind::{self, *},
    },
    memory::Region,
    mmio::Bus,
    soc::boot_rom::{self, Access, BootDevice, ImageCopy, Medium, Question, RomFailure},
    spl::load::{self, ALIGNMENT, Error, Loaded, Memory, SCRATCH_SIZE},
};
use proptest::prelude::*;

const CARD: usize = 0x8000;
const SECOND: usize = CARD + (4 << 20);
const CONTAINER: usize = 0x4_0000;

// --- images ------------------------------------------------------------------------------------

/// Bytes that differ from file to file and from place to place.
fn content(seed: u32, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

/// An image and what went into it.
#[derive(Clone)]
struct Image {
    parts: Vec<(PartKind, Vec<u8>)>,
    bytes: Vec<u8>,
}

impl Image {
    fn of(parts: Vec<(PartKind, Vec<u8>)>) -> Self {
        Self::with_spl(5000, parts)
    }

    fn with_spl(spl_size: usize, parts: Vec<(PartKind, Vec<u8>)>) -> Self {
        let training = [2, 3, 4, 5].map(|seed| content(seed, 700));
        let spl = content(1, spl_size);
        let pieces: Vec<_> =
            parts.iter().map(|(kind, bytes)| Piece { kind: *kind, bytes }).collect();
        let input =
            Input { spl: &spl, training: training.each_ref().map(Vec::as_slice), pieces: &pieces };
        let bytes = build::image(BOARD.image, &input).unwrap();
        Self { parts, bytes }
    }

    /// BL31, OP-TEE and a second stage that differ with `seed`; sizes are no multiples of anything.
    fn small(seed: u32) -> Self {
        Self::of(vec![
            (Bl31, content(seed, 52_065)),
            (Tee, content(seed + 1, 3_001)),
            (Loader, content(seed + 2, 300_007)),
        ])
    }

    fn recovery() -> Self {
        let mut parts = Self::small(20).parts;
        parts.extend([
            (Kernel, content(30, 2_500_001)),
            (Initrd, content(31, 5_000_003)),
            (DeviceTree, content(32, 60_001)),
            (CommandLine, b"root=/dev/ram0".to_vec()),
        ]);
        Self::of(parts)
    }

    /// With one bit changed.
    fn damaged(mut self, at: usize) -> Self {
        self.bytes[at] ^= 0x10;
        self
    }

    /// Where a part's bytes lie in the image.
    fn at(&self, kind: PartKind) -> usize {
        let (_, part) = self.parts.iter().find(|(of, _)| *of == kind).unwrap();
        self.bytes.windows(32).position(|bytes| *bytes == part[..32]).unwrap()
    }
}

/// A medium with images at these places.
fn with(images: &[(usize, &Image)]) -> Vec<u8> {
    let mut medium = Vec::new();
    for (at, image) in images {
        medium.resize(medium.len().max(at + image.bytes.len()), 0xee);
        medium[*at..at + image.bytes.len()].copy_from_slice(&image.bytes);
    }
    medium
}

fn sd(card: Vec<u8>) -> Plugged {
    Plugged::Sd { instance: 1, card: Box::new(card) }
}

fn emmc(user: Vec<u8>, boot: [Vec<u8>; 2], active: Option<usize>, fast: bool) -> Plugged {
    let boot = boot.map(|bytes| Box::new(bytes) as Box<dyn Storage>);
    Plugged::Emmc { instance: 2, user: Box::new(user), boot, active, fast }
}

fn flexspi(image: &Image) -> Plugged {
    Plugged::FlexSpi(Box::new(build::for_flexspi(BOARD.image, &image.bytes)))
}

fn usb(image: &Image) -> Plugged {
    Plugged::Usb(image.bytes.clone())
}

/// Every medium, with `image` on it.
fn media(image: &Image) -> Vec<(&'static str, Plugged)> {
    let empty = || [Vec::new(), Vec::new()];
    let bytes = || image.bytes.clone();
    vec![
        ("SD", sd(with(&[(CARD, image)]))),
        ("SD, secondary", sd(with(&[(SECOND, image)]))),
        ("eMMC user area", emmc(with(&[(CARD, image)]), empty(), None, false)),
        ("eMMC boot partition", emmc(Vec::new(), [bytes(), Vec::new()], Some(0), false)),
        ("eMMC other boot partition", emmc(Vec::new(), [Vec::new(), bytes()], Some(0), false)),
        ("eMMC fast boot", emmc(Vec::new(), [Vec::new(), bytes()], Some(1), true)),
        ("FlexSPI", flexspi(image)),
        ("USB", usb(image)),
    ]
}

// --- the board ---------------------------------------------------------------------------------

/// Memory of which parts get what they ask for, below 4 GiB or a lower end.
struct TestMemory {
    end: u64,
    regions: HashMap<u64, (usize, Vec<u8>)>,
    in_hurry: bool,
}

impl TestMemory {
    fn new() -> Self {
        Self { end: 1 << 32, regions: HashMap::new(), in_hurry: false }
    }

    /// What was loaded to `address`.
    fn at(&self, address: u64, size: usize) -> &[u8] {
        let (start, bytes) = &self.regions[&address];
        &bytes[*start..start + size]
    }
}

impl Memory for TestMemory {
    fn bytes(&mut self, region: Region) -> Option<&mut [u8]> {
        let mut rooms =
            BOARD.image.rooms.iter().map(|(_, room)| Region::new(room.start, room.size));
        assert!(rooms.any(|room| room.contains(region)), "{region} is no room for a part");
        if region.end() > self.end {
            return None;
        }
        let size = region.size() as usize;
        let (start, bytes) = self.regions.entry(region.start()).or_default();
        if bytes.len() < size + ALIGNMENT {
            *bytes = vec![0xa5; size + ALIGNMENT];
            *start = bytes.as_ptr().align_offset(ALIGNMENT);
        }
        Some(&mut bytes[*start..*start + size])
    }

    fn hurry<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        self.in_hurry = true;
        let result = work(self);
        self.in_hurry = false;
        result
    }
}

#[repr(align(64))]
struct Scratch([u8; SCRATCH_SIZE]);

/// What a boot with this ROM came to, and what a user reads on the way.
struct Outcome {
    result: Result<Loaded, Error>,
    memory: TestMemory,
    lines: Vec<String>,
}

fn line(error: &impl Coded) -> String {
    format!("[{}] {error}", error.code())
}

/// Starts the first stage as the ROM would, and loads.
fn boot(rom: &BootRom) -> Outcome {
    boot_into(TestMemory::new(), rom)
}

fn boot_into(mut memory: TestMemory, rom: &BootRom) -> Outcome {
    rom.start().expect("the ROM finds a header");
    let medium = boot_rom::find(rom, rom).unwrap();
    let mut scratch = Box::new(Scratch([0; SCRATCH_SIZE]));
    let lines = RefCell::new(Vec::new());
    let mut report = |error: &Error| lines.borrow_mut().push(line(error));
    let target = BOARD.image;
    let result = load::load(rom, &medium, target, &mut memory, &mut scratch.0, &mut report);
    if let Err(error) = &result {
        lines.borrow_mut().push(line(error));
    }
    assert_eq!(rom.broken_rules(), Vec::<String>::new());
    assert!(!memory.in_hurry);
    Outcome { result, memory, lines: lines.into_inner() }
}

impl Outcome {
    #[track_caller]
    fn assert_loaded(&self, image: &Image) -> Loaded {
        let loaded = self.result.unwrap_or_else(|error| panic!("{}", line(&error)));
        assert_eq!(loaded.entry, 0x97_0000);
        let Recovery { kernel, initrd, device_tree, command_line } = loaded.recovery;
        let region = |kind| match kind {
            Bl31 => Some(0x97_0000),
            Tee => Some(0x5600_0000),
            Loader => Some(0x4020_0000),
            Kernel => kernel.map(Region::start),
            Initrd => initrd.map(Region::start),
            DeviceTree => device_tree.map(Region::start),
            CommandLine => command_line.map(Region::start),
            _ => None,
        };
        for (kind, bytes) in &image.parts {
            let start = region(*kind).unwrap_or_else(|| panic!("no {kind}"));
            assert!(self.memory.at(start, bytes.len()) == *bytes, "{kind} arrived damaged");
        }
        assert_eq!(self.memory.regions.len(), image.parts.len(), "nothing else was loaded");
        loaded
    }

    #[track_caller]
    fn assert_lines(&self, wanted: &[&str]) {
        assert_eq!(self.lines, wanted);
    }
}

// --- what is loaded ----------------------------------------------------------------------------

#[test]
fn every_medium_loads_every_byte_whatever_its_pages() {
    let image = Image::small(40);
    for page_size in [1, 512, 1024, 4096, 0x1_0000] {
        for (name, medium) in media(&image) {
            // A host sends no more than the image.
            if name == "USB" && page_size > 4096 {
                continue;
            }
            let outcome = boot(&BootRom::new(medium).with_page_size(page_size));
            outcome.assert_loaded(&image);
            outcome.assert_lines(&[]);
        }
    }
}

#[test]
fn the_next_stage_is_told_where_the_image_came_from() {
    let image = Image::small(40);
    let wanted = [
        (BootDevice::Sd(1), 0x8000, false),
        (BootDevice::Sd(1), 0x40_8000, true),
        (BootDevice::Emmc(2), 0x8000, false),
        (BootDevice::Emmc(2), 0, false),
        (BootDevice::Emmc(2), 0, true),
        (BootDevice::Emmc(2), 0, false),
        (BootDevice::FlexSpi, 0x1000, false),
        (BootDevice::Usb, 0, false),
    ];
    for ((name, medium), wanted) in media(&image).into_iter().zip(wanted) {
        let told = boot(&BootRom::new(medium)).result.unwrap().boot;
        assert_eq!((told.device, told.image_offset, told.secondary), wanted, "{name}");
    }
}

#[test]
fn an_image_with_a_recovery_system_loads_all_of_it() {
    let image = Image::recovery();
    for medium in [usb(&image), sd(with(&[(CARD, &image)]))] {
        let loaded = boot(&BootRom::new(medium)).assert_loaded(&image);
        assert_eq!(loaded.recovery.command_line.unwrap().size(), 14);
    }
}

#[test]
fn large_files_are_asked_for_in_large_pieces() {
    let image = Image::recovery();
    for medium in [usb(&image), sd(with(&[(CARD, &image)]))] {
        let rom = BootRom::new(medium).with_page_size(1024);
        boot(&rom).assert_loaded(&image);
        // Of the stream, what lies in front of the container comes in small ones.
        let passed_over = CONTAINER / 1024;
        assert!(rom.downloads() < 40 + passed_over, "{}", rom.downloads());
    }
}

#[test]
fn a_host_that_sent_more_than_the_rom_took_is_followed() {
    let image = Image::small(40);
    // How much the ROM takes beyond what it loads is not known.
    for drained in [0, 64, 512, 1024, 4096, 0x2_0000] {
        let rom = BootRom::new(usb(&image)).with_drained(drained);
        boot(&rom).assert_loaded(&image);
    }
}

#[test]
fn the_host_is_not_left_waiting() {
    for spl_size in [5000, 5500, 6000, 6500] {
        let parts = Image::small(40).parts;
        let image = Image::with_spl(spl_size, parts);
        let rom = BootRom::new(usb(&image));
        boot(&rom).assert_loaded(&image);
        assert_eq!(rom.left_in_stream(), 0);
    }
}

#[test]
fn after_the_rom_fell_back_everything_is_read_from_the_second_copy() {
    let (first, second) = (Image::small(40).damaged(0), Image::small(50));
    let card = with(&[(CARD, &first), (SECOND, &second)]);
    let outcome = boot(&BootRom::new(sd(card)));
    assert!(outcome.assert_loaded(&second).boot.secondary);
    outcome.assert_lines(&[]);
}

#[test]
fn fuses_move_the_second_copy() {
    let image = Image::small(40);
    for (fuses, distance) in [(1, 2 << 20), (2, 1 << 20), (3, 8 << 20)] {
        let card = with(&[(CARD + distance, &image)]);
        let rom = BootRom::new(sd(card)).with_secondary_fuses(fuses);
        let boot = boot(&rom).assert_loaded(&image).boot;
        assert_eq!(boot.image_offset as usize, CARD + distance);
    }
}

// --- what goes wrong ---------------------------------------------------------------------------

#[test]
fn a_damaged_first_copy_is_told_and_the_second_one_loaded() {
    let (good, second) = (Image::small(40), Image::small(50));
    for (at, told) in [
        (
            good.at(Loader) + 299_000,
            "[E904] image at 0x8000: the second stage does not have its digest, at offset 0x4e800",
        ),
        (
            CONTAINER + 90,
            "[E903] image at 0x8000: the container's header does not have its digest, at offset \
             0x40000",
        ),
    ] {
        let first = good.clone().damaged(at);
        let rom = BootRom::new(sd(with(&[(CARD, &first), (SECOND, &second)])));
        let outcome = boot(&rom);
        let loaded = outcome.assert_loaded(&second);
        assert!(loaded.boot.secondary && loaded.boot.image_offset == SECOND as u32);
        outcome.assert_lines(&[told]);
    }
}

#[test]
fn a_second_copy_that_is_damaged_gives_way_to_the_first_one() {
    // The ROM sees only the head of an image, and that of the first one was unreadable to it.
    let (first, second) = (Image::small(40), Image::small(50));
    let second = second.clone().damaged(second.at(Bl31));
    let medium = sd(with(&[(CARD, &first), (SECOND, &second)]));
    let rom = BootRom::new(medium).with_fault(Fault::Byte(CARD as u64 + 8));
    let outcome = boot(&rom);
    assert!(!outcome.assert_loaded(&first).boot.secondary);
    outcome.assert_lines(&[
        "[E904] secondary image at 0x408000: BL31 does not have its digest, at offset 0x41000",
    ]);
}

#[test]
fn with_both_copies_bad_both_reasons_are_told_and_that_of_the_booted_one_ends_the_boot() {
    let (first, second) = (Image::small(40), Image::small(50));
    let first = first.clone().damaged(first.at(Tee));
    let second = second.damaged(CONTAINER);
    let outcome = boot(&BootRom::new(sd(with(&[(CARD, &first), (SECOND, &second)]))));
    outcome.assert_lines(&[
        "[E904] image at 0x8000: OP-TEE does not have its digest, at offset 0x4dc00",
        "[E901] secondary image at 0x408000: no container, but \"VIRNBOOT\", at offset 0x40000",
        "[E904] image at 0x8000: OP-TEE does not have its digest, at offset 0x4dc00",
    ]);
}

#[test]
fn a_card_without_a_second_copy_says_what_is_wrong_with_the_first() {
    let image = Image::small(40);
    let image = image.clone().damaged(image.at(Bl31));
    boot(&BootRom::new(sd(with(&[(CARD, &image)])))).assert_lines(&[
        "[E904] image at 0x8000: BL31 does not have its digest, at offset 0x41000",
        "[E901] secondary image at 0x408000: no container, but \
         \"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\", at offset 0x40000",
        "[E904] image at 0x8000: BL31 does not have its digest, at offset 0x41000",
    ]);
}

#[test]
fn on_a_boot_partition_there_is_no_second_copy_to_try() {
    let image = Image::small(40);
    let image = image.clone().damaged(image.at(Bl31));
    let medium = emmc(Vec::new(), [image.bytes.clone(), Image::small(50).bytes], Some(0), false);
    boot(&BootRom::new(medium))
        .assert_lines(&["[E904] image at 0x0: BL31 does not have its digest, at offset 0x41000"]);
}

#[test]
fn what_is_wrong_with_a_stream_is_told() {
    let image = Image::small(40);
    for (image, told) in [
        (
            image.clone().damaged(image.at(Bl31)),
            "[E904] image: BL31 does not have its digest, at offset 0x41000",
        ),
        (
            image.clone().damaged(CONTAINER + 90),
            "[E903] image: the container's header does not have its digest, at offset 0x40000",
        ),
        (
            // Nobody knows that this was a container.
            image.clone().damaged(CONTAINER),
            "[E1006] image: the download ended too early: the boot ROM answers 0x33",
        ),
    ] {
        boot(&BootRom::new(usb(&image))).assert_lines(&[told]);
    }
}

#[test]
fn a_stream_without_a_container_is_given_up_after_4_mib() {
    let mut image = Image::recovery();
    image.bytes[CONTAINER] = 0;
    let rom = BootRom::new(usb(&image));
    boot(&rom).assert_lines(&["[E901] image: no container in 4 MiB of the download"]);
    assert_eq!(rom.downloads(), 4096);
}

#[test]
fn a_download_that_ends_anywhere_is_told_as_such() {
    let whole = Image::small(40);
    for end in (0x4_0000..whole.bytes.len()).step_by(0x1_0000) {
        let mut image = whole.clone();
        image.bytes.truncate(end);
        boot(&BootRom::new(usb(&image))).assert_lines(&[
            "[E1006] image: the download ended too early: the boot ROM answers 0x33",
        ]);
    }
}

#[test]
fn an_image_for_another_board_is_refused() {
    let mut image = Image::small(40);
    // As if built with another name: the container's own digest holds.
    let place = CONTAINER + 48;
    image.bytes[place..place + 10].copy_from_slice(b"imx8mm-evk");
    redo_digest(&mut image.bytes);
    boot(&BootRom::new(emmc(Vec::new(), [image.bytes, Vec::new()], Some(0), false))).assert_lines(
        &["[E905] image at 0x0: the image was made for another board, at offset 0x40000"],
    );
}

/// Field of the container's entry with this index: load address and so on.
const ENTRY: usize = CONTAINER + 112;

fn redo_digest(image: &mut [u8]) {
    use sha2::{Digest as _, Sha256};
    let entries = usize::from(image[CONTAINER + 16]);
    let end = ENTRY + 64 * entries;
    let digest = Sha256::digest(&image[CONTAINER..end]);
    image[end..end + 32].copy_from_slice(&digest);
}

#[test]
fn a_part_that_would_go_where_it_has_no_business_is_refused_before_anything_is_loaded() {
    // Offset and value of a field of the second stage's entry, which is the fourth.
    for (field, value, told) in [
        (
            16,
            0x3000_0000_u64,
            "[E906] image at 0x0: the second stage at address 0x30000000, which is not for it, at \
             offset 0x4e800",
        ),
        (
            24,
            0x4020_0004,
            "[E906] image at 0x0: the second stage at address 0x40200004, which is not for it, at \
             offset 0x4e800",
        ),
    ] {
        let mut image = Image::small(40);
        let at = ENTRY + 3 * 64 + field;
        image.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        if field == 16 {
            image.bytes[at + 8..at + 16].copy_from_slice(&value.to_le_bytes());
        }
        redo_digest(&mut image.bytes);
        let outcome =
            boot(&BootRom::new(emmc(Vec::new(), [image.bytes, Vec::new()], Some(0), false)));
        outcome.assert_lines(&[told]);
        assert!(outcome.memory.regions.values().all(|(_, bytes)| bytes.iter().all(|b| *b == 0xa5)));
    }
}

#[test]
fn a_part_that_lies_in_front_of_the_container_is_refused() {
    let mut image = Image::small(40);
    let at = ENTRY + 64 + 4;
    image.bytes[at..at + 4].copy_from_slice(&0x2_0000_u32.to_le_bytes());
    redo_digest(&mut image.bytes);
    boot(&BootRom::new(usb(&image)))
        .assert_lines(&["[E906] image: BL31 does not lie in the image, at offset 0x20000"]);
}

#[test]
fn an_image_that_lacks_the_second_stage_is_refused() {
    let mut image = Image::small(40);
    // It becomes a part of a kind that nobody knows and nobody needs.
    let at = ENTRY + 3 * 64;
    image.bytes[at..at + 4].copy_from_slice(&[0xfe, 0, 0, 0]);
    redo_digest(&mut image.bytes);
    boot(&BootRom::new(usb(&image)))
        .assert_lines(&["[E907] image: the second stage is missing, at offset 0x40000"]);
}

#[test]
fn a_part_that_needs_more_memory_than_there_is_is_named() {
    let image = Image::recovery();
    let memory = TestMemory { end: 0x5840_0000, ..TestMemory::new() };
    boot_into(memory, &BootRom::new(usb(&image))).assert_lines(&[
        "[E908] image: the initrd goes to 0x058400000-0x0588c4b43, where there is no memory",
    ]);
}

#[test]
fn one_failed_read_is_forgiven_and_a_dead_device_is_told_at_every_call() {
    let image = Image::small(40);
    let card = || BootRom::new(sd(with(&[(CARD, &image)]))).with_page_size(4096);
    let rom = card();
    boot(&rom).assert_loaded(&image);
    let calls = rom.downloads();
    assert!(calls > 4, "{calls}");
    for call in 0..calls {
        boot(&card().with_fault(Fault::Call(call))).assert_loaded(&image);
        let dead = boot(&card().with_fault(Fault::CallsFrom(call)));
        let why = "the device cannot be read at 0x";
        assert!(dead.lines[0].starts_with(&format!("[E1002] image at 0x8000: {why}")));
        assert!(dead.lines[1].starts_with(&format!("[E1002] secondary image at 0x408000: {why}")));
        assert!(dead.result.is_err());
    }
    let stream = || BootRom::new(usb(&image));
    let rom = stream();
    boot(&rom).assert_loaded(&image);
    // The last 4 KiB hold nothing.
    for call in (0..rom.downloads() - 4).rev().step_by(17) {
        let dead = boot(&stream().with_fault(Fault::Call(call)));
        dead.assert_lines(&[
            "[E1006] image: the download ended too early: the boot ROM answers 0x33",
        ]);
    }
}

#[test]
fn a_page_of_the_first_copy_that_cannot_be_read_leads_to_the_second() {
    let (first, second) = (Image::small(40), Image::small(50));
    let bad = (CARD + first.at(Loader) + 0x2_0000) as u64;
    let medium = sd(with(&[(CARD, &first), (SECOND, &second)]));
    let outcome = boot(&BootRom::new(medium).with_fault(Fault::Byte(bad)));
    outcome.assert_loaded(&second);
    assert!(outcome.lines[0].starts_with("[E1002] image at 0x8000: the device cannot be read at"));
}

// --- what the ROM tells ------------------------------------------------------------------------

fn find(rom: &BootRom) -> Result<Medium, boot_rom::Error> {
    rom.start().unwrap();
    boot_rom::find(rom, rom)
}

#[test]
fn a_rom_that_does_not_answer_is_understood_by_its_records() {
    let image = Image::small(40);
    let rom = |plugged| BootRom::new(plugged).with_fault(Fault::Silent(Question::BootDevice));
    let card = with(&[(SECOND, &image)]);
    let silent = rom(sd(card)).with_fault(Fault::Silent(Question::Stage));
    assert_eq!(find(&silent).unwrap().to_string(), "SD card (uSDHC2), secondary image at 0x408000");
    // The log names the copy that the ROM does not tell.
    for fault in
        [Fault::Silent(Question::ImageOffset), Fault::Answer(Question::ImageOffset, 0x8000)]
    {
        let card = with(&[(SECOND, &image)]);
        boot(&BootRom::new(sd(card)).with_fault(fault)).assert_loaded(&image);
    }
    let download = find(&rom(usb(&image))).unwrap();
    assert_eq!(download.to_string(), "USB serial download, as a stream");
}

#[test]
fn a_log_with_words_that_only_look_like_a_fallback_is_none() {
    let card = with(&[(CARD, &Image::small(40))]);
    let Access::Seekable { booted, other } = find(&BootRom::new(sd(card))).unwrap().access else {
        panic!("a stream")
    };
    assert_eq!(booted, ImageCopy { offset: 0x8000, secondary: false });
    assert_eq!(other, Some(ImageCopy { offset: 0x40_8000, secondary: true }));
}

#[test]
fn fuses_that_forbid_a_second_copy_leave_one() {
    let card = with(&[(CARD, &Image::small(40))]);
    let medium = find(&BootRom::new(sd(card)).with_secondary_fuses(11)).unwrap();
    assert!(matches!(medium.access, Access::Seekable { other: None, .. }));
}

#[test]
fn page_sizes_that_cannot_be_are_an_error() {
    for size in [0, 3, 513, 0x2_0000, u32::MAX] {
        let card = with(&[(CARD, &Image::small(40))]);
        let rom = BootRom::new(sd(card)).with_fault(Fault::Answer(Question::PageSize, size));
        assert_eq!(
            line(&find(&rom).unwrap_err()),
            format!(
                "[E1002] the boot device cannot be read: the boot ROM says that its pages have \
                 {size} bytes"
            )
        );
    }
}

/// A chip on which every word is the same, or as `words` say, and whose ROM answers as `answers` say.
struct Chip {
    words: HashMap<u32, u32>,
    answers: HashMap<u32, u32>,
    filler: u32,
}

impl Bus for Chip {
    fn read16(&self, _: u32) -> u16 {
        unreachable!()
    }
    fn write16(&self, _: u32, _: u16) {
        unreachable!()
    }
    fn read32(&self, address: u32) -> u32 {
        let memory = [0..0x4_0000, 0x90_0000..0x99_0000, 0x3000_0000..0x4000_0000];
        assert!(memory.iter().any(|part| part.contains(&address)), "{address:#x} is no memory");
        assert!(address.is_multiple_of(4));
        self.words.get(&address).copied().unwrap_or(self.filler)
    }
    fn write32(&self, _: u32, _: u32) {
        unreachable!()
    }
}

impl boot_rom::BootRom for Chip {
    fn query(&self, question: Question) -> Result<u32, RomFailure> {
        self.answers.get(&(question as u32)).copied().ok_or(RomFailure::Absent)
    }
    fn download(&self, _: &mut [u8], _: u32) -> Result<(), RomFailure> {
        Err(RomFailure::Absent)
    }
}

#[test]
fn without_a_boot_rom_nobody_tells() {
    let chip = Chip { words: HashMap::new(), answers: HashMap::new(), filler: 0 };
    assert_eq!(
        line(&boot_rom::find(&chip, &chip).unwrap_err()),
        "[E1001] the boot ROM does not tell what it booted from"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_rom_holds_and_answers_ends_with_a_medium_or_an_error(
        pointers in prop::array::uniform2(prop_oneof![
            any::<u32>(), 0x90_0000..0xb0_0000_u32, Just(0x98_fffc), Just(0x90_0000)
        ]),
        filler in prop_oneof![any::<u32>(), Just(0), Just(u32::MAX), Just(0x8000_0000)],
        fuses in any::<u32>(),
        device in prop::option::of(prop_oneof![any::<u32>(), 0..0x10_0000_u32]),
        page_bits in prop::option::of(0..20_u32),
        offset in prop::option::of(any::<u32>()),
    ) {
        let words = HashMap::from([
            (0x9e0, pointers[0]),
            (0x9e8, pointers[1]),
            (boot_rom::SECONDARY_FUSES, fuses),
        ]);
        let told = [(2, device), (3, page_bits.map(|bits| 1 << bits)), (6, offset)];
        let answers = told.into_iter().filter_map(|(of, answer)| Some((of, answer?))).collect();
        let chip = Chip { words, answers, filler };
        if let Ok(medium) = boot_rom::find(&chip, &chip) {
            prop_assert!(medium.page_size.is_power_of_two() && medium.page_size <= 0x1_0000);
            // And reading from it is an error, wherever it is said to be.
            let mut scratch = Box::new(Scratch([0; SCRATCH_SIZE]));
            let mut memory = TestMemory::new();
            let result = load::load(
                &chip, &medium, BOARD.image, &mut memory, &mut scratch.0, &mut |_| {},
            );
            prop_assert!(result.is_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_image_arrives_as_it_was_built(
        sizes in (1..131_072_usize, 1..300_000_usize, prop::option::of(1..100_000_usize)),
        recovery in prop::option::of((1..700_000_usize, 1..900_000_usize)),
        page_bits in 0..=16_u32,
        medium in 0..8_usize,
        drained in 0..20_usize,
    ) {
        let (bl31, loader, tee) = sizes;
        let mut parts = vec![(Bl31, content(1, bl31))];
        parts.extend(tee.map(|size| (Tee, content(2, size))));
        parts.push((Loader, content(3, loader)));
        if let Some((kernel, initrd)) = recovery {
            parts.push((Kernel, content(4, kernel)));
            parts.push((Initrd, content(5, initrd)));
        }
        let image = Image::of(parts);
        let (name, plugged) = media(&image).remove(medium);
        let page_bits = if name == "USB" { page_bits.min(12) } else { page_bits };
        let rom = BootRom::new(plugged).with_page_size(1 << page_bits).with_drained(512 * drained);
        boot(&rom).assert_loaded(&image);
    }

    #[test]
    fn an_image_with_any_bit_changed_is_refused_or_arrives_as_it_was_built(
        at in CONTAINER..CONTAINER + 0x5_8000,
        stream in any::<bool>(),
    ) {
        let good = Image::small(40);
        let image = good.clone().damaged(at.min(good.bytes.len() - 1));
        let medium = if stream { usb(&image) } else { flexspi(&image) };
        let outcome = boot(&BootRom::new(medium));
        if outcome.result.is_ok() {
            outcome.assert_loaded(&good);
        }
    }

    #[test]
    fn a_container_that_says_anything_loads_into_the_rooms_for_parts_or_is_refused(
        fields in prop::collection::vec(
            (0..5_usize, 0..16_usize, prop_oneof![
                any::<u32>(), 0..0x8_0000_u32, Just(0x5800_0000), Just(0x4020_0000), Just(0x97_0000)
            ]),
            1..5,
        ),
        image_size in prop::option::of(any::<u32>()),
        stream in any::<bool>(),
    ) {
        let mut image = Image::small(40);
        for (entry, word, value) in fields {
            let at = ENTRY + 64 * entry + 4 * word;
            image.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        if let Some(size) = image_size {
            image.bytes[CONTAINER + 24..CONTAINER + 28].copy_from_slice(&size.to_le_bytes());
        }
        redo_digest(&mut image.bytes);
        let medium = if stream { usb(&image) } else { flexspi(&image) };
        let memory = TestMemory { end: 0x5900_0000, ..TestMemory::new() };
        // Whatever is let through has its digest: the parts themselves are as they were.
        let outcome = boot_into(memory, &BootRom::new(medium));
        if let Ok(loaded) = outcome.result {
            prop_assert_eq!(loaded.entry, 0x97_0000);
        }
    }
}
