//! The register block.

use std::{collections::BTreeMap, iter, ops::Range, time::Duration};

use super::{
    adma::{self, Piece},
    card::{Card, Damage, PROGRAMMING, Reply, Response, Strobe, Weakness, Wire},
    fault::Fault,
    rules::Rules,
};

const BLK_ATT: u32 = 0x04;
const CMD_ARG: u32 = 0x08;
const CMD_XFR_TYP: u32 = 0x0c;
const CMD_RSP0: u32 = 0x10;
const PRES_STATE: u32 = 0x24;
const PROT_CTRL: u32 = 0x28;
pub(super) const SYS_CTRL: u32 = 0x2c;
const INT_STATUS: u32 = 0x30;
const INT_STATUS_EN: u32 = 0x34;
const AUTOCMD12_ERR: u32 = 0x3c;
const HOST_CAP: u32 = 0x40;
const WTMK_LVL: u32 = 0x44;
const MIX_CTRL: u32 = 0x48;
const ADMA_ERR_STATUS: u32 = 0x54;
const ADMA_SYS_ADDR: u32 = 0x58;
const CLK_TUNE_CTRL_STATUS: u32 = 0x68;
const STROBE_DLL_CTRL: u32 = 0x70;
const STROBE_DLL_STATUS: u32 = 0x74;
const VEND_SPEC: u32 = 0xc0;
const MMC_BOOT: u32 = 0xc4;
const TUNING_CTRL: u32 = 0xcc;

/// Values after power-up, where they are not 0.
const RESET_VALUES: &[(u32, u32)] = &[
    (PROT_CTRL, 0x0880_0020),
    (SYS_CTRL, 0x8080_800f),
    (HOST_CAP, 0x07f3_b407),
    (WTMK_LVL, 0x0810_0810),
    (VEND_SPEC, 0x2000_7809),
    (TUNING_CTRL, 0x0020_0000),
];
/// Registers that the reset bit of SYS_CTRL leaves alone.
const KEPT: [u32; 7] =
    [HOST_CAP, MIX_CTRL, CLK_TUNE_CTRL_STATUS, STROBE_DLL_CTRL, VEND_SPEC, MMC_BOOT, TUNING_CTRL];

mod bit {
    pub(super) const CC: u32 = 1 << 0;
    pub(super) const TC: u32 = 1 << 1;
    pub(super) const BRR: u32 = 1 << 5;
    pub(super) const CTOE: u32 = 1 << 16;
    pub(super) const CCE: u32 = 1 << 17;
    pub(super) const CEBE: u32 = 1 << 18;
    pub(super) const CIE: u32 = 1 << 19;
    pub(super) const DTOE: u32 = 1 << 20;
    pub(super) const DCE: u32 = 1 << 21;
    pub(super) const DEBE: u32 = 1 << 22;
    pub(super) const AC12E: u32 = 1 << 24;
    pub(super) const DMAE: u32 = 1 << 28;

    pub(super) const RSTA: u32 = 1 << 24;
    pub(super) const RSTC: u32 = 1 << 25;
    pub(super) const RSTD: u32 = 1 << 26;
    pub(super) const INITA: u32 = 1 << 27;
    pub(super) const RSTT: u32 = 1 << 28;
    pub(super) const DIVIDER: u32 = 0xfff0;

    pub(super) const DMAEN: u32 = 1 << 0;
    pub(super) const BCEN: u32 = 1 << 1;
    pub(super) const AC12EN: u32 = 1 << 2;
    pub(super) const DDR_EN: u32 = 1 << 3;
    pub(super) const DTDSEL: u32 = 1 << 4;
    pub(super) const MSBSEL: u32 = 1 << 5;
    pub(super) const FBCLK_SEL: u32 = 1 << 25;
    pub(super) const HS400: u32 = 1 << 26;
    pub(super) const HS400_ES: u32 = 1 << 27;

    pub(super) const EXECUTE_TUNING: u32 = 1 << 22;
    pub(super) const SMP_CLK_SEL: u32 = 1 << 23;
    pub(super) const STD_TUNING_EN: u32 = 1 << 24;

