//! eMMC: identification and mode switching (eMMC chapter 6).

use core::time::Duration;

use super::{
    BusWidth, Command, Error, Host, Mode, ResponseKind, Timing,
    card::{self, Addressing, Identity},
    contents::{ExtCsd, emmc_version, ext_csd, is_write_protected, small_block_count, status},
};
use crate::time::Deadline;

/// Power-up may take that long (eMMC 6.4.2).
const POWER_UP: Duration = Duration::from_secs(1);
const POWER_UP_POLL_US: u32 = 100;
/// The device ignores commands that long after a reset (eMMC 6.3.1).
const IDLE_US: u32 = 1000;
/// CMD1 is repeated before the place is called empty.
const PROBES: u32 = 3;

/// CMD1: power-up is done.
const POWERED_UP: u32 = 1 << 31;
/// CMD1: access mode field, and its value for addresses that count sectors.
const ACCESS_MODE: u32 = 0b11 << 29;
const SECTOR_ACCESS: u32 = 0b10 << 29;
/// CMD1: 1.70-1.95 V and 2.7-3.6 V.
const VOLTAGES: u32 = 0x00ff_8080;
/// The address that the host gives: there is only one device.
const ADDRESS: u32 = 1 << 16;
/// CMD6: write a byte of the EXT_CSD.
const WRITE_BYTE: u32 = 0b11 << 24;

/// An identified device in transfer state.
pub(super) struct EmmcCard {
    pub(super) identity: Identity,
    ext_csd: Option<ExtCsd>,
}

impl EmmcCard {
    /// Identifies the device after a restart of the host.
    pub(super) fn identify(host: &mut impl Host) -> Result<Self, Error> {
        let ocr = power_up(host)?;
        let cid = host.command(Command::new(2, 0, ResponseKind::Long))?.long();
        card::check(3, host.command(Command::new(3, ADDRESS, ResponseKind::Short))?)?;
        let csd = host.command(Command::new(9, ADDRESS, ResponseKind::Long))?.long();
        card::select(host, ADDRESS)?;
        host.set_mode(Mode::START)?;
        let ext_csd = if emmc_version(csd) >= 4 { Some(read_ext_csd(host)?) } else { None };
        let sectors = ext_csd.map_or(0, |ext_csd| ext_csd.sector_count());
        let high_capacity = ocr & ACCESS_MODE == SECTOR_ACCESS;
        let block_count = match (high_capacity, sectors) {
            (true, 0) => return Err(Error::Unsupported("eMMC without a sector count")),
            (false, 0) => small_block_count(csd)?,
            (_, sectors) => sectors,
        };
        let identity = Identity {
            cid,
            address: ADDRESS,
            block_count,
            addressing: Addressing::of_high_capacity(high_capacity),
            // Mandatory since version 3.1 of the specification.
            set_block_count: emmc_version(csd) >= 3,
            mode: Mode::START,
            protected: is_write_protected(csd),
            reliable_writes: ext_csd.and_then(|ext_csd| ext_csd.reliable_writes()),
            cache_on: ext_csd.is_some_and(|ext_csd| ext_csd.has_cache_on()),
        };
        Ok(Self { identity, ext_csd })
    }

    /// Whether the device can do `mode`.
    pub(super) fn supports(&self, mode: Mode) -> bool {
        let Some(ext_csd) = &self.ext_csd else { return mode == Mode::START };
        let offers = |bit: u8| ext_csd.device_type() & 1 << bit != 0;
        match mode.timing {
            Timing::Default => true,
            Timing::HighSpeed => offers(1),
            Timing::Ddr52 => offers(2),
            Timing::Hs200 => offers(4),
            Timing::Hs400 => offers(6),
            Timing::Hs400EnhancedStrobe => offers(6) && ext_csd.has_enhanced_strobe(),
            Timing::Sdr25 | Timing::Sdr50 | Timing::Sdr104 => false,
        }
    }

    /// Takes device and host to `mode` and compares the EXT_CSD read there.
    pub(super) fn switch(&mut self, host: &mut impl Host, mode: Mode) -> Result<(), Error> {
        let Some(before) = self.ext_csd else { return Ok(()) };
        for step in steps(mode) {
            self.take(host, mode, *step)?;
        }
        let now = read_ext_csd(host)?;
        if !now.same_device(&before) || now.timing() != timing_value(mode.timing) {
            return Err(Error::Mismatch);
        }
        self.identity.mode = mode;
        Ok(())
    }

    fn take(&self, host: &mut impl Host, mode: Mode, step: Step) -> Result<(), Error> {
        match step {
            Step::Device(timing) => {
                write_field(host, ext_csd::HS_TIMING, timing_value(timing))?;
                self.confirm(host, mode)
            }
            Step::DeviceThenHost(timing) => {
                write_field(host, ext_csd::HS_TIMING, timing_value(timing))?;
                host.set_mode(Mode { timing, ..mode })?;
                self.confirm(host, mode)
            }
            Step::Width => {
                write_field(host, ext_csd::BUS_WIDTH, width_value(mode))?;
                self.confirm(host, mode)
            }
            Step::SingleRateWidth => {
                let single = Mode { timing: Timing::HighSpeed, ..mode };
                write_field(host, ext_csd::BUS_WIDTH, width_value(single))?;
                self.confirm(host, mode)
            }
            Step::Host(timing) => host.set_mode(Mode { timing, ..mode }),
            Step::Tune(command) => host.tune(command),
        }
    }

