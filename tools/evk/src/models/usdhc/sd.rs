//! SD cards: SDSC of both versions, SDHC, SDXC with UHS-I.

use std::time::Duration;

use super::{
    card::{Card, Core, Damage, Reply, Source, State, Strobe, Weakness, Wire, field, status},
    rules::Rules,
    storage::{Pattern, Storage},
};

/// Kinds of SD cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdKind {
    /// Standard capacity, version 1.01: knows neither CMD8 nor CMD6.
    StandardV1,
    /// Standard capacity, version 2.00: high speed.
    StandardV2,
    /// High capacity, high speed.
    HighCapacity,
    /// Extended capacity, UHS-I up to SDR50.
    Sdr50,
    /// Extended capacity, UHS-I up to SDR104.
    Sdr104,
}

const HIGH_CAPACITY: u32 = 1 << 30;
const LOW_VOLTAGE: u32 = 1 << 24;
const POWERED_UP: u32 = 1 << 31;
const VOLTAGES: u32 = 0x00ff_8000;
/// Power-up takes this long after the first ACMD41.
const POWER_UP: Duration = Duration::from_millis(5);
const ADDRESS: u16 = 0xaaaa;

/// Where a card is in its change to 1.8 V.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switching {
    /// CMD11 is answered; lines low; waiting for the clock to stop.
    Agreed,
    /// The clock stands still since then.
    Stopped(Duration),
    /// The clock is back; the lines are released at that time.
    Releasing(Duration),
    /// Did not work: lines low until the card loses power.
    Failed,
}

/// An SD card.
pub struct SdCard {
    core: Core,
    kind: SdKind,
    powered: bool,
    low_voltage: bool,
    switching: Option<Switching>,
    ready_at: Option<Duration>,
    low_voltage_granted: bool,
    app: bool,
    four_bit: bool,
    access_mode: u8,
    new_access_mode: Option<u8>,
    takes_cmd23: bool,
    serial: u32,
    protection: u8,
}

impl SdCard {
    /// A card of `block_count` blocks with [`Pattern`] on it, powered.
    ///
    /// # Panics
    /// If the kind cannot have that size.
    pub fn new(kind: SdKind, block_count: u64) -> Self {
        let standard = matches!(kind, SdKind::StandardV1 | SdKind::StandardV2);
        let unit = if standard { 512 } else { 1024 };
        assert!(block_count.is_multiple_of(unit) && block_count > 0, "whole units of the CSD");
        assert!(!standard || block_count <= 4 << 20, "at most 2 GiB");
        Self {
            core: Core::new(block_count, standard, Box::new(Pattern)),
            kind,
            powered: true,
            low_voltage: false,
            switching: None,
            ready_at: None,
            low_voltage_granted: false,
            app: false,
            four_bit: false,
            access_mode: 0,
            new_access_mode: None,
            takes_cmd23: matches!(kind, SdKind::Sdr50 | SdKind::Sdr104),
            serial: 0x1234_5678,
            protection: 0,
        }
    }

    /// With that serial number.
    #[must_use]
    pub fn with_serial(mut self, serial: u32) -> Self {
        self.serial = serial;
        self
    }

    /// With other contents.
    #[must_use]
    pub fn with_storage(mut self, storage: impl Storage + 'static) -> Self {
        self.core.storage = Box::new(storage);
        self
    }

    /// With something wrong.
    #[must_use]
    pub fn with_weakness(mut self, weakness: Weakness) -> Self {
        self.core.weakness = weakness;
        self
    }

    /// Protected against writing: PERM_WRITE_PROTECT in bit 1, TMP_WRITE_PROTECT in bit 0.
    #[must_use]
    pub fn with_protection(mut self, bits: u8) -> Self {
        self.core.protected = bits != 0;
        self.protection = bits;
        self
    }

    /// Takes CMD23, or not.
    #[must_use]
    pub fn with_set_block_count(mut self, takes_cmd23: bool) -> Self {
        self.takes_cmd23 = takes_cmd23;
        self
    }

