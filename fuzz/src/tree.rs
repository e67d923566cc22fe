//! A file system in memory, written as text so that a person can read seeds and findings, and changed
//! by whole files so that the fuzzer gets past the directories.
//!
//! A line that begins with `@` begins a part; what follows up to the next one is its contents.
//!
//! ```text
//! @file /loader/entries/a.conf        a file
//! @link /nix/var/nix/profiles/system -> system-42-link
//! @directory /boot
//! @damaged /boot.json                 a file that cannot be read
//! @huge /boot.json                    a file of 2^40 bytes
//! ```
//!
//! What stands in front of the first part is for the target to say.

use std::collections::BTreeMap;

use firn::fs::{DirEntry, Error, ErrorKind, File, FileSystem, FileType, Metadata};

/// As Linux, and the loader's ext4.
const MAX_HOPS: usize = 40;

/// Size of a file of which no parser may believe that it fits.
const HUGE: u64 = 1 << 40;

/// The file system.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

#[derive(Clone, Debug)]
enum Node {
    File(Vec<u8>),
    Link(String),
    Directory,
    Damaged,
    Huge,
}

impl Tree {
    /// Reads the form above; `head` is the path of what stands in front of the first part.
    pub fn parse(text: &[u8], head: &str) -> Self {
        let mut tree = Self::default();
        for (index, part) in parts(text).into_iter().enumerate() {
            let is_head = index == 0 && !part.starts_with(b"@");
            match is_head {
                true if part.is_empty() => {}
                true => tree.file(head, part),
                false => tree.part(part),
            }
        }
        tree
    }

    /// Adds a file, and the directories it lies in.
    pub fn file(&mut self, path: &str, contents: &[u8]) {
        self.add(path, Node::File(contents.to_vec()));
    }

