//! What is on the board and QEMU lacks, how its switches stand, and what of it is broken.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result};

use super::{
    Bus,
    dram::{self, DeadLine, Dram},
    mode_registers::{self, ModeRegisters},
    src::{self, Cause, Src},
    through,
    wdog::{self, Bite, Wdog},
};
use crate::{
    emmc::Emmc,
    models::{
        boot_rom::{self, BootRom, Medium},
        caam::{self, Caam},
        ddr::{self, Model, window},
        i2c,
        ocotp::{self, Fuses},
        pca9450::{self, OnBus, Pmic},
        usdhc::{Image, Rules, Storage},
    },
};

/// Which uSDHC the slots are behind, counted from 0.
const SD_INSTANCE: u8 = 1;
const EMMC_INSTANCE: u8 = 2;

/// How the boot switches (SW4) stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BootSwitches {
    /// SD card.
    #[default]
    Sd,
    /// eMMC: user area or boot partition, as its PARTITION_CONFIG says.
    Emmc,
    /// NOR flash behind FlexSPI, with these bytes from its start on.
    FlexSpi(Vec<u8>),
    /// Serial download over USB of these bytes.
    Usb(Vec<u8>),
}

impl BootSwitches {
    /// The boot mode pins. Source: i.MX 8M Plus reference manual, "Boot mode".
    fn pins(&self) -> u8 {
        match self {
            Self::Usb(_) => 1,
            Self::Emmc => 2,
            Self::Sd => 3,
            Self::FlexSpi(_) => 6,
        }
    }
}

/// The board around the processor. Each reset finds it like this again.
#[derive(Clone, Debug, Default)]
pub struct Hardware {
    /// How the switches stand.
    pub switches: BootSwitches,
    /// What the boot ROM finds on card or user area from these bytes on, whatever they hold there.
    pub covers: Vec<(u64, Vec<u8>)>,
    /// What goes wrong in the boot ROM's services.
    pub rom: Vec<boot_rom::Fault>,
    /// The boot ROM leaves no pointers to its log and to its record of the boot device.
    pub no_rom_records: bool,
    /// What goes wrong when memory is trained.
    pub training: Vec<ddr::Fault>,
    /// A line to the memory that is not connected.
    pub dead_line: Option<DeadLine>,
    /// What goes wrong on the bus of the PMIC.
    pub i2c: Vec<i2c::Fault>,
    /// Nobody is on that bus.
    pub without_pmic: bool,
    /// What is burnt into the part.
    pub fuses: Fuses,
    /// The part's random number generator, and what is wrong with it.
    pub caam: Caam,
    /// Accesses to QEMU's own devices are seen as well, up to the second stage.
    pub trace: bool,
}

/// The board with what is in its slots.
pub(crate) struct Board {
    pub(crate) hardware: Hardware,
    pub(crate) card: Option<PathBuf>,
    pub(crate) emmc: Option<(Emmc, Rules)>,
    devices: Devices,
}

/// Models that are asked afterwards what was done to them.
struct Devices {
    memory: Arc<Mutex<Model>>,
    i2c: Arc<Mutex<i2c::Controller>>,
    pmic: pca9450::Shared,
    fuses: Arc<Mutex<Fuses>>,
    caam: Arc<Mutex<caam::Model>>,
    caam_rules: Rules,
    /// How the watchdog will reset the board, if it does.
    bite: wdog::Shared,
}

/// Why the PMIC gave power: its switch, or the watchdog's pin. Source: PCA9450 data sheet, PWRON_STAT.
const PMIC_SWITCHED_ON: u8 = 1 << 7;
const PMIC_WATCHDOG: u8 = 1 << 6;

impl Devices {
    fn new(hardware: &Hardware, cause: Cause) -> Self {
        let pmic = Pmic::shared();
        let reason = if cause == Cause::PowerCycled { PMIC_WATCHDOG } else { PMIC_SWITCHED_ON };
        locked(&pmic).set(pca9450::PWRON_STAT, reason);
        let mut i2c = i2c::Controller::new();
        if !hardware.without_pmic {
            i2c = i2c.with(OnBus(Arc::clone(&pmic)));
        }
        i2c.set_faults(&hardware.i2c);
        let caam_rules = Rules::default();
        Self {
            memory: Arc::new(Mutex::new(Model::new(&hardware.training))),
            i2c: Arc::new(Mutex::new(i2c)),
            pmic,
            fuses: Arc::new(Mutex::new(hardware.fuses.clone())),
            caam: Arc::new(Mutex::new(caam::Model::new(hardware.caam.clone(), caam_rules.clone()))),
            caam_rules,
            bite: wdog::Shared::default(),
        }
    }

    fn attach(&self, bus: Bus, dead_line: Option<DeadLine>) -> Bus {
        let bus = window::attach(bus, &self.memory).with(
            mode_registers::BASE,
            mode_registers::LENGTH,
            ModeRegisters,
        );
        let bus = ocotp::attach(i2c::attach(bus, &self.i2c), &self.fuses);
        let bus = caam::attach(bus, &self.caam);
        let dram = Dram::new(Arc::clone(&self.memory), dead_line);
        bus.with(dram::BASE, dram::LENGTH, dram)
    }

    fn broken_rules(&self) -> Vec<String> {
        let mut broken = locked(&self.memory).broken_rules().to_vec();
        broken.extend_from_slice(locked(&self.i2c).broken_rules());
        broken.extend_from_slice(locked(&self.pmic).broken_rules());
        broken.extend_from_slice(locked(&self.fuses).broken_rules());
        broken.extend(self.caam_rules.list());
        broken
    }
}

