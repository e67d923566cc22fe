//! The state record: whatever lies at its two places, a boot is decided; what is written is read
//! back; a power cut leaves the old record or the new one; a later version's entries stay.
#![no_main]

use std::num::NonZeroU8;

use firn::{
    handoff::ResetCause,
    state::{
        Identity, MAX_COUNTED, Record, Standing,
        copies::{Copy, Ground, Source, choose},
        policy::{Basis, Candidate, Decision, Situation, decide, decide_for_person},
    },
};
use firn_fuzz::{
    input::Input,
    state::{self, SIZE},
};
use libfuzzer_sys::fuzz_target;

const NAMES: usize = 12;
/// More boots than this in a row are not simulated.
const MAX_BOOTS: usize = 200;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let flags = input.byte();
    let mut card = Card {
        ground: if flags & 1 == 0 { Ground::Own } else { Ground::Gap },
        places: [(); 2].map(|()| state::place(&mut input, name)),
        damaged: false,
    };
    card.check();
    let names: Vec<String> = (0..NAMES as u8).map(name).collect();
    let candidates = candidates(&mut input, &names);
    let link = input.byte();
    let reset = ResetCause { src: u32::from(input.byte()), watchdog: 0, pmic: None };
    let situation = Situation {
        candidates: &candidates,
        link: names.get(usize::from(link)).map(String::as_str),
        reset: (flags & 2 != 0).then_some(reset),
        writable: flags & 4 == 0,
    };
    for _ in 0..8 {
        if input.is_empty() {
            break;
        }
        card.step(&mut input, &situation);
    }
});

/// Short ones, one as long as any, and some that are named by their digest.
fn name(number: u8) -> String {
    match usize::from(number) % NAMES {
        0 => String::new(),
        1 => "/nix/store/".to_owned() + &"ä".repeat(122),
        2 => "x".repeat(256),
        3 => "a\x1b[2J".to_owned(),
        number => format!("/nix/store/{number}"),
    }
}

fn candidates<'a>(input: &mut Input<'_>, names: &'a [String]) -> Vec<Candidate<'a>> {
    let mut candidates: Vec<Candidate<'a>> = Vec::new();
    for _ in 0..input.byte() % 10 {
        let id = &names[usize::from(input.byte()) % NAMES];
        let (broken, tries) = (input.byte().is_multiple_of(4), NonZeroU8::new(input.byte()));
        if candidates.iter().all(|other| other.id != id) {
            candidates.push(Candidate { id, label: id, broken, tries });
        }
    }
    candidates
}

struct Card {
    ground: Ground,
    places: [Vec<u8>; 2],
    /// Whether a byte was changed behind the record's back: writing over it may make a copy whole
    /// again.
    damaged: bool,
}

impl Card {
    fn stored(&self) -> firn::state::copies::Stored {
        choose(self.ground, &self.places[0], &self.places[1])
    }

    fn check(&self) {
        let stored = self.stored();
        stored.source.problem().inspect(|problem| drop(problem.to_string()));
        let writable = stored.check_writable();
        let planned = stored.plan(stored.record.clone());
        assert_eq!(writable.err(), planned.as_ref().err().copied());
        if let Source::Later(_) = stored.source {
            assert!(planned.is_err(), "a later version's record would be written over");
        }
        if self.ground == Ground::Own && !matches!(stored.source, Source::Later(_)) {
            assert!(planned.is_ok(), "{:?}", stored.source);
        }
        if let Source::Copy(copy) = stored.source {
            let (write, _) = planned.expect("a place beside a copy that counts");
            assert_ne!(write.copy, copy, "the only good copy would be written over");
        }
        assert!(stored.record.counted().len() <= MAX_COUNTED);
    }

    fn step(&mut self, input: &mut Input<'_>, situation: &Situation<'_>) {
        let mut record = self.stored().record;
        let identity = |input: &mut Input<'_>| Identity::new(&name(input.byte()));
        match input.byte() % 8 {
            0 => {
                if let Some(write) = check_decision(&record, situation).and_then(|d| d.write) {
                    self.write(&write, input);
                }
            }
            1 => {
                let index = usize::from(input.byte());
                let decision = decide_for_person(&record, situation, index);
                assert_eq!(decision.is_some(), index < situation.candidates.len());
                let Some(decision) = decision else { return };
                assert_eq!((decision.index, decision.basis), (index, Basis::Person));
                check(&record, situation, &decision);
                if let Some(write) = decision.write {
                    self.write(&write, input);
                }
            }
            2 => {
                let running = Some(identity(input)).filter(|_| input.byte().is_multiple_of(2));
                let default = identity(input);
                record.set_default(default.clone(), running);
                assert!(!record.standing(&default).is_some_and(Standing::has_failed));
                self.write(&record, input);
            }
            3 => {
                let blessed = identity(input);
                record.bless(blessed.clone());
                assert_eq!(record.last_good(), Some(&blessed));
                let once = record.clone();
                record.bless(blessed);
                assert_eq!(record, once, "a second blessing costs a write");
                self.write(&record, input);
            }
            4 => {
                record.boot_once = Some(identity(input));
                self.write(&record, input);
            }
            5 => self.write(&Record::default(), input),
            6 => {
                let byte = usize::from(input.u16()) % SIZE;
                let place = &mut self.places[usize::from(input.byte()) % 2];
                if let Some(byte) = place.get_mut(byte) {
                    *byte = input.byte();
                }
                self.damaged = true;
                self.check();
            }
            _ => unattended(record, situation),
        }
    }

