//! SD cards: identification and access modes (SD chapter 4).

use core::time::Duration;

use super::{
    BusWidth, Command, Error, Host, Mode, Response, ResponseKind, Timing, Transfer,
    card::{self, Addressing, Identity},
    contents::{Scr, SwitchStatus, has_switch_class, is_write_protected, sd_block_count, status},
};
use crate::time::Deadline;

/// The card's power-up may take that long (SD 4.2.3).
const POWER_UP: Duration = Duration::from_secs(1);
/// Interval between two looks at it.
const POWER_UP_POLL_US: u32 = 100;
/// Given to a card after each reset. The specification asks for 8 clocks (SD 4.12.4), five times of
/// which are all that most cards get; Linux and U-Boot wait 1 ms, and so does whoever finds a card
/// silent. CMD0 and CMD8 are repeated so often before a slot is called empty.
const IDLE_US: [u32; 4] = [100, 1000, 1000, 1000];

/// CMD8: 2.7-3.6 V, and a pattern that the card echoes.
const IF_COND: u32 = 0x1aa;
/// ACMD41: all voltages from 2.7 to 3.6 V.
const VOLTAGES: u32 = 0x00ff_8000;
/// ACMD41: host takes high-capacity cards; card is one.
const HIGH_CAPACITY: u32 = 1 << 30;
/// ACMD41: host asks for, card grants, 1.8 V signalling.
const LOW_VOLTAGE: u32 = 1 << 24;
/// ACMD41: power-up is done.
const POWERED_UP: u32 = 1 << 31;
/// CMD6: leave all groups but access mode as they are.
const SWITCH_ACCESS_MODE_ONLY: u32 = 0x00ff_fff0;
/// CMD6: switch, don't only ask.
const SWITCH_SET: u32 = 1 << 31;
/// ACMD6: four data lines.
const FOUR_BIT: u32 = 2;

/// The slowest mode that needs 1.8 V.
pub(super) const SLOWEST_LOW_VOLTAGE: Mode = Mode { timing: Timing::Sdr25, width: BusWidth::Four };

/// An identified card in transfer state.
pub(super) struct SdCard {
    pub(super) identity: Identity,
    scr: Scr,
    access_modes: Option<SwitchStatus>,
    low_voltage: bool,
}

impl SdCard {
    /// Identifies the card after a restart of the host. With `wants_low_voltage`, asks it to change
    /// to 1.8 V signalling.
    ///
    /// # Errors
    /// [`Error::VoltageSwitch`] among others: it does not, or has done so for somebody before and
    /// must lose its power.
    pub(super) fn identify(host: &mut impl Host, wants_low_voltage: bool) -> Result<Self, Error> {
        let ocr = power_up(host, wants_low_voltage)?;
        let low_voltage = wants_low_voltage && ocr & LOW_VOLTAGE != 0;
        if low_voltage {
            host.command(Command::new(11, 0, ResponseKind::Short))?;
            host.switch_to_1v8()?;
        }
        let cid = host.command(Command::new(2, 0, ResponseKind::Long))?.long();
        let address = host.command(Command::new(3, 0, ResponseKind::Short))?.short() & 0xffff_0000;
        let csd = host.command(Command::new(9, address, ResponseKind::Long))?.long();
        card::select(host, address)?;
        host.set_mode(Mode::START)?;
        let mut identity = Identity {
            cid,
            address,
            block_count: sd_block_count(csd)?,
            addressing: Addressing::of_high_capacity(ocr & HIGH_CAPACITY != 0),
            set_block_count: false,
            mode: Mode::START,
            protected: is_write_protected(csd),
            reliable_writes: None,
            cache_on: false,
        };
        let scr = read_scr(host, address)?;
        identity.set_block_count = scr.set_block_count;
        let access_modes = if has_switch_class(csd) { Some(ask_access_modes(host)?) } else { None };
        let left_behind = access_modes.is_some_and(|modes| modes.is_low_voltage());
        if wants_low_voltage && !low_voltage && left_behind {
            return Err(Error::VoltageSwitch);
        }
        Ok(Self { identity, scr, access_modes, low_voltage })
    }

    /// Whether card and signalling allow `mode`.
    pub(super) fn supports(&self, mode: Mode) -> bool {
        let width = match mode.width {
            BusWidth::One => true,
            BusWidth::Four => self.scr.four_bit,
            BusWidth::Eight => false,
        };
        let timing = match mode.timing {
            Timing::Default => true,
            Timing::HighSpeed => !self.low_voltage && self.has_access_mode(mode.timing),
            Timing::Sdr25 | Timing::Sdr50 | Timing::Sdr104 => {
                self.low_voltage && self.has_access_mode(mode.timing)
            }
            _ => false,
        };
        width && timing
    }

