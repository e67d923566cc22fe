//! Inodes, and where their contents are.
//!
//! Formats: the kernel's `Documentation/filesystems/ext4/{group_descr,inodes,ifork,blockmap}.rst`.
//! All of this is total: whatever the bytes are, the answer is a map or an error, after a bounded
//! number of reads.

use alloc::{format, vec, vec::Vec};

use super::{
    super::{
        ErrorKind,
        runs::{MAX_RUNS, Run, RunError, RunMap},
    },
    blocks::Blocks,
    bytes::{Crc32c, le16, le32, wide},
    superblock::{self, Superblock},
};

const TYPE_MASK: u16 = 0xf000;
const TYPE_REGULAR: u16 = 0x8000;
const FLAG_COMPRESSED: u32 = 0x4;
const FLAG_ENCRYPTED: u32 = 0x800;
const FLAG_EXTENTS: u32 = 0x80000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;

const MAP_AT: usize = 0x28;
const GENERATION_AT: usize = 0x64;
const CHECKSUM_LOW_AT: usize = 0x7c;
const EXTRA_SIZE_AT: usize = 0x80;
const CHECKSUM_HIGH_AT: usize = 0x82;
const DESCRIPTOR_CHECKSUM_AT: usize = 0x1e;

const EXTENT_MAGIC: u16 = 0xf30a;
const ENTRY_SIZE: usize = 12;
const MAX_DEPTH: u16 = 5;
/// Lengths above this are of extents that were allocated but never written: they read as zeros.
const MAX_WRITTEN: u16 = 0x8000;
/// More blocks of a map than a file of [`MAX_RUNS`] pieces has.
const MAX_NODES: u32 = 1 << 14;

const DIRECT_BLOCKS: usize = 12;
const INDIRECT_LEVELS: usize = 3;

/// A regular file's inode.
pub(super) struct Inode {
    number: u32,
    /// Type and permissions.
    pub(super) mode: u16,
    /// Size in bytes.
    pub(super) size: u64,
    flags: u32,
    /// Of the checksums of its extent blocks.
    seed: Option<Crc32c>,
    /// The root of its map.
    map: [u8; 60],
}

impl Inode {
    /// Reads inode `number`, which must be of a regular file.
    pub(super) fn read(
        blocks: &Blocks,
        superblock: &Superblock,
        number: u32,
    ) -> Result<Self, ErrorKind> {
        let index = number.checked_sub(1).filter(|&index| index < superblock.inode_count);
        let Some(index) = index else {
            return Err(ErrorKind::Corrupt(format!("a link to inode {number}")));
        };
        let table = inode_table(blocks, superblock, index / superblock.inodes_per_group)?;
        let offset = u64::from(index % superblock.inodes_per_group)
            .saturating_mul(u64::from(superblock.inode_size));
        let position = table.saturating_mul(u64::from(superblock.block_size));

        let mut bytes = vec![0; usize::from(superblock.inode_size)];
        blocks.read(position.saturating_add(offset), &mut bytes)?;
        let mut inode = Self {
            number,
            mode: le16(&bytes, 0x0),
            size: wide(le32(&bytes, 0x6c), le32(&bytes, 0x4)),
            flags: le32(&bytes, 0x20),
            seed: None,
            map: core::array::from_fn(|at| bytes[MAP_AT + at]),
        };
        if let Some(seed) = superblock.checksum_seed {
            let seed = seed.over(&number.to_le_bytes()).over(&bytes[GENERATION_AT..][..4]);
            if !is_good(&bytes, seed) {
                return Err(inode.corrupt("wrong checksum"));
            }
            inode.seed = Some(seed);
        }
        inode.check()?;
        Ok(inode)
    }

    fn check(&self) -> Result<(), ErrorKind> {
        if self.mode & TYPE_MASK != TYPE_REGULAR {
            return Err(self.corrupt("not a file"));
        }
        for (flag, name) in [
            (FLAG_COMPRESSED, "compression"),
            (FLAG_ENCRYPTED, "encrypt"),
            (FLAG_INLINE_DATA, "inline_data"),
        ] {
            if self.flags & flag != 0 {
                return Err(ErrorKind::Feature(name.into()));
            }
        }
        Ok(())
    }

    /// Where the contents are.
    pub(super) fn map(
        &self,
        blocks: &Blocks,
        superblock: &Superblock,
    ) -> Result<RunMap, ErrorKind> {
        let mut mapper = Mapper {
            blocks,
            superblock,
            inode: self,
            block_count: self.size.div_ceil(u64::from(superblock.block_size)),
            nodes_left: MAX_NODES,
            map: RunMap::default(),
        };
        if self.flags & FLAG_EXTENTS != 0 {
            mapper.add_extents(&self.map, None)?;
        } else {
            mapper.add_block_map(&self.map)?;
        }
        Ok(mapper.map)
    }

    fn corrupt(&self, what: &str) -> ErrorKind {
        ErrorKind::Corrupt(format!("inode {}: {what}", self.number))
    }
}

