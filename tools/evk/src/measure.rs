//! Boots that are measured: instructions counted, the card's traffic traced, two runs the same to
//! the byte.
//!
//! What is booted is a system as NixOS lays it out whose default generation has a kernel and an
//! initrd of given sizes. The kernel is the stub kernel, made as long as it has to be: it tells the
//! time at its first instruction, and the time is a count of instructions.

use std::{fs, ops::Range, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{
    assets::Assets,
    card::{CardImage, Filling, GIB, SECTOR, Table},
    nixos::{self, DEVICE_TREE, System, Timeout},
    packing::Packing,
    qemu::{Entry, Machine, Slot},
    session::Session,
    stub,
    trace::{CARD_EVENTS, CardTraffic},
    tree::Content,
};

/// Instructions between two ticks of the generic timer: one takes a nanosecond, the timer runs at
/// 8 MHz.
const INSTRUCTIONS_PER_TICK: u64 = 125;

/// Text that is on the menu's screen and nowhere before it.
const MENU: &str = "Enter ";
/// The key that chooses the default.
const CHOOSE: u8 = b'\r';
/// A wait for the loader; counted instructions take some ten times as long as others.
const DEADLINE: Duration = Duration::from_secs(120);

/// Bytes at a file's start that no other file on the card begins with.
const KNOWN_BY: usize = 64;

/// Where an Image header tells how much memory the kernel needs. Source: Linux documentation,
/// arch/arm64/booting.
const IMAGE_SIZE: Range<usize> = 16..24;

/// How large the files of a generation are, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The kernel's file.
    pub kernel: u64,
    /// The kernel in memory, with its BSS.
    pub kernel_in_memory: u64,
    /// The initrd.
    pub initrd: u64,
}

impl Sizes {
    /// Debian's arm64 kernel 6.12.107 and its initrd: what other boot loaders were measured with.
    pub const REAL: Self =
        Self { kernel: 37_660_608, kernel_in_memory: 38_731_776, initrd: 26_153_191 };
    /// What shows the costs that do not grow with the files.
    pub const SMALL: Self = Self { kernel: 65_536, kernel_in_memory: 65_536, initrd: 4096 };
}

/// Where /boot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// A FAT32 partition, in front of the root.
    Fat,
    /// A folder of the ext4 root.
    Ext4,
}

/// A card with a boot to be measured.
#[derive(Debug)]
pub struct Subject {
    card: CardImage,
    has_menu: bool,
    initrd: Vec<u8>,
    /// Bytes that the loader cannot do without: kernel, initrd and device tree.
    needed: u64,
    /// The sectors of kernel and initrd, each in one piece.
    files: [Range<u64>; 2],
}

impl Subject {
    /// Makes the card below `cache`, or finds it there. `timeout` of zero seconds boots at once.
    pub fn make(
        assets: &Assets,
        stub_kernel: &Path,
        boot: Boot,
        sizes: Sizes,
        timeout: Timeout,
        cache: &Path,
    ) -> Result<Self> {
        let stub = read(stub_kernel)?;
        let kernel = kernel(&stub, sizes)?;
        Self::with_kernel(assets, &stub, boot, kernel, sizes.initrd, timeout, cache)
    }

    /// A card whose kernel is Debian's in another form, but for its first instructions, which are the
    /// stub's; booted at once.
    ///
    /// # Errors
    /// A tool is missing or fails.
    pub fn packed(
        assets: &Assets,
        stub_kernel: &Path,
        packing: Packing,
        cache: &Path,
    ) -> Result<Self> {
        let stub = read(stub_kernel)?;
        let image = linux_told_by(&stub, read(&assets.kernel)?)?;
        let kernel = read(&packing.pack(&image, cache)?)?;
        let (boot, timeout) = (Boot::Ext4, Timeout::Seconds(0));
        Self::with_kernel(assets, &stub, boot, kernel, Sizes::REAL.initrd, timeout, cache)
    }

