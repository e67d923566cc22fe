//! Boots that are measured: instructions counted, the card's traffic traced, two runs the same to
//! the byte.
//!
//! What is booted is a system as NixOS lays it out whose default generation has a kernel and an
//! initrd of given sizes. The kernel is the stub kernel, made as long as it has to be: it tells the
//! time at its first instruction, and the time is a count of instructions.

use std::{fs, ops::Range, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use firn::{
    board::MEMORY,
    ddr::{self, saved},
};

use crate::{
    assets::Assets,
    card::{CardImage, Filling, GIB, SECTOR, Table},
    models::ddr::{bench::Bench, blobs::Blobs},
    nixos::{self, DEVICE_TREE, System, Timeout, store::STORE_ENTRIES},
    packing::{Fit, Packing},
    qemu::{Entry, Machine, Slot},
    replay::{Card, Replayed, replay},
    session::Session,
    stamps::{self, Event, Moment, Stamp},
    stub,
    trace::{CARD_EVENTS, CardTraffic},
    tree::{Content, Tree},
};

/// Instructions between two ticks of the generic timer: one takes a nanosecond, the timer runs at
/// 8 MHz.
const INSTRUCTIONS_PER_TICK: u64 = 125;

/// Text that is on the menu's screen and nowhere before it.
const MENU: &str = "Enter ";
/// Longer than the loader takes for the rest of the screen, also on a busy machine.
const SETTLED: Duration = Duration::from_millis(1000);
/// The key that chooses the default.
const CHOOSE: u8 = b'\r';
/// A wait for the loader: billions of counted instructions, on a machine that has other things to do, too.
const DEADLINE: Duration = Duration::from_secs(900);

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

/// Where generations are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `extlinux.conf` on a FAT32 partition, in front of the root.
    Fat,
    /// `extlinux.conf` in a folder of the ext4 root.
    Ext4,
    /// The profiles of the ext4 root, with nothing in /boot.
    Profiles,
}

/// In which form the kernel is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// An Image of noise behind the stub's first instructions.
    Noise(Sizes),
    /// Debian's Image in this form, but for its first instructions, which are the stub's.
    Linux(Packing),
    /// [`Sizes::REAL`] in a FIT image with the initrd and the device tree, not compressed, each piece with
    /// its SHA-256 or without.
    Fit {
        /// Whether there are digests to be verified.
        verified: bool,
    },
}

/// What is on a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Where generations are found.
    pub source: Source,
    /// 200 of them, and where they come from profiles a store as full as after years; otherwise 3.
    pub many: bool,
    /// The default's kernel.
    pub kernel: Kernel,
    /// Zero seconds boot at once.
    pub timeout: Timeout,
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
    files: Vec<Range<u64>>,
}

impl Subject {
    /// Makes the card below `cache`, or finds it there.
    ///
    /// # Errors
    /// A tool is missing or fails.
    pub fn make(
        assets: &Assets,
        stub_kernel: &Path,
        layout: &Layout,
        cache: &Path,
    ) -> Result<Self> {
        let stub = read(stub_kernel)?;
        let mut system =
            if layout.many { System::large(assets, &stub) } else { System::small(assets, &stub) }?;
        system.timeout = layout.timeout;
        let (kernel, sizes) = match layout.kernel {
            Kernel::Noise(sizes) => (kernel(&stub, sizes)?, sizes),
            Kernel::Linux(packing) => {
                let image = linux_told_by(&stub, read(&assets.kernel)?)?;
                (read(&packing.pack(&image, cache)?)?, Sizes::REAL)
            }
            Kernel::Fit { .. } => (kernel(&stub, Sizes::REAL)?, Sizes::REAL),
        };
        let initrd = Filling::Noise(sizes.initrd).bytes(sizes.initrd);
        let default = system.default;
        let generation = system.generations.get_mut(default).context("a system has a default")?;
        generation.kernel = Content::bytes(kernel.clone());
        generation.initrd = Content::bytes(initrd.clone());
        let tree = generation.device_tree.read()?.context("a device tree is a file")?;
        let needed = (kernel.len() + initrd.len() + tree.len()) as u64;
        let (card, files) = if let Kernel::Fit { verified } = layout.kernel {
            let fit = Fit {
                image: &kernel,
                initrd: &initrd,
                device_tree: &tree,
                external: true,
                compressed: false,
                hashed: verified,
            };
            let fit = fit.make()?;
            (nixos::card_with_ext4_boot(Table::Gpt, fit_folder(&fit)), vec![fit])
        } else {
            let card = match (layout.source, layout.many) {
                (Source::Fat, _) => nixos::card_with_fat_boot(Table::Gpt, system.boot_folder()),
                (Source::Ext4, _) => nixos::card_with_ext4_boot(Table::Gpt, system.boot_folder()),
                (Source::Profiles, false) => nixos::card_with_root(Table::Gpt, system.root()),
                (Source::Profiles, true) => system.crowded_card(STORE_ENTRIES, true),
            };
            (card, vec![kernel, initrd.clone()])
        };
        let card = card.make(cache)?;
        let files: Result<_> = files.iter().map(|file| sectors(&card, file)).collect();
        let has_menu = layout.timeout != Timeout::Seconds(0);
        Ok(Self { files: files?, card, has_menu, needed, initrd })
    }

