//! Machines of tests: cards as files, and devices as files below a `/dev`, `/sys` and `/proc` of their own.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, rc::Rc, sync::LazyLock};

use firn::{
    board::BOARD,
    image::{
        build::{self, Input, Piece},
        container::PartKind,
        training,
    },
    release,
};

use super::{hardware::Real, system::System};

pub(crate) const MIB: usize = 1 << 20;
pub(crate) const PRIMARY: usize = 0x8000;
pub(crate) const SECONDARY: usize = 0x40_8000;

/// A machine with files, devices and an eMMC.
pub(crate) struct Machine {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) system: System,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for name in ["dev", "sys"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        let system = System {
            dev: root.join("dev"),
            blocks: root.join("sys"),
            mounts: root.join("mountinfo"),
            swaps: root.join("swaps"),
            hardware: Rc::new(Real { mmc: root.join("mmc") }),
        };
        let machine = Self { directory, system };
        machine.put("flash.bin", &flash(false));
        machine.put("mountinfo", b"22 27 0:21 / /proc rw - proc proc rw\n");
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// A block device with this content, and its partitions.
    pub(crate) fn device(&self, name: &str, number: &str, content: &[u8], partitions: &[&str]) {
        let attributes = self.system.blocks.join(name);
        fs::create_dir_all(&attributes).unwrap();
        fs::write(attributes.join("dev"), format!("{number}\n")).unwrap();
        fs::write(attributes.join("size"), format!("{}\n", content.len() / 512)).unwrap();
        self.put(&format!("dev/{name}"), content);
        for (index, partition) in (1..).zip(partitions) {
            fs::create_dir(attributes.join(partition)).unwrap();
            let own = self.system.blocks.join(partition);
            fs::create_dir(&own).unwrap();
            fs::write(own.join("partition"), format!("{index}\n")).unwrap();
            fs::write(own.join("dev"), format!("{number}{index}\n")).unwrap();
            self.put(&format!("dev/{partition}"), b"");
        }
    }
}

pub(crate) fn content(seed: u8, size: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

/// A small flash.bin whose size is no multiple of a MiB.
pub(crate) fn flash(dummies: bool) -> Vec<u8> {
    let real = training::KINDS.map(|_| content(1, 1000));
    let dummy = training::KINDS.map(|kind| training::dummy(kind, "_202006"));
    let training = if dummies { dummy } else { real };
    flash_of(&training, &[(PartKind::Loader, content(3, 4096).repeat(MIB / 4096))])
}

/// A flash.bin of a release. Those of different releases differ in all that has content.
pub(crate) fn release(version: &str) -> Vec<u8> {
    let seed = version.bytes().fold(10_u8, u8::wrapping_add);
    let training = training::KINDS.map(|_| content(seed, 1000));
    flash_of(&training, &[(PartKind::Loader, loader(version))])
}

/// A second stage that tells its version.
pub(crate) fn loader(version: &str) -> Vec<u8> {
    let seed = version.bytes().fold(10_u8, u8::wrapping_add);
    let mut field = version.as_bytes().to_vec();
    field.resize(release::SIZE.into(), 0);
    [content(seed, 4096).repeat(MIB / 4096), release::MARK.to_vec(), field].concat()
}

/// A flash.bin of these files, and others that are always the same.
pub(crate) fn flash_of(training: &[Vec<u8>; 4], pieces: &[(PartKind, Vec<u8>)]) -> Vec<u8> {
    let bl31 = [(PartKind::Bl31, content(2, 3000))];
    let pieces: Vec<_> =
        bl31.iter().chain(pieces).map(|(kind, bytes)| Piece { kind: *kind, bytes }).collect();
    let training = training.each_ref().map(Vec::as_slice);
    let input = Input { spl: &content(4, 2000), training, pieces: &pieces };
    build::image(BOARD.image, &input).unwrap()
}

/// A card with an MBR of these partitions: type, start and size in MiB.
pub(crate) fn card(size: usize, partitions: &[(u8, usize, usize)]) -> Vec<u8> {
    let mut card = content(9, 4096).repeat(size / 4096);
    card[..512].fill(0);
    for (record, (system, start, size)) in card[446..510].chunks_mut(16).zip(partitions) {
        let blocks = |mib: usize| u32::try_from(mib * MIB / 512).unwrap().to_le_bytes();
        record[4] = *system;
        record[8..12].copy_from_slice(&blocks(*start));
        record[12..16].copy_from_slice(&blocks(*size));
    }
    card[510..512].copy_from_slice(&[0x55, 0xaa]);
    card
}

pub(crate) fn card_with_a_gap() -> Vec<u8> {
    card(16 * MIB, &[(0x83, 8, 8)])
}

/// `card` with `image` at `offset`.
pub(crate) fn with(mut card: Vec<u8>, offset: usize, image: &[u8]) -> Vec<u8> {
    card[offset..offset + image.len()].copy_from_slice(image);
    card
}

/// What its boot partitions hold before.
pub(crate) fn emmc_content() -> Vec<u8> {
    content(7, 4096).repeat(4 * MIB / 4096)
}

/// A stand-in for mmc-utils that notes what it is asked for, in the machine of the node it is given.
/// There is one for all tests: a program that is still being written when another thread starts
/// one cannot be run.
pub(crate) fn stand_in() -> PathBuf {
    static PROGRAM: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mmc");
        let script = "#!/bin/sh\n\
            eval node=\\${$#}\n\
            cd \"${node%/dev/*}\"\n\
            locks=$(cat sys/mmcblk2boot0/force_ro sys/mmcblk2boot1/force_ro)\n\
            echo \"$1 $2 $3 $4 ${5##*/} [$(echo $locks)]\" >> log\n\
            case \"$1 $2\" in\n\
            'extcsd read') echo \"Boot configuration bytes [PARTITION_CONFIG: 0x$(cat config)]\" ;;\n\
            'bootpart enable') [ -e stuck ] || printf %02x $(($3 * 8 + $4 * 64)) > config ;;\n\
            *) exit 1 ;;\n\
            esac\n";
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (directory, path)
    });
    PROGRAM.1.clone()
}

/// An eMMC whose PARTITION_CONFIG is this.
pub(crate) fn with_emmc(config: u8) -> Machine {
    let mut machine = Machine::new();
    machine.system.hardware = Rc::new(Real { mmc: stand_in() });
    machine.device("mmcblk2", "179:0", &card_with_a_gap(), &["mmcblk2p1"]);
    for (name, number) in [("mmcblk2boot0", "179:8"), ("mmcblk2boot1", "179:16")] {
        machine.device(name, number, &emmc_content(), &[]);
        machine.put(&format!("sys/{name}/force_ro"), b"1");
    }
    machine.put("config", format!("{config:02x}").as_bytes());
    machine
}