    fn with_kernel(
        assets: &Assets,
        stub: &[u8],
        boot: Boot,
        kernel: Vec<u8>,
        initrd: u64,
        timeout: Timeout,
        cache: &Path,
    ) -> Result<Self> {
        let initrd = Filling::Noise(initrd).bytes(initrd);
        let mut system = System::small(assets, stub)?;
        system.timeout = timeout;
        let default = system.default;
        let generation = system.generations.get_mut(default).context("a system has a default")?;
        generation.kernel = Content::bytes(kernel.clone());
        generation.initrd = Content::bytes(initrd.clone());
        let tree = generation.device_tree.read()?.context("a device tree is a file")?;
        let folder = system.boot_folder();
        let card = match boot {
            Boot::Fat => nixos::card_with_fat_boot(Table::Gpt, folder),
            Boot::Ext4 => nixos::card_with_ext4_boot(Table::Gpt, folder),
        };
        let card = card.make(cache)?;
        Ok(Self {
            files: [sectors(&card, &kernel)?, sectors(&card, &initrd)?],
            card,
            has_menu: timeout != Timeout::Seconds(0),
            needed: (kernel.len() + initrd.len() + tree.len()) as u64,
            initrd,
        })
    }

    /// Boots `loader` on a board whose instructions are counted. With a `stamp` (see
    /// [`guest::build_stamp`](crate::guest::build_stamp)) the moments on the way are known, too.
    pub fn boot(&self, assets: &Assets, loader: &Path, stamp: Option<&Path>) -> Result<Figures> {
        let folder = tempfile::tempdir()?;
        let (trace, stamps) = (folder.path().join("trace"), folder.path().join("stamps"));
        let entry = Entry::Kernel {
            image: loader.into(),
            device_tree: assets.dtbs.join(DEVICE_TREE),
            initrd: None,
            command_line: None,
        };
        let mut machine = Machine::new(entry)
            .cpus(1)
            .card(Slot::Sd, self.card.path())
            .trace(&CARD_EVENTS, &trace)
            .counted_time();
        if let Some(stamp) = stamp {
            let mut option = stamp.as_os_str().to_owned();
            option.push(",out=");
            option.push(&stamps);
            machine = machine.plugin(option);
        }
        let mut session = machine.start(assets)?;
        let kernel_entry = self.play(&mut session)?;
        let log = session.text();
        let characters = log.find(stub::BEGIN).context("the stub kernel's first line")?;
        let stamps = match stamp {
            Some(_) => Some(Stamps::parse(&fs::read_to_string(&stamps)?)),
            None => None,
        };
        let traffic = CardTraffic::read(&trace)?;
        let stamps = stamps.as_ref().filter(|_| self.has_menu);
        Ok(Figures {
            kernel_entry,
            menu: stamps.and_then(|stamps| stamps.first(&format!("> {MENU}"))),
            choice: stamps.and_then(|stamps| stamps.first(&format!("< {CHOOSE:02x}"))),
            needed: self.needed,
            file_commands: self.file_commands(&traffic)?,
            traffic,
            characters,
        })
    }

    /// How many commands began to read within kernel or initrd.
    fn file_commands(&self, traffic: &CardTraffic) -> Result<usize> {
        // Cards of up to 2 GiB are addressed by byte.
        let by_byte = fs::metadata(self.card.path())?.len() <= 2 * GIB;
        let sector = |argument: u64| if by_byte { argument / SECTOR } else { argument };
        let within = |argument: u32| {
            let sector = sector(argument.into());
            self.files.iter().any(|file| file.contains(&sector))
        };
        let reads = traffic.commands.iter().filter(|(index, _)| matches!(index, 17 | 18));
        Ok(reads.filter(|(_, argument)| within(*argument)).count())
    }

    /// Boots to the end and returns the instructions to the kernel's first one.
    fn play(&self, session: &mut Session) -> Result<u64> {
        if self.has_menu {
            session.expect(MENU, DEADLINE)?;
            session.send([CHOOSE])?;
        }
        let report = session.expect_stub(DEADLINE)?;
        session.expect_power_off(DEADLINE)?;
        ensure!(
            report.number("initrd sum")? == stub::sum(&self.initrd),
            "the kernel was not given the initrd that is on the card"
        );
        Ok(report.number("counter")? * INSTRUCTIONS_PER_TICK)
    }
}

