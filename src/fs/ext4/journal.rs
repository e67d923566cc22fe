//! Reads a journal that was not checkpointed: after a power cut, the newest state of directories
//! and inodes is there and nowhere else.
//!
//! Format: the kernel's `Documentation/filesystems/ext4/journal.rst`; rules of recovery:
//! `fs/jbd2/recovery.c`. The log is a ring of transactions, each of descriptor blocks with the
//! blocks that they describe, revocations and, last, a commit block. What was not committed never
//! happened; a revocation undoes what earlier transactions and its own say of a block.

use alloc::{collections::BTreeMap, format, vec, vec::Vec};

use super::{
    super::{ErrorKind, runs::RunMap},
    blocks::{Blocks, CopyChecksum, JournalCopy},
    bytes::{Crc32c, be16, be32, wide},
    inode::Inode,
    superblock::Superblock,
};

/// First number of each of the journal's own blocks.
pub(super) const MAGIC: u32 = 0xc03b_3998;

/// mke2fs makes no larger journal unless told to; the limit is one of memory.
const MAX_COPIES: usize = 1 << 18;

const HEADER_SIZE: usize = 12;
const TYPE_DESCRIPTOR: u32 = 1;
const TYPE_COMMIT: u32 = 2;
const TYPE_SUPERBLOCK_V1: u32 = 3;
const TYPE_SUPERBLOCK_V2: u32 = 4;
const TYPE_REVOKE: u32 = 5;

const SUPERBLOCK_SIZE: usize = 1024;
const SUPERBLOCK_CHECKSUM_AT: usize = 0xfc;
const COMMIT_CHECKSUM_AT: usize = 0x10;

const INCOMPAT_REVOKE: u32 = 0x1;
const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_KNOWN: u32 = INCOMPAT_REVOKE | INCOMPAT_64BIT | INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3;
const UNREADABLE: [(u32, &str); 2] =
    [(0x4, "journal_async_commit in use"), (0x20, "fast_commit in use")];

const TAG_ESCAPED: u32 = 0x1;
const TAG_SAME_UUID: u32 = 0x2;
const TAG_DELETED: u32 = 0x4;
const TAG_LAST: u32 = 0x8;

/// Reads the journal in inode `number` of a file system that needs recovery.
pub(super) fn replay(
    blocks: &Blocks,
    superblock: &Superblock,
    number: u32,
) -> Result<BTreeMap<u64, JournalCopy>, ErrorKind> {
    let inode = Inode::read(blocks, superblock, number)?;
    let map = inode.map(blocks, superblock)?;
    let mut first = vec![0; SUPERBLOCK_SIZE];
    read_at(blocks, &map, 0, &mut first)?;
    let format = Format::parse(&first, superblock, inode.size)?;
    if be32(&first, 0x1c) == 0 {
        // Everything is in its place already.
        return Ok(BTreeMap::new());
    }
    let log = Log::new(&first, blocks, map, superblock.block_size)?;
    let mut replay = Replay {
        log,
        format,
        sequence: be32(&first, 0x18),
        block_count: superblock.block_count,
        copies: BTreeMap::new(),
    };
    while replay.transaction()? == Found::Transaction {}
    Ok(replay.copies)
}

/// Which variant of the format a journal has.
#[derive(Clone, Copy)]
struct Format {
    is_64bit: bool,
    checksums: Option<Checksums>,
}

#[derive(Clone, Copy)]
struct Checksums {
    seed: Crc32c,
    /// Version 3, with checksums of 32 bits for each block; version 2 keeps 16.
    is_v3: bool,
}

impl Format {
    fn parse(bytes: &[u8], superblock: &Superblock, journal_size: u64) -> Result<Self, ErrorKind> {
        let block_type = be32(bytes, 4);
        if be32(bytes, 0) != MAGIC || !matches!(block_type, TYPE_SUPERBLOCK_V1 | TYPE_SUPERBLOCK_V2)
        {
            return Err(corrupt("the journal has no superblock"));
        }
        if be32(bytes, 0xc) != superblock.block_size {
            return Err(corrupt("the journal's blocks have another size"));
        }
        let size = u64::from(be32(bytes, 0x10)) * u64::from(superblock.block_size);
        if size > journal_size {
            return Err(corrupt("the journal is shorter than it says"));
        }
        // The first version has no features.
        let incompat = if block_type == TYPE_SUPERBLOCK_V1 { 0 } else { be32(bytes, 0x28) };
        check_features(incompat)?;
        let is_v3 = incompat & INCOMPAT_CSUM_V3 != 0;
        let has_checksums = is_v3 || incompat & INCOMPAT_CSUM_V2 != 0;
        if has_checksums {
            let sum = Crc32c::START.over_all_but(bytes, SUPERBLOCK_CHECKSUM_AT).0;
            if sum != be32(bytes, SUPERBLOCK_CHECKSUM_AT) {
                return Err(corrupt("wrong checksum of the journal's superblock"));
            }
        }
        let seed = Crc32c::START.over(&bytes[0x30..0x40]);
        Ok(Self {
            is_64bit: incompat & INCOMPAT_64BIT != 0,
            checksums: has_checksums.then_some(Checksums { seed, is_v3 }),
        })
    }

