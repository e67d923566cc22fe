//! `firn image build`: flash.bin from a first stage, training firmware, BL31 and a second stage.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use firn::{
    board::BOARD,
    image::{
        Error, ErrorKind,
        build::{self, Input, Piece},
        container::PartKind,
        inspect::{Image, survey},
        rom,
        target::Target,
        training::{self, Leniency},
    },
    linux::image::{HEAD_SIZE, KernelImage},
};

use super::{
    drop_in,
    files::{coded, read, write},
    firmware, inspect, target,
};
use crate::output::print;

/// Put flash.bin together.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  firn image build --spl firn-spl.bin --ddr-firmware firmware-imx-8.15 --bl31 bl31.bin \\
      --loader firn.bin -o flash.bin
  firn image build --drop-in --spl flash.bin --loader firn.bin -o firn-flash.bin
        Firn as the second stage of the U-Boot or NXP image that the board has now
  firn image build --spl firn-spl.bin --ddr-firmware firmware-imx-8.15 --bl31 bl31.bin \\
      --loader firn.bin --recovery Image --initrd initrd --device-tree imx8mp-evk.dtb \\
      --command-line 'console=ttymxc1,115200' -o recovery.bin
        An installer that `uuu SDPS: boot -f recovery.bin` starts

The same files give the same bytes. What is in the image is printed, as `firn image inspect` would.")]
pub(super) struct Arguments {
    /// The board that it is for
    #[arg(long, value_name = "NAME", default_value = BOARD.image.board)]
    board: String,
    /// The first stage: firn-spl.bin. With --drop-in an existing flash.bin, or a bare u-boot-spl.bin
    #[arg(long, value_name = "FILE")]
    pub(super) spl: PathBuf,
    /// Directory with lpddr4_pmu_train_{1d,2d}_{imem,dmem}_202006.bin, or an unpacked firmware-imx
    #[arg(long, value_name = "DIR")]
    pub(super) ddr_firmware: Option<PathBuf>,
    /// Take dummies of the training firmware, for an image that only the emulator boots
    #[arg(long)]
    dummy_ddr_firmware: bool,
    /// Take training firmware of other sizes than release 202006 has
    #[arg(long)]
    other_ddr_firmware: bool,
    /// TF-A's bl31.bin
    #[arg(long, value_name = "FILE")]
    pub(super) bl31: Option<PathBuf>,
    /// OP-TEE's tee-raw.bin
    #[arg(long, value_name = "FILE")]
    pub(super) tee: Option<PathBuf>,
    /// The second stage: firn.bin
    #[arg(long, value_name = "FILE")]
    pub(super) loader: PathBuf,
    /// Where it is written
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// What it will be started from; usb with --recovery, otherwise sd
    #[arg(long, value_enum)]
    layout: Option<Layout>,
    /// A kernel to start in memory, without any medium, once the image was sent over USB
    #[arg(long, value_name = "KERNEL")]
    recovery: Option<PathBuf>,
    /// The initrd of --recovery
    #[arg(long, value_name = "FILE", requires = "recovery")]
    initrd: Option<PathBuf>,
    /// The device tree of --recovery
    #[arg(long, value_name = "DTB", requires = "recovery")]
    device_tree: Option<PathBuf>,
    /// The command line of --recovery
    #[arg(long, value_name = "TEXT", requires = "recovery")]
    command_line: Option<String>,
    /// Make an image whose first stage is U-Boot's or NXP's, with Firn in the place of U-Boot
    #[arg(long, conflicts_with = "recovery")]
    drop_in: bool,
    /// Where that first stage looks for its FIT, from the start of the image on
    #[arg(long, value_name = "OFFSET", requires = "drop_in", value_parser = parse_offset)]
    pub(super) fit_offset: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// SD card, or an eMMC's user area: to be written at 32 KiB
    Sd,
    /// A boot partition of an eMMC: to be written at 0
    EmmcBoot,
    /// NOR flash behind FlexSPI: to be written at 0
    Flexspi,
    /// Serial download over USB
    Usb,
}

