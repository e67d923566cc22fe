//! How much is read from a card whose store is as full as after years, until the menu stands.
//!
//! Counted under the cache: what a card is asked for.

mod common;

use std::{cell::RefCell, fs, os::unix::fs::FileExt as _, rc::Rc};

use common::{assets, cards};
use evk::nixos::{
    System,
    store::{GENERATIONS, STORE_ENTRIES},
};
use firn::{
    block::{self, BLOCK_SIZE, BlockDevice, cache::Cache},
    boot::Catalogue,
};

/// A card that cannot be written to.
struct Card {
    file: fs::File,
    blocks: u64,
}

impl BlockDevice for Card {
    fn name(&self) -> &str {
        "card"
    }

    fn block_count(&self) -> u64 {
        self.blocks
    }

    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), block::Error> {
        let at = first_block * BLOCK_SIZE as u64;
        self.file.read_exact_at(destination, at).expect("a card image that can be read");
        Ok(())
    }
}

/// What was read so far, by step.
struct Account {
    device: Rc<RefCell<Cache<Card>>>,
    text: String,
}

impl Account {
    fn of(indexed: bool) -> Self {
        let stub = fs::read(common::guests().stub_kernel).unwrap();
        let system = System::large(&assets(), &stub).unwrap();
        let image = system.crowded_card(STORE_ENTRIES, indexed).make(&cards()).unwrap();
        let file = fs::File::open(image.path()).unwrap();
        let blocks = file.metadata().unwrap().len() / BLOCK_SIZE as u64;
        let device = Rc::new(RefCell::new(Cache::new(Card { file, blocks })));
        Self { device, text: format!("indexed: {indexed}\n") }
    }

    /// Bytes read so far, at the end of `step`.
    fn at(&mut self, step: &str) -> u64 {
        let statistics = self.device.borrow().statistics();
        let bytes = statistics.device_blocks * BLOCK_SIZE as u64;
        let (kib, reads) = (bytes / 1024, statistics.device_reads);
        self.text += &format!("{step}: {kib} KiB in {reads} reads\n");
        bytes
    }
}

/// Reads until the menu stands; gives the bytes read until then.
fn survey(account: &mut Account) -> (Catalogue, u64) {
    let catalogue = Catalogue::survey(&(account.device.clone() as _));
    let bytes = account.at("the menu stands");
    assert_eq!(catalogue.generations.len(), GENERATIONS as usize);
    assert!(catalogue.problems.is_empty(), "{:?}", catalogue.problems);
    assert_eq!(catalogue.link(), Some(0));
    (catalogue, bytes)
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn of_an_indexed_store_of_fifty_thousand_entries_4_mib_are_read_until_the_menu_stands() {
    let mut account = Account::of(true);
    let (mut catalogue, bytes) = survey(&mut account);
    for row in 0..16 {
        catalogue.read(row);
    }
    account.at("16 rows are read");
    assert_eq!(catalogue.find("/nix/store/00000000000000000000000000000000-gone"), None);
    account.at("a default that is gone was looked for");
    catalogue.read_all();
    account.at("everything is read");
    assert!(catalogue.generations.iter().all(|g| !g.unread && g.broken.is_none()));
    println!("{}", account.text);
    assert!(bytes <= 4 << 20, "{}", account.text);
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn of_a_store_without_an_index_the_menu_still_stands() {
    let mut account = Account::of(false);
    let (_, bytes) = survey(&mut account);
    println!("{}", account.text);
    assert!(bytes <= 70 << 20, "{}", account.text);
}
