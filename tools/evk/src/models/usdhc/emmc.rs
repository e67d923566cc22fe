//! eMMC with boot partitions.

use std::{collections::BTreeMap, time::Duration};

use super::{
    card::{Card, Core, Damage, Reply, Source, State, Strobe, Weakness, Wire, field, status},
    rules::Rules,
    storage::{Pattern, Storage},
};

/// What an eMMC can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmmcKind {
    /// 2 GiB or less, byte-addressed, version 4.3: high speed.
    ByteAddressed,
    /// Version 4.41: dual data rate.
    Ddr52,
    /// Version 4.5: HS200.
    Hs200,
    /// Version 5.0: HS400.
    Hs400,
    /// Version 5.1: HS400 with enhanced strobe.
    EnhancedStrobe,
}

const POWERED_UP: u32 = 1 << 31;
const SECTORS: u32 = 0b10 << 29;
const VOLTAGES: u32 = 0x00ff_8080;
const POWER_UP: Duration = Duration::from_millis(5);
/// A switch takes this long.
const SWITCH: Duration = Duration::from_micros(300);

const FLUSH_CACHE: usize = 32;
const CACHE_CTRL: usize = 33;
const WR_REL_PARAM: usize = 166;
const PARTITION_CONFIG: usize = 179;
const BUS_WIDTH: usize = 183;
const STROBE_SUPPORT: usize = 184;
const HS_TIMING: usize = 185;
const REVISION: usize = 192;
const DEVICE_TYPE: usize = 196;
const SECTOR_COUNT: usize = 212;
const REL_WR_SEC_C: usize = 222;
const BOOT_SIZE_MULT: usize = 226;
const GENERIC_CMD6_TIME: usize = 248;

/// An eMMC.
pub struct Emmc {
    core: Core,
    kind: EmmcKind,
    user_block_count: u64,
    boot: [Box<dyn Storage>; 2],
    ext_csd: [u8; 512],
    ready_at: Option<Duration>,
    /// The command clock of a device that became slower must follow before the next command.
    deaf_above: Option<u32>,
    protection: u8,
}

impl Emmc {
    /// Blocks of each boot partition: 4 MiB.
    pub const BOOT_BLOCKS: u64 = 8192;

    /// A device of `block_count` blocks with [`Pattern`] on all its partitions.
    ///
    /// # Panics
    /// If the kind cannot have that size.
    pub fn new(kind: EmmcKind, block_count: u64) -> Self {
        let byte_addressed = kind == EmmcKind::ByteAddressed;
        assert!(!byte_addressed || block_count <= 4 << 20, "at most 2 GiB");
        let mut card = Self {
            core: Core::new(block_count, byte_addressed, Box::new(Pattern)),
            kind,
            user_block_count: block_count,
            boot: [Box::new(Pattern), Box::new(Pattern)],
            ext_csd: [0; 512],
            ready_at: None,
            deaf_above: None,
            protection: 0,
        };
        card.fill_ext_csd();
        card
    }

    /// With other contents of the user area.
    #[must_use]
    pub fn with_storage(mut self, storage: impl Storage + 'static) -> Self {
        self.core.storage = Box::new(storage);
        self
    }

    /// With other contents of boot partition `number`, 0 or 1.
    ///
    /// # Panics
    /// There is no third one.
    #[must_use]
    pub fn with_boot(mut self, number: usize, storage: impl Storage + 'static) -> Self {
        self.boot[number] = Box::new(storage);
        self
    }

    /// With that PARTITION_CONFIG: which partition the boot ROM starts. It stays over resets and
    /// loss of power, but for the choice of what is accessed.
    #[must_use]
    pub fn with_partition_config(mut self, value: u8) -> Self {
        self.ext_csd[PARTITION_CONFIG] = value & !7;
        self
    }

    /// Protected against writing: PERM_WRITE_PROTECT in bit 1, TMP_WRITE_PROTECT in bit 0.
    #[must_use]
    pub fn with_protection(mut self, bits: u8) -> Self {
        self.core.protected = bits != 0;
        self.protection = bits;
        self
    }

    /// With reliable writes of one block, or of `unit` from a multiple of it on, as before version
    /// 4.41; 0 for none at all.
    #[must_use]
    pub fn with_old_reliable_writes(mut self, unit: u8) -> Self {
        self.ext_csd[WR_REL_PARAM] = 0;
        self.ext_csd[REL_WR_SEC_C] = unit;
        self
    }

