//! Starts QEMU's model of the EVK with the cards and the firmware that a test or a person wants.
//!
//! Sources: QEMU 10.0 `docs/system/arm/imx8mp-evk.rst`, `qemu-system-aarch64(1)`. UART2, the board's
//! console, is the second serial port; `bus=1` is uSDHC2 and `bus=2` uSDHC3.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    assets::{Assets, find_tool},
    card::SECTOR,
    emmc::Emmc,
    gdb::{self, Board, Bus, Hardware, Setup, Witness},
    modelled::ModelledCard,
    models::{
        caam::{self, Caam},
        ocotp::{self, Fuses},
        serial::{self, StuckLine},
        usdhc::Rules,
    },
    session::{Ports, Session},
};

/// Where the first stage is put. Source: i.MX 8M Plus boot ROM convention (OCRAM).
const FIRST_STAGE: u64 = 0x92_0000;
/// Where BL31 is put. Source: TF-A, plat/imx/imx8m/imx8mp.
const BL31: u64 = 0x97_0000;

/// How the firmware under test is entered.
#[derive(Clone, Debug)]
pub enum Entry {
    /// As QEMU enters a Linux kernel: at EL2 with a device tree in x0 and PSCI behind SMC.
    Kernel {
        /// A file with an arm64 `Image` header.
        image: PathBuf,
        /// The device tree; without one x0 would point at ATAGs.
        device_tree: PathBuf,
        /// An initrd, where the image is Linux itself.
        initrd: Option<PathBuf>,
        /// The command line that goes into the tree.
        command_line: Option<String>,
    },
    /// As on the board: something at EL3 jumps to the real BL31, which jumps to `bl33`. QEMU then
    /// cannot start other CPUs; its GDB port answers for the devices that it lacks.
    Bl31 {
        /// What runs first, at EL3 in OCRAM.
        first_stage: PathBuf,
        /// TF-A's BL31.
        bl31: PathBuf,
        /// What runs at EL2 in the end.
        bl33: PathBuf,
    },
    /// As the board is switched on: the boot ROM looks for a first stage, at every reset again. Its GDB
    /// port answers for the ROM and for the devices that QEMU lacks; it cannot start other CPUs.
    BootRom(Hardware),
    /// At EL3 with nothing beneath and nothing in the registers.
    Bare {
        /// What runs.
        image: PathBuf,
        /// Where it is put and entered.
        address: u64,
    },
}

/// A slot of the board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slot {
    /// The SD slot, uSDHC2.
    #[default]
    Sd,
    /// Where the real board has its eMMC, uSDHC3. QEMU has an SD card there, unless an
    /// [`Emmc`] takes its place.
    Emmc,
}

impl Slot {
    fn bus(self) -> u32 {
        match self {
            Slot::Sd => 1,
            Slot::Emmc => 2,
        }
    }

    /// What QEMU calls the card in it.
    pub(crate) fn drive(self) -> &'static str {
        match self {
            Slot::Sd => "card-usdhc2",
            Slot::Emmc => "card-usdhc3",
        }
    }
}

/// A card in a slot.
#[derive(Clone, Debug)]
struct Drive {
    slot: Slot,
    image: PathBuf,
    writable: bool,
    bad_sectors: Vec<u64>,
    takes_no_writes: bool,
    sectors_per_second: Option<u32>,
}

impl Drive {
    fn new(slot: Slot, image: PathBuf) -> Self {
        Self {
            slot,
            image,
            writable: false,
            bad_sectors: Vec::new(),
            takes_no_writes: false,
            sectors_per_second: None,
        }
    }