    /// Bytes of a tag, without a UUID behind it.
    fn tag_size(&self) -> usize {
        let narrow = match self.checksums {
            Some(Checksums { is_v3: true, .. }) => return 16,
            Some(_) => 10,
            None => 8,
        };
        if self.is_64bit { narrow + 4 } else { narrow }
    }

    /// Whether the checksum in `block` at `at` is right.
    fn is_good(&self, block: &[u8], at: usize) -> bool {
        self.checksums.is_none_or(|sums| sums.seed.over_all_but(block, at).0 == be32(block, at))
    }

    /// The part of a descriptor or revoke block before its checksum; `None` if that is wrong.
    fn checked<'a>(&self, block: &'a [u8]) -> Option<&'a [u8]> {
        let checksum_at = block.len().checked_sub(4)?;
        let end = if self.checksums.is_some() { checksum_at } else { block.len() };
        self.is_good(block, checksum_at).then(|| &block[..end])
    }
}

fn check_features(incompat: u32) -> Result<(), ErrorKind> {
    for (bit, name) in UNREADABLE {
        if incompat & bit != 0 {
            return Err(ErrorKind::Feature(name.into()));
        }
    }
    let unknown = incompat & !INCOMPAT_KNOWN;
    if unknown != 0 {
        return Err(ErrorKind::Feature(format!("unknown features {unknown:#x} of its journal")));
    }
    Ok(())
}

/// The ring of blocks, from its oldest on, each once.
struct Log<'a> {
    blocks: &'a Blocks,
    map: RunMap,
    block_size: u32,
    first: u32,
    end: u32,
    next: u32,
    left: u32,
}

impl<'a> Log<'a> {
    fn new(
        bytes: &[u8],
        blocks: &'a Blocks,
        map: RunMap,
        block_size: u32,
    ) -> Result<Self, ErrorKind> {
        let (end, first, start) = (be32(bytes, 0x10), be32(bytes, 0x14), be32(bytes, 0x1c));
        if first == 0 || !(first..end).contains(&start) {
            return Err(corrupt("the journal begins outside of itself"));
        }
        Ok(Self { blocks, map, block_size, first, end, next: start, left: end - first })
    }

    /// Takes the next block; `None` when all were taken.
    fn take(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        let number = self.next;
        self.next = if number + 1 == self.end { self.first } else { number + 1 };
        Some(number)
    }

    fn position(&self, number: u32) -> Result<u64, ErrorKind> {
        self.map
            .position(u64::from(number) * u64::from(self.block_size))
            .ok_or_else(|| corrupt("the journal has gaps"))
    }

    fn read(&self, number: u32) -> Result<Vec<u8>, ErrorKind> {
        let mut block = vec![0; usize::try_from(self.block_size).unwrap_or(0)];
        let offset = u64::from(number) * u64::from(self.block_size);
        read_at(self.blocks, &self.map, offset, &mut block)?;
        Ok(block)
    }
}

/// Whether the log goes on.
#[derive(PartialEq, Eq)]
enum Found {
    Transaction,
    End,
}

struct Replay<'a> {
    log: Log<'a>,
    format: Format,
    /// Of the transaction that comes next.
    sequence: u32,
    block_count: u64,
    copies: BTreeMap<u64, JournalCopy>,
}

/// A transaction that is not committed yet.
#[derive(Default)]
struct Transaction {
    copies: BTreeMap<u64, JournalCopy>,
    revoked: Vec<u64>,
}