/// Whether the checksum of an inode, in two halves, is right.
fn is_good(bytes: &[u8], seed: Crc32c) -> bool {
    let (before, rest) = bytes.split_at(CHECKSUM_LOW_AT);
    let seed = seed.over(before).over(&[0; 2]);
    let low = u32::from(le16(rest, 0));
    if bytes.len() == 128 || le16(bytes, EXTRA_SIZE_AT) < 4 {
        return seed.over(&rest[2..]).0 & 0xffff == low;
    }
    let (between, behind) = rest[2..].split_at(CHECKSUM_HIGH_AT - CHECKSUM_LOW_AT - 2);
    let high = u32::from(le16(behind, 0));
    seed.over(between).over(&[0; 2]).over(&behind[2..]).0 == high << 16 | low
}

/// The first block of a group's inodes.
fn inode_table(blocks: &Blocks, superblock: &Superblock, group: u32) -> Result<u64, ErrorKind> {
    let block_size = u64::from(superblock.block_size);
    // Behind the superblock's block.
    let table = (superblock::AT / block_size + 1) * block_size;
    let offset = u64::from(group) * u64::from(superblock.descriptor_size);
    let mut descriptor = vec![0; usize::from(superblock.descriptor_size)];
    blocks.read(table.saturating_add(offset), &mut descriptor)?;
    if let Some(seed) = superblock.checksum_seed {
        let (before, rest) = descriptor.split_at(DESCRIPTOR_CHECKSUM_AT);
        let sum = seed.over(&group.to_le_bytes()).over(before).over(&[0; 2]).over(&rest[2..]);
        if sum.0 & 0xffff != u32::from(le16(rest, 0)) {
            return Err(ErrorKind::Corrupt(format!("wrong checksum of group {group}")));
        }
    }
    let high = if superblock.is_64bit { le32(&descriptor, 0x28) } else { 0 };
    let first = wide(high, le32(&descriptor, 0x8));
    if first >= superblock.block_count {
        return Err(ErrorKind::Corrupt(format!("the inodes of group {group} at block {first}")));
    }
    Ok(first)
}

/// Gathers a file's runs.
struct Mapper<'a> {
    blocks: &'a Blocks,
    superblock: &'a Superblock,
    inode: &'a Inode,
    /// Blocks of the file, gaps included.
    block_count: u64,
    nodes_left: u32,
    map: RunMap,
}

