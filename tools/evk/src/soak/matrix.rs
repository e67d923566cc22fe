//! The fault matrix: what goes wrong, where, what a user sees and what boots instead.
//!
//! It is data: `tests/faults.rs` boots every cell and prints the table that docs/faults.md has.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{Babble, Bench, Damage, Fault, Journal, Medium, Part, Verdict};
use crate::models::usdhc::Fault as Wire;

/// One cell.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What goes wrong.
    pub fault: &'static str,
    /// Where or when.
    pub place: &'static str,
    /// How it is shown.
    pub shown: Shown,
    /// The error's code on the serial line, one of these; none where the boot goes on without one.
    pub codes: &'static [&'static str],
    /// What comes of it, one of these.
    pub then: &'static [Then],
}

/// How a cell is shown.
#[derive(Clone, Debug)]
pub enum Shown {
    /// By boots from this medium, with these faults each.
    Boots(Medium, Vec<Vec<Fault>>),
    /// By tests of these names in `tools/evk/tests`, or on the host in `tests`.
    Tests(&'static [&'static str]),
}

/// What comes of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The default generation boots.
    Default,
    /// The next generation boots.
    Next,
    /// The rescue prompt answers.
    Rescue,
    /// The first stage says what is wrong and stops: there is no memory, or nothing to load.
    Stops,
    /// Damaged bytes run: no checksum covers them.
    Unnoticed,
}

/// From power-on to the end of a boot, whatever goes wrong.
pub const LIMIT: Duration = Duration::from_secs(60);
/// With a line that babbles, which has to calm down.
pub const BABBLE_LIMIT: Duration = Duration::from_secs(180);

impl fmt::Display for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "the default",
            Self::Next => "the next generation",
            Self::Rescue => "the prompt",
            Self::Stops => "nothing; the first stage says why",
            Self::Unnoticed => "damaged bytes: nothing tells",
        })
    }
}

impl Then {
    fn of(verdict: &Verdict) -> Option<Self> {
        match verdict {
            Verdict::Default => Some(Self::Default),
            Verdict::Another(_) => Some(Self::Next),
            Verdict::Rescue(_) => Some(Self::Rescue),
            Verdict::Unnoticed(_) => Some(Self::Unnoticed),
            Verdict::Broken(_) => None,
        }
    }
}

impl Cell {
    /// How many boots show it; 0 where tests do.
    pub fn boots(&self) -> usize {
        match &self.shown {
            Shown::Boots(_, boots) => boots.len(),
            Shown::Tests(_) => 0,
        }
    }

    /// Boots all of it; what is not as it should be, boot by boot.
    ///
    /// # Errors
    /// The emulator could not be started or talked to.
    pub fn run(&self, bench: &Bench) -> Result<Vec<String>> {
        let Shown::Boots(medium, boots) = &self.shown else { return Ok(Vec::new()) };
        let mut wrong = Vec::new();
        for faults in boots {
            let started = Instant::now();
            let context = || format!("{}, {}: {faults:?}", self.fault, self.place);
            let ended = bench.boot(*medium, faults).with_context(context)?;
            let verdict = bench.judge(*medium, faults, &ended);
            let took = started.elapsed();
            let babbles = faults.iter().any(|fault| matches!(fault, Fault::Babble(..)));
            let limit = if babbles { BABBLE_LIMIT } else { LIMIT };
            let is_expected = Then::of(&verdict).is_some_and(|then| self.then.contains(&then));
            let told = bench.new_codes(*medium, &ended);
            let is_told = self.codes.is_empty()
                || self.codes.iter().any(|code| told.iter().any(|told| told == code));
            if !is_expected || !is_told || took > limit {
                wrong.push(format!(
                    "{}\n{verdict:?} after {took:.1?}; expected {:?} {:?}\n{}",
                    context(),
                    self.then,
                    self.codes,
                    ended.text
                ));
            }
        }
        Ok(wrong)
    }

