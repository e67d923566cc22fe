//! What goes onto a file system: paths and their contents.

use std::{
    collections::BTreeMap,
    fs,
    hash::{Hash, Hasher},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

/// What a path holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// A file with these bytes.
    Bytes(Arc<[u8]>),
    /// A file with the bytes of a file of the host.
    File(PathBuf),
    /// A symbolic link.
    Link(String),
    /// A symbolic link that was made so many seconds after 1970 began.
    DatedLink(String, i64),
    /// An empty folder (others come into being with what is in them).
    Folder,
}

impl Content {
    /// A file with these bytes.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Content::Bytes(bytes.into().into())
    }

    /// The bytes of a file; `None` for links and folders.
    pub fn read(&self) -> Result<Option<Arc<[u8]>>> {
        Ok(match self {
            Content::Bytes(bytes) => Some(bytes.clone()),
            Content::File(path) => {
                Some(fs::read(path).with_context(|| format!("reading {}", path.display()))?.into())
            }
            Content::Link(_) | Content::DatedLink(..) | Content::Folder => None,
        })
    }

    /// The same file cut off after `length` bytes.
    pub fn truncated(&self, length: usize) -> Result<Self> {
        let bytes = self.read()?.context("only a file can be truncated")?;
        let head = bytes.get(..length).context("a file cannot be truncated to more than it has")?;
        Ok(Content::Bytes(head.into()))
    }

    fn write_to(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        match self {
            Content::Bytes(bytes) => fs::write(path, bytes)?,
            Content::File(source) => {
                fs::copy(source, path).with_context(|| format!("copying {}", source.display()))?;
            }
            Content::Link(target) => symlink(target, path)?,
            Content::DatedLink(target, seconds) => {
                symlink(target, path)?;
                let time = Timespec { tv_sec: *seconds, tv_nsec: 0 };
                let times = Timestamps { last_access: time, last_modification: time };
                utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Content::Folder => fs::create_dir_all(path)?,
        }
        Ok(())
    }
}

impl Hash for Content {
    /// A file of the host counts by name, size and time: hashing kernels would cost more than
    /// making the card.
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Content::Bytes(bytes) => bytes.hash(state),
            Content::File(path) => {
                path.hash(state);
                let data = fs::metadata(path).ok();
                data.as_ref().map(fs::Metadata::len).hash(state);
                data.and_then(|data| data.modified().ok())
                    .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
                    .hash(state);
            }
            Content::Link(target) => target.hash(state),
            Content::DatedLink(target, seconds) => (target, seconds).hash(state),
            Content::Folder => {}
        }
    }
}

/// Paths (relative, `/` between names) and what they hold.
#[derive(Clone, Debug, Default, Hash)]
pub struct Tree(BTreeMap<String, Content>);

impl Tree {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With `content` at `path`, in place of what was there.
    #[must_use]
    pub fn with(mut self, path: impl Into<String>, content: Content) -> Self {
        self.insert(path, content);
        self
    }

    /// Puts `content` at `path`, in place of what was there.
    pub fn insert(&mut self, path: impl Into<String>, content: Content) {
        self.0.insert(path.into(), content);
    }

    /// Without `path`, which must be there.
    pub fn remove(&mut self, path: &str) -> Result<()> {
        self.0.remove(path).map(drop).with_context(|| format!("no {path} in the tree"))
    }

    /// What is at `path`.
    pub fn get(&self, path: &str) -> Option<&Content> {
        self.0.get(path)
    }

    /// All paths, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The same tree below a folder.
    #[must_use]
    pub fn below(self, folder: &str) -> Self {
        Self(
            self.0
                .into_iter()
                .map(|(path, content)| (format!("{folder}/{path}"), content))
                .collect(),
        )
    }

    /// What is below a folder, without it.
    #[must_use]
    pub fn inside(self, folder: &str) -> Self {
        let folder = format!("{folder}/");
        let inside = |(path, content): (String, Content)| {
            Some((path.strip_prefix(&folder)?.to_owned(), content))
        };
        Self(self.0.into_iter().filter_map(inside).collect())
    }

    /// Both trees; `other` wins where both have a path.
    #[must_use]
    pub fn merged(mut self, other: Tree) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Sum of the files' sizes in bytes.
    pub fn size(&self) -> Result<u64> {
        self.0.values().try_fold(0u64, |sum, content| {
            let size = match content {
                Content::Bytes(bytes) => bytes.len() as u64,
                Content::File(path) => fs::metadata(path)
                    .with_context(|| format!("looking at {}", path.display()))?
                    .len(),
                Content::Link(_) | Content::DatedLink(..) | Content::Folder => 0,
            };
            Ok(sum + size)
        })
    }

    /// Writes everything below a folder of the host.
    pub fn write_to(&self, folder: &Path) -> Result<()> {
        for (path, content) in &self.0 {
            if path.split('/').any(|name| name.is_empty() || name == "." || name == "..") {
                bail!("{path:?} is not a plain relative path");
            }
            content
                .write_to(&folder.join(path))
                .with_context(|| format!("writing {path} below {}", folder.display()))?;
        }
        Ok(())
    }
}
