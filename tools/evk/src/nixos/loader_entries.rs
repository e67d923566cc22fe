//! Generations as NixOS's systemd-boot module writes them: entries of the Boot Loader Specification.
//!
//! Source: nixpkgs, nixos/modules/system/boot/loader/systemd-boot (what it writes, not how).

use sha2::{Digest as _, Sha256};

use super::{DEVICE_TREE, DeviceTreeKey, Generation, System, Timeout};
use crate::tree::{Content, Tree};

/// How entries' files are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `nixos-generation-42.conf`, up to NixOS 25.11.
    Numbered,
    /// `nixos-<digest>.conf`, since 2026.
    Digest,
    /// The same with tries for systemd-boot to count: left, and done if any.
    Counted(u8, Option<u8>),
}

impl System {
    /// What the EFI system partition holds: `loader/` and `EFI/nixos/`.
    pub fn esp(&self, naming: Naming) -> Tree {
        let mut tree = Tree::new();
        let mut default = String::new();
        for (index, generation) in self.generations.iter().enumerate() {
            for variant in generation.variants() {
                let text = self.loader_entry(variant);
                let (id, file) = variant.entry_names(naming, &text);
                if index == self.default && variant.specialisation.is_none() {
                    default = id;
                }
                tree.insert(format!("loader/entries/{file}"), Content::bytes(text));
                tree = tree.merged(variant.esp_files());
            }
        }
        tree.with("loader/loader.conf", Content::bytes(self.loader_conf(naming, &default)))
    }

    fn loader_conf(&self, naming: Naming, default: &str) -> String {
        let timeout = match self.timeout {
            Timeout::Seconds(seconds) => seconds.to_string(),
            Timeout::Never => "menu-force".to_owned(),
        };
        let default = match naming {
            Naming::Counted(..) => format!("preferred {default}\ndefault nixos-*"),
            Naming::Numbered | Naming::Digest => format!("default {default}"),
        };
        format!("timeout {timeout}\n{default}\nconsole-mode keep\n")
    }

    fn loader_entry(&self, generation: &Generation) -> String {
        let Generation { number, version, kernel_version, date, .. } = generation;
        let day = date.split(' ').next().unwrap_or_default();
        let mut text = format!(
            "title {}\nsort-key nixos\n\
             version Generation {number} NixOS Xantusia {version} (Linux {kernel_version}), built on {day}\n\
             linux {}\n",
            generation.entry_title(),
            on_esp(&generation.store_kernel()),
        );
        for initrd in generation.store_initrds() {
            text += &format!("initrd {}\n", on_esp(&initrd));
        }
        text += &format!("options {}\n", generation.command_line());
        if self.device_tree_key != DeviceTreeKey::None {
            text += &format!("devicetree {}\n", on_esp(&generation.store_device_tree()));
        }
        text + "machine-id 0123456789abcdef0123456789abcdef\n"
    }
}

impl Generation {
    fn entry_title(&self) -> String {
        let profile = self.profile.as_ref().map(|name| format!(" [{name}]"));
        let variant = self.specialisation.as_ref().map(|name| format!(" ({name})"));
        ["NixOS".to_owned()].into_iter().chain(profile).chain(variant).collect()
    }

    /// What `loader.conf` calls the entry, and its file.
    fn entry_names(&self, naming: Naming, text: &str) -> (String, String) {
        match naming {
            Naming::Numbered => {
                let profile = self.profile.as_ref().map(|name| format!("-{name}"));
                let variant = self.specialisation.as_ref();
                let variant = variant.map(|name| format!("-specialisation-{name}"));
                let name = format!(
                    "nixos{}-generation-{}{}.conf",
                    profile.unwrap_or_default(),
                    self.number,
                    variant.unwrap_or_default()
                );
                (name.clone(), name)
            }
            Naming::Digest | Naming::Counted(..) => {
                let digest = Sha256::digest(text);
                let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                let counter = match naming {
                    Naming::Counted(left, Some(done)) => format!("+{left}-{done}"),
                    Naming::Counted(left, None) => format!("+{left}"),
                    _ => String::new(),
                };
                (format!("nixos-{digest}.conf"), format!("nixos-{digest}{counter}.conf"))
            }
        }
    }

    fn esp_files(&self) -> Tree {
        let initrds = std::iter::once(&self.initrd).chain(&self.more_initrds).cloned();
        let files = [
            (self.store_kernel(), self.kernel.clone()),
            (self.store_device_tree(), self.device_tree.clone()),
        ];
        let files = files.into_iter().chain(self.store_initrds().into_iter().zip(initrds));
        files.fold(Tree::new(), |tree, (path, content)| {
            tree.with(on_esp(&path).trim_start_matches('/'), content)
        })
    }

    fn store_device_tree(&self) -> String {
        format!("{}/{DEVICE_TREE}", self.store_device_trees())
    }
}

/// Where the module copies a file of the store to: the store's directory and the file's name.
fn on_esp(path: &str) -> String {
    let inside = path.trim_start_matches("/nix/store/");
    let directory = inside.split('/').next().unwrap_or_default();
    let file = inside.rsplit('/').next().unwrap_or_default();
    format!("/EFI/nixos/{directory}-{file}.efi")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nixos::tests::system;

    fn entries(tree: &Tree) -> Vec<String> {
        let paths = tree.paths().filter_map(|path| path.strip_prefix("loader/entries/"));
        paths.map(ToOwned::to_owned).collect()
    }

    #[test]
    fn every_file_that_an_entry_names_is_on_the_partition() {
        let system = system().with(42, |generation| {
            generation.more_initrds = vec![Content::bytes("second")];
            generation.specialisations = vec![generation.specialised("rescue")];
        });
        let tree = system.esp(Naming::Numbered);
        assert_eq!(entries(&tree).len(), 4);
        for entry in entries(&tree) {
            let bytes = tree.get(&format!("loader/entries/{entry}")).unwrap().read().unwrap();
            let text = String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            let named: Vec<_> =
                text.lines().filter_map(|line| line.split_once(" /EFI/nixos/")).collect();
            assert!(named.len() >= 3, "{text}");
            for (_, name) in named {
                assert!(tree.get(&format!("EFI/nixos/{name}")).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn both_namings_are_nixos_ones() {
        let numbered = entries(&system().esp(Naming::Numbered));
        assert!(numbered.contains(&"nixos-generation-42.conf".into()), "{numbered:?}");
        for (naming, end) in [
            (Naming::Digest, ".conf"),
            (Naming::Counted(3, None), "+3.conf"),
            (Naming::Counted(2, Some(1)), "+2-1.conf"),
        ] {
            for name in entries(&system().esp(naming)) {
                let digest = name.strip_prefix("nixos-").unwrap().strip_suffix(end).unwrap();
                assert_eq!(digest.len(), 64, "{name}");
            }
        }
    }
}