    fn line(&self) -> String {
        let Self { fault, place, shown, codes, then } = self;
        let shown = match shown {
            Shown::Boots(medium, boots) if boots.len() == 1 => {
                format!("a boot from {}", medium.name())
            }
            Shown::Boots(medium, boots) => format!("{} boots from {}", boots.len(), medium.name()),
            Shown::Tests(names) if names.len() == 1 => "a test".to_owned(),
            Shown::Tests(names) => format!("{} tests", names.len()),
        };
        let then: Vec<_> = then.iter().map(ToString::to_string).collect();
        let codes = if codes.is_empty() { "-".to_owned() } else { codes.join(" or ") };
        format!("| {fault} | {place} | {codes} | {} | {shown} |\n", then.join(", or "))
    }
}

/// The table of docs/faults.md.
pub fn table(cells: &[Cell]) -> String {
    let head =
        "| what goes wrong | where, when | told | what boots | shown by |\n|---|---|---|---|---|\n";
    cells.iter().fold(head.to_owned(), |text, cell| text + &cell.line())
}

fn cell(
    fault: &'static str,
    place: &'static str,
    shown: Shown,
    codes: &'static [&'static str],
    then: &'static [Then],
) -> Cell {
    Cell { fault, place, shown, codes, then }
}

fn each(medium: Medium, faults: impl IntoIterator<Item = Fault>) -> Shown {
    Shown::Boots(medium, faults.into_iter().map(|fault| vec![fault]).collect())
}

fn tests(names: &'static [&'static str]) -> Shown {
    Shown::Tests(names)
}

/// All of it.
pub fn cells() -> Vec<Cell> {
    [bus(), card(), damage(), files(), writes(), board(), line(), first_stage()].concat()
}

/// Commands of a boot: as the card is started, as it is switched to speed, as file systems are looked at, as
/// files are loaded.
const COMMANDS: [usize; 4] = [3, 14, 28, 40];

fn bus() -> Vec<Cell> {
    let transient = [
        ("a command is lost", Wire::CommandLost),
        ("a response is lost", Wire::ResponseLost),
        ("a response with a wrong CRC", Wire::ResponseCrc),
        ("a response with a wrong end bit", Wire::ResponseEndBit),
        ("another command's response", Wire::ResponseIndex),
        ("a block comes 0.3 s late", Wire::Slow(300)),
        ("a block does not come", Wire::DataTimeout(0)),
        ("a block with a wrong CRC", Wire::DataCrc(1)),
        ("a block with a wrong end bit", Wire::DataEndBit(0)),
        ("the end of a transfer is not answered", Wire::AutoStop),
        ("the controller's DMA fails", Wire::Dma(0)),
        ("the card stays busy", Wire::StuckBusy),
    ];
    let once = |fault| COMMANDS.map(|command| Fault::Bus { command, fault });
    let mut cells: Vec<_> = transient
        .into_iter()
        .map(|(name, fault)| {
            let place = "once, at four commands from the card's start to the load";
            cell(name, place, each(Medium::EmmcFat, once(fault)), &[], &[Then::Default])
        })
        .collect();
    let on_sd = [Wire::CommandLost, Wire::DataCrc(0), Wire::DataTimeout(0)].into_iter();
    let on_sd = on_sd.flat_map(|fault| [14, 24].map(|command| Fault::Bus { command, fault }));
    cells.extend([
        cell(
            "errors on the bus",
            "once, on an SD card",
            each(Medium::ModelledSdFat, on_sd),
            &[],
            &[Then::Default],
        ),
        cell(
            "data arrives damaged",
            "above 26, 60 or 120 MHz, for good",
            each(Medium::EmmcFat, [26_000_000, 60_000_000, 120_000_000].map(Fault::SlowLines)),
            &[],
            &[Then::Default],
        ),
        cell(
            "data arrives damaged",
            "at any clock, for good",
            each(Medium::EmmcFat, [Fault::SlowLines(100_000)]),
            &["E103"],
            &[Then::Rescue],
        ),
        cell(
            "mode switches are refused",
            "every one, or all from DDR52, HS200 or HS400 on",
            each(Medium::EmmcFat, (0..4).map(Fault::ModesRefused)),
            &[],
            &[Then::Default],
        ),
    ]);
    cells
}