    fn is_standard(&self) -> bool {
        self.core.byte_addressed
    }

    fn access_modes(&self) -> u8 {
        match self.kind {
            SdKind::StandardV1 => 0,
            SdKind::StandardV2 | SdKind::HighCapacity => 0b0_0011,
            SdKind::Sdr50 => 0b0_0111,
            SdKind::Sdr104 => 0b0_1111,
        }
    }

    fn max_hertz(&self) -> u32 {
        match self.access_mode {
            0 => 25_000_000,
            1 => 50_000_000,
            2 => 100_000_000,
            _ => 208_000_000,
        }
    }

    fn cid(&self) -> u128 {
        let register = field(0, 127, 120, 0x03);
        let register = field(register, 103, 64, u128::from(u64::from_be_bytes(*b"\0\0\0MODEL")));
        field(register, 55, 24, u128::from(self.serial))
    }

    fn csd(&self) -> u128 {
        let classes = if self.kind == SdKind::StandardV1 { 0x1b5 } else { 0x5b5 };
        let register = field(0, 95, 84, classes);
        let register = field(register, 13, 12, u128::from(self.protection));
        let blocks = u128::from(self.core.block_count);
        if self.is_standard() {
            // 2^9 units of the card's block length, which is 1024 above 1 GiB.
            let long = u128::from(blocks > 2 << 20);
            let register = field(register, 83, 80, 9 + long);
            let register = field(register, 49, 47, 7);
            field(register, 73, 62, (blocks >> 9 >> long) - 1)
        } else {
            let register = field(register, 127, 126, 1);
            let register = field(register, 83, 80, 9);
            field(register, 69, 48, blocks / 1024 - 1)
        }
    }

    fn scr(&self) -> u64 {
        let spec = match self.kind {
            SdKind::StandardV1 => 0,
            _ => 2u64,
        };
        let version_3 = u64::from(matches!(self.kind, SdKind::Sdr50 | SdKind::Sdr104));
        spec << 56 | 0b0101 << 48 | version_3 << 47 | u64::from(self.takes_cmd23) << 33
    }

    /// CMD6: what is supported, what is chosen.
    fn switch_function(&mut self, argument: u32) -> Vec<u8> {
        let wanted = argument.to_le_bytes()[0] & 0xf;
        // The faster ones are offered at 1.8 V only.
        let modes = self.access_modes() & if self.low_voltage { 0xff } else { 0b11 };
        let function = if wanted == 0xf { self.access_mode } else { wanted };
        let refused = self.core.weakness.refused_from.is_some_and(|from| function >= from);
        let refused = refused || self.core.refuse_next && argument & 1 << 31 != 0;
        let possible = function < 8 && modes & 1 << function != 0 && !refused;
        let chosen = if possible { function } else { 0xf };
        if argument & 1 << 31 != 0 {
            self.core.refuse_next = false;
            self.new_access_mode = possible.then_some(function);
        }
        let mut bytes = vec![0; 64];
        bytes[1] = 100;
        bytes[13] = modes;
        bytes[16] = chosen;
        bytes
    }

    /// The lines are clocked by the host as the card drives or samples them.
    fn check_lines(&self, wire: &Wire<'_>) -> bool {
        let width = if self.four_bit { 4 } else { 1 };
        let kept = wire.width == width && !wire.ddr && wire.strobe == Strobe::None;
        wire.rules.require(kept, || {
            format!("{} lines clocked, {width} driven, both edges: {}", wire.width, wire.ddr)
        });
        kept
    }

    fn voltage_switch(&mut self, now: Duration) -> Reply {
        if self.core.state != State::Ready || !self.low_voltage_granted {
            return self.core.illegal();
        }
        let failed = self.core.weakness.no_voltage_switch;
        self.switching = Some(if failed { Switching::Failed } else { Switching::Agreed });
        Reply::short(self.core.status(now))
    }

