//! The cards that the runs boot from, and what of them belongs to which file.

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::{Context as _, Result};

use super::medium::{Block, Image};
use crate::{
    card::{Card, FileSystem, MIB, Partition, Table, splitmix},
    nixos::{DeviceTreeKey, Generation, System, Timeout, loader_entries::Naming},
    packing::{Compression, Packing},
    tree::{Content, Tree},
};

/// The board's tree, whose model names the generation instead.
const DEVICE_TREE: &[u8] = include_bytes!("../../../../../tests/fixtures/devicetree/nxp-evk.dtb");
const MODEL: &str = "NXP i.MX8MPlus EVK board";

/// How often a generation that is counted is tried.
pub(super) const TRIES: u8 = 2;

/// What a generation of a card is, when it is booted intact.
pub(super) struct Known {
    /// Its number.
    pub(super) number: u32,
    /// Its identity.
    pub(super) toplevel: String,
    /// Its command line.
    pub(super) command_line: String,
    /// The model that its device tree names.
    pub(super) model: String,
    /// Its kernel, unpacked.
    pub(super) kernel: Vec<u8>,
    /// Its initrd.
    pub(super) initrd: Vec<u8>,
}

/// Whose bytes a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A file that nothing protects: whoever reads it cannot know that it is damaged.
    Unprotected,
    /// A file, or a structure, with a checksum.
    Checked,
}

/// A card as it is made.
pub(super) struct Layout {
    /// What it is called in reports.
    pub(super) name: &'static str,
    /// Its contents.
    pub(super) image: Arc<Image>,
    /// Its generations, the newest first.
    pub(super) generations: Vec<Known>,
    /// Whether boots are counted.
    pub(super) is_counted: bool,
    owners: HashMap<u64, Owner>,
    /// Structures of FAT, and what else there is that nothing protects.
    others: Owner,
    used: Vec<u64>,
}

impl Layout {
    /// Whose bytes the block holds.
    pub(super) fn owner(&self, block: u64) -> Owner {
        self.owners.get(&block).copied().unwrap_or(self.others)
    }

    /// Blocks that hold something.
    pub(super) fn used(&self) -> &[u64] {
        &self.used
    }
}

/// How a card's entries are found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Extlinux,
    LoaderEntries,
    Profiles,
}

/// What is to be made.
struct Recipe {
    name: &'static str,
    source: Source,
    packing: Packing,
    is_counted: bool,
    timeout: u32,
    kernel_size: usize,
}

const RECIPES: [Recipe; 5] = [
    Recipe {
        name: "FAT, extlinux, Image",
        source: Source::Extlinux,
        packing: Packing::Plain,
        is_counted: false,
        timeout: 1,
        kernel_size: 60_000,
    },
    Recipe {
        name: "FAT, extlinux, Image, counted",
        source: Source::Extlinux,
        packing: Packing::Plain,
        is_counted: true,
        timeout: 0,
        kernel_size: 50_000,
    },
    Recipe {
        name: "ext4, profiles, gzip, counted",
        source: Source::Profiles,
        packing: Packing::Compressed(Compression::Gzip),
        is_counted: true,
        timeout: 0,
        kernel_size: 250_000,
    },
    Recipe {
        name: "ext4, profiles, Image",
        source: Source::Profiles,
        packing: Packing::Plain,
        is_counted: false,
        timeout: 1,
        kernel_size: 60_000,
    },
    Recipe {
        name: "FAT, loader entries, zboot with zstd",
        source: Source::LoaderEntries,
        packing: Packing::Zboot(Compression::Zstd),
        is_counted: false,
        timeout: 1,
        kernel_size: 150_000,
    },
];

/// Makes all cards below `cache`, unless they are there.
///
/// # Errors
/// A tool is missing or fails.
pub(super) fn make(cache: &Path) -> Result<Vec<Layout>> {
    let layout = |recipe: &Recipe| recipe.make(cache).with_context(|| recipe.name);
    RECIPES.iter().map(layout).collect()
}