    /// With a volatile cache that is on from the start.
    #[must_use]
    pub fn with_cache(mut self) -> Self {
        self.ext_csd[CACHE_CTRL] = 1;
        self.core.cache = Some(BTreeMap::new());
        self
    }

    /// With something wrong.
    #[must_use]
    pub fn with_weakness(mut self, weakness: Weakness) -> Self {
        self.core.weakness = weakness;
        self
    }

    fn fill_ext_csd(&mut self) {
        let (revision, device_type) = match self.kind {
            EmmcKind::ByteAddressed => (3, 0b0000_0011),
            EmmcKind::Ddr52 => (5, 0b0000_0111),
            EmmcKind::Hs200 => (6, 0b0001_0111),
            EmmcKind::Hs400 => (7, 0b0101_0111),
            EmmcKind::EnhancedStrobe => (8, 0b0101_0111),
        };
        self.ext_csd[REVISION] = revision;
        self.ext_csd[DEVICE_TYPE] = device_type;
        self.ext_csd[STROBE_SUPPORT] = u8::from(self.kind == EmmcKind::EnhancedStrobe);
        let sectors = u32::try_from(self.user_block_count).expect("at most 2 TiB");
        if !self.core.byte_addressed {
            self.ext_csd[SECTOR_COUNT..SECTOR_COUNT + 4].copy_from_slice(&sectors.to_le_bytes());
        }
        // EN_REL_WR: any number of blocks.
        self.ext_csd[WR_REL_PARAM] = if revision >= 5 { 1 << 2 } else { 0 };
        self.ext_csd[REL_WR_SEC_C] = 1;
        self.ext_csd[BOOT_SIZE_MULT] = 32;
        self.ext_csd[GENERIC_CMD6_TIME] = 10;
    }

    fn timing(&self) -> u8 {
        self.ext_csd[HS_TIMING] & 0xf
    }

    fn width(&self) -> u8 {
        match self.ext_csd[BUS_WIDTH] & 0xf {
            0 => 1,
            1 | 5 => 4,
            _ => 8,
        }
    }

    fn is_ddr(&self) -> bool {
        self.ext_csd[BUS_WIDTH] & 0xf >= 5
    }

    fn strobe(&self) -> Strobe {
        match (self.timing(), self.ext_csd[BUS_WIDTH] & 0x80 != 0) {
            (3, true) => Strobe::Enhanced,
            (3, false) => Strobe::Data,
            _ => Strobe::None,
        }
    }

    fn max_hertz(&self) -> u32 {
        match self.timing() {
            0 => 26_000_000,
            1 => 52_000_000,
            _ => 200_000_000,
        }
    }

    fn cid(&self) -> u128 {
        let register = field(0, 127, 120, 0x15);
        let register = field(register, 103, 56, 0x4d4f_4445_4c31);
        field(register, 47, 16, 0x1234_5678)
    }

    fn csd(&self) -> u128 {
        let register = field(0, 127, 126, 3);
        let register = field(register, 125, 122, 4);
        let register = field(register, 95, 84, 0x8f5);
        let register = field(register, 13, 12, u128::from(self.protection));
        if !self.core.byte_addressed {
            let register = field(register, 83, 80, 9);
            let register = field(register, 49, 47, 7);
            return field(register, 73, 62, 0xfff);
        }
        let blocks = u128::from(self.user_block_count);
        let long = u128::from(blocks > 2 << 20);
        let register = field(register, 83, 80, 9 + long);
        let register = field(register, 49, 47, 7);
        field(register, 73, 62, (blocks >> 9 >> long) - 1)
    }

    fn operating_conditions(&mut self, now: Duration, argument: u32) -> Reply {
        if self.core.state != State::Idle {
            return self.core.illegal();
        }
        let mut ocr = VOLTAGES;
        if !self.core.byte_addressed {
            ocr |= SECTORS;
        }
        if argument & VOLTAGES != 0 {
            let ready_at = *self.ready_at.get_or_insert(now + POWER_UP);
            if now >= ready_at && !self.core.weakness.never_ready {
                ocr |= POWERED_UP;
                self.core.state = State::Ready;
            }
        }
        Reply::short(ocr)
    }

