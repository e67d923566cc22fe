//! Cards as files, the running system as a folder; the record as the loader itself reads and writes it.

use std::{cell::RefCell, fs, num::NonZeroU8, os::unix::fs::symlink, path::PathBuf, rc::Rc};

use clap::Parser;
use firn::{
    block::{BLOCK_SIZE, SharedDevice},
    boot::Store,
    state::{
        Identity, RECORD_SIZE, Record, Standing,
        place::GAP_OFFSETS,
        policy::{self, Candidate, Situation},
    },
};
use hadris_fat::FatOptions;
use hadris_fs::{Content, Node, Tree};
use hadris_storage::{BlockSize, MemDevice};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::file_device::FileDevice;

const MIB: usize = 1 << 20;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

/// What the list knows generation `number` as.
fn id(number: u32) -> String {
    format!("/nix/store/{number:032}-nixos-system")
}

fn identity(number: u32) -> Identity {
    Identity::new(&id(number))
}

/// An extlinux.conf of these generations.
fn configuration(numbers: &[u32]) -> String {
    let mut text = String::from("DEFAULT nixos-default\nTIMEOUT 50\n");
    for number in numbers {
        text += &format!(
            "LABEL nixos-{number}-default\n  MENU LABEL NixOS - Configuration {number}-default (2026-01-01 \
             00:00 - 25.11)\n  LINUX ../nixos/k\n  APPEND init={}/init\n",
            id(*number)
        );
    }
    text
}

/// A card with the gap that the record lies in, and a partition with these generations.
fn card(numbers: &[u32]) -> Vec<u8> {
    let mut tree = Tree::new();
    let mut put = |path: &str, bytes: &[u8]| {
        tree.insert(path, Node::file(Content::bytes(bytes.to_vec()))).unwrap();
    };
    put("nixos/k", b"kernel");
    put("extlinux/extlinux.conf", configuration(numbers).as_bytes());
    let mut partition = MemDevice::new(vec![0; 4 * MIB], BlockSize::new(512).unwrap());
    hadris_fat::sync::write(&mut partition, &tree, &FatOptions::new()).unwrap();
    let mut bytes = vec![0; 8 * MIB];
    bytes[446 + 4] = 0x0c;
    bytes[446 + 8..][..4].copy_from_slice(&16384_u32.to_le_bytes());
    bytes[446 + 12..][..4].copy_from_slice(&8192_u32.to_le_bytes());
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes.extend(partition.into_inner());
    bytes
}

/// A folder with a card's image, and a running system.
struct Bench(tempfile::TempDir);

