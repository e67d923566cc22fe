//! Everything on a device that can be booted.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::fmt;

use crate::{
    block::{
        SharedDevice,
        partition::{self, Partition},
        volume::Volume as BlockVolume,
    },
    error::{Code, Coded},
    fs::{self, FileSystem},
    nixos::{Generation, Settings, Timeout, extlinux},
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
    /// For each generation the volume that holds its files.
    pub volume_of: Vec<usize>,
    /// What the first source with an entry says about the menu.
    pub settings: Settings,
    /// What went wrong on the way.
    pub problems: Vec<Problem>,
}

impl Catalogue {
    /// Searches all partitions of `device`.
    pub fn survey(device: &SharedDevice) -> Self {
        let mut survey = Survey::default();
        survey.mount_all(device);
        survey.read_sources();
        survey.finish(device)
    }

    /// Index of what boots when nobody chooses. There is one as long as anything can be booted.
    pub fn default_entry(&self) -> Option<usize> {
        self.generations.iter().position(|generation| generation.default)
    }
}

/// A search under way.
#[derive(Default)]
struct Survey {
    volumes: Vec<Volume>,
    generations: Vec<Generation>,
    volume_of: Vec<usize>,
    settings: Option<Settings>,
    problems: Vec<Problem>,
    /// Of interest only when there is nothing to boot: cards hold partitions that are no business
    /// of a boot loader.
    asides: Vec<Problem>,
}

impl Survey {
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

    fn read_sources(&mut self) {
        for index in 0..self.volumes.len() {
            for path in extlinux::PATHS {
                let volume = &mut self.volumes[index];
                match read_configuration(&mut *volume.file_system, path) {
                    Ok(Some(configuration)) => self.add(index, path, configuration),
                    Ok(None) => {}
                    Err(error) => {
                        let text = format!("{}: {}", volume.name, error.text);
                        self.problems.push(Problem { text, ..error });
                    }
                }
            }
        }
    }

    /// Adds what one source names; a generation that is listed already stays where it is.
    fn add(&mut self, volume: usize, path: &str, configuration: extlinux::Configuration) {
        let place = format!("{} {path}", self.volumes[volume].name);
        for warning in &configuration.warnings {
            self.problems.push(Problem::at(&place, warning));
        }
        let first_source = self.settings.is_none();
        for mut generation in configuration.generations {
            if self.generations.iter().any(|listed| listed.id == generation.id) {
                continue;
            }
            generation.default &= first_source;
            self.generations.push(generation);
            self.volume_of.push(volume);
        }
        self.settings.get_or_insert(configuration.settings);
    }

    fn finish(mut self, device: &SharedDevice) -> Catalogue {
        if self.generations.is_empty() {
            self.problems.append(&mut self.asides);
            self.problems.push(Problem {
                code: Code::NothingToBoot,
                text: format!(
                    "{}: no {} on any of its {} file system(s)",
                    device.borrow().name(),
                    extlinux::PATHS.join(" or "),
                    self.volumes.len()
                ),
            });
        }
        if !self.generations.iter().any(|generation| generation.default)
            && let Some(bootable) = self.generations.iter_mut().find(|g| g.broken.is_none())
        {
            bootable.default = true;
        }
        Catalogue {
            volumes: self.volumes,
            generations: self.generations,
            volume_of: self.volume_of,
            settings: self.settings.unwrap_or_else(|| {
                // There is nothing to count down to.
                Settings::new(Timeout::Never)
            }),
            problems: self.problems,
        }
    }
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