fn card() -> Vec<Cell> {
    vec![
        cell(
            "no card",
            "in either slot",
            tests(&["without_a_card_a_prompt_helps_and_the_board_does_not_reset_by_itself"]),
            &["E101"],
            &[Then::Rescue],
        ),
        cell(
            "the card never gets ready",
            "eMMC",
            each(Medium::EmmcFat, [Fault::DeadCard]),
            &["E102"],
            &[Then::Rescue],
        ),
        cell(
            "the card never gets ready",
            "SD",
            each(Medium::ModelledSdFat, [Fault::DeadCard]),
            &["E102"],
            &[Then::Rescue],
        ),
        cell(
            "the card is pulled",
            "while its start-up goes on, while it is read",
            each(Medium::ModelledSdFat, [4, 14, 22].map(Fault::Pulled)),
            &["E101", "E105"],
            &[Then::Rescue],
        ),
        cell(
            "the eMMC dies",
            "while its start-up goes on, while it is read",
            each(Medium::EmmcFat, [4, 20, 32].map(Fault::Pulled)),
            &["E101", "E105"],
            &[Then::Rescue],
        ),
        cell(
            "the card is pulled",
            "while the menu stands",
            tests(&[
                "a_card_that_is_pulled_is_reported_for_every_generation_and_ends_at_the_prompt",
            ]),
            &["E105"],
            &[Then::Rescue],
        ),
        cell(
            "the card is swapped for another one with the same generations",
            "while it is read",
            each(Medium::ModelledSdFat, [12, 20, 24].map(Fault::Swapped)),
            &[],
            &[Then::Default, Then::Next],
        ),
        cell(
            "the card is slow",
            "100 or 25 KB a second, for good",
            each(Medium::SdFat, [200, 50].map(Fault::SlowReads)),
            &[],
            &[Then::Default],
        ),
        cell(
            "a sector cannot be read, ever",
            "the kernel",
            each(Medium::EmmcFat, [Fault::Unreadable(Part::Kernel)]),
            &["E102"],
            &[Then::Next],
        ),
        cell(
            "a sector cannot be read, ever",
            "the initrd",
            each(Medium::EmmcRoot, [Fault::Unreadable(Part::Initrd)]),
            &["E407"],
            &[Then::Next],
        ),
        cell(
            "a sector cannot be read, ever",
            "the device tree",
            each(Medium::EmmcFat, [Fault::Unreadable(Part::DeviceTree)]),
            &["E102"],
            &[Then::Next],
        ),
        cell(
            "a sector cannot be read, ever",
            "in front of a GPT",
            each(Medium::EmmcFat, [Fault::Unreadable(Part::Table)]),
            &["E102"],
            &[Then::Default],
        ),
        cell(
            "a sector cannot be read, ever",
            "the header of a GPT",
            each(Medium::EmmcFat, [Fault::Unreadable(Part::TableHeader)]),
            &["E202"],
            &[Then::Default],
        ),
        cell(
            "a sector cannot be read, ever",
            "an MBR",
            each(Medium::EmmcRoot, [Fault::Unreadable(Part::Table)]),
            &["E102"],
            &[Then::Rescue],
        ),
        cell(
            "a sector cannot be read, ever",
            "the superblock of the file system",
            each(Medium::EmmcRoot, [Fault::Unreadable(Part::FileSystem)]),
            &["E102"],
            &[Then::Rescue],
        ),
        cell(
            "a sector cannot be read, ever",
            "the state record",
            each(Medium::EmmcRoot, [Fault::Unreadable(Part::Record)]),
            &["E1102"],
            &[Then::Default],
        ),
    ]
}

/// In a record with one generation, the bit that makes it a good one. Source: docs/state-record.md.
const WORKS: u16 = (32 + 4) * 8;