impl Bench {
    /// With the image `card.img` of generations 40 to 42.
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        fs::write(bench.path("card.img"), card(&[42, 41, 40])).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn card(&self) -> PathBuf {
        self.path("card.img")
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.card()).unwrap()
    }

    /// The card's image becomes that of `mmcblk1`, the card of the system that runs.
    fn boots(&self, generation: &str) {
        self.property("firn,version", b"0.1.0\0");
        self.property("firn,generation", format!("{generation}\0").as_bytes());
        self.property("firn,state-device", b"30b50000.mmc\0");
        self.device("30b50000.mmc/mmc_host/mmc1/mmc1:aaaa/block", "mmcblk1");
        fs::create_dir_all(self.path("dev")).unwrap();
        symlink(self.card(), self.path("dev/mmcblk1")).unwrap();
        fs::create_dir_all(self.path("boot/extlinux")).unwrap();
        fs::write(self.path("boot/extlinux/extlinux.conf"), configuration(&[42, 41, 40])).unwrap();
    }

    fn property(&self, name: &str, value: &[u8]) {
        let chosen = self.path("proc/device-tree/chosen");
        fs::create_dir_all(&chosen).unwrap();
        fs::write(chosen.join(name), value).unwrap();
    }

    /// A block device below `parent`, as sysfs shows it.
    fn device(&self, parent: &str, name: &str) {
        let place = self.path("sys/devices/platform/soc@0/30800000.bus").join(parent).join(name);
        fs::create_dir_all(&place).unwrap();
        fs::create_dir_all(self.path("sys/class/block")).unwrap();
        symlink(place, self.path("sys/class/block").join(name)).unwrap();
    }

    /// Runs `firn state` with these words for the running system below this folder.
    fn run(&self, words: &str) -> Result<String> {
        self.exits(words).map(|(_, output)| output)
    }

    /// Like [`run`](Self::run), with the exit code.
    fn exits(&self, words: &str) -> Result<(ExitCode, String)> {
        let root = self.path("").display().to_string();
        let words = ["state"].into_iter().chain(words.split_whitespace());
        let line = Line::try_parse_from(words.chain(["--root", &root]))?;
        let mut output = Vec::new();
        let code = answer(&line.arguments, &mut output)?;
        Ok((code, String::from_utf8(output).unwrap()))
    }

    /// The loader boots generation 42 as the first try of three, with 41 to go back to.
    fn tries(&self) {
        self.boots(&id(42));
        self.property("firn,try", &[0, 0, 0, 1, 0, 0, 0, 3]);
        self.on_card("bless 41").unwrap();
        let ids = [id(42), id(41)];
        let candidates = ids.each_ref().map(|id| candidate(id));
        let mut store = self.loader();
        let decision = policy::decide(store.record(), &situation(&candidates)).unwrap();
        store.write(&decision.write.unwrap()).unwrap();
    }

    /// Likewise, for the card's image.
    fn on_card(&self, words: &str) -> Result<String> {
        self.run(&format!("{words} --card {}", self.card().display()))
    }

    fn shown(&self) -> Value {
        serde_json::from_str(&self.on_card("show --json").unwrap()).unwrap()
    }

    /// The record as the loader opens it.
    fn loader(&self) -> Store {
        let device = FileDevice::open_writable(&self.card()).unwrap();
        let device: SharedDevice = Rc::new(RefCell::new(device));
        Store::open(&device, None)
    }

    fn fails(&self, words: &str, parts: &[&str]) {
        let before = self.bytes();
        let error = format!("{:#}", self.on_card(words).unwrap_err());
        for part in parts {
            assert!(error.contains(part), "{words}: {error}");
        }
        assert!(self.bytes() == before, "{words} wrote");
    }
}

fn situation<'a>(candidates: &'a [Candidate<'a>]) -> Situation<'a> {
    Situation { candidates, link: None, reset: None, writable: true }
}

fn candidate(id: &str) -> Candidate<'_> {
    Candidate { id, label: "", broken: false, tries: NonZeroU8::new(3) }
}

// --- one record, two programs ----------------------------------------------------------------------

#[test]
fn what_is_set_here_is_what_the_loader_boots() {
    let bench = Bench::new();
    bench.on_card("set-default 41").unwrap();
    bench.on_card("boot-once 40").unwrap();
    let ids = [id(42), id(41), id(40)];
    let candidates = ids.each_ref().map(|id| candidate(id));
    let mut store = bench.loader();
    let decision = policy::decide(store.record(), &situation(&candidates)).unwrap();
    assert_eq!((decision.index, decision.basis), (2, policy::Basis::BootOnce));
    store.write(&decision.write.unwrap()).unwrap();
    let decision = policy::decide(store.record(), &situation(&candidates)).unwrap();
    assert_eq!((decision.index, decision.basis), (1, policy::Basis::Default));
}

#[test]
fn what_the_loader_writes_is_shown_here() {
    let bench = Bench::new();
    bench.on_card("bless 41").unwrap();
    let ids = [id(42), id(41)];
    let candidates = ids.each_ref().map(|id| candidate(id));
    let mut store = bench.loader();
    for _ in 0..2 {
        let decision = policy::decide(store.record(), &situation(&candidates)).unwrap();
        store.write(&decision.write.unwrap()).unwrap();
    }
    let shown = bench.shown();
    assert_eq!(shown["lastBooted"], json!({ "id": id(42), "onTrial": true }));
    assert_eq!(shown["counted"][0]["triesDone"], 2);
    assert_eq!(shown["lastFailure"]["code"], "E1101");
    let text = bench.on_card("show").unwrap();
    assert!(text.contains(&format!("trying        {}, 2 tries done, 1 left\n", id(42))), "{text}");
    assert!(text.contains(&format!("good          {}\n", id(41))), "{text}");
}

