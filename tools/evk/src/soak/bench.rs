//! The cards and the boards of the runs.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use firn::state::{RECORD_SIZE, place::GAP_OFFSETS};
use tempfile::TempPath;

use super::{
    boot::{self, Board, Ended},
    fault::{Damage, Fault, Part},
    files::{self, Owners, Unchecked},
    verdict::{Files, Reference, Verdict},
};
use crate::{
    assets::{self, Assets},
    card::{Card, CardImage, FileSystem, Filling, MIB, Partition, SECTOR, Table},
    guest,
    nixos::{DEVICE_TREE, Generation, System, Timeout, empty_root},
    qemu::{Entry, Slot},
    stub,
    tree::{Content, Tree},
};

/// What a board boots from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Medium {
    /// An SD card with /boot on FAT.
    SdFat,
    /// An SD card with profiles in an ext4 root, whose generations are counted.
    SdRoot,
    /// An SD card with /boot on FAT behind a modelled controller.
    ModelledSdFat,
    /// An eMMC with /boot on FAT, which is modelled as every eMMC here.
    EmmcFat,
    /// An eMMC with profiles in an ext4 root, whose generations are counted.
    EmmcRoot,
}

impl Medium {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::SdFat, Self::SdRoot, Self::ModelledSdFat, Self::EmmcFat, Self::EmmcRoot];

    /// Whether its bus can fail.
    pub fn is_modelled(self) -> bool {
        matches!(self, Self::ModelledSdFat | Self::EmmcFat | Self::EmmcRoot)
    }

    /// Whether /boot is on FAT, which has no checksums.
    pub fn is_fat(self) -> bool {
        !matches!(self, Self::SdRoot | Self::EmmcRoot)
    }

    pub(super) fn slot(self) -> Slot {
        match self {
            Self::SdFat | Self::SdRoot | Self::ModelledSdFat => Slot::Sd,
            Self::EmmcFat | Self::EmmcRoot => Slot::Emmc,
        }
    }

    /// What a user calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::SdFat => "SD, FAT",
            Self::SdRoot => "SD, ext4",
            Self::ModelledSdFat => "SD (model), FAT",
            Self::EmmcFat => "eMMC, FAT",
            Self::EmmcRoot => "eMMC, ext4",
        }
    }
}

/// Cards and firmware, made once.
pub struct Bench {
    pub(super) assets: Assets,
    /// A copy: a build meanwhile does not change what is tested.
    loader: TempPath,
    fat: Stock,
    root: Stock,
    references: Vec<(Medium, Reference)>,
    /// The stub kernel without what makes it longer: the length of its file, and of what it takes.
    stub: (usize, usize),
}

/// A card that is copied for each boot.
struct Stock {
    system: System,
    image: CardImage,
    used: Vec<std::ops::Range<u64>>,
    owners: Owners,
    /// The state record that a sound boot leaves: places, and what they hold. Empty where it leaves none.
    record: Vec<(u64, Vec<u8>)>,
    kernel: u64,
    initrd: u64,
    tree: u64,
}

/// How long a kernel and an initrd are: some commands' worth.
const KERNEL: usize = 160 * 1024;
const INITRD: usize = 96 * 1024;

