//! The tree of the system that is installed to, as the loader will read it. Its store may be elsewhere: an
//! image is filled from the build host's own.

use std::path::Path;

use firn::fs::{DirEntry, Error, File, FileSystem, Metadata};

use crate::entries::directory::Directory;

const STORE: &str = "/nix/store";

/// The tree below one directory, with the store of another.
pub(super) struct View {
    root: Directory,
    store: Directory,
}

impl View {
    /// The tree at `root` with `/nix/store` of that at `store`.
    pub(super) fn new(root: &Path, store: &Path) -> Self {
        Self { root: Directory::new(root), store: Directory::new(store) }
    }

    fn holder(&mut self, path: &str) -> &mut Directory {
        let below = path.strip_prefix(STORE);
        let is_in_store = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if is_in_store { &mut self.store } else { &mut self.root }
    }
}

impl FileSystem for View {
    fn kind(&self) -> &'static str {
        self.root.kind()
    }

    fn label(&self) -> Option<String> {
        self.root.label()
    }

    fn open(&mut self, path: &str) -> Result<Box<dyn File>, Error> {
        self.holder(path).open(path)
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, Error> {
        self.holder(path).metadata(path)
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, Error> {
        self.holder(path).read_dir(path)
    }

    fn read_link(&mut self, path: &str) -> Result<String, Error> {
        self.holder(path).read_link(path)
    }

    fn link_modified(&mut self, path: &str) -> Option<u64> {
        self.holder(path).link_modified(path)
    }
}