    fn operating_conditions(&mut self, now: Duration, argument: u32) -> Reply {
        if self.core.state != State::Idle {
            return self.core.illegal();
        }
        let mut ocr = VOLTAGES;
        if argument & VOLTAGES == 0 {
            return Reply::short(ocr);
        }
        let ready_at = *self.ready_at.get_or_insert(now + POWER_UP);
        let taken = self.is_standard() || argument & HIGH_CAPACITY != 0;
        if now >= ready_at && taken && !self.core.weakness.never_ready {
            ocr |= POWERED_UP;
            self.core.state = State::Ready;
            if !self.is_standard() {
                ocr |= HIGH_CAPACITY;
            }
            let can = matches!(self.kind, SdKind::Sdr50 | SdKind::Sdr104) && !self.low_voltage;
            self.low_voltage_granted = can && argument & LOW_VOLTAGE != 0;
            if self.low_voltage_granted {
                ocr |= LOW_VOLTAGE;
            }
        }
        Reply::short(ocr)
    }

    fn app_command(&mut self, wire: &Wire<'_>, index: u8, argument: u32) -> Option<Reply> {
        let now = wire.now;
        Some(match index {
            6 if self.core.state == State::Transfer => {
                self.four_bit = argument & 3 == 2;
                Reply::short(self.core.status(now) | status::APP)
            }
            41 => self.operating_conditions(now, argument),
            51 => {
                let scr = self.scr().to_be_bytes().to_vec();
                self.core.send(wire, 51, Source::Bytes(scr))
            }
            _ => return None,
        })
    }

    fn plain_command(&mut self, wire: &Wire<'_>, index: u8, argument: u32) -> Reply {
        let now = wire.now;
        let addressed = argument >> 16 == u32::from(self.core.address);
        match (index, self.core.state) {
            (8, State::Idle) if self.kind != SdKind::StandardV1 => Reply::short(argument & 0xfff),
            (55, State::Idle | State::Standby | State::Transfer | State::Sending) if addressed => {
                self.app = true;
                Reply::short(self.core.status(now) | status::APP)
            }
            (11, _) => self.voltage_switch(now),
            (2, State::Ready) => {
                self.core.state = State::Identification;
                Reply::long(self.cid())
            }
            (3, State::Identification | State::Standby) => {
                let bits = self.core.status(now) & 0x1fff;
                self.core.address = ADDRESS;
                self.core.state = State::Standby;
                Reply::short(u32::from(ADDRESS) << 16 | bits)
            }
            (9, State::Standby) if addressed => Reply::long(self.csd()),
            (7, State::Standby) if addressed => {
                let bits = self.core.status(now);
                self.core.state = State::Transfer;
                self.core.busy_until = now + Duration::from_micros(50);
                Reply::busy(bits, Duration::from_micros(50))
            }
            (13, State::Standby | State::Transfer | State::Sending | State::Receiving)
                if addressed =>
            {
                Reply::short(self.core.status(now))
            }
            (12, _) => self.core.stop(wire),
            (17 | 18 | 24 | 25, _) => self.core.start_transfer(wire, index, argument),
            (23, State::Transfer) if self.takes_cmd23 => {
                self.core.announced = Some(argument);
                Reply::short(self.core.status(now))
            }
            (6, _) if self.kind != SdKind::StandardV1 => {
                let answer = self.switch_function(argument);
                self.core.send(wire, 6, Source::Bytes(answer))
            }
            (19, _) if self.low_voltage && self.access_mode >= 2 => {
                self.core.send(wire, 19, Source::Tuning)
            }
            _ => self.core.illegal(),
        }
    }
}

impl Card for SdCard {
    fn set_power(&mut self, on: bool, _: Duration) {
        self.powered = on;
        if !on {
            self.core.lose_power();
            self.low_voltage = false;
            self.switching = None;
            self.ready_at = None;
            self.app = false;
            self.four_bit = false;
            self.access_mode = 0;
            self.new_access_mode = None;
        }
    }