    pub(super) const VSELECT: u32 = 1 << 1;
    pub(super) const FRC_SDCLK_ON: u32 = 1 << 8;
    pub(super) const CKEN: u32 = 1 << 14;
}

/// Resets and the divider take this long.
const SETTLES: Duration = Duration::from_micros(5);
/// Blocks that the tuning circuit wants to see before it decides, and has seen at most.
const TUNING_BLOCKS: u32 = 12;
const MOST_TUNING_BLOCKS: u32 = 40;

/// 32-bit registers in the block.
const REGISTERS: usize = 64;

fn reset_values() -> [u32; REGISTERS] {
    let mut registers = [0; REGISTERS];
    for (offset, value) in RESET_VALUES {
        registers[*offset as usize / 4] = *value;
    }
    registers
}

/// The bus did not take an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusError;

/// Memory as a bus master sees it.
pub trait Memory {
    /// Reads from `address`.
    fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), BusError>;
    /// Writes to `address`.
    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), BusError>;
}

/// A command as it was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Its number.
    pub index: u8,
    /// Its argument.
    pub argument: u32,
    /// Blocks asked for; 0 without data.
    pub blocks: u32,
    /// The card clock, in hertz.
    pub hertz: u32,
}

/// Something that becomes visible later.
#[derive(Clone, Copy, Debug)]
struct Event {
    at: Duration,
    status: u32,
    ends_command: bool,
    ends_data: bool,
}

/// A uSDHC.
pub struct Controller {
    registers: [u32; REGISTERS],
    root_hertz: u32,
    card: Option<Box<dyn Card>>,
    switch_closed: bool,
    locked: bool,
    power_lost: Option<Duration>,
    rules: Rules,
    faults: BTreeMap<usize, Fault>,
    issued: Vec<Issued>,
    events: Vec<Event>,
    status: u32,
    inhibit_command: bool,
    inhibit_data: bool,
    settled_at: Duration,
    tuning: (u32, u32),
    strobe_locks: bool,
    dead: bool,
    jammed: bool,
    data_time: Duration,
    /// The memory of the last transfer: descriptors and what they describe.
    in_use: Vec<Range<u32>>,
}

impl Controller {
    /// A controller after power-up.
    pub fn new(card: Option<Box<dyn Card>>, rules: Rules) -> Self {
        Self {
            registers: reset_values(),
            root_hertz: 0,
            switch_closed: card.is_some(),
            locked: false,
            card,
            power_lost: None,
            rules,
            faults: BTreeMap::new(),
            issued: Vec::new(),
            events: Vec::new(),
            status: 0,
            inhibit_command: false,
            inhibit_data: false,
            settled_at: Duration::ZERO,
            tuning: (0, 0),
            strobe_locks: true,
            dead: false,
            jammed: false,
            data_time: Duration::ZERO,
            in_use: Vec::new(),
        }
    }

    /// The clock that comes in, in hertz.
    pub fn set_root_hertz(&mut self, hertz: u32) {
        self.root_hertz = hertz;
    }

    /// Lets `fault` happen at the command with that number, counted from 0.
    pub fn inject(&mut self, number: usize, fault: Fault) {
        self.faults.insert(number, fault);
    }

    /// Lets nothing more go wrong of what was injected.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// The SoC is reset, whatever is under way; the card does not notice.
    pub fn reset(&mut self) {
        self.registers = reset_values();
        self.events.clear();
        self.status = 0;
        self.inhibit_command = false;
        self.inhibit_data = false;
        self.settled_at = Duration::ZERO;
        self.tuning = (0, 0);
        self.dead = false;
        self.jammed = false;
        self.in_use.clear();
    }

    /// The strobe's delay line never locks.
    pub fn break_strobe(&mut self) {
        self.strobe_locks = false;
    }

    /// The whole block stops to react.
    pub fn break_down(&mut self) {
        self.dead = true;
    }

    /// The end of the data that moves is never told.
    pub fn stall(&mut self) {
        self.events.retain(|event| !event.ends_data);
    }

    /// What goes on never ends, and no reset either.
    pub fn jam(&mut self) {
        self.jammed = true;
    }