fn parse_offset(text: &str) -> Result<u32, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let number = number.map_err(|error| error.to_string())?;
    // A first stage reads whole blocks.
    if number.is_multiple_of(512) { Ok(number) } else { Err("not a multiple of 512".to_owned()) }
}

/// Builds, checks what was built as anybody else would, and writes it.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let target = target(&arguments.board)?;
    check_output(arguments)?;
    let image = match arguments.drop_in {
        true => drop_in::image(arguments, target)?,
        false => own_image(arguments, target)?,
    };
    check_size(arguments, target, image.len())?;
    let headroom = headroom(target, &image);
    let image = match layout(arguments) {
        Layout::Flexspi => build::for_flexspi(target, &image),
        Layout::Sd | Layout::EmmcBoot | Layout::Usb => image,
    };
    let found = survey(&image.as_slice(), target);
    check_result(&found)?;
    write(&arguments.output, &image)?;
    print(format!("{}{headroom}", inspect::to_table(&found)))
}

/// What the image is made of is not overwritten by it.
fn check_output(arguments: &Arguments) -> Result<()> {
    let Ok(output) = arguments.output.canonicalize() else { return Ok(()) };
    let inputs = [Some(&arguments.spl), Some(&arguments.loader)].into_iter().chain([
        arguments.bl31.as_ref(),
        arguments.tee.as_ref(),
        arguments.recovery.as_ref(),
        arguments.initrd.as_ref(),
        arguments.device_tree.as_ref(),
    ]);
    for input in inputs.flatten() {
        ensure!(
            input.canonicalize().ok().as_ref() != Some(&output),
            "{} goes into the image and would be overwritten by it: name another file with -o",
            input.display()
        );
    }
    Ok(())
}

fn layout(arguments: &Arguments) -> Layout {
    let usual = if arguments.recovery.is_some() { Layout::Usb } else { Layout::Sd };
    arguments.layout.unwrap_or(usual)
}

/// Room up to the state record. Nothing limits what is streamed over USB or lies in a NOR flash.
fn check_size(arguments: &Arguments, target: &Target, size: usize) -> Result<()> {
    let (size, room) = (size as u64, u64::from(target.image_max));
    let limited = matches!(layout(arguments), Layout::Sd | Layout::EmmcBoot);
    if limited && size > room {
        let error = Error { kind: ErrorKind::TooLarge { part: None, size, room }, offset: 0 };
        let error = coded(&arguments.output, &error);
        bail!("{error:#}; --layout usb has room for more, for an image that is streamed");
    }
    Ok(())
}

/// What of the on-chip memory is left in front of BL31, where the first stage has its stack.
fn headroom(target: &Target, image: &[u8]) -> String {
    let header = rom::Header::parse(image, 0).ok();
    let end = header.map(|header| u64::from(header.start) + u64::from(header.length));
    let bl31 = target.room(PartKind::Bl31).map(|room| room.start);
    match bl31.zip(end) {
        Some((bl31, end)) if end <= bl31 => format!(
            "the boot ROM loads {:#x} to {end:#x}; {} KiB are left up to BL31 at {bl31:#x}\n",
            target.load_address(),
            (bl31 - end) >> 10
        ),
        _ => String::new(),
    }
}

/// What the inspection says about the image that was just built. Dummies were asked for.
fn check_result(found: &[Image]) -> Result<()> {
    use firn::error::Code;
    ensure!(found.len() == 1, "the image that was built cannot be read back");
    let mut problems = found[0].problems.iter();
    match problems.find(|problem| problem.code != Code::DummyTrainingFirmware) {
        Some(problem) => {
            bail!("the image that was built is bad: [{}] {}", problem.code, problem.text)
        }
        None => Ok(()),
    }
}

