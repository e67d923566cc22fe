//! The rescue prompt's commands on whole boards: what a person types, and what the line says.

use firn::{
    boot::Store,
    error::Code,
    state::{Failure, Identity},
};

use super::*;

/// A card with nothing in its configuration, so that the prompt comes by itself.
fn rescue_card() -> Card {
    card(
        "SD card (slot 1)",
        &[
            ("Image", &kernel(7, 0x1000)),
            ("initrd one", b"first"),
            ("second", b"second!"),
            ("board.dtb", TREE),
            ("notes.txt", b"one\ntwo\x1b[2J\tthree\xc3\xa4\n"),
            ("nixos/kernel-params", b"quiet loglevel=4"),
        ],
    )
}

/// What the line says when `commands` are typed at the prompt of `board`.
fn typed(mut board: TestBoard, commands: &str) -> String {
    board = board.typing_at_the_prompt(&format!("{commands}\rreset\r"));
    assert_eq!(board.run(), Outcome::Reset);
    board.line()
}

fn answer(commands: &str) -> String {
    typed(TestBoard::new([rescue_card()]), commands)
}

/// Boots by `command` at the prompt.
fn boot(cards: impl IntoIterator<Item = Card>, command: &str) -> (TestBoard, HandOver) {
    let mut board = TestBoard::new(cards).typing_at_the_prompt(&format!("{command}\r"));
    let hand_over = board.run_to_kernel();
    (board, hand_over)
}

#[test]
fn boot_tells_a_compressed_kernel_from_a_compressed_initrd() {
    let (kernel, initrd) = (kernel(7, 0x1000), vec![9; 0x2000]);
    let [kernel_gz, initrd_gz] = [&kernel, &initrd].map(|bytes| through("gzip -c", bytes));
    let files: [(&str, &[u8]); 3] = [("i", &initrd_gz), ("k", &kernel_gz), ("board.dtb", TREE)];
    let (board, hand_over) = boot([card("SD card (slot 1)", &files)], "boot i k board.dtb");
    assert_eq!(board.memory(hand_over.kernel)[..0x1000], kernel);
    assert_eq!(board.memory(hand_over.initrd.unwrap()), initrd_gz);
}

#[test]
fn devices_names_cards_and_what_is_on_them() {
    let mut board = TestBoard::new([rescue_card(), card("SD card (slot 2)", &[])]);
    let missing = block::Error { kind: ErrorKind::NoCard, device: "eMMC".into(), block: 0 };
    board.cards.insert(1, Err(missing));
    board.cards.push(Ok(Rc::new(RefCell::new(Card::new("blank", vec![0; 1 << 20])))));
    let line = typed(board, "devices");
    for text in [
        "SD card (slot 1), 8.0 MiB, no partitions\r\n  sd:          8.0 MiB  FAT",
        "[E101] eMMC, block 0: no card answers",
        "SD card (slot 2), 8.0 MiB, no partitions\r\n  sdb:         8.0 MiB  FAT",
        "blank, 1.0 MiB, no partitions\r\n  blank:       1.0 MiB  [E301]",
    ] {
        assert!(line.contains(text), "{text} in:\n{line}");
    }
}

#[test]
fn devices_finds_a_card_that_was_put_in_meanwhile() {
    let mut board = TestBoard::new([]);
    let slot = Rc::new(RefCell::new(rescue_card()));
    board.late_card = Some(slot);
    let line = typed(board, "ls\rdevices\rls");
    assert!(line.contains("nothing that can be read was found; see devices"), "{line}");
    assert!(line.contains("notes.txt"), "{line}");
}

