//! What a kernel finds in memory of what the loader knew: nothing. Memory is looked at from outside when the
//! stub kernel has reported, which writes to nothing but its own.

use std::fs;

use evk::{
    card::Table,
    elf::symbols,
    models::{caam::Caam, usdhc::Rules},
    nixos::{self, Generation, System, Timeout},
    packing::Fit,
    qemu::{Entry, Machine, Slot},
    session::Session,
    tree::{Content, Tree},
};
use firn::error::Code;

use crate::{
    PROMPT, SOON, assets,
    choosing::{open_screen, play},
    common::{device_tree, run},
    loader, path, small, start, tag,
};

/// `mkpasswd -m sha-512 -R 1000 "correct horse" saltsalt`.
const HASH: &str = "$6$rounds=1000$saltsalt$4GMtaIz3E1AdDi2SmCokEW0ehi.HdxNDcL3fGE1XXuzvo6kbx7UOloZKONqEk5H3JrQA4NOfU8BmqFPrpGqwA1";
const PASSWORD: &str = "correct horse";
const WRONG_PASSWORD: &str = "battery staple";
const FILE: &str = "what only root may read";
const EDITED: &str = "systemd.set_credential=login:whatwasabandoned";
/// In the tree that the loader is started with.
const SEED: &str = "seedOfTheStageBefore";

const PAGE: usize = 4096;

/// All memory that is not zero, page by page, of a board with 1 GiB.
struct Memory {
    bytes: Vec<u8>,
    /// Where each page of them lies.
    pages: Vec<usize>,
}

impl Memory {
    fn of(session: &mut Session) -> Self {
        const PIECE: usize = 64 << 20;
        let mut memory = Self { bytes: Vec::new(), pages: Vec::new() };
        for start in (0x4000_0000..0x8000_0000).step_by(PIECE) {
            let piece = session.memory(start as u64, PIECE as u64).unwrap();
            for (address, page) in (start..).step_by(PAGE).zip(piece.chunks(PAGE)) {
                if *page != [0; PAGE] {
                    memory.bytes.extend(page);
                    memory.pages.push(address);
                }
            }
        }
        memory
    }

    /// The addresses at which `needle` stands.
    fn places(&self, needle: &[u8]) -> Vec<String> {
        let first = needle[0];
        let starts = self.bytes.iter().enumerate().filter(|(_, byte)| **byte == first);
        let found = starts.filter(|(at, _)| self.bytes[*at..].starts_with(needle));
        found.map(|(at, _)| format!("{:#x}", self.pages[at / PAGE] + at % PAGE)).collect()
    }
}

/// A kernel that stays, so that its memory can be looked at.
fn staying(system: System) -> System {
    let stay = |generation: Generation| Generation {
        parameters: format!("{} stub=hang", generation.parameters),
        ..generation
    };
    System { generations: system.generations.into_iter().map(stay).collect(), ..system }
}

/// The board's tree with a seed in it. QEMU makes `rng-seed` anew, and this one not.
fn seeded_tree() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::copy(device_tree(), file.path()).unwrap();
    let mut fdtput = assets().tool("fdtput");
    fdtput.args(["-p", "-t", "s"]).arg(file.path()).args(["/chosen", "kaslr-seed", SEED]);
    run(&mut fdtput);
    file
}

/// The bytes between two of the loader's symbols, seen from outside.
fn between(session: &mut Session, elf: &str, start: &str, end: &str) -> Vec<u8> {
    let elf = fs::read(evk::assets::firmware(elf).unwrap()).unwrap();
    let symbols = symbols(&elf).unwrap();
    let [start, end] = [start, end].map(|name| symbols[name]);
    assert!(start < end);
    session.memory(start, end - start).unwrap()
}

