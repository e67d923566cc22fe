//! Loader entries that the configuration brings besides its generations.

use anyhow::Result;

use super::{Installation, writer::Content};

const PREFIX: &str = "firn-extra-";
const SUFFIX: &str = ".conf";

/// Writes those of the configuration.
pub(super) fn write(installation: &Installation<'_>) -> Result<()> {
    for (name, text) in &installation.config.extra_entries {
        let path = format!("{}/{PREFIX}{name}{SUFFIX}", directory(installation));
        installation.writer.put(&path, 0o644, &Content::Bytes(text.clone().into_bytes()))?;
    }
    Ok(())
}

/// Removes those that were written for an earlier configuration.
pub(super) fn clean(installation: &Installation<'_>) -> Result<()> {
    let directory = directory(installation);
    for file in installation.writer.names(&directory)? {
        let Some(rest) = file.strip_prefix(PREFIX) else { continue };
        let wanted = rest
            .strip_suffix(SUFFIX)
            .is_some_and(|name| installation.config.extra_entries.contains_key(name));
        if !wanted {
            installation.writer.remove_all(&format!("{directory}/{file}"))?;
        }
    }
    Ok(())
}

fn directory(installation: &Installation<'_>) -> String {
    format!("{}/loader/entries", installation.config.boot)
}
