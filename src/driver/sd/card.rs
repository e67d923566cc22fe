//! A card in a slot: identified, in its best mode, read and written whatever happens.

use alloc::string::{String, ToString};
use core::time::Duration;

use super::{
    BusWidth, Command, Error, Finished, Host, Incoming, Limits, Mode, Response, ResponseKind,
    Signalling, Timing, Transfer,
    contents::{ReliableWrites, status},
    emmc::EmmcCard,
    secure_digital,
    secure_digital::SdCard,
    write::write_chunk,
};
use crate::{
    block::{self, BLOCK_SIZE, BlockDevice},
    board::CardKind,
    dma::Buffer,
    time::Deadline,
};

/// Modes worth trying, best first. Every card can do the last one.
const MODES: &[Mode] = &[
    mode(Timing::Hs400EnhancedStrobe, BusWidth::Eight),
    mode(Timing::Hs400, BusWidth::Eight),
    mode(Timing::Hs200, BusWidth::Eight),
    mode(Timing::Hs200, BusWidth::Four),
    mode(Timing::Sdr104, BusWidth::Four),
    mode(Timing::Sdr50, BusWidth::Four),
    mode(Timing::Ddr52, BusWidth::Eight),
    mode(Timing::Ddr52, BusWidth::Four),
    mode(Timing::Sdr25, BusWidth::Four),
    mode(Timing::HighSpeed, BusWidth::Eight),
    mode(Timing::HighSpeed, BusWidth::Four),
    mode(Timing::Default, BusWidth::Four),
    Mode::START,
];

/// Identifications that may fail in a row before the card is given up.
const IDENTIFICATIONS: u32 = 3;
/// Identifications that may meet silence before the slot is called empty.
const SILENT_IDENTIFICATIONS: u32 = 2;
/// Times that a mode may fail, while it is set up, before the next lower one is taken.
const MODE_ATTEMPTS: u32 = 2;
/// Times that a read or write may fail in a mode before the next lower one is taken.
const ATTEMPTS: u32 = 3;
/// Blocks that one command may ask for: the width of the controller's and CMD23's counter.
const MOST_BLOCKS: usize = 65_535;
/// Blocks in a command once a read has failed, so that the good parts need not be read again.
const BLOCKS_AFTER_ERROR: usize = 128;
/// Blocks bounced at a time where the bus master cannot reach.
const BOUNCE_BLOCKS: usize = 8;
/// A card that was interrupted while it sent comes back to transfer state within this time.
pub(super) const SETTLE: Duration = Duration::from_millis(500);
/// One that has received blocks may be busy with them: half a second (SD 4.6.2.2); an eMMC that
/// clears up meanwhile, longer.
pub(super) const PROGRAM: Duration = Duration::from_secs(3);
const SETTLE_POLL_US: u32 = 100;

const fn mode(timing: Timing, width: BusWidth) -> Mode {
    Mode { timing, width }
}

/// What commands call a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressing {
    Byte,
    Block,
}

impl Addressing {
    pub(super) fn of_high_capacity(high_capacity: bool) -> Self {
        if high_capacity { Self::Block } else { Self::Byte }
    }
}

/// What is known of a card in transfer state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) cid: u128,
    /// Relative card address, in the upper half as commands want it.
    pub(super) address: u32,
    pub(super) block_count: u64,
    pub(super) addressing: Addressing,
    /// Takes CMD23.
    pub(super) set_block_count: bool,
    pub(super) mode: Mode,
    /// All of it is protected against writing.
    pub(super) protected: bool,
    /// What it offers of them.
    pub(super) reliable_writes: Option<ReliableWrites>,
    /// It keeps what is written in memory for a while.
    pub(super) cache_on: bool,
}

impl Identity {
    pub(super) fn argument(&self, block: u64) -> Result<u32, Error> {
        let argument = match self.addressing {
            Addressing::Block => Some(block),
            Addressing::Byte => block.checked_mul(BLOCK_SIZE as u64),
        };
        argument.and_then(|argument| u32::try_from(argument).ok()).ok_or(Error::OutOfRange)
    }
}