    /// CMD6: writes a byte of the EXT_CSD, or refuses.
    fn switch(&mut self, wire: &Wire<'_>, argument: u32) -> Reply {
        if self.core.state != State::Transfer {
            return self.core.illegal();
        }
        let [_, value, index, access] = argument.to_le_bytes();
        let bits = self.core.status(wire.now);
        let refused = std::mem::take(&mut self.core.refuse_next);
        let index = usize::from(index);
        let allowed = access == 3 && !refused && self.allows(index, value, wire);
        if allowed {
            let slower = index == HS_TIMING && value & 0xf < self.timing();
            if index != FLUSH_CACHE {
                self.ext_csd[index] = value;
            }
            // The busy signal still comes at the old speed; then the host has to slow down.
            self.deaf_above = slower.then(|| self.max_hertz());
            match index {
                PARTITION_CONFIG => self.select_partition(),
                FLUSH_CACHE => self.core.flush(),
                _ => {}
            }
        } else {
            self.core.errors |= status::SWITCH;
        }
        self.core.busy_until = wire.now + SWITCH;
        Reply::busy(bits, SWITCH)
    }

    fn allows(&self, index: usize, value: u8, wire: &Wire<'_>) -> bool {
        let types = self.ext_csd[DEVICE_TYPE];
        let width = self.ext_csd[BUS_WIDTH];
        match index {
            HS_TIMING => {
                if self.core.weakness.refused_from.is_some_and(|from| value & 0xf >= from) {
                    return false;
                }
                match value & 0xf {
                    0 => true,
                    1 => types & 0b11 != 0,
                    2 => types & 1 << 4 != 0 && matches!(width, 1 | 2) && wire.low_voltage,
                    3 => {
                        types & 1 << 6 != 0
                            && matches!(width, 0x06 | 0x86)
                            && self.timing() == 1
                            && wire.hertz <= 52_000_000
                    }
                    _ => false,
                }
            }
            BUS_WIDTH => match value {
                0..=2 => true,
                5 | 6 => types & 1 << 2 != 0 && self.timing() == 1,
                0x86 => self.ext_csd[STROBE_SUPPORT] == 1 && self.timing() == 1,
                _ => false,
            },
            PARTITION_CONFIG => value & 7 <= 2,
            FLUSH_CACHE => value == 1,
            _ => false,
        }
    }

    fn select_partition(&mut self) {
        let user = self.ext_csd[PARTITION_CONFIG] & 7 == 0;
        self.core.block_count = if user { self.user_block_count } else { Self::BOOT_BLOCKS };
    }

    /// Does `work` with the partition that is accessed.
    fn on_partition<T>(&mut self, work: impl FnOnce(&mut Core) -> T) -> T {
        let boot = match self.ext_csd[PARTITION_CONFIG] & 7 {
            0 => return work(&mut self.core),
            number => usize::from(number - 1),
        };
        std::mem::swap(&mut self.core.storage, &mut self.boot[boot]);
        let done = work(&mut self.core);
        std::mem::swap(&mut self.core.storage, &mut self.boot[boot]);
        done
    }

    /// The lines are clocked by the host as the device drives or samples them.
    fn check_lines(&self, wire: &Wire<'_>) -> bool {
        let kept =
            wire.width == self.width() && wire.ddr == self.is_ddr() && wire.strobe == self.strobe();
        wire.rules.require(kept, || {
            format!(
                "host: {} lines, both edges {}, {:?}; device: {} lines, both edges {}, {:?}",
                wire.width,
                wire.ddr,
                wire.strobe,
                self.width(),
                self.is_ddr(),
                self.strobe()
            )
        });
        kept
    }

    /// How long a reliable write may be.
    fn check_reliable(&self, wire: &Wire<'_>, argument: u32) {
        let any = self.ext_csd[WR_REL_PARAM] & 1 << 2 != 0;
        let Some(count) = self.core.announced.filter(|_| self.core.reliable && !any) else {
            return;
        };
        let unit = u32::from(self.ext_csd[REL_WR_SEC_C]);
        let block = if self.core.byte_addressed { argument / 512 } else { argument };
        let kept = unit != 0 && (count == 1 || count == unit && block.is_multiple_of(unit));
        wire.rules.require(kept, || format!("reliable write of {count} blocks, unit {unit}"));
    }

