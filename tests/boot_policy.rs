//! What boots from which card, and what a person at the line is told.

#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

#[path = "boot_policy/counting.rs"]
mod counting;
#[path = "boot_policy/hardware.rs"]
mod hardware;
#[path = "loading/mod.rs"]
mod loading;
#[path = "boot_policy/prompt.rs"]
mod prompt;
#[path = "through/mod.rs"]
mod through;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt::Write as _,
    rc::Rc,
    time::Duration,
};

use firn::{
    block::{self, BLOCK_SIZE, BlockDevice, ErrorKind, SharedDevice},
    board::BOARD,
    boot::{self, Facts, HandOver, LoadMemory, Machine, Outcome, Recovery, Unavailable},
    devicetree::DeviceTree,
    linux::{self, Dram, Mapping},
    memory::{Region, Size},
    soc::{Part, boot_rom::BootDevice},
    state::counter::Counter,
};
use hadris_fat::FatOptions;
use hadris_fs::{Content, Node, Tree};
use hadris_storage::{BlockSize, MemDevice};
use loading::{log, start_log};
use through::through;

const TREE: &[u8] = include_bytes!("fixtures/devicetree/board.dtb");
const DRAM_START: u64 = 0x4000_0000;
const DRAM_SIZE: u64 = 64 << 20;
const LOADER: Region = Region::new(0x4020_0000, 2 << 20);

// --- cards -------------------------------------------------------------------------------------

/// A card in memory; blocks from `broken_from` on cannot be read, and none can be written to if it
/// is `protected`.
struct Card {
    name: &'static str,
    bytes: Vec<u8>,
    broken_from: u64,
    protected: bool,
    fails_writes: bool,
    /// First blocks of all writes.
    writes: Vec<u64>,
    /// How many blocks were read.
    read: usize,
}

impl Card {
    fn new(name: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            name,
            bytes,
            broken_from: u64::MAX,
            protected: false,
            fails_writes: false,
            writes: Vec::new(),
            read: 0,
        }
    }
}

impl BlockDevice for Card {
    fn name(&self) -> &str {
        self.name
    }

    fn block_count(&self) -> u64 {
        (self.bytes.len() / BLOCK_SIZE) as u64
    }

    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), block::Error> {
        let start = first_block as usize * BLOCK_SIZE;
        let end = start + destination.len();
        let error = |kind| block::Error { kind, device: self.name.into(), block: first_block };
        if end as u64 > self.broken_from.saturating_mul(BLOCK_SIZE as u64) {
            return Err(error(ErrorKind::Transfer));
        }
        let bytes = self.bytes.get(start..end).ok_or_else(|| error(ErrorKind::OutOfRange))?;
        destination.copy_from_slice(bytes);
        self.read += destination.len() / BLOCK_SIZE;
        Ok(())
    }

    fn is_writable(&self) -> bool {
        !self.protected
    }

    fn write(&mut self, first_block: u64, source: &[u8]) -> Result<(), block::Error> {
        let start = first_block as usize * BLOCK_SIZE;
        let error = |kind| block::Error { kind, device: self.name.into(), block: first_block };
        if self.protected {
            return Err(error(ErrorKind::ReadOnly));
        }
        if self.fails_writes {
            return Err(error(ErrorKind::Transfer));
        }
        let end = start + source.len();
        let bytes = self.bytes.get_mut(start..end).ok_or_else(|| error(ErrorKind::OutOfRange))?;
        bytes.copy_from_slice(source);
        self.writes.push(first_block);
        Ok(())
    }
}

/// A card that is one FAT file system with these files.
fn card(name: &'static str, files: &[(&str, &[u8])]) -> Card {
    let mut tree = Tree::new();
    for (path, contents) in files {
        tree.insert(path, Node::file(Content::bytes(*contents))).unwrap();
    }
    let block_size = BlockSize::new(512).unwrap();
    let mut device = MemDevice::new(vec![0; 8 << 20], block_size);
    hadris_fat::sync::write(&mut device, &tree, &FatOptions::new()).unwrap();
    Card::new(name, device.into_inner())
}

/// An arm64 kernel of `size` bytes whose body is `mark`.
fn kernel(mark: u8, size: usize) -> Vec<u8> {
    let mut image = vec![mark; size];
    image[..64].fill(0);
    image[8..16].copy_from_slice(&0_u64.to_le_bytes());
    image[16..24].copy_from_slice(&(size as u64 + 0x1_0000).to_le_bytes());
    image[24..32].copy_from_slice(&0b1010_u64.to_le_bytes());
    image[56..60].copy_from_slice(b"ARM\x64");
    image
}