/// What one boot took.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Instructions from the loader's entry to the kernel's; where there is a menu, with the time
    /// that was spent there.
    pub kernel_entry: u64,
    /// Instructions to the menu's first line.
    pub menu: Option<u64>,
    /// Instructions to the moment when the loader took the key that chose.
    pub choice: Option<u64>,
    /// Bytes that the loader cannot do without.
    pub needed: u64,
    /// Commands that began to read within kernel or initrd.
    pub file_commands: usize,
    /// What went over the card's bus.
    pub traffic: CardTraffic,
    /// Characters that the loader sent.
    pub characters: usize,
}

impl Figures {
    /// Instructions from the loader's entry to the kernel's, where nobody had to choose.
    pub fn to_kernel(&self) -> Option<u64> {
        self.menu.is_none().then_some(self.kernel_entry)
    }

    /// Instructions from the choice to the kernel's entry.
    pub fn after_choice(&self) -> Option<u64> {
        self.kernel_entry.checked_sub(self.choice?)
    }

    /// Bytes that the card read for each byte that was needed.
    #[allow(clippy::cast_precision_loss, reason = "cards are far below 2^52 bytes")]
    pub fn bytes_per_byte(&self) -> f64 {
        self.traffic.bytes() as f64 / self.needed as f64
    }
}

/// What went over the serial line, and when.
struct Stamps(Vec<(u64, String)>);

impl Stamps {
    /// Reads lines of a count and what happened then.
    fn parse(text: &str) -> Self {
        let stamp = |line: &str| {
            let (count, event) = line.split_once(' ')?;
            Some((count.parse().ok()?, event.to_owned()))
        };
        Self(text.lines().filter_map(stamp).collect())
    }

    /// When something first happened that begins with `event`.
    fn first(&self, event: &str) -> Option<u64> {
        self.0.iter().find(|(_, happened)| happened.starts_with(event)).map(|(count, _)| *count)
    }
}

/// The sectors of a file that lies in one piece.
fn sectors(card: &CardImage, bytes: &[u8]) -> Result<Range<u64>> {
    let start = card.sector_beginning_with(&bytes[..KNOWN_BY.min(bytes.len())])?;
    Ok(start..start + (bytes.len() as u64).div_ceil(SECTOR))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("reading {}", file.display()))
}

/// A kernel of Linux's size and contents that begins with the stub.
fn linux_told_by(stub: &[u8], mut image: Vec<u8>) -> Result<Vec<u8>> {
    let in_memory: [u8; 8] = image.get(IMAGE_SIZE).context("no Image")?.try_into()?;
    image.get_mut(..stub.len()).context("the stub is larger")?.copy_from_slice(stub);
    image[IMAGE_SIZE].copy_from_slice(&in_memory);
    Ok(image)
}

/// The stub kernel in a file of the wanted size.
fn kernel(stub: &[u8], sizes: Sizes) -> Result<Vec<u8>> {
    let padding = sizes.kernel.checked_sub(stub.len() as u64).context("the stub is larger")?;
    let mut kernel = stub.to_vec();
    kernel.extend(Filling::Noise(sizes.kernel).bytes(padding));
    let size = kernel.get_mut(IMAGE_SIZE).context("the stub has no header")?;
    size.copy_from_slice(&sizes.kernel_in_memory.to_le_bytes());
    Ok(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_the_stub_in_a_file_of_the_wanted_size() {
        let stub = [7; 100];
        let sizes = Sizes { kernel: 4000, kernel_in_memory: 5000, initrd: 0 };
        let kernel = kernel(&stub, sizes).unwrap();
        assert_eq!(kernel.len(), 4000);
        assert_eq!(kernel[..16], [7; 16]);
        assert_eq!(kernel[IMAGE_SIZE], 5000u64.to_le_bytes());
        assert_eq!(kernel[24..100], [7; 76]);
        assert!(super::kernel(&stub, Sizes { kernel: 99, ..sizes }).is_err());
    }

    #[test]
    fn a_moment_is_when_something_first_happened() {
        let stamps = Stamps::parse("12 > firn: hello\n345 < 0d\n400 > < 0d\n500 < 0d\ntotal\n");
        assert_eq!(stamps.first("< 0d"), Some(345));
        assert_eq!(stamps.first("> firn"), Some(12));
        assert_eq!(stamps.first("> userspace"), None);
    }
}
