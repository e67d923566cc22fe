//! The search of one device: mounts its partitions, reads what their sources name.

#![forbid(unsafe_code)]

use alloc::{format, string::ToString, vec, vec::Vec};

use super::{Catalogue, Problem, Volume, sources::Sources};
use crate::{
    block::{
        SharedDevice,
        partition::{self, Partition},
        volume::Volume as BlockVolume,
    },
    error::{Code, Coded},
    fs::{self, FileSystem},
    nixos::{Access, Settings, extlinux, loader_entries, profiles::Profiles},
};

/// Generations of a profile that are read before the menu stands.
const NEWEST: usize = 4;

/// Searches all partitions of `device`.
pub(super) fn survey(device: &SharedDevice) -> Catalogue {
    let mut survey = Survey::default();
    survey.mount_all(device);
    // A borrow that is over before the device is read.
    let name = device.borrow().name().to_string();
    survey.search(&name)
}

/// Searches `volumes`.
pub(super) fn search(volumes: Vec<Volume>) -> Catalogue {
    let name = match &*volumes {
        [volume] => volume.name.clone(),
        _ => "no device".to_string(),
    };
    Survey { volumes, ..Survey::default() }.search(&name)
}

/// A search under way.
#[derive(Default)]
struct Survey {
    volumes: Vec<Volume>,
    sources: Sources,
    problems: Vec<Problem>,
    /// Of interest only when there is nothing to boot: cards hold partitions that are no business
    /// of a boot loader.
    asides: Vec<Problem>,
}

impl Survey {
    fn search(mut self, name: &str) -> Catalogue {
        for volume in 0..self.volumes.len() {
            self.read_extlinux(volume);
            self.read_loader_entries(volume);
            self.find_profiles(volume);
        }
        let Survey { mut volumes, mut sources, mut problems, asides } = self;
        sources.describe_newest(NEWEST, &mut volumes, &mut problems);
        sources.look_at_doubles(&mut volumes);
        if sources.is_empty() {
            problems.extend(asides);
            problems.push(nothing(name, &volumes));
        }
        let mut catalogue = Catalogue::new(volumes, sources, problems);
        catalogue.settle();
        catalogue.say_what_is_wrong_with_the_link();
        catalogue
    }

    fn mount_all(&mut self, device: &SharedDevice) {
        let device_name = device.borrow().name().to_string();
        let table = match partition::scan(device) {
            Ok(table) => table,
            Err(error) => {
                // The error names the device itself.
                self.problems.push(Problem { code: error.code(), text: error.to_string() });
                return;
            }
        };
        for problem in &table.problems {
            let aside = matches!(problem, partition::Problem::NoTable);
            let list = if aside { &mut self.asides } else { &mut self.problems };
            list.push(Problem::at(&device_name, problem));
        }
        for partition in &table.partitions {
            self.mount(device, &device_name, partition);
        }
    }

    fn mount(&mut self, device: &SharedDevice, device_name: &str, partition: &Partition) {
        let name = match partition.index {
            0 => device_name.to_string(),
            index => format!("{device_name} partition {index}"),
        };
        match fs::mount(BlockVolume::new(device.clone(), partition)) {
            Ok(file_system) => {
                log::debug!("{name}: {}", file_system.kind());
                self.volumes.push(Volume { name, file_system });
            }
            Err(error) => {
                let aside = matches!(error.kind, fs::ErrorKind::Unknown(_));
                let list = if aside { &mut self.asides } else { &mut self.problems };
                list.push(Problem::at(&name, &error));
            }
        }
    }

    fn read_extlinux(&mut self, index: usize) {
        let volume = &mut self.volumes[index];
        for path in extlinux::PATHS {
            match read_configuration(&mut *volume.file_system, path) {
                Ok(Some(configuration)) => {
                    let place = format!("{} {path}", volume.name);
                    let warnings = configuration.warnings.iter();
                    self.problems.extend(warnings.map(|warning| Problem::at(&place, warning)));
                    let generations = configuration.generations.into_iter();
                    let generations = generations.map(|generation| (generation, false)).collect();
                    self.sources.add_configured(index, generations, configuration.settings);
                }
                Ok(None) => {}
                Err(error) => {
                    let text = format!("{}: {}", volume.name, error.text);
                    self.problems.push(Problem { text, ..error });
                }
            }
        }
    }

