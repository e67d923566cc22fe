//! The state record of one device: found, read, and written so that it is there afterwards.
//!
//! The rules are [`state`](crate::state)'s; this is what they need of a device. Nothing here stops
//! a boot: what is wrong is a [`Problem`], and the record is an empty one then.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use super::Problem;
use crate::{
    block::{self, BLOCK_SIZE, SharedDevice, partition},
    error::{Code, Coded},
    state::{
        RECORD_SIZE, Record,
        copies::{self, Copy, Ground, Refusal, Source, Stored},
        counter::{self, Counter, Tally, Words},
        place::{self, Front, Place},
        policy::Reason,
    },
};

/// The state record of one device.
pub struct Store {
    device: SharedDevice,
    /// Where on the card, if there is a place.
    place: Option<Place>,
    location: Location,
    /// What is on the card, or an empty record.
    stored: Stored,
    register: Option<Register>,
    writable: bool,
    problems: Vec<Problem>,
}

/// What serves where the card cannot be written to.
struct Register {
    counter: Box<dyn Counter>,
    /// The card's record with what it holds put over it.
    record: Record,
}

/// Where the record is kept, for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// On the card.
    Card {
        /// Where its copies lie.
        place: Place,
        /// Which of them counts.
        source: Source,
    },
    /// On the card as far as that can be read; boots are counted in registers of the SoC.
    Register,
    /// Nowhere: the problems tell why.
    Nowhere,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, source) = match self {
            Self::Card { place, source } => (place, source),
            Self::Register => return f.write_str("registers of the SoC"),
            Self::Nowhere => return f.write_str("nowhere"),
        };
        let [a, b] = place.first_blocks;
        let ground = match place.ground {
            Ground::Own => "partitions of its own",
            Ground::Gap => "the gap before the first partition",
        };
        write!(f, "{ground}, copies at blocks {a} and {b}, ")?;
        match source {
            Source::Copy(Copy::A) => f.write_str("the first one counts"),
            Source::Copy(Copy::B) => f.write_str("the second one counts"),
            Source::Blank => f.write_str("both blank"),
            Source::Lost(_) => f.write_str("both lost"),
            Source::Later(version) => write!(f, "written by a later version ({version})"),
        }
    }
}

impl Store {
    /// Finds and reads the record of `device`. Never fails: what is wrong is in
    /// [`Store::problems`], and the record is empty then. `counter` serves where the card cannot be
    /// written to.
    pub fn open(device: &SharedDevice, counter: Option<Box<dyn Counter>>) -> Self {
        let mut store = Self {
            device: device.clone(),
            place: None,
            location: Location::Nowhere,
            stored: copies::choose(Ground::Gap, &[], &[]),
            register: None,
            writable: false,
            problems: Vec::new(),
        };
        let obstacle = match store.find() {
            Ok(place) => store.read(place),
            Err(obstacle) => Some(obstacle),
        };
        store.make_do_with(counter, obstacle);
        store
    }

    /// The record as it is stored; an empty one if there is none.
    pub fn record(&self) -> &Record {
        self.register.as_ref().map_or(&self.stored.record, |register| &register.record)
    }

    /// What a user should know, in the order in which it was found.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether a record can be written, as far as that is known without doing it.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Where the record is kept.
    pub fn place(&self) -> Location {
        self.location
    }

    /// Writes `record` in the place of the older copy and reads it back from the medium; it is
    /// [`Store::record`] then.
    ///
    /// # Errors
    /// What went wrong, which is among the problems from then on. Nothing more is written, as nobody
    /// knows what the card holds until [`Store::open`] looks again: the old record or the new one.
    pub fn write(&mut self, record: &Record) -> Result<(), Problem> {
        if self.register.is_some() && self.writable {
            return self.write_register(record);
        }
        let Location::Card { place, .. } = self.location else { return Err(self.refusal()) };
        if !self.writable {
            return Err(self.refusal());
        }
        let (write, next) =
            self.stored.plan(record.clone()).map_err(|error| self.problem(&error))?;
        if let Err(problem) = self.put(place.first_blocks[write.copy.index()], &write.bytes[..]) {
            self.writable = false;
            self.problems.push(problem.clone());
            return Err(problem);
        }
        self.location = Location::Card { place, source: next.source };
        self.stored = next;
        Ok(())
    }