#[test]
fn a_boot_that_is_blessed_is_not_counted_again_and_the_second_blessing_writes_nothing() {
    let bench = Bench::new();
    bench.boots(&id(42));
    bench.on_card("bless 41").unwrap();
    let ids = [id(42), id(41)];
    let candidates = ids.each_ref().map(|id| candidate(id));
    let mut store = bench.loader();
    let decision = policy::decide(store.record(), &situation(&candidates)).unwrap();
    assert!(decision.attempt.is_some());
    store.write(&decision.write.unwrap()).unwrap();

    assert!(bench.run("bless").unwrap().starts_with("written\n"));
    let store = bench.loader();
    assert_eq!(store.record().standing(&identity(42)), Some(Standing::Good));
    assert_eq!(policy::decide(store.record(), &situation(&candidates)).unwrap().write, None);

    let before = bench.bytes();
    assert!(bench.run("bless").unwrap().starts_with("nothing to write"));
    assert!(bench.bytes() == before);
}

#[test]
fn a_new_default_leaves_the_running_generation_to_return_to() {
    let bench = Bench::new();
    bench.boots(&id(41));
    bench.run("set-default 42").unwrap();
    assert_eq!(bench.loader().record().last_good(), Some(&identity(41)));
    let other = Bench::new();
    other.on_card("set-default 42").unwrap();
    assert_eq!(other.loader().record().last_good(), None, "nothing runs from this card here");
}

#[derive(Clone, Debug)]
enum Step {
    SetDefault(u32),
    BootOnce(u32),
    Bless(Option<u32>),
    Clear,
}

impl Step {
    fn words(&self) -> String {
        match self {
            Self::SetDefault(number) => format!("set-default {} --force", id(*number)),
            Self::BootOnce(number) => format!("boot-once {} --force", id(*number)),
            Self::Bless(Some(number)) => format!("bless {}", id(*number)),
            Self::Bless(None) => "bless".into(),
            Self::Clear => "clear --yes".into(),
        }
    }

