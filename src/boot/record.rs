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
        copies::{self, Copy, Ground, Source, Stored},
        counter::Counter,
        place::{self, Front, Place},
    },
};

/// The state record of one device.
pub struct Store {
    device: SharedDevice,
    location: Location,
    stored: Stored,
    writable: bool,
    problems: Vec<Problem>,
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
    /// Nowhere: the problems tell why.
    Nowhere,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Card { place, source } = self else { return f.write_str("nowhere") };
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
        let _ = counter;
        let mut store = Self {
            device: device.clone(),
            location: Location::Nowhere,
            stored: copies::choose(Ground::Gap, &[], &[]),
            writable: false,
            problems: Vec::new(),
        };
        match store.find() {
            Ok(place) => store.read(place),
            Err(problem) => store.problems.push(problem),
        }
        store
    }

    /// The record as it is stored; an empty one if there is none.
    pub fn record(&self) -> &Record {
        &self.stored.record
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
        let Location::Card { place, .. } = self.location else { return Err(self.refusal()) };
        for first_block in place.first_blocks {
            self.put(first_block, &[0; RECORD_SIZE])?;
        }
        self.problems.clear();
        self.read(place);
        Ok(())
    }

    /// Where on the card the record is to be.
    fn find(&self) -> Result<Place, Problem> {
        let table = partition::scan(&self.device).map_err(|error| of_device(&error))?;
        let mut front: Front = [0; 2 * BLOCK_SIZE];
        let mut device = self.device.borrow_mut();
        device.read(0, &mut front).map_err(|error| of_device(&error))?;
        let blocks = device.block_count();
        drop(device);
        place::find(&table, &front, blocks).map_err(|error| self.problem(&error))
    }

    /// Reads both copies past every cache: what counts is what is there after a power cut.
    fn read(&mut self, place: Place) {
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
        self.location = Location::Card { place, source };
        self.problems.extend(failed.as_ref().map(of_device));
        // Two copies that cannot be read may be whole.
        let readable = !a.is_empty() || !b.is_empty();
        match self.stored.check_writable() {
            _ if !readable => {}
            Err(refusal) => self.problems.push(self.problem(&refusal)),
            Ok(()) => self.problems.extend(source.problem().map(|error| self.problem(&error))),
        }
        let takes_writes = self.device.borrow().is_writable();
        if !takes_writes {
            let name = self.name();
            let error = block::Error {
                kind: block::ErrorKind::ReadOnly,
                device: name,
                block: place.first_blocks[0],
            };
            self.problems.push(of_device(&error));
        }
        self.writable = readable && takes_writes && self.stored.check_writable().is_ok();
    }

    /// Writes and compares.
    fn put(&self, first_block: u64, bytes: &[u8]) -> Result<(), Problem> {
        let failed = |what: String| Problem {
            code: Code::StateWrite,
            text: format!("the state record cannot be written, so no boot is counted: {what}"),
        };
        let mut device = self.device.borrow_mut();
        let mut read = Vec::from([0; RECORD_SIZE]);
        device
            .write(first_block, bytes)
            .and_then(|()| device.read_medium(first_block, &mut read))
            .map_err(|error| failed(error.to_string()))?;
        match read == bytes {
            true => Ok(()),
            false => Err(failed(format!(
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

/// A device's error names the device itself.
fn of_device(error: &block::Error) -> Problem {
    Problem { code: error.code(), text: error.to_string() }
}