    fn read_loader_entries(&mut self, index: usize) {
        let volume = &mut self.volumes[index];
        for place in loader_entries::PLACES {
            match loader_entries::read(&mut *volume.file_system, place) {
                Ok(Some(configuration)) => {
                    let warnings = configuration.warnings.iter();
                    self.problems.extend(warnings.map(|w| Problem::at(&volume.name, w)));
                    let settings = menu_settings(configuration.settings.unwrap_or_default());
                    let generations = configuration.entries.into_iter().map(|entry| {
                        let is_counted_out = entry.is_counted_out();
                        (entry.generation, is_counted_out)
                    });
                    self.sources.add_configured(index, generations.collect(), settings);
                }
                Ok(None) => {}
                Err(error) => self.problems.push(Problem::at(&volume.name, &error)),
            }
        }
    }

    fn find_profiles(&mut self, index: usize) {
        let volume = &mut self.volumes[index];
        match Profiles::find(&mut *volume.file_system) {
            Ok(Some(profiles)) => {
                if let Some(error) = &profiles.problem {
                    self.problems.push(Problem::at(&volume.name, error));
                }
                if profiles.dropped > 0 {
                    let text = format!(
                        "{}: {} generations older than the {} listed ones are left out",
                        volume.name,
                        profiles.dropped,
                        profiles.links.len()
                    );
                    self.problems.push(Problem { code: Code::ConfigurationTooLarge, text });
                }
                if !profiles.links.is_empty() {
                    self.sources.add_profiles(index, profiles);
                }
            }
            Ok(None) => {}
            Err(error) => self.problems.push(Problem::at(&volume.name, &error)),
        }
    }
}

impl Catalogue {
    /// The policy goes on to something else, and somebody should know why.
    fn say_what_is_wrong_with_the_link(&mut self) {
        let wished = self.places.iter().position(|place| place.wish.is_some());
        let Some(index) = wished.filter(|_| self.link().is_none()) else { return };
        let Some(broken) = &self.generations[index].broken else { return };
        let text = format!(
            "{}: the default, {}, cannot be booted: {broken}",
            self.volumes[self.places[index].volume].name, self.generations[index].name
        );
        self.problems.push(Problem { code: Code::DefaultUnusable, text });
    }
}

/// The problem of a device without anything to boot.
fn nothing(device: &str, volumes: &[Volume]) -> Problem {
    let text = format!(
        "{device}: no system in /nix/var/nix/profiles, no {} and no loader/entries on any of its \
         {} file system(s)",
        extlinux::PATHS.join(" or "),
        volumes.len()
    );
    Problem { code: Code::NothingToBoot, text }
}

fn menu_settings(settings: loader_entries::LoaderSettings) -> Settings {
    let mut menu = settings.menu;
    if !settings.editor {
        menu.access = Access::Nobody;
    }
    menu
}

/// Reads and parses the file at `path`; `None` if there is none.
fn read_configuration(
    file_system: &mut dyn FileSystem,
    path: &str,
) -> Result<Option<extlinux::Configuration>, Problem> {
    let problem = |error: &dyn Coded| Problem { code: error.code(), text: error.to_string() };
    let mut file = match file_system.open(path) {
        Ok(file) => file,
        Err(error) if error.kind == fs::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(problem(&error)),
    };
    extlinux::Error::if_too_large(path, file.size()).map_err(|error| problem(&error))?;
    let size = usize::try_from(file.size()).unwrap_or(extlinux::MAX_SIZE);
    let mut bytes = vec![0; size];
    file.read_at(0, &mut bytes).map_err(|error| problem(&error))?;
    extlinux::parse(path, &bytes).map(Some).map_err(|error| problem(&error))
}