/// A failed bring-up, with the mode that was being set up.
struct Failure {
    error: Error,
    mode: Mode,
}

/// A card slot or soldered eMMC, and what was found there.
#[derive(Debug)]
pub struct Card<H> {
    name: &'static str,
    kind: CardKind,
    host: H,
    identity: Option<Identity>,
    /// The card must be identified anew before its next use.
    lost: bool,
    /// Only modes below this one are tried: the others have failed.
    below: Option<Mode>,
    read_ahead: Option<ReadAhead>,
}

/// A read that was started and not asked for since.
#[derive(Debug)]
struct ReadAhead {
    first_block: u64,
    /// What has come of it, if something else was asked of the card since; else the host has it.
    ended: Option<Result<Buffer, Error>>,
}

impl<H: Host> Card<H> {
    /// A slot called `name` behind `host`; nothing is touched.
    pub fn new(name: &'static str, kind: CardKind, host: H) -> Self {
        Self { name, kind, host, identity: None, lost: true, below: None, read_ahead: None }
    }

    /// Finds out what is in the slot and brings it to its best mode. May be called again, when a
    /// card may have been put in or exchanged.
    ///
    /// # Errors
    /// [`Error::NoCard`] after less than 0.1 s if nothing answers; otherwise what failed last.
    pub fn identify(&mut self) -> Result<(), Error> {
        self.end_read_ahead();
        self.identity = None;
        self.below = None;
        self.identify_in_slower_modes()
    }

    /// The mode in use, once identified.
    pub fn mode(&self) -> Option<Mode> {
        self.identity.map(|identity| identity.mode)
    }

    /// Ends all use: no DMA and no card clock from here on, and the card in a state in which an
    /// operating system can identify it. A read that was started is broken off. Another read
    /// identifies it anew.
    pub fn stop(&mut self) {
        self.lost = true;
        self.host.stop();
        if let Some(ReadAhead { ended: ended @ None, .. }) = &mut self.read_ahead {
            self.host.finish();
            *ended = Some(Err(Error::NoCard));
        }
    }

    /// `error`, with this device and `block`, for those who know no cards.
    pub fn locate(&self, error: Error, block: u64) -> block::Error {
        block::Error { kind: error.kind(), device: String::from(self.name), block }
    }

    /// Tells of a read that is given up.
    fn report(&self, error: Error, block: u64) -> block::Error {
        log::error!("{}, block {block}: {error}", self.name);
        self.locate(error, block)
    }

    /// Reads whole blocks from `first_block` on. Repeats what fails, in slower modes if need be.
    ///
    /// # Panics
    /// If the length is not a multiple of 512.
    pub fn read_blocks(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        assert!(destination.len().is_multiple_of(BLOCK_SIZE), "whole blocks only");
        self.end_read_ahead();
        self.check_range(first_block, destination.len())?;
        self.read_patiently(first_block, destination, None)
    }

    /// Reads, after the first attempt at it has `failed` or before it.
    fn read_patiently(
        &mut self,
        first_block: u64,
        destination: &mut [u8],
        failed: Option<Error>,
    ) -> Result<(), Error> {
        let mut block = first_block;
        let mut rest = destination;
        let mut most = MOST_BLOCKS;
        let mut attempt = 0;
        let mut failed = failed;
        while !rest.is_empty() {
            let length = rest.len().min(most * BLOCK_SIZE);
            let done = match failed.take() {
                Some(error) => Err(error),
                None => {
                    let identity = self.ready()?;
                    read_chunk(&mut self.host, &identity, block, &mut rest[..length])
                }
            };
            match done {
                Ok(()) => {
                    block += (length / BLOCK_SIZE) as u64;
                    rest = &mut rest[length..];
                    attempt = 0;
                }
                Err(error) => {
                    most = BLOCKS_AFTER_ERROR;
                    attempt = self.recover(error, block, attempt + 1, SETTLE)?;
                }
            }
        }
        Ok(())
    }