/// An extlinux.conf of numbered generations, the first being the default.
fn configuration(entries: &[(u32, &str)]) -> Vec<u8> {
    let mut text = format!("DEFAULT nixos-{}-default\nTIMEOUT 10\nMENU TITLE x\n", entries[0].0);
    for (number, lines) in entries {
        let _ = write!(text, "LABEL nixos-{number}-default\n  MENU LABEL NixOS - Configuration ");
        let _ = writeln!(text, "{number}-default (2026-01-01 00:00 - 25.11)\n{lines}");
        let _ = writeln!(text, "  APPEND init=/nix/store/{number}-nixos-system/init quiet");
    }
    text.into_bytes()
}

const TWO_GENERATIONS: &[(u32, &str)] = &[
    (42, "  LINUX ../nixos/k42\n  FDT ../nixos/board.dtb"),
    (41, "  LINUX ../nixos/k41\n  FDT ../nixos/board.dtb"),
];

// --- the board ---------------------------------------------------------------------------------

/// In keys: the person reads for a while.
const WAIT: u8 = 0;

/// A board with these cards, and a person who types `keys` one after the other.
struct TestBoard {
    cards: Vec<Result<Rc<RefCell<Card>>, block::Error>>,
    /// Put in once somebody has asked what there is.
    late_card: Option<Rc<RefCell<Card>>>,
    keys: VecDeque<u8>,
    /// Typed once the rescue prompt is there.
    prompt_keys: VecDeque<u8>,
    next_key: Cell<Duration>,
    clock: Cell<Duration>,
    /// When it jumps, if it does, and by how much.
    jump: Cell<Option<(Duration, Duration)>>,
    line: Vec<u8>,
    dram: Vec<u8>,
    claimed: Vec<Region>,
    unattended: bool,
}

impl TestBoard {
    fn new(cards: impl IntoIterator<Item = Card>) -> Self {
        start_log();
        Self {
            cards: cards.into_iter().map(|card| Ok(Rc::new(RefCell::new(card)))).collect(),
            late_card: None,
            keys: VecDeque::new(),
            prompt_keys: VecDeque::new(),
            next_key: Cell::new(Duration::from_millis(300)),
            clock: Cell::default(),
            jump: Cell::default(),
            line: Vec::new(),
            dram: vec![0; DRAM_SIZE as usize],
            claimed: Vec::new(),
            unattended: false,
        }
    }

    fn typing(mut self, keys: &str) -> Self {
        self.keys.extend(keys.bytes());
        self
    }

    fn typing_at_the_prompt(mut self, keys: &str) -> Self {
        self.prompt_keys.extend(keys.bytes());
        self
    }

    fn run(&mut self) -> Outcome {
        self.run_with(&facts(Some(TREE)))
    }

    fn run_with(&mut self, facts: &Facts<'_>) -> Outcome {
        boot::run(self, facts)
    }

    fn run_to_kernel(&mut self) -> HandOver {
        match self.run() {
            Outcome::Kernel(hand_over) => hand_over,
            other => panic!("{other:?}; log:\n{}", log()),
        }
    }

    fn memory(&self, region: Region) -> &[u8] {
        let start = (region.start() - DRAM_START) as usize;
        &self.dram[start..start + region.size() as usize]
    }

    fn command_line(&self, hand_over: &HandOver) -> String {
        let tree = DeviceTree::validate(self.memory(hand_over.device_tree)).unwrap();
        let chosen = tree.find("/chosen").unwrap();
        chosen.property("bootargs").unwrap().as_str().unwrap().to_owned()
    }

    /// The byte that fills the loaded kernel.
    fn kernel_mark(&self, hand_over: &HandOver) -> u8 {
        self.memory(hand_over.kernel)[64]
    }

    fn line(&self) -> String {
        String::from_utf8_lossy(&self.line).into_owned()
    }
}