    /// Adds a link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.add(path, Node::Link(target.into()));
    }

    /// Whether `path` leads to a file with something in it.
    pub fn has_contents(&self, path: &str) -> bool {
        match self.find(path, true).map(|place| self.nodes.get(&place)) {
            Ok(Some(Node::File(bytes))) => !bytes.is_empty(),
            Ok(Some(Node::Damaged | Node::Huge)) => true,
            _ => false,
        }
    }

    fn part(&mut self, part: &[u8]) {
        let end = part.iter().position(|&byte| byte == b'\n');
        let (line, contents) = match end {
            Some(end) => (&part[..end], &part[end + 1..]),
            None => (part, &[][..]),
        };
        let line = String::from_utf8_lossy(line);
        let (kind, name) = line.split_once(' ').unwrap_or((&line, ""));
        match kind {
            "@link" => {
                let (path, target) = name.split_once(" -> ").unwrap_or((name, ""));
                self.link(path, target);
            }
            "@directory" => self.add(name, Node::Directory),
            "@damaged" => self.add(name, Node::Damaged),
            "@huge" => self.add(name, Node::Huge),
            _ => self.file(name, contents),
        }
    }

    /// The first of a name counts, as no file system has two; nothing lies below a file.
    fn add(&mut self, path: &str, node: Node) {
        let mut place = String::new();
        let mut names = path.split('/').filter(|name| !matches!(*name, "" | "." | "..")).peekable();
        while let Some(name) = names.next() {
            place = format!("{place}/{name}");
            let is_last = names.peek().is_none();
            match (is_last, self.nodes.get(&place)) {
                (true, None) => {
                    self.nodes.insert(place, node);
                    return;
                }
                (false, None) => {
                    self.nodes.insert(place.clone(), Node::Directory);
                }
                (false, Some(Node::Directory)) => {}
                _ => return,
            }
        }
    }

    /// Where `path` leads.
    fn find(&self, path: &str, follow_last: bool) -> Result<String, ErrorKind> {
        let mut ahead: Vec<String> = path.split('/').rev().map(Into::into).collect();
        let (mut place, mut hops) = (String::new(), 0);
        while let Some(name) = ahead.pop() {
            match &*name {
                "" | "." => continue,
                ".." => place.truncate(place.rfind('/').unwrap_or(0)),
                name => place = format!("{place}/{name}"),
            }
            if place.is_empty() {
                continue;
            }
            match self.nodes.get(&place).ok_or(ErrorKind::NotFound)? {
                Node::Link(target) if follow_last || !ahead.is_empty() => {
                    hops += 1;
                    if hops > MAX_HOPS {
                        return Err(ErrorKind::TooManyLinks);
                    }
                    let absolute = target.starts_with('/');
                    place.truncate(if absolute { 0 } else { place.rfind('/').unwrap_or(0) });
                    ahead.extend(target.split('/').rev().map(String::from));
                }
                Node::Directory | Node::Link(_) => {}
                _ if ahead.is_empty() => {}
                _ => return Err(ErrorKind::WrongType),
            }
        }
        Ok(place)
    }

    fn node(&self, path: &str, follow_last: bool) -> Result<(String, &Node), Error> {
        let error = |kind| Error { kind, path: path.into() };
        let place = self.find(path, follow_last).map_err(error)?;
        let node = if place.is_empty() { &Node::Directory } else { &self.nodes[&place] };
        Ok((place, node))
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
        match self.node(path, true)?.1 {
            Node::File(bytes) => Ok(Box::new(Bytes { path: path.into(), bytes: bytes.clone() })),
            Node::Huge => Ok(Box::new(Endless)),
            Node::Damaged => {
                Err(Error { kind: ErrorKind::Corrupt("extents".into()), path: path.into() })
            }
            Node::Directory | Node::Link(_) => {
                Err(Error { kind: ErrorKind::WrongType, path: path.into() })
            }
        }
    }

    fn metadata(&mut self, path: &str) -> Result<Metadata, Error> {
        Ok(match self.node(path, true)?.1 {
            Node::File(bytes) => Metadata { file_type: FileType::File, size: bytes.len() as u64 },
            Node::Damaged => Metadata { file_type: FileType::File, size: 1 },
            Node::Huge => Metadata { file_type: FileType::File, size: HUGE },
            Node::Directory | Node::Link(_) => Metadata { file_type: FileType::Directory, size: 0 },
        })
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>, Error> {
        let (place, node) = self.node(path, true)?;
        if !matches!(node, Node::Directory) {
            return Err(Error { kind: ErrorKind::WrongType, path: path.into() });
        }
        let below = format!("{place}/");
        let entries = self.nodes.range(below.clone()..).take_while(|(name, _)| {
            // Nothing else sorts behind it.
            name.starts_with(&below)
        });
        let direct = entries.filter_map(|(name, node)| {
            let name = name.strip_prefix(&below).filter(|name| !name.contains('/'))?;
            let file_type = match node {
                Node::File(_) | Node::Damaged | Node::Huge => FileType::File,
                Node::Link(_) => FileType::Link,
                Node::Directory => FileType::Directory,
            };
            Some(DirEntry { name: name.into(), file_type })
        });
        Ok(direct.collect())
    }

    fn read_link(&mut self, path: &str) -> Result<String, Error> {
        match self.node(path, false)?.1 {
            Node::Link(target) => Ok(target.clone()),
            _ => Err(Error { kind: ErrorKind::WrongType, path: path.into() }),
        }
    }

    /// Any time, told by the end of the target.
    fn link_modified(&mut self, path: &str) -> Option<u64> {
        let target = self.read_link(path).ok()?;
        let (rest, end) = target.as_bytes().split_last_chunk::<6>()?;
        let time = end.iter().fold(rest.len() as u64, |time, byte| time << 8 | u64::from(*byte));
        Some(time)
    }
}

struct Bytes {
    path: String,
    bytes: Vec<u8>,
}