    /// Starts to read blocks into all of `buffer`. From then on its errors are those of
    /// [`Card::finish_read`].
    ///
    /// # Errors
    /// The buffer: not in this way, or not now. [`Card::read_blocks`] reads all the same.
    ///
    /// # Panics
    /// If the length is not a multiple of 512.
    pub fn start_read(&mut self, first_block: u64, buffer: Buffer) -> Result<(), Buffer> {
        if self.read_ahead.is_some() {
            return Err(buffer);
        }
        let incoming = self.incoming(first_block, buffer)?;
        let started = self.host.start(incoming);
        self.note_started(first_block, started)
    }

    /// What starts to read blocks, if that can be done.
    fn incoming(&self, first_block: u64, buffer: Buffer) -> Result<Incoming, Buffer> {
        assert!(buffer.len().is_multiple_of(BLOCK_SIZE), "whole blocks only");
        let fits = self.check_range(first_block, buffer.len()).is_ok()
            && (1..=MOST_BLOCKS).contains(&(buffer.len() / BLOCK_SIZE));
        match self.identity {
            Some(identity) if fits && !self.lost => incoming(&identity, first_block, buffer),
            _ => Err(buffer),
        }
    }

    fn note_started(
        &mut self,
        first_block: u64,
        started: Result<(), Finished>,
    ) -> Result<(), Buffer> {
        let ended = match started {
            Ok(()) => None,
            Err(Finished { outcome: Err(Error::Unreachable), buffer: Some(buffer) }) => {
                return Err(buffer);
            }
            Err(finished) => Some(self.settle_read(first_block, finished)),
        };
        self.read_ahead = Some(ReadAhead { first_block, ended });
        Ok(())
    }

    /// Waits for the blocks that were started to be read; repeats what failed, as
    /// [`Card::read_blocks`] does.
    ///
    /// # Errors
    /// [`Error::NoCard`] if the card was stopped since, or nothing was started; otherwise what
    /// failed last.
    pub fn finish_read(&mut self) -> Result<Buffer, Error> {
        self.end_read_ahead();
        let ended = self.read_ahead.take().and_then(|read_ahead| read_ahead.ended);
        ended.unwrap_or(Err(Error::NoCard))
    }

    /// [`Card::finish_read`], then [`Card::start_read`], with as little as can be between the last
    /// block of the one and the command of the other. After an error nothing is started.
    pub fn finish_and_start_read(
        &mut self,
        first_block: u64,
        buffer: Buffer,
    ) -> (Result<Buffer, Error>, Result<(), Buffer>) {
        let Some(ReadAhead { first_block: before, ended: None }) = self.read_ahead else {
            let finished = self.finish_read();
            let started = match finished {
                Ok(_) => self.start_read(first_block, buffer),
                Err(_) => Err(buffer),
            };
            return (finished, started);
        };
        let incoming = match self.incoming(first_block, buffer) {
            Ok(incoming) => incoming,
            Err(buffer) => return (self.finish_read(), Err(buffer)),
        };
        self.read_ahead = None;
        match self.host.finish_and_start(incoming) {
            Ok((finished, started)) => (Ok(finished), self.note_started(first_block, started)),
            Err((finished, buffer)) => (self.settle_read(before, finished), Err(buffer)),
        }
    }

    /// Ends a read that was started and that nobody wants any longer, without repeating it.
    pub fn abandon_read(&mut self) {
        if let Some(ReadAhead { first_block, ended: None }) = self.read_ahead.take()
            && let Some(Finished { outcome: Err(error), .. }) = self.host.finish()
        {
            // The card may be sending still. Whoever reads next hears of what is wrong with it.
            let _ = self.recover(error, first_block, 1, SETTLE);
        }
    }

    /// Lets a read that goes on come to its end, and keeps what has come of it.
    fn end_read_ahead(&mut self) {
        if let Some(ReadAhead { first_block, ended: None }) = self.read_ahead
            && let Some(finished) = self.host.finish()
        {
            let ended = Some(self.settle_read(first_block, finished));
            self.read_ahead = Some(ReadAhead { first_block, ended });
        }
    }