    fn set_lines(&mut self, hertz: Option<u32>, low_voltage: bool, now: Duration, rules: &Rules) {
        self.core.clock_changes(hertz, now);
        if !self.powered {
            return;
        }
        self.switching = match (self.switching, hertz) {
            (Some(Switching::Agreed), None) => Some(Switching::Stopped(now)),
            (Some(Switching::Stopped(since)), Some(_)) => {
                rules.require(now - since >= Duration::from_millis(5), || {
                    format!("clock stopped for {:?} only in a voltage switch", now - since)
                });
                rules.require(low_voltage, || "voltage switch without 1.8 V".into());
                self.low_voltage = true;
                Some(Switching::Releasing(now + Duration::from_micros(200)))
            }
            (switching, _) => switching,
        };
        let between = matches!(self.switching, Some(Switching::Stopped(_) | Switching::Failed));
        rules.require(between || low_voltage == self.low_voltage, || {
            format!("lines at 1.8 V: {low_voltage}; card at 1.8 V: {}", self.low_voltage)
        });
    }

    fn data_lines(&self, now: Duration) -> u8 {
        match self.switching {
            _ if !self.powered => 0xff,
            Some(Switching::Releasing(at)) if now >= at => 0xff,
            Some(_) => 0xf0,
            None if self.core.is_busy(now) => 0xfe,
            None => 0xff,
        }
    }

    fn command(&mut self, wire: &Wire<'_>, index: u8, argument: u32) -> Reply {
        if !self.powered || self.core.state == State::Inactive {
            return Reply::SILENT;
        }
        match self.switching {
            None => {}
            Some(Switching::Releasing(at)) if wire.now >= at => self.switching = None,
            Some(_) => return Reply::SILENT,
        }
        let max_hertz = self.max_hertz();
        self.core.check(wire, index, max_hertz);
        if self.core.stuck && index != 13 {
            return Reply::SILENT;
        }
        if index == 0 {
            self.core.reset();
            self.ready_at = None;
            self.app = false;
            self.four_bit = false;
            self.access_mode = 0;
            return Reply::SILENT;
        }
        if std::mem::take(&mut self.app) {
            if let Some(reply) = self.app_command(wire, index, argument) {
                return reply;
            }
        } else if matches!(index, 41 | 51) {
            wire.rules.broken(format!("ACMD{index} without CMD55"));
        }
        self.plain_command(wire, index, argument)
    }

    fn read_block(&mut self, wire: &Wire<'_>, block: &mut [u8]) -> Result<(), Damage> {
        let tuning = matches!(self.core.source, Some(Source::Tuning));
        let kept = self.check_lines(wire);
        let needs_tuning = self.access_mode >= 2 && !tuning;
        wire.rules.require(wire.tuned || !needs_tuning, || {
            format!("data in access mode {} without tuning", self.access_mode)
        });
        self.core.next_block(wire, block)?;
        if let Some(mode) = self.new_access_mode.take() {
            self.access_mode = mode;
        }
        if !kept || needs_tuning && !wire.tuned || tuning && self.core.weakness.no_tuning {
            return Err(Damage::Crc);
        }
        self.core.damage(wire).map_or(Ok(()), Err)
    }

    fn write_block(&mut self, wire: &Wire<'_>, block: &[u8]) -> Result<(), Damage> {
        if !self.check_lines(wire) {
            return Err(Damage::Crc);
        }
        if let Some(damage) = self.core.damage(wire) {
            return Err(damage);
        }
        self.core.take_block(wire, block)
    }

    fn cut(&mut self, block: &[u8], bytes: usize) {
        self.core.cut(block, bytes);
    }

    fn stick(&mut self) {
        self.core.stuck = true;
    }

    fn refuse_next_switch(&mut self) {
        self.core.refuse_next = true;
    }

    fn weaken(&mut self, weakness: Weakness) {
        self.core.weakness = weakness;
    }
}