fn bytes_of(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Locked by a password, with a file beside it that is nobody's business.
fn locked_folder(system: &System) -> Tree {
    let configuration = format!("MENU MASTER PASSWD {HASH}\n{}", system.extlinux_conf());
    system
        .boot_folder()
        .with("extlinux/extlinux.conf", Content::bytes(configuration))
        .with("secret.txt", Content::bytes(format!("{FILE}\n")))
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn passwords_hashes_files_and_seeds_are_neither_left_in_memory_nor_on_the_line() {
    let system = staying(System { timeout: Timeout::Never, ..small() });
    let card = nixos::card_with_fat_boot(Table::Gpt, locked_folder(&system));
    let tree = seeded_tree();
    let entry = Entry::Kernel {
        image: loader(),
        device_tree: tree.path().into(),
        initrd: None,
        command_line: None,
    };
    let rules = Rules::default();
    let machine = Machine::new(entry).memory("1G").cpus(1).card(Slot::Sd, path(&card));
    let machine = machine.caam(Caam::new().given_to_the_normal_world(), &rules);
    let mut session = machine.start(&assets()).unwrap();
    session.expect("25.11.20260214", SOON).unwrap();
    open_screen(&mut session);

    // Somebody guesses, knows, edits and thinks better of it, looks into a file, and boots.
    play(&mut session, "e");
    session.send(format!("{WRONG_PASSWORD}\r")).unwrap();
    session.expect("Wrong password.", SOON).unwrap();
    session.send(format!("{PASSWORD}\r")).unwrap();
    session.expect("Command line of", SOON).unwrap();
    session.send(EDITED).unwrap();
    play(&mut session, "sleep:500 esc sleep:500 c sleep:500");
    session.expect("help lists", SOON).unwrap();
    session.expect(&format!("\n{PROMPT}"), SOON).unwrap();
    session.send("cat /secret.txt\r").unwrap();
    session.expect("Password: ", SOON).unwrap();
    session.send(format!("{PASSWORD}\r")).unwrap();
    session.expect(FILE, SOON).unwrap();
    let secrets = [PASSWORD, WRONG_PASSWORD, HASH, FILE, EDITED];
    let before = Memory::of(&mut session);
    for secret in [HASH, FILE] {
        assert!(!before.places(secret.as_bytes()).is_empty(), "{secret} can be found at all");
    }
    session.send("menu\r").unwrap();
    session.expect("25.11.20260214", SOON).unwrap();
    open_screen(&mut session);
    play(&mut session, "enter");
    let report = session.expect_stub(SOON).unwrap();

    let after = Memory::of(&mut session);
    let left = secrets.into_iter().chain([SEED]).map(|it| (it, after.places(it.as_bytes())));
    let left: Vec<_> = left.filter(|(_, places)| !places.is_empty()).collect();
    assert!(left.is_empty(), "{left:?}");
    for seed in ["kaslr-seed", "rng-seed"] {
        let bytes = bytes_of(report.text(&format!("/chosen {seed}")).unwrap());
        assert_eq!(after.places(&bytes).len(), 1, "{seed} is in the tree only");
    }
    for (start, end) in [("__stack_start", "__stack_end"), ("__heap_start", "__heap_end")] {
        let left = between(&mut session, "firn.elf", start, end);
        assert!(left.iter().all(|byte| *byte == 0), "{start}");
    }
    let text = session.text();
    for secret in [PASSWORD, WRONG_PASSWORD, HASH, SEED] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn what_was_loaded_of_a_generation_that_cannot_be_booted_is_gone() {
    const SECRET: &[u8] = b"a key in the initrd of the generation that fails";
    let system = staying(small());
    let read = |content: &Content| content.read().unwrap().unwrap();
    let newest = system.numbered(42);
    let fit = Fit {
        image: &read(&newest.kernel),
        initrd: &SECRET.repeat(100_000),
        device_tree: &read(&newest.device_tree),
        external: false,
        compressed: false,
        hashed: true,
    };
    let mut fit = fit.make().unwrap();
    // That its digest is wrong is known when all of it is in memory.
    let at = fit.windows(SECRET.len()).position(|bytes| bytes == SECRET).unwrap();
    fit[at] ^= 1;
    let configuration = system.extlinux_conf().replace("DEFAULT nixos-default", "DEFAULT damaged")
        + "\nLABEL damaged\n  LINUX ../system.itb\n  APPEND init=/init\n";
    let boot = system
        .boot_folder()
        .with("extlinux/extlinux.conf", Content::bytes(configuration))
        .with("system.itb", Content::bytes(fit));
    let mut session = start(&nixos::card_with_fat_boot(Table::Gpt, boot));
    let report = session.expect_stub(SOON).unwrap();
    assert!(session.text().contains(&tag(Code::FitDamaged)), "{}", session.text());
    assert!(report.text("/chosen bootargs").unwrap().contains(&newest.toplevel()));
    assert_eq!(Memory::of(&mut session).places(SECRET), [""; 0]);
}
