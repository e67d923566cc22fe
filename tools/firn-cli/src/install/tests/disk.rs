//! A disk that loses what was not synced.
//!
//! What is in memory and what is on the medium are two trees. Names that were made, changed or removed wait
//! in a list until they are synced; when the power fails, a journaling file system (ext4) has kept the
//! first so many of them, one without a journal (FAT) any of them. Of a file's contents that were not
//! synced, the medium has all, some or none.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    io,
    rc::Rc,
};

use firn::fs::{DirEntry, Error, ErrorKind, File, FileSystem, FileType, Metadata};

use super::dice::Dice;
use crate::install::disk::{Disk, NewFile, Room};

const MAX_LINKS: usize = 40;

/// A file system of the disk.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    /// Where the running system has it.
    pub(super) point: &'static str,
    pub(super) has_journal: bool,
    /// Bytes that files are rounded up to.
    pub(super) unit: u64,
    /// Bytes that all files may take.
    pub(super) capacity: u64,
    /// Bytes that it believes to have besides.
    pub(super) overstates: u64,
    root: usize,
}

/// Several file systems of one machine.
#[derive(Clone)]
pub(super) struct Model(Rc<RefCell<State>>);

struct State {
    mounts: Vec<Mount>,
    nodes: Vec<Node>,
    /// Names that are not on the medium yet, the oldest first.
    pending: Vec<Change>,
    transaction: u64,
    seconds: u64,
    /// Operations since the last [`Model::plan`].
    operations: u64,
    plan: Plan,
    is_off: bool,
    dice: Dice,
}

/// What is to go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Plan {
    #[default]
    Nothing,
    /// The power fails at this operation.
    Cut(u64),
    /// This operation fails.
    Fail(u64),
}

struct Node {
    kind: Kind,
    modified: u64,
}

enum Kind {
    File { now: Rc<Vec<u8>>, on_medium: Rc<Vec<u8>> },
    Link(String),
    Directory { now: BTreeMap<String, usize>, on_medium: BTreeMap<String, usize> },
}

/// A name in a directory leads somewhere else, or nowhere.
struct Change {
    mount: usize,
    transaction: u64,
    directory: usize,
    name: String,
    to: Option<usize>,
}

