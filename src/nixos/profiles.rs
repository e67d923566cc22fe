//! Nix profiles: generations straight from the store, nothing copied to `/boot`.
//!
//! `nix-env` keeps a profile's generations as links `/nix/var/nix/profiles/NAME-N-link` into the
//! store, and the one that is switched to as a link `NAME` (Nix manual, "Profiles"). NixOS's own
//! profile is `system`; `nixos-rebuild --profile-name` makes others in `system-profiles/`.
//!
//! A card may hold hundreds of generations, and each costs some scattered reads. So [`Profiles::find`]
//! reads two directories and one link, no more; [`Profiles::toplevel`] reads the link of one
//! generation, [`Profiles::describe`] all that is known of it. Nothing is remembered here.
//!
//! The links are absolute and mean the running system's `/nix`, which is a directory of the
//! partition or the partition itself ([`Layout`]). So links are followed here: the file system would
//! look for `/nix` in its own root.

#![forbid(unsafe_code)]

use alloc::{
    borrow::ToOwned,
    collections::VecDeque,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::{cmp::Reverse, fmt, num::NonZeroU8};

use super::{
    BootFiles, Broken, DeviceTreeFile, Generation, Source, Warning,
    bootspec::{self, Bootspec, MenuSettings, shown},
    list, naming,
};
use crate::{
    error::{Code, Coded},
    fs::{self, FileSystem, FileType, Metadata},
    sorting::sort_by,
};

/// Generations that are kept, newest first; those beyond are not listed.
pub const MAX_LINKS: usize = 1024;

/// Where profiles are, for the running system.
const PROFILES: &str = "/nix/var/nix/profiles";
/// Where those besides `system` are.
const NAMED_PROFILES: &str = "/nix/var/nix/profiles/system-profiles";
/// NixOS's own profile.
const SYSTEM: &str = "system";
const STORE: &str = "/nix/store/";
/// Where secrets for initrds are, one file for each toplevel, named like it: an archive that NixOS's
/// `append-initrd-secrets` has made. Not in the store, which everybody may read, and beside it, as
/// `/var` may be on another partition.
const INITRD_SECRETS: &str = "/nix/var/firn/initrd-secrets/";

/// As many links on one path as Linux follows.
const MAX_HOPS: usize = 40;
/// Linux's PATH_MAX.
const MAX_PATH: usize = 4096;
/// Small files of a toplevel: `kernel-params` and the like, in bytes.
const MAX_TEXT: u64 = 16 * 1024;
/// Specialisations of a toplevel without `boot.json`.
const MAX_SPECIALISATIONS: usize = 32;

/// What of the running system's tree a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A tree with `/nix` in it.
    Directory,
    /// `/nix` itself.
    Partition,
}

/// The profiles on a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profiles {
    /// Where `/nix` is.
    pub layout: Layout,
    /// Generations: those of `system`, newest first, then those of other profiles, by name.
    pub links: Vec<Link>,
    /// Index of the generation that the `system` link names.
    pub current: Option<usize>,
    /// How many links were left out for [`MAX_LINKS`].
    pub dropped: usize,
    /// Why profiles other than `system` could not be listed.
    pub problem: Option<fs::Error>,
}

/// One generation of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The profile, if it is not `system`.
    pub profile: Option<String>,
    /// Its number; none if it is the profile's own link, which names no numbered one.
    pub number: Option<u32>,
    /// Its path for the running system.
    pub path: String,
}

impl Link {
    /// The file's name, without control characters.
    pub fn name(&self) -> String {
        shown(self.path.rsplit('/').next().unwrap_or_default())
    }
}

/// All that is known of one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The generation, then its specialisations; none of them is the default.
    pub generations: Vec<Generation>,
    /// What each of them says about the menu.
    pub settings: Vec<MenuSettings>,
    /// By what it wants to be sorted.
    pub sort_key: Option<String>,
    /// What was left out; it boots all the same.
    pub warnings: Vec<Warning>,
}