    fn apply(&self, record: &mut Record) {
        const RUNNING: u32 = 41;
        match self {
            Self::SetDefault(number) => {
                record.set_default(identity(*number), Some(identity(RUNNING)))
            }
            Self::BootOnce(number) => record.boot_once = Some(identity(*number)),
            Self::Bless(number) => record.bless(identity(number.unwrap_or(RUNNING))),
            Self::Clear => *record = Record::default(),
        }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        // Some are in no list.
        4 => (30..44_u32).prop_map(Step::SetDefault),
        3 => (30..44_u32).prop_map(Step::BootOnce),
        // The list of the card has these.
        4 => proptest::option::of(40..43_u32).prop_map(Step::Bless),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_sequence_of_commands_does_what_the_record_itself_does(
        steps in proptest::collection::vec(any_step(), 1..12)
    ) {
        let bench = Bench::new();
        bench.boots(&id(41));
        let mut record = Record::default();
        for step in &steps {
            bench.run(&step.words()).unwrap();
            step.apply(&mut record);
            let store = bench.loader();
            prop_assert_eq!(store.record(), &record);
        }
    }
}

// --- power cuts --------------------------------------------------------------------------------------

#[test]
fn a_write_that_was_cut_short_leaves_the_old_or_the_new_record_to_show() {
    let bench = Bench::new();
    for number in [40, 41] {
        bench.on_card(&format!("set-default {number}")).unwrap();
    }
    let old = bench.bytes();
    bench.on_card("set-default 42").unwrap();
    let new = bench.bytes();
    let copies = GAP_OFFSETS.map(|offset| usize::try_from(offset).unwrap());
    let written =
        copies.into_iter().find(|&at| old[at..][..RECORD_SIZE] != new[at..][..RECORD_SIZE]);
    let written = written.unwrap();
    let mut seen = Vec::new();
    for length in (0..=RECORD_SIZE).filter(|length| length % (BLOCK_SIZE / 4) <= 1) {
        let mut cut = old.clone();
        cut[written..][..length].copy_from_slice(&new[written..][..length]);
        fs::write(bench.card(), cut).unwrap();
        seen.push(bench.shown()["default"].clone());
        bench.on_card("bless 40").expect("the next write finds its place");
        assert_eq!(bench.shown()["lastGood"], id(40));
    }
    let after = seen.iter().filter(|default| **default == id(42)).count();
    assert!(
        after >= 1
            && seen
                .iter()
                .all(|default| [id(41), id(42)].contains(&default.as_str().unwrap().into()))
    );
    assert_eq!(seen.first().unwrap(), &id(41));
    assert_eq!(seen.last().unwrap(), &id(42));
}

// --- who is meant --------------------------------------------------------------------------------------

#[test]
fn a_generation_that_the_list_does_not_have_is_refused_unless_forced() {
    let bench = Bench::new();
    bench.fails("boot-once 39", &["card.img has no generation 39", "it has 42, 41, 40"]);
    bench.fails(
        &format!("boot-once {}", id(39)),
        &["no generation /nix/store", "firn entries", "--force"],
    );
    bench.fails(&format!("set-default {}", id(39)), &["no generation"]);
    bench.fails("bless newest", &["no generation newest"]);
    bench.on_card(&format!("boot-once {} --force", id(39))).unwrap();
    assert_eq!(bench.shown()["bootOnce"], id(39));
}

#[test]
fn the_running_system_is_asked_for_its_list_and_not_its_card() {
    let bench = Bench::new();
    bench.boots(&id(42));
    fs::write(bench.path("boot/extlinux/extlinux.conf"), configuration(&[43, 42])).unwrap();
    bench.run("set-default 43").unwrap();
    assert_eq!(bench.shown()["default"], id(43));
    let error = bench.run("boot-once 41").unwrap_err().to_string();
    assert!(error.contains("no generation 41; it has 43, 42"), "{error}");
}

#[test]
fn a_generation_that_is_known_to_be_broken_is_refused_unless_forced() {
    let bench = Bench::new();
    bench.boots(&id(42));
    let link = bench.path("nix/var/nix/profiles/system-44-link");
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink(id(44), link).unwrap();
    let error = bench.run("boot-once 44").unwrap_err().to_string();
    assert!(error.contains(&id(44)) && error.contains("cannot be booted: [E304]"), "{error}");
    bench.run(&format!("boot-once --force {}", id(44))).unwrap();
    assert_eq!(bench.shown()["bootOnce"], id(44));
}

#[test]
fn a_toplevel_is_taken_by_its_path_whatever_the_list_has() {
    let bench = Bench::new();
    bench.on_card(&format!("set-default --toplevel {}", id(7))).unwrap();
    assert_eq!(bench.shown()["default"], id(7));
    bench.fails("set-default --toplevel /nonexistent", &["cannot find /nonexistent"]);
    bench.fails("set-default --toplevel /", &["no system in /nix/store"]);
    bench.fails(&format!("set-default --toplevel {}/init", id(7)), &["cannot find"]);
}

#[test]
fn a_card_without_a_running_system_has_no_booted_generation_to_bless() {
    Bench::new().fails("bless", &["say which generation"]);
}

#[test]
fn words_that_make_no_sense_are_told_as_usage() {
    for words in ["set-default", "boot-once", "bless 1 2", "erase", "set-default 1 --toplevel /x"] {
        let words = ["state"].into_iter().chain(words.split(' '));
        let error = Line::try_parse_from(words).err().unwrap();
        assert_eq!(error.exit_code(), 2, "{error}");
    }
}

// --- which card ----------------------------------------------------------------------------------------

#[test]
fn the_record_is_on_the_whole_card_behind_the_loaders_controller() {
    let bench = Bench::new();
    bench.boots(&id(42));
    let sd = "30b50000.mmc/mmc_host/mmc1/mmc1:aaaa/block/mmcblk1";
    bench.device(sd, "mmcblk1p1");
    bench.device(sd, "mmcblk1boot0");
    bench.device("30b60000.mmc/mmc_host/mmc2/mmc2:0001/block", "mmcblk2");
    bench.device("usb/block", "sda");
    bench.run("boot-once 41").unwrap();
    assert_eq!(bench.shown()["bootOnce"], id(41));
    let shown: Value = serde_json::from_str(&bench.run("show --json").unwrap()).unwrap();
    assert!(shown["card"].as_str().unwrap().ends_with("/dev/mmcblk1"));
}

#[test]
fn a_card_that_linux_does_not_have_is_named_by_its_controller() {
    let bench = Bench::new();
    bench.boots(&id(42));
    bench.property("firn,state-device", b"30b60000.mmc\0");
    let error = bench.run("bless").unwrap_err().to_string();
    assert!(error.contains("no card behind 30b60000.mmc"), "{error}");
}

#[test]
fn without_a_place_there_is_this_boot_to_show_and_nothing_to_bless() {
    let bench = Bench::new();
    bench.boots(&id(42));
    fs::remove_file(bench.path("proc/device-tree/chosen/firn,state-device")).unwrap();
    assert!(bench.run("show").unwrap().contains(&id(42)));
    let error = bench.run("bless").unwrap_err().to_string();
    assert!(error.contains("no place for a state record"), "{error}");
}

#[test]
fn without_a_place_on_a_card_the_socs_registers_are_blessed_through_linux() {
    let bench = Bench::new();
    bench.boots(&id(42));
    fs::remove_file(bench.path("proc/device-tree/chosen/firn,state-device")).unwrap();
    let registers = bench.path("sys/bus/nvmem/devices/30370000.snvs:snvs-lpgpr0");
    fs::create_dir_all(&registers).unwrap();
    fs::write(registers.join("nvmem"), [0; 16]).unwrap();
    assert!(bench.run("bless").unwrap().contains("registers of the SoC"));
    let store = register::store(&registers.join("nvmem"));
    assert_eq!(store.record().standing(&identity(42)), Some(Standing::Good));
    let blessed = fs::read(registers.join("nvmem")).unwrap();
    bench.run("bless").unwrap();
    assert_eq!(fs::read(registers.join("nvmem")).unwrap(), blessed);
    let error = bench.run("boot-once 41").unwrap_err().to_string();
    assert!(error.contains("have room for the boot counting only"), "{error}");
    bench.run("clear --yes").unwrap();
    assert_eq!(fs::read(registers.join("nvmem")).unwrap(), [0; 16]);
}

#[test]
fn a_system_that_another_loader_booted_is_told_so() {
    let error = Bench::new().run("show").unwrap_err().to_string();
    assert!(error.contains("not booted by Firn") && error.contains("--card"), "{error}");
}

#[test]
fn a_card_without_a_gap_is_shown_with_what_is_wrong_and_not_written_to() {
    let bench = Bench::new();
    let mut bytes = bench.bytes();
    bytes[446 + 8..][..4].copy_from_slice(&2048_u32.to_le_bytes());
    fs::write(bench.card(), &bytes).unwrap();
    let shown = bench.shown();
    assert_eq!(shown["place"], Value::Null);
    assert_eq!(shown["problems"][0]["code"], "E1104");
    bench.fails("boot-once /nix/store/x --force", &["[E1104]", "block 2048"]);
    bench.fails("clear", &["[E1104]"]);
}

#[test]
fn a_partition_is_no_card() {
    let bench = Bench::new();
    let error = bench.run("show --card /").unwrap_err().to_string();
    assert!(error.contains("neither a card nor an image"), "{error}");
    let error = bench.run("show --card /nonexistent.img").unwrap_err().to_string();
    assert!(error.contains("cannot find /nonexistent.img"), "{error}");
}

// --- clear -----------------------------------------------------------------------------------------------

#[test]
fn clear_leaves_nothing_and_touches_nothing_else() {
    let bench = Bench::new();
    let before = bench.bytes();
    bench.on_card("set-default 41").unwrap();
    bench.on_card("boot-once 42").unwrap();
    bench.on_card("clear").unwrap();
    assert!(bench.bytes() == before);
}

#[test]
fn clear_makes_room_where_something_else_lies() {
    let bench = Bench::new();
    let mut bytes = bench.bytes();
    for offset in GAP_OFFSETS {
        bytes[usize::try_from(offset).unwrap()..][..4].copy_from_slice(b"junk");
    }
    fs::write(bench.card(), &bytes).unwrap();
    bench.fails("bless 41", &["[E1105]"]);
    bench.on_card("clear").unwrap();
    bench.on_card("bless 41").unwrap();
    assert_eq!(bench.shown()["lastGood"], id(41));
}

#[test]
fn what_was_booted_by_hand_is_not_blessed_and_leaves_no_trace() {
    for source in ["prompt", "boot image"] {
        let bench = Bench::new();
        // As the loader tells it: the name stands for no generation, and no card for the record is named.
        bench.boots("prompt");
        bench.property("firn,source", format!("{source}\0").as_bytes());
        let before = bench.bytes();
        let (code, told) = bench.exits("bless").unwrap();
        assert_eq!(code, ExitCode::SUCCESS, "a unit that blesses each boot has not failed");
        assert_eq!(
            told,
            format!(
                "nothing to bless: what was booted is no generation, it came from the {source}\n"
            )
        );
        assert!(bench.bytes() == before);
        bench.run("set-default 42").unwrap();
        assert_eq!(bench.loader().record().last_good(), None, "nobody can return to it");
        fs::remove_file(bench.path("proc/device-tree/chosen/firn,state-device")).unwrap();
        assert_eq!(bench.exits("bless").unwrap(), (ExitCode::SUCCESS, told));
        assert_eq!(bench.exits("pending").unwrap().0, ExitCode::FAILURE);
    }
}

#[test]
fn a_record_that_cannot_be_written_is_an_error_that_names_the_card() {
    let bench = Bench::new();
    bench.boots(&id(42));
    let card = bench.path("dev/mmcblk1");
    fs::remove_file(&card).unwrap();
    // Whoever opens a folder for writing fails, root too: as with a card that is locked.
    fs::create_dir(&card).unwrap();
    let error = format!("{:#}", bench.run("bless").unwrap_err());
    assert!(error.contains("cannot write to") && error.contains("mmcblk1"), "{error}");
}

// --- On trial --------------------------------------------------------------------------------------------

#[test]
fn a_try_is_pending_until_it_is_blessed() {
    let bench = Bench::new();
    bench.tries();
    let pending = "this boot is try 1 of 3, and has not been blessed\n".to_owned();
    assert_eq!(bench.exits("pending").unwrap(), (ExitCode::SUCCESS, pending));
    bench.run("bless").unwrap();
    let blessed = "this boot was try 1 of 3, and has been blessed\n".to_owned();
    assert_eq!(bench.exits("pending").unwrap(), (ExitCode::FAILURE, blessed));
}

#[test]
fn asking_whether_a_boot_is_pending_writes_nothing() {
    let bench = Bench::new();
    bench.tries();
    let before = bench.bytes();
    bench.run("pending").unwrap();
    assert!(bench.bytes() == before);
}

#[test]
fn a_boot_that_is_no_try_is_not_pending() {
    let bench = Bench::new();
    bench.boots(&id(42));
    let (code, sentence) = bench.exits("pending").unwrap();
    assert_eq!((code, &*sentence), (ExitCode::FAILURE, "this boot is not a try\n"));
}

#[test]
fn a_try_whose_record_cannot_be_read_is_pending() {
    let bench = Bench::new();
    bench.tries();
    bench.run("bless").unwrap();
    fs::remove_file(bench.path("dev/mmcblk1")).unwrap();
    assert_eq!(bench.exits("pending").unwrap().0, ExitCode::SUCCESS);
}

#[test]
fn a_boot_without_firn_is_neither_and_a_card_is_not_asked_about() {
    let bench = Bench::new();
    let error = bench.run("pending").unwrap_err().to_string();
    assert!(error.contains("was not booted by Firn"), "{error}");
    bench.boots(&id(42));
    let error = bench.run("pending --card card.img").unwrap_err().to_string();
    assert!(error.contains("without --card"), "{error}");
}

// --- JSON ------------------------------------------------------------------------------------------------

#[test]
fn the_json_of_a_boot_on_trial_is_this() {
    let bench = Bench::new();
    bench.boots(&id(42));
    bench.property("firn,source", b"extlinux\0");
    bench.property("firn,number", &42_u32.to_be_bytes());
    bench.property("firn,try", &[0, 0, 0, 1, 0, 0, 0, 3]);
    bench.property("firn,reset-cause", b"power on\0");
    bench.property("firn,time-names", b"memory\0kernel\0");
    bench.property("firn,times-us", &[[0; 6].as_slice(), &[1, 0, 0, 0, 0, 1, 0, 0, 0, 2]].concat());
    bench.on_card("bless 41").unwrap();
    let ids = [id(42), id(41)];
    let candidates = ids.each_ref().map(|id| candidate(id));
    let mut store = bench.loader();
    let decision = policy::decide(store.record(), &situation(&candidates)).unwrap();
    store.write(&decision.write.unwrap()).unwrap();
    let shown: Value = serde_json::from_str(&bench.run("show --json").unwrap()).unwrap();
    let expected = json!({
        "card": bench.path("dev/mmcblk1").display().to_string(),
        "place": { "ground": "gap", "blocks": [7936, 16128], "source": "second copy" },
        "writable": true,
        "problems": [],
        "default": null,
        "bootOnce": null,
        "lastGood": id(41),
        "lastBooted": { "id": id(42), "onTrial": true },
        "lastFailure": null,
        "counted": [
            { "id": id(42), "standing": "trying", "triesLeft": 2, "triesDone": 1 },
            { "id": id(41), "standing": "good" },
        ],
        "boot": {
            "version": "0.1.0",
            "generation": id(42),
            "source": "extlinux",
            "number": 42,
            "profile": null,
            "specialisation": null,
            "try": { "number": 1, "of": 3 },
            "resetCause": "power on",
            "lastFailure": null,
            "times": [
                { "name": "memory", "microseconds": 256 },
                { "name": "kernel", "microseconds": (1_u64 << 32) + 2 },
            ],
        },
    });
    assert_eq!(shown, expected);
}

#[test]
fn the_json_of_a_change_says_whether_something_was_written() {
    let bench = Bench::new();
    let changed = || -> Value {
        serde_json::from_str(&bench.on_card("set-default 41 --json").unwrap()).unwrap()
    };
    assert_eq!(changed()["changed"], true);
    assert_eq!(changed()["changed"], false);
    assert_eq!(bench.shown().get("changed"), None);
}

#[test]
fn an_account_that_was_tampered_with_is_an_error_and_no_panic() {
    let bench = Bench::new();
    bench.boots(&id(42));
    bench.property("firn,try", &[1, 2, 3]);
    let error = bench.run("show").unwrap_err().to_string();
    assert!(error.contains("firn,try") && error.contains("no cells"), "{error}");
}

// --- for an installation ------------------------------------------------------------------------------

fn written(keepers: &Keepers, number: u32) -> bool {
    matches!(keepers.set_default(&id(number)).unwrap(), Kept::Written(_))
}

#[test]
fn an_installation_on_the_running_system_writes_the_record_that_booted_it() {
    let bench = Bench::new();
    bench.boots(&id(41));
    let other = bench.path("other.img");
    fs::write(&other, card(&[1])).unwrap();
    let keepers = Keepers::find(&bench.path(""), true, Some(&other)).unwrap();
    assert!(written(&keepers, 42));
    assert!(!written(&keepers, 42), "a second time");
    assert_eq!(bench.loader().record().default, Some(identity(42)));
    let named = keepers.named().unwrap();
    assert_eq!(named.default, Some(id(42)));
    assert_eq!(named.others, [id(41)], "what runs counts as good");
    assert!(fs::read(other).unwrap() == card(&[1]));
}

#[test]
fn in_a_chroot_only_a_disk_that_has_a_record_already_is_written_to() {
    let bench = Bench::new();
    // The machine that installs was booted by Firn itself.
    bench.boots(&id(41));
    let own = bench.bytes();
    let disk = bench.path("disk.img");
    fs::write(&disk, card(&[1])).unwrap();
    let find = || Keepers::find(&bench.path(""), false, Some(&disk)).unwrap();
    let Kept::Nowhere(why) = find().set_default(&id(1)).unwrap() else { panic!("it was written") };
    assert!(why.contains("holds none"), "{why}");
    assert!(fs::read(&disk).unwrap() == card(&[1]));

    bench.run(&format!("set-default 1 --card {}", disk.display())).unwrap();
    assert!(written(&find(), 7));
    assert_eq!(find().named().unwrap().default, Some(id(7)));
    assert!(bench.bytes() == own, "the machine's own record is left alone");
}

#[test]
fn without_any_record_an_installation_goes_on_and_says_why_there_is_none() {
    let bench = Bench::new();
    let keepers = Keepers::find(&bench.path(""), true, None).unwrap();
    assert!(keepers.named().unwrap().default.is_none());
    assert!(matches!(keepers.set_default(&id(42)).unwrap(), Kept::Nowhere(_)));
}