    fn has_access_mode(&self, timing: Timing) -> bool {
        match (access_mode(timing), &self.access_modes) {
            (Some(function), Some(modes)) => modes.supports(function),
            _ => false,
        }
    }

    /// Takes card and host to `mode` and reads a block there.
    pub(super) fn switch(&mut self, host: &mut impl Host, mode: Mode) -> Result<(), Error> {
        if mode.width == BusWidth::Four {
            app_command(host, self.identity.address, 6, FOUR_BIT, ResponseKind::Short)?;
            host.set_mode(Mode { timing: Timing::Default, width: mode.width })?;
        }
        if let Some(function) = access_mode(mode.timing) {
            let argument = SWITCH_SET | SWITCH_ACCESS_MODE_ONLY | u32::from(function);
            if switch_function(host, argument)?.selected() != function {
                return Err(Error::SwitchRefused(mode));
            }
            host.set_mode(mode)?;
        }
        if let Some(command) = mode.timing.tuning_command() {
            host.tune(command)?;
        }
        let mut block = [0; 512];
        card::read_one(host, 17, 0, &mut block)?;
        self.identity.mode = mode;
        Ok(())
    }
}

/// Function of CMD6's access mode group; `None` for what a card starts with.
fn access_mode(timing: Timing) -> Option<u8> {
    match timing {
        Timing::HighSpeed | Timing::Sdr25 => Some(1),
        Timing::Sdr50 => Some(2),
        Timing::Sdr104 => Some(3),
        _ => None,
    }
}

/// Wakes the card up and returns its operating conditions.
fn power_up(host: &mut impl Host, low_voltage: bool) -> Result<u32, Error> {
    let version_2 = probe(host)?;
    let mut argument = VOLTAGES;
    if version_2 {
        argument |= HIGH_CAPACITY;
    }
    if version_2 && low_voltage {
        argument |= LOW_VOLTAGE;
    }
    let deadline = Deadline::after(host, POWER_UP);
    loop {
        let last_look = deadline.passed(host);
        let ocr = app_command(host, 0, 41, argument, ResponseKind::Unprotected)?.short();
        if ocr & POWERED_UP != 0 {
            return Ok(ocr);
        }
        if last_look {
            return Err(Error::Busy(41));
        }
        host.delay_us(POWER_UP_POLL_US);
    }
}

/// Finds out whether there is a card, and whether it is of version 2 or later. A card of version 1
/// does not answer CMD8, so only one that is silent on CMD55, too, is none.
fn probe(host: &mut impl Host) -> Result<bool, Error> {
    let patient = IDLE_US[1];
    for idle_us in IDLE_US {
        host.command(Command::new(0, 0, ResponseKind::None))?;
        host.delay_us(idle_us);
        match host.command(Command::new(8, IF_COND, ResponseKind::Short)) {
            Ok(answer) if answer.short() & 0xfff == IF_COND => return Ok(true),
            Ok(_) => return Err(Error::Unsupported("card does not run at 3.3 V")),
            // It may only be slow.
            Err(Error::NoResponse(_)) if idle_us < patient => continue,
            Err(Error::NoResponse(_)) => {}
            Err(error) => return Err(error),
        }
        match host.command(Command::new(55, 0, ResponseKind::Short)) {
            Ok(_) => return Ok(false),
            Err(Error::NoResponse(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::NoCard)
}

fn app_command(
    host: &mut impl Host,
    address: u32,
    index: u8,
    argument: u32,
    response: ResponseKind,
) -> Result<Response, Error> {
    announce_app_command(host, address)?;
    host.command(Command::new(index, argument, response))
}

fn announce_app_command(host: &mut impl Host, address: u32) -> Result<(), Error> {
    let answer = host.command(Command::new(55, address, ResponseKind::Short))?.short();
    if answer & status::APP_COMMAND == 0 {
        return Err(Error::Status(55, answer));
    }
    Ok(())
}

fn read_scr(host: &mut impl Host, address: u32) -> Result<Scr, Error> {
    announce_app_command(host, address)?;
    let mut bytes = [0; 8];
    card::read_one(host, 51, 0, &mut bytes)?;
    Scr::parse(bytes)
}

fn ask_access_modes(host: &mut impl Host) -> Result<SwitchStatus, Error> {
    switch_function(host, SWITCH_ACCESS_MODE_ONLY)
}

fn switch_function(host: &mut impl Host, argument: u32) -> Result<SwitchStatus, Error> {
    let mut bytes = [0; 64];
    let command = Command::new(6, argument, ResponseKind::Short);
    let transfer = Transfer { command, block_size: 64, stop: false, destination: &mut bytes };
    card::check(6, host.read(transfer)?)?;
    Ok(SwitchStatus::new(bytes))
}