impl Profiles {
    /// Lists the generations on a file system by their names; `None` if it holds no profile.
    ///
    /// # Errors
    /// There is a directory of profiles, and it cannot be read.
    pub fn find(file_system: &mut dyn FileSystem) -> Result<Option<Self>, fs::Error> {
        for layout in [Layout::Directory, Layout::Partition] {
            let mut tree = Tree { file_system, layout };
            if let Some(names) = tree.list(PROFILES)? {
                return Ok(Some(tree.profiles(&names)));
            }
        }
        Ok(None)
    }

    /// The store path that the generation at `index` links to, its identity. Reads one link.
    ///
    /// # Errors
    /// There is no such generation, or its link does not lead into the store.
    pub fn toplevel(
        &self,
        file_system: &mut dyn FileSystem,
        index: usize,
    ) -> Result<String, Broken> {
        let mut tree = Tree { file_system, layout: self.layout };
        match self.links.get(index) {
            Some(link) => tree.toplevel(&link.path),
            None => Err(damaged("no such generation".into())),
        }
    }

    /// Whether `toplevel` is in the store, whichever link leads there.
    pub fn holds(&self, file_system: &mut dyn FileSystem, toplevel: &str) -> bool {
        let mut tree = Tree { file_system, layout: self.layout };
        is_in_store(toplevel) && tree.look_for(toplevel).is_ok()
    }

    /// The generation at `index` before anything but its link's name is read, or with its toplevel,
    /// if that is known: as [`Generation::unread`]. `None` if there is none.
    pub fn unread(&self, index: usize, toplevel: Option<&str>) -> Option<Generation> {
        let link = self.links.get(index)?;
        let mut generation = link.generation(None);
        generation.id = toplevel.unwrap_or(&link.path).to_owned();
        generation.version = toplevel.and_then(naming::toplevel_version).map(ToOwned::to_owned);
        generation.unread = true;
        Some(generation)
    }

    /// Reads all that is known of the generation at `index`, at most one `boot.json`; `None` if
    /// there is no such generation. Its date is that of its link, as in NixOS's own menus.
    ///
    /// Whatever is wrong with it is told as [`Generation::broken`]. That its pieces are there and
    /// not empty is looked at, what they hold is not.
    pub fn describe(&self, file_system: &mut dyn FileSystem, index: usize) -> Option<Description> {
        let link = self.links.get(index)?;
        let mut tree = Tree { file_system, layout: self.layout };
        let mut description = tree.describe(link);
        let date = tree.modified(&link.path).and_then(date);
        for generation in &mut description.generations {
            generation.date.clone_from(&date);
        }
        Some(description)
    }
}

/// Number and profile of a link's name `PROFILE-N-link`.
fn numbered(name: &str) -> Option<(&str, u32)> {
    let (profile, digits) = name.strip_suffix("-link")?.rsplit_once('-')?;
    // One name for each number: neither "+7" nor "007".
    let number: u32 = digits.parse().ok()?;
    (!profile.is_empty() && number.to_string() == digits).then_some((profile, number))
}

/// A file system that holds `/nix`. Paths are the running system's unless said otherwise.
struct Tree<'a> {
    file_system: &'a mut dyn FileSystem,
    layout: Layout,
}