    /// Something goes wrong with the card for good.
    pub fn weaken(&mut self, weakness: Weakness) {
        if let Some(card) = &mut self.card {
            card.weaken(weakness);
        }
    }

    /// Takes another card, or none.
    pub fn insert(&mut self, card: Option<Box<dyn Card>>) {
        self.switch_closed = card.is_some();
        self.card = card;
    }

    /// Somebody pulls the card: what of its data is not there at `now` never comes.
    pub fn pull(&mut self, now: Duration) {
        self.advance(now);
        self.insert(None);
        let at = now + self.time_out();
        for event in self.events.iter_mut().filter(|event| event.status & bit::TC != 0) {
            (event.at, event.status) = (at, bit::DTOE);
        }
    }

    /// Whether the slot's switch says that a card is there.
    pub fn is_card_detected(&self) -> bool {
        self.switch_closed
    }

    /// Slides the slot's write-protect switch.
    pub fn lock(&mut self, locked: bool) {
        self.locked = locked;
    }

    /// All commands so far.
    pub fn issued(&self) -> &[Issued] {
        &self.issued
    }

    /// How long the card was at work on commands with data, from the command to the end of the data.
    pub fn data_time(&self) -> Duration {
        self.data_time
    }

    /// The card clock that is set, in hertz, running or not.
    pub fn hertz(&self) -> u32 {
        let control = self.get(SYS_CTRL);
        let prescaler = (control >> 8 & 0xff).max(1) * if control & 0xff00 == 0 { 1 } else { 2 };
        let divisor = (control >> 4 & 0xf) + 1;
        let halves = if self.get(MIX_CTRL) & bit::DDR_EN != 0 { 2 } else { 1 };
        self.root_hertz / (prescaler * divisor * halves)
    }

    /// Whether the clock runs all the time.
    pub fn is_clock_running(&self) -> bool {
        self.get(VEND_SPEC) & bit::FRC_SDCLK_ON != 0
    }

    /// Whether the lines are at 1.8 V.
    pub fn is_low_voltage(&self) -> bool {
        self.get(VEND_SPEC) & bit::VSELECT != 0
    }

    /// Whether a transfer that is under way at `now` works with any of `memory`.
    pub fn uses(&self, memory: &Range<u32>, now: Duration) -> bool {
        let active = self.events.iter().any(|event| event.ends_data && event.at > now);
        let shared = |used: &Range<u32>| used.start < memory.end && memory.start < used.end;
        (self.jammed || active) && self.in_use.iter().any(shared)
    }

    /// When the next thing happens that a read sees, if something is under way.
    pub fn next_change(&self) -> Option<Duration> {
        self.events.iter().map(|event| event.at).min()
    }

    /// The slot's power switch.
    pub fn set_power(&mut self, on: bool, now: Duration) {
        match (on, self.power_lost) {
            (false, None) => {
                let running = self.is_clock_running();
                self.rules.require(!running, || "power switched off under a running clock".into());
                self.power_lost = Some(now);
            }
            (true, Some(since)) => {
                let off = now - since;
                let long = off >= Duration::from_millis(1);
                self.rules.require(long, || format!("power off for {off:?} only"));
                if let (true, Some(card)) = (long, &mut self.card) {
                    card.set_power(false, now);
                    card.set_power(true, now);
                }
                self.power_lost = None;
                self.tell_lines(now);
            }
            _ => {}
        }
    }

    /// A load at `offset`.
    pub fn read(&mut self, offset: u32, now: Duration) -> u32 {
        if self.dead {
            return 0;
        }
        if self.jammed {
            return self.get(offset);
        }
        self.advance(now);
        match offset {
            PRES_STATE => self.present_state(now),
            INT_STATUS => self.status,
            STROBE_DLL_STATUS if self.is_strobe_locked() => 3,
            STROBE_DLL_STATUS => 0,
            SYS_CTRL if now >= self.settled_at => {
                self.get(SYS_CTRL) & !(bit::RSTA | bit::RSTC | bit::RSTD | bit::INITA | bit::RSTT)
            }
            _ => self.get(offset),
        }
    }

