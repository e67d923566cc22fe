//! `firn write` on the machines of `machine`.

use std::{fs, rc::Rc};

use clap::Parser;

use super::{
    hardware::Real,
    machine::{
        MIB, Machine, PRIMARY, SECONDARY, card, card_with_a_gap, content, emmc_content, flash,
        with, with_emmc,
    },
    *,
};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

impl Machine {
    /// Runs `firn write` with these words; paths are below the machine's root.
    fn run(&self, words: &str) -> Result<()> {
        let word = |word: &str| match word.starts_with("--") || !self.path(word).exists() {
            true => word.to_owned(),
            false => self.path(word).display().to_string(),
        };
        let words = ["write".to_owned()].into_iter().chain(words.split(' ').map(word));
        write(&Line::parse_from(words).arguments, &self.system)
    }

    /// Fails with an error that says all this.
    #[track_caller]
    fn refuses(&self, words: &str, texts: &[&str]) {
        let error = format!("{:#}", self.run(words).unwrap_err());
        for text in texts {
            assert!(error.contains(text), "no {text:?} in {error:?}");
        }
    }
}

#[test]
fn a_flash_bin_goes_to_32_kib_of_a_card_and_nothing_else_changes() {
    let machine = Machine::new();
    machine.put("card.img", &card_with_a_gap());
    machine.run("flash.bin card.img").unwrap();
    assert!(machine.get("card.img") == with(card_with_a_gap(), PRIMARY, &flash(false)));
}

#[test]
fn a_secondary_copy_goes_to_4_mib_behind_the_first() {
    let machine = Machine::new();
    machine.put("card.img", &card_with_a_gap());
    machine.run("flash.bin card.img --copy secondary").unwrap();
    assert!(machine.get("card.img") == with(card_with_a_gap(), SECONDARY, &flash(false)));
    machine.run("flash.bin card.img --copy both").unwrap();
    let one = with(card_with_a_gap(), SECONDARY, &flash(false));
    assert!(machine.get("card.img") == with(one, PRIMARY, &flash(false)));
}

#[test]
fn a_blank_card_takes_a_flash_bin() {
    let machine = Machine::new();
    machine.put("card.img", &vec![0; 4 * MIB]);
    machine.run("flash.bin card.img").unwrap();
}

#[test]
fn a_partition_that_would_be_overwritten_is_named_and_kept() {
    let machine = Machine::new();
    for (partitions, name) in [
        (&[(0x0c, 1, 4)][..], "partition 1 lies at 0x100000 to 0x500000"),
        (&[(0x83, 8, 4), (0x83, 1, 1)], "partition 2 lies at 0x100000 to 0x200000"),
        (&[(0x05, 1, 8)], "an extended partition lies at 0x100000"),
    ] {
        let before = card(16 * MIB, partitions);
        machine.put("card.img", &before);
        machine.refuses("flash.bin card.img", &[name]);
        assert!(machine.get("card.img") == before, "nothing was written");
    }
    // Only the secondary copy does not fit: the primary one is not written either.
    let before = card(16 * MIB, &[(0x83, 4, 8)]);
    machine.put("card.img", &before);
    machine.refuses("flash.bin card.img --copy both", &["partition 1", "0x408000"]);
    assert!(machine.get("card.img") == before, "nothing was written");
    machine.run("flash.bin card.img").unwrap();
}