    /// Asks whether the switch on the way to `mode` worked.
    fn confirm(&self, host: &mut impl Host, mode: Mode) -> Result<(), Error> {
        let answer = card::wait_for_transfer_state(host, self.identity.address, card::SETTLE)?;
        if answer & status::SWITCH != 0 {
            return Err(Error::SwitchRefused(mode));
        }
        Ok(())
    }
}

/// Writes a byte of the EXT_CSD.
pub(super) fn write_field(host: &mut impl Host, field: u8, value: u8) -> Result<(), Error> {
    let argument = WRITE_BYTE | u32::from(field) << 16 | u32::from(value) << 8;
    card::check(6, host.command(Command::new(6, argument, ResponseKind::ShortBusy))?)
}

/// One step of a mode change.
#[derive(Clone, Copy)]
enum Step {
    /// Device: timing interface.
    Device(Timing),
    /// Device, then host, before anything else is said: the device becomes slower.
    DeviceThenHost(Timing),
    /// Device: bus width and data rate of the mode.
    Width,
    /// Device: bus width of the mode, single data rate.
    SingleRateWidth,
    /// Host: timing and clock.
    Host(Timing),
    /// Search the sampling point.
    Tune(u8),
}

/// How to get from the start to `mode` (eMMC 6.6.2 to 6.6.5, annex A.11).
fn steps(mode: Mode) -> &'static [Step] {
    use Step::{Device, DeviceThenHost, Host, SingleRateWidth, Tune, Width};
    use Timing::{Ddr52, Default, HighSpeed, Hs200, Hs400, Hs400EnhancedStrobe};
    match mode.timing {
        HighSpeed => &[Device(HighSpeed), Width, Host(HighSpeed)],
        Ddr52 => &[Device(HighSpeed), Host(HighSpeed), Width, Host(Ddr52)],
        Hs200 => &[Width, Device(Hs200), Host(Hs200), Tune(21)],
        // Tuned as HS200, then by way of high speed: the data rate may only change there.
        Hs400 => &[
            SingleRateWidth,
            Device(Hs200),
            Host(Hs200),
            Tune(21),
            DeviceThenHost(HighSpeed),
            Width,
            Device(Hs400),
            Host(Hs400),
        ],
        Hs400EnhancedStrobe => {
            &[Device(HighSpeed), Host(HighSpeed), Width, Device(Hs400), Host(Hs400EnhancedStrobe)]
        }
        _ if mode == Mode::START => &[],
        _ => &[Width, Host(Default)],
    }
}

/// HS_TIMING for a timing.
fn timing_value(timing: Timing) -> u8 {
    match timing {
        Timing::HighSpeed | Timing::Ddr52 => 1,
        Timing::Hs200 => 2,
        Timing::Hs400 | Timing::Hs400EnhancedStrobe => 3,
        _ => 0,
    }
}

/// BUS_WIDTH for a mode: lines in bits 1:0, data rate in bit 2, enhanced strobe in bit 7.
fn width_value(mode: Mode) -> u8 {
    let lines = match mode.width {
        BusWidth::One => 0,
        BusWidth::Four => 1,
        BusWidth::Eight => 2,
    };
    let data_rate = if mode.timing.is_ddr() { 4 } else { 0 };
    let strobe = if mode.timing == Timing::Hs400EnhancedStrobe { 0x80 } else { 0 };
    lines | data_rate | strobe
}

/// Resets the device, waits until it is up, and returns its operating conditions.
fn power_up(host: &mut impl Host) -> Result<u32, Error> {
    let offered = probe(host)?;
    let argument = SECTOR_ACCESS | offered & VOLTAGES;
    let deadline = Deadline::after(host, POWER_UP);
    loop {
        let last_look = deadline.passed(host);
        let ocr = host.command(Command::new(1, argument, ResponseKind::Unprotected))?.short();
        if ocr & POWERED_UP != 0 {
            return Ok(ocr);
        }
        if last_look {
            return Err(Error::Busy(1));
        }
        host.delay_us(POWER_UP_POLL_US);
    }
}

/// Asks for the voltages that the device can do; nothing there answers nothing.
fn probe(host: &mut impl Host) -> Result<u32, Error> {
    for _ in 0..PROBES {
        host.command(Command::new(0, 0, ResponseKind::None))?;
        host.delay_us(IDLE_US);
        match host.command(Command::new(1, 0, ResponseKind::Unprotected)) {
            Ok(answer) => return Ok(answer.short()),
            Err(Error::NoResponse(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::NoCard)
}

fn read_ext_csd(host: &mut impl Host) -> Result<ExtCsd, Error> {
    let mut bytes = [0; 512];
    card::read_one(host, 8, 0, &mut bytes)?;
    Ok(ExtCsd::new(bytes))
}