    /// Writes, with a power cut on the way that is undone.
    fn write(&mut self, record: &Record, input: &mut Input<'_>) {
        let before = self.stored();
        let Ok((write, after)) = before.plan(record.clone()) else { return };
        let index = write.copy.index();
        let old = self.places[index].clone();

        let cut = usize::from(input.u16()) % (SIZE + 1);
        let mut torn = write.bytes[..cut].to_vec();
        torn.extend(old.get(cut..).unwrap_or_default());
        self.places[index] = torn;
        let left = self.stored().record;

        self.places[index] = write.bytes.to_vec();
        let read = self.stored();
        let is_either = left == before.record || left == read.record;
        assert!(is_either || self.damaged, "a power cut at byte {cut}");
        assert_eq!(read.source, Source::Copy(write.copy));
        assert_eq!(after.source, read.source);
        check_read_back(record, &read.record);
        if let Source::Copy(copy) = before.source {
            self.check_unknown(copy, write.copy, record == &Record::default());
        }
        // What was cut is cut once.
        let (again, _) = read.plan(read.record.clone()).expect("it was written before");
        let [ours, theirs] =
            [&write.bytes, &again.bytes].map(|bytes| state::take_apart(&bytes[..]));
        assert_eq!(ours, theirs);
    }

    /// Entries that this version does not know are all there in the new copy if there is room for
    /// them, and in their order.
    fn check_unknown(&self, old: Copy, new: Copy, cleared: bool) {
        let [old, new] = [old, new].map(|copy| state::take_apart(&self.places[copy.index()]));
        let is_known = |entry: &&(u16, &[u8])| (1..=6).contains(&entry.0);
        let wanted: Vec<_> = old.iter().filter(|entry| !is_known(entry)).copied().collect();
        let (known, kept): (Vec<_>, Vec<_>) = new.iter().copied().partition(|e| is_known(&e));
        let all = [known, wanted.clone()].concat();
        if cleared {
            assert!(kept.is_empty());
        } else if state::size(&all) <= SIZE {
            assert_eq!(kept, wanted);
        } else {
            let mut rest = wanted.iter();
            assert!(kept.iter().all(|entry| rest.any(|other| other == entry)));
        }
    }
}

fn check_read_back(written: &Record, read: &Record) {
    assert_eq!(written.default, read.default);
    assert_eq!(written.boot_once, read.boot_once);
    assert_eq!(written.last_booted, read.last_booted);
    assert_eq!(written.counted(), read.counted());
    let identities = |record: &Record| {
        record.last_failure.as_ref().map(|failure| (failure.identity.clone(), failure.code))
    };
    assert_eq!(identities(written), identities(read));
}

fn check_decision(record: &Record, situation: &Situation<'_>) -> Option<Decision> {
    let decision = decide(record, situation);
    let bootable = situation.candidates.iter().any(|candidate| !candidate.broken);
    assert_eq!(decision.is_some(), bootable, "nothing boots although something can");
    let decision = decision?;
    assert!(!situation.candidates[decision.index].broken);
    assert_ne!(decision.basis, Basis::Person);
    check(record, situation, &decision);
    Some(decision)
}

fn check(record: &Record, situation: &Situation<'_>, decision: &Decision) {
    let Decision { index, basis, reasons, attempt, write } = decision;
    reasons.iter().for_each(|reason| drop(reason.to_string()));
    let candidate = &situation.candidates[*index];
    let identity = Identity::new(candidate.id);
    if let Some(write) = write {
        assert!(situation.writable, "a write where nothing can be written");
        assert_ne!(write, record, "a write that changes nothing");
        assert!(write.counted().len() <= MAX_COUNTED);
        assert_eq!(write.default, record.default, "a boot changes the default");
        assert_eq!(write.boot_once, None);
    }
    if *basis == Basis::BootOnce {
        assert!(write.is_some(), "it would be booted once for ever");
    }
    let Some(attempt) = attempt else { return };
    assert!(candidate.tries.is_some(), "counted although it never blesses itself");
    assert!((1..=attempt.of).contains(&attempt.number), "{attempt:?}");
    let write = write.as_ref().expect("a try is written before its jump");
    let booted = write.last_booted.as_ref().expect("a try is a boot");
    assert!(booted.on_trial && booted.identity == identity);
    assert!(matches!(write.standing(&identity), Some(Standing::Trying { done: 1.., .. })));
}

/// Boots that nobody blesses come to an end: something boots without a watchdog.
fn unattended(mut record: Record, situation: &Situation<'_>) {
    if !situation.writable {
        return;
    }
    let left = record.counted().iter().map(|counted| match counted.standing {
        Standing::Trying { left, .. } => usize::from(left),
        Standing::Good => 0,
    });
    let new = situation.candidates.iter().filter_map(|candidate| candidate.tries);
    let tries = left.sum::<usize>() + new.map(|tries| usize::from(tries.get())).sum::<usize>();
    if tries > MAX_BOOTS {
        return;
    }
    let mut attempts = 0;
    // One may be booted once besides.
    for _ in 0..tries + 8 {
        let Some(decision) = check_decision(&record, situation) else { return };
        attempts += usize::from(decision.attempt.is_some());
        record = decision.write.unwrap_or(record);
    }
    assert!(attempts <= tries + 1, "{attempts} tries where there were {tries}");
    let last = check_decision(&record, situation).expect("what booted before");
    assert_eq!(last.attempt, None, "a reset loop");
}