#[test]
fn a_file_system_on_the_whole_card_is_kept() {
    let machine = Machine::new();
    let mut luks = vec![0; 4 * MIB];
    luks[..6].copy_from_slice(b"LUKS\xba\xbe");
    machine.put("card.img", &luks);
    machine.refuses("flash.bin card.img", &["holds LUKS (encrypted)"]);
    let mut ext4 = vec![0; 4 * MIB];
    ext4[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
    machine.put("card.img", &ext4);
    machine.refuses("flash.bin card.img", &["the whole device holds"]);
}

/// A GPT of one partition with this name, and an array of entries at this place.
fn gpt(name: &str, first: u64, last: u64, array_block: u64, entry_count: u32) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
            })
        })
    };
    let size = 16 * MIB;
    let mut card = vec![0; size];
    card[450] = 0xee;
    card[454..462].copy_from_slice(&[1, 0, 0, 0, 0xff, 0x7f, 0, 0]);
    card[510..512].copy_from_slice(&[0x55, 0xaa]);
    let mut entries = vec![0; 128 * entry_count as usize];
    entries[..32].copy_from_slice(&content(5, 32));
    entries[32..40].copy_from_slice(&first.to_le_bytes());
    entries[40..48].copy_from_slice(&last.to_le_bytes());
    for (unit, letter) in entries[56..128].chunks_mut(2).zip(name.encode_utf16()) {
        unit.copy_from_slice(&letter.to_le_bytes());
    }
    let at = usize::try_from(array_block).unwrap() * 512;
    card[at..at + entries.len()].copy_from_slice(&entries);
    let mut header = [0; 92];
    header[..16].copy_from_slice(b"EFI PART\0\0\x01\0\x5c\0\0\0");
    header[24..32].copy_from_slice(&1u64.to_le_bytes());
    header[72..80].copy_from_slice(&array_block.to_le_bytes());
    header[80..84].copy_from_slice(&entry_count.to_le_bytes());
    header[84..88].copy_from_slice(&128u32.to_le_bytes());
    header[88..92].copy_from_slice(&crc(&entries).to_le_bytes());
    let checksum = crc(&header);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    card[512..604].copy_from_slice(&header);
    card
}

#[test]
fn a_gpt_and_its_partitions_are_kept() {
    let machine = Machine::new();
    machine.put("card.img", &gpt("root", 16_384, 30_000, 2, 128));
    machine.run("flash.bin card.img").unwrap();
    machine.put("card.img", &gpt("root", 2_048, 30_000, 2, 128));
    machine.refuses("flash.bin card.img", &["partition 1 lies at 0x100000"]);
    // 252 entries end at 0x8200.
    machine.put("card.img", &gpt("root", 16_384, 30_000, 2, 252));
    machine.refuses("flash.bin card.img", &["the GPT's entries lie at 0x400 to 0x8200"]);
    machine.put("card.img", &gpt("root", 16_384, 30_000, 2_048, 128));
    machine.refuses("flash.bin card.img", &["the GPT's entries lie at 0x100000"]);
}

#[test]
fn a_partition_made_for_the_boot_image_takes_it() {
    let machine = Machine::new();
    machine.put("card.img", &gpt("firn", 64, 7_935, 2, 128));
    machine.run("flash.bin card.img").unwrap();
    machine.put("card.img", &gpt("data", 64, 7_935, 2, 128));
    machine.refuses("flash.bin card.img", &["partition 1"]);
    machine.put("card.img", &gpt("firn", 64, 1_000, 2, 128));
    machine.refuses("flash.bin card.img", &["partition 1"]);
}

#[test]
fn a_card_whose_gpt_cannot_be_read_is_left_alone() {
    let machine = Machine::new();
    let mut card = gpt("root", 16_384, 30_000, 2, 128);
    card[1024 + 100] ^= 1;
    machine.put("card.img", &card);
    machine.refuses("flash.bin card.img", &["both copies of the GPT are damaged"]);
}

#[test]
fn a_card_that_is_too_small_is_refused_with_both_sizes() {
    let machine = Machine::new();
    let needed = flash(false).len();
    machine.put("card.img", &vec![0; PRIMARY + needed - 512]);
    let size = (PRIMARY + needed - 512).to_string();
    machine.refuses("flash.bin card.img", &["too small", &size, &needed.to_string()]);
    machine.put("card.img", &vec![0; PRIMARY + needed]);
    machine.run("flash.bin card.img").unwrap();
}

#[test]
fn a_damaged_flash_bin_is_not_written() {
    let machine = Machine::new();
    machine.put("card.img", &card_with_a_gap());
    let mut damaged = flash(false);
    damaged[0x4_1000] ^= 1;
    machine.put("flash.bin", &damaged);
    machine.refuses("flash.bin card.img", &["E904", "BL31"]);
    machine.put("flash.bin", &content(1, 5000));
    machine.refuses("flash.bin card.img", &["E901"]);
    assert!(machine.get("card.img") == card_with_a_gap());
}

