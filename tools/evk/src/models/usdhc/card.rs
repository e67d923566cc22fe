//! What controller and card say to each other, and what all cards share.

use std::{collections::BTreeMap, time::Duration};

use super::{rules::Rules, storage::Storage};

/// How the host clocks data in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strobe {
    /// By its own clock.
    None,
    /// By the strobe, data only.
    Data,
    /// By the strobe, responses, too.
    Enhanced,
}

/// The lines as the host drives them while a command runs.
#[derive(Clone, Copy, Debug)]
pub struct Wire<'a> {
    /// The time.
    pub now: Duration,
    /// The card clock, in hertz.
    pub hertz: u32,
    /// Data lines in use by the host.
    pub width: u8,
    /// Both clock edges in use by the host.
    pub ddr: bool,
    /// What clocks data in.
    pub strobe: Strobe,
    /// The lines are at 1.8 V.
    pub low_voltage: bool,
    /// The host samples where tuning told it to.
    pub tuned: bool,
    /// Where broken rules go.
    pub rules: &'a Rules,
}

/// A response on the CMD line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// 32 bits.
    Short(u32),
    /// CID or CSD; bits 7:0 do not matter.
    Long(u128),
}

/// What a card does about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What it answers, if it does.
    pub response: Option<Response>,
    /// Whether data follows.
    pub data: bool,
    /// How long it holds DAT0 low.
    pub busy: Duration,
}

impl Reply {
    /// No reaction.
    pub const SILENT: Self = Self { response: None, data: false, busy: Duration::ZERO };

    /// A short response.
    pub fn short(bits: u32) -> Self {
        Self { response: Some(Response::Short(bits)), ..Self::SILENT }
    }

    /// A long response.
    pub fn long(bits: u128) -> Self {
        Self { response: Some(Response::Long(bits)), ..Self::SILENT }
    }

    /// A short response, then data.
    pub fn with_data(bits: u32) -> Self {
        Self { data: true, ..Self::short(bits) }
    }

    /// A short response, then busy.
    pub fn busy(bits: u32, busy: Duration) -> Self {
        Self { busy, ..Self::short(bits) }
    }
}

/// How a block of data arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Not at all.
    Missing,
    /// With a wrong CRC.
    Crc,
}

/// What is wrong with a card for good.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weakness {
    /// Data is damaged above this clock, in hertz.
    pub max_hertz: Option<u32>,
    /// Data is damaged on more lines than this.
    pub max_width: Option<u8>,
    /// Data is damaged when it moves on both clock edges.
    pub no_ddr: bool,
    /// No tuning block arrives intact.
    pub no_tuning: bool,
    /// This block of the medium cannot be read or written.
    pub bad_block: Option<u64>,
    /// The lines stay low after CMD11.
    pub no_voltage_switch: bool,
    /// Mode switches to this timing or access mode and above are refused.
    pub refused_from: Option<u8>,
    /// The card never finishes its power-up.
    pub never_ready: bool,
    /// A password locks the card.
    pub locked: bool,
}