    /// A store at `offset`.
    pub fn write(&mut self, offset: u32, value: u32, now: Duration, memory: &mut dyn Memory) {
        if self.dead {
            return;
        }
        if self.jammed {
            self.set(offset, value & !(bit::CC | bit::TC));
            return;
        }
        self.advance(now);
        let before = self.get(offset);
        match offset {
            INT_STATUS => self.status &= !value,
            PRES_STATE | HOST_CAP | STROBE_DLL_STATUS => {}
            CMD_XFR_TYP => {
                self.set(offset, value);
                self.issue(value, now, memory);
            }
            SYS_CTRL => self.write_sys_ctrl(before, value, now),
            AUTOCMD12_ERR => {
                let started = value & !before & bit::EXECUTE_TUNING != 0;
                if started {
                    self.tuning = (0, 0);
                }
                self.set(offset, value);
            }
            MIX_CTRL => {
                let ddr = (value ^ before) & bit::DDR_EN != 0;
                self.rules.require(!(ddr && self.is_clock_running()), || {
                    "data rate changed under a running clock".into()
                });
                self.set(offset, value);
            }
            VEND_SPEC => {
                self.set(offset, value);
                if (value ^ before) & (bit::VSELECT | bit::FRC_SDCLK_ON) != 0 {
                    self.tell_lines(now);
                }
            }
            _ => {
                self.set(offset, value);
            }
        }
    }

    fn get(&self, offset: u32) -> u32 {
        self.registers.get(offset as usize / 4).copied().unwrap_or(0)
    }

    fn set(&mut self, offset: u32, value: u32) {
        if let Some(register) = self.registers.get_mut(offset as usize / 4) {
            *register = value;
        }
    }

    fn present_state(&self, now: Duration) -> u32 {
        let lines = match &self.card {
            Some(card) if self.power_lost.is_none() => card.data_lines(now),
            _ => 0xff,
        };
        // In a voltage switch the card holds CMD as low as the data lines.
        let command = if lines & 0xf == 0 { 0 } else { 1 << 23 };
        let inhibits = u32::from(self.inhibit_command) | u32::from(self.inhibit_data) << 1;
        let stable = if now >= self.settled_at { 1 << 3 } else { 0 };
        let gated = if self.is_clock_running() { 0 } else { 1 << 7 };
        let inserted = u32::from(self.switch_closed) << 16;
        let writable = u32::from(!self.locked) << 19;
        inhibits | stable | gated | inserted | writable | command | u32::from(lines) << 24
    }

    fn write_sys_ctrl(&mut self, before: u32, value: u32, now: Duration) {
        self.rules.require(value & 0xf == 0xf, || "reserved ones of SYS_CTRL cleared".into());
        if value & bit::RSTA != 0 {
            let kept = KEPT.map(|offset| (offset, self.get(offset)));
            self.registers = reset_values();
            for (offset, value) in kept {
                self.set(offset, value);
            }
            self.end_command();
            self.end_data();
            self.status = 0;
        } else {
            self.rules.require(
                !((value ^ before) & bit::DIVIDER != 0 && self.is_clock_running()),
                || "clock divided anew while it runs".into(),
            );
            self.set(SYS_CTRL, value);
        }
        if value & bit::RSTC != 0 {
            self.end_command();
            self.status &= !bit::CC;
        }
        if value & bit::RSTD != 0 {
            self.end_data();
            self.status &= !(bit::TC | bit::BRR);
        }
        self.settled_at = now + SETTLES;
    }

    fn end_command(&mut self) {
        self.events.retain(|event| !event.ends_command);
        self.inhibit_command = false;
    }

    fn end_data(&mut self) {
        self.events.retain(|event| !event.ends_data);
        self.inhibit_data = false;
    }

    fn tell_lines(&mut self, now: Duration) {
        let hertz = self.is_clock_running().then(|| self.hertz());
        let low_voltage = self.is_low_voltage();
        if let (Some(card), None) = (&mut self.card, self.power_lost) {
            card.set_lines(hertz, low_voltage, now, &self.rules);
        }
    }

    fn advance(&mut self, now: Duration) {
        self.events.sort_by_key(|event| event.at);
        while self.events.first().is_some_and(|event| event.at <= now) {
            let event = self.events.remove(0);
            self.status |= event.status & self.get(INT_STATUS_EN);
            self.inhibit_command &= !event.ends_command;
            self.inhibit_data &= !event.ends_data;
        }
    }

