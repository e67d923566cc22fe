//! Generations in the Nix store, and the profiles that number them.
//!
//! Sources: nixpkgs, nixos/modules/system/activation/{top-level,bootspec}.nix (what a toplevel holds);
//! Nix manual, "Profiles". Nothing of it is in `/boot`.

use serde_json::{Map, Value, json};

use super::{DEVICE_TREE, DeviceTreeKey, Generation, System, Timeout};
use crate::tree::{Content, Tree};

const PROFILES: &str = "nix/var/nix/profiles";

impl System {
    /// What `/nix` holds, below `nix/`: the store and the profiles. The `system` link names the default.
    pub fn store(&self) -> Tree {
        let mut tree = Tree::new();
        for generation in &self.generations {
            tree = tree.merged(self.toplevel_files(generation));
            let link = Content::DatedLink(generation.toplevel(), seconds(&generation.date));
            tree.insert(format!("{PROFILES}/{}", generation.link()), link);
        }
        if let Some(default) = self.generations.get(self.default) {
            let (folder, name) = match &default.profile {
                None => (PROFILES.to_owned(), "system"),
                Some(profile) => (format!("{PROFILES}/system-profiles"), profile.as_str()),
            };
            let link = default.link();
            let target = link.rsplit('/').next().unwrap_or_default();
            tree.insert(format!("{folder}/{name}"), Content::Link(target.into()));
        }
        tree
    }

    /// A root file system that boots from its profiles and has nothing in `/boot`.
    pub fn root(&self) -> Tree {
        super::empty_root().merged(self.store())
    }

    /// A toplevel in the store with all that it refers to.
    fn toplevel_files(&self, generation: &Generation) -> Tree {
        let toplevel = in_root(&generation.toplevel());
        let file = |name: &str| format!("{toplevel}/{name}");
        let initrds = generation.store_initrds();
        let mut tree = Tree::new()
            .with(in_root(&generation.store_kernel()), generation.kernel.clone())
            .with(file("init"), Content::bytes("#!/bin/sh\n"))
            .with(file("kernel"), Content::Link(generation.store_kernel()))
            .with(file("kernel-params"), Content::bytes(generation.parameters.clone()))
            .with(file("nixos-version"), Content::bytes(generation.version.clone()))
            .with(file("system"), Content::bytes("aarch64-linux"))
            .with(file("specialisation"), Content::Folder);
        let contents = std::iter::once(&generation.initrd).chain(&generation.more_initrds);
        for (path, content) in initrds.iter().zip(contents) {
            tree.insert(in_root(path), content.clone());
        }
        if let Some(first) = initrds.into_iter().next() {
            tree.insert(file("initrd"), Content::Link(first));
        }
        let device_tree = format!("{}/{DEVICE_TREE}", generation.store_device_trees());
        tree.insert(in_root(&device_tree), generation.device_tree.clone());
        if self.device_tree_key != DeviceTreeKey::None {
            tree.insert(file("dtbs"), Content::Link(generation.store_device_trees()));
        }
        if generation.has_boot_json {
            tree.insert(file("boot.json"), Content::bytes(self.boot_json(generation).to_string()));
        }
        for variant in &generation.specialisations {
            tree = tree.merged(self.toplevel_files(variant));
            let name = variant.specialisation.as_deref().unwrap_or("unnamed");
            tree.insert(
                format!("{toplevel}/specialisation/{name}"),
                Content::Link(variant.toplevel()),
            );
        }
        tree
    }

    /// Source: NixOS RFC 125; nixpkgs, nixos/modules/system/activation/bootspec.nix.
    fn boot_json(&self, generation: &Generation) -> Value {
        let toplevel = generation.toplevel();
        let mut initrds = generation.store_initrds();
        let more = initrds.split_off(1);
        let mut spec = json!({
            "org.nixos.bootspec.v1": {
                "init": format!("{toplevel}/init"),
                "initrd": initrds.first(),
                "kernel": generation.store_kernel(),
                "kernelParams": generation.parameters.split(' ').collect::<Vec<_>>(),
                "label": format!(
                    "NixOS Xantusia {} (Linux {})",
                    generation.version, generation.kernel_version
                ),
                "system": "aarch64-linux",
                "toplevel": toplevel,
            },
            "org.nixos.specialisation.v1": generation
                .specialisations
                .iter()
                .filter_map(|variant| {
                    Some((variant.specialisation.clone()?, self.boot_json(variant)))
                })
                .collect::<Map<_, _>>(),
            "org.firn.v1": self.settings(generation),
        });
        if !more.is_empty() {
            spec["org.nixos.extra-initrd.v1"] = json!({ "paths": more });
        }
        spec
    }