    /// As QEMU takes it. Files that it needs besides the image are made in `folder`.
    fn option(&self, folder: &Path) -> Result<String> {
        // Commas end a value unless they are doubled.
        let quoted = |path: &Path| path.display().to_string().replace(',', ",,");
        let snapshot = if self.writable { "off" } else { "on" };
        let (bus, name) = (self.slot.bus(), self.slot.drive());
        let mut option = format!("if=sd,bus={bus},id={name},snapshot={snapshot},");
        if let Some(sectors) = self.sectors_per_second {
            // The card reads one after the other.
            option += &format!("throttling.iops-read={sectors},");
        }
        if self.bad_sectors.is_empty() && !self.takes_no_writes {
            return Ok(match self.rounded_up(folder)? {
                Some(card) => option + &format!("format=vmdk,file={}", quoted(&card)),
                None => option + &format!("format=raw,file={}", quoted(&self.image)),
            });
        }
        let image = quoted(&self.image);
        option += "format=raw,";
        option +=
            &format!("file.driver=blkdebug,file.image.driver=file,file.image.filename={image}");
        if self.takes_no_writes {
            let rule = "file.inject-error.0";
            option += &format!(",{rule}.event=write_aio,{rule}.iotype=write,{rule}.errno=5");
            return Ok(option);
        }
        for (index, sector) in self.bad_sectors.iter().enumerate() {
            let rule = format!("file.inject-error.{index}");
            option += &format!(",{rule}.event=read_aio,{rule}.errno=5,{rule}.sector={sector}");
        }
        Ok(option)
    }

    /// QEMU takes cards of a power of two only, and a card image is as large as what is on it: so it is
    /// put on a larger card, with zeros behind it. A VMDK's descriptor says that in a few lines of text.
    ///
    /// Source: VMware, Virtual Disk Format 1.1, "The Descriptor"; QEMU, `block/vmdk.c`.
    fn rounded_up(&self, folder: &Path) -> Result<Option<PathBuf>> {
        let shown = self.image.display();
        let size = fs::metadata(&self.image).with_context(|| format!("cannot read {shown}"))?.len();
        if size.is_power_of_two() {
            return Ok(None);
        }
        ensure!(
            size > 0 && size.is_multiple_of(SECTOR),
            "{shown} has {size} bytes: no whole sectors"
        );
        let name = self.slot.drive();
        let card = size.next_power_of_two();
        // Names in a descriptor have no quotes and are short.
        symlink(self.image.canonicalize()?, folder.join(format!("{name}.img")))?;
        File::create(folder.join(format!("{name}.rest")))?.set_len(card - size)?;
        let descriptor = folder.join(format!("{name}.vmdk"));
        let text = format!(
            "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
             createType=\"twoGbMaxExtentFlat\"\n\
             RW {} FLAT \"{name}.img\" 0\nRW {} FLAT \"{name}.rest\" 0\n\
             ddb.adapterType = \"ide\"\n",
            size / SECTOR,
            (card - size) / SECTOR
        );
        fs::write(&descriptor, text)?;
        Ok(Some(descriptor))
    }
}

/// A board to be started.
#[derive(Clone, Debug)]
pub struct Machine {
    entry: Entry,
    memory: String,
    cpus: u32,
    drives: Vec<Drive>,
    emmc: Option<(Emmc, Rules)>,
    modelled: Option<(ModelledCard, Rules)>,
    stuck_line: Option<StuckLine>,
    fuses: Option<Fuses>,
    caam: Option<(Caam, Rules)>,
    trace: Option<(Vec<String>, PathBuf)>,
    counted_time: bool,
    skips_waits: bool,
    plugin: Option<OsString>,
    ends_at_reset: bool,
}

impl Machine {
    /// A board with 2 GiB of memory, no card, and four CPUs; under BL31 with one CPU and 6 GiB, what
    /// the real board has, because nothing tells firmware there.
    pub fn new(entry: Entry) -> Self {
        let (memory, cpus) = match entry {
            Entry::Kernel { .. } | Entry::Bare { .. } => ("2G", 4),
            Entry::Bl31 { .. } | Entry::BootRom(_) => ("6G", 1),
        };
        Self {
            entry,
            memory: memory.into(),
            cpus,
            drives: Vec::new(),
            emmc: None,
            modelled: None,
            stuck_line: None,
            fuses: None,
            caam: None,
            trace: None,
            counted_time: false,
            skips_waits: false,
            plugin: None,
            ends_at_reset: false,
        }
    }