#[test]
fn a_device_is_asked_about_and_a_file_is_not() {
    let machine = Machine::new();
    machine.device("sdb", "8:16", &card_with_a_gap(), &["sdb1"]);
    // The test's standard input is no terminal.
    if !std::io::stdin().is_terminal() {
        machine.refuses("flash.bin dev/sdb", &["the boot image of", "sdb", "16 MB", "--yes"]);
        assert!(machine.get("dev/sdb") == card_with_a_gap());
    }
    machine.run("flash.bin dev/sdb --yes").unwrap();
    assert!(machine.get("dev/sdb") == with(card_with_a_gap(), PRIMARY, &flash(false)));
}

#[test]
fn what_is_mounted_swapped_to_or_part_of_another_device_is_refused() {
    let machine = Machine::new();
    machine.device("sdb", "8:16", &card_with_a_gap(), &["sdb1"]);
    let command = "flash.bin dev/sdb --yes";
    machine.put("mountinfo", b"30 1 8:161 / /media/card rw shared:1 - ext4 /dev/other rw\n");
    machine.refuses(command, &["sdb1 is mounted at /media/card", "--in-use"]);
    // Some file systems have no device number of their own.
    let node = machine.path("dev/sdb1");
    let mount = format!("30 1 0:40 /@ /media/card rw - btrfs {} rw\n", node.display());
    machine.put("mountinfo", mount.as_bytes());
    machine.refuses(command, &["sdb1 is mounted at /media/card"]);
    machine.put("mountinfo", b"");
    let swap = format!("Filename Type Size Used Priority\n{} partition 1 0 -2\n", node.display());
    machine.put("swaps", swap.as_bytes());
    machine.refuses(command, &["sdb1 is swapped to"]);
    machine.put("swaps", b"");
    fs::create_dir_all(machine.path("sys/sdb1/holders/dm-0")).unwrap();
    machine.refuses(command, &["sdb1 is part of dm-0"]);
    assert!(machine.get("dev/sdb") == card_with_a_gap());
    // On a running board the gap may be written, a card may not.
    machine.run(&format!("{command} --in-use")).unwrap();
    machine.put("card.img", &card_with_a_gap());
    machine.refuses("card.img dev/sdb --yes --in-use", &["sdb1 is part of dm-0"]);
}

#[test]
fn an_image_that_is_mounted_through_a_loop_device_is_refused() {
    let machine = Machine::new();
    machine.put("card.img", &card_with_a_gap());
    machine.device("loop0", "7:0", b"", &["loop0p1"]);
    fs::create_dir(machine.path("sys/loop0/loop")).unwrap();
    let backing = machine.path("card.img").display().to_string();
    machine.put("sys/loop0/loop/backing_file", backing.as_bytes());
    machine.put("mountinfo", b"30 1 7:01 / /mnt rw - ext4 /dev/loop0p1 rw\n");
    machine.refuses("flash.bin card.img", &["loop0p1 is mounted at /mnt"]);
}

#[test]
fn only_whole_devices_are_written() {
    let machine = Machine::new();
    machine.device("sdb", "8:16", &card_with_a_gap(), &["sdb1"]);
    machine.device("mmcblk2boot0", "179:8", &vec![0; 4 * MIB], &[]);
    machine.refuses("flash.bin dev/sdb1 --yes", &["is a partition", "whole device"]);
    machine.refuses("flash.bin dev/mmcblk2boot0 --yes", &["/mmcblk2", "--emmc-boot"]);
    machine.put("sys/sdb/ro", b"1\n");
    machine.refuses("flash.bin dev/sdb --yes", &["write-protected"]);
    machine.refuses("flash.bin flash.bin", &["itself"]);
    machine.refuses("flash.bin no-such-device", &["no-such-device"]);
}

