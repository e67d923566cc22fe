//! What holds of every list of generations, whichever source it comes from.

use std::collections::BTreeSet;

use firn::nixos::{
    BootFiles, DeviceTreeFile, Generation,
    merge::{Found, merge},
};

/// A generation whose texts and paths can be shown and used as they are.
pub fn generation(generation: &Generation) {
    let Generation { files, .. } = generation;
    let title = &generation.title;
    assert!(!title.contains(char::is_control), "control characters in {title:?}");
    assert!(!files.command_line.contains(is_odd), "control characters in {files:?}");
    assert!(!generation.id.is_empty());
    paths(files).for_each(path);
    if generation.broken.is_none() && !generation.unread {
        assert!(!files.kernel.is_empty(), "nothing to boot: {generation:?}");
    }
}

/// At most one default, which can be booted; one if anything can.
pub fn default<'a>(generations: impl Iterator<Item = &'a Generation>) {
    let (mut defaults, mut bootable) = (0, false);
    for generation in generations {
        bootable |= generation.broken.is_none();
        defaults += usize::from(generation.default);
        assert!(!generation.default || generation.broken.is_none(), "{generation:?}");
    }
    assert_eq!(defaults, usize::from(bootable), "defaults");
}

/// No two with one identity.
pub fn unique<'a>(generations: impl Iterator<Item = &'a Generation>) {
    let mut seen = BTreeSet::new();
    generations.for_each(|one| assert!(seen.insert(&one.id), "twice: {}", one.id));
}

/// All paths that a generation names.
pub fn paths(files: &BootFiles) -> impl Iterator<Item = &String> {
    let tree = match &files.device_tree {
        DeviceTreeFile::File(path) | DeviceTreeFile::Directory(path) => Some(path),
        DeviceTreeFile::FromFirmware => None,
    };
    let kernel = Some(&files.kernel).filter(|kernel| !kernel.is_empty());
    kernel.into_iter().chain(&files.initrds).chain(tree).chain(&files.overlays)
}

/// Blanks of a line go where the source's author put them.
fn is_odd(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\r')
}

fn path(path: &String) {
    assert!(path.starts_with('/'), "not absolute: {path:?}");
    let odd = |name: &str| matches!(name, "" | "." | "..");
    assert!(path == "/" || !path[1..].split('/').any(odd), "not normalised: {path:?}");
}

/// One list out of what sources name: the same whatever their order, and no copy is lost twice.
pub fn merged(found: Vec<Found>) {
    let count = found.len();
    let mut turned = found.clone();
    turned.reverse();
    let mut listed = merge(found);
    assert_eq!(listed, merge(turned), "the order of the sources matters");
    assert!(listed.len() <= count);
    unique(listed.iter().map(|listed| &listed.best.generation));
    default(listed.iter().map(|listed| &listed.best.generation));
    for listed in &mut listed {
        let copies = listed.copies.len();
        for tries in 0.. {
            let broken = firn::nixos::Broken {
                code: firn::error::Code::KernelTruncated,
                reason: "it is truncated".into(),
            };
            if !listed.try_next_copy(broken) {
                break;
            }
            assert!(listed.best.generation.broken.is_none());
            assert!(tries < copies, "a copy is tried again");
        }
        assert!(listed.best.generation.broken.is_some());
    }
}