fn damage() -> Vec<Cell> {
    let zeros_and_noise = |part| {
        [Damage::Zeros(1), Damage::Noise(7, 1)].map(|damage| Fault::Damaged { part, damage })
    };
    let of_record = |damage| Fault::Damaged { part: Part::Record, damage };
    vec![
        cell(
            "partition table damaged",
            "all copies",
            tests(&["a_destroyed_partition_table_is_reported_and_ends_at_the_prompt"]),
            &["E202"],
            &[Then::Rescue],
        ),
        cell(
            "partition table damaged",
            "the first copy of a GPT",
            tests(&["a_gpt_whose_first_copy_is_gone_boots_by_its_second"]),
            &["E202"],
            &[Then::Default],
        ),
        cell(
            "partition table damaged",
            "the second copy of a GPT",
            each(Medium::SdFat, zeros_and_noise(Part::BackupTable)),
            &[],
            &[Then::Default],
        ),
        cell(
            "partition table damaged",
            "an MBR",
            each(Medium::SdRoot, zeros_and_noise(Part::Table)),
            &["E201"],
            &[Then::Rescue],
        ),
        cell(
            "file system damaged",
            "FAT's first sector",
            each(Medium::SdFat, zeros_and_noise(Part::FileSystem)),
            &["E301"],
            &[Then::Rescue],
        ),
        cell(
            "file system damaged",
            "ext4's superblock",
            each(Medium::SdRoot, zeros_and_noise(Part::FileSystem)),
            &["E301"],
            &[Then::Rescue],
        ),
        cell(
            "file system damaged",
            "FAT's tables; ext4's groups, inodes, folders",
            tests(&[
                "a_corrupt_fat_is_reported_and_the_next_partition_boots",
                "a_corrupt_ext4_is_reported_and_the_next_partition_boots",
                "a_partition_of_noise_is_reported_where_nothing_else_boots",
            ]),
            &["E302"],
            &[Then::Next],
        ),
        cell(
            "ext4 was not unmounted",
            "the journal has the only root directory; or a transaction without its commit",
            each(Medium::SdRoot, [Journal::Whole, Journal::Uncommitted].map(Fault::Journal)),
            &[],
            &[Then::Default],
        ),
        cell(
            "ext4 was not unmounted",
            "its journal has no superblock; or a wrong copy of the root directory",
            each(Medium::SdRoot, [Journal::Headless, Journal::Rotten].map(Fault::Journal)),
            &["E302"],
            &[Then::Rescue],
        ),
        cell(
            "state record damaged",
            "its only copy: zeros",
            each(Medium::SdRoot, [of_record(Damage::Zeros(1))]),
            &[],
            &[Then::Default],
        ),
        cell(
            "state record damaged",
            "its only copy: noise, or the one bit that says that the default works",
            each(Medium::SdRoot, [Damage::Noise(7, 1), Damage::Bit(WORKS)].map(of_record)),
            &["E1102"],
            &[Then::Default],
        ),
    ]
}