impl Mapper<'_> {
    /// Adds the extents of a node and those below it. `parent_depth` is that of the node above.
    fn add_extents(&mut self, node: &[u8], parent_depth: Option<u16>) -> Result<(), ErrorKind> {
        let (count, depth) = (usize::from(le16(node, 2)), le16(node, 6));
        let is_depth_right = match parent_depth {
            Some(above) => depth.checked_add(1) == Some(above),
            None => depth <= MAX_DEPTH,
        };
        if le16(node, 0) != EXTENT_MAGIC || !is_depth_right {
            return Err(self.corrupt("a damaged extent node"));
        }
        let room = node.len() / ENTRY_SIZE - 1;
        if count > room {
            return Err(self.corrupt("an extent node with too many entries"));
        }
        let entries = node[ENTRY_SIZE..].chunks_exact(ENTRY_SIZE).take(count);
        if depth == 0 {
            return entries.map(Extent::parse).try_for_each(|extent| self.add_extent(&extent));
        }
        for entry in entries {
            let child = wide(u32::from(le16(entry, 8)), le32(entry, 4));
            let node = self.read_node(child)?;
            self.check_node(&node)?;
            self.add_extents(&node, Some(depth))?;
        }
        Ok(())
    }

    fn add_extent(&mut self, extent: &Extent) -> Result<(), ErrorKind> {
        let end = extent.start.checked_add(extent.count);
        let is_on_volume = end.is_some_and(|end| end <= self.superblock.block_count);
        if extent.count == 0 || extent.start == 0 || !is_on_volume {
            return Err(self.corrupt("an extent beyond the end of the file system"));
        }
        if !extent.is_written {
            return Ok(());
        }
        self.add_blocks(extent.logical, extent.start, extent.count)
    }

    /// Adds consecutive blocks, from the journal those that it has copies of.
    fn add_blocks(&mut self, logical: u64, start: u64, count: u64) -> Result<(), ErrorKind> {
        let (mut logical, mut start) = (logical, start);
        let end = start.saturating_add(count);
        while start < end {
            let copy = self.blocks.next_copy(start, end)?;
            let own_end = copy.map_or(end, |(number, _)| number);
            if own_end > start {
                let position = start.saturating_mul(u64::from(self.superblock.block_size));
                self.push(logical, position, own_end - start)?;
            }
            let skipped = own_end - start;
            logical = logical.saturating_add(skipped);
            start = own_end;
            if let Some((_, position)) = copy {
                self.push(logical, position, 1)?;
                logical = logical.saturating_add(1);
                start = start.saturating_add(1);
            }
        }
        Ok(())
    }

    fn push(&mut self, logical: u64, position: u64, count: u64) -> Result<(), ErrorKind> {
        let block_size = u64::from(self.superblock.block_size);
        let run = Run {
            offset: logical.saturating_mul(block_size),
            position,
            length: count.saturating_mul(block_size),
        };
        self.map.push(run).map_err(|error| match error {
            RunError::OutOfOrder => self.corrupt("extents that overlap"),
            RunError::TooMany => ErrorKind::Feature(format!("a file in {MAX_RUNS} pieces")),
        })
    }

    /// Adds the blocks of the map of ext2 and ext3: twelve, then trees of one to three levels.
    fn add_block_map(&mut self, root: &[u8; 60]) -> Result<(), ErrorKind> {
        let mut logical = 0;
        for at in 0..DIRECT_BLOCKS {
            self.add_pointer(&mut logical, le32(root, 4 * at), 0)?;
        }
        for level in 1..=INDIRECT_LEVELS {
            self.add_pointer(&mut logical, le32(root, 4 * (DIRECT_BLOCKS + level - 1)), level)?;
        }
        if logical < self.block_count {
            return Err(self.corrupt("a file larger than its map can be"));
        }
        Ok(())
    }

    /// Adds the block at `pointer`, or those in the tree of `level` levels there; moves `logical`
    /// behind them. A pointer of zero stands for a gap of that size.
    fn add_pointer(
        &mut self,
        logical: &mut u64,
        pointer: u32,
        level: usize,
    ) -> Result<(), ErrorKind> {
        if *logical >= self.block_count {
            return Ok(());
        }
        if pointer == 0 {
            let pointers = u64::from(self.superblock.block_size / 4);
            let span = (0..level).fold(1_u64, |span, _| span.saturating_mul(pointers));
            *logical = logical.saturating_add(span);
            return Ok(());
        }
        if level == 0 {
            if u64::from(pointer) >= self.superblock.block_count {
                return Err(self.corrupt("a block beyond the end of the file system"));
            }
            self.add_blocks(*logical, u64::from(pointer), 1)?;
            *logical = logical.saturating_add(1);
            return Ok(());
        }
        let node = self.read_node(u64::from(pointer))?;
        if level == 1 {
            return self.add_pointers(logical, &node);
        }
        for at in (0..node.len()).step_by(4) {
            self.add_pointer(logical, le32(&node, at), level - 1)?;
        }
        Ok(())
    }

    /// Adds the blocks that a node of the last level points to, consecutive ones at once.
    fn add_pointers(&mut self, logical: &mut u64, node: &[u8]) -> Result<(), ErrorKind> {
        let mut pointers = node.chunks_exact(4).map(|bytes| le32(bytes, 0)).peekable();
        while let Some(first) = pointers.next() {
            if first == 0 || *logical >= self.block_count {
                *logical = logical.saturating_add(1);
                continue;
            }
            let mut end = u64::from(first) + 1;
            while pointers.next_if(|&next| u64::from(next) == end).is_some() {
                end += 1;
            }
            if end > self.superblock.block_count {
                return Err(self.corrupt("a block beyond the end of the file system"));
            }
            self.add_blocks(*logical, u64::from(first), end - u64::from(first))?;
            *logical = logical.saturating_add(end - u64::from(first));
        }
        Ok(())
    }

    fn read_node(&mut self, block: u64) -> Result<Vec<u8>, ErrorKind> {
        let left = self.nodes_left.checked_sub(1);
        self.nodes_left = left.ok_or_else(|| self.corrupt("a map without end"))?;
        let mut node = vec![0; usize::try_from(self.superblock.block_size).unwrap_or(0)];
        if block >= self.superblock.block_count {
            return Err(self.corrupt("a node beyond the end of the file system"));
        }
        self.blocks.read(block.saturating_mul(u64::from(self.superblock.block_size)), &mut node)?;
        Ok(node)
    }

    /// The checksum lies behind the last entry that the node has room for.
    fn check_node(&self, node: &[u8]) -> Result<(), ErrorKind> {
        let Some(seed) = self.inode.seed else { return Ok(()) };
        let checksum_at = ENTRY_SIZE * (usize::from(le16(node, 4)) + 1);
        let is_good = node
            .get(..checksum_at)
            .is_some_and(|covered| seed.over(covered).0 == le32(node, checksum_at));
        if !is_good {
            return Err(self.corrupt("wrong checksum of an extent node"));
        }
        Ok(())
    }

    fn corrupt(&self, what: &str) -> ErrorKind {
        self.inode.corrupt(what)
    }
}

/// A leaf of an extent tree.
struct Extent {
    /// Its first block in the file.
    logical: u64,
    /// Its first block in the file system.
    start: u64,
    count: u64,
    is_written: bool,
}

impl Extent {
    fn parse(entry: &[u8]) -> Self {
        let length = le16(entry, 4);
        let is_written = length <= MAX_WRITTEN;
        Self {
            logical: u64::from(le32(entry, 0)),
            start: wide(u32::from(le16(entry, 6)), le32(entry, 8)),
            count: u64::from(if is_written { length } else { length - MAX_WRITTEN }),
            is_written,
        }
    }
}