    /// Boots `loader` on a board whose instructions are counted by the plugin `stamp` (see
    /// [`guest::build_stamp`](crate::guest::build_stamp)).
    ///
    /// # Errors
    /// The boot does not end as it has to.
    pub fn boot(&self, assets: &Assets, loader: &Path, stamp: &Path) -> Result<Figures> {
        let folder = tempfile::tempdir()?;
        let (trace, stamps) = (folder.path().join("trace"), folder.path().join("stamps"));
        let entry = Entry::Kernel {
            image: loader.into(),
            device_tree: assets.dtbs.join(DEVICE_TREE),
            initrd: None,
            command_line: None,
        };
        let mut option = stamp.as_os_str().to_owned();
        option.push(",out=");
        option.push(&stamps);
        let machine = Machine::new(entry)
            .cpus(1)
            .card(Slot::Sd, self.card.path())
            .trace(&CARD_EVENTS, &trace)
            .counted_time()
            .plugin(option);
        let mut session = machine.start(assets)?;
        let kernel_entry = self.play(&mut session)?;
        let stamps = stamps::read(&stamps)?;
        let kernel_entry = moment(&stamps, kernel_entry);
        let menu = if self.has_menu { Some(Menu::find(&stamps)?) } else { None };
        let sent = |stamp: &&Stamp| {
            matches!(stamp.event, Event::Sent(_)) && stamp.at.executed < kernel_entry.executed
        };
        Ok(Figures {
            kernel_entry,
            menu,
            needed: self.needed,
            characters: stamps.iter().filter(sent).count(),
            traffic: CardTraffic::read(&trace)?,
            file_sectors: self.files.clone(),
            by_byte: fs::metadata(self.card.path())?.len() <= 2 * GIB,
            stamps,
        })
    }

