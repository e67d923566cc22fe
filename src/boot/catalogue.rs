//! Everything on a device that can be booted: one list out of all sources on all its partitions.
//!
//! What each source names is kept as it was found ([`sources`]); the list is made of that anew
//! whenever more is known. So what is listed in the end does not depend on what was read first.
//!
//! A profile's generations cost some scattered reads each. [`Catalogue::survey`] reads what the
//! `system` link names and the newest few; of the others it knows the links' names, until somebody
//! asks for them: [`Catalogue::read`], [`Catalogue::find`], [`Catalogue::read_all`].

#![forbid(unsafe_code)]

mod sources;
mod survey;

use alloc::{boxed::Box, format, string::String, vec, vec::Vec};
use core::{fmt, mem};

use self::sources::Sources;
use crate::{
    block::SharedDevice,
    error::{Code, Coded},
    fs::FileSystem,
    nixos::{
        Broken, Generation, Settings, Timeout, list,
        merge::{self, Found, Listed, Wish},
    },
};

/// A file system that was found, and where.
pub struct Volume {
    /// What a user calls it: "SD card (uSDHC2) partition 1".
    pub name: String,
    /// Reads it.
    pub file_system: Box<dyn FileSystem>,
}

/// Something that a user should know although the boot goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The code to look up.
    pub code: Code,
    /// What and where.
    pub text: String,
}

impl Problem {
    /// The problem that `error` is, at `place`.
    pub fn at(place: &str, error: &impl Coded) -> Self {
        Self { code: error.code(), text: format!("{place}: {error}") }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.code, self.text)
    }
}

/// What was found on one device.
pub struct Catalogue {
    /// File systems, in the order of their partitions.
    pub volumes: Vec<Volume>,
    /// What can be booted, in the order of the menu.
    pub generations: Vec<Generation>,
    /// What went wrong on the way.
    pub problems: Vec<Problem>,
    /// For each generation, where it is.
    places: Vec<Place>,
    sources: Sources,
    default: Default,
}

/// Where a generation of the list is.
struct Place {
    /// The volume that holds its files.
    volume: usize,
    /// What of the sources it is.
    position: usize,
    counted_out: bool,
    /// The same elsewhere, in the order in which they are to be tried.
    copies: Vec<Found>,
    /// Which source has it as its own default.
    wish: Option<Wish>,
}

/// Which generation has the mark.
enum Default {
    /// The sources' own, else the newest.
    OfSources,
    /// The one of this identity.
    Set(Option<String>),
}

impl Catalogue {
    /// Searches all partitions of `device`. What is the default then is the sources' own.
    pub fn survey(device: &SharedDevice) -> Self {
        survey::survey(device)
    }

    /// Searches these file systems, in this order.
    pub fn of_volumes(volumes: Vec<Volume>) -> Self {
        survey::search(volumes)
    }

    /// A catalogue of one generation, all of which is known.
    pub(super) fn of_one(
        volume: Volume,
        generation: Generation,
        settings: Settings,
        problems: Vec<Problem>,
    ) -> Self {
        let mut sources = Sources::default();
        sources.add_configured(0, vec![(generation, false)], settings);
        Self::new(vec![volume], sources, problems)
    }

    fn new(volumes: Vec<Volume>, sources: Sources, problems: Vec<Problem>) -> Self {
        let mut catalogue = Self {
            volumes,
            generations: Vec::new(),
            problems,
            places: Vec::new(),
            sources,
            default: Default::OfSources,
        };
        catalogue.list();
        catalogue
    }

    /// The volume that holds the files of the generation at `index`.
    pub fn volume_of(&self, index: usize) -> Option<usize> {
        self.places.get(index).map(|place| place.volume)
    }

    /// Index of what has the mark of the default.
    pub fn default_entry(&self) -> Option<usize> {
        self.generations.iter().position(|generation| generation.default)
    }

    /// Index of what the sources themselves have as the default: what the `system` link names, else
    /// the first source's own. `None` if that cannot be booted, or there is none.
    pub fn link(&self) -> Option<usize> {
        let bootable = self.generations.iter().map(|generation| generation.broken.is_none());
        let wished = self.places.iter().zip(bootable).enumerate();
        wished
            .filter_map(|(index, (place, bootable))| bootable.then_some((place.wish?, index)))
            .min()
            .map(|(_, index)| index)
    }

    /// Index of the generation with identity `id`, which is read then. If none that is known has it,
    /// the links of the others are looked at, the newest first, and if none leads there, what they
    /// lead to: it may be a specialisation. Indices may shift.
    pub fn find(&mut self, id: &str) -> Option<usize> {
        let known = self.position_of(id);
        if known.is_none_or(|index| self.generations[index].unread)
            && self.sources.look_for(id, &mut self.volumes, &mut self.problems)
        {
            self.list();
        }
        let index = self.position_of(id)?;
        Some(self.read(index))
    }

