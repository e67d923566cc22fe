//! What boots and why, as a user of boot counting sees it, over whole histories of boots.

#![forbid(unsafe_code)]

use std::num::NonZeroU8;

use firn::{
    error::{Code, Coded},
    handoff::ResetCause,
    state::{
        Identity, MAX_COUNTED, Record, Standing,
        copies::{Ground, choose},
        policy::{
            Attempt, Basis, Candidate, Decision, Reason, Situation, decide, decide_for_person,
        },
    },
};
use proptest::{collection, prelude::*};

const THREE: Option<NonZeroU8> = NonZeroU8::new(3);
const WATCHDOG: Option<ResetCause> = Some(ResetCause { src: 0x10, watchdog: 0x02, pmic: None });

/// Generations 43, 42, 41, 40, all of them counted.
fn list() -> Vec<Candidate<'static>> {
    ["43", "42", "41", "40"]
        .map(|id| Candidate { id, label: id, broken: false, tries: THREE })
        .into()
}

fn id(name: &str) -> Identity {
    Identity::new(name)
}

/// A board: what is on its card, and what is on its list.
struct Board {
    record: Record,
    list: Vec<Candidate<'static>>,
    link: Option<&'static str>,
    reset: Option<ResetCause>,
    writable: bool,
    writes: usize,
}

impl Board {
    fn with(record: Record) -> Self {
        Self { record, list: list(), link: Some("43"), reset: WATCHDOG, writable: true, writes: 0 }
    }

    /// 42 runs and is blessed, 43 has just been installed.
    fn updated() -> Self {
        let mut record = Record::default();
        record.bless(id("41"));
        record.bless(id("42"));
        record.set_default(id("43"), Some(id("42")));
        Self::with(record)
    }

    fn situation(&self) -> Situation<'_> {
        Situation {
            candidates: &self.list,
            link: self.link,
            reset: self.reset,
            writable: self.writable,
        }
    }

    fn decide(&self) -> Decision {
        decide(&self.record, &self.situation()).expect("something can be booted")
    }

    /// Jumps.
    fn start(&mut self, decision: &Decision) -> &'static str {
        if let Some(record) = &decision.write {
            self.record = record.clone();
            self.writes += 1;
        }
        self.list[decision.index].id
    }

    /// A boot that nobody blesses.
    fn boot(&mut self) -> &'static str {
        let decision = self.decide();
        self.start(&decision)
    }

    /// A boot that ends in `firn state bless`.
    fn boot_well(&mut self) -> &'static str {
        let booted = self.boot();
        self.record.bless(id(booted));
        booted
    }

    fn candidate(&mut self, id: &str) -> &mut Candidate<'static> {
        self.list.iter_mut().find(|candidate| candidate.id == id).unwrap()
    }
}

fn told(decision: &Decision) -> Vec<String> {
    decision.reasons.iter().map(Reason::to_string).collect()
}

#[test]
fn without_history_the_links_target_boots_counts_as_good_and_costs_one_write() {
    let mut board = Board::with(Record::default());
    board.link = Some("42");
    let decision = board.decide();
    assert_eq!((decision.basis, decision.attempt), (Basis::Link, None));
    assert_eq!(board.start(&decision), "42");
    assert_eq!(board.record.standing(&id("42")), Some(Standing::Good));
    for _ in 0..5 {
        assert_eq!(board.boot(), "42");
    }
    assert_eq!(board.writes, 1);
}

#[test]
fn without_link_and_default_the_newest_that_is_not_broken_boots() {
    let mut board = Board::with(Record::default());
    board.link = None;
    board.candidate("43").broken = true;
    let decision = board.decide();
    assert_eq!((board.list[decision.index].id, decision.basis), ("42", Basis::Newest));
}

#[test]
fn a_new_generation_gets_its_tries_each_written_before_the_jump() {
    let mut board = Board::updated();
    for number in 1..=3 {
        let decision = board.decide();
        assert_eq!(decision.attempt, Some(Attempt { number, of: 3 }));
        let written = decision.write.as_ref().unwrap().standing(&id("43"));
        assert_eq!(written, Some(Standing::Trying { left: 3 - number, done: number }));
        assert_eq!(board.start(&decision), "43");
    }
}