fn files() -> Vec<Cell> {
    let of = |part, damage| Fault::Damaged { part, damage };
    vec![
        cell(
            "boot configuration damaged",
            "empty, no text, 1 MB",
            tests(&[
                "an_empty_configuration_is_reported_and_the_next_partition_boots",
                "a_binary_configuration_is_reported_and_the_next_partition_boots",
                "a_configuration_of_1_mb_is_reported_and_the_next_partition_boots",
            ]),
            &["E401"],
            &[Then::Next],
        ),
        cell(
            "kernel damaged",
            "its header",
            each(
                Medium::SdFat,
                [of(Part::Kernel, Damage::Zeros(1)), of(Part::Kernel, Damage::Noise(3, 1))],
            ),
            &["E501"],
            &[Then::Next],
        ),
        cell(
            "kernel damaged",
            "cut off, for another processor, too large, missing",
            tests(&[
                "a_truncated_kernel_is_refused_and_the_next_generation_boots",
                "a_kernel_that_is_not_for_arm64_is_refused_and_the_next_generation_boots",
                "a_kernel_larger_than_memory_is_refused_and_the_next_generation_boots",
                "a_missing_kernel_is_named_and_the_next_generation_boots",
            ]),
            &["E502"],
            &[Then::Next],
        ),
        cell(
            "kernel or initrd damaged",
            "in the middle of a plain `Image` or an initrd, of which no checksum is kept; compressed kernels and FIT images have some",
            each(Medium::SdRoot, [of(Part::Initrd, Damage::Bit(4000))]),
            &[],
            &[Then::Unnoticed],
        ),
        cell(
            "initrd damaged",
            "empty, missing",
            tests(&[
                "an_empty_initrd_is_refused_and_the_next_generation_boots",
                "a_missing_initrd_is_named_and_the_next_generation_boots",
            ]),
            &["E505"],
            &[Then::Next],
        ),
        cell(
            "initrd damaged",
            "the kernel cannot unpack it and panics",
            tests(&["a_corrupt_initrd_is_rolled_back"]),
            &[],
            &[Then::Next],
        ),
        cell(
            "device tree damaged",
            "its header",
            each(
                Medium::SdRoot,
                [of(Part::DeviceTree, Damage::Zeros(1)), of(Part::DeviceTree, Damage::Noise(4, 1))],
            ),
            &["E601"],
            &[Then::Next],
        ),
        cell(
            "device tree damaged",
            "cut off, noise, no tree",
            tests(&["a_corrupt_device_tree_is_refused_and_the_next_generation_boots"]),
            &["E601"],
            &[Then::Next],
        ),
    ]
}

fn writes() -> Vec<Cell> {
    vec![
        cell(
            "the power goes",
            "behind each of the blocks of the state record's copies",
            each(Medium::EmmcRoot, (0..8).map(Fault::PowerCut)),
            &[],
            &[Then::Default],
        ),
        cell(
            "the power goes",
            "at ten moments from power-on to the kernel",
            each(Medium::SdRoot, (0..10).map(|tenth| Fault::PowerLoss(tenth * 100))),
            &[],
            &[Then::Default],
        ),
        cell(
            "the card keeps nothing",
            "that is written to it",
            tests(&[
                "a_card_that_keeps_no_writes_boots_uncounted_and_boot_once_is_not_honoured_for_ever",
            ]),
            &["E1106"],
            &[Then::Default],
        ),
        cell(
            "the card keeps nothing",
            "on the first boot of a system",
            each(Medium::SdRoot, [Fault::WornOut]),
            &["E1106"],
            &[Then::Default],
        ),
    ]
}

fn board() -> Vec<Cell> {
    vec![
        cell(
            "a watchdog bites",
            "at ten moments from power-on to the kernel",
            each(Medium::SdRoot, (0..10).map(|tenth| Fault::Bite(tenth * 100))),
            &[],
            &[Then::Default],
        ),
        cell(
            "a watchdog bites",
            "in a kernel that hangs, panics or cannot find its root",
            tests(&[
                "a_generation_that_hangs_has_its_tries_and_then_the_last_good_one_boots_and_the_reason_is_told",
                "a_kernel_that_panics_is_rolled_back",
                "an_emergency_shell_that_nobody_answers_is_rolled_back",
            ]),
            &[],
            &[Then::Next],
        ),
        cell(
            "time jumps",
            "by 0.1 s and by 5 s, at five moments",
            Shown::Boots(
                Medium::SdFat,
                [100, 5000]
                    .into_iter()
                    .flat_map(|time| {
                        (0..5).map(move |fifth| {
                            vec![Fault::TimeJump(fifth * 200, Duration::from_millis(time))]
                        })
                    })
                    .collect(),
            ),
            &[],
            &[Then::Default],
        ),
        cell(
            "time jumps",
            "by an hour: within any wait for a card, at moments up to the kernel",
            tests(&[
                "time_that_jumps_by_an_hour_within_any_wait_is_survived_at_full_speed",
                "time_that_jumps_by_most_of_an_hour_boots_the_default_all_the_same",
            ]),
            &[],
            &[Then::Default],
        ),
        cell(
            "another memory size",
            "256 MiB to 4 GiB",
            each(Medium::SdFat, ["256M", "384M", "512M", "1536M", "3G", "4G"].map(Fault::Memory)),
            &[],
            &[Then::Default],
        ),
    ]
}