impl Model {
    /// Empty file systems: the first is the root, the others are mounted in it.
    pub(super) fn new(mounts: &[(&'static str, bool, u64)], dice: Dice) -> Self {
        let mut state = State {
            mounts: Vec::new(),
            nodes: Vec::new(),
            pending: Vec::new(),
            transaction: 0,
            seconds: 1_790_000_000,
            operations: 0,
            plan: Plan::Nothing,
            is_off: false,
            dice,
        };
        for &(point, has_journal, unit) in mounts {
            let root = state.add(Kind::directory());
            let (capacity, overstates) = (u64::MAX / 4, 0);
            state.mounts.push(Mount { point, has_journal, unit, capacity, overstates, root });
        }
        Self(Rc::new(RefCell::new(state)))
    }

    /// The next link is made an hour after this, in seconds since 1970.
    pub(super) fn set_clock(&self, seconds: u64) {
        self.0.borrow_mut().seconds = seconds - 3600;
    }

    /// What goes wrong from now on; operations are counted from here.
    pub(super) fn plan(&self, plan: Plan) {
        let mut state = self.0.borrow_mut();
        (state.plan, state.operations) = (plan, 0);
    }

    /// Operations since then.
    pub(super) fn operations(&self) -> u64 {
        self.0.borrow().operations
    }

    /// Whether the power has failed.
    pub(super) fn is_off(&self) -> bool {
        self.0.borrow().is_off
    }

    /// One more operation, of something else than files.
    pub(super) fn operation(&self) -> io::Result<()> {
        self.0.borrow_mut().operation()
    }

    /// The power fails, and comes back.
    pub(super) fn cut(&self) {
        let mut state = self.0.borrow_mut();
        if !state.is_off {
            state.cut();
        }
        state.is_off = false;
        (state.plan, state.operations) = (Plan::Nothing, 0);
    }

    /// Changes what is known of the file system at `point`.
    pub(super) fn set(&self, point: &str, change: impl FnOnce(&mut Mount)) {
        let mut state = self.0.borrow_mut();
        change(state.mounts.iter_mut().find(|mount| mount.point == point).unwrap());
    }

    /// Bytes that the files at `point` take.
    pub(super) fn used(&self, point: &str) -> u64 {
        let state = self.0.borrow();
        let mount = state.mounts.iter().find(|mount| mount.point == point).unwrap();
        state.used(mount)
    }

    /// The file system at `point`, as the loader sees it.
    pub(super) fn volume(&self, point: &str) -> Box<dyn FileSystem> {
        let root = self.0.borrow().mounts.iter().find(|mount| mount.point == point).unwrap().root;
        Box::new(Look { model: self.clone(), volume: Some(root) })
    }

    /// Makes a file as somebody else than the installer does, with all directories; nothing is synced.
    pub(super) fn file(&self, path: &str, bytes: &[u8]) {
        let mut state = self.0.borrow_mut();
        let empty = Rc::default();
        let node = state.add(Kind::File { now: Rc::new(bytes.to_vec()), on_medium: empty });
        state.put_all(path, Some(node));
    }

    /// Makes a link likewise, in the place of what was there.
    pub(super) fn link(&self, path: &str, target: &str) {
        let mut state = self.0.borrow_mut();
        state.seconds += 3600;
        let node = state.add(Kind::Link(target.to_owned()));
        state.put_all(path, Some(node));
    }

    /// Removes what is at `path` likewise.
    pub(super) fn forget(&self, path: &str) {
        self.0.borrow_mut().put_all(path, None);
    }

    /// All is on the medium.
    pub(super) fn sync_all(&self) {
        let mut state = self.0.borrow_mut();
        (0..state.mounts.len()).for_each(|mount| state.sync_mount(mount));
    }

    /// Files and links below `path`, by their paths.
    pub(super) fn all_below(&self, path: &str) -> Vec<(String, Result<Vec<u8>, String>)> {
        let state = self.0.borrow();
        let mut all = Vec::new();
        let mut ahead = vec![path.to_owned()];
        while let Some(path) = ahead.pop() {
            let Ok((_, node)) = state.find(&path, None, false) else { continue };
            match &state.nodes[node].kind {
                Kind::File { now, .. } => all.push((path, Ok(now.to_vec()))),
                Kind::Link(target) => all.push((path, Err(target.clone()))),
                Kind::Directory { now, .. } => {
                    ahead.extend(now.keys().map(|name| format!("{path}/{name}")));
                }
            }
        }
        all
    }
}

impl Kind {
    fn directory() -> Self {
        Self::Directory { now: BTreeMap::new(), on_medium: BTreeMap::new() }
    }
}

fn no_power() -> io::Error {
    io::Error::other("the power has failed")
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    fn add(&mut self, kind: Kind) -> usize {
        self.nodes.push(Node { kind, modified: self.seconds });
        self.nodes.len() - 1
    }

    fn operation(&mut self) -> io::Result<()> {
        if self.is_off {
            return Err(no_power());
        }
        self.operations += 1;
        match self.plan {
            Plan::Cut(at) if at == self.operations => {
                self.cut();
                self.is_off = true;
                Err(no_power())
            }
            Plan::Fail(at) if at == self.operations => Err(io::Error::other("the card failed")),
            _ => Ok(()),
        }
    }

    /// What of all the medium has when the power fails.
    fn cut(&mut self) {
        for mount in 0..self.mounts.len() {
            let of_mount = |change: &Change| change.mount == mount;
            let (mine, others): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(of_mount);
            self.pending = others;
            let last = mine.iter().map(|change| change.transaction).max().unwrap_or(0);
            let first = mine.iter().map(|change| change.transaction).min().unwrap_or(0);
            let kept_to =
                first + self.dice.below(usize::try_from(last - first + 2).unwrap()) as u64;
            let has_journal = self.mounts[mount].has_journal;
            for change in mine {
                let kept = match has_journal {
                    true => change.transaction < kept_to,
                    false => self.dice.one_in(2),
                };
                if kept {
                    self.put_on_medium(&change);
                }
            }
        }
        for node in &mut self.nodes {
            match &mut node.kind {
                Kind::File { now, on_medium } if now != on_medium => {
                    *on_medium = match self.dice.below(3) {
                        0 => now.clone(),
                        1 => on_medium.clone(),
                        _ => Rc::new(now[..self.dice.below(now.len() + 1)].to_vec()),
                    };
                    *now = on_medium.clone();
                }
                Kind::Directory { now, on_medium } => now.clone_from(on_medium),
                _ => {}
            }
        }
    }

    fn put_on_medium(&mut self, change: &Change) {
        let Kind::Directory { on_medium, .. } = &mut self.nodes[change.directory].kind else {
            return;
        };
        match change.to {
            Some(node) => drop(on_medium.insert(change.name.clone(), node)),
            None => drop(on_medium.remove(&change.name)),
        }
    }

    fn sync_names(&mut self, is_meant: impl Fn(&Change) -> bool) {
        let (mine, others): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(is_meant);
        self.pending = others;
        mine.iter().for_each(|change| self.put_on_medium(change));
    }

    fn sync_mount(&mut self, mount: usize) {
        self.sync_names(|change| change.mount == mount);
        let mut ahead = vec![self.mounts[mount].root];
        while let Some(node) = ahead.pop() {
            match &mut self.nodes[node].kind {
                Kind::File { now, on_medium } => *on_medium = now.clone(),
                Kind::Directory { now, .. } => ahead.extend(now.values()),
                Kind::Link(_) => {}
            }
        }
    }

    /// Changes a name; all changes until the next [`State::transaction`] are one.
    fn put(&mut self, mount: usize, directory: usize, name: &str, to: Option<usize>) {
        if let Kind::Directory { now, .. } = &mut self.nodes[directory].kind {
            match to {
                Some(node) => drop(now.insert(name.to_owned(), node)),
                None => drop(now.remove(name)),
            }
        }
        let (name, transaction) = (name.to_owned(), self.transaction);
        self.pending.push(Change { mount, transaction, directory, name, to });
    }

    fn put_all(&mut self, path: &str, to: Option<usize>) {
        let (parent, name) = split(path);
        if to.is_some() && self.find(parent, None, true).is_err() {
            let directory = self.add(Kind::directory());
            self.put_all(parent, Some(directory));
        }
        let Ok((mount, directory)) = self.find(parent, None, true) else { return };
        self.transaction += 1;
        self.put(mount, directory, name, to);
    }

    /// Mount and node of a path: of one volume, or of the whole tree.
    fn find(
        &self,
        path: &str,
        volume: Option<usize>,
        follow_last: bool,
    ) -> Result<(usize, usize), ErrorKind> {
        let root = volume.unwrap_or(self.mounts[0].root);
        let mount_of = |root: usize| self.mounts.iter().position(|mount| mount.root == root);
        let (mut mount, mut node) = (mount_of(root).unwrap_or(0), root);
        let mut ahead: VecDeque<String> = components(path).collect();
        let (mut behind, mut links) = (String::new(), 0);
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                // From the root again: seldom, and simple.
                let parent = split(&behind).0.to_owned();
                ahead.extendleft(components(&parent));
                (mount, node, behind) = (mount_of(root).unwrap_or(0), root, String::new());
                continue;
            }
            let Kind::Directory { now, .. } = &self.nodes[node].kind else {
                return Err(ErrorKind::WrongType);
            };
            let next = *now.get(&name).ok_or(ErrorKind::NotFound)?;
            if let Kind::Link(target) = &self.nodes[next].kind
                && (follow_last || !ahead.is_empty())
            {
                links += 1;
                if links > MAX_LINKS {
                    return Err(ErrorKind::TooManyLinks);
                }
                let target = match target.starts_with('/') {
                    true => target.clone(),
                    false => format!("{behind}/{target}"),
                };
                ahead.extendleft(components(&target));
                (mount, node, behind) = (mount_of(root).unwrap_or(0), root, String::new());
                continue;
            }
            behind = format!("{behind}/{name}");
            node = next;
            let mounted = self.mounts.iter().position(|mount| mount.point == behind);
            if let Some(mounted) = mounted.filter(|_| volume.is_none()) {
                (mount, node) = (mounted, self.mounts[mounted].root);
            }
        }
        Ok((mount, node))
    }