#[test]
fn out_of_tries_the_last_good_one_boots_and_the_menu_says_why() {
    let mut board = Board::updated();
    (0..3).for_each(|_| assert_eq!(board.boot(), "43"));
    let decision = board.decide();
    assert_eq!((decision.basis, decision.attempt), (Basis::LastGood, None));
    assert_eq!(
        told(&decision),
        ["rolled back from 43: 3 tries failed, last: watchdog 1, nobody served it"]
    );
    assert_eq!(decision.reasons[0].code(), Code::TryUnconfirmed);
    assert_eq!(board.start(&decision), "42");
    let failure = board.record.last_failure.as_ref().unwrap();
    assert_eq!((failure.identity.as_str(), failure.code), ("43", 1101));
}

#[test]
fn a_board_that_was_rolled_back_stays_so_without_writes_and_still_says_why() {
    let mut board = Board::updated();
    (0..4).for_each(|_| _ = board.boot_well_if_good());
    board.writes = 0;
    board.reset = None;
    for _ in 0..5 {
        let decision = board.decide();
        assert!(told(&decision)[0].ends_with("last: watchdog 1, nobody served it"));
        assert_eq!(board.start(&decision), "42");
    }
    assert_eq!(board.writes, 0);
}

impl Board {
    /// 43 is the one that does not come up.
    fn boot_well_if_good(&mut self) -> &'static str {
        let booted = self.boot();
        if booted != "43" {
            self.record.bless(id(booted));
        }
        booted
    }
}

#[test]
fn an_unblessed_try_has_failed_whatever_the_reset_cause() {
    for src in [0x001, 0x008, 0x010, 0x200, 0] {
        let mut board = Board::updated();
        board.reset = Some(ResetCause { src, watchdog: 0, pmic: None });
        (0..3).for_each(|_| assert_eq!(board.boot(), "43"));
        assert_eq!(board.boot(), "42", "{src:#x}");
    }
}

#[test]
fn a_blessed_generation_is_never_counted_again_and_costs_no_writes() {
    let mut board = Board::updated();
    board.boot();
    assert_eq!(board.boot_well(), "43");
    board.writes = 0;
    (0..20).for_each(|_| assert_eq!(board.boot(), "43"));
    assert_eq!(board.writes, 0);
}

#[test]
fn installing_a_failed_generation_again_gives_it_its_tries_again() {
    let mut board = Board::updated();
    (0..4).for_each(|_| _ = board.boot());
    board.record.set_default(id("43"), Some(id("42")));
    assert_eq!(board.decide().attempt, Some(Attempt { number: 1, of: 3 }));
}

#[test]
fn a_last_good_one_that_cannot_be_loaded_gives_way_to_the_good_one_before() {
    let mut board = Board::updated();
    (0..3).for_each(|_| _ = board.boot());
    board.candidate("42").broken = true;
    assert_eq!(board.boot(), "41");
}

#[test]
fn with_no_good_one_left_the_others_are_tried_newest_first() {
    let mut board = Board::updated();
    board.list.retain(|candidate| candidate.id != "41");
    board.candidate("42").broken = true;
    (0..3).for_each(|_| assert_eq!(board.boot(), "43"));
    let decision = board.decide();
    assert_eq!((board.list[decision.index].id, decision.basis), ("40", Basis::Search));
    assert_eq!(decision.attempt, Some(Attempt { number: 1, of: 3 }));
}

#[test]
fn when_all_have_failed_the_default_boots_uncounted_without_watchdog_and_writes() {
    let mut board = Board::updated();
    board.list.truncate(1);
    (0..4).for_each(|_| _ = board.boot());
    board.writes = 0;
    for reset in [None, WATCHDOG, None] {
        board.reset = reset;
        let decision = board.decide();
        assert_eq!((decision.basis, decision.attempt), (Basis::LastResort, None));
        assert_eq!(decision.reasons.last(), Some(&Reason::NothingWorks));
        assert_eq!(board.start(&decision), "43");
    }
    assert_eq!(board.writes, 0);
}