fn facts(firmware_tree: Option<&'static [u8]>) -> Facts<'static> {
    Facts {
        board: &BOARD,
        dram: Dram {
            banks: vec![Region::new(DRAM_START, DRAM_SIZE)],
            source: linux::dram::Source::FirmwareTree,
        },
        taken: vec![(LOADER, "firn", Mapping::Normal)],
        firmware_tree: firmware_tree.map(|tree| DeviceTree::validate(tree).unwrap()),
        part: Part::default(),
        tee: None,
        board_addresses: vec![],
        entry: "EL2".into(),
        entropy: RefCell::default(),
        recovery: None,
        reset: None,
        times: Vec::new(),
    }
}

impl LoadMemory for TestBoard {
    fn claim(&mut self, region: Region) -> Result<&mut [u8], Unavailable> {
        assert!(Region::new(DRAM_START, DRAM_SIZE).contains(region), "{region} is not DRAM");
        assert!(!LOADER.overlaps(region), "{region} is the loader's");
        if self.claimed.iter().any(|claimed| claimed.overlaps(region)) {
            return Err(Unavailable(region));
        }
        self.claimed.push(region);
        let start = (region.start() - DRAM_START) as usize;
        Ok(&mut self.dram[start..start + region.size() as usize])
    }

    fn release(&mut self) {
        self.claimed.clear();
    }
}

impl Machine for TestBoard {
    fn open_device(&mut self, index: usize) -> Option<Result<SharedDevice, block::Error>> {
        if self.line().contains("> devices") {
            self.cards.extend(self.late_card.take().map(Ok));
        }
        let card = self.cards.get(index)?.clone();
        Some(card.map(|card| card as SharedDevice))
    }

    fn linux_name(&self, index: usize) -> Option<String> {
        Some(format!("{index}.mmc"))
    }

    fn counter(&mut self) -> Option<Box<dyn Counter>> {
        None
    }

    fn is_unattended(&mut self) {
        self.unattended = true;
    }

    fn now(&self) -> Duration {
        self.clock.set(self.clock.get() + Duration::from_millis(1));
        if let Some((at, by)) = self.jump.get().filter(|(at, _)| self.clock.get() >= *at) {
            self.jump.set(None);
            self.clock.set(at + by);
        }
        assert!(
            self.clock.get() < Duration::from_secs(3600),
            "an hour without an outcome; log:\n{}",
            log()
        );
        self.clock.get()
    }

    fn read_byte(&mut self) -> Option<u8> {
        if self.now() < self.next_key.get() {
            return None;
        }
        self.next_key.set(self.now() + Duration::from_millis(200));
        let line = self.line();
        // The menu's log, and its screen.
        let menu = line.rfind("opens the menu.").max(line.rfind("Firn 0.1.0  "));
        let at_prompt = line.rfind("Rescue prompt") > menu;
        let key = if at_prompt { self.prompt_keys.pop_front() } else { self.keys.pop_front() };
        if key == Some(WAIT) {
            self.next_key.set(self.now() + Duration::from_secs(20));
            return None;
        }
        key
    }

    fn write(&mut self, bytes: &[u8]) {
        self.line.extend_from_slice(bytes);
    }
}

// --- what boots --------------------------------------------------------------------------------

#[test]
fn the_default_generation_boots_when_nobody_types() {
    let (k42, k41) = (kernel(42, 0x2_0000), kernel(41, 0x2_0000));
    let files: &[(&str, &[u8])] = &[
        ("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS)),
        ("nixos/k42", &k42),
        ("nixos/k41", &k41),
        ("nixos/board.dtb", TREE),
    ];
    let mut board = TestBoard::new([card("SD", files)]);
    let hand_over = board.run_to_kernel();
    assert_eq!(board.memory(hand_over.kernel)[..k42.len()], k42);
    assert_eq!(board.command_line(&hand_over), "init=/nix/store/42-nixos-system/init quiet");
    assert!(hand_over.kernel.start().is_multiple_of(2 << 20));
}

#[test]
fn time_that_jumps_by_most_of_an_hour_boots_the_default_all_the_same() {
    let jump = Duration::from_secs(3000);
    for moment in (0..40).map(|step| Duration::from_millis(150) * step) {
        let mut board = TestBoard::new([good_card()]);
        board.jump.set(Some((moment, jump)));
        let hand_over = board.run_to_kernel();
        assert_eq!(board.kernel_mark(&hand_over), 42, "a jump after {moment:?}");
        assert!(!log().contains("[E"), "a jump after {moment:?}: {}", log());
        let left = board.jump.get().is_some();
        assert!(left || board.clock.get() < jump + Duration::from_secs(20));
    }
}

#[test]
fn a_person_boots_another_generation_with_an_edited_command_line() {
    let files: &[(&str, &[u8])] = &[
        ("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS)),
        ("nixos/k42", &kernel(42, 0x1000)),
        ("nixos/k41", &kernel(41, 0x1000)),
        ("nixos/board.dtb", TREE),
    ];
    let mut board = TestBoard::new([card("SD", files)]).typing("je single\r");
    let hand_over = board.run_to_kernel();
    assert_eq!(board.kernel_mark(&hand_over), 41);
    assert_eq!(board.command_line(&hand_over), "init=/nix/store/41-nixos-system/init quiet single");
}

#[test]
fn details_tell_where_in_memory_a_generation_goes_without_loading_it() {
    let files: &[(&str, &[u8])] = &[
        ("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS)),
        ("nixos/k42", &kernel(42, 4 << 20)),
        ("nixos/k41", &kernel(41, 0x1000)),
        ("nixos/board.dtb", TREE),
    ];
    let mut board = TestBoard::new([card("SD", files)]).typing("dr");
    assert_eq!(board.run(), Outcome::Reset);
    let shown = board.line();
    let card = board.cards[0].clone().unwrap();
    assert!(card.borrow().read < (1 << 20) / BLOCK_SIZE, "{} blocks", card.borrow().read);

    let mut board = TestBoard::new([Card::new("SD", card.borrow().bytes.clone())]).typing("\r");
    let hand_over = board.run_to_kernel();
    let place = |what, region: Region| format!("  {region} {what}, {}", Size(region.size()));
    assert!(shown.contains("\r\n    0x040000000-0x044000000 memory, 64.0 MiB\r\n"));
    assert!(shown.contains(&place("kernel", hand_over.kernel)), "{shown}");
    assert!(shown.contains(&place("device tree", hand_over.device_tree)), "{shown}");
    assert!(shown.contains("  0x040200000-0x040400000 firn, 2.0 MiB\r\n    "), "{shown}");
    assert!(shown.contains("\r\n  Memory\r\n    linux,cma: no 960.0 MiB are left"), "{shown}");
}

#[test]
fn details_leave_the_log_alone_whatever_there_is_to_say_of_a_load() {
    let text = String::from_utf8(configuration(&[(42, "  LINUX ../nixos/k42")])).unwrap();
    let text = text.replace("quiet", &"x".repeat(3000));
    let files: &[(&str, &[u8])] =
        &[("extlinux/extlinux.conf", text.as_bytes()), ("nixos/k42", &kernel(42, 0x1000))];
    let said = ["the one that the loader was started with", "the command line has"];
    let mut board = TestBoard::new([card("SD", files)]).typing("dr");
    assert_eq!(board.run_with(&facts(Some(TREE))), Outcome::Reset);
    assert!(board.line().contains("\r\n  Memory\r\n"), "{}", board.line());
    assert!(said.iter().all(|said| !log().contains(said)), "{}", log());

    let mut board = TestBoard::new([card("SD", files)]).typing("\r");
    assert!(matches!(board.run_with(&facts(Some(TREE))), Outcome::Kernel(_)));
    assert!(said.iter().all(|said| log().contains(said)), "{}", log());
}

#[test]
fn details_tell_why_a_generation_has_no_place() {
    let mut huge = kernel(42, 0x1000);
    huge[16..24].copy_from_slice(&(1_u64 << 30).to_le_bytes());
    let files: &[(&str, &[u8])] = &[
        ("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS)),
        ("nixos/k42", &huge),
        ("nixos/board.dtb", TREE),
    ];
    let mut board = TestBoard::new([card("SD", files)]).typing("dr");
    assert_eq!(board.run(), Outcome::Reset);
    let shown = board.line();
    assert!(
        shown.contains("  Memory\r\n    [E504] the kernel does not fit into memory"),
        "{shown}"
    );
}

#[test]
fn an_edited_command_line_is_not_used_for_the_generation_that_boots_instead() {
    let files: &[(&str, &[u8])] = &[
        ("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS)),
        ("nixos/k42", &kernel(42, 0x1000)),
        ("nixos/board.dtb", TREE),
    ];
    let mut board = TestBoard::new([card("SD", files)]).typing("je single\r");
    let hand_over = board.run_to_kernel();
    assert_eq!(board.command_line(&hand_over), "init=/nix/store/42-nixos-system/init quiet");
    assert_eq!(board.line().matches("[E304] NixOS - Configuration 41").count(), 1);
    assert!(!log().contains("E304"), "said twice: {}", log());
}

#[test]
fn what_is_wrong_with_a_generation_is_said_and_the_next_one_boots() {
    let good = kernel(41, 0x1000);
    let initrd_missing = configuration(&[
        (42, "  LINUX ../nixos/k42\n  FDT ../nixos/board.dtb\n  INITRD ../nixos/none"),
        TWO_GENERATIONS[1],
    ]);
    let own_tree =
        configuration(&[(42, "  LINUX ../nixos/k42\n  FDT ../nixos/own.dtb"), TWO_GENERATIONS[1]]);
    let plain = configuration(TWO_GENERATIONS);
    let empty: &[u8] = b"";
    let huge = {
        let mut image = kernel(42, 0x1000);
        image[16..24].copy_from_slice(&(1_u64 << 30).to_le_bytes());
        image
    };
    let mut broken_tree = TREE.to_vec();
    broken_tree[0x40..].fill(0xff);
    type Files<'a> = (&'a [u8], &'a [u8], &'a [u8]);
    let cases: &[(&str, Files<'_>)] = &[
        ("E501", (&plain, b"\x7fELF, surely not a kernel", TREE)),
        ("E502", (&plain, empty, TREE)),
        ("E504", (&plain, &huge, TREE)),
        ("E304", (&initrd_missing, &good, TREE)),
        ("E601", (&own_tree, &good, &broken_tree)),
    ];
    for (code, (configuration, bad_kernel, tree)) in cases {
        let files: &[(&str, &[u8])] = &[
            ("extlinux/extlinux.conf", configuration),
            ("nixos/k42", bad_kernel),
            ("nixos/k41", &good),
            ("nixos/own.dtb", tree),
            ("nixos/board.dtb", TREE),
        ];
        let mut board = TestBoard::new([card("SD", files)]);
        let hand_over = board.run_to_kernel();
        assert_eq!(board.kernel_mark(&hand_over), 41, "{code}");
        assert!(log().contains(&format!("[{code}] NixOS - Configuration 42")), "{}", log());
        assert!(log().contains("trying NixOS - Configuration 41"), "{}", log());
    }
}

mod overlays {
    use super::*;

    const BASE: &[u8] = include_bytes!("fixtures/devicetree/overlays/base.dtb");
    const CODEC: &[u8] = include_bytes!("fixtures/devicetree/overlays/codec.dtbo");
    const CARD: &[u8] = include_bytes!("fixtures/devicetree/overlays/card.dtbo");

    /// Boots from a card whose newest generation has these overlays.
    fn booted(names: &str) -> (TestBoard, HandOver) {
        let newest =
            format!("  LINUX ../nixos/k42\n  FDT ../nixos/base.dtb\n  FDTOVERLAYS {names}");
        let files: &[(&str, &[u8])] = &[
            ("extlinux/extlinux.conf", &configuration(&[(42, &newest), TWO_GENERATIONS[1]])),
            ("nixos/k42", &kernel(42, 0x1000)),
            ("nixos/k41", &kernel(41, 0x1000)),
            ("nixos/base.dtb", BASE),
            ("nixos/codec.dtbo", CODEC),
            ("nixos/card.dtbo", CARD),
            ("nixos/large.dtbo", &vec![0; 300 << 10]),
            ("nixos/board.dtb", TREE),
        ];
        let mut board = TestBoard::new([card("SD", files)]);
        let hand_over = board.run_to_kernel();
        (board, hand_over)
    }

    #[test]
    fn a_generations_overlays_are_in_the_kernels_tree_in_their_order() {
        let (board, hand_over) = booted("../nixos/codec.dtbo ../nixos/card.dtbo");
        assert_eq!(board.kernel_mark(&hand_over), 42);
        let tree = DeviceTree::validate(board.memory(hand_over.device_tree)).unwrap();
        let codec = tree.find("/soc@0/i2c@2000/codec@1a").unwrap();
        assert_eq!(tree.find("/sound").unwrap().property("dai").unwrap().as_u32(), codec.phandle());
        assert!(codec.property("#sound-dai-cells").is_some());
    }

    #[test]
    fn a_generation_whose_overlay_cannot_be_applied_is_not_booted_and_the_file_is_named() {
        for (names, said) in [
            (
                "../nixos/codec.dtbo ../nixos/none.dtbo",
                "[E304] NixOS - Configuration 42-default (2026-01-01 00:00 - 25.11): \
                 /nixos/none.dtbo: ",
            ),
            (
                "../nixos/card.dtbo",
                "[E604] NixOS - Configuration 42-default (2026-01-01 00:00 - 25.11): \
                 /nixos/card.dtbo: the device tree overlay cannot be applied: the device tree has \
                 no symbol \"codec\", which /fragment@0/__overlay__/sound:dai:0 needs",
            ),
            (
                "../nixos/codec.dtbo ../nixos/k41",
                "[E601] NixOS - Configuration 42-default (2026-01-01 00:00 - 25.11): /nixos/k41: ",
            ),
            (
                "../nixos/large.dtbo",
                "[E604] NixOS - Configuration 42-default (2026-01-01 00:00 - 25.11): \
                 /nixos/large.dtbo: the device tree overlay cannot be applied: 300.0 KiB is too \
                 large",
            ),
        ] {
            let (board, hand_over) = booted(names);
            assert_eq!(board.kernel_mark(&hand_over), 41, "{names}");
            assert!(log().contains(said), "{names}: {}", log());
        }
    }
}

#[test]
fn several_initrds_lie_behind_each_other_with_zeros_between() {
    let configuration = configuration(&[(
        42,
        "  LINUX ../nixos/k42\n  FDT ../nixos/board.dtb\n  INITRD ../nixos/a\n  INITRD ../nixos/b",
    )]);
    let files: &[(&str, &[u8])] = &[
        ("extlinux/extlinux.conf", &configuration),
        ("nixos/k42", &kernel(42, 0x1000)),
        ("nixos/board.dtb", TREE),
        ("nixos/a", b"first"),
        ("nixos/b", b"second!"),
    ];
    let mut board = TestBoard::new([card("SD", files)]);
    board.dram.fill(0xee);
    let hand_over = board.run_to_kernel();
    let initrd = hand_over.initrd.unwrap();
    assert_eq!(board.memory(initrd), b"first\0\0\0second!");
    let tree = DeviceTree::validate(board.memory(hand_over.device_tree)).unwrap();
    let chosen = tree.find("/chosen").unwrap();
    let end = chosen.property("linux,initrd-end").unwrap().as_u64();
    assert_eq!(end, Some(initrd.end()));
}

#[test]
fn without_a_tree_of_its_own_a_generation_gets_the_loaders() {
    let no_tree = configuration(&[(42, "  LINUX ../nixos/k42")]);
    let other_boards = configuration(&[(42, "  LINUX ../nixos/k42\n  FDTDIR ../nixos/other-dtbs")]);
    for configuration in [&no_tree, &other_boards] {
        let files: &[(&str, &[u8])] = &[
            ("extlinux/extlinux.conf", configuration),
            ("nixos/k42", &kernel(42, 0x1000)),
            ("nixos/other-dtbs/other.dtb", TREE),
        ];
        let mut board = TestBoard::new([card("SD", files)]);
        let hand_over = board.run_to_kernel();
        let tree = DeviceTree::validate(board.memory(hand_over.device_tree)).unwrap();
        assert_eq!(tree.model(), Some("Firn test board"));

        let mut board = TestBoard::new([card("SD", files)]).typing_at_the_prompt("reset\r");
        assert_eq!(boot::run(&mut board, &facts(None)), Outcome::Reset);
        assert!(log().contains("[E602]"), "{}", log());
    }
}

#[test]
fn a_tree_directory_is_searched_for_the_board_with_and_without_the_vendors_folder() {
    let configuration = configuration(&[(42, "  LINUX ../nixos/k42\n  FDTDIR ../nixos/dtbs")]);
    for path in ["nixos/dtbs/freescale/imx8mp-evk.dtb", "nixos/dtbs/imx8mp-evk.dtb"] {
        let files: &[(&str, &[u8])] = &[
            ("extlinux/extlinux.conf", &configuration),
            ("nixos/k42", &kernel(42, 0x1000)),
            (path, TREE),
        ];
        let mut board = TestBoard::new([card("SD", files)]).typing_at_the_prompt("reset\r");
        let outcome = boot::run(&mut board, &facts(None));
        assert!(matches!(outcome, Outcome::Kernel(_)), "{path}: {}", log());
    }
}

#[test]
fn the_memory_that_was_found_is_written_into_the_tree() {
    let files: &[(&str, &[u8])] = &[
        ("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS)),
        ("nixos/k42", &kernel(42, 0x1000)),
        ("nixos/board.dtb", TREE),
    ];
    let mut board = TestBoard::new([card("SD", files)]);
    let hand_over = board.run_to_kernel();
    let tree = DeviceTree::validate(board.memory(hand_over.device_tree)).unwrap();
    assert_eq!(
        firn::devicetree::memory::banks(tree),
        [Region::new(DRAM_START, DRAM_SIZE)],
        "the tree on the card speaks of 6 GiB"
    );
}

// --- device after device -------------------------------------------------------------------------

#[test]
fn the_next_device_is_tried_when_nothing_on_the_first_boots() {
    let bad = card("SD", &[("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS))]);
    let good_files: &[(&str, &[u8])] = &[
        ("boot/extlinux/extlinux.conf", &configuration(&TWO_GENERATIONS[1..])),
        ("boot/nixos/k41", &kernel(41, 0x1000)),
        ("boot/nixos/board.dtb", TREE),
    ];
    let mut board = TestBoard::new([bad, card("eMMC", good_files)]);
    let hand_over = board.run_to_kernel();
    assert_eq!(board.kernel_mark(&hand_over), 41);
    assert!(log().contains("[E304] NixOS - Configuration 42"), "{}", log());
    assert!(log().contains("[E304] NixOS - Configuration 41"), "{}", log());
}

#[test]
fn a_missing_a_blank_and_an_unreadable_card_are_reported_and_passed_over() {
    let good_files: &[(&str, &[u8])] = &[
        ("extlinux/extlinux.conf", &configuration(&TWO_GENERATIONS[1..])),
        ("nixos/k41", &kernel(41, 0x1000)),
        ("nixos/board.dtb", TREE),
    ];
    let blank = Card::new("blank", vec![0; 1 << 20]);
    let unreadable = Card { broken_from: 0, ..Card::new("dead", vec![0; 1 << 20]) };
    let mut board = TestBoard::new([blank, unreadable, card("good", good_files)]);
    let missing = block::Error { kind: ErrorKind::NoCard, device: "slot".into(), block: 0 };
    board.cards.insert(0, Err(missing));
    let hand_over = board.run_to_kernel();
    assert_eq!(board.kernel_mark(&hand_over), 41);
    for message in ["[E101] slot", "[E404] blank", "[E103] dead"] {
        assert!(log().contains(message), "{message} in:\n{}", log());
    }
}

#[test]
fn a_kernel_that_cannot_be_read_to_its_end_is_passed_over() {
    let files: &[(&str, &[u8])] = &[
        ("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS)),
        ("nixos/k41", &kernel(41, 0x1000)),
        ("nixos/board.dtb", TREE),
        ("nixos/k42", &kernel(42, 1 << 20)),
    ];
    let mut card = card("SD", files);
    let kernel_at = card.bytes.windows(4).rposition(|bytes| bytes == [42; 4]).unwrap();
    card.broken_from = (kernel_at / BLOCK_SIZE) as u64 - 8;
    let mut board = TestBoard::new([card]);
    let hand_over = board.run_to_kernel();
    assert_eq!(board.kernel_mark(&hand_over), 41);
    assert!(log().contains("[E103] NixOS - Configuration 42"), "{}", log());
}

// --- nothing boots -------------------------------------------------------------------------------

#[test]
fn with_nothing_to_boot_a_prompt_waits_and_resets_when_told_to() {
    let mut board = TestBoard::new([]).typing_at_the_prompt("reset\r");
    assert_eq!(board.run(), Outcome::Reset);
    assert!(board.line().contains("> "), "{}", board.line());
}

#[test]
fn the_menu_command_searches_all_devices_again() {
    let bad = card("SD", &[("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS))]);
    let mut board = TestBoard::new([bad]).typing_at_the_prompt("menu\rreset\r");
    assert_eq!(board.run(), Outcome::Reset);
    assert_eq!(board.line().matches("Firn 0.1.0").count(), 2, "{}", board.line());
    assert!(board.line().contains("> menu\r\n"), "{}", board.line());
}

#[test]
fn the_prompt_lists_what_was_found_and_why_it_did_not_boot() {
    let bad = card("SD", &[("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS))]);
    let mut board = TestBoard::new([bad]).typing_at_the_prompt("entries\rreset\r");
    assert_eq!(board.run(), Outcome::Reset);
    let line = board.line();
    assert!(line.contains("42") && line.contains("E304"), "{line}");
}

#[test]
fn an_empty_binary_or_huge_configuration_is_named() {
    let huge = vec![b'#'; 1 << 20];
    let cases: [(&str, &[u8]); 3] =
        [("E401", b"# nothing here\n"), ("E402", &[0, 159, 146, 150, 1, 2, 3]), ("E403", &huge)];
    for (code, contents) in cases {
        let mut board = TestBoard::new([card("SD", &[("extlinux/extlinux.conf", contents)])])
            .typing_at_the_prompt("reset\r");
        assert_eq!(board.run(), Outcome::Reset);
        assert!(log().contains(&format!("[{code}] SD")), "{code} in:\n{}", log());
    }
}

// --- what came along with the boot image -------------------------------------------------------

/// A recovery system whose kernel is `kernel`.
fn recovery(kernel: Vec<u8>) -> Recovery {
    Recovery {
        kernel: kernel.leak(),
        initrd: Some(b"an initrd"),
        device_tree: Some(TREE),
        command_line: Some(b"installer quiet\n"),
        device: Some(BootDevice::Usb),
    }
}

fn facts_with(recovery: Recovery) -> Facts<'static> {
    Facts { recovery: Some(recovery), ..facts(None) }
}

/// A card with one generation, 42.
fn good_card() -> Card {
    card(
        "SD",
        &[
            ("extlinux/extlinux.conf", &configuration(&TWO_GENERATIONS[..1])),
            ("nixos/k42", &kernel(42, 0x1000)),
            ("nixos/board.dtb", TREE),
        ],
    )
}

#[test]
fn a_system_sent_over_usb_boots_without_a_card() {
    let sent = kernel(7, 0x1_0000);
    let mut board = TestBoard::new([]);
    let facts = facts_with(recovery(sent.clone()));
    let Outcome::Kernel(hand_over) = board.run_with(&facts) else { panic!("{}", log()) };
    assert_eq!(board.memory(hand_over.kernel)[..sent.len()], sent);
    // The initrd stays where it is.
    let initrd = facts.recovery.unwrap().initrd.unwrap();
    let region = Region::new(initrd.as_ptr().addr() as u64, initrd.len() as u64);
    assert_eq!(hand_over.initrd, Some(region));
    let tree = DeviceTree::validate(board.memory(hand_over.device_tree)).unwrap();
    let end = tree.find("/chosen").unwrap().property("linux,initrd-end").unwrap().as_u64();
    assert_eq!(end, Some(region.end()));
    assert_eq!(board.command_line(&hand_over), "installer quiet");
    assert!(board.line().contains("System sent over USB"), "{}", board.line());
}

#[test]
fn an_initrd_that_lies_where_the_kernel_must_not_look_is_copied() {
    let mut facts = facts_with(recovery(kernel(7, 0x1000)));
    let initrd = facts.recovery.unwrap().initrd.unwrap();
    let place = Region::new(initrd.as_ptr().addr() as u64, initrd.len() as u64);
    facts.taken.push((place, "boot image", Mapping::Normal));
    facts.taken.push((Region::new(place.start() + 4, 1), "somebody", Mapping::Forbidden));
    let mut board = TestBoard::new([]);
    let Outcome::Kernel(hand_over) = board.run_with(&facts) else { panic!("{}", log()) };
    assert_eq!(board.memory(hand_over.initrd.unwrap()), initrd);
}

#[test]
fn a_system_sent_over_usb_comes_before_the_cards_and_its_command_line_can_be_edited() {
    let facts = facts_with(recovery(kernel(7, 0x1000)));
    let mut board = TestBoard::new([good_card()]).typing("e single\r");
    let Outcome::Kernel(hand_over) = board.run_with(&facts) else { panic!("{}", log()) };
    assert_eq!(board.kernel_mark(&hand_over), 7);
    assert_eq!(board.command_line(&hand_over), "installer quiet single");
}

#[test]
fn a_bad_system_sent_over_usb_is_told_and_the_card_boots() {
    let good = || recovery(kernel(7, 0x1000));
    for (code, recovery) in [
        ("E501", recovery(b"\x7fELF, surely not a kernel".to_vec())),
        ("E502", recovery(Vec::new())),
        ("E402", Recovery { command_line: Some(b"\xff\xfe"), ..good() }),
        ("E505", Recovery { initrd: Some(b""), ..good() }),
        ("E601", Recovery { device_tree: Some(b"no tree"), ..good() }),
        ("E602", Recovery { device_tree: None, ..good() }),
    ] {
        let mut board = TestBoard::new([good_card()]);
        let Outcome::Kernel(hand_over) = board.run_with(&facts_with(recovery)) else {
            panic!("{code}: {}", log())
        };
        assert_eq!(board.kernel_mark(&hand_over), 42, "{code}");
        assert!(log().contains(&format!("[{code}]")), "{code}: {}", log());
    }
}

#[test]
fn a_bad_system_sent_over_usb_without_a_card_ends_at_the_prompt() {
    let facts = facts_with(recovery(vec![9; 100]));
    let mut board = TestBoard::new([]).typing_at_the_prompt("reset\r");
    assert_eq!(board.run_with(&facts), Outcome::Reset);
    assert!(log().contains("[E501] System sent over USB"), "{}", log());
}

#[test]
fn a_system_sent_without_a_tree_gets_the_loaders() {
    let recovery = Recovery { device_tree: None, initrd: None, ..recovery(kernel(7, 0x1000)) };
    let facts = Facts { firmware_tree: facts(Some(TREE)).firmware_tree, ..facts_with(recovery) };
    let mut board = TestBoard::new([]);
    let Outcome::Kernel(hand_over) = board.run_with(&facts) else { panic!("{}", log()) };
    assert_eq!(hand_over.initrd, None);
    let tree = DeviceTree::validate(board.memory(hand_over.device_tree)).unwrap();
    assert_eq!(tree.model(), Some("Firn test board"));
}

#[test]
fn what_the_board_was_booted_from_is_searched_first() {
    let names = |booted| {
        let order = boot::search_order(BOARD.cards, booted);
        order.into_iter().map(|index| BOARD.cards[index].name).collect::<Vec<_>>()
    };
    let (sd, emmc) = ("SD card (uSDHC2)", "eMMC (uSDHC3)");
    assert_eq!(names(None), [sd, emmc]);
    assert_eq!(names(Some(BootDevice::Sd(1))), [sd, emmc]);
    assert_eq!(names(Some(BootDevice::Emmc(2))), [emmc, sd]);
    // What is no card, or none of the board's, changes nothing.
    for other in [BootDevice::Usb, BootDevice::Emmc(0), BootDevice::Sd(255)] {
        assert_eq!(names(Some(other)), [sd, emmc]);
    }
}