    /// For an operation of the installer.
    fn place<'p>(&self, path: &'p str) -> io::Result<(usize, usize, &'p str)> {
        let (parent, name) = split(path);
        let (mount, directory) = self.find(parent, None, true).map_err(|_| not_found())?;
        Ok((mount, directory, name))
    }

    fn child(&self, directory: usize, name: &str) -> Option<usize> {
        match &self.nodes[directory].kind {
            Kind::Directory { now, .. } => now.get(name).copied(),
            _ => None,
        }
    }

    fn used(&self, mount: &Mount) -> u64 {
        let (mut sum, mut ahead) = (0, vec![mount.root]);
        while let Some(node) = ahead.pop() {
            match &self.nodes[node].kind {
                Kind::File { now, .. } => {
                    sum += (now.len() as u64).div_ceil(mount.unit) * mount.unit
                }
                Kind::Directory { now, .. } => {
                    sum += mount.unit;
                    ahead.extend(now.values());
                }
                Kind::Link(_) => {}
            }
        }
        sum
    }
}

trait ExtendLeft {
    fn extendleft(&mut self, names: impl Iterator<Item = String>);
}

impl ExtendLeft for VecDeque<String> {
    fn extendleft(&mut self, names: impl Iterator<Item = String>) {
        let names: Vec<_> = names.collect();
        names.into_iter().rev().for_each(|name| self.push_front(name));
    }
}

