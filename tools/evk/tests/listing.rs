//! What is listed of cards with real file systems, each with one source or all of them.

mod common;

use std::{cell::RefCell, fs, os::unix::fs::FileExt as _, path::PathBuf, rc::Rc};

use common::{assets, cards};
use evk::{
    card::{Card, Table},
    nixos::{
        System, card_with_fat_boot, card_with_nix_partition, card_with_root, empty_root,
        loader_entries::Naming,
    },
};
use firn::{
    block::{self, BLOCK_SIZE, BlockDevice, cache::Cache},
    boot::Catalogue,
    nixos::Source,
};

/// A card image that cannot be written to.
struct Image {
    path: PathBuf,
    file: fs::File,
}

impl BlockDevice for Image {
    fn name(&self) -> &str {
        "card"
    }

    fn block_count(&self) -> u64 {
        self.file.metadata().unwrap().len() / BLOCK_SIZE as u64
    }

    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), block::Error> {
        let at = first_block * BLOCK_SIZE as u64;
        let read = self.file.read_exact_at(destination, at);
        read.unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        Ok(())
    }
}

fn system() -> System {
    // What the kernel holds is not looked at here.
    System::small(&assets(), b"kernel").unwrap().with(41, |generation| {
        generation.specialisations = vec![generation.specialised("rescue")];
    })
}

/// The list of a card, all of it read.
fn list(card: &Card) -> Catalogue {
    let image = card.make(&cards()).unwrap();
    let path = image.path().to_owned();
    let file = fs::File::open(&path).unwrap();
    let device = Rc::new(RefCell::new(Cache::new(Image { path, file })));
    let mut catalogue = Catalogue::survey(&(device as _));
    catalogue.read_all();
    assert!(catalogue.problems.is_empty(), "{:?}", catalogue.problems);
    catalogue
}

/// Number, specialisation and source of each row.
fn rows(catalogue: &Catalogue) -> Vec<(u32, Option<&str>, Source)> {
    let row = |g: &firn::nixos::Generation| g.broken.is_none();
    assert!(catalogue.generations.iter().all(row), "{:?}", catalogue.generations);
    catalogue
        .generations
        .iter()
        .map(|g| (g.number.unwrap(), g.specialisation.as_deref(), g.source))
        .collect()
}

/// What is to be listed of the system when all of it comes from one source.
fn all_from(source: Source) -> [(u32, Option<&'static str>, Source); 4] {
    [(42, None), (41, None), (41, Some("rescue")), (40, None)]
        .map(|(number, specialisation)| (number, specialisation, source))
}

/// Whether all files that are to be loaded can be opened.
fn can_be_opened(catalogue: &mut Catalogue) -> bool {
    (0..catalogue.generations.len()).all(|index| {
        let files = catalogue.generations[index].files.clone();
        let volume = catalogue.volume_of(index).unwrap();
        let file_system = &mut catalogue.volumes[volume].file_system;
        [&files.kernel].into_iter().chain(&files.initrds).all(|path| file_system.open(path).is_ok())
    })
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn a_root_with_nothing_in_boot_lists_its_profile_with_the_dates_of_the_links() {
    let mut catalogue = list(&card_with_root(Table::Gpt, system().root()));
    assert_eq!(rows(&catalogue), all_from(Source::Profile));
    assert_eq!(catalogue.generations[0].date.as_deref(), Some("2026-02-14 18:42"));
    assert_eq!(catalogue.link(), Some(0));
    assert!(can_be_opened(&mut catalogue));
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn a_store_on_its_own_partition_is_listed_likewise() {
    let system = system();
    let card = card_with_nix_partition(Table::Gpt, empty_root(), system.store());
    let mut catalogue = list(&card);
    assert_eq!(rows(&catalogue), all_from(Source::Profile));
    assert!(can_be_opened(&mut catalogue));
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn loader_entries_on_fat_are_listed_under_both_of_their_namings() {
    for naming in [Naming::Numbered, Naming::Digest] {
        let mut catalogue = list(&card_with_fat_boot(Table::Gpt, system().esp(naming)));
        assert_eq!(rows(&catalogue), all_from(Source::LoaderEntry));
        assert!(can_be_opened(&mut catalogue));
    }
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn of_all_three_sources_each_generation_is_listed_once_from_the_store() {
    let system = system();
    let boot = system.boot_folder().merged(system.esp(Naming::Numbered));
    let root = system.root().merged(boot.below("boot"));
    let mut catalogue = list(&card_with_root(Table::Mbr, root));
    assert_eq!(rows(&catalogue), all_from(Source::Profile));
    assert!(can_be_opened(&mut catalogue));
}