impl File for Bytes {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&mut self, offset: u64, destination: &mut [u8]) -> Result<(), Error> {
        let start = usize::try_from(offset).ok();
        let source =
            start.and_then(|start| self.bytes.get(start..start.checked_add(destination.len())?));
        let source = source.ok_or(Error { kind: ErrorKind::BeyondEnd, path: self.path.clone() })?;
        destination.copy_from_slice(source);
        Ok(())
    }
}

struct Endless;

impl File for Endless {
    fn size(&self) -> u64 {
        HUGE
    }

    fn read_at(&mut self, _: u64, destination: &mut [u8]) -> Result<(), Error> {
        destination.fill(b'x');
        Ok(())
    }
}

/// The parts of a text; the first one may have no line of its own.
fn parts(text: &[u8]) -> Vec<&[u8]> {
    let starts = (1..text.len()).filter(|&at| text[at] == b'@' && text[at - 1] == b'\n');
    let mut bounds = vec![0];
    bounds.extend(starts);
    bounds.push(text.len());
    bounds.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

/// Changes `size` bytes of `data`, of which all may be used; gives the new size. `bytes` is
/// libFuzzer's own way of changing bytes.
pub fn mutate(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    bytes: fn(&mut [u8], usize, usize) -> usize,
) -> usize {
    let mut dice = Dice(u64::from(seed));
    let text = data[..size].to_vec();
    let parts = parts(&text);
    let room = max_size.min(data.len());
    let mut changed: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    let one = dice.below(changed.len());
    match dice.below(8) {
        // A part more, with the contents of one and a name made from two.
        0 => {
            let mut copy = changed[one].clone();
            replace_word(&mut copy, &changed[dice.below(changed.len())], &mut dice);
            let at = dice.below(changed.len() + 1);
            changed.insert(at, copy);
        }
        1 if changed.len() > 1 => {
            changed.remove(one);
        }
        // A word from elsewhere: a path, a hash, a key.
        2 | 3 => {
            let from = changed[dice.below(parts.len())].clone();
            replace_word(&mut changed[one], &from, &mut dice);
        }
        // The bytes of one part.
        4 | 5 => {
            let others = size - changed[one].len();
            let mut part = changed[one].clone();
            let length = part.len();
            part.resize(room.saturating_sub(others).max(1), 0);
            let (length, limit) = (length.min(part.len()), part.len());
            let length = bytes(&mut part, length, limit);
            part.truncate(length);
            changed[one] = part;
        }
        6 => {
            let kinds: [&[u8]; 5] = [b"@file", b"@link", b"@directory", b"@damaged", b"@huge"];
            let part = &mut changed[one];
            if let Some(end) =
                part.iter().position(|&byte| byte == b' ').filter(|_| part[0] == b'@')
            {
                part.splice(..end, kinds[dice.below(kinds.len())].iter().copied());
            }
        }
        _ => return bytes(data, size, max_size),
    }
    let text = changed.concat();
    let size = text.len().min(room);
    data[..size].copy_from_slice(&text[..size]);
    size
}

/// Puts a word of `from` in the place of one of `part`.
fn replace_word(part: &mut Vec<u8>, from: &[u8], dice: &mut Dice) {
    let word = dice.word(from);
    let word = from[word].to_vec();
    let place = dice.word(part);
    part.splice(place, word);
}

/// Random numbers, by the generator of Steele, Lea and Flood ("Fast splittable pseudorandom number
/// generators", 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed % limit.max(1) as u64) as usize
    }

    /// Where a word of `text` lies.
    fn word(&mut self, text: &[u8]) -> std::ops::Range<usize> {
        // With and without slashes: a path is a word, and a name in it is one.
        let whole = self.below(2) == 0;
        let is_end = |byte: &u8| {
            byte.is_ascii_whitespace() || b"\",=".contains(byte) || (!whole && *byte == b'/')
        };
        let at = self.below(text.len().max(1)).min(text.len());
        let start = text[..at].iter().rposition(is_end).map_or(0, |end| end + 1);
        let end = text[at..].iter().position(is_end).map_or(text.len(), |end| at + end);
        start..end
    }
}
