//! A directory of the host as a file system that the loader could have mounted.
//!
//! Links are followed here: absolute ones mean the directory, not the host.

use std::{
    collections::VecDeque,
    fs,
    io::{self, ErrorKind as HostError},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use firn::fs::{DirEntry, Error, ErrorKind, File, FileSystem, FileType, Metadata};

/// As many links on one path as Linux follows.
const MAX_LINKS: usize = 40;

/// A mounted root file system.
pub(crate) struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The tree below `root`.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where `path` is on the host, and what is there; its last component is followed or not.
    fn find(&self, path: &str, follow_last: bool) -> Result<(PathBuf, fs::Metadata), Error> {
        self.walk(path, follow_last).map_err(|kind| Error { kind, path: path.to_owned() })
    }

    fn walk(&self, path: &str, follow_last: bool) -> Result<(PathBuf, fs::Metadata), ErrorKind> {
        let mut ahead: VecDeque<String> = components(path).collect();
        let mut behind = PathBuf::new();
        let mut links = 0;
        while let Some(component) = ahead.pop_front() {
            if component == ".." {
                behind.pop();
                continue;
            }
            let candidate = behind.join(component);
            let on_host = self.root.join(&candidate);
            let metadata = fs::symlink_metadata(&on_host).map_err(|error| kind(&error))?;
            if !metadata.is_symlink() || (ahead.is_empty() && !follow_last) {
                behind = candidate;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(ErrorKind::TooManyLinks);
            }
            let target = target(&on_host)?;
            if target.starts_with('/') {
                behind.clear();
            }
            for component in components(&target).collect::<Vec<_>>().into_iter().rev() {
                ahead.push_front(component);
            }
        }
        let on_host = self.root.join(behind);
        let metadata = fs::symlink_metadata(&on_host).map_err(|error| kind(&error))?;
        Ok((on_host, metadata))
    }
}

impl FileSystem for Directory {
    fn kind(&self) -> &'static str {
        "directory"
    }

    fn label(&self) -> Option<String> {
        None
    }

    fn open(&mut self, path: &str) -> Result<Box<dyn File>, Error> {
        let error = |kind| Error { kind, path: path.to_owned() };
        let (on_host, metadata) = self.find(path, true)?;
        // Opening a pipe would wait for somebody who writes to it.
        if !metadata.is_file() {
            return Err(error(ErrorKind::WrongType));
        }
        let file = fs::File::open(on_host).map_err(|failed| error(kind(&failed)))?;
        Ok(Box::new(HostFile { file, size: metadata.len(), path: path.to_owned() }))
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, Error> {
        let (_, metadata) = self.find(path, true)?;
        let file_type = file_type(metadata.file_type());
        let size = if file_type == FileType::File { metadata.len() } else { 0 };
        Ok(Metadata { file_type, size })
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, Error> {
        let (on_host, _) = self.find(path, true)?;
        let entries = || -> io::Result<Vec<DirEntry>> {
            let entry = |entry: io::Result<fs::DirEntry>| {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                Ok(DirEntry { name, file_type: file_type(entry.file_type()?) })
            };
            fs::read_dir(&on_host)?.map(entry).collect()
        };
        entries().map_err(|error| Error { kind: kind(&error), path: path.to_owned() })
    }

    fn read_link(&mut self, path: &str) -> Result<String, Error> {
        let error = |kind| Error { kind, path: path.to_owned() };
        let (on_host, metadata) = self.find(path, false)?;
        if !metadata.is_symlink() {
            return Err(error(ErrorKind::WrongType));
        }
        target(&on_host).map_err(error)
    }

    fn link_modified(&mut self, path: &str) -> Option<u64> {
        let (_, metadata) = self.find(path, false).ok()?;
        u64::try_from(metadata.mtime()).ok()
    }
}

struct HostFile {
    file: fs::File,
    size: u64,
    path: String,
}

impl File for HostFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, destination: &mut [u8]) -> Result<(), Error> {
        self.file
            .read_exact_at(destination, offset)
            .map_err(|error| Error { kind: kind(&error), path: self.path.clone() })
    }
}

fn target(link: &Path) -> Result<String, ErrorKind> {
    let target = fs::read_link(link).map_err(|error| kind(&error))?;
    let target = target.into_os_string().into_string();
    target.map_err(|_| ErrorKind::Corrupt("a link's target is not UTF-8".to_owned()))
}

fn components(path: &str) -> impl Iterator<Item = String> {
    path.split('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned)
}

fn file_type(of_host: fs::FileType) -> FileType {
    if of_host.is_file() {
        FileType::File
    } else if of_host.is_dir() {
        FileType::Directory
    } else if of_host.is_symlink() {
        FileType::Link
    } else {
        FileType::Other
    }
}

fn kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        HostError::NotFound => ErrorKind::NotFound,
        HostError::NotADirectory | HostError::IsADirectory => ErrorKind::WrongType,
        HostError::UnexpectedEof => ErrorKind::BeyondEnd,
        _ => ErrorKind::Corrupt(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("nix/store/a")).unwrap();
        fs::write(folder.path().join("nix/store/a/file"), "text").unwrap();
        symlink("/nix/store/a", folder.path().join("absolute")).unwrap();
        symlink("nix/../nix/store", folder.path().join("relative")).unwrap();
        symlink("../../../../../absolute", folder.path().join("nix/out")).unwrap();
        symlink("loop", folder.path().join("loop")).unwrap();
        let directory = Directory::new(folder.path());
        (folder, directory)
    }

    #[test]
    fn links_stay_within_the_directory() {
        let (_folder, mut directory) = tree();
        for path in ["/absolute/file", "/relative/a/file", "/nix/out/file", "/../absolute/file"] {
            assert_eq!(directory.open(path).unwrap().size(), 4, "{path}");
        }
        assert_eq!(directory.read_link("/absolute").unwrap(), "/nix/store/a");
        assert_eq!(directory.open("/loop").err().unwrap().kind, ErrorKind::TooManyLinks);
    }

    #[test]
    fn what_is_not_there_or_something_else_is_told_as_such() {
        let (_folder, mut directory) = tree();
        let kind = |result: Result<Metadata, Error>| result.unwrap_err().kind;
        assert_eq!(kind(directory.metadata("/none")), ErrorKind::NotFound);
        assert_eq!(kind(directory.metadata("/absolute/file/x")), ErrorKind::WrongType);
        assert_eq!(directory.open("/nix").err().unwrap().kind, ErrorKind::WrongType);
        assert_eq!(directory.read_dir("/none").unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(directory.read_link("/nix").unwrap_err().kind, ErrorKind::WrongType);
        let mut file = directory.open("/absolute/file").unwrap();
        assert_eq!(file.read_at(2, &mut [0; 4]).unwrap_err().kind, ErrorKind::BeyondEnd);
    }
}