impl Bench {
    /// Makes the cards and boots each of them once, as it should be.
    ///
    /// # Errors
    /// Something of the set-up is missing, or a sound boot fails.
    pub fn new() -> Result<Self> {
        let assets = Assets::locate()?;
        let loader = tempfile::NamedTempFile::new()?.into_temp_path();
        fs::copy(assets::firmware("firn.bin")?, &loader)?;
        let folder = assets::tree().join("target/firn");
        let stub = fs::read(guest::build(&folder.join("guest"))?.stub_kernel)?;
        let system = System::small(&assets, &stub)?;
        let mut system = System { timeout: Timeout::Seconds(0), ..system };
        let taken = stub.get(16..24).context("a kernel without a header")?;
        let taken = usize::try_from(u64::from_le_bytes(taken.try_into()?))?;
        for generation in &mut system.generations {
            generation.kernel = Content::bytes(long_kernel(&stub, generation.number));
            generation.initrd = Content::bytes(long_initrd(generation.number));
        }
        let cards = folder.join("cards");
        let fat = Stock::new(&system, &system.boot_folder(), &fat_card(&system), &cards)?;
        for generation in &mut system.generations {
            generation.tries = Some(3);
        }
        let root = Stock::new(&system, &system.root(), &root_card(&system), &cards)?;
        let mut bench =
            Self { assets, loader, fat, root, references: Vec::new(), stub: (stub.len(), taken) };
        for medium in Medium::ALL {
            let ended = bench.boot(medium, &[])?;
            let reference = bench
                .files(medium)
                .and_then(|files| Reference::new(files, &ended))
                .with_context(|| format!("{}, without a fault:\n{}", medium.name(), ended.text))?;
            bench.references.push((medium, reference));
        }
        bench.root.record = bench.record_of_a_boot()?;
        Ok(bench)
    }

    /// The state record that a boot leaves on a card that had none.
    fn record_of_a_boot(&self) -> Result<Vec<(u64, Vec<u8>)>> {
        let card = self.root.image.copy()?;
        let ended = self.boot_card(&card, Medium::SdRoot, &[])?;
        let verdict = self.judge(Medium::SdRoot, &[], &ended);
        ensure!(verdict == Verdict::Default, "{verdict:?}\n{}", ended.text);
        let file = fs::File::open(&card)?;
        let mut record = Vec::new();
        for place in GAP_OFFSETS {
            let mut copy = vec![0; RECORD_SIZE];
            file.read_exact_at(&mut copy, place)?;
            record.push((place, copy));
        }
        // A damaged one is to be the only one.
        let written = record.iter().filter(|(_, copy)| copy.iter().any(|byte| *byte != 0)).count();
        ensure!(written == 1, "{written} copies of the state record after a boot");
        Ok(record)
    }

    fn reference(&self, medium: Medium) -> Option<&Reference> {
        self.references.iter().find(|(of, _)| *of == medium).map(|(_, reference)| reference)
    }

    fn stock(&self, medium: Medium) -> &Stock {
        if medium.is_fat() { &self.fat } else { &self.root }
    }

    /// What each generation consists of.
    fn files(&self, medium: Medium) -> Result<Vec<Files>> {
        let files = |generation: &Generation| {
            let initrd = generation.initrd.read()?.context("no initrd")?;
            Ok(Files {
                number: generation.number,
                toplevel: generation.toplevel(),
                command_line: generation.command_line(),
                kernel_sum: self.kernel_sum(generation)?,
                initrd_sum: stub::sum(&initrd),
            })
        };
        self.stock(medium).system.generations.iter().map(files).collect()
    }

    /// What the stub kernel says when the whole file of `generation`'s kernel is where it should be.
    fn kernel_sum(&self, generation: &Generation) -> Result<u64> {
        let kernel = generation.kernel.read()?.context("no kernel")?;
        let (file, taken) = self.stub;
        Ok(stub::sum(&[&kernel[..file], &kernel[taken..]].concat()))
    }

    /// Holds what was seen of a boot with `faults` against the promise.
    pub fn judge(&self, medium: Medium, faults: &[Fault], ended: &Ended) -> Verdict {
        match self.reference(medium) {
            Some(reference) => reference.judge(faults, ended),
            None => Verdict::Broken("no sound boot to compare with".into()),
        }
    }

    /// The errors of a boot that a sound one does not have, or not as often.
    pub(super) fn new_codes(&self, medium: Medium, ended: &Ended) -> Vec<String> {
        let reference = self.reference(medium);
        reference.map(|reference| reference.new_codes(&ended.text)).unwrap_or_default()
    }

