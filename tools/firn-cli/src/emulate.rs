//! `firn emulate`: boots a card in the emulated EVK, its serial line on this terminal.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use evk::{
    assets::{self, Assets},
    card::SECTOR,
    emmc::Emmc,
    gdb::{BootSwitches, Hardware, Store},
    models::usdhc::Rules,
    nixos::DEVICE_TREE,
    qemu::{Entry, Machine, Slot},
    terminal::{self, Ending, HOW_TO_LEAVE},
};
use firn::soc::boot_rom::CARD_OFFSET;

/// Boot a card image in the emulated EVK, the board's serial line on this terminal.
///
/// The board starts with its boot ROM, which looks for a flash.bin on the card; memory is trained by
/// a model of the PHY, so that dummies of NXP's training firmware serve as well as the real ones.
///
/// Ends with 0 when the board powered off or you left, with 1 when something went wrong.
#[derive(clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  firn emulate --card nixos.img                       a card with Firn on it
  firn emulate --card nixos.img --flash flash.bin     another flash.bin than the card's
  firn emulate --card nixos.img --loader firn.bin     the second stage alone, without boot ROM, first
                                                      stage and BL31, on four cores
  firn emulate --emmc emmc.img                        an eMMC; emmc.img.boot0 and emmc.img.boot1, where
                                                      they exist, are its boot partitions
  firn emulate --flash flash.bin                      nothing but a download over USB"
)]
pub(crate) struct Arguments {
    /// Image of the card in the SD slot; cards are of 1, 2, 4, … GiB, and where the image ends, this one
    /// is empty
    #[arg(long, value_name = "IMG", required_unless_present_any = ["emmc", "flash"])]
    card: Option<PathBuf>,
    /// What the boot ROM finds in front of the first partition, or gets over USB; the card's own
    /// stays what it is
    #[arg(long, value_name = "FLASH.BIN", conflicts_with = "loader")]
    flash: Option<PathBuf>,
    /// Start this second stage at once
    #[arg(long, value_name = "FIRN.BIN", conflicts_with = "boot")]
    loader: Option<PathBuf>,
    /// Image of the eMMC's user area; its size must be a power of two
    #[arg(long, value_name = "IMG")]
    emmc: Option<PathBuf>,
    /// How the boot switches stand [default: sd with a card, else emmc, else usb]
    #[arg(long, value_enum)]
    boot: Option<Switches>,
    /// Memory of the board [default: 6G as the first stage expects, 2G with --loader]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Keep what the board writes to its cards
    #[arg(long)]
    write: bool,
    /// Write every store of the first stage to a device into this file, as `firn ddr trace` prints
    /// them; slower
    #[arg(long, value_name = "FILE", conflicts_with = "loader")]
    trace: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switches {
    /// SD card
    Sd,
    /// eMMC: user area or boot partition
    Emmc,
    /// NOR flash behind FlexSPI, which holds what --flash names (made with --layout flexspi)
    Flexspi,
    /// Serial download over USB, of what --flash names
    Usb,
}

/// On-chip memory that the first stage runs in, up to BL31's.
const FIRST_STAGE: Range<u64> = 0x92_0000..0x97_0000;

/// How long the emulator may take to end after the board's last word.
const ENDING: Duration = Duration::from_secs(10);

/// Boots the board and stays until it powers off or the user leaves.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let machine = machine(arguments)?;
    let mut session = machine.start_in(&assets::emulator()?)?;
    eprintln!("The emulated board starts. {HOW_TO_LEAVE}");
    let ending = terminal::attach(&mut session)?;
    if let Some(path) = &arguments.trace {
        write_trace(path, &session.witness().stores())?;
    }
    match ending {
        Ending::Left => Ok(()),
        // The models have a say, too.
        Ending::Ended(_) => session.expect_power_off(ENDING),
    }
}

/// BL31, which comes behind the first stage in memory, is none of it.
fn write_trace(path: &Path, stores: &[Store]) -> Result<()> {
    let of_first_stage = stores.iter().filter(|store| FIRST_STAGE.contains(&store.pc));
    let lines: String = of_first_stage.map(|store| format!("{store}\n")).collect();
    fs::write(path, lines).with_context(|| format!("cannot write {}", path.display()))
}

fn machine(arguments: &Arguments) -> Result<Machine> {
    let entry = match &arguments.loader {
        Some(loader) => {
            check_file(loader)?;
            let device_tree = Assets::locate()?.dtbs.join(DEVICE_TREE);
            Entry::Kernel { image: loader.clone(), device_tree, initrd: None, command_line: None }
        }
        None => Entry::BootRom(hardware(arguments)?),
    };
    let mut machine = Machine::new(entry);
    if let Some(memory) = &arguments.memory {
        machine = machine.memory(memory);
    }
    if let Some(card) = &arguments.card {
        check_card(card)?;
        machine = with_card(machine, Slot::Sd, card, arguments.write);
    }
    if let Some(image) = &arguments.emmc {
        check_emmc(image)?;
        let emmc = Emmc { writable: arguments.write, ..Emmc::at(image) };
        machine = machine.emmc(emmc, &Rules::default());
        // What the firmware sees is a model. Linux meets QEMU's SD card in the same place.
        machine = with_card(machine, Slot::Emmc, image, arguments.write);
    }
    Ok(machine)
}

fn with_card(machine: Machine, slot: Slot, image: &Path, write: bool) -> Machine {
    if write { machine.writable_card(slot, image) } else { machine.card(slot, image) }
}