    fn position_of(&self, id: &str) -> Option<usize> {
        self.generations.iter().position(|generation| generation.id == id)
    }

    /// Reads what is to be known of the generation at `index`, if it is [`Generation::unread`]; gives
    /// its index then. Indices may shift: doubles are found out, specialisations appear.
    pub fn read(&mut self, index: usize) -> usize {
        let mut index = index;
        // Other links to the same toplevel may come to light, one of which is the row's then.
        while self.generations.get(index).is_some_and(|generation| generation.unread) {
            match self.read_link(index) {
                Some(now) => index = now,
                None => return index,
            }
        }
        index
    }

    fn read_link(&mut self, index: usize) -> Option<usize> {
        let old = &self.generations[index].id;
        let was_set = matches!(&self.default, Default::Set(Some(id)) if id == old);
        let position = self.places[index].position;
        let id = self.sources.describe(position, &mut self.volumes, &mut self.problems)?;
        if was_set {
            self.default = Default::Set(Some(id.clone()));
        }
        self.list();
        let of_link = || self.places.iter().position(|place| place.position == position);
        self.position_of(&id).or_else(of_link)
    }

    /// Reads all that is not read yet.
    pub fn read_all(&mut self) {
        let marked = self.default_entry().filter(|_| matches!(self.default, Default::Set(_)));
        if let Some(marked) = marked {
            // Its identity is known only then.
            self.read(marked);
        }
        self.sources.describe_all(&mut self.volumes, &mut self.problems);
        self.list();
    }

    /// Notes that the generation at `index` cannot be booted from where it is. True if a copy of it
    /// has taken its place, at the same index. Else it is broken; if it was the default, another one
    /// becomes it, which is read if it must be, so that indices may shift.
    pub fn give_up(&mut self, index: usize, broken: Broken) -> bool {
        let Some(place) = self.places.get_mut(index) else { return false };
        self.sources.give_up(place.position, broken.clone());
        let best = Found {
            generation: self.generations[index].clone(),
            volume: place.volume,
            position: place.position,
            counted_out: place.counted_out,
        };
        let copies = mem::take(&mut place.copies);
        let mut listed = Listed { best, copies, wish: place.wish };
        let another = listed.try_next_copy(broken.clone());
        let Listed { best, copies, wish } = listed;
        let Found { generation, volume, position, counted_out } = best;
        *place = Place { volume, position, counted_out, copies, wish };
        self.generations[index] = generation;
        if !another {
            self.pass_on_default(index, broken);
            self.settle();
        }
        another
    }

    /// What the menu is to be like: what the source of the `default` generation says. Without one
    /// there is nothing to count down to.
    pub fn settings(&self, default: Option<usize>) -> Settings {
        let index = default.or_else(|| (!self.places.is_empty()).then_some(0));
        let mut settings = match index.and_then(|index| self.places.get(index)) {
            Some(place) => {
                self.sources.settings(place.position, place.copies.iter().map(|copy| copy.position))
            }
            None => Settings::new(Timeout::Never),
        };
        if default.is_none() {
            settings.timeout = Timeout::Never;
        }
        settings
    }

    /// Gives the mark of the default to the generation at `index`, and takes it from all others.
    pub fn set_default(&mut self, index: Option<usize>) {
        let id = index.and_then(|index| self.generations.get(index)).map(|g| g.id.clone());
        self.default = Default::Set(id);
        self.mark_default();
    }

    /// Makes the list out of what the sources name.
    fn list(&mut self) {
        let listed = merge::merge(self.sources.found());
        self.generations.clear();
        self.places.clear();
        for Listed { best, copies, wish } in listed {
            let Found { generation, volume, position, counted_out } = best;
            self.generations.push(generation);
            self.places.push(Place { volume, position, counted_out, copies, wish });
        }
        self.mark_default();
    }

    fn mark_default(&mut self) {
        let Default::Set(id) = &self.default else { return };
        for generation in &mut self.generations {
            generation.default = id.as_ref() == Some(&generation.id);
        }
    }

    /// Reads on until it is known that the default can be booted, and what the sources have as theirs.
    fn settle(&mut self) {
        loop {
            let unread = |index: &usize| self.generations[*index].unread;
            let Some(index) =
                self.default_entry().filter(unread).or_else(|| self.link().filter(unread))
            else {
                return;
            };
            let index = self.read(index);
            let Some(broken) = self.generations[index].broken.clone() else { continue };
            if self.generations[index].default {
                self.pass_on_default(index, broken);
            }
        }
    }

    /// Marks the generation at `index` as broken, and if it was the default, another one as that.
    fn pass_on_default(&mut self, index: usize, broken: Broken) {
        let was_default = self.generations[index].default;
        let next = list::give_up(&mut self.generations, index, broken);
        if was_default {
            self.default = Default::Set(next.map(|index| self.generations[index].id.clone()));
        }
    }
}
