//! Boot counting where no card keeps a record: in a few registers of the SoC.
//!
//! They hold which generation is on trial or has failed, which one is the last good one, and how the
//! last boot stands. Generations are named by four bytes of a digest, which is enough to tell those of
//! one card apart. What is lost, and what [`policy`](super::policy) makes of it:
//!
//! * everything, with the power: what boots by default counts as good then, as on a new card;
//! * the default and boot-once: those of a card that can be read are honoured, others cannot be
//!   chosen, and what is to be booted once is not;
//! * all on trial but the one touched last: another one is new again, which only a person brings
//!   about, because there is no search without a good generation ([`Record`] is brief);
//! * all good ones but the last, and the text of the last failure.
//!
//! The format is in `docs/state-record.md`.

#![forbid(unsafe_code)]

use super::{Booted, Counted, Identity, Record, Standing, codec};

/// What a [`Counter`] holds.
pub type Words = [u32; 4];

/// Registers that keep what they hold over a reset, not over a loss of power.
pub trait Counter {
    /// What they hold; `None` if they cannot be read.
    fn read(&mut self) -> Option<Words>;
    /// Makes them hold `words`. Whether they do, reading them shows.
    fn write(&mut self, words: Words);
}

/// What registers hold that nobody has written to.
pub const BLANK: Words = [0; 4];

const MARK: u32 = 0x4650;
const HAS_TRIAL: u32 = 1 << 16;
const HAS_GOOD: u32 = 1 << 17;
const LAST_ON_TRIAL: u32 = 1 << 18;

/// What a record comes down to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    trial: Option<Trial>,
    /// Digest of the last good one.
    good: Option<u32>,
    /// The last boot was one of `trial`, and is not blessed yet.
    on_trial: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trial {
    digest: u32,
    left: u8,
    done: u8,
}

impl Tally {
    /// What of `record` has room.
    pub fn of(record: &Record) -> Self {
        let trial = record.counted().iter().find_map(|counted| match counted.standing {
            Standing::Trying { left, done } => {
                Some(Trial { digest: counted.identity.digest(), left, done })
            }
            Standing::Good => None,
        });
        let booted = record.last_booted.as_ref().filter(|booted| booted.on_trial);
        let booted = booted.map(|booted| booted.identity.digest());
        Self {
            trial,
            good: record.last_good().map(Identity::digest),
            on_trial: booted.is_some() && booted == trial.map(|trial| trial.digest),
        }
    }

    /// As registers hold it.
    pub fn to_words(self) -> Words {
        let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
        let trial = self.trial.unwrap_or(Trial { digest: 0, left: 0, done: 0 });
        let state = flag(self.trial.is_some(), HAS_TRIAL)
            | flag(self.good.is_some(), HAS_GOOD)
            | flag(self.on_trial, LAST_ON_TRIAL)
            | u32::from(trial.done) << 8
            | u32::from(trial.left);
        let words = [0, trial.digest, self.good.unwrap_or(0), state];
        [MARK << 16 | check(words), words[1], words[2], words[3]]
    }

    /// What `words` say; `None` if they are no tally.
    pub fn from_words(words: Words) -> Option<Self> {
        let [head, digest, good, state] = words;
        let known = 0xffff | HAS_TRIAL | HAS_GOOD | LAST_ON_TRIAL;
        if head != MARK << 16 | check(words) || state & !known != 0 {
            return None;
        }
        let [left, done, ..] = state.to_le_bytes();
        Some(Self {
            trial: (state & HAS_TRIAL != 0).then_some(Trial { digest, left, done }),
            good: (state & HAS_GOOD != 0).then_some(good),
            on_trial: state & LAST_ON_TRIAL != 0,
        })
    }

    /// The record of a card that can only be read, or an empty one, with this put over it.
    pub fn over(self, mut record: Record) -> Record {
        if let Some(digest) = self.good {
            record.put(digest, Standing::Good);
        }
        if let Some(Trial { digest, left, done }) = self.trial {
            let identity = record.put(digest, Standing::Trying { left, done });
            record.last_booted = Some(Booted { identity, on_trial: self.on_trial });
        } else if self != Self::default()
            && let Some(booted) = &mut record.last_booted
        {
            // It was judged when this was written.
            booted.on_trial = false;
        }
        brief(record)
    }
}

/// `record`, for a place that holds no more than a [`Tally`]. Nothing boots once: that it was done could
/// not be noted.
pub fn brief(record: Record) -> Record {
    Record { boot_once: None, searched: None, brief: true, ..record }
}

impl Record {
    /// Notes how the generation with that digest stands, last touched.
    fn put(&mut self, digest: u32, standing: Standing) -> Identity {
        let short = Identity::of_digest(digest);
        let known = self.counted.iter().find(|counted| counted.identity.matches(&short));
        let identity = known.map_or(short, |counted| counted.identity.clone());
        self.touch(Counted { identity: identity.clone(), standing }, None, &|_| true);
        identity
    }
}