    /// Makes both copies blank, whatever lies there, also a later version's record: for a person
    /// who asks for it.
    ///
    /// # Errors
    /// There is no place, or it cannot be written to.
    pub fn clear(&mut self) -> Result<(), Problem> {
        let mut register = self.register.take();
        if let Some(Register { counter, .. }) = &mut register {
            counter.write(counter::BLANK);
        }
        let done = match self.place {
            Some(place) => {
                let [a, b] = place.first_blocks;
                // The one that counts goes last: if the power fails between the two, it still does.
                let blocks =
                    if self.stored.source == Source::Copy(Copy::A) { [b, a] } else { [a, b] };
                blocks.iter().try_for_each(|&block| self.put(block, &[0; RECORD_SIZE]))
            }
            None if register.is_some() => Ok(()),
            None => Err(self.refusal()),
        };
        *self = Self::open(&self.device, register.map(|register| register.counter));
        done
    }

    /// Where on the card the record is to be.
    fn find(&self) -> Result<Place, Obstacle> {
        let table = partition::scan(&self.device).map_err(|error| Obstacle::of_device(&error))?;
        let mut front: Front = [0; 2 * BLOCK_SIZE];
        let mut device = self.device.borrow_mut();
        device.read(0, &mut front).map_err(|error| Obstacle::of_device(&error))?;
        let blocks = device.block_count();
        drop(device);
        let lasting = |error| Obstacle { lasts: true, ..Obstacle::of(self.problem(&error)) };
        place::find(&table, &front, blocks).map_err(lasting)
    }

    /// Reads both copies past every cache: what counts is what is there after a power cut. Tells what
    /// is in the way of writing, if anything is.
    fn read(&mut self, place: Place) -> Option<Obstacle> {
        let mut failed = None;
        let mut copy = |first_block| {
            let mut bytes = Vec::from([0; RECORD_SIZE]);
            match self.device.borrow_mut().read_medium(first_block, &mut bytes) {
                Ok(()) => bytes,
                Err(error) => {
                    failed = Some(error);
                    Vec::new()
                }
            }
        };
        let [a, b] = place.first_blocks.map(&mut copy);
        self.stored = copies::choose(place.ground, &a, &b);
        let source = self.stored.source;
        self.place = Some(place);
        self.location = Location::Card { place, source };
        let failed = failed.as_ref().map(Obstacle::of_device);
        if let (true, true, Some(obstacle)) = (a.is_empty(), b.is_empty(), failed.clone()) {
            // Both may be whole.
            return Some(obstacle);
        }
        self.problems.extend(failed.map(|failed| failed.problem("")));
        if let Err(refusal) = self.stored.check_writable() {
            let lasts = refusal == Refusal::Foreign;
            return Some(Obstacle { lasts, ..Obstacle::of(self.problem(&refusal)) });
        }
        self.problems.extend(source.problem().map(|error| self.problem(&error)));
        self.writable = self.device.borrow().is_writable();
        (!self.writable).then(|| {
            let kind = block::ErrorKind::ReadOnly;
            let error = block::Error { kind, device: self.name(), block: place.first_blocks[0] };
            Obstacle { lasts: true, ..Obstacle::of_device(&error) }
        })
    }