impl Recipe {
    fn make(&self, cache: &Path) -> Result<Layout> {
        let mut known = Vec::new();
        let mut generations = Vec::new();
        for number in [42, 41, 40] {
            let (generation, kernel) = self.generation(number, cache)?;
            let initrd = generation.initrd.read()?.context("an initrd")?.to_vec();
            known.push(Known {
                number,
                toplevel: generation.toplevel(),
                command_line: generation.command_line(),
                model: model(number),
                kernel,
                initrd,
            });
            generations.push(generation);
        }
        let system = System {
            generations,
            default: 0,
            timeout: Timeout::Seconds(self.timeout),
            device_tree_key: DeviceTreeKey::File,
        };
        let (table, file_system, tree) = match self.source {
            Source::Extlinux => (Table::Mbr, FileSystem::Fat16, system.boot_folder()),
            Source::LoaderEntries => (Table::Gpt, FileSystem::Fat16, system.esp(Naming::Numbered)),
            Source::Profiles => (Table::Gpt, FileSystem::Ext4, system.root()),
        };
        let partition = Partition::new(file_system, "SYSTEM", tree.clone()).size(20 * MIB);
        let card = Card::new(table).size(64 * MIB).partition(partition).make(cache)?;
        let image = Image::read(card.path())?;
        let used = image.used();
        let others = match file_system {
            FileSystem::Ext4 => Owner::Checked,
            FileSystem::Fat16 | FileSystem::Fat32 => Owner::Unprotected,
        };
        Ok(Layout {
            name: self.name,
            owners: self.owners(&image, &used, &tree)?,
            image: Arc::new(image),
            generations: known,
            is_counted: self.is_counted,
            others,
            used,
        })
    }

    /// Which of all it is.
    fn id(&self) -> usize {
        RECIPES.iter().take_while(|other| other.name != self.name).count()
    }

    /// A generation, and its kernel unpacked.
    fn generation(&self, number: u32, cache: &Path) -> Result<(Generation, Vec<u8>)> {
        let kernel = kernel(number, self.kernel_size);
        let packed = match self.packing {
            Packing::Plain => Content::bytes(kernel.clone()),
            packing => Content::File(packing.pack(&kernel, cache)?),
        };
        let mut parameters = "console=ttymxc1,115200 root=fstab".to_owned();
        if self.is_counted {
            parameters += &format!(" firn.tries={TRIES}");
        }
        let generation = Generation {
            number,
            // No two generations of all cards share an identity.
            version: format!("25.11.202602{number}.{:07x}", self.id()),
            date: format!("2026-02-14 18:{number}"),
            kernel_version: format!("6.12.{number}"),
            kernel: packed,
            initrd: Content::bytes(noise(u64::from(number) + 1000, 30_001)),
            device_tree: Content::bytes(device_tree(number)?),
            more_initrds: Vec::new(),
            parameters,
            profile: None,
            specialisation: None,
            specialisations: Vec::new(),
            timeout: None,
            tries: self.is_counted.then_some(TRIES),
            has_boot_json: true,
        };
        Ok((generation, kernel))
    }

    /// Which blocks hold files.
    fn owners(&self, image: &Image, used: &[u64], tree: &Tree) -> Result<HashMap<u64, Owner>> {
        let mut of_bytes: HashMap<Block, Owner> = HashMap::new();
        for path in tree.paths() {
            let Some(bytes) = tree.get(path).and_then(|content| content.read().transpose()) else {
                continue;
            };
            let bytes = bytes?;
            let is_checked = self.packing != Packing::Plain && path.contains("Image");
            let owner = if is_checked { Owner::Checked } else { Owner::Unprotected };
            for piece in bytes.chunks(size_of::<Block>()) {
                let mut block = [0; size_of::<Block>()];
                block[..piece.len()].copy_from_slice(piece);
                of_bytes.insert(block, owner);
            }
        }
        let owner = |&number: &u64| Some((number, *of_bytes.get(&image.block(number))?));
        Ok(used.iter().filter_map(owner).collect())
    }
}

fn model(number: u32) -> String {
    format!("NXP i.MX8MPlus EVK of {number}")
}

/// The board's tree with another model of the same length.
fn device_tree(number: u32) -> Result<Vec<u8>> {
    let mut tree = DEVICE_TREE.to_vec();
    let model = model(number);
    let at = tree.windows(MODEL.len()).position(|bytes| bytes == MODEL.as_bytes());
    let at = at.context("the fixture's model")?;
    tree[at..at + MODEL.len()].fill(0);
    tree[at..at + model.len()].copy_from_slice(model.as_bytes());
    Ok(tree)
}

/// An arm64 Image as its header tells, of bytes of which a part can be compressed.
///
/// Source: Linux, Documentation/arch/arm64/booting.rst.
fn kernel(number: u32, size: usize) -> Vec<u8> {
    let mut image = noise(u64::from(number), size);
    for text in image.chunks_mut(3000) {
        let end = text.len().min(1000);
        text[..end].fill(number.to_le_bytes()[0]);
    }
    image[..64].fill(0);
    image[16..24].copy_from_slice(&(size as u64 + 0x8000).to_le_bytes());
    image[24..32].copy_from_slice(&0b1010_u64.to_le_bytes());
    image[56..60].copy_from_slice(b"ARM\x64");
    image
}

fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed;
    let words = (0..size.div_ceil(8)).flat_map(|_| splitmix(&mut state).to_le_bytes());
    words.take(size).collect()
}