/// The lower half of a checksum of all words but the first.
fn check(words: Words) -> u32 {
    let [_, rest @ ..] = words;
    let mut digest = codec::CRC.digest();
    rest.iter().for_each(|word| digest.update(&word.to_le_bytes()));
    digest.finalize() & 0xffff
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::num::NonZeroU8;

    use proptest::{collection::vec as many, option, prelude::*};

    use super::{
        super::policy::{Basis, Candidate, Decision, Situation, decide},
        *,
    };

    fn id(name: &str) -> Identity {
        Identity::new(name)
    }

    /// A boot without a person, of generations that are all counted, the newest first.
    fn boot(record: &Record, names: &[&'static str], link: Option<&str>) -> Decision {
        let tries = NonZeroU8::new(3);
        let candidate = |id: &&'static str| Candidate { id, label: id, broken: false, tries };
        let candidates: Vec<_> = names.iter().map(candidate).collect();
        let situation = Situation { candidates: &candidates, link, reset: None, writable: true };
        decide(record, &situation).unwrap()
    }

    /// A record after a loss of everything that has no room.
    fn kept(record: &Record) -> Record {
        let words = Tally::of(record).to_words();
        Tally::from_words(words).unwrap().over(Record::default())
    }

    #[test]
    fn a_blank_register_is_no_tally() {
        assert_eq!(Tally::from_words(BLANK), None);
        assert_eq!(Tally::from_words([u32::MAX; 4]), None);
    }

    #[test]
    fn a_new_generation_is_rolled_back_as_with_a_record_on_the_card() {
        let names = ["42", "41"];
        let (mut card, mut register) = (Record::default(), brief(Record::default()));
        card.bless(id("41"));
        register.bless(id("41"));
        for number in [Some(1), Some(2), Some(3), None, None] {
            register = kept(&register);
            let [on_card, by_register] =
                [&card, &register].map(|record| boot(record, &names, Some("42")));
            assert_eq!(by_register.attempt.map(|attempt| attempt.number), number);
            assert_eq!(
                (by_register.index, by_register.basis, by_register.attempt),
                (on_card.index, on_card.basis, on_card.attempt)
            );
            card = on_card.write.unwrap_or(card);
            register = by_register.write.unwrap_or(register);
        }
        assert_eq!(boot(&kept(&register), &names, Some("42")).basis, Basis::LastGood);
    }

    #[test]
    fn a_blessing_is_kept_and_the_next_boots_cost_no_write() {
        let names = ["42", "41"];
        let mut record = brief(Record::default());
        record.bless(id("41"));
        record = kept(&boot(&kept(&record), &names, Some("42")).write.unwrap());
        record.bless(id("42"));
        let record = kept(&record);
        assert_eq!(record.last_good().map(Identity::digest), Some(id("42").digest()));
        assert_eq!(boot(&record, &names, Some("42")).write, None);
    }

    #[test]
    fn what_boots_first_counts_as_good() {
        let first = boot(&brief(Record::default()), &["42"], Some("42"));
        assert_eq!(first.attempt, None);
        let record = kept(&first.write.unwrap());
        assert_eq!(record.standing(&id("42")), Some(Standing::Good));
    }

    #[test]
    fn a_cards_choice_is_honoured_but_nothing_boots_once() {
        let mut card = Record::default();
        card.set_default(id("41"), Some(id("40")));
        card.boot_once = Some(id("39"));
        let record = Tally::default().over(card);
        assert_eq!(record.default, Some(id("41")));
        assert_eq!(record.boot_once, None);
        assert_eq!(boot(&record, &["42", "41", "40", "39"], None).index, 1);
    }

    #[test]
    fn what_the_register_says_of_a_generation_counts_more_than_what_the_card_says() {
        let mut card = Record::default();
        card.bless(id("42"));
        let mut later = Record::default();
        later.bless(id("41"));
        let trying = boot(&later, &["42", "41"], Some("42")).write.unwrap();
        let record = Tally::of(&trying).over(card);
        assert_eq!(record.standing(&id("42")), Some(Standing::Trying { left: 2, done: 1 }));
        assert_eq!(record.counted().len(), 2, "42 is there once");
        assert!(record.last_booted.unwrap().on_trial);
    }

    fn any_tally() -> impl Strategy<Value = Tally> {
        (option::of(any::<(u32, u8, u8)>()), any::<Option<u32>>(), any::<bool>()).prop_map(
            |(trial, good, on_trial)| Tally {
                trial: trial.map(|(digest, left, done)| Trial { digest, left, done }),
                good,
                on_trial,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tally in any_tally()) {
            prop_assert_eq!(Tally::from_words(tally.to_words()), Some(tally));
            prop_assert_ne!(tally.to_words(), BLANK);
        }

        #[test]
        fn every_changed_bit_is_noticed(tally in any_tally(), word in 0..4_usize, bit in 0..32) {
            let mut words = tally.to_words();
            words[word] ^= 1u32 << bit;
            prop_assert_ne!(Tally::from_words(words), Some(tally));
            prop_assert_eq!(Tally::from_words(words), None);
        }

        #[test]
        fn any_words_are_a_tally_or_none(words: Words) {
            if let Some(tally) = Tally::from_words(words) {
                prop_assert_eq!(tally.to_words(), words);
            }
        }

        #[test]
        fn a_board_on_which_everything_fails_comes_to_rest(
            blessed in option::of(0..4_usize),
            link in 0..4_usize,
            changes in many((0..40_usize, 0..4_usize), 0..4),
        ) {
            let names = ["42", "41", "40", "39"];
            let mut record = brief(Record::default());
            if let Some(blessed) = blessed {
                record.bless(id(names[blessed]));
            }
            let (mut link, mut attempts) = (names[link], 0);
            for boots in 0..60 {
                // A person installs another one, now and then.
                if let Some((_, other)) = changes.iter().find(|(when, _)| *when == boots) {
                    link = names[*other];
                }
                let decision = boot(&kept(&record), &names, Some(link));
                attempts += usize::from(decision.attempt.is_some());
                record = decision.write.unwrap_or(record);
            }
            prop_assert!(attempts <= 3 * (changes.len() + 1), "{attempts} tries");
            let rest = boot(&kept(&record), &names, Some(link));
            prop_assert_eq!((rest.attempt, rest.write), (None, None));
        }
    }
}