#[test]
fn the_records_default_goes_before_the_link() {
    let mut record = Record::default();
    record.bless(id("41"));
    record.set_default(id("41"), None);
    let mut board = Board::with(record);
    let decision = board.decide();
    assert_eq!(decision.basis, Basis::Default);
    assert_eq!(board.start(&decision), "41");
}

#[test]
fn a_new_install_replaces_the_choice_made_by_hand() {
    let mut board = Board::updated();
    board.record.set_default(id("41"), None);
    assert_eq!(board.boot_well(), "41");
    board.record.set_default(id("43"), Some(id("41")));
    assert_eq!(board.boot(), "43");
}

#[test]
fn a_garbage_collected_default_falls_back_to_the_link_and_the_menu_says_so() {
    let mut board = Board::updated();
    board.record.set_default(id("/nix/store/gone"), None);
    board.link = Some("42");
    let decision = board.decide();
    assert_eq!(told(&decision), ["the default /nix/store/gone is not there any more"]);
    assert_eq!(decision.reasons[0].code(), Code::DefaultUnusable);
    assert_eq!((board.start(&decision), decision.basis), ("42", Basis::Link));
}

#[test]
fn a_default_that_cannot_be_loaded_costs_no_try() {
    let mut board = Board::updated();
    board.link = Some("42");
    board.candidate("43").broken = true;
    let decision = board.decide();
    assert_eq!(told(&decision), ["the default 43 is broken"]);
    assert_eq!(board.start(&decision), "42");
    board.candidate("43").broken = false;
    assert_eq!(board.decide().attempt, Some(Attempt { number: 1, of: 3 }));
}

#[test]
fn boot_once_boots_once() {
    let mut board = Board::updated();
    board.boot_well();
    board.record.boot_once = Some(id("41"));
    let decision = board.decide();
    assert_eq!(decision.basis, Basis::BootOnce);
    assert_eq!(decision.write.as_ref().unwrap().boot_once, None);
    assert_eq!(board.start(&decision), "41");
    assert_eq!(board.boot(), "43");
}

#[test]
fn a_generation_booted_once_that_hangs_is_reset_noted_and_not_booted_again() {
    let mut board = Board::updated();
    board.boot_well();
    board.record.boot_once = Some(id("40"));
    let decision = board.decide();
    assert_eq!(decision.attempt, Some(Attempt { number: 1, of: 3 }));
    board.start(&decision);
    assert_eq!(board.boot(), "43");
    assert_eq!(board.record.last_failure.as_ref().unwrap().identity, id("40"));
    board.writes = 0;
    (0..3).for_each(|_| assert_eq!(board.boot(), "43"));
    assert_eq!(board.writes, 0);
}

#[test]
fn boot_once_without_anything_to_boot_is_dropped_and_said() {
    let mut board = Board::updated();
    board.boot_well();
    board.record.boot_once = Some(id("gone"));
    let decision = board.decide();
    assert_eq!(told(&decision), ["gone was to be booted once, but is not there any more"]);
    board.start(&decision);
    assert_eq!(board.decide().reasons, []);

    board.record.boot_once = Some(id("41"));
    board.candidate("41").broken = true;
    assert_eq!(told(&board.decide()), ["41 was to be booted once, but is broken"]);
}

#[test]
fn boot_once_is_not_honoured_where_it_would_be_for_ever() {
    let mut board = Board::updated();
    board.record.boot_once = Some(id("41"));
    board.writable = false;
    let decision = board.decide();
    assert_eq!((board.list[decision.index].id, decision.basis), ("43", Basis::Default));
    assert!(told(&decision)[0].contains("cannot be noted"), "{:?}", told(&decision));
}