    fn is_strobe_locked(&self) -> bool {
        self.strobe_locks && self.get(STROBE_DLL_CTRL) & 3 == 1 && self.hertz() >= 100_000_000
    }

    fn width(&self) -> u8 {
        match self.get(PROT_CTRL) >> 1 & 3 {
            0 => 1,
            1 => 4,
            _ => 8,
        }
    }

    /// `clocks` of the card clock.
    fn clocks(&self, clocks: u64) -> Duration {
        Duration::from_nanos(clocks * 1_000_000_000 / u64::from(self.hertz().max(1)))
    }

    fn time_out(&self) -> Duration {
        self.clocks(1 << (13 + (self.get(SYS_CTRL) >> 16 & 0xf)))
    }

    /// A command goes out.
    fn issue(&mut self, value: u32, now: Duration, memory: &mut dyn Memory) {
        let index = (value >> 24 & 0x3f).to_le_bytes()[0];
        let has_data = value & 1 << 21 != 0;
        let mix = self.get(MIX_CTRL);
        let blocks = match (has_data, mix & bit::MSBSEL != 0) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => self.get(BLK_ATT) >> 16,
        };
        let argument = self.get(CMD_ARG);
        let number = self.issued.len();
        self.issued.push(Issued { index, argument, blocks, hertz: self.hertz() });
        self.check_registers(index, value);
        if self.get(VEND_SPEC) & (bit::FRC_SDCLK_ON | bit::CKEN) == 0 || self.hertz() == 0 {
            self.rules.broken(format!("CMD{index} without a clock"));
            self.inhibit_command = true;
            return;
        }