fn hardware(arguments: &Arguments) -> Result<Hardware> {
    let flash = arguments.flash.as_ref().map(|path| {
        check_file(path)?;
        fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    });
    let flash = flash.transpose()?;
    let trace = arguments.trace.is_some();
    let covers =
        |flash: Option<Vec<u8>>| flash.map(|bytes| (CARD_OFFSET, bytes)).into_iter().collect();
    let missing =
        |option: &str, switches: &str| format!("--boot {switches} starts what {option} names");
    let (switches, covers) = match switches(arguments) {
        Switches::Sd => {
            ensure!(arguments.card.is_some(), missing("--card", "sd"));
            (BootSwitches::Sd, covers(flash))
        }
        Switches::Emmc => {
            ensure!(arguments.emmc.is_some(), missing("--emmc", "emmc"));
            (BootSwitches::Emmc, covers(flash))
        }
        Switches::Flexspi => {
            let flash = flash.with_context(|| missing("--flash", "flexspi"))?;
            (BootSwitches::FlexSpi(flash), Vec::new())
        }
        Switches::Usb => {
            let flash = flash.with_context(|| missing("--flash", "usb"))?;
            (BootSwitches::Usb(flash), Vec::new())
        }
    };
    Ok(Hardware { switches, covers, trace, ..Hardware::default() })
}

fn switches(arguments: &Arguments) -> Switches {
    arguments.boot.unwrap_or(match (&arguments.card, &arguments.emmc) {
        (Some(_), _) => Switches::Sd,
        (None, Some(_)) => Switches::Emmc,
        (None, None) => Switches::Usb,
    })
}

fn check_card(card: &Path) -> Result<()> {
    let (shown, length) = (card.display(), check_file(card)?);
    if card.extension().is_some_and(|extension| extension == "zst") {
        bail!("{shown} is compressed: `zstd -d {shown} -o card.img` makes a card image of it");
    }
    ensure!(length > 0, "{shown} is empty");
    ensure!(
        length.is_multiple_of(SECTOR),
        "{shown} has {length} bytes, which are no whole sectors: it is no card image, or a part of one"
    );
    Ok(())
}

/// The firmware's model and QEMU's card, which Linux sees, are of one size, and QEMU takes no other ones.
fn check_emmc(image: &Path) -> Result<()> {
    let length = check_file(image)?;
    ensure!(
        length.is_power_of_two(),
        "{} has {length} bytes, which is not a power of two: `truncate -s {}` on a copy of it helps",
        image.display(),
        length.next_power_of_two()
    );
    Ok(())
}

/// The file's size in bytes.
fn check_file(file: &Path) -> Result<u64> {
    let data = file.metadata().with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(data.is_file(), "{} is not a file", file.display());
    Ok(data.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(length: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(length).unwrap();
        file
    }

    #[test]
    fn an_emmc_of_an_impossible_size_is_refused_with_the_size_that_works() {
        let image = file_of(3 << 20);
        let error = check_emmc(image.path()).unwrap_err().to_string();
        assert!(error.contains("truncate -s 4194304"), "{error}");
        assert!(check_emmc(file_of(4 << 20).path()).is_ok());
        assert!(check_emmc(file_of(0).path()).is_err());
    }

    #[test]
    fn a_card_image_may_have_any_whole_sectors() {
        assert!(check_card(file_of(3 << 20).path()).is_ok());
        for length in [0, 513] {
            assert!(check_card(file_of(length).path()).is_err(), "{length}");
        }
        let folder = tempfile::tempdir().unwrap();
        let packed = folder.path().join("nixos.img.zst");
        fs::write(&packed, [0; 512]).unwrap();
        let error = check_card(&packed).unwrap_err().to_string();
        assert!(error.contains("zstd -d"), "{error}");
    }

    #[test]
    fn a_missing_card_is_named() {
        let error = check_card(Path::new("/no/such/card.img")).unwrap_err();
        assert!(format!("{error:#}").contains("/no/such/card.img"));
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        let words = ["firn"].into_iter().chain(line.split_whitespace());
        <Line as clap::Parser>::try_parse_from(words).map(|line| line.arguments)
    }

    #[test]
    fn the_switches_follow_what_is_plugged_in() {
        for (line, expected) in [
            ("--card a", Switches::Sd),
            ("--card a --emmc b", Switches::Sd),
            ("--card a --emmc b --boot emmc", Switches::Emmc),
            ("--emmc b", Switches::Emmc),
            ("--flash c", Switches::Usb),
            ("--card a --flash c", Switches::Sd),
        ] {
            assert!(switches(&parse(line).unwrap()) == expected, "{line}");
        }
    }

    #[test]
    fn a_trace_holds_the_stores_of_the_first_stage_alone() {
        use evk::access::{self, Width};
        let store = |pc, width| Store {
            pc,
            access: access::Store { width, address: 0x3028_0008, value: 7 },
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let stores = [
            store(0x92_0004, Width::Half),
            store(0x97_0004, Width::Half),
            store(0x93_0000, Width::Word),
        ];
        write_trace(file.path(), &stores).unwrap();
        let written = fs::read_to_string(file.path()).unwrap();
        assert_eq!(written, "W16 0x30280008 0x0007\nW 0x30280008 0x00000007\n");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in ["", "--card a --flash b --loader c", "--card a --loader b --boot sd"] {
            assert!(parse(line).is_err(), "{line}");
        }
        for (line, missing) in [
            ("--card a --boot usb", "--flash"),
            ("--card a --boot flexspi", "--flash"),
            ("--card a --boot emmc", "--emmc"),
            ("--emmc a --boot sd", "--card"),
        ] {
            let error = machine(&parse(line).unwrap()).err().unwrap();
            assert!(error.to_string().contains(missing), "{line}: {error}");
        }
    }
}
