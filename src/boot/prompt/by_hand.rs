//! `boot`: files that a person names, as a generation of its own.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::{files::coded, volumes::Volumes};
use crate::{
    fs::{self, ErrorKind, File, FileStream, FileSystem},
    linux::{compression::decompress, fit::Outline, image, package::Package},
    nixos::{BootFiles, DeviceTreeFile, Generation, Source},
};

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Kernel,
    DeviceTree,
    Overlay,
    Other,
}

/// How an overlay's name ends, which is a device tree, too.
const OVERLAY_SUFFIX: &str = ".dtbo";

/// The generation that consists of these files, which are located already. What each is for is told
/// by what is in it; the order of the initrds and of the overlays is kept.
pub(super) fn generation(
    volumes: &mut Volumes,
    files: Vec<String>,
    arguments: String,
) -> Result<Generation, String> {
    let mut boot = BootFiles { command_line: arguments, ..BootFiles::default() };
    for path in files {
        let (piece, path, configuration) = piece(volumes, &path).map_err(|error| coded(&error))?;
        match piece {
            Piece::Kernel if boot.kernel.is_empty() => {
                boot.kernel = path;
                boot.configuration = configuration;
            }
            Piece::Kernel => return Err(two("kernels", &boot.kernel, &path)),
            Piece::DeviceTree => match &boot.device_tree {
                DeviceTreeFile::File(first) => return Err(two("device trees", first, &path)),
                _ => boot.device_tree = DeviceTreeFile::File(path),
            },
            Piece::Overlay => boot.overlays.push(path),
            Piece::Other => boot.initrds.push(path),
        }
    }
    if boot.kernel.is_empty() {
        // Not a kernel as far as can be seen: loading it tells what it is instead.
        if boot.initrds.is_empty() {
            return Err("no kernel is named".to_string());
        }
        boot.kernel = boot.initrds.remove(0);
    }
    Ok(Generation {
        id: "prompt".to_string(),
        source: Source::Prompt,
        name: "prompt".to_string(),
        title: boot.kernel.clone(),
        number: None,
        profile: None,
        specialisation: None,
        date: None,
        version: None,
        kernel_version: None,
        default: false,
        files: boot,
        tries: None,
        unread: false,
        broken: None,
    })
}

fn two(what: &str, first: &str, second: &str) -> String {
    format!("two {what}: {first} and {second}")
}

/// What the file at `path` is for; of a FIT image, with the configuration that follows its name.
fn piece(volumes: &mut Volumes, path: &str) -> Result<(Piece, String, Option<String>), fs::Error> {
    let (path, configuration) = match path.rsplit_once('#') {
        Some((file, configuration)) if !exists(volumes, path)? => (file, Some(configuration)),
        _ => (path, None),
    };
    let mut file = volumes.open(path)?;
    let piece = match (kind(&mut *file)?, configuration) {
        // Whatever it is, loading it tells that it has no configurations.
        (_, Some(_)) => Piece::Kernel,
        (Piece::DeviceTree, None) if path.ends_with(OVERLAY_SUFFIX) => Piece::Overlay,
        (piece, None) => piece,
    };
    Ok((piece, path.to_string(), configuration.map(ToString::to_string)))
}

fn exists(volumes: &mut Volumes, path: &str) -> Result<bool, fs::Error> {
    match volumes.metadata(path) {
        Ok(_) => Ok(true),
        Err(fs::Error { kind: ErrorKind::NotFound, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a file is for, by what is in it.
fn kind(file: &mut dyn File) -> Result<Piece, fs::Error> {
    let size = file.size();
    let mut head = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(image::HEAD_SIZE)];
    file.read_at(0, &mut head)?;
    Ok(match Package::recognise(&head, size) {
        Ok(Package::None) => if_kernel(&head),
        // Initrds are compressed, too.
        Ok(Package::Compressed(compression)) => {
            let mut head = vec![0; image::HEAD_SIZE];
            let mut stream = FileStream::new(file, 0..size);
            match decompress(compression, &mut stream, &mut head) {
                Ok(unpacked) => if_kernel(head.get(..unpacked.written).unwrap_or_default()),
                Err(_) => Piece::Other,
            }
        }
        Ok(Package::Fit) => match Outline::read(file).and_then(|outline| outline.fit().map(|_| ()))
        {
            Ok(()) => Piece::Kernel,
            Err(_) => Piece::DeviceTree,
        },
        Ok(Package::Zboot(_)) | Err(_) => Piece::Kernel,
    })
}

fn if_kernel(head: &[u8]) -> Piece {
    if image::is_image(head) { Piece::Kernel } else { Piece::Other }
}