fn own_image(arguments: &Arguments, target: &Target) -> Result<Vec<u8>> {
    let spl = read(&arguments.spl)?;
    if holds(&spl, b"U-Boot SPL") {
        bail!("{} is U-Boot's first stage, which needs --drop-in", arguments.spl.display());
    }
    let bl31 = arguments.bl31.as_deref().context("--bl31 is missing: TF-A's bl31.bin")?;
    let loader = (PartKind::Loader, arguments.loader.as_path());
    let mut files = vec![(PartKind::Bl31, bl31)];
    files.extend(arguments.tee.as_deref().map(|tee| (PartKind::Tee, tee)));
    files.push(loader);
    let recovery = [
        (PartKind::Kernel, &arguments.recovery),
        (PartKind::Initrd, &arguments.initrd),
        (PartKind::DeviceTree, &arguments.device_tree),
    ];
    files.extend(recovery.iter().filter_map(|(kind, path)| Some((*kind, path.as_deref()?))));

    let training = training_firmware(arguments, target)?;
    let mut pieces = Vec::new();
    for (kind, path) in &files {
        pieces.push((*kind, read(path)?));
    }
    if let Some(text) = &arguments.command_line {
        pieces.push((PartKind::CommandLine, text.clone().into_bytes()));
    }
    check_pieces(arguments, &pieces)?;
    let pieces: Vec<_> = pieces.iter().map(|(kind, bytes)| Piece { kind: *kind, bytes }).collect();
    let training = training.each_ref().map(Vec::as_slice);
    let input = Input { spl: &spl, training, pieces: &pieces };
    build::image(target, &input).map_err(|error| named(arguments, &files, &error))
}

/// `error` with the file that it is about.
pub(super) fn named(
    arguments: &Arguments,
    files: &[(PartKind, &Path)],
    error: &Error,
) -> anyhow::Error {
    let file = match about(error) {
        Some(PartKind::Spl | PartKind::Loaded) => arguments.spl.as_path(),
        Some(kind) => files
            .iter()
            .find(|(known, _)| *known == kind)
            .map_or(arguments.output.as_path(), |(_, path)| path),
        None => arguments.output.as_path(),
    };
    coded(file, error)
}

fn about(error: &Error) -> Option<PartKind> {
    match error.kind {
        ErrorKind::TooLarge { part, .. } => part,
        ErrorKind::Unsuitable(part, _) => Some(part),
        _ => None,
    }
}

/// What can be told about files before the board would: the loader and the kernel say what they are.
fn check_pieces(arguments: &Arguments, pieces: &[(PartKind, Vec<u8>)]) -> Result<()> {
    for (kind, bytes) in pieces {
        match kind {
            PartKind::Loader if !is_arm64_image(bytes) => eprintln!(
                "warning: {} does not begin like firn.bin, with an arm64 Image header",
                arguments.loader.display()
            ),
            PartKind::Kernel => {
                let head = &bytes[..bytes.len().min(HEAD_SIZE)];
                let path = arguments.recovery.as_deref().unwrap_or(Path::new("the kernel"));
                KernelImage::inspect(head, bytes.len() as u64)
                    .map_err(|error| coded(path, &error))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Source: Linux `Documentation/arch/arm64/booting.rst`.
fn is_arm64_image(bytes: &[u8]) -> bool {
    bytes.get(56..60) == Some(b"ARM\x64")
}

pub(super) fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// The four files, or dummies if that is what was asked for.
pub(super) fn training_firmware(arguments: &Arguments, target: &Target) -> Result<[Vec<u8>; 4]> {
    let release = target.training_release;
    let lenient = Leniency {
        dummies: arguments.dummy_ddr_firmware,
        other_sizes: arguments.other_ddr_firmware,
    };
    match &arguments.ddr_firmware {
        Some(directory) => firmware::load(directory, release, lenient),
        None if arguments.dummy_ddr_firmware => {
            Ok(training::KINDS.map(|kind| training::dummy(kind, release)))
        }
        None => bail!(
            "--ddr-firmware is missing: the directory with NXP's lpddr4_pmu_train_*{release}.bin \
             (for the emulator, --dummy-ddr-firmware)"
        ),
    }
}