/// A card in the slot.
pub trait Card: Send {
    /// Power comes or goes.
    fn set_power(&mut self, on: bool, now: Duration);
    /// The clock (`None` when it stands still) or the voltage of the lines changes.
    fn set_lines(&mut self, hertz: Option<u32>, low_voltage: bool, now: Duration, rules: &Rules);
    /// Levels of DAT0 to DAT7, lowest bit first, as far as the card pulls them.
    fn data_lines(&self, now: Duration) -> u8;
    /// A command arrives.
    fn command(&mut self, wire: &Wire<'_>, index: u8, argument: u32) -> Reply;
    /// The host clocks a block of data out of the card.
    fn read_block(&mut self, wire: &Wire<'_>, block: &mut [u8]) -> Result<(), Damage>;
    /// The host clocks a block of data into the card.
    fn write_block(&mut self, wire: &Wire<'_>, block: &[u8]) -> Result<(), Damage>;
    /// The power goes while the card keeps a block, after so many bytes of it.
    fn cut(&mut self, block: &[u8], bytes: usize);
    /// The card gets stuck: busy until it loses power or is reset.
    fn stick(&mut self);
    /// The next mode switch is refused.
    fn refuse_next_switch(&mut self);
    /// Something goes wrong with the card for good.
    fn weaken(&mut self, weakness: Weakness);
}

/// A card is busy that long with what it has received.
pub(super) const PROGRAMMING: Duration = Duration::from_micros(500);

/// States of a card (SD 4.1, eMMC 6.4 and 6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Idle = 0,
    Ready = 1,
    Identification = 2,
    Standby = 3,
    Transfer = 4,
    Sending = 5,
    Receiving = 6,
    Programming = 7,
    Inactive = 15,
}

/// Bits of the card status.
pub(super) mod status {
    pub(crate) const OUT_OF_RANGE: u32 = 1 << 31;
    pub(crate) const ADDRESS: u32 = 1 << 30;
    pub(crate) const PROTECTED: u32 = 1 << 26;
    pub(crate) const LOCKED: u32 = 1 << 25;
    pub(crate) const ILLEGAL: u32 = 1 << 22;
    pub(crate) const ECC: u32 = 1 << 21;
    pub(crate) const ERROR: u32 = 1 << 19;
    pub(crate) const READY: u32 = 1 << 8;
    pub(crate) const SWITCH: u32 = 1 << 7;
    pub(crate) const APP: u32 = 1 << 5;
}

/// Blocks of the medium, from here on.
#[derive(Debug)]
pub(super) struct Span {
    block: u64,
    /// How many; until CMD12 if not announced.
    left: Option<u32>,
}

impl Span {
    /// Goes on behind a block; whether more are to come.
    fn advance(&mut self) -> bool {
        self.block += 1;
        self.left = self.left.map(|left| left - 1);
        self.left != Some(0)
    }
}

/// What a card sends as data.
#[derive(Debug)]
pub(super) enum Source {
    /// A register.
    Bytes(Vec<u8>),
    /// A tuning block.
    Tuning,
    /// What is stored.
    Medium(Span),
}

/// What SD cards and eMMC have in common.
pub(super) struct Core {
    pub(super) state: State,
    pub(super) address: u16,
    pub(super) errors: u32,
    pub(super) busy_until: Duration,
    pub(super) stuck: bool,
    pub(super) source: Option<Source>,
    /// Where data that arrives goes.
    sink: Option<Span>,
    pub(super) announced: Option<u32>,
    /// The next write, or this one, is a reliable one.
    pub(super) reliable: bool,
    /// Protected against writing.
    pub(super) protected: bool,
    /// Blocks that are lost with the power, where there is such a cache.
    pub(super) cache: Option<BTreeMap<u64, [u8; 512]>>,
    pub(super) block_count: u64,
    pub(super) byte_addressed: bool,
    pub(super) storage: Box<dyn Storage>,
    pub(super) weakness: Weakness,
    pub(super) refuse_next: bool,
    pub(super) clock_since: Option<Duration>,
    pub(super) woken: bool,
}

impl Core {
    pub(super) fn new(block_count: u64, byte_addressed: bool, storage: Box<dyn Storage>) -> Self {
        Self {
            state: State::Idle,
            address: 0,
            errors: 0,
            busy_until: Duration::ZERO,
            stuck: false,
            source: None,
            sink: None,
            announced: None,
            reliable: false,
            protected: false,
            cache: None,
            block_count,
            byte_addressed,
            storage,
            weakness: Weakness::default(),
            refuse_next: false,
            clock_since: None,
            woken: false,
        }
    }

    /// CMD0.
    pub(super) fn reset(&mut self) {
        self.state = State::Idle;
        self.address = 0;
        self.errors = 0;
        self.busy_until = Duration::ZERO;
        self.source = None;
        self.sink = None;
        self.announced = None;
        self.reliable = false;
    }

    /// What only memory held is gone.
    pub(super) fn lose_power(&mut self) {
        self.reset();
        self.woken = false;
        self.stuck = false;
        self.cache.iter_mut().for_each(BTreeMap::clear);
    }

    /// Everything goes from the cache to the medium.
    pub(super) fn flush(&mut self) {
        for (block, bytes) in self.cache.iter_mut().flat_map(std::mem::take) {
            if self.storage.write(block, &bytes).is_err() {
                self.errors |= status::ERROR;
            }
        }
    }

    pub(super) fn clock_changes(&mut self, hertz: Option<u32>, now: Duration) {
        self.clock_since = hertz.and(self.clock_since.or(Some(now)));
    }

    pub(super) fn is_busy(&self, now: Duration) -> bool {
        self.stuck || now < self.busy_until
    }

    /// The status that a command is answered with; errors are told once.
    pub(super) fn status(&mut self, now: Duration) -> u32 {
        let busy = self.is_busy(now);
        let state = if busy { State::Programming } else { self.state };
        let ready = if busy { 0 } else { status::READY };
        let locked = if self.weakness.locked { status::LOCKED } else { 0 };
        std::mem::take(&mut self.errors) | locked | (state as u32) << 9 | ready
    }

    pub(super) fn illegal(&mut self) -> Reply {
        self.errors |= status::ILLEGAL;
        Reply::SILENT
    }

    /// Rules that hold for every command.
    pub(super) fn check(&mut self, wire: &Wire<'_>, index: u8, max_hertz: u32) {
        let rules = wire.rules;
        let identification =
            matches!(self.state, State::Idle | State::Ready | State::Identification);
        let limit = if identification || index == 0 && !self.woken { 400_000 } else { max_hertz };
        rules.require(wire.hertz <= limit, || {
            format!("CMD{index} at {} Hz in state {:?}, limit {limit}", wire.hertz, self.state)
        });
        if !self.woken {
            self.woken = true;
            let clocks = self.clock_since.map_or(Duration::ZERO, |since| wire.now - since);
            let needed = Duration::from_secs(74) / wire.hertz.max(1);
            rules.require(clocks >= needed, || {
                format!("CMD{index} after {clocks:?} of clock, before 74 clocks")
            });
        }
        rules.require(
            !(self.is_busy(wire.now) && !matches!(index, 0 | 12 | 13) && !self.stuck),
            || format!("CMD{index} while the card is busy"),
        );
    }

    /// CMD17 and CMD18, CMD24 and CMD25.
    pub(super) fn start_transfer(&mut self, wire: &Wire<'_>, index: u8, argument: u32) -> Reply {
        if self.state != State::Transfer {
            wire.rules.broken(format!("CMD{index} in state {:?}", self.state));
            return self.illegal();
        }
        let announced = self.announced.take();
        self.reliable &= index == 25;
        let mut block = u64::from(argument);
        if self.byte_addressed {
            if !block.is_multiple_of(512) {
                return Reply::short(self.status(wire.now) | status::ADDRESS);
            }
            block /= 512;
        }
        if block >= self.block_count {
            return Reply::short(self.status(wire.now) | status::OUT_OF_RANGE);
        }
        let single = matches!(index, 17 | 24);
        let span = Span { block, left: if single { Some(1) } else { announced } };
        let reply = Reply::with_data(self.status(wire.now));
        if matches!(index, 17 | 18) {
            self.source = Some(Source::Medium(span));
            self.state = State::Sending;
        } else {
            self.sink = Some(span);
            self.state = State::Receiving;
        }
        reply
    }

    /// A command that sends a register.
    pub(super) fn send(&mut self, wire: &Wire<'_>, index: u8, source: Source) -> Reply {
        if self.state != State::Transfer {
            wire.rules.broken(format!("CMD{index} in state {:?}", self.state));
            return self.illegal();
        }
        let reply = Reply::with_data(self.status(wire.now));
        self.source = Some(source);
        self.state = State::Sending;
        reply
    }

    /// CMD12.
    pub(super) fn stop(&mut self, wire: &Wire<'_>) -> Reply {
        let busy = match self.state {
            State::Sending => Duration::from_micros(20),
            State::Receiving => PROGRAMMING,
            _ => return self.illegal(),
        };
        let reply = Reply::busy(self.status(wire.now), busy);
        if self.state == State::Receiving {
            self.busy_until = wire.now + busy;
        }
        self.state = State::Transfer;
        self.source = None;
        self.sink = None;
        reply
    }

    /// The next block of what is being sent, whatever the lines do to it.
    pub(super) fn next_block(&mut self, wire: &Wire<'_>, bytes: &mut [u8]) -> Result<(), Damage> {
        let Some(source) = &mut self.source else {
            wire.rules.broken("data clocked out of a card that sends none");
            return Err(Damage::Missing);
        };
        let more = match source {
            Source::Tuning => false,
            Source::Bytes(register) => {
                wire.rules.require(register.len() == bytes.len(), || {
                    format!("{} bytes asked of a register of {}", bytes.len(), register.len())
                });
                let length = register.len().min(bytes.len());
                bytes[..length].copy_from_slice(&register[..length]);
                false
            }
            Source::Medium(span) => {
                if self.weakness.bad_block == Some(span.block) {
                    self.errors |= status::ECC;
                    return Err(Damage::Missing);
                }
                if span.block >= self.block_count {
                    self.errors |= status::OUT_OF_RANGE;
                    return Err(Damage::Missing);
                }
                let Ok(whole) = <&mut [u8; 512]>::try_from(&mut *bytes) else {
                    wire.rules.broken("block length other than 512");
                    return Err(Damage::Missing);
                };
                match self.cache.as_ref().and_then(|cache| cache.get(&span.block)) {
                    Some(cached) => *whole = *cached,
                    None => self.storage.read(span.block, whole),
                }
                span.advance()
            }
        };
        if !more {
            self.state = State::Transfer;
            self.source = None;
        }
        Ok(())
    }

    /// Takes the next block of what is being received.
    pub(super) fn take_block(&mut self, wire: &Wire<'_>, bytes: &[u8]) -> Result<(), Damage> {
        let Some(span) = &mut self.sink else {
            wire.rules.broken("data clocked into a card that takes none");
            return Err(Damage::Missing);
        };
        let Ok(whole) = <&[u8; 512]>::try_from(bytes) else {
            wire.rules.broken("block length other than 512");
            return Err(Damage::Missing);
        };
        if span.block >= self.block_count {
            self.errors |= status::OUT_OF_RANGE;
            return Err(Damage::Missing);
        }
        if self.weakness.bad_block == Some(span.block) {
            self.errors |= status::ERROR;
        } else if let Some(cache) = self.cache.as_mut().filter(|_| !self.reliable) {
            cache.insert(span.block, *whole);
        } else if self.protected || self.storage.write(span.block, whole).is_err() {
            self.errors |= status::PROTECTED;
            return Err(Damage::Missing);
        }
        if !span.advance() {
            self.state = State::Transfer;
            self.sink = None;
            self.busy_until = wire.now + PROGRAMMING;
        }
        Ok(())
    }

    /// The power goes within the next block of what is being received: what is left of it is new
    /// up to there and erased behind, but a reliable write has not begun to touch it.
    pub(super) fn cut(&mut self, bytes: &[u8], kept: usize) {
        let Some(span) = self.sink.take() else { return };
        if !self.reliable && self.cache.is_none() && kept > 0 {
            let mut torn = [0xff; 512];
            torn[..kept].copy_from_slice(&bytes[..kept]);
            let _ = self.storage.write(span.block, &torn);
        }
    }

    /// What weak lines do to data.
    pub(super) fn damage(&self, wire: &Wire<'_>) -> Option<Damage> {
        let weak = self.weakness;
        let too_fast = weak.max_hertz.is_some_and(|limit| wire.hertz > limit);
        let too_wide = weak.max_width.is_some_and(|limit| wire.width > limit);
        (too_fast || too_wide || weak.no_ddr && wire.ddr).then_some(Damage::Crc)
    }
}

/// Writes `value` into bits `high..=low` of a 128-bit register.
pub(super) fn field(register: u128, high: u32, low: u32, value: u128) -> u128 {
    assert!(value >> (high - low + 1) == 0, "{value:#x} does not fit into {high}:{low}");
    register | value << low
}