fn locked<T>(model: &Mutex<T>) -> MutexGuard<'_, T> {
    // A model that panicked has ended the emulation.
    model.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    pub(crate) fn new(
        hardware: Hardware,
        card: Option<PathBuf>,
        emmc: Option<(Emmc, Rules)>,
    ) -> Self {
        let devices = Devices::new(&hardware, Cause::PowerOn);
        Self { hardware, card, emmc, devices }
    }

    /// The boot ROM after a reset.
    pub(super) fn rom(&self) -> Result<BootRom> {
        let rom = BootRom::new(self.medium()?);
        Ok(self.hardware.rom.iter().fold(rom, |rom, fault| rom.with_fault(*fault)))
    }

    fn medium(&self) -> Result<Medium> {
        Ok(match &self.hardware.switches {
            BootSwitches::Sd => Medium::Sd {
                instance: SD_INSTANCE,
                card: self.covered(open(self.card.as_deref())?),
            },
            BootSwitches::Emmc => {
                let emmc = self.emmc.as_ref().map(|(emmc, _)| emmc).context("there is no eMMC")?;
                let [first, second] = &emmc.boot;
                Medium::Emmc {
                    instance: EMMC_INSTANCE,
                    user: self.covered(open(Some(&emmc.user))?),
                    boot: [Box::new(open(first.as_deref())?), Box::new(open(second.as_deref())?)],
                    active: active_boot_partition(emmc.partition_config),
                    fast: false,
                }
            }
            BootSwitches::FlexSpi(flash) => Medium::FlexSpi(Box::new(flash.clone())),
            BootSwitches::Usb(stream) => Medium::Usb(stream.clone()),
        })
    }

    fn covered(&self, image: Image) -> Box<dyn Storage> {
        Box::new(Covered { image, covers: self.hardware.covers.clone() })
    }

    /// Why the board was reset, which only a watchdog does. Its pin is wired to the PMIC, which takes
    /// the power away if it is set to (RESET_CTRL, bits 7:6: WDOG_B makes a cold reset).
    pub(super) fn cause_of_reset(&self) -> Cause {
        let Some(Bite { pin, by_software }) = *locked(&self.devices.bite) else {
            // Linux told it, which nobody here sees.
            return Cause::Watchdog { by_software: true };
        };
        let cycles = locked(&self.devices.pmic).register(pca9450::RESET_CTRL) >> 6 == 0b10;
        if pin && cycles && !self.hardware.without_pmic {
            return Cause::PowerCycled;
        }
        Cause::Watchdog { by_software }
    }

    /// The devices after a reset.
    pub(super) fn reset(&mut self, cause: Cause) -> Result<Bus> {
        let hardware = &self.hardware;
        self.devices = Devices::new(hardware, cause);
        let watchdog = Wdog::new(cause.watchdog_status());
        self.devices.bite = watchdog.bite();
        let src = Src { cause, boot_mode: hardware.switches.pins() };
        let bus = Bus::imx8mp().with(src::BASE, src::LENGTH, src).with_staying(
            wdog::BASE,
            wdog::LENGTH,
            watchdog,
        );
        let bus = self.devices.attach(bus, hardware.dead_line);
        let bus = match &self.emmc {
            Some((emmc, rules)) => emmc.attach(bus, rules)?,
            None => bus,
        };
        Ok(if hardware.trace { through::attach(bus) } else { bus })
    }

    /// What the firmware did that the devices do not stand, since the last reset.
    pub(super) fn broken_rules(&self) -> Vec<String> {
        self.devices.broken_rules()
    }
}

/// Which boot partition the ROM starts, counted from 0. Source: JESD84-B51, 7.4.69, bits 5:3.
fn active_boot_partition(partition_config: u8) -> Option<usize> {
    match partition_config >> 3 & 7 {
        1 => Some(0),
        2 => Some(1),
        _ => None,
    }
}

fn open(path: Option<&Path>) -> Result<Image> {
    let Some(path) = path else { return Ok(Image::default()) };
    let file = File::open(path).with_context(|| path.display().to_string())?;
    Ok(Image::new(file, false))
}

/// A card image with something in front of it.
struct Covered {
    image: Image,
    covers: Vec<(u64, Vec<u8>)>,
}

impl Storage for Covered {
    fn read(&self, block: u64, bytes: &mut [u8; 512]) {
        self.image.read(block, bytes);
        for (start, cover) in &self.covers {
            let at = (block * 512).checked_sub(*start).and_then(|at| usize::try_from(at).ok());
            let rest = at.and_then(|at| cover.get(at..)).unwrap_or_default();
            let count = rest.len().min(bytes.len());
            bytes[..count].copy_from_slice(&rest[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_covers_a_card_is_read_instead_of_it() {
        let card = Covered { image: Image::default(), covers: vec![(0x8000, vec![7; 600])] };
        let block = |number| {
            let mut bytes = [1; 512];
            card.read(number, &mut bytes);
            bytes
        };
        assert_eq!((block(63), block(64)), ([0; 512], [7; 512]));
        assert_eq!((block(65)[..88].to_vec(), block(65)[88]), (vec![7; 88], 0));
    }

    #[test]
    fn partition_config_names_the_partition_that_is_booted() {
        assert_eq!(
            [0b1000, 0b01_0000, 0b11_1000, 0].map(active_boot_partition),
            [Some(0), Some(1), None, None]
        );
    }
}
