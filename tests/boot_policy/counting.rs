//! Boot counting: what is tried, what is written, what it rolls back to.

use std::{cell::RefCell, rc::Rc, time::Duration};

use firn::{
    boot::Store,
    handoff::ResetCause,
    state::{Identity, Record, Standing},
};

use super::*;

const GAP: usize = 8 << 20;

/// A card with a partition table, a gap of 8 MiB, and these generations in its only partition,
/// which are tried three times; the first is the default.
fn counted_card(numbers: &[u32]) -> Rc<RefCell<Card>> {
    let lines =
        |number: &u32| (*number, format!("  LINUX ../nixos/k{number}\n  FDT ../nixos/board.dtb"));
    let lines: Vec<_> = numbers.iter().map(lines).collect();
    let entries: Vec<_> = lines.iter().map(|(number, lines)| (*number, lines.as_str())).collect();
    let configuration = String::from_utf8(configuration(&entries)).unwrap();
    let configuration = configuration.replace("system/init quiet", "system/init firn.tries=3");
    let kernels: Vec<_> = numbers
        .iter()
        .map(|&number| (format!("nixos/k{number}"), kernel(number as u8, 0x1000)))
        .collect();
    let mut files: Vec<(&str, &[u8])> =
        vec![("extlinux/extlinux.conf", configuration.as_bytes()), ("nixos/board.dtb", TREE)];
    files.extend(kernels.iter().map(|(path, kernel)| (path.as_str(), kernel.as_slice())));
    let boot = card("", &files).bytes;
    let blocks = |bytes: usize| u32::to_le_bytes((bytes / BLOCK_SIZE) as u32);
    let mut bytes = vec![0; GAP];
    bytes[450] = 0x0c;
    bytes[454..458].copy_from_slice(&blocks(GAP));
    bytes[458..462].copy_from_slice(&blocks(boot.len()));
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes.extend(boot);
    Rc::new(RefCell::new(Card::new("SD", bytes)))
}

/// Another installation on the same card: its partition changes, the gap stays.
fn install(card: &Rc<RefCell<Card>>, numbers: &[u32]) {
    let with = counted_card(numbers);
    card.borrow_mut().bytes.splice(GAP.., with.borrow().bytes[GAP..].iter().copied());
}

fn id(number: u32) -> Identity {
    Identity::new(&format!("/nix/store/{number}-nixos-system"))
}

fn store(card: &Rc<RefCell<Card>>) -> Store {
    Store::open(&(card.clone() as SharedDevice), None)
}

fn record(card: &Rc<RefCell<Card>>) -> Record {
    store(card).record().clone()
}

/// What the running system's `firn state` does.
fn change(card: &Rc<RefCell<Card>>, change: impl FnOnce(&mut Record)) {
    let mut store = store(card);
    let mut record = store.record().clone();
    change(&mut record);
    store.write(&record).unwrap();
    card.borrow_mut().writes.clear();
}

/// A boot, and what became of it.
struct Boot {
    board: TestBoard,
    hand_over: HandOver,
    /// Writes to the card.
    writes: usize,
}

impl Boot {
    fn of(card: &Rc<RefCell<Card>>) -> Self {
        Self::typing(card, "")
    }

    fn typing(card: &Rc<RefCell<Card>>, keys: &str) -> Self {
        let mut board = TestBoard::new([]).typing(keys);
        board.cards.push(Ok(card.clone()));
        let reset = Some(ResetCause { src: 0x10, watchdog: 2, pmic: None });
        let outcome = board.run_with(&Facts { reset, ..facts(Some(TREE)) });
        let Outcome::Kernel(hand_over) = outcome else { panic!("{outcome:?}; log:\n{}", log()) };
        let writes = std::mem::take(&mut card.borrow_mut().writes).len();
        Self { board, hand_over, writes }
    }

    /// Which generation's kernel runs.
    fn number(&self) -> u8 {
        self.board.kernel_mark(&self.hand_over)
    }