    /// Turns to `counter` if an obstacle that lasts is in the way of writing to the card.
    fn make_do_with(&mut self, counter: Option<Box<dyn Counter>>, obstacle: Option<Obstacle>) {
        let Some(mut counter) = counter else {
            self.problems.extend(obstacle.map(|obstacle| obstacle.problem(NOT_COUNTED)));
            return;
        };
        let held = counter.read();
        let tally = held.and_then(Tally::from_words);
        let Some(obstacle) = obstacle else {
            // It was for a time without a place to write to, or for another card.
            if tally.is_some() {
                counter.write(counter::BLANK);
            }
            return;
        };
        let serves = obstacle.lasts
            && match tally {
                Some(_) => true,
                None => held == Some(counter::BLANK) && holds_what_is_written(&mut *counter),
            };
        self.problems.push(obstacle.problem(if serves { BY_REGISTER } else { NOT_COUNTED }));
        if serves {
            if let Some(identity) = &self.stored.record.boot_once {
                let reason = Reason::OnceNotWritable(identity.clone());
                self.problems.push(self.problem(&reason));
            }
            let record = tally.unwrap_or_default().over(self.stored.record.clone());
            self.register = Some(Register { counter, record });
            self.location = Location::Register;
            self.writable = true;
        }
    }

    fn write_register(&mut self, record: &Record) -> Result<(), Problem> {
        let Some(register) = &mut self.register else { return Err(self.refusal()) };
        if record.default != register.record.default || record.boot_once.is_some() {
            let text = "the SoC's registers have room for the boot counting only, not for a \
                        default or a boot once";
            return Err(Problem { code: Code::StatePlace, text: text.into() });
        }
        let words = Tally::of(record).to_words();
        register.counter.write(words);
        if register.counter.read() == Some(words) {
            register.record = counter::brief(record.clone());
            return Ok(());
        }
        self.writable = false;
        let problem = cannot_be_written("the SoC's registers do not hold what is written to them");
        self.problems.push(problem.clone());
        Err(problem)
    }

    /// Writes and compares.
    fn put(&self, first_block: u64, bytes: &[u8]) -> Result<(), Problem> {
        let mut device = self.device.borrow_mut();
        let mut read = Vec::from([0; RECORD_SIZE]);
        device
            .write(first_block, bytes)
            .and_then(|()| device.read_medium(first_block, &mut read))
            .map_err(|error| cannot_be_written(&error.to_string()))?;
        match read == bytes {
            true => Ok(()),
            false => Err(cannot_be_written(&format!(
                "{}, block {first_block}: it holds something else than what was written",
                device.name()
            ))),
        }
    }

    /// Why nothing can be written.
    fn refusal(&self) -> Problem {
        self.problems.last().cloned().unwrap_or(Problem {
            code: Code::StatePlace,
            text: format!("{}: the state record cannot be written", self.name()),
        })
    }

    fn problem(&self, error: &impl Coded) -> Problem {
        Problem::at(&self.name(), error)
    }

    /// What a user calls the device.
    pub(super) fn name(&self) -> String {
        self.device.borrow().name().into()
    }
}

/// What is in the way of writing to the card.
#[derive(Clone)]
struct Obstacle {
    problem: Problem,
    /// It was so at the last boot, and will be at the next.
    lasts: bool,
}

impl Obstacle {
    fn of(problem: Problem) -> Self {
        Self { problem, lasts: false }
    }

    /// A device's error names the device itself.
    fn of_device(error: &block::Error) -> Self {
        Self::of(Problem { code: error.code(), text: error.to_string() })
    }

    /// With what follows from it.
    fn problem(self, consequence: &str) -> Problem {
        let Problem { code, text } = self.problem;
        Problem { code, text: format!("{text}{consequence}") }
    }
}

const NOT_COUNTED: &str = "; no boot is counted";
const BY_REGISTER: &str =
    "; boots are counted in registers of the SoC, which forget them without power";

fn cannot_be_written(why: &str) -> Problem {
    let text = format!("the state record cannot be written, so no boot is counted: {why}");
    Problem { code: Code::StateWrite, text }
}

/// Whether a blank register keeps something; it is blank again afterwards.
fn holds_what_is_written(counter: &mut dyn Counter) -> bool {
    let words: Words = Tally::default().to_words();
    counter.write(words);
    let holds = counter.read() == Some(words);
    counter.write(counter::BLANK);
    holds
}
