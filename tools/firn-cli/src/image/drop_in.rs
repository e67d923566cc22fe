//! `firn image build --drop-in`: Firn as the second stage of U-Boot's or NXP's first stage.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use firn::image::{
    build,
    container::PartKind,
    fit::{Fit, FitBuf, NewImage},
    inspect::{Format, Image, Place, survey},
    target::Target,
};

use super::{
    build::{Arguments, holds, named, training_firmware},
    files::{coded, read},
};

/// The image: first stage, then a FIT with Firn in it.
pub(super) fn image(arguments: &Arguments, target: &Target) -> Result<Vec<u8>> {
    let first_stage = read(&arguments.spl)?;
    let found = survey(&first_stage.as_slice(), target);
    match found.first() {
        Some(image) if image.place == Place::Start => {
            existing(arguments, target, &first_stage, image)
        }
        Some(image) if image.place == Place::FlexSpi => bail!(
            "{} is for FlexSPI; take the one for SD cards, and add --layout flexspi",
            arguments.spl.display()
        ),
        _ => bare(arguments, target, &first_stage),
    }
}

/// A whole flash.bin: everything stays, but for the second stage and what else is given.
fn existing(
    arguments: &Arguments,
    target: &Target,
    flash: &[u8],
    image: &Image,
) -> Result<Vec<u8>> {
    let path = &arguments.spl;
    ensure!(
        image.format != Format::Firn,
        "{} has Firn's own first stage already: build without --drop-in, from firn-spl.bin",
        path.display()
    );
    ensure!(
        arguments.ddr_firmware.is_none() && arguments.fit_offset.is_none(),
        "{} brings its training firmware and the place of its FIT along: leave --ddr-firmware and \
         --fit-offset out",
        path.display()
    );
    if let Some(problem) = image.problems.first() {
        bail!("{}: [{}] {}", path.display(), problem.code, problem.text);
    }
    let tree = image.parts.iter().find(|part| part.id == "fit").context("it has no FIT")?;
    let at = usize::try_from(tree.offset)?;
    let bytes = flash.get(at..).context("the FIT lies beyond the end")?;
    let fit = Fit::parse(bytes).map_err(|error| coded(path, &error))?;
    let read = |range: std::ops::Range<u64>| {
        let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
        bytes.get(start..end).map(<[u8]>::to_vec)
    };
    let mut edited = FitBuf::open(fit, read).map_err(|error| coded(path, &error))?;
    for (name, description, new) in replacements(arguments, target, fit)? {
        edited.replace(&name, description, &new).map_err(|error| coded(path, &error))?;
    }
    let mut image = flash[..at].to_vec();
    image.extend_from_slice(&edited.to_bytes().map_err(|error| coded(path, &error))?);
    Ok(image)
}

/// Which images of the FIT are replaced, what they are called then, and by what.
fn replacements(
    arguments: &Arguments,
    target: &Target,
    fit: Fit<'_>,
) -> Result<Vec<(String, &'static str, Vec<u8>)>> {
    let configuration = fit.configuration().context("the FIT has no default configuration")?;
    let firmware = configuration.firmware().context("the FIT's configuration has no firmware")?;
    let mut list =
        vec![(firmware.to_owned(), "Firn", program(PartKind::Loader, &arguments.loader)?)];
    let others =
        [(PartKind::Bl31, "BL31", &arguments.bl31), (PartKind::Tee, "OP-TEE", &arguments.tee)];
    for (kind, description, path) in others {
        let Some(path) = path else { continue };
        let address = target.room(kind).map(|room| room.start);
        let image = fit.images().find(|image| image.load() == address);
        let name = image.map(|image| image.name().to_owned());
        let name = name.with_context(|| format!("the FIT has no {kind} to replace"))?;
        list.push((name, description, program(kind, path)?));
    }
    Ok(list)
}

/// A first stage alone: training firmware, BL31 and the FIT are put behind it.
fn bare(arguments: &Arguments, target: &Target, spl: &[u8]) -> Result<Vec<u8>> {
    if !holds(spl, b"U-Boot SPL") {
        eprintln!("warning: {} does not look like U-Boot's first stage", arguments.spl.display());
    }
    let bl31_path = arguments.bl31.as_deref().context("--bl31 is missing: TF-A's bl31.bin")?;
    let training = training_firmware(arguments, target)?;
    let training = training.each_ref().map(Vec::as_slice);
    let mut image = build::padded_first_stage(target, spl, training)
        .map_err(|error| named(arguments, &[], &error))?;
    let fit_at = arguments.fit_offset.unwrap_or(target.fit_at) as usize;
    ensure!(
        image.len() <= fit_at,
        "the first stage with its training firmware ends at {:#x}, behind the FIT's place {fit_at:#x}",
        image.len()
    );
    image.resize(fit_at, 0);
    image.extend_from_slice(&new_fit(arguments, target, bl31_path)?);
    Ok(image)
}

/// Firn is the firmware and has no entry of its own, so that BL31 is entered.
fn new_fit(arguments: &Arguments, target: &Target, bl31: &Path) -> Result<Vec<u8>> {
    let mut files = vec![
        (PartKind::Loader, "firn", "Firn", arguments.loader.as_path()),
        (PartKind::Bl31, "atf", "ARM Trusted Firmware", bl31),
    ];
    files.extend(arguments.tee.as_deref().map(|path| (PartKind::Tee, "tee", "OP-TEE", path)));
    let contents = files.iter().map(|(kind, .., path)| program(*kind, path));
    let contents = contents.collect::<Result<Vec<_>>>()?;
    let mut images = Vec::new();
    for ((kind, name, description, _), data) in files.iter().zip(&contents) {
        let room = target.room(*kind).context("the board has no place for it")?;
        let load = u32::try_from(room.start)?;
        let is_loader = *kind == PartKind::Loader;
        images.push(NewImage {
            name,
            description,
            image_type: if is_loader { "standalone" } else { "firmware" },
            load,
            entry: (!is_loader).then_some(load),
            data,
        });
    }
    let fit = FitBuf::new("Firn behind an existing first stage", &images);
    fit.and_then(FitBuf::to_bytes).map_err(|error| coded(&arguments.output, &error))
}

/// Reads what will be run.
fn program(kind: PartKind, path: &Path) -> Result<Vec<u8>> {
    let bytes = read(path)?;
    build::check_program(kind, &bytes).map_err(|error| coded(path, &error))?;
    Ok(bytes)
}