#[test]
fn a_card_that_cannot_be_written_is_booted_without_counting() {
    let mut board = Board::updated();
    board.writable = false;
    for _ in 0..5 {
        let decision = board.decide();
        assert_eq!((decision.attempt, &decision.write), (None, &None));
        assert_eq!(board.start(&decision), "43");
    }
}

#[test]
fn with_counting_off_nothing_is_written_and_nothing_rolled_back() {
    let mut board = Board::updated();
    board.boot();
    board.list.iter_mut().for_each(|candidate| candidate.tries = None);
    board.writes = 0;
    for _ in 0..9 {
        let decision = board.decide();
        assert_eq!((decision.attempt, decision.reasons.len()), (None, 0));
        assert_eq!(board.start(&decision), "43");
    }
    assert_eq!(board.writes, 0);

    let mut board = Board::with(Record::default());
    board.list.iter_mut().for_each(|candidate| candidate.tries = None);
    board.boot();
    assert_eq!(board.record, Record::default());
}

#[test]
fn with_counting_off_boot_once_still_boots_once() {
    let mut board = Board::updated();
    board.list.iter_mut().for_each(|candidate| candidate.tries = None);
    board.record.boot_once = Some(id("41"));
    assert_eq!([board.boot(), board.boot(), board.boot()], ["41", "43", "43"]);
    assert_eq!(board.writes, 1);
}

#[test]
fn a_person_may_boot_what_has_failed_and_that_changes_no_default() {
    let mut board = Board::updated();
    (0..4).for_each(|_| _ = board.boot());
    let decision = decide_for_person(&board.record, &board.situation(), 0).unwrap();
    assert_eq!(
        (decision.basis, decision.attempt),
        (Basis::Person, Some(Attempt { number: 4, of: 4 }))
    );
    assert_eq!(board.start(&decision), "43");
    assert_eq!(board.record.default, Some(id("43")));
    assert_eq!(board.boot(), "42");
}

#[test]
fn what_a_person_boots_proves_itself_by_being_blessed() {
    let mut board = Board::updated();
    (0..4).for_each(|_| _ = board.boot());
    let decision = decide_for_person(&board.record, &board.situation(), 0).unwrap();
    board.start(&decision);
    board.record.bless(id("43"));
    assert_eq!(board.boot(), "43");
    assert_eq!(board.decide().write, None);
}

#[test]
fn a_persons_choice_of_a_good_generation_costs_no_write() {
    let mut board = Board::updated();
    board.boot_well();
    let decision = decide_for_person(&board.record, &board.situation(), 2).unwrap();
    assert_eq!((decision.attempt, decision.write), (None, None));
    assert_eq!(decide_for_person(&board.record, &board.situation(), 4), None);
}

#[test]
fn with_nothing_to_boot_there_is_no_decision() {
    let mut board = Board::updated();
    board.list.iter_mut().for_each(|candidate| candidate.broken = true);
    assert_eq!(decide(&board.record, &board.situation()), None);
    board.list.clear();
    assert_eq!(decide(&board.record, &board.situation()), None);
}

/// A generation of a random list, and how it turns out.
#[derive(Clone, Copy, Debug)]
struct Kind {
    works: bool,
    broken: bool,
    tries: u8,
}

impl Kind {
    /// What is not counted does not bless itself.
    fn blesses(self) -> bool {
        self.works && self.tries > 0
    }
}

prop_compose! {
    fn kinds()(
        kinds in collection::vec((prop::bool::weighted(0.15), prop::bool::weighted(0.2), 0..4u8), 1..30),
    ) -> Vec<Kind> {
        kinds.into_iter().map(|(works, broken, tries)| Kind { works, broken, tries }).collect()
    }
}