    /// With that much memory, as QEMU takes it (`3G`, `512M`).
    #[must_use]
    pub fn memory(mut self, size: &str) -> Self {
        self.memory = size.into();
        self
    }

    /// With so many CPUs, at most four.
    #[must_use]
    pub fn cpus(mut self, count: u32) -> Self {
        self.cpus = count;
        self
    }

    /// With a card. What the guest writes to it is forgotten.
    #[must_use]
    pub fn card(mut self, slot: Slot, image: impl Into<PathBuf>) -> Self {
        let image = image.into();
        self.drives.push(Drive::new(slot, image));
        self
    }

    /// With a card that keeps what the guest writes.
    #[must_use]
    pub fn writable_card(mut self, slot: Slot, image: impl Into<PathBuf>) -> Self {
        let image = image.into();
        self.drives.push(Drive { writable: true, ..Drive::new(slot, image) });
        self
    }

    /// With a card that has worn out: it takes what is written to it, and keeps none of it.
    #[must_use]
    pub fn worn_out_card(mut self, slot: Slot, image: impl Into<PathBuf>) -> Self {
        let image = image.into();
        let drive = Drive::new(slot, image);
        self.drives.push(Drive { writable: true, takes_no_writes: true, ..drive });
        self
    }

    /// With cards, as far as there are any by now, of which so many sectors are read in a second.
    #[must_use]
    pub fn slow_cards(mut self, sectors: u32) -> Self {
        self.drives.iter_mut().for_each(|drive| drive.sectors_per_second = Some(sectors));
        self
    }

    /// With a card whose `sectors` (of 512 bytes) cannot be read.
    #[must_use]
    pub fn failing_card(
        mut self,
        slot: Slot,
        image: impl Into<PathBuf>,
        sectors: impl IntoIterator<Item = u64>,
    ) -> Self {
        let image = image.into();
        let bad_sectors = sectors.into_iter().collect();
        self.drives.push(Drive { bad_sectors, ..Drive::new(slot, image) });
        self
    }

    /// With an eMMC behind uSDHC3. What it finds the firmware doing wrong is written to `rules`.
    #[must_use]
    pub fn emmc(mut self, emmc: Emmc, rules: &Rules) -> Self {
        self.emmc = Some((emmc, rules.clone()));
        self
    }

    /// With a card behind a modelled controller, under a loader that is not started by the boot ROM; no other
    /// card is in its slot. What it finds the firmware doing wrong is written to `rules`.
    #[must_use]
    pub fn modelled_card(mut self, card: ModelledCard, rules: &Rules) -> Self {
        self.modelled = Some((card, rules.clone()));
        self
    }

    /// With a serial line that takes no characters, under a loader that is not started by the boot ROM.
    #[must_use]
    pub fn stuck_line(mut self, line: StuckLine) -> Self {
        self.stuck_line = Some(line);
        self
    }

    /// With these fuses instead of words of zero, under a loader that is not started by the boot ROM
    /// ([`Hardware`] has its own).
    #[must_use]
    pub fn fuses(mut self, fuses: Fuses) -> Self {
        self.fuses = Some(fuses);
        self
    }

    /// With this random number generator, under a loader that is not started by the boot ROM
    /// ([`Hardware`] has its own). What it finds the firmware doing wrong is written to `rules`.
    #[must_use]
    pub fn caam(mut self, caam: Caam, rules: &Rules) -> Self {
        self.caam = Some((caam, rules.clone()));
        self
    }

    /// With these trace events of QEMU written to a file, for [`trace`](crate::trace) to read.
    #[must_use]
    pub fn trace(mut self, events: &[&str], file: impl Into<PathBuf>) -> Self {
        self.trace = Some((events.iter().map(|&event| event.into()).collect(), file.into()));
        self
    }

    /// With a clock that counts instructions, one a nanosecond: two runs are the same to the byte.
    #[must_use]
    pub fn counted_time(mut self) -> Self {
        self.counted_time = true;
        self
    }

