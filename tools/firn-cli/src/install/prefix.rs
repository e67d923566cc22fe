//! `/nix` in the root of its file system, where the loader looks for it.
//!
//! A system may have its `/nix` from another directory: `/system/nix` of a file system, mounted at `/nix`.
//! A link `nix -> system/nix` in the root of that file system leads the loader there.

use std::fs;

use anyhow::{Context as _, Result};
use firn::fs::ErrorKind;

use super::Installation;

const NIX: &str = "/nix";

/// Makes the link, if it is not there; says so if it cannot be made.
pub(super) fn link(installation: &Installation<'_>) -> Result<()> {
    let prefix = &installation.config.nix_prefix;
    if prefix.is_empty() {
        return Ok(());
    }
    let Some(root) = &installation.root_of_nix else {
        installation.say(format!(
            "the file system that holds /nix is mounted nowhere as a whole: make the link nix -> {target} in its \
             root, or the loader finds no generation",
            target = target(prefix)
        ));
        return Ok(());
    };
    let writer = &installation.writer;
    let path = format!("{}{NIX}", root.trim_end_matches('/'));
    let mut tree = writer.tree();
    match tree.read_link(&path) {
        Ok(found) if found == target(prefix) => Ok(()),
        Ok(found) => anyhow::bail!("{path} leads to {found}, not to {}: nixPrefix", target(prefix)),
        Err(error) if error.kind == ErrorKind::NotFound => {
            writer
                .make_directories(&format!("{}{prefix}{NIX}", root.trim_end_matches('/')), 0o755)?;
            writer.link(&path, &target(prefix))
        }
        Err(_) => {
            installation.say(format!(
                "{path} is there and no link to {}: the loader reads what is in it",
                target(prefix)
            ));
            Ok(())
        }
    }
}

fn target(prefix: &str) -> String {
    format!("{}{NIX}", prefix.trim_start_matches('/'))
}

/// Where the whole of the file system is mounted that holds `/nix`. Source: proc_pid_mountinfo(5).
pub(super) fn root_of_nix() -> Result<Option<String>> {
    const MOUNTS: &str = "/proc/self/mountinfo";
    let text = fs::read_to_string(MOUNTS).with_context(|| format!("cannot read {MOUNTS}"))?;
    Ok(whole_file_system_of(&text))
}

fn whole_file_system_of(mounts: &str) -> Option<String> {
    let fields = || {
        mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ').skip(2);
            Some((fields.next()?, fields.next()?, fields.next()?))
        })
    };
    // The last one mounted there is what is seen.
    let (device, ..) = fields().rfind(|(_, _, point)| *point == NIX)?;
    let whole = fields().find(|(other, root, _)| *other == device && *root == "/");
    whole.map(|(_, _, point)| unescaped(point))
}

/// Blanks and the like are written as `\040`.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => plain.push(char::from(code)),
            None => plain.push('\\'),
        }
        rest = if code.is_some() { &after[3..] } else { after };
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_the_whole_file_system_is_found() {
        let mounts = "21 1 8:2 / / rw - ext4 /dev/a rw\n\
                      30 21 179:2 / /mnt/all\\040of\\134it rw shared:1 - ext4 /dev/b rw\n\
                      31 21 179:2 /system/nix /nix rw - ext4 /dev/b rw\n\
                      32 31 179:2 /system/nix/store /nix/store ro - ext4 /dev/b ro\n";
        assert_eq!(whole_file_system_of(mounts).as_deref(), Some("/mnt/all of\\it"));
        let alone = "31 21 179:2 /system/nix /nix rw - ext4 /dev/b rw\n";
        assert_eq!(whole_file_system_of(alone), None);
    }
}
