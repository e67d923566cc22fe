//! The file that the NixOS module writes: how this system is to be installed.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use firn::{menu::password, nixos::loader_entries};
use serde::Deserialize;

use crate::firmware;

/// Longest name of an extra entry.
const MAX_NAME: usize = 64;

/// What the module says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Config {
    /// The board's name.
    pub(crate) board: String,
    /// What the loader reads generations from.
    pub(crate) source: Source,
    /// Directory of `extlinux/`, `nixos/` and `loader/entries/`.
    pub(crate) boot: String,
    /// Directory, in the file system that holds `/nix`, in which its `nix/` lies.
    #[serde(default)]
    pub(crate) nix_prefix: String,
    /// How many generations are listed.
    #[serde(default)]
    pub(crate) configuration_limit: Option<u32>,
    /// Seconds that the menu waits; none: for ever.
    #[serde(default)]
    pub(crate) timeout: Option<u32>,
    /// Whether command lines may be edited.
    #[serde(default = "yes")]
    pub(crate) editor: bool,
    /// What the password for editing must hash to.
    #[serde(default)]
    pub(crate) password_hash: Option<String>,
    /// Further loader entries, by their names.
    #[serde(default)]
    pub(crate) extra_entries: BTreeMap<String, String>,
    /// The board's own firmware.
    #[serde(default)]
    pub(crate) firmware: Option<firmware::Settings>,
}

/// What the loader reads generations from.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// The Nix profiles: nothing is copied.
    Profiles,
    /// `extlinux.conf` and copies of all that it names.
    Extlinux,
}

fn yes() -> bool {
    true
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, or says what cannot be done; the error names the key.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        Self::parse(&text).with_context(|| shown.to_string())
    }

    /// What the loader has to find on a card: the store, or the boot directory.
    pub(crate) fn place(&self) -> &str {
        match self.source {
            Source::Profiles => "/nix/store",
            Source::Extlinux => &self.boot,
        }
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut config: Self = serde_json::from_str(text)?;
        config.boot = directory("boot", &config.boot)?;
        if !config.nix_prefix.is_empty() {
            config.nix_prefix = directory("nixPrefix", &config.nix_prefix)?;
        }
        ensure!(
            config.configuration_limit != Some(0),
            "configurationLimit is 0: no generation would be left to boot; null means all"
        );
        if let Some(hash) = &config.password_hash {
            password::validate(hash).map_err(|error| anyhow::anyhow!("passwordHash: {error}"))?;
        }
        for (name, text) in &config.extra_entries {
            extra_entry(name, text).with_context(|| format!("extraEntries: {name:?}"))?;
        }
        Ok(config)
    }
}

/// An absolute path without detours, and without a `/` at its end.
fn directory(key: &str, path: &str) -> Result<String> {
    let components: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let is_plain = |name: &&str| !matches!(*name, "." | "..") && !name.contains(char::is_control);
    ensure!(
        path.starts_with('/') && components.iter().all(is_plain),
        "{key}: {path:?} is not an absolute path without `.` and `..`"
    );
    Ok(components.iter().map(|name| format!("/{name}")).collect())
}

/// The name becomes a file's, in which `+` would count boots.
fn extra_entry(name: &str, text: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    ensure!(
        (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_plain),
        "a name has 1 to {MAX_NAME} letters, digits, `-`, `_` and `.`"
    );
    ensure!(
        text.len() <= loader_entries::MAX_SIZE,
        "has {} bytes, of which the loader reads {}",
        text.len(),
        loader_entries::MAX_SIZE
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = r#"{ "board": "imx8mp-evk", "source": "profiles", "boot": "/boot/", "nixPrefix": "",
        "configurationLimit": 20, "timeout": 5, "editor": true, "passwordHash": null,
        "extraEntries": { "memtest": "title Memtest\nlinux /memtest" }, "firmware": null }"#;

    /// nix/tests compares the file with what the module writes.
    #[test]
    fn what_the_nixos_module_writes_with_everything_set_is_understood() {
        let text = include_str!("../../../../nix/tests/expected/firn-install.json");
        let config = Config::parse(text).unwrap();
        assert_eq!(config.source, Source::Extlinux);
        assert_eq!((&*config.boot, &*config.nix_prefix), ("/boot", "/system"));
        assert_eq!((config.configuration_limit, config.timeout), (Some(9), Some(7)));
        assert_eq!(config.extra_entries["debian"], "title Debian\nlinux /debian/vmlinuz\n");
        assert!(!config.editor && config.password_hash.is_some() && config.firmware.is_some());
    }

    fn refused(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut value = serde_json::from_str(MODULE).unwrap();
        change(&mut value);
        format!("{:#}", Config::parse(&value.to_string()).unwrap_err())
    }

    #[test]
    fn what_the_module_writes_is_read() {
        let config = Config::parse(MODULE).unwrap();
        assert_eq!((&*config.boot, config.source), ("/boot", Source::Profiles));
        assert_eq!((config.configuration_limit, config.timeout), (Some(20), Some(5)));
        assert_eq!(config.extra_entries["memtest"], "title Memtest\nlinux /memtest");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_key() {
        for (key, value, what) in [
            ("tiemout", 5.into(), "unknown field `tiemout`"),
            ("source", "grub".into(), "unknown variant `grub`"),
            ("boot", "boot".into(), "boot: \"boot\" is not an absolute path"),
            ("boot", "/a/../b".into(), "boot: \"/a/../b\""),
            ("nixPrefix", "system".into(), "nixPrefix: \"system\""),
            ("configurationLimit", 0.into(), "configurationLimit is 0"),
            ("passwordHash", "secret".into(), "passwordHash: "),
            ("timeout", (-1).into(), "invalid value: integer `-1`"),
        ] {
            let error = refused(|config| config[key] = value);
            assert!(error.contains(what), "{key}: {error}");
        }
        for name in ["", "a/b", "a+3", "a b"] {
            let error = refused(|config| config["extraEntries"][name] = "linux /a".into());
            assert!(error.contains("a name has 1 to 64"), "{name}: {error}");
        }
    }
}