fn components(path: &str) -> impl Iterator<Item = String> {
    path.split('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned)
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Disk for Model {
    fn tree(&self) -> Box<dyn FileSystem> {
        Box::new(Look { model: self.clone(), volume: None })
    }

    fn create(&self, path: &str, _: u32) -> io::Result<Box<dyn NewFile>> {
        let mut state = self.0.borrow_mut();
        state.operation()?;
        let (mount, directory, name) = state.place(path)?;
        let node = state.add(Kind::File { now: Rc::default(), on_medium: Rc::default() });
        state.transaction += 1;
        state.put(mount, directory, name, Some(node));
        Ok(Box::new(Open { model: self.clone(), mount, node }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.operation()?;
        let (mount, directory, name) = state.place(from)?;
        let node = state.child(directory, name).ok_or_else(not_found)?;
        let (_, other, new_name) = state.place(to)?;
        assert_eq!(directory, other, "FAT is safe only within a directory");
        state.transaction += 1;
        state.put(mount, directory, new_name, Some(node));
        state.put(mount, directory, name, None);
        state.operation()?;
        state.sync_names(|change| change.directory == directory);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.operation()?;
        let (mount, directory, name) = state.place(path)?;
        state.child(directory, name).ok_or_else(not_found)?;
        state.transaction += 1;
        state.put(mount, directory, name, None);
        Ok(())
    }

    fn make_directory(&self, path: &str, _: u32) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.operation()?;
        let (mount, directory, name) = state.place(path)?;
        let node = state.add(Kind::directory());
        state.transaction += 1;
        state.put(mount, directory, name, Some(node));
        Ok(())
    }

    fn remove_directory(&self, path: &str) -> io::Result<()> {
        self.remove(path)
    }

    fn link(&self, path: &str, target: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.operation()?;
        let (mount, directory, name) = state.place(path)?;
        let node = state.add(Kind::Link(target.to_owned()));
        state.transaction += 1;
        state.put(mount, directory, name, Some(node));
        Ok(())
    }

    fn sync_directory(&self, path: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.operation()?;
        let (_, directory) = state.find(path, None, true).map_err(|_| not_found())?;
        state.sync_names(|change| change.directory == directory);
        Ok(())
    }

    fn sync_file_system(&self, path: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.operation()?;
        let (mount, _) = state.find(path, None, true).map_err(|_| not_found())?;
        state.sync_mount(mount);
        Ok(())
    }

    fn room(&self, path: &str) -> io::Result<Room> {
        let state = self.0.borrow();
        let (mount, _) = state.find(path, None, true).map_err(|_| not_found())?;
        let mount = &state.mounts[mount];
        let free = mount.capacity.saturating_sub(state.used(mount)) + mount.overstates;
        Ok(Room { free, unit: mount.unit })
    }
}

/// A file that is being written.
struct Open {
    model: Model,
    mount: usize,
    node: usize,
}

impl NewFile for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.model.0.borrow_mut();
        state.operation()?;
        let Kind::File { now, .. } = &mut state.nodes[self.node].kind else {
            return Err(not_found());
        };
        let before = now.clone();
        Rc::make_mut(now).extend(bytes);
        let mount = &state.mounts[self.mount];
        if state.used(mount) > mount.capacity {
            if let Kind::File { now, .. } = &mut state.nodes[self.node].kind {
                *now = before;
            }
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.model.0.borrow_mut();
        state.operation()?;
        if let Kind::File { now, on_medium } = &mut state.nodes[self.node].kind {
            *on_medium = now.clone();
        }
        Ok(())
    }
}

/// A look at a tree, or at one volume.
struct Look {
    model: Model,
    volume: Option<usize>,
}

struct Bytes(Rc<Vec<u8>>);

impl File for Bytes {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&mut self, offset: u64, destination: &mut [u8]) -> Result<(), Error> {
        let start = usize::try_from(offset).unwrap();
        let found = self.0.get(start..start + destination.len());
        let error = || Error { kind: ErrorKind::BeyondEnd, path: String::new() };
        destination.copy_from_slice(found.ok_or_else(error)?);
        Ok(())
    }
}

impl Look {
    fn with<T>(
        &self,
        path: &str,
        follow: bool,
        look: impl FnOnce(&State, &Node) -> Result<T, ErrorKind>,
    ) -> Result<T, Error> {
        let state = self.model.0.borrow();
        let found = state.find(path, self.volume, follow);
        let found = found.and_then(|(_, node)| look(&state, &state.nodes[node]));
        found.map_err(|kind| Error { kind, path: path.to_owned() })
    }
}

impl FileSystem for Look {
    fn kind(&self) -> &'static str {
        "model"
    }

    fn label(&self) -> Option<String> {
        None
    }

    fn open(&mut self, path: &str) -> Result<Box<dyn File>, Error> {
        self.with(path, true, |_, node| match &node.kind {
            Kind::File { now, .. } => Ok(Box::new(Bytes(now.clone())) as _),
            _ => Err(ErrorKind::WrongType),
        })
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, Error> {
        self.with(path, true, |_, node| {
            Ok(match &node.kind {
                Kind::File { now, .. } => {
                    Metadata { file_type: FileType::File, size: now.len() as u64 }
                }
                _ => Metadata { file_type: FileType::Directory, size: 0 },
            })
        })
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, Error> {
        self.with(path, true, |state, node| match &node.kind {
            Kind::Directory { now, .. } => Ok(now
                .iter()
                .map(|(name, &node)| {
                    let file_type = match state.nodes[node].kind {
                        Kind::File { .. } => FileType::File,
                        Kind::Link(_) => FileType::Link,
                        Kind::Directory { .. } => FileType::Directory,
                    };
                    DirEntry { name: name.clone(), file_type }
                })
                .collect()),
            _ => Err(ErrorKind::WrongType),
        })
    }

    fn read_link(&mut self, path: &str) -> Result<String, Error> {
        self.with(path, false, |_, node| match &node.kind {
            Kind::Link(target) => Ok(target.clone()),
            _ => Err(ErrorKind::WrongType),
        })
    }

    fn link_modified(&mut self, path: &str) -> Option<u64> {
        self.with(path, false, |_, node| Ok(node.modified)).ok()
    }
}