/// A board whose record knows some good generation, which may be gone.
fn random_board(kinds: &[Kind], default: usize, known: Option<usize>) -> Board {
    let names = (0..kinds.len()).map(|n| -> &'static str { format!("g{n}").leak() });
    let list: Vec<_> = names
        .zip(kinds)
        .map(|(id, kind)| Candidate {
            id,
            label: id,
            broken: kind.broken,
            tries: NonZeroU8::new(kind.tries),
        })
        .collect();
    let mut record = Record::default();
    record.bless(known.map_or(id("gone"), |known| id(list[known].id)));
    record.set_default(id(list[default].id), None);
    Board { list, link: None, ..Board::with(record) }
}

/// The most writes that a list can cost: its tries, the search's end, and noticing it.
fn most_writes(kinds: &[Kind]) -> usize {
    kinds.iter().map(|kind| usize::from(kind.tries)).sum::<usize>() + 2
}

proptest! {
    #[test]
    fn an_unattended_board_ends_at_a_good_generation_if_there_is_one(
        kinds in kinds(),
        default: prop::sample::Index,
        known: Option<prop::sample::Index>,
        cuts in collection::vec(any::<bool>(), 0..40),
    ) {
        let default = default.index(kinds.len());
        let working: Vec<_> =
            (0..kinds.len()).filter(|&n| kinds[n].blesses()).collect();
        let known = known.filter(|_| !working.is_empty()).map(|known| *known.get(&working));
        let mut board = random_board(&kinds, default, known);

        // The power may go before or in the middle of a write, which leaves the old record.
        for cut in cuts {
            let before = (board.record.clone(), board.writes);
            if let Some(decision) = decide(&board.record, &board.situation()) {
                let booted = board.start(&decision);
                match cut {
                    true => (board.record, board.writes) = before,
                    false if kinds[decision.index].blesses() => board.record.bless(id(booted)),
                    false => {}
                }
            }
        }
        for _ in 0..most_writes(&kinds) {
            if let Some(decision) = decide(&board.record, &board.situation()) {
                let booted = board.start(&decision);
                if kinds[decision.index].blesses() {
                    board.record.bless(id(booted));
                }
            }
        }
        prop_assert!(board.writes <= most_writes(&kinds), "{} writes", board.writes);
        prop_assert!(board.record.counted().len() <= MAX_COUNTED);

        let end = decide(&board.record, &board.situation());
        let Some(end) = end else {
            prop_assert!(kinds.iter().all(|kind| kind.broken));
            return Ok(());
        };
        prop_assert_eq!(&end.write, &None, "it has come to rest");
        let counted = kinds[end.index].tries > 0;
        let something_works = working.iter().any(|&n| !kinds[n].broken);
        let not_counted_by_choice = !counted && end.basis != Basis::LastResort;
        if something_works && !not_counted_by_choice {
            prop_assert!(kinds[end.index].works, "{:?}", end);
        }
        if end.basis == Basis::LastResort {
            prop_assert_eq!(end.attempt, None);
        }
    }

    #[test]
    fn after_a_torn_write_the_decision_is_the_same_or_the_next(
        kinds in kinds(),
        default: prop::sample::Index,
        boots in 0..20usize,
        end in 0..=4096usize,
    ) {
        let mut board = random_board(&kinds, default.index(kinds.len()), None);
        let mut places = [vec![0; 4096], vec![0; 4096]];
        for _ in 0..boots {
            if let Some(decision) = decide(&board.record, &board.situation()) {
                let stored = choose(Ground::Own, &places[0], &places[1]);
                if let Some(record) = decision.write.clone() {
                    let (write, _) = stored.plan(record).unwrap();
                    places[write.copy.index()] = write.bytes.to_vec();
                }
                board.start(&decision);
            }
        }
        let Some(now) = decide(&board.record, &board.situation()) else { return Ok(()) };
        let Some(record) = now.write.clone() else { return Ok(()) };
        // Nothing was written so far: the card holds what the board began with only in its record.
        prop_assume!(board.writes > 0);
        let (write, _) = choose(Ground::Own, &places[0], &places[1]).plan(record).unwrap();
        places[write.copy.index()][..end].copy_from_slice(&write.bytes[..end]);

        let next = decide(now.write.as_ref().unwrap(), &board.situation());
        let read = choose(Ground::Own, &places[0], &places[1]).record;
        let after = decide(&read, &board.situation());
        prop_assert!(after.as_ref() == Some(&now) || after == next);
    }
}