impl Tree<'_> {
    fn profiles(&mut self, names: &[String]) -> Profiles {
        let own = |name: &&String| numbered(name).is_some_and(|(profile, _)| profile == SYSTEM);
        let mut links: Vec<Link> = names
            .iter()
            .filter(own)
            .filter_map(|name| Link::numbered(PROFILES, name, None))
            .collect();
        let mut problem = None;
        match self.list(NAMED_PROFILES) {
            Ok(names) => links.extend(names.unwrap_or_default().iter().filter_map(|name| {
                // What the file system had to replace is not the name of any file.
                let (profile, _) = numbered(name).filter(|_| !name.contains('\u{fffd}'))?;
                Link::numbered(NAMED_PROFILES, name, Some(profile.to_owned()))
            })),
            Err(error) => problem = Some(error),
        }
        sort_by(&mut links, |a, b| {
            (&a.profile, Reverse(a.number)).cmp(&(&b.profile, Reverse(b.number)))
        });
        let dropped = links.len().saturating_sub(MAX_LINKS);
        links.truncate(MAX_LINKS);
        let current = self.current(names, &mut links);
        Profiles { layout: self.layout, links, current, dropped, problem }
    }

    /// Finds what `system` names. What is none of the numbered links is put in front of them.
    fn current(&mut self, names: &[String], links: &mut Vec<Link>) -> Option<usize> {
        if !names.iter().any(|name| name == SYSTEM) {
            return None;
        }
        let path = format!("{PROFILES}/{SYSTEM}");
        let target =
            self.on_volume(&path).and_then(|path| Ok(self.file_system.read_link(&path)?));
        let target = target.unwrap_or_default();
        let named = links.iter().position(|link| {
            link.path == target || link.path.rsplit_once('/') == Some((PROFILES, &target))
        });
        if named.is_none() {
            links.insert(0, Link { profile: None, number: None, path });
        }
        Some(named.unwrap_or(0))
    }

    fn toplevel(&mut self, link: &str) -> Result<String, Broken> {
        let name = link.rsplit('/').next().unwrap_or_default();
        let broken = |trouble: Trouble| Broken {
            code: trouble.code(),
            reason: format!("{}: {trouble}", shown(name)),
        };
        let path = self.on_volume(link).map_err(broken)?;
        let target = self.file_system.read_link(&path).map_err(|error| broken(error.into()))?;
        if is_in_store(&target) {
            return Ok(target);
        }
        let end = self.follow(link).map_err(broken)?;
        if is_in_store(&end) {
            return Ok(end);
        }
        Err(damaged(format!("{} leads to {}, not into the store", shown(name), shown(&target))))
    }

    fn describe(&mut self, link: &Link) -> Description {
        let toplevel = match self.toplevel(&link.path) {
            Ok(toplevel) => toplevel,
            Err(broken) => return Description::broken(link, None, broken),
        };
        match self.contents(&toplevel) {
            Ok(contents) => self.description(link, &toplevel, contents),
            Err(broken) => Description::broken(link, Some(toplevel), broken),
        }
    }

    /// What a toplevel says of itself.
    fn contents(&mut self, toplevel: &str) -> Result<Contents, Broken> {
        match self.read(&format!("{toplevel}/boot.json"), bootspec::MAX_SIZE as u64) {
            Ok(bytes) => Contents::of(&bytes, toplevel),
            Err(trouble) if trouble.is_absence() => {
                self.look_for(toplevel)?;
                let specialisations = self.specialisations(toplevel);
                self.old(toplevel).map(|bootspec| Contents { bootspec, specialisations })
            }
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// Whether a toplevel is there at all.
    fn look_for(&mut self, toplevel: &str) -> Result<(), Broken> {
        match self.metadata(toplevel) {
            Ok(Metadata { file_type: FileType::Directory, .. }) => Ok(()),
            Ok(_) => Err(damaged(format!("{toplevel} is not a directory"))),
            Err(trouble) if trouble.is_absence() => {
                let reason = format!("{toplevel} is gone: it was garbage-collected");
                Err(Broken { code: Code::NotFound, reason })
            }
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// A toplevel from before there was `boot.json`, as NixOS's stage 2 and its boot loaders of that
    /// time took it.
    fn old(&mut self, toplevel: &str) -> Result<Bootspec, Broken> {
        let file = |name: &str| format!("{toplevel}/{name}");
        let init = file("init");
        self.follow(&init)?;
        let kernel = match self.follow(&file("kernel")) {
            Err(trouble) if trouble.is_absence() => {
                let reason = format!("{toplevel} has no kernel");
                return Err(Broken { code: Code::EntryIncomplete, reason });
            }
            kernel => kernel?,
        };
        let initrd = file("initrd");
        let initrds = if self.exists(&initrd)? { vec![self.follow(&initrd)?] } else { Vec::new() };
        let mut text = |name: &str| -> Result<String, Broken> {
            let bytes = self.read(&file(name), MAX_TEXT)?;
            match String::from_utf8(bytes) {
                Ok(text) if !text.trim_end().contains(char::is_control) => {
                    Ok(text.trim_end().to_owned())
                }
                _ => Err(damaged(format!("{name} is not a line of text"))),
            }
        };
        let params = text("kernel-params")?;
        let version = text("nixos-version").unwrap_or_default();
        // Older still ones have no such file; the kernel is looked at before it is started.
        let system = text("system").unwrap_or_else(|_| PLATFORM.to_owned());
        Ok(Bootspec {
            toplevel: toplevel.to_owned(),
            init,
            kernel,
            initrds,
            initrd_secrets: None,
            kernel_params: vec![params],
            label: format!("NixOS {version}"),
            system,
            device_tree: None,
            overlays: Vec::new(),
            ethernet_addresses: Vec::new(),
            sort_key: None,
            settings: MenuSettings::default(),
            specialisations: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// Those of a toplevel without `boot.json`, which have none either.
    fn specialisations(&mut self, toplevel: &str) -> Vec<(String, Result<Bootspec, Broken>)> {
        let directory = format!("{toplevel}/specialisation");
        let mut names = self.list(&directory).ok().flatten().unwrap_or_default();
        sort_by(&mut names, Ord::cmp);
        names.truncate(MAX_SPECIALISATIONS);
        let one = |name: &String| {
            let toplevel = self.toplevel(&format!("{directory}/{name}"))?;
            self.old(&toplevel)
        };
        let found: Vec<_> = names.iter().map(one).collect();
        names.iter().map(|name| shown(name)).zip(found).collect()
    }

    fn description(&mut self, link: &Link, toplevel: &str, contents: Contents) -> Description {
        let Contents { bootspec, specialisations } = contents;
        let mut warnings = Vec::new();
        let mut generations = vec![self.generation(link, None, &bootspec, &mut warnings)];
        let mut settings = vec![bootspec.settings];
        for (name, found) in specialisations {
            generations.push(match found {
                Ok(bootspec) => {
                    let generation = self.generation(link, Some(&name), &bootspec, &mut warnings);
                    settings.push(bootspec.settings);
                    generation
                }
                Err(broken) => {
                    settings.push(MenuSettings::default());
                    let mut generation = link.generation(Some(&name));
                    // Its own is not known, and its parent's is its parent's.
                    generation.id = format!("{toplevel}/specialisation/{name}");
                    generation.broken = Some(broken);
                    generation
                }
            });
        }
        Description { generations, settings, sort_key: bootspec.sort_key, warnings }
    }

    fn generation(
        &mut self,
        link: &Link,
        specialisation: Option<&str>,
        bootspec: &Bootspec,
        warnings: &mut Vec<Warning>,
    ) -> Generation {
        let mut generation = link.generation(specialisation);
        generation.id.clone_from(&bootspec.toplevel);
        if !bootspec.label.trim().is_empty() {
            let label = &bootspec.label;
            generation.title = link.title(label, specialisation);
        }
        generation.version = naming::toplevel_version(&bootspec.toplevel)
            .or_else(|| bootspec.label.strip_prefix("NixOS ")?.split(' ').next())
            .filter(|version| !version.is_empty())
            .map(ToOwned::to_owned);
        match self.files(bootspec) {
            Ok(mut files) => {
                if bootspec.initrd_secrets.is_some() {
                    match self.secrets(&bootspec.toplevel) {
                        // Last, so that what it holds takes the place of what is there.
                        Ok(secrets) => files.initrds.push(secrets),
                        Err(trouble) => {
                            let text = format!(
                                "{}: boots without its secrets: {trouble}",
                                generation.name
                            );
                            warnings.push(Warning { code: trouble.code(), text });
                        }
                    }
                }
                generation.tries = match bootspec.settings.boot_tries {
                    Some(tries) => NonZeroU8::new(u8::try_from(tries).unwrap_or(u8::MAX)),
                    None => naming::tries(&files.command_line),
                };
                generation.kernel_version =
                    naming::kernel_version(&files.kernel).map(ToOwned::to_owned);
                generation.files = files;
            }
            Err(broken) => generation.broken = Some(broken),
        }
        for text in &bootspec.warnings {
            let text = format!("{}: {text}", generation.name);
            warnings.push(Warning { code: Code::ConfigurationLineIgnored, text });
        }
        generation
    }

    /// The pieces, as paths on the volume, all of them looked at.
    fn files(&mut self, bootspec: &Bootspec) -> Result<BootFiles, Broken> {
        if bootspec.system != PLATFORM {
            let reason = format!("it is made for {}", shown(&bootspec.system));
            return Err(Broken { code: Code::KernelNotArm64, reason });
        }
        let kernel = self.piece(&bootspec.kernel)?;
        let initrds: Result<Vec<_>, Trouble> =
            bootspec.initrds.iter().map(|initrd| self.piece(initrd)).collect();
        let device_tree = match &bootspec.device_tree {
            Some(file) => DeviceTreeFile::File(self.piece(file)?),
            None => {
                let dtbs = format!("{}/dtbs", bootspec.toplevel);
                if self.exists(&dtbs)? {
                    let directory = self.follow(&dtbs)?;
                    DeviceTreeFile::Directory(self.on_volume(&directory)?)
                } else {
                    DeviceTreeFile::FromFirmware
                }
            }
        };
        let overlays: Result<Vec<_>, Trouble> =
            bootspec.overlays.iter().map(|overlay| self.piece(overlay)).collect();
        let mut command_line = format!("init={}", bootspec.init);
        for parameter in bootspec.kernel_params.iter().filter(|text| !text.is_empty()) {
            command_line.push(' ');
            command_line.push_str(parameter);
        }
        Ok(BootFiles {
            kernel,
            initrds: initrds?,
            device_tree,
            overlays: overlays?,
            command_line,
            ethernet_addresses: bootspec.ethernet_addresses.clone(),
            ..BootFiles::default()
        })
    }

    /// Where on the volume the secrets are that a toplevel's initrd is to be loaded with.
    fn secrets(&mut self, toplevel: &str) -> Result<String, Trouble> {
        match toplevel.strip_prefix(STORE).filter(|_| is_in_store(toplevel)) {
            Some(name) => self.piece(&format!("{INITRD_SECRETS}{name}")),
            None => Err(Trouble::Elsewhere(toplevel.to_owned())),
        }
    }

    /// Where on the volume a file lies that must be there, links followed.
    fn piece(&mut self, path: &str) -> Result<String, Trouble> {
        let end = self.follow(path)?;
        let on_volume = self.on_volume(&end)?;
        let Metadata { file_type, size } = self.file_system.metadata(&on_volume)?;
        match (file_type, size) {
            (FileType::File, 0) => Err(Trouble::Empty(path.to_owned())),
            (FileType::File, _) => Ok(on_volume),
            _ => Err(fs::Error { kind: fs::ErrorKind::WrongType, path: path.to_owned() }.into()),
        }
    }

    /// The names in a directory, if there is one. A damaged one is an error.
    fn list(&mut self, path: &str) -> Result<Option<Vec<String>>, fs::Error> {
        let directory = match self.follow(path).and_then(|end| self.on_volume(&end)) {
            Ok(directory) => directory,
            Err(Trouble::File(error)) if !is_absence(&error) => return Err(error),
            // Not there, or off the partition.
            Err(_) => return Ok(None),
        };
        match self.file_system.read_dir(&directory) {
            Ok(entries) => Ok(Some(entries.into_iter().map(|entry| entry.name).collect())),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is something of that name, be it a link to nowhere.
    fn exists(&mut self, path: &str) -> Result<bool, Trouble> {
        match self.target(path) {
            Ok(_) => Ok(true),
            Err(trouble) if trouble.is_absence() => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// When the link at `path` was made, in seconds since 1970.
    fn modified(&mut self, path: &str) -> Option<u64> {
        let path = self.on_volume(path).ok()?;
        self.file_system.link_modified(&path)
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, Trouble> {
        let path = self.on_volume(path)?;
        Ok(self.file_system.metadata(&path)?)
    }

    /// A small file's contents.
    fn read(&mut self, path: &str, limit: u64) -> Result<Vec<u8>, Trouble> {
        let end = self.follow(path)?;
        let on_volume = self.on_volume(&end)?;
        let mut file = self.file_system.open(&on_volume)?;
        if file.size() > limit {
            return Err(Trouble::TooLarge(path.to_owned(), file.size()));
        }
        let mut bytes = vec![0; usize::try_from(file.size()).unwrap_or(0)];
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Follows all links on `path`; gives a path without any.
    fn follow(&mut self, path: &str) -> Result<String, Trouble> {
        let mut ahead: VecDeque<String> = components(path).map(ToOwned::to_owned).collect();
        let mut behind = String::new();
        let mut hops = 0;
        while let Some(component) = ahead.pop_front() {
            if component == ".." {
                behind.truncate(behind.rfind('/').unwrap_or(0));
                continue;
            }
            let candidate = format!("{behind}/{component}");
            if candidate.len() > MAX_PATH {
                let path = path.to_owned();
                return Err(fs::Error { kind: fs::ErrorKind::NotFound, path }.into());
            }
            let Some(target) = self.target(&candidate)? else {
                behind = candidate;
                continue;
            };
            hops += 1;
            if hops > MAX_HOPS {
                let path = path.to_owned();
                return Err(fs::Error { kind: fs::ErrorKind::TooManyLinks, path }.into());
            }
            if target.starts_with('/') {
                behind.clear();
            }
            for component in components(&target).rev() {
                ahead.push_front(component.to_owned());
            }
        }
        Ok(behind)
    }

    /// Where `path` points to, if it is a link.
    fn target(&mut self, path: &str) -> Result<Option<String>, Trouble> {
        // The partition's root.
        if path == "/nix" && self.layout == Layout::Partition {
            return Ok(None);
        }
        let on_volume = self.on_volume(path)?;
        match self.file_system.read_link(&on_volume) {
            Ok(target) => Ok(Some(target)),
            Err(error) if error.kind == fs::ErrorKind::WrongType => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Where on the volume the running system's `path` lies.
    fn on_volume(&self, path: &str) -> Result<String, Trouble> {
        match self.layout {
            Layout::Directory => Ok(path.to_owned()),
            Layout::Partition => match path.strip_prefix("/nix") {
                Some("") => Ok("/".to_owned()),
                Some(rest) if rest.starts_with('/') => Ok(rest.to_owned()),
                _ => Err(Trouble::Elsewhere(path.to_owned())),
            },
        }
    }
}

/// Nix's name of what these boards run.
const PLATFORM: &str = "aarch64-linux";

/// What a toplevel says, its specialisations beside it, each as `NAME` or `PARENT/NAME`.
struct Contents {
    bootspec: Bootspec,
    specialisations: Vec<(String, Result<Bootspec, Broken>)>,
}

impl Contents {
    /// Of a toplevel's `boot.json`.
    fn of(bytes: &[u8], toplevel: &str) -> Result<Self, Broken> {
        let mut bootspec = bootspec::parse(bytes).map_err(in_boot_json)?;
        if bootspec.toplevel != toplevel {
            return Err(damaged(format!("boot.json is of {}", bootspec.toplevel)));
        }
        let specialisations = Self::flatten(&mut bootspec, "");
        Ok(Self { bootspec, specialisations })
    }

    /// A specialisation's toplevel is its identity, and no link says what it must be.
    fn of_the_store(bootspec: Bootspec) -> Result<Bootspec, Broken> {
        match is_in_store(&bootspec.toplevel) {
            true => Ok(bootspec),
            false => Err(damaged(format!("boot.json: {} is not in the store", bootspec.toplevel))),
        }
    }

    /// Takes the specialisations out of `bootspec`, those of specialisations, too. The parser bounds
    /// how deep they lie.
    fn flatten(bootspec: &mut Bootspec, parent: &str) -> Vec<(String, Result<Bootspec, Broken>)> {
        let mut all = Vec::new();
        for child in core::mem::take(&mut bootspec.specialisations) {
            let name = format!("{parent}{}", child.name);
            let mut found = child.bootspec.map_err(in_boot_json).and_then(Self::of_the_store);
            let grandchildren = match &mut found {
                Ok(bootspec) => Self::flatten(bootspec, &format!("{name}/")),
                Err(_) => Vec::new(),
            };
            all.push((name, found));
            all.extend(grandchildren);
        }
        all
    }
}

impl Link {
    fn numbered(directory: &str, name: &str, profile: Option<String>) -> Option<Self> {
        let (_, number) = numbered(name)?;
        Some(Self { profile, number: Some(number), path: format!("{directory}/{name}") })
    }

    /// A generation of which nothing is known but its link.
    fn generation(&self, specialisation: Option<&str>) -> Generation {
        let mut name = self.name();
        if let Some(specialisation) = specialisation {
            name = format!("{name}/{specialisation}");
        }
        Generation {
            id: list::foreign_id(Source::Profile, &name),
            source: Source::Profile,
            title: self.title("NixOS", specialisation),
            name,
            number: self.number,
            profile: self.profile.as_deref().map(shown),
            specialisation: specialisation.map(ToOwned::to_owned),
            date: None,
            version: None,
            kernel_version: None,
            default: false,
            files: BootFiles::default(),
            tries: None,
            unread: false,
            broken: None,
        }
    }

    fn title(&self, label: &str, specialisation: Option<&str>) -> String {
        let mut title = match &self.profile {
            Some(profile) => format!("{}: {label}", shown(profile)),
            None => label.to_owned(),
        };
        if let Some(specialisation) = specialisation {
            title = format!("{title} ({specialisation})");
        }
        title
    }
}

impl Description {
    fn broken(link: &Link, toplevel: Option<String>, broken: Broken) -> Self {
        let mut generation = link.generation(None);
        if let Some(toplevel) = toplevel {
            generation.version = naming::toplevel_version(&toplevel).map(ToOwned::to_owned);
            generation.id = toplevel;
        }
        generation.broken = Some(broken);
        Self {
            generations: vec![generation],
            settings: vec![MenuSettings::default()],
            sort_key: None,
            warnings: Vec::new(),
        }
    }
}

/// Why a path leads to nothing that can be used.
enum Trouble {
    /// It cannot be found or read.
    File(fs::Error),
    /// It is outside of the partition that holds `/nix`.
    Elsewhere(String),
    /// A file without contents, as a power cut leaves it.
    Empty(String),
    /// A file that should be small has so many bytes.
    TooLarge(String, u64),
}

impl Trouble {
    /// Whether there is nothing of that name, or something that is no directory on the way to it.
    fn is_absence(&self) -> bool {
        matches!(self, Self::File(error) if is_absence(error))
    }
}

impl From<fs::Error> for Trouble {
    fn from(error: fs::Error) -> Self {
        Self::File(error)
    }
}

impl Coded for Trouble {
    fn code(&self) -> Code {
        match self {
            Self::File(error) => error.code(),
            Self::Elsewhere(_) => Code::EntryDamaged,
            Self::Empty(_) => Code::FileRead,
            Self::TooLarge(..) => Code::ConfigurationTooLarge,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Elsewhere(path) => {
                write!(f, "{} is not on the partition that holds /nix", shown(path))
            }
            Self::Empty(path) => write!(f, "{} is empty", shown(path)),
            Self::TooLarge(path, size) => write!(f, "{} has {size} bytes", shown(path)),
        }
    }
}

impl From<Trouble> for Broken {
    fn from(trouble: Trouble) -> Self {
        Self { code: trouble.code(), reason: trouble.to_string() }
    }
}

fn damaged(reason: String) -> Broken {
    Broken { code: Code::EntryDamaged, reason }
}

fn in_boot_json(error: bootspec::Error) -> Broken {
    Broken { code: error.code(), reason: format!("boot.json: {error}") }
}

/// As [`Trouble::is_absence`].
fn is_absence(error: &fs::Error) -> bool {
    matches!(error.kind, fs::ErrorKind::NotFound | fs::ErrorKind::WrongType)
}

/// Whether `path` is that of a store object, as its own name says.
fn is_in_store(path: &str) -> bool {
    path.strip_prefix(STORE).is_some_and(|name| {
        !matches!(name, "" | "." | "..") && !name.contains('/') && !name.contains(char::is_control)
    })
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|name| !matches!(*name, "" | "."))
}

/// Seconds since 1970 as date and time (UTC), like NixOS's menus have it; none beyond the year 9999.
fn date(seconds: u64) -> Option<String> {
    /// From the first of March of the year 0, when a cycle of leap years begins, to 1970.
    const DAYS_TO_1970: u64 = 719_468;
    const DAYS_OF_400_YEARS: u64 = 146_097;
    const DAYS_BEFORE_MONTH: [u64; 12] = [0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337];

    let days = (seconds / 86_400).checked_add(DAYS_TO_1970)?;
    let (cycle, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    // Leap days are the last ones of their years, so years can be counted without them.
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = DAYS_BEFORE_MONTH.iter().rposition(|&before| before <= day)?;
    let day = day - DAYS_BEFORE_MONTH[month] + 1;
    // March is the first month here.
    let (next_year, month) = if month < 10 { (0, month + 3) } else { (1, month - 9) };
    let year = cycle * 400 + year + next_year;
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    (year <= 9999).then(|| format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nix_writes_are_generations() {
        assert_eq!(numbered("system-42-link"), Some(("system", 42)));
        assert_eq!(numbered("known-good-3-link"), Some(("known-good", 3)));
        for name in [
            "system",
            "system-link",
            "system-042-link",
            "system-+42-link",
            "system--1-link",
            "system-42-link~",
            "-42-link",
            "system-99999999999-link",
            "system-42-LINK",
            "-link",
        ] {
            assert!(numbered(name).is_none_or(|(profile, _)| profile != "system"), "{name}");
        }
    }

    #[test]
    fn times_are_shown_as_the_calendar_has_them() {
        assert_eq!(date(0).as_deref(), Some("1970-01-01 00:00"));
        assert_eq!(date(951_782_399).as_deref(), Some("2000-02-28 23:59"));
        assert_eq!(date(951_782_400).as_deref(), Some("2000-02-29 00:00"));
        assert_eq!(date(951_868_800).as_deref(), Some("2000-03-01 00:00"));
        assert_eq!(date(1_700_000_000).as_deref(), Some("2023-11-14 22:13"));
        assert_eq!(date(4_107_542_400).as_deref(), Some("2100-03-01 00:00"));
        assert_eq!(date(u64::MAX), None);
    }
}
