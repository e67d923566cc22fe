//! The machine that builds: a store with systems, a root that is populated, and the image made of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use evk::{
    card::Table,
    flash::Flash,
    models::ddr::blobs::Blobs,
    nixos::{DeviceTreeKey, Generation, System, Timeout},
    tree::{Content, Tree},
    userspace::{Userspace, programs},
};
use serde_json::json;
use tempfile::TempDir;

use crate::common::{assets, cards, firn_program, guests, run};

/// The label of the root that card-image.sh gives, unless told otherwise.
const LABEL: &str = "NIXOS_SD";

/// What the loader reads generations from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Profiles,
    Extlinux,
}

impl Source {
    /// What the loader calls it.
    pub(crate) fn told(self) -> &'static str {
        match self {
            Self::Profiles => "profile",
            Self::Extlinux => "extlinux",
        }
    }
}

/// A folder with a store, and with the root of an image.
pub(crate) struct Host {
    folder: TempDir,
    system: System,
}

/// Three generations with Linux, whose initrds go on with what the card has at `init=`: a line that tells
/// which generation it is, and what `second_stage` adds.
pub(crate) fn real(second_stage: impl Fn(u32) -> String) -> (System, Tree) {
    let mut system = System::real(&assets()).expect("system").on_one_cpu();
    let mut scripts = Tree::new();
    for generation in &mut system.generations {
        let number = generation.number;
        let initrd = Userspace::new(number).with_root(LABEL).initrd(&assets()).expect("initrd");
        generation.initrd = Content::bytes(initrd);
        let script = format!(
            "#!/bin/sh\nexport PATH=/bin\nmount -t proc proc /proc\nmount -t sysfs sys /sys\n\
             mount -t devtmpfs dev /dev\necho 'second stage of generation {number}'\n{}",
            second_stage(number)
        );
        scripts.insert(format!("{}/init", &generation.toplevel()[1..]), Content::bytes(script));
    }
    (settled(system), scripts)
}

/// Three generations with a kernel of a few KiB.
pub(crate) fn small() -> System {
    let kernel = fs::read(guests().stub_kernel).expect("stub kernel");
    settled(System::small(&assets(), &kernel).expect("system"))
}

/// As the module configures them: the device tree is named.
fn settled(system: System) -> System {
    System { device_tree_key: DeviceTreeKey::File, timeout: Timeout::Seconds(0), ..system }
}

impl Host {
    /// With all of `system`'s generations in its store, where `more` takes the place of their files.
    pub(crate) fn new(system: System, more: Tree) -> Self {
        fs::create_dir_all(cards()).expect("a folder for cards");
        let folder =
            tempfile::Builder::new().prefix("host-").tempdir_in(cards()).expect("a folder");
        let store = system.store().merged(more).inside("nix/store").below("host/nix/store");
        let root = programs(&assets())
            .with("bin/firn", Content::File(evk::assets::target_command().expect("command")))
            .with("etc/NIXOS", Content::bytes(""));
        let root = ["boot", "dev", "proc", "run", "sys", "tmp", "var"]
            .into_iter()
            .fold(root, |root, folder| root.with(folder, Content::Folder));
        store.merged(root.below("files")).write_to(folder.path()).expect("files");
        let host = Self { folder, system };
        host.write_closure();
        host
    }

    pub(crate) fn system(&self) -> &System {
        &self.system
    }

    /// As closureInfo of nixpkgs writes it.
    fn write_closure(&self) {
        let names = fs::read_dir(self.path("host/nix/store")).expect("store");
        let mut paths: Vec<_> = names
            .map(|name| format!("/nix/store/{}\n", name.unwrap().file_name().to_str().unwrap()))
            .collect();
        paths.sort();
        fs::create_dir(self.path("closure")).expect("closure");
        fs::write(self.path("closure/store-paths"), paths.concat()).expect("closure");
        fs::write(self.path("closure/registration"), paths.concat()).expect("closure");
    }

