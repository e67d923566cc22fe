//! Roots of NixOS systems, in memory.

#![allow(dead_code, reason = "a module of several tests; each uses a part")]
#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

pub(crate) mod cards;

use std::collections::BTreeMap;

use firn::fs::{DirEntry, Error, ErrorKind, File, FileSystem, FileType, Metadata};
use serde_json::{Value, json};

pub(crate) const PROFILES: &str = "/nix/var/nix/profiles";

#[derive(Clone)]
pub(crate) enum Node {
    File(Vec<u8>),
    Link(String),
}

/// A file system in memory, which counts what is asked of it.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) opened: usize,
    pub(crate) links_read: usize,
    pub(crate) modified: Option<u64>,
}

struct Bytes(Vec<u8>);

impl File for Bytes {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&mut self, offset: u64, destination: &mut [u8]) -> Result<(), Error> {
        let start = offset as usize;
        destination.copy_from_slice(&self.0[start..start + destination.len()]);
        Ok(())
    }
}

impl Memory {
    pub(crate) fn file(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.nodes.insert(path.into(), Node::File(bytes.into()));
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.nodes.insert(path.into(), Node::Link(target.into()));
    }

    pub(crate) fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.nodes.retain(|name, _| name != path && !name.starts_with(&below));
    }

    fn below<'a>(&'a self, directory: &str) -> impl Iterator<Item = &'a str> {
        let prefix = format!("{directory}/");
        let names = self.nodes.range(prefix.clone()..).map(|(name, _)| name);
        names.map_while(move |name| name.strip_prefix(&prefix))
    }

    fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || self.below(path).next().is_some()
    }

    fn walk(&self, path: &str, follow_last: bool) -> Result<String, ErrorKind> {
        let mut ahead: Vec<String> = path.split('/').rev().map(Into::into).collect();
        let (mut behind, mut links) = (String::new(), 0);
        while let Some(name) = ahead.pop() {
            match &*name {
                "" | "." => continue,
                ".." => behind.truncate(behind.rfind('/').unwrap_or(0)),
                name => behind = format!("{behind}/{name}"),
            }
            match self.nodes.get(&behind) {
                Some(Node::Link(target)) if follow_last || !ahead.is_empty() => {
                    links += 1;
                    if links > 40 {
                        return Err(ErrorKind::TooManyLinks);
                    }
                    behind.truncate(if target.starts_with('/') {
                        0
                    } else {
                        behind.rfind('/').unwrap_or(0)
                    });
                    ahead.extend(target.split('/').rev().map(String::from));
                }
                Some(Node::File(_)) if !ahead.is_empty() => return Err(ErrorKind::WrongType),
                Some(_) => {}
                None if self.is_directory(&behind) => {}
                None => return Err(ErrorKind::NotFound),
            }
        }
        Ok(behind)
    }

    fn find(&self, path: &str, follow_last: bool) -> Result<String, Error> {
        self.walk(path, follow_last).map_err(|kind| Error { kind, path: path.into() })
    }
}

fn wrong_type<T>(path: &str) -> Result<T, Error> {
    Err(Error { kind: ErrorKind::WrongType, path: path.into() })
}

impl FileSystem for Memory {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn label(&self) -> Option<String> {
        None
    }

    fn open(&mut self, path: &str) -> Result<Box<dyn File>, Error> {
        let place = self.find(path, true)?;
        self.opened += 1;
        match self.nodes.get(&place) {
            Some(Node::File(bytes)) => Ok(Box::new(Bytes(bytes.clone()))),
            _ => wrong_type(path),
        }
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, Error> {
        let place = self.find(path, true)?;
        Ok(match self.nodes.get(&place) {
            Some(Node::File(bytes)) => {
                Metadata { file_type: FileType::File, size: bytes.len() as u64 }
            }
            _ => Metadata { file_type: FileType::Directory, size: 0 },
        })
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, Error> {
        let place = self.find(path, true)?;
        if self.nodes.contains_key(&place) {
            return wrong_type(path);
        }
        let mut names: Vec<&str> =
            self.below(&place).filter_map(|name| name.split('/').next()).collect();
        if names.is_empty() && !place.is_empty() {
            return Err(Error { kind: ErrorKind::NotFound, path: path.into() });
        }
        names.dedup();
        let entry = |name: &str| DirEntry { name: name.into(), file_type: FileType::Other };
        Ok(names.into_iter().map(entry).collect())
    }

    fn read_link(&mut self, path: &str) -> Result<String, Error> {
        let place = self.find(path, false)?;
        self.links_read += 1;
        match self.nodes.get(&place) {
            Some(Node::Link(target)) => Ok(target.clone()),
            _ => wrong_type(path),
        }
    }

    fn link_modified(&mut self, path: &str) -> Option<u64> {
        self.modified.filter(|_| self.nodes.contains_key(path))
    }
}

/// A store object's path, with a hash made of its name.
pub(crate) fn store(name: &str) -> String {
    let sum = name.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("/nix/store/{:032}-{name}", sum)
}

pub(crate) fn toplevel(number: u32) -> String {
    store(&format!("nixos-system-imx8mp-25.11.202602{number:02}.9f8e7d6"))
}

pub(crate) fn document(toplevel: &str) -> Value {
    json!({
        "org.nixos.bootspec.v1": {
            "init": format!("{toplevel}/init"),
            "initrd": format!("{}/initrd", store("initrd-linux-6.12.63")),
            "kernel": format!("{}/Image", store("linux-6.12.63")),
            "kernelParams": ["root=fstab", "loglevel=4"],
            "label": "NixOS Xantusia 25.11 (Linux 6.12.63)",
            "system": "aarch64-linux",
            "toplevel": toplevel,
        },
        "org.nixos.specialisation.v1": {},
    })
}

/// A root with generations 1 to `count`, the last of which is switched to.
pub(crate) fn root(count: u32) -> Memory {
    let mut root = Memory::default();
    root.file(&format!("{}/Image", store("linux-6.12.63")), "kernel");
    root.file(&format!("{}/System.map", store("linux-6.12.63")), "map");
    root.file(&format!("{}/initrd", store("initrd-linux-6.12.63")), "initrd");
    root.file(&format!("{}/freescale/imx8mp-evk.dtb", store("dtbs")), "tree");
    for number in 1..=count {
        root.link(&format!("{PROFILES}/system-{number}-link"), &toplevel(number));
        add_toplevel(&mut root, &toplevel(number));
    }
    root.link(&format!("{PROFILES}/system"), &format!("system-{count}-link"));
    root
}

pub(crate) fn add_toplevel(root: &mut Memory, toplevel: &str) {
    root.file(&format!("{toplevel}/init"), "#!");
    root.link(&format!("{toplevel}/kernel"), &format!("{}/Image", store("linux-6.12.63")));
    root.link(&format!("{toplevel}/initrd"), &format!("{}/initrd", store("initrd-linux-6.12.63")));
    root.link(&format!("{toplevel}/dtbs"), &store("dtbs"));
    root.file(&format!("{toplevel}/kernel-params"), "root=fstab loglevel=4");
    root.file(&format!("{toplevel}/nixos-version"), "20.09.git.abc");
    root.file(&format!("{toplevel}/system"), "aarch64-linux");
    root.file(&format!("{toplevel}/boot.json"), document(toplevel).to_string());
}

/// The same tree on a partition of its own.
pub(crate) fn as_partition(root: Memory) -> Memory {
    let nodes = root.nodes.into_iter();
    let nodes = nodes.filter_map(|(path, node)| Some((path.strip_prefix("/nix")?.into(), node)));
    Memory { nodes: nodes.collect(), ..Memory::default() }
}