    /// With a clock that counts instructions, one in eight nanoseconds, and that passes over the time in
    /// which the processor waits for an interrupt: a watchdog's minutes take a second. One CPU.
    #[must_use]
    pub fn skipping_waits(mut self) -> Self {
        self.skips_waits = true;
        self.cpus(1)
    }

    /// With a TCG plugin, as QEMU's `-plugin` takes it.
    #[must_use]
    pub fn plugin(mut self, option: impl Into<OsString>) -> Self {
        self.plugin = Some(option.into());
        self
    }

    /// A reset ends the emulator instead of starting over.
    #[must_use]
    pub fn ends_at_reset(mut self) -> Self {
        self.ends_at_reset = true;
        self
    }

    /// Starts the board.
    pub fn start(&self, assets: &Assets) -> Result<Session> {
        self.start_in(&assets.qemu)
    }

    /// Starts the board in this `qemu-system-aarch64`.
    pub fn start_in(&self, qemu: &Path) -> Result<Session> {
        let sockets = tempfile::tempdir()?;
        let mut command = emulator(qemu);
        command
            .args(["-M", "imx8mp-evk", "-display", "none", "-nodefaults", "-monitor", "none"])
            .args(["-m", &self.memory, "-smp", &self.cpus.to_string()])
            .args(["-chardev", "stdio,id=console,signal=off"])
            .args(["-serial", "null", "-serial", "chardev:console"]);
        for drive in &self.drives {
            command.args(["-drive", &drive.option(sockets.path())?]);
        }
        self.add_observers(&mut command);
        let (monitor, debug_port) = (sockets.path().join("qmp"), sockets.path().join("gdb"));
        command.arg("-qmp").arg(socket_option("unix:", &monitor));
        let setup = self.setup()?;
        self.add_entry(&mut command);
        command.arg("-gdb").arg(socket_option("unix:", &debug_port));
        if setup.is_some() {
            command.arg("-S");
        }
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", qemu.display()))?;
        let witness = Witness::default();
        let port = setup.map(|setup| {
            let (witness, debug_port) = (witness.clone(), debug_port.clone());
            let emulator = child.id();
            thread::spawn(move || gdb::serve(&debug_port, emulator, setup, &witness))
        });
        Session::new(child, port, witness, Ports { monitor, debug_port }, sockets)
    }

    fn add_observers(&self, command: &mut Command) {
        if let Some((events, file)) = &self.trace {
            for event in events {
                command.args(["-trace", event]);
            }
            command.arg("-D").arg(file);
        }
        if self.counted_time {
            command.args(["-icount", "shift=0,sleep=off", "-rtc", "clock=vm"]);
        }
        if self.skips_waits {
            command.args(["-icount", "shift=3,sleep=off", "-rtc", "clock=vm"]);
        }
        if let Some(plugin) = &self.plugin {
            command.arg("-plugin").arg(plugin);
        }
        if self.ends_at_reset {
            command.arg("-no-reboot");
        }
    }

    /// What has to be answered at the GDB port.
    fn setup(&self) -> Result<Option<Setup>> {
        let devices = match &self.entry {
            Entry::BootRom(hardware) => {
                let card = self.drives.iter().find(|drive| drive.slot == Slot::Sd);
                let card = card.map(|drive| drive.image.clone());
                let board = Board::new(hardware.clone(), card, self.emmc.clone());
                return Ok(Some(Setup::Board(Box::new(board))));
            }
            Entry::Bl31 { .. } => Some(Bus::imx8mp()),
            Entry::Kernel { .. } | Entry::Bare { .. } => None,
        };
        let devices = match &self.emmc {
            Some((emmc, rules)) => Some(emmc.attach(devices.unwrap_or_default(), rules)?),
            None => devices,
        };
        let devices = match &self.modelled {
            Some((card, rules)) => Some(card.attach(devices.unwrap_or_default(), rules)?),
            None => devices,
        };
        let devices = match &self.stuck_line {
            Some(line) => Some(serial::attach(devices.unwrap_or_default(), line)),
            None => devices,
        };
        let devices = match &self.fuses {
            Some(fuses) => {
                let fuses = Arc::new(Mutex::new(fuses.clone()));
                Some(ocotp::attach(devices.unwrap_or_default(), &fuses))
            }
            None => devices,
        };
        let devices = match &self.caam {
            Some((caam, rules)) => {
                let model = caam::Model::new(caam.clone(), rules.clone());
                let model = Arc::new(Mutex::new(model));
                Some(caam::attach(devices.unwrap_or_default(), &model))
            }
            None => devices,
        };
        Ok(devices.map(Setup::Devices))
    }