    /// What has come of a read that was started at `first_block`; a failed one is repeated.
    fn settle_read(&mut self, first_block: u64, finished: Finished) -> Result<Buffer, Error> {
        let Finished { outcome, buffer } = finished;
        match (outcome, buffer) {
            (Ok(()), Some(buffer)) => Ok(buffer),
            (Err(error), Some(mut buffer)) => {
                self.read_patiently(first_block, &mut buffer, Some(error))?;
                Ok(buffer)
            }
            (Err(error), None) => Err(error),
            (Ok(()), None) => Err(Error::Unreachable),
        }
    }

    /// Writes whole blocks from `first_block` on; they are on the medium when it returns. Repeats
    /// what fails, in slower modes if need be: the same blocks may be written any number of times.
    ///
    /// # Errors
    /// [`Error::WriteProtected`] at once if the card or its slot's switch says so.
    ///
    /// # Panics
    /// If the length is not a multiple of 512.
    pub fn write_blocks(&mut self, first_block: u64, source: &[u8]) -> Result<(), Error> {
        assert!(source.len().is_multiple_of(BLOCK_SIZE), "whole blocks only");
        self.end_read_ahead();
        self.check_range(first_block, source.len())?;
        let mut block = first_block;
        let mut rest = source;
        let mut attempt = 0;
        while !rest.is_empty() {
            let identity = self.ready()?;
            if !self.is_writable() {
                return Err(Error::WriteProtected);
            }
            let (chunk, behind) = rest.split_at(rest.len().min(MOST_BLOCKS * BLOCK_SIZE));
            match write_chunk(&mut self.host, &identity, block, chunk) {
                Ok(()) => {
                    block += (chunk.len() / BLOCK_SIZE) as u64;
                    rest = behind;
                    attempt = 0;
                }
                Err(error) => attempt = self.recover(error, block, attempt + 1, PROGRAM)?,
            }
        }
        Ok(())
    }

    fn check_range(&self, first_block: u64, length: usize) -> Result<(), Error> {
        let identity = self.identity.ok_or(Error::NoCard)?;
        let end = first_block.checked_add((length / BLOCK_SIZE) as u64);
        if end.is_none_or(|end| end > identity.block_count) {
            return Err(Error::OutOfRange);
        }
        Ok(())
    }

    /// The card in transfer state; identified anew if it was lost.
    fn ready(&mut self) -> Result<Identity, Error> {
        match self.identity {
            Some(identity) if !self.lost => Ok(identity),
            _ => self.identify_again(),
        }
    }

    /// After failed attempt number `attempt` at `block`: makes the card usable for another one and
    /// returns the number of attempts that count, or gives up. The card may be busy for `busy`.
    fn recover(
        &mut self,
        error: Error,
        block: u64,
        attempt: u32,
        busy: Duration,
    ) -> Result<u32, Error> {
        if !self.host.card_present() {
            self.lost = true;
            return Err(Error::Removed);
        }
        log::debug!("{}, block {block}: {error}", self.name);
        let (settled, told) = match self.settle(busy) {
            Ok(told) => (true, told),
            Err(_) => (false, 0),
        };
        self.lost |= !settled;
        if error == Error::WriteProtected || told & status::PROTECTED != 0 {
            return Err(Error::WriteProtected);
        }
        if attempt < ATTEMPTS {
            return Ok(attempt);
        }
        let not_the_lines = matches!(
            error,
            Error::Status(..) | Error::Busy(_) | Error::Unreachable | Error::OutOfRange
        );
        if told & status::MEDIUM != 0 || not_the_lines {
            // The card or the caller: no slower mode helps.
            return Err(error);
        }
        self.lost = true;
        let mode = self.mode().unwrap_or(Mode::START);
        if mode == Mode::START {
            // The slowest mode fails as well, so the fast ones were not to blame.
            self.below = None;
            return Err(error);
        }
        log::warn!("{}, block {block}: {error} in {mode}; slowing down", self.name);
        self.below = Some(mode);
        Ok(0)
    }

