//! A firmware update that is cut: the program is ended in the middle of a write, and the board starts from the
//! copy that it had not come to.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use evk::card::Table;
use serde_json::Value;

use crate::{
    LOADER,
    common::{SOON, firn, firn_program},
    host::{Host, Source, flash_bin, other_flash_bin, small},
    switched_on,
};

/// Where the copies of flash.bin lie.
const PRIMARY: u64 = firn::soc::boot_rom::CARD_OFFSET;
const SECONDARY: u64 = firn::soc::boot_rom::SECONDARY_CARD_OFFSET;

/// `firn firmware update`, killed by the kernel when it writes behind `end` of the image.
fn update_cut_at(image: &Path, new: &Path, end: u64) -> ExitStatus {
    let script = format!("ulimit -f {}; exec \"$@\"", end / 512);
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(firn_program());
    command.args(["firmware", "update", "--yes"]).arg(new).arg("--device").arg(image);
    command.output().unwrap().status
}

/// What begins at `offset` of the image, as long as `bytes`.
fn holds(image: &Path, offset: u64, bytes: &[u8]) -> bool {
    let all = fs::read(image).unwrap();
    let offset = usize::try_from(offset).unwrap();
    all[offset..].starts_with(bytes)
}

/// The board comes up with this image, and boots its generation.
fn starts(image: &Path, from: &str) {
    let mut session = switched_on(image);
    session.expect(from, LOADER).unwrap();
    let report = session.expect_stub(SOON).unwrap();
    assert!(report.text("/chosen bootargs").unwrap().contains("init=/nix/store/"), "{report:?}");
    session.expect_power_off(SOON).unwrap();
    assert_eq!(session.witness().broken_rules(), [""; 0]);
}

fn card() -> (Host, PathBuf, PathBuf) {
    let host = Host::new(small(), evk::tree::Tree::new());
    host.populate(&host.system().generations[0], Source::Profiles);
    let image = host.image(Table::Gpt, &[]);
    let new = host.path("new.bin");
    fs::write(&new, other_flash_bin()).unwrap();
    (host, image, new)
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn a_board_starts_from_the_copy_that_a_cut_update_has_not_come_to() {
    const SIGXFSZ: i32 = 25;
    let (_host, image, new) = card();

    // The secondary copy comes first. What is cut leaves no head for the boot ROM to believe.
    let status = update_cut_at(&image, &new, SECONDARY + 0x8_0000);
    assert_eq!(status.signal(), Some(SIGXFSZ), "{status}");
    assert!(holds(&image, PRIMARY, flash_bin()));
    assert!(!holds(&image, SECONDARY, &flash_bin()[..512]));
    starts(&image, "image at 0x8000");

    // With the secondary copy new, the primary one is what is left to do.
    firn(&["write", new.to_str().unwrap(), image.to_str().unwrap(), "--copy", "secondary"]);
    let status = update_cut_at(&image, &new, PRIMARY + 0x8_0000);
    assert_eq!(status.signal(), Some(SIGXFSZ), "{status}");
    assert!(holds(&image, SECONDARY, other_flash_bin()));
    assert!(!holds(&image, PRIMARY, &flash_bin()[..512]));
    starts(&image, "secondary image at 0x408000");

    // A second time, it comes to its end.
    let words = ["firmware", "update", "--yes", new.to_str().unwrap()];
    firn(&[&words[..], &["--device", image.to_str().unwrap()]].concat());
    assert!([PRIMARY, SECONDARY].into_iter().all(|at| holds(&image, at, other_flash_bin())));
    let told = firn(&["image", "inspect", "--json", image.to_str().unwrap()]);
    assert!(serde_json::from_str::<Value>(&told).is_ok(), "{told}");
}