    fn settings(&self, generation: &Generation) -> Value {
        let mut settings = json!({
            "timeout": match generation.timeout.unwrap_or(self.timeout) {
                Timeout::Seconds(seconds) => json!(seconds),
                Timeout::Never => Value::Null,
            },
        });
        if let Some(tries) = generation.tries {
            settings["bootTries"] = json!(tries);
        }
        if self.device_tree_key == DeviceTreeKey::File {
            let tree = format!("{}/{DEVICE_TREE}", generation.store_device_trees());
            settings["deviceTree"] = json!(tree);
        }
        settings
    }
}

impl Generation {
    /// The kernel in the store, with the leading slash.
    pub fn store_kernel(&self) -> String {
        format!("{}/Image", self.store_linux())
    }

    /// Its folder of device trees in the store.
    pub fn store_device_trees(&self) -> String {
        format!("{}/dtbs", self.store_linux())
    }

    /// Its initrds in the store.
    pub fn store_initrds(&self) -> Vec<String> {
        let name = |index: usize| match index {
            0 => format!("initrd-linux-{}", self.kernel_version),
            index => format!("extra-initrd-{index}"),
        };
        let path = |index| format!("/nix/store/{}/initrd", self.store_name(&name(index)));
        (0..=self.more_initrds.len()).map(path).collect()
    }

    fn store_linux(&self) -> String {
        let name = format!("linux-{}", self.kernel_version);
        format!("/nix/store/{}", self.store_name(&name))
    }

    /// Below the folder of profiles.
    fn link(&self) -> String {
        let number = self.number;
        match &self.profile {
            None => format!("system-{number}-link"),
            Some(profile) => format!("system-profiles/{profile}-{number}-link"),
        }
    }
}

/// Without the leading slash.
fn in_root(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}

/// Seconds since 1970 of a date and time like "2026-02-14 18:42" in UTC; 0 for other texts.
fn seconds(date: &str) -> i64 {
    let numbers: Vec<i64> =
        date.split(['-', ' ', ':']).filter_map(|digits| digits.parse().ok()).collect();
    let &[year, month, day, hour, minute] = numbers.as_slice() else { return 0 };
    // Years that begin in March end in the leap day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - 719_469;
    (days * 24 + hour) * 3600 + minute * 60
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nixos::tests::system;

    fn text(tree: &Tree, path: &str) -> String {
        let content = tree.get(path).unwrap_or_else(|| panic!("no {path}"));
        String::from_utf8(content.read().unwrap().unwrap().to_vec()).unwrap()
    }

    fn target(tree: &Tree, path: &str) -> String {
        match tree.get(path) {
            Some(Content::Link(target) | Content::DatedLink(target, _)) => target.clone(),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn dates_are_seconds_since_1970() {
        assert_eq!(seconds("1970-01-01 00:00"), 0);
        assert_eq!(seconds("2000-02-29 12:30"), 951_827_400);
        assert_eq!(seconds("2026-02-14 18:42"), 1_771_094_520);
    }

    #[test]
    fn every_path_that_a_boot_json_names_is_in_the_store() {
        let system = system().with(42, |generation| {
            generation.more_initrds = vec![Content::bytes("second")];
            generation.specialisations = vec![generation.specialised("rescue")];
        });
        let tree = system.root();
        for generation in system.generations.iter().flat_map(Generation::variants) {
            let toplevel = generation.toplevel();
            let json = text(&tree, &in_root(&format!("{toplevel}/boot.json")));
            let spec: Value = serde_json::from_str(&json).unwrap();
            let v1 = &spec["org.nixos.bootspec.v1"];
            for key in ["kernel", "initrd", "init"] {
                let path = in_root(v1[key].as_str().unwrap());
                assert!(tree.get(&path).is_some(), "{path}");
            }
            assert_eq!(v1["toplevel"], toplevel);
        }
    }

    #[test]
    fn the_system_link_names_the_default_and_the_numbered_links_their_toplevels() {
        let system = System { default: 1, ..system() };
        let tree = system.store();
        assert_eq!(target(&tree, "nix/var/nix/profiles/system"), "system-41-link");
        for generation in &system.generations {
            let link = format!("nix/var/nix/profiles/system-{}-link", generation.number);
            assert_eq!(target(&tree, &link), generation.toplevel());
        }
    }

    #[test]
    fn another_profile_has_links_of_its_own() {
        let system = system().with(40, |generation| generation.profile = Some("tested".into()));
        let tree = system.store();
        let link = "nix/var/nix/profiles/system-profiles/tested-40-link";
        assert_eq!(target(&tree, link), system.numbered(40).toplevel());
        assert!(tree.get("nix/var/nix/profiles/system-40-link").is_none());
    }

    #[test]
    fn a_specialisation_shares_nothing_with_its_generation() {
        let generation = system().generations.remove(0);
        let variant = generation.specialised("rescue");
        assert_ne!(variant.toplevel(), generation.toplevel());
        assert_ne!(variant.store_kernel(), generation.store_kernel());
    }
}