    /// Ends a transfer that failed half-way and finds the sampling point again. Returns what the
    /// card's status told on the way.
    fn settle(&mut self, busy: Duration) -> Result<u32, Error> {
        let Some(identity) = self.identity else { return Err(Error::NoCard) };
        // Refused or unanswered if no data is on its way: then there is nothing to stop.
        let stopped = self.host.command(Command::new(12, 0, ResponseKind::ShortBusy));
        let mut told = stopped.map_or(0, Response::short);
        told |= wait_for_transfer_state(&mut self.host, identity.address, busy)?;
        if let Some(command) = identity.mode.timing.tuning_command() {
            self.host.tune(command)?;
        }
        Ok(told)
    }

    /// Identifies a card that was in use; another one in its place is an error.
    fn identify_again(&mut self) -> Result<Identity, Error> {
        let before = self.identity;
        match self.identify_in_slower_modes() {
            Err(Error::NoCard) if before.is_some() => {
                self.identity = before;
                Err(Error::Removed)
            }
            Err(error) => {
                self.identity = before;
                Err(error)
            }
            Ok(()) => match (self.identity, before) {
                (Some(now), Some(before)) if now.cid != before.cid => {
                    self.lost = true;
                    self.identity = Some(before);
                    Err(Error::Removed)
                }
                (Some(now), _) => Ok(now),
                (None, _) => Err(Error::NoCard),
            },
        }
    }

    /// Brings the card up in the best mode that has not failed yet; goes down mode by mode.
    fn identify_in_slower_modes(&mut self) -> Result<(), Error> {
        let mut failures = 0;
        loop {
            let Failure { error, mode } = match self.bring_up() {
                Ok(identity) => {
                    log::debug!(
                        "{}: {} MiB, {}",
                        self.name,
                        identity.block_count >> 11,
                        identity.mode
                    );
                    self.identity = Some(identity);
                    self.lost = false;
                    return Ok(());
                }
                Err(failure) => failure,
            };
            if !self.host.card_present() {
                return Err(Error::NoCard);
            }
            failures += 1;
            // A card that hangs is as silent as none, until its power is gone for a while.
            let hopeless = match error {
                Error::NoCard => failures >= SILENT_IDENTIFICATIONS,
                Error::Unsupported(_) => true,
                _ => false,
            };
            if hopeless {
                return Err(error);
            }
            if mode == Mode::START && failures >= IDENTIFICATIONS {
                return Err(error);
            }
            if mode != Mode::START && failures >= MODE_ATTEMPTS {
                log::warn!("{}: {mode} does not work: {error}", self.name);
                self.below = Some(mode);
                failures = 0;
            }
        }
    }

    /// One identification, from power-up to a first read in the best mode. Where the eMMC should
    /// be and does not answer, there may be an SD card: boards and emulators have such variants.
    fn bring_up(&mut self) -> Result<Identity, Failure> {
        if !self.host.card_present() {
            return Err(Failure { error: Error::NoCard, mode: Mode::START });
        }
        match self.kind {
            CardKind::Sd => self.bring_up_sd(),
            CardKind::Emmc => match self.bring_up_emmc() {
                Err(Failure { error: Error::NoCard, .. }) => self.bring_up_sd(),
                outcome => outcome,
            },
        }
    }

    fn bring_up_sd(&mut self) -> Result<Identity, Failure> {
        let in_mode = |mode| move |error| Failure { error, mode };
        self.host.restart().map_err(in_mode(Mode::START))?;
        let low_voltage = self.wants_low_voltage();
        let stage = if low_voltage { secure_digital::SLOWEST_LOW_VOLTAGE } else { Mode::START };
        let mut card = SdCard::identify(&mut self.host, low_voltage).map_err(in_mode(stage))?;
        let mode = self.best_mode(|mode| card.supports(mode));
        card.switch(&mut self.host, mode).map_err(in_mode(mode))?;
        Ok(card.identity)
    }

    fn bring_up_emmc(&mut self) -> Result<Identity, Failure> {
        let in_mode = |mode| move |error| Failure { error, mode };
        self.host.restart().map_err(in_mode(Mode::START))?;
        let mut card = EmmcCard::identify(&mut self.host).map_err(in_mode(Mode::START))?;
        let mode = self.best_mode(|mode| card.supports(mode));
        card.switch(&mut self.host, mode).map_err(in_mode(mode))?;
        Ok(card.identity)
    }