        let fault = self.faults.get(&number).copied();
        let reply = self.exchange(index, argument, fault, now);
        self.inhibit_command = true;
        let (status, at) = self.judge(index, value, reply, fault, now);
        self.events.push(Event { at, status, ends_command: true, ends_data: false });
        let answered = status == bit::CC;
        let busy_kind = value >> 16 & 3 == 3;
        if answered && busy_kind && !has_data {
            self.inhibit_data = true;
            let at = at + reply.busy;
            self.events.push(Event { at, status: 0, ends_command: false, ends_data: true });
        }
        self.rules.require(!(answered && reply.busy > Duration::ZERO) || busy_kind, || {
            format!("CMD{index} makes the card busy, and nobody waits")
        });
        if has_data {
            self.inhibit_data = true;
            if answered && reply.data {
                self.transfer(index, blocks, fault, at, memory);
                let end = self.events.iter().map(|event| event.at).max();
                self.data_time += end.unwrap_or(now).saturating_sub(now);
            } else {
                let at = at + self.time_out();
                let status = if answered { bit::DTOE } else { 0 };
                self.events.push(Event { at, status, ends_command: false, ends_data: true });
            }
        }
        if fault == Some(Fault::StuckBusy)
            && let Some(card) = &mut self.card
        {
            card.stick();
        }
    }

    fn check_registers(&self, index: u8, value: u32) {
        let rules = &self.rules;
        rules.require(!self.inhibit_command, || format!("CMD{index} while another runs"));
        let needs_data_line = value & 1 << 21 != 0 || value >> 16 & 3 == 3 && index != 12;
        rules.require(!(self.inhibit_data && needs_data_line), || {
            format!("CMD{index} while data moves")
        });
        rules
            .require(self.status == 0, || format!("CMD{index} over old status {:#x}", self.status));
        let abort = value >> 22 & 3 == 3;
        rules.require(abort == (index == 12), || format!("CMD{index} of abort type: {abort}"));
    }

    /// The card sees the command.
    fn exchange(&mut self, index: u8, argument: u32, fault: Option<Fault>, now: Duration) -> Reply {
        match fault {
            Some(Fault::Removal) => {
                self.card = None;
                self.switch_closed = false;
            }
            Some(Fault::Death) => self.card = None,
            _ => {}
        }
        let wire = self.wire(now);
        let Some(card) = &mut self.card else { return Reply::SILENT };
        if fault == Some(Fault::CommandLost) || self.power_lost.is_some() {
            return Reply::SILENT;
        }
        if fault == Some(Fault::SwitchError) && index == 6 {
            card.refuse_next_switch();
        }
        card.command(&Wire { rules: &self.rules, ..wire }, index, argument)
    }

    fn wire(&self, now: Duration) -> Wire<'static> {
        // A list that nobody reads: the real one is put in where the wire is used.
        static NONE: std::sync::LazyLock<Rules> = std::sync::LazyLock::new(Rules::default);
        let mix = self.get(MIX_CTRL);
        let strobe = match (mix & bit::HS400 != 0, mix & bit::HS400_ES != 0) {
            (false, _) => Strobe::None,
            (true, false) => Strobe::Data,
            (true, true) => Strobe::Enhanced,
        };
        Wire {
            now,
            hertz: self.hertz(),
            width: self.width(),
            ddr: mix & bit::DDR_EN != 0,
            strobe,
            low_voltage: self.is_low_voltage(),
            tuned: self.get(AUTOCMD12_ERR) & bit::SMP_CLK_SEL != 0 && mix & bit::FBCLK_SEL != 0,
            rules: &NONE,
        }
    }

    /// What becomes of the response: status bits and when.
    fn judge(
        &mut self,
        index: u8,
        value: u32,
        reply: Reply,
        fault: Option<Fault>,
        now: Duration,
    ) -> (u32, Duration) {
        let kind = value >> 16 & 3;
        let (checks_crc, checks_index) = (value & 1 << 19 != 0, value & 1 << 20 != 0);
        if kind == 0 {
            let unexpected = reply.response.is_some();
            self.rules.require(!unexpected, || format!("CMD{index}: nobody takes the response"));
            return (bit::CC, now + self.clocks(48 + 8));
        }
        let lost = fault == Some(Fault::ResponseLost);
        let Some(response) = reply.response.filter(|_| !lost) else {
            return (bit::CTOE, now + self.clocks(48 + 64));
        };
        let unprotected = matches!(index, 1 | 41);
        let (status, length) = match response {
            Response::Long(bits) => {
                self.rules.require(kind == 1, || format!("CMD{index}: 136 bits taken as 48"));
                let mut bits = bits >> 8;
                for register in 0..4 {
                    let word = u32::try_from(bits & 0xffff_ffff).expect("32 bits");
                    self.set(CMD_RSP0 + 4 * register, word);
                    bits >>= 32;
                }
                // The place of the index holds ones.
                (if checks_index { bit::CIE } else { 0 }, 136)
            }
            Response::Short(bits) => {
                self.rules.require(kind != 1, || format!("CMD{index}: 48 bits taken as 136"));
                self.set(CMD_RSP0, bits);
                let checked = checks_crc && checks_index;
                self.rules.require(checked != unprotected, || {
                    format!("CMD{index}: response checked: {checked}")
                });
                let fails = unprotected && checks_crc;
                (if fails { bit::CCE } else { 0 }, 48)
            }
        };
        let damage = match fault {
            Some(Fault::ResponseCrc) if checks_crc => bit::CCE,
            Some(Fault::ResponseEndBit) => bit::CEBE,
            Some(Fault::ResponseIndex) if checks_index => bit::CIE,
            _ => 0,
        };
        (bit::CC | status | damage, now + self.clocks(48 + 8 + length))
    }

    /// Data moves between the card and memory.
    fn transfer(
        &mut self,
        index: u8,
        blocks: u32,
        fault: Option<Fault>,
        start: Duration,
        memory: &mut dyn Memory,
    ) {
        let size = self.get(BLK_ATT) & 0x1fff;
        let mix = self.get(MIX_CTRL);
        let rules = self.rules.clone();
        let to_card = matches!(index, 24 | 25);
        rules.require((mix & bit::DTDSEL == 0) == to_card, || {
            format!("CMD{index} with data in the wrong direction")
        });
        let multiple = mix & bit::MSBSEL != 0;
        rules.require(multiple == matches!(index, 18 | 25), || {
            format!("CMD{index} as a transfer of several blocks: {multiple}")
        });
        if matches!(index, 19 | 21) {
            return self.tuning_block(index, size, start);
        }
        rules.require(mix & bit::DMAEN != 0 && self.get(PROT_CTRL) >> 8 & 3 == 2, || {
            format!("CMD{index} without ADMA2")
        });
        rules.require(!multiple || mix & bit::BCEN != 0, || "endless transfer".into());
        rules.require(mix & bit::HS400 == 0 || self.is_strobe_locked(), || {
            "data by a strobe that is not locked".into()
        });

        let bytes = size as usize * blocks as usize;
        let table = self.get(ADMA_SYS_ADDR);
        let pieces = adma::fetch(memory, table, &rules).filter(|pieces| {
            let described: usize = pieces.iter().map(|piece| piece.length).sum();
            rules.require(described == bytes, || {
                format!("descriptors for {described} of {bytes} bytes")
            });
            described == bytes
        });
        let Some(pieces) = pieces else {
            return self.dma_error(start);
        };
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let described =
            pieces.iter().map(|piece| piece.address..piece.address + length(piece.length));
        let descriptors = table..table + 8 * length(pieces.len());
        self.in_use = described.chain(iter::once(descriptors)).collect();
        let mut scatter = Scattered { pieces: &pieces, into: 0 };
        let bits = u64::from(size) * 8 / u64::from(self.width());
        let bits = if mix & bit::DDR_EN != 0 { bits / 2 } else { bits };
        let block_time = self.clocks(bits + 32);
        let mut at = start + Duration::from_micros(50);
        if let Some(Fault::Slow(milliseconds)) = fault {
            let wait = Duration::from_millis(milliseconds.into());
            if wait >= self.time_out() {
                return self.data_event(at + self.time_out(), bit::DTOE);
            }
            at += wait;
        }
        let mut data = vec![0; size as usize];
        for block in 0..blocks {
            at += block_time;
            let wire = self.wire(at);
            let Some(card) = &mut self.card else {
                return self.data_event(at + self.time_out(), bit::DTOE);
            };
            let wire = Wire { rules: &rules, ..wire };
            let last = blocks - 1;
            let here = |number: u32| number.min(last) == block;
            let arrived = if !to_card {
                card.read_block(&wire, &mut data)
            } else if scatter.get(memory, &mut data).is_err() {
                return self.dma_error(at);
            } else {
                match fault {
                    Some(Fault::DataTimeout(number) | Fault::DataCrc(number)) if here(number) => {
                        Ok(())
                    }
                    Some(Fault::PowerCut(bytes)) if bytes / size == block => {
                        card.cut(&data, (bytes % size) as usize);
                        self.card = None;
                        return self.data_event(at + self.time_out(), bit::DTOE);
                    }
                    _ => card.write_block(&wire, &data),
                }
            };
            let damage = match (fault, arrived) {
                (Some(Fault::DataTimeout(number)), _) if here(number) => bit::DTOE,
                (Some(Fault::DataCrc(number)), _) if here(number) => bit::DCE,
                (Some(Fault::DataEndBit(number)), _) if here(number) => bit::DEBE,
                (Some(Fault::Dma(number)), _) if here(number) => return self.dma_error(at),
                (_, Err(Damage::Missing)) => bit::DTOE,
                (_, Err(Damage::Crc)) => bit::DCE,
                (_, Ok(())) => 0,
            };
            if damage != 0 {
                let at = if damage == bit::DTOE { at + self.time_out() } else { at };
                return self.data_event(at, damage);
            }
            if !to_card && scatter.put(memory, &data).is_err() {
                return self.dma_error(at);
            }
        }
        if let Some(Fault::PowerCut(_)) = fault {
            self.card = None;
        }
        let status = if mix & bit::AC12EN == 0 { bit::TC } else { self.auto_stop(fault, at) };
        // The end is told when the card is busy no longer.
        match (to_card, &self.card) {
            (true, None) => self.data_event(at + self.time_out(), bit::DTOE),
            (true, _) if fault == Some(Fault::StuckBusy) => {
                self.data_event(at + self.time_out(), bit::DTOE);
            }
            (true, _) => self.data_event(at + PROGRAMMING, status),
            (false, _) => self.data_event(at, status),
        }
    }

    /// The controller's own CMD12; its response goes to the last register.
    fn auto_stop(&mut self, fault: Option<Fault>, at: Duration) -> u32 {
        let wire = self.wire(at);
        let rules = self.rules.clone();
        if fault == Some(Fault::AutoStop) {
            return bit::AC12E;
        }
        let Some(card) = &mut self.card else { return bit::AC12E };
        match card.command(&Wire { rules: &rules, ..wire }, 12, 0).response {
            Some(Response::Short(bits)) => {
                self.set(CMD_RSP0 + 12, bits);
                bit::TC
            }
            _ => {
                rules.broken("the controller stops a transfer that has ended");
                bit::AC12E
            }
        }
    }

    fn dma_error(&mut self, at: Duration) {
        self.set(ADMA_ERR_STATUS, 1);
        self.data_event(at, bit::DMAE);
    }

    fn data_event(&mut self, at: Duration, status: u32) {
        self.events.push(Event { at, status, ends_command: false, ends_data: true });
    }

    /// The tuning circuit compares a block by itself.
    fn tuning_block(&mut self, index: u8, size: u32, start: Duration) {
        let rules = self.rules.clone();
        rules.require(size == if self.width() == 8 { 128 } else { 64 }, || {
            format!("tuning block of {size} bytes on {} lines", self.width())
        });
        rules
            .require(self.get(PROT_CTRL) >> 8 & 3 == 0, || format!("CMD{index} with DMA selected"));
        let ready = self.get(AUTOCMD12_ERR) & bit::EXECUTE_TUNING != 0
            && self.get(TUNING_CTRL) & bit::STD_TUNING_EN != 0
            && self.get(MIX_CTRL) & bit::FBCLK_SEL != 0;
        rules.require(ready, || format!("CMD{index} without the tuning circuit"));
        let wire = self.wire(start);
        let Some(card) = &mut self.card else { return };
        let mut data = vec![0; size as usize];
        let intact = card.read_block(&Wire { rules: &rules, ..wire }, &mut data).is_ok();
        let (seen, good) = self.tuning;
        self.tuning = (seen + 1, good + u32::from(intact));
        let control = self.get(AUTOCMD12_ERR);
        let control = match self.tuning {
            (_, TUNING_BLOCKS..) => control & !bit::EXECUTE_TUNING | bit::SMP_CLK_SEL,
            (MOST_TUNING_BLOCKS.., _) => control & !(bit::EXECUTE_TUNING | bit::SMP_CLK_SEL),
            _ => control,
        };
        self.set(AUTOCMD12_ERR, control);
        let at = start + self.clocks(u64::from(size) * 2 + 32);
        self.data_event(at, bit::BRR);
    }
}