#[test]
fn dummies_go_into_files_and_on_request_onto_devices() {
    let machine = Machine::new();
    machine.put("flash.bin", &flash(true));
    machine.put("card.img", &card_with_a_gap());
    machine.device("sdb", "8:16", &card_with_a_gap(), &[]);
    machine.run("flash.bin card.img").unwrap();
    machine.refuses("flash.bin dev/sdb --yes", &["E911", "--dummy-ddr-firmware"]);
    machine.run("flash.bin dev/sdb --yes --dummy-ddr-firmware").unwrap();
}

#[test]
fn a_card_image_replaces_all_of_a_card() {
    let machine = Machine::new();
    let image = with(card(12 * MIB, &[(0x83, 8, 4)]), PRIMARY, &flash(false));
    machine.put("card.img", &image);
    machine.device("sdb", "8:16", &card_with_a_gap(), &["sdb1"]);
    machine.run("card.img dev/sdb --yes").unwrap();
    let mut wanted = card_with_a_gap();
    wanted[..image.len()].copy_from_slice(&image);
    assert!(machine.get("dev/sdb") == wanted);
    machine.device("sdc", "8:32", &vec![0; 8 * MIB], &[]);
    machine.refuses("card.img dev/sdc --yes", &["too small"]);
}

#[test]
fn an_image_that_would_reach_into_the_state_record_is_refused() {
    let machine = Machine::new();
    let mut large = flash(false);
    large.resize(0x3d_8000 + 1, 0);
    machine.put("flash.bin", &large);
    machine.put("card.img", &card_with_a_gap());
    machine.refuses("flash.bin card.img", &["E908", "4030464"]);
}

fn begins_with(machine: &Machine, name: &str, image: &[u8]) -> bool {
    machine.get(name).starts_with(image)
}

#[test]
fn the_boot_partition_that_is_not_in_use_is_written_and_then_switched_to() {
    for (config, written, kept, number) in [
        (0x08, "mmcblk2boot1", "mmcblk2boot0", 2),
        (0x50, "mmcblk2boot0", "mmcblk2boot1", 1),
        (0x38, "mmcblk2boot0", "mmcblk2boot1", 1),
        (0x00, "mmcblk2boot0", "mmcblk2boot1", 1),
    ] {
        let machine = with_emmc(config);
        machine.run("flash.bin dev/mmcblk2 --emmc-boot --yes").unwrap();
        let image = flash(false);
        let mut wanted = emmc_content();
        wanted[..image.len()].copy_from_slice(&image);
        assert!(machine.get(&format!("dev/{written}")) == wanted);
        assert!(machine.get(&format!("dev/{kept}")) == emmc_content(), "the working one");
        assert!(machine.get("dev/mmcblk2") == card_with_a_gap(), "the user area");
        let log = String::from_utf8(machine.get("log")).unwrap();
        let lines: Vec<_> = log.lines().collect();
        let switch = format!("bootpart enable {number} 1 mmcblk2 [11]");
        assert_eq!(lines.len(), 3, "{log}");
        assert_eq!(lines[1], switch, "{log}");
    }
}

#[test]
fn both_boot_partitions_are_written_one_after_the_other() {
    let machine = with_emmc(0x48);
    machine.run("flash.bin dev/mmcblk2 --emmc-boot --copy both --yes").unwrap();
    for name in ["dev/mmcblk2boot0", "dev/mmcblk2boot1"] {
        assert!(begins_with(&machine, name, &flash(false)));
    }
    // The second one is started from before the first one is written.
    let log = String::from_utf8(machine.get("log")).unwrap();
    assert_eq!(log.matches("bootpart enable 2 1").count(), 1, "{log}");
    assert_eq!(log.matches("bootpart enable").count(), 1, "{log}");
    assert_eq!(machine.get("sys/mmcblk2boot0/force_ro"), b"1");
    assert_eq!(machine.get("sys/mmcblk2boot1/force_ro"), b"1");
}

#[test]
fn an_emmc_that_does_not_switch_keeps_its_working_partition() {
    let machine = with_emmc(0x08);
    machine.put("stuck", b"");
    let command = "flash.bin dev/mmcblk2 --emmc-boot --copy both --yes";
    machine.refuses(command, &["does not switch", "mmcblk2boot1"]);
    assert!(machine.get("dev/mmcblk2boot0") == emmc_content());
}