    /// Whether it has to prove itself, of which watchdog, command line and tree must say the same.
    fn is_on_trial(&self) -> bool {
        let told = self.chosen("firn,try").is_some();
        assert_eq!(self.hand_over.watchdog.is_some(), told);
        let line = self.board.command_line(&self.hand_over);
        assert_eq!(line.contains("watchdog.open_timeout="), told, "{line}");
        told
    }

    /// What stands on the line, as one line.
    fn said(&self) -> String {
        self.board.line().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn chosen(&self, name: &str) -> Option<Vec<u8>> {
        let tree = DeviceTree::validate(self.board.memory(self.hand_over.device_tree)).unwrap();
        Some(tree.find("/chosen")?.property(name)?.value().to_vec())
    }
}

/// Generation 41 runs and is known to work, 42 has just been installed.
fn newly_installed() -> Rc<RefCell<Card>> {
    let card = counted_card(&[41]);
    assert_eq!(Boot::of(&card).number(), 41);
    install(&card, &[42, 41]);
    card
}

#[test]
fn what_boots_first_counts_as_good_and_costs_no_write_from_then_on() {
    let card = counted_card(&[41]);
    let first = Boot::of(&card);
    assert!(!first.is_on_trial());
    assert_eq!(first.writes, 1);
    assert_eq!(record(&card).standing(&id(41)), Some(Standing::Good));
    for _ in 0..3 {
        assert_eq!(Boot::of(&card).writes, 0);
    }
}

#[test]
fn a_new_generation_is_tried_with_the_watchdog_and_each_try_is_written_before_the_jump() {
    let card = newly_installed();
    for done in 1..=3 {
        let boot = Boot::of(&card);
        assert_eq!((boot.number(), boot.writes), (42, 1));
        assert!(boot.is_on_trial() && boot.board.unattended);
        assert_eq!(boot.hand_over.watchdog, Some(Duration::from_secs(128)));
        assert_eq!(boot.chosen("firn,try").unwrap(), [0, 0, 0, done, 0, 0, 0, 3]);
        let standing = Standing::Trying { left: 3 - done, done };
        assert_eq!(record(&card).standing(&id(42)), Some(standing));
    }
}

#[test]
fn out_of_tries_the_last_good_one_boots_and_the_menu_says_why() {
    let card = newly_installed();
    (0..3).for_each(|_| drop(Boot::of(&card)));
    let boot = Boot::of(&card);
    assert_eq!(boot.number(), 41);
    assert!(!boot.is_on_trial());
    let line = boot.said();
    assert!(line.contains("[E1101] rolled back from generation 42: 3 tries failed"), "{line}");
    assert!(line.contains("watchdog 1, nobody served it"), "{line}");
    let failure = record(&card).last_failure.unwrap();
    assert_eq!((failure.identity, failure.code), (id(42), 1101));
    let told = String::from_utf8(boot.chosen("firn,last-failure").unwrap()).unwrap();
    assert!(told.starts_with("[E1101] /nix/store/42-nixos-system: "), "{told}");
    // And it stays there, without another write.
    let next = Boot::of(&card);
    assert_eq!((next.number(), next.writes), (41, 0));
}

#[test]
fn a_blessed_generation_is_never_counted_again() {
    let card = newly_installed();
    assert!(Boot::of(&card).is_on_trial());
    change(&card, |record| record.bless(id(42)));
    for _ in 0..5 {
        let boot = Boot::of(&card);
        assert_eq!((boot.number(), boot.writes), (42, 0));
        assert!(!boot.is_on_trial());
    }
}

#[test]
fn boot_once_boots_once() {
    let card = newly_installed();
    change(&card, |record| {
        record.bless(id(42));
        record.boot_once = Some(id(41));
    });
    let numbers: Vec<_> = (0..3).map(|_| Boot::of(&card).number()).collect();
    assert_eq!(numbers, [41, 42, 42]);
}

#[test]
fn the_default_of_the_record_goes_before_the_files_default() {
    let card = newly_installed();
    change(&card, |record| record.set_default(id(41), None));
    let boot = Boot::of(&card);
    assert_eq!(boot.number(), 41);
    assert!(boot.said().contains("Booting generation 41 in"), "{}", boot.said());
}

#[test]
fn a_default_that_is_gone_gives_way_and_the_menu_says_so() {
    let card = newly_installed();
    change(&card, |record| {
        record.bless(id(42));
        record.set_default(id(40), None);
    });
    let boot = Boot::of(&card);
    assert_eq!(boot.number(), 42);
    assert!(boot.said().contains("[E407]"), "{}", boot.said());
}

#[test]
fn s_in_the_menu_makes_another_one_the_default() {
    let card = newly_installed();
    let boot = Boot::typing(&card, "jsk\r");
    assert_eq!(boot.number(), 42);
    assert_eq!(record(&card).default, Some(id(41)));
    assert_eq!(Boot::of(&card).number(), 41);
}

#[test]
fn a_person_tries_what_has_failed_and_the_default_stays() {
    let card = newly_installed();
    (0..4).for_each(|_| drop(Boot::of(&card)));
    let boot = Boot::typing(&card, "k\r");
    assert_eq!(boot.number(), 42);
    assert_eq!(Boot::of(&card).number(), 41);
}

#[test]
fn a_generation_that_cannot_be_loaded_costs_no_try() {
    let card = newly_installed();
    install(&card, &[43, 42, 41]);
    let kernel = card.borrow().bytes.windows(0x200).position(|window| window == [43; 0x200]);
    let head = kernel.unwrap() - 0x40;
    card.borrow_mut().bytes[head..head + 0x40].fill(0);
    let boot = Boot::of(&card);
    assert_ne!(boot.number(), 43);
    assert_eq!(record(&card).standing(&id(43)), None);
    assert!(log().contains("E501"), "{}", log());
}

#[test]
fn on_a_card_that_cannot_be_written_to_nothing_is_counted_and_the_menu_says_so() {
    let card = newly_installed();
    card.borrow_mut().protected = true;
    for _ in 0..5 {
        let boot = Boot::of(&card);
        assert_eq!(boot.number(), 42);
        assert!(!boot.is_on_trial());
        assert!(boot.said().contains("[E108]"), "{}", boot.said());
    }
}

#[test]
fn a_card_that_fails_while_it_is_written_to_boots_uncounted() {
    let card = newly_installed();
    card.borrow_mut().fails_writes = true;
    let boot = Boot::of(&card);
    assert_eq!(boot.number(), 42);
    assert!(!boot.is_on_trial());
    assert!(log().contains("[E1106]"), "{}", log());
}

#[test]
fn without_counting_nothing_is_written_and_no_watchdog_started() {
    let files: &[(&str, &[u8])] = &[
        ("extlinux/extlinux.conf", &configuration(TWO_GENERATIONS)),
        ("nixos/k42", &kernel(42, 0x1000)),
        ("nixos/k41", &kernel(41, 0x1000)),
        ("nixos/board.dtb", TREE),
    ];
    let card = counted_card(&[42]);
    let plain = super::card("", files);
    card.borrow_mut().bytes.splice(GAP.., plain.bytes);
    let boot = Boot::of(&card);
    assert_eq!((boot.number(), boot.writes), (42, 0));
    assert!(!boot.is_on_trial() && !boot.board.unattended);
}

#[test]
fn an_erased_record_means_the_files_default_which_counts_as_good() {
    let card = newly_installed();
    assert!(Boot::of(&card).is_on_trial());
    store(&card).clear().unwrap();
    let boot = Boot::of(&card);
    assert_eq!(boot.number(), 42);
    assert!(!boot.is_on_trial());
    assert_eq!(record(&card).standing(&id(42)), Some(Standing::Good));
}
