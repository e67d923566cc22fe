//! A file system in memory, for what reads many small files.

use std::{cell::Cell, collections::BTreeMap, path::Path, rc::Rc};

use firn::fs::{DirEntry, Error, ErrorKind, File, FileSystem, FileType, Metadata};

/// Files by their absolute paths.
#[derive(Clone, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, Vec<u8>>,
    unreadable: Option<String>,
    /// Bytes read so far.
    pub(crate) read: Rc<Cell<usize>>,
}

impl Tree {
    /// Adds a file.
    pub(crate) fn with(mut self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        self.files.insert(path.to_owned(), contents.as_ref().to_vec());
        self
    }

    /// Adds a file of `tests/fixtures/nixos`.
    pub(crate) fn with_fixture(self, path: &str, fixture: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nixos").join(fixture);
        self.with(path, std::fs::read(file).expect("a fixture"))
    }

    /// Makes reading one file fail.
    pub(crate) fn with_unreadable(mut self, path: &str) -> Self {
        self.unreadable = Some(path.to_owned());
        self.with(path, "x")
    }

    fn missing(path: &str) -> Error {
        Error { kind: ErrorKind::NotFound, path: path.to_owned() }
    }
}

impl FileSystem for Tree {
    fn kind(&self) -> &'static str {
        "tree"
    }

    fn label(&self) -> Option<String> {
        None
    }

    fn open(&mut self, path: &str) -> Result<Box<dyn File>, Error> {
        if self.unreadable.as_deref() == Some(path) {
            return Err(Error {
                kind: ErrorKind::Corrupt("extents".into()),
                path: path.to_owned(),
            });
        }
        let bytes = self.files.get(path).ok_or_else(|| Self::missing(path))?.clone();
        Ok(Box::new(Open { bytes, read: self.read.clone() }))
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, Error> {
        let bytes = self.files.get(path).ok_or_else(|| Self::missing(path))?;
        Ok(Metadata { file_type: FileType::File, size: bytes.len() as u64 })
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, Error> {
        let prefix = format!("{path}/");
        let names = self.files.keys().filter_map(|file| file.strip_prefix(&prefix));
        let entries: Vec<_> = names
            .map(|name| DirEntry { name: name.to_owned(), file_type: FileType::File })
            .collect();
        if entries.is_empty() { Err(Self::missing(path)) } else { Ok(entries) }
    }

    fn read_link(&mut self, path: &str) -> Result<String, Error> {
        Err(Self::missing(path))
    }
}

struct Open {
    bytes: Vec<u8>,
    read: Rc<Cell<usize>>,
}

impl File for Open {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&mut self, offset: u64, destination: &mut [u8]) -> Result<(), Error> {
        let start = usize::try_from(offset).expect("a small file");
        let error = || Error { kind: ErrorKind::BeyondEnd, path: String::new() };
        let source = self.bytes.get(start..start + destination.len()).ok_or_else(error)?;
        destination.copy_from_slice(source);
        self.read.set(self.read.get() + destination.len());
        Ok(())
    }
}