fn line() -> Vec<Cell> {
    let babbles = [Babble::Same(0), Babble::Same(0xff), Babble::Any(5), Babble::Text(6)];
    vec![
        cell(
            "the serial line sends nothing",
            "from power-on on",
            each(Medium::SdFat, [Fault::StuckSerial]),
            &[],
            &[Then::Default],
        ),
        cell(
            "the serial line babbles",
            "zeros, ones, any bytes or letters, before the menu",
            Shown::Boots(
                Medium::SdFat,
                babbles.into_iter().map(|babble| vec![Fault::Babble(100, babble)]).collect(),
            ),
            &[],
            &[Then::Default, Then::Next, Then::Rescue],
        ),
    ]
}

fn first_stage() -> Vec<Cell> {
    vec![
        cell(
            "memory of another size than the board's data says",
            "an address or data line that is not connected",
            tests(&["a_dead_line_to_the_memory_is_found_before_anything_is_loaded"]),
            &["E808"],
            &[Then::Stops],
        ),
        cell(
            "memory that cannot be trained",
            "each of three times; the watchdog then starts the boot ROM again",
            tests(&[
                "memory_that_cannot_be_trained_is_tried_three_times_and_the_watchdog_starts_the_boot_rom_again",
            ]),
            &["E805"],
            &[Then::Stops],
        ),
        cell(
            "training firmware",
            "falls silent, or arrives damaged",
            tests(&[
                "training_firmware_that_falls_silent_is_given_five_seconds_three_times",
                "training_firmware_that_reads_back_differently_is_never_started",
            ]),
            &["E806"],
            &[Then::Stops],
        ),
        cell(
            "the boot image is damaged",
            "the first copy: its header, its container, a part",
            tests(&[
                "a_damaged_header_makes_the_boot_rom_start_the_secondary_image",
                "a_damaged_container_or_part_makes_the_first_stage_load_the_secondary_image",
                "an_emmc_boots_from_its_other_boot_partition_if_the_chosen_one_is_damaged",
            ]),
            &[],
            &[Then::Default],
        ),
        cell(
            "the boot image is damaged",
            "both copies",
            tests(&["an_image_that_is_damaged_in_both_copies_is_told_and_not_entered"]),
            &["E904"],
            &[Then::Stops],
        ),
        cell(
            "the boot device fails",
            "behind the boot ROM",
            tests(&[
                "without_an_answer_or_a_record_of_the_boot_rom_there_is_no_boot_device",
                "a_boot_device_that_can_no_longer_be_read_is_told",
                "a_download_that_ends_early_is_told",
            ]),
            &[],
            &[Then::Stops],
        ),
        cell(
            "the PMIC does not answer, a line of its bus is stuck",
            "in the first stage",
            tests(&[
                "without_its_pmic_the_board_boots_and_both_stages_say_so",
                "a_stuck_line_of_the_i2c_bus_is_told_and_does_not_end_the_boot",
            ]),
            &[],
            &[Then::Default],
        ),
        cell(
            "the power goes",
            "anywhere in an update of the firmware",
            tests(&[
                "an_update_that_is_cut_anywhere_leaves_a_card_that_boots_the_old_or_the_new_firmware",
            ]),
            &[],
            &[Then::Default],
        ),
        cell(
            "a stage fails by itself",
            "an exception, a panic, a stack that overflows; the watchdog then starts the board anew",
            tests(&[
                "an_exception_is_reported_and_then_the_watchdog_starts_the_board_anew",
                "a_panic_names_its_place",
                "an_overflow_of_the_stack_is_noticed_where_nothing_stops_it",
            ]),
            &["E701"],
            &[Then::Stops],
        ),
    ]
}