    /// Boots from a copy of the card with all of `faults`.
    ///
    /// # Errors
    /// The emulator could not be started or talked to.
    pub fn boot(&self, medium: Medium, faults: &[Fault]) -> Result<Ended> {
        let card = self.stock(medium).image.copy()?;
        self.boot_card(&card, medium, faults)
    }

    /// The same from this `card`.
    fn boot_card(&self, card: &Path, medium: Medium, faults: &[Fault]) -> Result<Ended> {
        let stock = self.stock(medium);
        let mut altered = BTreeSet::new();
        for fault in faults {
            if let Fault::Damaged { part: Part::Record, .. } | Fault::Unreadable(Part::Record) =
                fault
            {
                stock.put_record(card)?;
            }
            match fault {
                Fault::Damaged { part, damage } => {
                    altered.append(&mut stock.damage(card, *part, *damage)?);
                }
                Fault::Journal(journal) => {
                    journal.put(card, stock.image.partitions()[0].start)?;
                }
                _ => {}
            }
        }
        let before = kept(card)?;
        let bad = faults.iter().find_map(|fault| match fault {
            Fault::Unreadable(part) => Some(stock.sector(*part)),
            _ => None,
        });
        let other: Option<TempPath> =
            match faults.iter().any(|fault| matches!(fault, Fault::Swapped(_))) {
                true => Some(stock.image.copy()?),
                false => None,
            };
        let characters = self.reference(medium).map_or(0, |reference| reference.characters);
        let board = Board {
            assets: &self.assets,
            entry: Entry::Kernel {
                image: self.loader.to_path_buf(),
                device_tree: self.assets.dtbs.join(DEVICE_TREE),
                initrd: None,
                command_line: None,
            },
            medium,
            card,
            bad_sector: bad,
            other: other.as_deref(),
            characters,
        };
        let mut ended = boot::boot(&board, faults)?;
        ended.card_changed = kept(card)? != before;
        ended.altered = altered;
        Ok(ended)
    }
}

/// A sum of all of a card but the places of its state record.
fn kept(card: &Path) -> Result<u64> {
    use std::hash::{DefaultHasher, Hasher as _};
    const RECORD: u64 = RECORD_SIZE as u64;
    let mut hasher = DefaultHasher::new();
    let file = fs::File::open(card)?;
    for data in crate::card::data_ranges(&file)? {
        let mut at = data.start / SECTOR * SECTOR;
        let mut sector = [0; 512];
        while at < data.end {
            file.read_exact_at(&mut sector, at)?;
            let is_record = GAP_OFFSETS.iter().any(|start| (*start..start + RECORD).contains(&at));
            // Where there was a hole, there may be zeros now.
            if !is_record && sector != [0; 512] {
                hasher.write_u64(at);
                hasher.write(&sector);
            }
            at += SECTOR;
        }
    }
    Ok(hasher.finish())
}

fn fat_card(system: &System) -> Card {
    Card::new(Table::Gpt)
        .size(256 * MIB)
        .partition(Partition::new(FileSystem::Fat32, "BOOT", system.boot_folder()).size(64 * MIB))
        .partition(Partition::new(FileSystem::Ext4, "NIXOS_SD", empty_root()))
}

fn root_card(system: &System) -> Card {
    Card::new(Table::Mbr).size(256 * MIB).partition(Partition::new(
        FileSystem::Ext4,
        "NIXOS_SD",
        system.root(),
    ))
}

/// The stub kernel in a longer file, of which no two are alike. Source of the header: Linux documentation,
/// arch/arm64/booting.
fn long_kernel(stub: &[u8], number: u32) -> Vec<u8> {
    let mut kernel = stub.to_vec();
    kernel.extend(Filling::Noise(number.into()).bytes((KERNEL - stub.len()) as u64));
    kernel[16..24].copy_from_slice(&(KERNEL.next_multiple_of(0x1_0000) as u64).to_le_bytes());
    kernel[32..40].copy_from_slice(&(KERNEL as u64).to_le_bytes());
    // In another reserved field, so that its first sector is known.
    kernel[40..48].copy_from_slice(format!("number{number}").as_bytes());
    kernel
}

