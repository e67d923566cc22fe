//! Finds what a path names, one component at a time.
//!
//! `ext4-view` could follow a path by itself, but it believes the sizes of the links and directories
//! on the way. Here each component's size is checked before the next step makes `ext4-view` read it.

use alloc::{
    collections::{BTreeMap, VecDeque},
    format,
    string::{String, ToString},
    vec::Vec,
};

use ext4_view::Ext4 as Driver;

use super::{
    super::{Error, ErrorKind, FileType},
    convert_kind, file_type,
};

/// As many as Linux follows.
const MAX_LINKS: usize = 40;
/// Linux's PATH_MAX.
const MAX_PATH: usize = 4096;
/// Room for a million names.
const MAX_DIRECTORY_SIZE: u64 = 64 << 20;
/// What is remembered to have been found: a few hundred bytes each.
const MAX_KNOWN: usize = 512;

/// Something that a path names.
#[derive(Clone)]
pub(super) struct Place {
    /// Its path without links, `.` and `..`.
    pub(super) path: String,
    pub(super) file_type: FileType,
    /// Its size in bytes, whatever it is.
    pub(super) size: u64,
    /// When it was changed, in seconds since 1970.
    pub(super) modified: u64,
}

/// Follows paths, and remembers what it met: `ext4-view` walks each path from the root, and where a
/// directory has no index, looks through all of it each time.
pub(super) struct Resolver {
    known: BTreeMap<String, Place>,
}

impl Resolver {
    /// Checks the root.
    pub(super) fn new(driver: &Driver) -> Result<Self, Error> {
        let resolver = Self { known: BTreeMap::new() };
        let root = examine(driver, "/".into()).and_then(check_size);
        match root {
            Ok(Place { file_type: FileType::Directory, .. }) => Ok(resolver),
            Ok(_) => Err(Error {
                kind: ErrorKind::Corrupt("the root is not a directory".into()),
                path: "/".into(),
            }),
            Err(kind) => Err(Error { kind, path: "/".into() }),
        }
    }

    /// What `path` names, links followed.
    pub(super) fn follow(&mut self, driver: &Driver, path: &str) -> Result<Place, Error> {
        self.walk(driver, path, true).map_err(|kind| Error { kind, path: path.into() })
    }

    /// What `path` names, its last component not followed.
    pub(super) fn find(&mut self, driver: &Driver, path: &str) -> Result<Place, Error> {
        self.walk(driver, path, false).map_err(|kind| Error { kind, path: path.into() })
    }

    fn walk(&mut self, driver: &Driver, path: &str, follow_last: bool) -> Result<Place, ErrorKind> {
        let mut ahead: VecDeque<String> = components(path).collect();
        let mut behind: Vec<String> = Vec::new();
        let mut last = None;
        let mut links = 0;
        while let Some(component) = ahead.pop_front() {
            if component == ".." {
                behind.pop();
                last = None;
                continue;
            }
            let path = join(&behind, &component)?;
            let is_last = ahead.is_empty();
            let place = self.look_at(driver, path)?;
            match place.file_type {
                FileType::Link if follow_last || !is_last => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(ErrorKind::TooManyLinks);
                    }
                    let target = link_target(driver, &place)?;
                    if target.starts_with('/') {
                        behind.clear();
                    }
                    last = None;
                    for component in components(&target).collect::<Vec<_>>().into_iter().rev() {
                        ahead.push_front(component);
                    }
                }
                FileType::Directory => {
                    behind.push(component);
                    last = Some(place);
                }
                _ if is_last => last = Some(place),
                _ => return Err(ErrorKind::WrongType),
            }
        }
        match last {
            Some(place) => Ok(place),
            None => examine(driver, format!("/{}", behind.join("/"))),
        }
    }

    /// Looks at one name in a directory that was checked, and checks what it is itself.
    fn look_at(&mut self, driver: &Driver, path: String) -> Result<Place, ErrorKind> {
        if let Some(place) = self.known.get(&path) {
            return Ok(place.clone());
        }
        let place = check_size(examine(driver, path)?)?;
        if self.known.len() == MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(place.path.clone(), place.clone());
        Ok(place)
    }
}

/// Where the link at `place` points to.
pub(super) fn link_target(driver: &Driver, place: &Place) -> Result<String, ErrorKind> {
    if place.file_type != FileType::Link {
        return Err(ErrorKind::WrongType);
    }
    let target = driver.read_link(&place.path).map_err(convert_kind)?;
    target
        .to_str()
        .map(ToString::to_string)
        .map_err(|_| ErrorKind::Corrupt("a link's target is not UTF-8".into()))
}

fn examine(driver: &Driver, path: String) -> Result<Place, ErrorKind> {
    let metadata = driver.symlink_metadata(&path).map_err(convert_kind)?;
    Ok(Place {
        path,
        file_type: file_type(metadata.file_type()),
        size: metadata.len(),
        modified: u64::try_from(metadata.modified().seconds()).unwrap_or(0),
    })
}

fn check_size(place: Place) -> Result<Place, ErrorKind> {
    let limit = match place.file_type {
        FileType::Link => MAX_PATH as u64,
        FileType::Directory => MAX_DIRECTORY_SIZE,
        _ => return Ok(place),
    };
    if place.size > limit {
        return Err(ErrorKind::Corrupt(format!("{} has {} bytes", place.path, place.size)));
    }
    Ok(place)
}

fn components(path: &str) -> impl Iterator<Item = String> {
    path.split('/').filter(|name| !matches!(*name, "" | ".")).map(Into::into)
}

fn join(behind: &[String], component: &str) -> Result<String, ErrorKind> {
    let mut path = String::new();
    for name in behind.iter().map(String::as_str).chain([component]) {
        path.push('/');
        path.push_str(name);
    }
    if path.len() > MAX_PATH { Err(ErrorKind::NotFound) } else { Ok(path) }
}