impl Replay<'_> {
    /// Reads one transaction and, if it was committed, keeps what it says. Anything that does not
    /// continue the log is its end.
    fn transaction(&mut self) -> Result<Found, ErrorKind> {
        let mut transaction = Transaction::default();
        while let Some(number) = self.log.take() {
            let block = self.log.read(number)?;
            if be32(&block, 0) != MAGIC || be32(&block, 8) != self.sequence {
                return Ok(Found::End);
            }
            match be32(&block, 4) {
                TYPE_DESCRIPTOR => {
                    let Some(tags) = self.format.checked(&block) else { return Ok(Found::End) };
                    if self.describe(tags, &mut transaction)? == Found::End {
                        return Ok(Found::End);
                    }
                }
                TYPE_REVOKE => {
                    let Some(table) = self.format.checked(&block) else { return Ok(Found::End) };
                    self.revoke(table, &mut transaction);
                }
                TYPE_COMMIT if self.format.is_good(&block, COMMIT_CHECKSUM_AT) => {
                    self.commit(transaction);
                    return Ok(Found::Transaction);
                }
                _ => return Ok(Found::End),
            }
        }
        Ok(Found::End)
    }

    /// Notes the blocks behind a descriptor block.
    fn describe(
        &mut self,
        block: &[u8],
        transaction: &mut Transaction,
    ) -> Result<Found, ErrorKind> {
        let size = self.format.tag_size();
        let mut at = HEADER_SIZE;
        while let Some(bytes) = block.get(at..at + size) {
            let tag = Tag::parse(bytes, &self.format);
            let Some(number) = self.log.take() else { return Ok(Found::End) };
            if tag.block >= self.block_count {
                return Err(ErrorKind::Corrupt(format!("the journal has a block {}", tag.block)));
            }
            if tag.flags & TAG_DELETED == 0 {
                let copy = self.copy(&tag, number)?;
                transaction.copies.insert(tag.block, copy);
            }
            if tag.flags & TAG_LAST != 0 {
                break;
            }
            at += if tag.flags & TAG_SAME_UUID == 0 { size + 16 } else { size };
        }
        if self.copies.len() + transaction.copies.len() > MAX_COPIES {
            return Err(ErrorKind::Feature("more in its journal than fits into memory".into()));
        }
        Ok(Found::Transaction)
    }

    fn copy(&self, tag: &Tag, number: u32) -> Result<JournalCopy, ErrorKind> {
        let checksum = self.format.checksums.map(|sums| CopyChecksum {
            seed: sums.seed.over(&self.sequence.to_be_bytes()),
            value: tag.checksum,
            mask: if sums.is_v3 { u32::MAX } else { 0xffff },
        });
        let is_escaped = tag.flags & TAG_ESCAPED != 0;
        Ok(JournalCopy { position: self.log.position(number)?, is_escaped, checksum })
    }

    fn revoke(&self, block: &[u8], transaction: &mut Transaction) {
        // Its size counts the header and itself.
        let size = usize::try_from(be32(block, HEADER_SIZE)).unwrap_or(usize::MAX);
        let table = block.get(HEADER_SIZE + 4..size.min(block.len())).unwrap_or(&[]);
        let numbers: fn(&[u8]) -> u64 = match self.format.is_64bit {
            true => |bytes| wide(be32(bytes, 0), be32(bytes, 4)),
            false => |bytes| u64::from(be32(bytes, 0)),
        };
        let size = if self.format.is_64bit { 8 } else { 4 };
        transaction.revoked.extend(table.chunks_exact(size).map(numbers));
    }

    fn commit(&mut self, transaction: Transaction) {
        self.copies.extend(transaction.copies);
        for block in transaction.revoked {
            self.copies.remove(&block);
        }
        self.sequence = self.sequence.wrapping_add(1);
    }
}

/// Says of one block in the journal which block of the file system it is.
struct Tag {
    block: u64,
    flags: u32,
    checksum: u32,
}

impl Tag {
    fn parse(bytes: &[u8], format: &Format) -> Self {
        let low = be32(bytes, 0);
        match format.checksums {
            Some(Checksums { is_v3: true, .. }) => Self {
                block: wide(if format.is_64bit { be32(bytes, 8) } else { 0 }, low),
                flags: be32(bytes, 4),
                checksum: be32(bytes, 12),
            },
            _ => Self {
                block: wide(if format.is_64bit { be32(bytes, 8) } else { 0 }, low),
                flags: u32::from(be16(bytes, 6)),
                checksum: u32::from(be16(bytes, 4)),
            },
        }
    }
}

/// Reads from the journal; `destination` lies in one of its blocks.
fn read_at(
    blocks: &Blocks,
    map: &RunMap,
    offset: u64,
    destination: &mut [u8],
) -> Result<(), ErrorKind> {
    let position = map.position(offset).ok_or_else(|| corrupt("the journal has gaps"))?;
    blocks.read(position, destination)
}

fn corrupt(what: &str) -> ErrorKind {
    ErrorKind::Corrupt(what.into())
}