#[test]
fn ls_lists_a_directory_in_order_with_sizes() {
    let line = answer("ls");
    let listed = [
        "    4.0 KiB  Image\r\n",
        "  board.dtb\r\n",
        "     5 bytes  initrd one\r\n",
        "   directory  nixos\r\n",
        "  notes.txt\r\n",
        "     7 bytes  second\r\n6 in sd:/\r\n",
    ];
    let places: Vec<_> = listed.iter().map(|text| line.find(text)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in:\n{line}");
}

#[test]
fn a_path_without_a_name_is_on_the_volume_used_last() {
    let board = TestBoard::new([rescue_card(), card("eMMC", &[("other", b"x")])]);
    let line = typed(board, "ls /nixos\rls emmc:\rls\rls sd:nixos");
    for (answer, count) in [("1 in sd:/nixos\r\n", 2), ("1 in emmc:/\r\n", 2)] {
        assert_eq!(line.matches(answer).count(), count, "{line}");
    }
}

#[test]
fn ls_of_a_file_tells_its_size() {
    assert!(answer("ls /second").contains("     7 bytes  sd:/second\r\n"));
}

#[test]
fn what_is_not_there_is_told_with_its_code_and_the_prompt_comes_back() {
    for (command, complaint) in [
        ("ls /none", "[E304] sd:/none: no such file\r\n> "),
        ("cat sd:/none", "[E304] sd:/none: no such file\r\n> "),
        ("cat /nixos", "[E305] sd:/nixos: not a file of the kind expected\r\n> "),
        ("cat usb1:/x", "usb1: can be read are sd; see devices\r\n> "),
        ("boot /none", "[E304] sd:/none: no such file\r\n> "),
        ("boot second", "[E501] sd:/second: "),
        ("boot Image Image", "two kernels: sd:/Image and sd:/Image\r\n> "),
        (
            "boot Image board.dtb board.dtb",
            "two device trees: sd:/board.dtb and sd:/board.dtb\r\n> ",
        ),
    ] {
        let line = answer(command);
        assert!(line.contains(complaint), "{complaint} in:\n{line}");
    }
}

#[test]
fn cat_shows_a_text_and_nothing_that_steers_the_terminal() {
    let line = answer("cat notes.txt\rcat /nixos/kernel-params");
    assert!(line.contains("one\r\ntwo?[2J three?\r\n> "), "{line}");
    assert!(line.contains("quiet loglevel=4\r\n> "), "{line}");
}

#[test]
fn cat_refuses_what_is_no_text_and_cuts_what_is_too_long() {
    let long = b"0123456789abcde\n".repeat(20_000);
    let card = card("SD", &[("Image", &kernel(7, 0x1000)), ("long", &long)]);
    let line = typed(TestBoard::new([card]), "cat Image\rcat long\r\0");
    assert!(line.contains("sd:/Image is not text; it has 4.0 KiB\r\n"), "{line}");
    assert!(line.contains("(cut here: 56.5 KiB more)\r\n"), "{}", &line[line.len() - 200..]);
    assert_eq!(line.matches("0123456789abcde\r\n").count(), (256 << 10) / 16);
}

#[test]
fn a_long_directory_is_listed_until_a_key_is_pressed() {
    let names: Vec<_> = (0..700).map(|n| format!("many/file-with-a-long-name-{n}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    let whole = typed(TestBoard::new([card("SD", &files)]), "ls many\r\0");
    assert!(whole.contains("        file  file-with-a-long-name-699\r\n"), "{whole}");
    assert!(whole.contains("\r\n700 in sd:/many\r\n> "), "{whole}");
    // The board's person types a key each 200 ms.
    let stopped = typed(TestBoard::new([card("SD", &files)]), "ls many\rx");
    assert!(stopped.contains("\r\n(stopped)\r\n"), "{stopped}");
    assert!(!stopped.contains("700 in"), "{stopped}");
}

#[test]
fn tab_completes_names_from_the_cards() {
    let board = TestBoard::new([rescue_card(), card("eMMC", &[("other", b"x")])]);
    let line = typed(board, "cat ni\tk\t\rls em\t\rcat sd:init\t\rls s");
    assert!(line.contains("> cat nixos/kernel-params \r\nquiet loglevel=4\r\n"), "{line}");
    assert!(line.contains("> ls emmc:\r\n"), "{line}");
    assert!(line.contains("> cat sd:initrd\\ one \r\nfirst\r\n"), "{line}");
}

#[test]
fn boot_starts_files_by_what_is_in_them() {
    let command = "boot \"initrd one\" board.dtb /Image second -- init=/bin/sh  a=\"b c\"";
    let (board, hand_over) = boot([rescue_card()], command);
    assert_eq!(board.kernel_mark(&hand_over), 7);
    assert_eq!(board.command_line(&hand_over), "init=/bin/sh  a=\"b c\"");
    assert_eq!(board.memory(hand_over.initrd.unwrap()), b"first\0\0\0second!");
    let tree = DeviceTree::validate(board.memory(hand_over.device_tree)).unwrap();
    let source = tree.find("/chosen").unwrap().property("firn,source").unwrap();
    assert_eq!(source.as_str(), Some("prompt"));
}

#[test]
fn boot_lays_overlays_over_the_tree_in_the_order_of_the_line() {
    let base = include_bytes!("../fixtures/devicetree/overlays/base.dtb");
    let codec = include_bytes!("../fixtures/devicetree/overlays/codec.dtbo");
    let sound = include_bytes!("../fixtures/devicetree/overlays/card.dtbo");
    let files: &[(&str, &[u8])] = &[
        ("Image", &kernel(7, 0x1000)),
        ("base.dtb", base),
        ("codec.dtbo", codec),
        ("card.dtbo", sound),
    ];
    let (board, hand_over) = boot([card("SD", files)], "boot Image codec.dtbo base.dtb card.dtbo");
    let tree = DeviceTree::validate(board.memory(hand_over.device_tree)).unwrap();
    assert!(tree.find("/sound/dai").is_some());
    let typed = typed(TestBoard::new([card("SD", files)]), "boot Image card.dtbo base.dtb");
    assert!(typed.contains("[E604] sd:/card.dtbo: "), "{typed}");
}

#[test]
fn pieces_of_a_boot_may_lie_on_several_cards() {
    let other = card("eMMC", &[("Image", &kernel(9, 0x1000))]);
    let command = "boot sd:/second emmc:/Image sd:/board.dtb";
    let (board, hand_over) = boot([rescue_card(), other], command);
    assert_eq!(board.kernel_mark(&hand_over), 9);
    assert_eq!(board.memory(hand_over.initrd.unwrap()), b"second!");
}

#[test]
fn a_boot_that_fails_can_be_followed_by_one_that_works() {
    let (board, hand_over) = boot([rescue_card()], "boot Image none\rboot Image board.dtb");
    assert_eq!(board.kernel_mark(&hand_over), 7);
    assert_eq!(hand_over.initrd, None);
    assert_eq!(board.command_line(&hand_over), "");
}

#[test]
fn board_tells_what_it_is_and_how_the_loader_was_entered() {
    let line = answer("board");
    assert!(line.contains(" on NXP i.MX8MPlus EVK board\r\n  entered at EL2\r\n"), "{line}");
    assert!(line.contains("  part: not known"), "{line}");
}

#[test]
fn memory_tells_what_there_is_and_who_has_taken_it() {
    let line = answer("memory");
    assert!(line.contains("memory (device tree of the stage before)\r\n"), "{line}");
    assert!(line.contains("  0x040000000-0x044000000  64.0 MiB\r\n"), "{line}");
    assert!(line.contains("  0x040200000-0x040400000  2.0 MiB  firn\r\n"), "{line}");
    assert!(line.contains("free: 61.9 MiB, 44.0 MiB in one piece\r\n"), "{line}");
}

#[test]
fn state_tells_why_there_is_none() {
    let line = answer("state");
    assert!(line.contains("SD card (slot 1): nowhere\r\n  [E1104]"), "{line}");
}

#[test]
fn state_shows_the_record_and_where_it_lies() {
    let files = rescue_card().bytes;
    let blocks = |bytes: usize| u32::to_le_bytes((bytes / BLOCK_SIZE) as u32);
    let mut bytes = vec![0; 8 << 20];
    bytes[450] = 0x0c;
    bytes[454..458].copy_from_slice(&blocks(8 << 20));
    bytes[458..462].copy_from_slice(&blocks(files.len()));
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes.extend(files);
    let board = TestBoard::new([Card::new("SD", bytes)]);
    let card = board.cards[0].clone().unwrap();
    let mut store = Store::open(&(card.clone() as SharedDevice), None);
    let mut record = store.record().clone();
    record.set_default(Identity::new("/nix/store/42"), Some(Identity::new("/nix/store/41")));
    record.last_failure =
        Some(Failure::new(Identity::new("/nix/store/43"), Code::TryUnconfirmed, "watchdog".into()));
    store.write(&record).unwrap();
    let writes = card.borrow().writes.len();
    let line = typed(board, "state\rls\rboot second");
    for text in [
        "SD: the gap before the first partition, copies at blocks 7936 and 16128, ",
        "  default       /nix/store/42\r\n",
        "  good          /nix/store/41\r\n",
        "  last failure  [E1101] /nix/store/43: watchdog\r\n",
    ] {
        assert!(line.contains(text), "{text} in:\n{line}");
    }
    assert!(line.contains("6 in sd1:/\r\n"), "{line}");
    assert_eq!(card.borrow().writes.len(), writes, "nothing is written at the prompt");
}

#[test]
fn where_editing_is_off_files_are_not_for_whoever_is_at_the_line() {
    let files: &[(&str, &[u8])] = &[
        ("loader/loader.conf", b"editor no\n"),
        ("loader/entries/nixos-generation-1.conf", b"title NixOS\nlinux /none\noptions init=/x\n"),
        ("notes.txt", b"secret"),
    ];
    let line =
        typed(TestBoard::new([card("SD", files)]), "cat notes.txt\rls\rboot notes.txt\rmemory");
    assert_eq!(line.matches("Locked: ").count(), 3, "{line}");
    assert!(!line.contains("secret") && line.contains("64.0 MiB"), "{line}");
}

/// A card whose configuration lets nobody change anything.
fn locked_card(name: &'static str) -> Card {
    let locked = [b"ALLOWOPTIONS 0\n", &*configuration(TWO_GENERATIONS)].concat();
    let files: &[(&str, &[u8])] = &[
        ("extlinux/extlinux.conf", &locked),
        ("Image", &kernel(7, 0x1000)),
        ("board.dtb", TREE),
        ("notes.txt", b"private"),
    ];
    card(name, files)
}

const LOCKED: &str = "Locked: the configuration lets nobody do this.";

#[test]
fn a_card_that_is_put_in_at_the_prompt_is_locked_if_its_configuration_says_so() {
    for command in ["ls", "cat /notes.txt", "boot /Image"] {
        let mut board = TestBoard::new([]);
        board.late_card = Some(Rc::new(RefCell::new(locked_card("SD card"))));
        let line = typed(board, &format!("ls\rdevices\r{command}"));
        assert!(line.contains(LOCKED), "{command}: {line}");
        assert!(!line.contains("private") && !line.contains("board.dtb"), "{command}: {line}");
    }
}

#[test]
fn a_card_that_the_search_did_not_come_to_is_locked_from_the_menu_of_another_one() {
    let open = card("SD card", &[("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS))]);
    let board = TestBoard::new([open, locked_card("eMMC")]).typing("c");
    let line = typed(board, "cat emmc:/notes.txt");
    assert!(line.contains(LOCKED) && !line.contains("private"), "{line}");
}