    fn wants_low_voltage(&self) -> bool {
        let limits = self.host.limits();
        limits.signalling == Signalling::Switchable
            && MODES.iter().any(|&mode| is_low_voltage(mode) && self.may_try(&limits, mode))
    }

    fn best_mode(&self, card_supports: impl Fn(Mode) -> bool) -> Mode {
        let limits = self.host.limits();
        let usable = |&&mode: &&Mode| self.may_try(&limits, mode) && card_supports(mode);
        MODES.iter().find(usable).copied().unwrap_or(Mode::START)
    }

    fn may_try(&self, limits: &Limits, mode: Mode) -> bool {
        limits.allow(mode) && self.below.is_none_or(|below| mode < below)
    }
}

fn is_low_voltage(mode: Mode) -> bool {
    matches!(mode.timing, Timing::Sdr25 | Timing::Sdr50 | Timing::Sdr104)
}

/// Reads blocks with one command where the bus master reaches, else by way of the stack.
fn read_chunk(
    host: &mut impl Host,
    identity: &Identity,
    block: u64,
    destination: &mut [u8],
) -> Result<(), Error> {
    match read_range(host, identity, block, destination) {
        Err(Error::Unreachable) => read_bounced(host, identity, block, destination),
        done => done,
    }
}

/// Reads blocks with one command.
fn read_range(
    host: &mut impl Host,
    identity: &Identity,
    block: u64,
    destination: &mut [u8],
) -> Result<(), Error> {
    let argument = identity.argument(block)?;
    let count = destination.len() / BLOCK_SIZE;
    if count == 1 {
        return read_one(host, 17, argument, destination);
    }
    let announcement = announcement(identity, count)?;
    if let Some(announcement) = announcement {
        check(announcement.index, host.command(announcement)?)?;
    }
    let command = Command::new(18, argument, ResponseKind::Short);
    let stop = announcement.is_none();
    check(18, host.read(Transfer { command, block_size: 512, stop, destination })?)
}

/// What reads blocks into `buffer` while the processor does something else.
fn incoming(identity: &Identity, block: u64, buffer: Buffer) -> Result<Incoming, Buffer> {
    let count = buffer.len() / BLOCK_SIZE;
    let (Ok(argument), Ok(announcement)) =
        (identity.argument(block), announcement(identity, count))
    else {
        return Err(buffer);
    };
    let command = Command::new(18, argument, ResponseKind::Short);
    Ok(Incoming { announcement, command, stop: announcement.is_none(), buffer })
}

/// How a card is told the number of blocks it will be asked for, if it listens.
fn announcement(identity: &Identity, count: usize) -> Result<Option<Command>, Error> {
    let count = u32::try_from(count).map_err(|_| Error::OutOfRange)?;
    let command = Command::new(23, count, ResponseKind::Short);
    Ok(identity.set_block_count.then_some(command))
}

/// Blocks where the bus master reaches them.
#[repr(align(64))]
pub(super) struct Bounce(pub(super) [u8; BOUNCE_BLOCKS * BLOCK_SIZE]);

impl Bounce {
    pub(super) const fn new() -> Self {
        Self([0; BOUNCE_BLOCKS * BLOCK_SIZE])
    }
}

fn read_bounced(
    host: &mut impl Host,
    identity: &Identity,
    block: u64,
    destination: &mut [u8],
) -> Result<(), Error> {
    let mut bounce = Bounce::new();
    let mut block = block;
    for part in destination.chunks_mut(bounce.0.len()) {
        let bounce = &mut bounce.0[..part.len()];
        read_range(host, identity, block, bounce)?;
        part.copy_from_slice(bounce);
        block += (part.len() / BLOCK_SIZE) as u64;
    }
    Ok(())
}

/// Reads one block of `destination.len()` bytes, at most 512.
pub(super) fn read_one(
    host: &mut impl Host,
    index: u8,
    argument: u32,
    destination: &mut [u8],
) -> Result<(), Error> {
    let block_size = u16::try_from(destination.len()).map_err(|_| Error::OutOfRange)?;
    let command = Command::new(index, argument, ResponseKind::Short);
    check(index, host.read(Transfer { command, block_size, stop: false, destination })?)
}

