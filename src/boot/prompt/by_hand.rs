//! `boot`: files that a person names, as a generation of its own.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{files::coded, volumes::Volumes};
use crate::{
    fs::{self, FileSystem},
    nixos::{BootFiles, DeviceTreeFile, Generation, Source},
};

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Kernel,
    DeviceTree,
    Other,
}

/// Where an arm64 Image has its magic (Linux, `Documentation/arch/arm64/booting.rst`), and where a
/// device tree has its own (Devicetree Specification v0.4, 5.2).
const KERNEL_MAGIC: (usize, &[u8]) = (56, b"ARM\x64");
const TREE_MAGIC: (usize, &[u8]) = (0, &[0xd0, 0x0d, 0xfe, 0xed]);
const HEAD: usize = 64;

/// The generation that consists of these files, which are located already. What each is for is told
/// by what is in it; the order of the initrds is kept.
pub(super) fn generation(
    volumes: &mut Volumes,
    files: Vec<String>,
    arguments: String,
) -> Result<Generation, String> {
    let mut boot = BootFiles { command_line: arguments, ..BootFiles::default() };
    for path in files {
        match piece(volumes, &path).map_err(|error| coded(&error))? {
            Piece::Kernel if boot.kernel.is_empty() => boot.kernel = path,
            Piece::Kernel => return Err(two("kernels", &boot.kernel, &path)),
            Piece::DeviceTree => match &boot.device_tree {
                DeviceTreeFile::File(first) => return Err(two("device trees", first, &path)),
                _ => boot.device_tree = DeviceTreeFile::File(path),
            },
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

fn piece(volumes: &mut Volumes, path: &str) -> Result<Piece, fs::Error> {
    let mut file = volumes.open(path)?;
    let mut head = [0; HEAD];
    let length = usize::try_from(file.size()).unwrap_or(HEAD).min(HEAD);
    file.read_at(0, &mut head[..length])?;
    let has = |(offset, magic): (usize, &[u8])| head[offset..].starts_with(magic);
    Ok(if has(KERNEL_MAGIC) {
        Piece::Kernel
    } else if has(TREE_MAGIC) {
        Piece::DeviceTree
    } else {
        Piece::Other
    })
}