    /// Boots to the end and returns the instructions to the kernel's first one.
    fn play(&self, session: &mut Session) -> Result<u64> {
        if self.has_menu {
            session.expect(MENU, DEADLINE)?;
            // The key is to meet a screen that is complete: else what was drawn behind it would count as
            // what followed the choice.
            thread::sleep(SETTLED);
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
    /// The kernel's first instruction; where there is a menu, with the time that was spent there.
    pub kernel_entry: Moment,
    /// The moments of the menu, where there was one.
    pub menu: Option<Menu>,
    /// Bytes that the loader cannot do without.
    pub needed: u64,
    /// What went over the card's bus.
    pub traffic: CardTraffic,
    /// Characters that the loader sent.
    pub characters: usize,
    file_sectors: Vec<Range<u64>>,
    /// Cards of up to 2 GiB are addressed by byte.
    by_byte: bool,
    stamps: Vec<Stamp>,
}

impl Figures {
    /// Instructions from the loader's entry to the kernel's, where nobody had to choose.
    pub fn to_kernel(&self) -> Option<u64> {
        self.menu.is_none().then_some(self.kernel_entry.executed)
    }

    /// Instructions from the choice to the kernel's entry.
    pub fn after_choice(&self) -> Option<u64> {
        self.kernel_entry.executed.checked_sub(self.menu?.choice.executed)
    }

    /// From the loader's entry until the menu stands, as it would be with this card.
    pub fn replay_to_menu(&self, card: Card) -> Option<Replayed> {
        Some(replay(&self.stamps, Moment::default(), self.menu?.stands, card))
    }

    /// From the loader's entry, or from the choice, to the kernel, as it would be with this card.
    pub fn replay_to_kernel(&self, card: Card) -> Replayed {
        let from = self.menu.map(|menu| menu.choice).unwrap_or_default();
        replay(&self.stamps, from, self.kernel_entry, card)
    }

    /// Whether a command with this argument reads from kernel or initrd.
    pub fn is_of_a_file(&self, argument: u32) -> bool {
        let argument = u64::from(argument);
        let sector = if self.by_byte { argument / SECTOR } else { argument };
        self.file_sectors.iter().any(|file| file.contains(&sector))
    }
}

/// The moments of a menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Menu {
    /// The last character of its first screen.
    pub stands: Moment,
    /// The loader took the key that chose.
    pub choice: Moment,
}

/// Instructions without a character after which a screen is complete.
const PAUSE: u64 = 1_000_000;

impl Menu {
    fn find(stamps: &[Stamp]) -> Result<Self> {
        let choice = stamps.iter().find(|stamp| stamp.event == Event::Taken(CHOOSE));
        let choice = choice.context("nobody chose")?.at;
        let sent: Vec<(Moment, u8)> = stamps.iter().filter_map(sent).collect();
        let text: Vec<u8> = sent.iter().map(|(_, byte)| *byte).collect();
        let place = text.windows(MENU.len()).position(|window| window == MENU.as_bytes());
        let mut stands = sent[place.context("no menu")?].0;
        for (at, _) in &sent[place.unwrap_or_default()..] {
            if at.executed > stands.executed + PAUSE {
                break;
            }
            stands = *at;
        }
        Ok(Self { stands, choice })
    }
}

fn sent(stamp: &Stamp) -> Option<(Moment, u8)> {
    match stamp.event {
        Event::Sent(byte) => Some((stamp.at, byte)),
        _ => None,
    }
}

/// After so many instructions; what was waited by then is what was waited by the next event, the kernel's
/// first line.
fn moment(stamps: &[Stamp], executed: u64) -> Moment {
    let next = stamps.partition_point(|stamp| stamp.at.executed < executed);
    let waited = stamps.get(next).or(stamps.last()).map_or(0, |stamp| stamp.at.waited);
    Moment { executed, waited }
}

/// Register accesses of the DRAM bring-up with training firmware as NXP delivers it, on the model: stores and
/// loads.
///
/// # Errors
/// Memory does not come up.
pub fn dram_bring_up() -> Result<(usize, usize)> {
    let timing = MEMORY.timing;
    let bench = Bench::new(&[]);
    let mut room = vec![0; saved::words(timing)];
    let saved = saved::Saved::new(saved::ADDRESS, &mut room, timing).ok().context("no room")?;
    let blobs = Blobs::raw();
    let firmware = blobs.firmware().ok().context("blobs of a wrong size")?;
    let online = ddr::bring_up(&bench, &bench, timing, firmware, saved);
    online.map_err(|error| anyhow!("{error:?}"))?;
    Ok((bench.take_stores().len(), bench.loads()))
}

/// The sectors of a file that lies in one piece.
fn sectors(card: &CardImage, bytes: &[u8]) -> Result<Range<u64>> {
    let start = card.sector_beginning_with(&bytes[..KNOWN_BY.min(bytes.len())])?;
    Ok(start..start + (bytes.len() as u64).div_ceil(SECTOR))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("reading {}", file.display()))
}

/// A boot folder with one entry, which is booted at once.
fn fit_folder(fit: &[u8]) -> Tree {
    let entry = "DEFAULT fit\nTIMEOUT 1\nLABEL fit\n  LINUX ../system.itb\n  APPEND root=fstab\n";
    Tree::new()
        .with("extlinux/extlinux.conf", Content::bytes(entry))
        .with("system.itb", Content::bytes(fit))
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
    fn a_menu_stands_when_its_screen_is_complete_and_is_left_with_the_key() {
        let stamp = |executed, event| Stamp { at: Moment { executed, waited: 0 }, event };
        let text = b"x\nEnter boot";
        let mut stamps: Vec<Stamp> =
            (10..).zip(text).map(|(n, byte)| stamp(n, Event::Sent(*byte))).collect();
        stamps.push(stamp(500, Event::Sent(b'!')));
        stamps.push(stamp(600, Event::Taken(CHOOSE)));
        stamps.push(stamp(PAUSE + 501, Event::Sent(b'?')));
        let menu = Menu::find(&stamps).unwrap();
        assert_eq!((menu.stands.executed, menu.choice.executed), (500, 600));
        assert!(Menu::find(&stamps[..5]).is_err());
    }
}
