//! ext2, ext3 and ext4 through `ext4-view`.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};

use ext4_view::{Ext4 as Driver, Ext4Error, Ext4Read};

use super::{DirEntry, Error, ErrorKind, File, FileSystem, FileType, Metadata};
use crate::block::{self, volume::Volume};

/// A mounted ext file system.
pub(super) struct Ext4 {
    driver: Driver,
}

impl Ext4 {
    pub(super) fn mount(volume: Volume) -> Result<Self, Error> {
        let driver =
            Driver::load(Box::new(VolumeIo(volume))).map_err(|error| convert(error, ""))?;
        Ok(Self { driver })
    }
}

impl FileSystem for Ext4 {
    fn kind(&self) -> &'static str {
        "ext4"
    }

    fn label(&self) -> Option<String> {
        let label = self.driver.label().display().to_string();
        (!label.is_empty()).then_some(label)
    }

    fn open(&mut self, path: &str) -> Result<Box<dyn File>, Error> {
        let file = self.driver.open(path).map_err(|error| convert(error, path))?;
        Ok(Box::new(PlainFile { file, path: path.into() }))
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, Error> {
        let found = self.driver.metadata(path).map_err(|error| convert(error, path))?;
        let file_type = file_type(found.file_type());
        let size = if file_type == FileType::File { found.len() } else { 0 };
        Ok(Metadata { file_type, size })
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, Error> {
        let mut entries = Vec::new();
        for entry in self.driver.read_dir(path).map_err(|error| convert(error, path))? {
            let entry = entry.map_err(|error| convert(error, path))?;
            let name = entry.file_name();
            if name == "." || name == ".." {
                continue;
            }
            let found = entry.file_type().map_err(|error| convert(error, path))?;
            entries
                .push(DirEntry { name: name.display().to_string(), file_type: file_type(found) });
        }
        Ok(entries)
    }

    fn read_link(&mut self, path: &str) -> Result<String, Error> {
        let target = self.driver.read_link(path).map_err(|error| convert(error, path))?;
        match target.to_str() {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(Error {
                kind: ErrorKind::Corrupt("a link's target is not UTF-8".into()),
                path: path.into(),
            }),
        }
    }
}

struct PlainFile {
    file: ext4_view::File,
    path: String,
}

impl File for PlainFile {
    fn size(&self) -> u64 {
        self.file.metadata().len()
    }

    fn read_at(&mut self, offset: u64, destination: &mut [u8]) -> Result<(), Error> {
        let end = offset.checked_add(destination.len() as u64);
        if end.is_none_or(|end| end > self.size()) {
            return Err(Error { kind: ErrorKind::BeyondEnd, path: self.path.clone() });
        }
        let failed = |error| convert(error, &self.path);
        if self.file.position() != offset {
            self.file.seek_to(offset).map_err(failed)?;
        }
        let mut rest = destination;
        while !rest.is_empty() {
            let count = self.file.read_bytes(rest).map_err(failed)?;
            if count == 0 {
                return Err(Error { kind: ErrorKind::BeyondEnd, path: self.path.clone() });
            }
            rest = &mut rest[count..];
        }
        Ok(())
    }
}

fn file_type(file_type: ext4_view::FileType) -> FileType {
    match file_type {
        ext4_view::FileType::Regular => FileType::File,
        ext4_view::FileType::Directory => FileType::Directory,
        ext4_view::FileType::Symlink => FileType::Link,
        _ => FileType::Other,
    }
}

fn convert(error: Ext4Error, path: &str) -> Error {
    let kind = match error {
        Ext4Error::NotFound | Ext4Error::MalformedPath | Ext4Error::NotAbsolute => {
            ErrorKind::NotFound
        }
        Ext4Error::IsADirectory
        | Ext4Error::NotADirectory
        | Ext4Error::NotASymlink
        | Ext4Error::IsASpecialFile => ErrorKind::WrongType,
        Ext4Error::TooManySymlinks | Ext4Error::PathTooLong => ErrorKind::TooManyLinks,
        Ext4Error::Encrypted => ErrorKind::Feature("encrypt".into()),
        Ext4Error::Incompatible(what) => ErrorKind::Feature(format!("{what}")),
        Ext4Error::Io(ref inner) => match inner.downcast_ref::<block::Error>() {
            Some(error) => ErrorKind::Device(error.clone()),
            None => ErrorKind::Corrupt(format!("{inner}")),
        },
        other => ErrorKind::Corrupt(format!("{other}")),
    };
    Error { kind, path: path.into() }
}

/// A volume as `ext4-view` wants it.
struct VolumeIo(Volume);

impl Ext4Read for VolumeIo {
    fn read(
        &mut self,
        start: u64,
        destination: &mut [u8],
    ) -> Result<(), Box<dyn core::error::Error + Send + Sync>> {
        self.0.read_at(start, destination).map_err(Into::into)
    }
}