#[test]
fn what_cannot_take_a_boot_image_in_its_boot_partitions_is_told() {
    let mut machine = with_emmc(0x08);
    machine.device("sdb", "8:16", &card_with_a_gap(), &[]);
    machine.put("card.img", &card_with_a_gap());
    machine.refuses("flash.bin dev/sdb --emmc-boot --yes", &["no eMMC"]);
    machine.refuses("flash.bin card.img --emmc-boot --yes", &["is a file"]);
    machine.refuses("card.img dev/mmcblk2 --emmc-boot --yes", &["is a card image"]);
    machine.refuses("flash.bin dev/mmcblk2 --emmc-boot --copy secondary --yes", &["secondary"]);
    machine.put("sys/mmcblk2boot1/size", b"1024\n");
    machine.refuses("flash.bin dev/mmcblk2 --emmc-boot --yes", &["too small", "524288"]);
    machine.put("sys/mmcblk2boot1/size", b"8192\n");
    machine.system.hardware = Rc::new(Real { mmc: machine.path("no-mmc") });
    machine.refuses("flash.bin dev/mmcblk2 --emmc-boot --yes", &["install mmc-utils"]);
    assert!(machine.get("dev/mmcblk2boot1") == emmc_content());
}

#[test]
fn a_copy_in_the_user_area_that_an_emmc_does_not_start_is_told() {
    let told = |config| {
        let machine = with_emmc(config);
        machine.run("flash.bin dev/mmcblk2 --in-use --yes").unwrap();
        assert!(machine.get("dev/mmcblk2") == with(card_with_a_gap(), PRIMARY, &flash(false)));
        let node = machine.path("dev/mmcblk2");
        let destination = Destination::find(&machine.system, &node).unwrap();
        emmc::started_elsewhere(&machine.system, &destination)
    };
    for (config, started) in [(0x08, "mmcblk2boot0, not"), (0x50, "mmcblk2boot1, not")] {
        let warning = told(config).unwrap();
        assert!(warning.contains(started) && warning.contains("bootpart enable 7 1"), "{warning}");
    }
    assert_eq!(told(0x38), None);
    assert_eq!(told(0x00), None);
}

#[test]
fn what_a_card_does_not_keep_gets_no_head_that_a_boot_rom_would_believe() {
    let machine = Machine::new();
    machine.put("card.img", &card_with_a_gap());
    let payload = Payload::open(&machine.path("flash.bin")).unwrap();
    // Whatever is written goes elsewhere: behind the end.
    let path = machine.path("card.img");
    let file = fs::File::options().read(true).append(true).open(path).unwrap();
    let copy = Copy { payload: &payload, file: &file, offset: PRIMARY as u64, name: "x".into() };
    let error = format!("{:#}", copy.run().unwrap_err());
    assert!(error.contains("does not hold what was written"), "{error}");
    let elsewhere = machine.get("card.img").split_off(card_with_a_gap().len());
    assert!(elsewhere == [0; 512], "that the old head is not gone was noticed at once");
}

/// As the device's own write error, or a card that lies about its size, would.
#[test]
fn an_interrupted_write_leaves_no_head_that_a_boot_rom_would_believe() {
    let machine = Machine::new();
    let old = with(card_with_a_gap(), PRIMARY, &flash(false));
    machine.put("card.img", &old);
    let payload = Payload::open(&machine.path("flash.bin")).unwrap();
    // The payload shrinks under the writer's hands.
    machine.put("flash.bin", &flash(false)[..MIB]);
    let path = machine.path("card.img");
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let copy = Copy { payload: &payload, file: &file, offset: PRIMARY as u64, name: "x".into() };
    assert!(copy.run().is_err());
    let card = machine.get("card.img");
    assert!(card[PRIMARY..PRIMARY + 512].iter().all(|&byte| byte == 0));
    assert!(card[..PRIMARY] == old[..PRIMARY]);
}