    fn add_entry(&self, command: &mut Command) {
        match &self.entry {
            Entry::Kernel { image, device_tree, initrd, command_line } => {
                command.arg("-kernel").arg(image).arg("-dtb").arg(device_tree);
                if let Some(initrd) = initrd {
                    command.arg("-initrd").arg(initrd);
                }
                if let Some(line) = command_line {
                    command.args(["-append", line]);
                }
            }
            Entry::Bare { image, address } => {
                command.arg("-device").arg(loader(image, *address, ",cpu-num=0"));
            }
            Entry::Bl31 { first_stage, bl31, bl33 } => {
                command.arg("-device").arg(loader(first_stage, FIRST_STAGE, ",cpu-num=0"));
                command.arg("-device").arg(loader(bl31, BL31, ""));
                command.arg("-device").arg(loader(bl33, gdb::SECOND_STAGE, ""));
            }
            // The port does it.
            Entry::BootRom(_) => {}
        }
    }
}

/// A socket that QEMU listens on without waiting for anybody.
fn socket_option(kind: &str, path: &Path) -> OsString {
    let mut option = OsString::from(kind);
    option.push(path);
    option.push(",server=on,wait=off");
    option
}

/// The emulator, to be ended with the thread that started it, even if that is killed.
fn emulator(qemu: &Path) -> Command {
    match find_tool("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(qemu);
            command
        }
        None => Command::new(qemu),
    }
}

fn loader(file: &Path, address: u64, more: &str) -> String {
    let file = file.display().to_string().replace(',', ",,");
    format!("loader,file={file},addr={address:#x},force-raw=on{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_with_bad_sectors_is_read_through_blkdebug() {
        let drive = Drive { bad_sectors: vec![7], ..Drive::new(Slot::Emmc, "a,b.img".into()) };
        assert_eq!(
            drive.option(Path::new("/nowhere")).unwrap(),
            "if=sd,bus=2,id=card-usdhc3,snapshot=on,format=raw,file.driver=blkdebug,file.image.driver=file,\
             file.image.filename=a,,b.img,file.inject-error.0.event=read_aio,\
             file.inject-error.0.errno=5,file.inject-error.0.sector=7"
        );
    }

    #[test]
    fn an_image_of_another_size_is_put_on_a_larger_card() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("a \"card\".img");
        File::create(&image).unwrap().set_len(3 * SECTOR).unwrap();
        let option = Drive::new(Slot::Sd, image.clone()).option(folder.path()).unwrap();
        assert!(option.contains("format=vmdk"), "{option}");
        let text = fs::read_to_string(folder.path().join("card-usdhc2.vmdk")).unwrap();
        assert!(text.contains("RW 3 FLAT \"card-usdhc2.img\" 0\nRW 1 FLAT"), "{text}");
        File::create(&image).unwrap().set_len(4 * SECTOR).unwrap();
        let option = Drive::new(Slot::Sd, image.clone()).option(folder.path()).unwrap();
        assert!(option.contains("format=raw"), "{option}");
        for size in [0, SECTOR + 1] {
            File::create(&image).unwrap().set_len(size).unwrap();
            assert!(Drive::new(Slot::Sd, image.clone()).option(folder.path()).is_err());
        }
    }
}