    /// Populates the root so that `generation` boots, as `populateCmd` does.
    pub(crate) fn populate(&self, generation: &Generation, source: Source) {
        let config = self.path("files/etc/firn-install.json");
        fs::write(&config, configuration(source)).expect("configuration");
        let (root, store) = (self.path("files"), self.path("host"));
        let mut command = Command::new(firn_program());
        command.args(["install", "--populate", "--config"]).arg(config).arg("--root").arg(root);
        run(command.arg("--store").arg(store).arg(generation.toplevel()));
    }

    /// Moves /nix of the populated root to /persist/nix, where the loader does not look, and what is in
    /// /boot to where a boot partition is made of it. The store is then a part of the root.
    pub(crate) fn persist(&self) -> PathBuf {
        let boot = self.path("boot");
        let moves = [
            ("host/nix/store", "files/nix/store"),
            ("files/nix", "files/persist/nix"),
            ("files/boot", "boot"),
        ];
        fs::create_dir_all(self.path("files/persist")).expect("persist");
        for (from, to) in moves {
            fs::rename(self.path(from), self.path(to)).expect("persist");
        }
        for empty in ["files/nix", "files/boot"] {
            fs::create_dir(self.path(empty)).expect("mount point");
        }
        boot
    }

    /// The image, made by the script that the derivation runs.
    pub(crate) fn image(&self, table: Table, more: &[&str]) -> PathBuf {
        let mut command = self.card_image(&self.path("files"), table);
        if self.path("host/nix/store").is_dir() {
            command
                .arg("--closure")
                .arg(self.path("closure"))
                .arg("--store")
                .arg(self.path("host"));
        }
        let image = self.path("card.img");
        run(command.args(more).arg(&image));
        image
    }

    /// The image of another root, which has its store.
    pub(crate) fn image_of(&self, root: &Path, table: Table) -> PathBuf {
        let image = self.path("other.img");
        run(self.card_image(root, table).args(["--slack", "16"]).arg(&image));
        image
    }

    fn card_image(&self, root: &Path, table: Table) -> Command {
        let flash = self.path("flash.bin");
        fs::write(&flash, flash_bin()).expect("flash.bin");
        let mut command = Command::new("sh");
        command.arg(evk::assets::tree().join("nix/image/card-image.sh"));
        command.env("PATH", path_with_system_folders()).arg("--firn").arg(firn_program());
        command.arg("--root").arg(root).arg("--flash").arg(flash);
        command.arg("--dummy-ddr-firmware").arg("--table").arg(match table {
            Table::Gpt => "gpt",
            Table::Mbr => "mbr",
        });
        command
    }

    /// Below the host's folder.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

/// What the module writes for the installer.
fn configuration(source: Source) -> String {
    let source = match source {
        Source::Profiles => "profiles",
        Source::Extlinux => "extlinux",
    };
    let config = json!({
        "board": "imx8mp-evk", "source": source, "boot": "/boot", "nixPrefix": "",
        "configurationLimit": 20, "timeout": 0, "editor": true, "passwordHash": null,
        "extraEntries": {}, "firmware": null,
    });
    config.to_string()
}

/// Of this tree, with training firmware that is as short as it can be.
pub(crate) fn flash_bin() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let Blobs { one_d_imem, one_d_dmem, two_d_imem, two_d_dmem } = Blobs::smallest();
        let training = [one_d_imem, one_d_dmem, two_d_imem, two_d_dmem];
        let flash = Flash::of_this_tree(&assets()).expect("firmware");
        flash.training(training).bytes().expect("flash.bin")
    })
}

/// Debian keeps what only root has in `PATH` apart.
pub(crate) fn path_with_system_folders() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

/// Whether a file system passes e2fsck, read only.
pub(crate) fn is_sound(image: &Path, offset: u64) -> bool {
    let mut command = Command::new("e2fsck");
    command.env("PATH", path_with_system_folders()).args(["-f", "-n"]);
    let file = format!("{}?offset={offset}", image.display());
    command.arg(file).output().expect("e2fsck").status.success()
}