fn long_initrd(number: u32) -> Vec<u8> {
    let mut initrd = format!("initrd of generation {number}\n").into_bytes();
    initrd.extend(Filling::Noise(number.into()).bytes((INITRD - initrd.len()) as u64));
    initrd
}

impl Stock {
    fn new(system: &System, tree: &Tree, card: &Card, cards: &Path) -> Result<Self> {
        let image = card.make(cards)?;
        let default = system.generations.first().context("no generation")?;
        let find = |content: &Content| -> Result<u64> {
            let bytes = content.read()?.context("no file")?;
            image.sector_beginning_with(&bytes[..512.min(bytes.len())])
        };
        let used = image.used()?;
        ensure!(!used.is_empty(), "an empty card");
        let is_fat = default.tries.is_none();
        let partition = &image.partitions()[0];
        let (start, length) = (partition.start / SECTOR, partition.length / SECTOR);
        let fat = start..start + if is_fat { length } else { 0 };
        let file = fs::File::open(image.path())?;
        Ok(Self {
            record: Vec::new(),
            owners: Owners::find(&files::contents(system, tree)?, &file, &used, fat)?,
            kernel: find(&default.kernel)?,
            initrd: find(&default.initrd)?,
            tree: find(&default.device_tree)?,
            system: system.clone(),
            used,
            image,
        })
    }

    /// The first sector of a part.
    fn sector(&self, part: Part) -> u64 {
        let partition = self.image.partitions()[0].start / SECTOR;
        match part {
            Part::Table => 0,
            Part::TableHeader => 1,
            Part::BackupTable => 256 * MIB / SECTOR - 33,
            // The superblock of ext4 is the third.
            Part::FileSystem => partition + 2,
            Part::Kernel => self.kernel,
            Part::Initrd => self.initrd,
            Part::DeviceTree => self.tree,
            Part::Record => {
                let is_written = |(_, copy): &&(u64, Vec<u8>)| copy.iter().any(|byte| *byte != 0);
                let written = self.record.iter().find(is_written);
                written.map_or(GAP_OFFSETS[0], |(place, _)| *place) / SECTOR
            }
            Part::Anywhere(number) => {
                let total: u64 = self.used.iter().map(|range| range.end - range.start).sum();
                let mut left = number % total.max(1);
                for range in &self.used {
                    let length = range.end - range.start;
                    if left < length {
                        return range.start + left;
                    }
                    left -= length;
                }
                0
            }
        }
    }

    /// Lets a card have the state record that a boot leaves.
    fn put_record(&self, card: &Path) -> Result<()> {
        let file = OpenOptions::new().write(true).open(card)?;
        self.record.iter().try_for_each(|(place, copy)| Ok(file.write_all_at(copy, *place)?))
    }

    /// Damages a card; what it alters where no checksum tells.
    fn damage(&self, card: &Path, part: Part, damage: Damage) -> Result<BTreeSet<Unchecked>> {
        let file = OpenOptions::new().read(true).write(true).open(card)?;
        let start = match (part, self.system.numbered(42).tries) {
            // FAT's own first sector is the one that matters.
            (Part::FileSystem, None) => self.sector(part) - 2,
            _ => self.sector(part),
        };
        let at = start * SECTOR;
        let bytes = match damage {
            Damage::Zeros(sectors) => Filling::Zeros.bytes(sectors * SECTOR),
            Damage::Noise(seed, sectors) => Filling::Noise(seed).bytes(sectors * SECTOR),
            Damage::Bit(bit) => {
                let mut sector = vec![0; 512];
                file.read_exact_at(&mut sector, at)?;
                sector[usize::from(bit / 8) % 512] ^= 1 << (bit % 8);
                sector
            }
        };
        let mut before = vec![0; bytes.len()];
        file.read_exact_at(&mut before, at)?;
        file.write_all_at(&bytes, at)?;
        Ok(self.owners.altered(start, &before, &bytes))
    }
}