/// Turns error bits of a card status into an error.
pub(super) fn check(index: u8, answer: Response) -> Result<(), Error> {
    answer.check(index).map(drop)
}

/// Selects the card at `address`: from standby to transfer state.
pub(super) fn select(host: &mut impl Host, address: u32) -> Result<(), Error> {
    let answer = host.command(Command::new(7, address, ResponseKind::ShortBusy))?;
    if answer.short() & status::LOCKED != 0 {
        return Err(Error::Unsupported("card is locked by a password"));
    }
    check(7, answer)
}

/// Waits at most `busy` until the card takes the next data command; returns all that its status told
/// meanwhile, because it tells an error once.
pub(super) fn wait_for_transfer_state(
    host: &mut impl Host,
    address: u32,
    busy: Duration,
) -> Result<u32, Error> {
    let deadline = Deadline::after(host, busy);
    let mut told = 0;
    loop {
        let last_look = deadline.passed(host);
        let answer = host.command(Command::new(13, address, ResponseKind::Short))?.short();
        told |= answer;
        if answer & status::STATE_AND_READY == status::READY_IN_TRAN {
            return Ok(told);
        }
        if last_look {
            return Err(Error::Busy(13));
        }
        host.delay_us(SETTLE_POLL_US);
    }
}

impl<H: Host> BlockDevice for Card<H> {
    fn name(&self) -> &str {
        self.name
    }

    fn mode(&self) -> Option<String> {
        Some(self.identity?.mode.to_string())
    }

    fn block_count(&self) -> u64 {
        self.identity.map_or(0, |identity| identity.block_count)
    }

    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), block::Error> {
        self.read_blocks(first_block, destination).map_err(|error| self.report(error, first_block))
    }

    fn start(&mut self, first_block: u64, buffer: Buffer) -> Result<(), Buffer> {
        self.start_read(first_block, buffer)
    }

    fn finish(&mut self) -> Result<Buffer, block::Error> {
        let first_block = self.read_ahead.as_ref().map_or(0, |read_ahead| read_ahead.first_block);
        self.finish_read().map_err(|error| self.report(error, first_block))
    }

    fn finish_and_start(
        &mut self,
        first_block: u64,
        buffer: Buffer,
    ) -> (Result<Buffer, block::Error>, Result<(), Buffer>) {
        let before = self.read_ahead.as_ref().map_or(0, |read_ahead| read_ahead.first_block);
        let (finished, started) = self.finish_and_start_read(first_block, buffer);
        (finished.map_err(|error| self.report(error, before)), started)
    }

    fn abandon(&mut self) {
        self.abandon_read();
    }

    fn is_writable(&self) -> bool {
        let protected = self.identity.is_none_or(|identity| identity.protected);
        !protected && !self.host.write_protected()
    }

    fn write(&mut self, first_block: u64, source: &[u8]) -> Result<(), block::Error> {
        self.write_blocks(first_block, source).map_err(|error| {
            log::error!("{}, block {first_block}, writing: {error}", self.name);
            self.locate(error, first_block)
        })
    }
}

impl Error {
    /// What a user of the block device is told.
    pub fn kind(&self) -> block::ErrorKind {
        use block::ErrorKind;
        match self {
            Self::NoCard => ErrorKind::NoCard,
            Self::Removed => ErrorKind::Removed,
            Self::NoResponse(_) | Self::NoData(_) | Self::Busy(_) => ErrorKind::Timeout,
            Self::DamagedResponse(_)
            | Self::DamagedData(_)
            | Self::Status(..)
            | Self::Tuning
            | Self::Strobe
            | Self::Mismatch => ErrorKind::Transfer,
            Self::WriteProtected => ErrorKind::ReadOnly,
            Self::SwitchRefused(_) | Self::VoltageSwitch | Self::Unsupported(_) => {
                ErrorKind::Unsupported
            }
            Self::OutOfRange => ErrorKind::OutOfRange,
            Self::Unreachable | Self::Controller(_) => ErrorKind::Controller,
        }
    }
}