    fn reset(&mut self) {
        self.core.reset();
        self.core.stuck = false;
        self.ready_at = None;
        self.deaf_above = None;
        self.ext_csd[HS_TIMING] = 0;
        self.ext_csd[BUS_WIDTH] = 0;
        self.ext_csd[PARTITION_CONFIG] &= !7;
        self.select_partition();
    }
}

impl Card for Emmc {
    fn set_power(&mut self, on: bool, _: Duration) {
        if !on {
            self.reset();
            self.core.lose_power();
        }
    }

    fn set_lines(&mut self, hertz: Option<u32>, low_voltage: bool, now: Duration, rules: &Rules) {
        self.core.clock_changes(hertz, now);
        if let (Some(hertz), Some(limit)) = (hertz, self.deaf_above)
            && hertz <= limit
        {
            self.deaf_above = None;
        }
        let fast = self.timing() >= 2;
        rules.require(low_voltage || !fast || hertz.is_none(), || "HS200 or HS400 at 3.3 V".into());
    }

    fn data_lines(&self, now: Duration) -> u8 {
        if self.core.is_busy(now) { 0xfe } else { 0xff }
    }

    fn command(&mut self, wire: &Wire<'_>, index: u8, argument: u32) -> Reply {
        if let Some(limit) = self.deaf_above {
            wire.rules.broken(format!("CMD{index} at {} Hz after a switch to {limit}", wire.hertz));
        }
        let max_hertz = self.max_hertz();
        self.core.check(wire, index, max_hertz);
        let now = wire.now;
        if index == 0 {
            self.reset();
            return Reply::SILENT;
        }
        if self.core.stuck && index != 13 {
            return Reply::SILENT;
        }
        let addressed = argument >> 16 == u32::from(self.core.address);
        match (index, self.core.state) {
            (1, _) => self.operating_conditions(now, argument),
            (2, State::Ready) => {
                self.core.state = State::Identification;
                Reply::long(self.cid())
            }
            (3, State::Identification) => {
                let bits = self.core.status(now);
                self.core.address = u16::try_from(argument >> 16).expect("16 bits");
                self.core.state = State::Standby;
                Reply::short(bits)
            }
            (9, State::Standby) if addressed => Reply::long(self.csd()),
            (7, State::Standby) if addressed => {
                let bits = self.core.status(now);
                self.core.state = State::Transfer;
                Reply::short(bits)
            }
            (13, State::Standby | State::Transfer | State::Sending | State::Receiving)
                if addressed =>
            {
                Reply::short(self.core.status(now))
            }
            (6, _) => self.switch(wire, argument),
            // SD's CMD8: hosts look for an SD card in a slot of unknown kind, as Linux always does.
            (8, State::Idle) => self.core.illegal(),
            (8, _) => {
                let register = self.ext_csd.to_vec();
                self.core.send(wire, 8, Source::Bytes(register))
            }
            (12, _) => self.core.stop(wire),
            (25, _) => {
                self.check_reliable(wire, argument);
                self.core.start_transfer(wire, index, argument)
            }
            (17 | 18 | 24, _) => self.core.start_transfer(wire, index, argument),
            (21, _) if self.timing() == 2 => self.core.send(wire, 21, Source::Tuning),
            (23, State::Transfer) => {
                self.core.announced = Some(argument & 0xffff);
                self.core.reliable = argument & 1 << 31 != 0;
                Reply::short(self.core.status(now))
            }
            _ => self.core.illegal(),
        }
    }

    fn read_block(&mut self, wire: &Wire<'_>, block: &mut [u8]) -> Result<(), Damage> {
        let tuning = matches!(self.core.source, Some(Source::Tuning));
        let kept = self.check_lines(wire);
        let needs_tuning = !tuning && self.timing() >= 2 && self.strobe() != Strobe::Enhanced;
        wire.rules.require(wire.tuned || !needs_tuning, || {
            format!("data in timing {} without tuning", self.timing())
        });
        self.on_partition(|core| core.next_block(wire, block))?;
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
        self.on_partition(|core| core.take_block(wire, block))
    }

    fn cut(&mut self, block: &[u8], bytes: usize) {
        self.on_partition(|core| core.cut(block, bytes));
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