/// Where the next bytes go to or come from.
struct Scattered<'a> {
    pieces: &'a [Piece],
    into: usize,
}

impl Scattered<'_> {
    /// Address and length of what can be moved at once, at most `most` bytes.
    fn step(&mut self, most: usize) -> Result<(u32, usize), BusError> {
        let (piece, rest) = self.pieces.split_first().ok_or(BusError)?;
        let count = most.min(piece.length - self.into);
        let offset = u32::try_from(self.into).map_err(|_| BusError)?;
        let address = piece.address.checked_add(offset).ok_or(BusError)?;
        self.into += count;
        if self.into == piece.length {
            self.pieces = rest;
            self.into = 0;
        }
        Ok((address, count))
    }

    fn put(&mut self, memory: &mut dyn Memory, mut bytes: &[u8]) -> Result<(), BusError> {
        while !bytes.is_empty() {
            let (address, count) = self.step(bytes.len())?;
            let (now, later) = bytes.split_at(count);
            memory.write(address, now)?;
            bytes = later;
        }
        Ok(())
    }

    fn get(&mut self, memory: &mut dyn Memory, mut bytes: &mut [u8]) -> Result<(), BusError> {
        while !bytes.is_empty() {
            let (address, count) = self.step(bytes.len())?;
            let (now, later) = bytes.split_at_mut(count);
            memory.read(address, now)?;
            bytes = later;
        }
        Ok(())
    }
}
