//! The i.MX uSDHC: a [`Host`] for SD cards and eMMC.
//!
//! Three layers: `registers`, the `controller`, and here what surrounds it: pads, slot power,
//! card detection, and memory that the controller reaches by ADMA2 (`adma`). It sets up all that
//! it needs, clocks and pads included, whatever ran before it. No allocation.
//!
//! Sources: i.MX 8M Plus reference manual, chapter 10.3; where it is silent, what Linux
//! (`sdhci-esdhc-imx.c`) and U-Boot (`fsl_esdhc_imx.c`) agree on.

#![forbid(unsafe_code)]

mod adma;
mod controller;
mod divider;
mod registers;

use core::{mem, time::Duration};

use embedded_hal::{
    delay::DelayNs,
    digital::{InputPin, OutputPin},
};

pub use self::{adma::Buffers, controller::Sampling};
use self::{
    adma::{Layout, Table},
    controller::{Begun, Controller, Data, Direction},
};
use super::{
    gpio::Pin,
    sd::{
        Card, Command, Error, Fault, Finished, Host, Incoming, Limits, Mode, Outgoing, Response,
        ResponseKind, Signalling, Timing, Transfer,
    },
};
use crate::{
    block::{self, BLOCK_SIZE, cache::Cache},
    board::CardSlot,
    dma::{self, Buffer, Dma},
    mmio::Bus,
    soc::{ccm, iomuxc::Drive},
    time::{Clock, Delay},
};

/// READ_MULTIPLE_BLOCK.
const READ: u8 = 18;
/// Time for 74 clocks at identification speed, before the first command (SD 6.4.1).
const FIRST_CLOCKS_US: u32 = 250;

/// A uSDHC with its slot.
#[derive(Debug)]
pub struct Usdhc<'a, B: Bus, C: Clock, D: Dma, P> {
    controller: Controller<B, C>,
    dma: D,
    buffers: &'a mut Buffers,
    slot: &'static CardSlot,
    power: Option<P>,
    detect: Option<P>,
    /// Nothing says that the card needs to lose its power before it is used.
    trusts_power: bool,
    read_ahead: ReadAhead,
}

/// A read that goes on by itself.
#[derive(Debug, Default)]
enum ReadAhead {
    #[default]
    None,
    Underway(Underway),
    /// It was broken off before it was waited for.
    BrokenOff(Finished),
}

/// What the controller works with meanwhile. The descriptors are in its [`Buffers`].
#[derive(Debug)]
struct Underway {
    begun: Begun,
    buffer: dma::Lent,
    table: u32,
}

/// The card slot of a board: starts clocks, multiplexes pads, and puts the driver together. Does
/// not touch the card.
pub fn open<'a, B: Bus + Copy, C: Clock, D: Dma>(
    slot: &'static CardSlot,
    bus: B,
    clock: C,
    dma: D,
    buffers: &'a mut Buffers,
) -> Card<Usdhc<'a, B, C, D, Pin<B>>> {
    ccm::start(&bus, &slot.clock);
    for pad in slot.pads.iter().chain(slot.control_pads) {
        pad.apply(&bus);
    }
    let power = slot.power.map(|power| Pin::output(bus, power.line));
    let trusts_power = power.as_ref().is_some_and(Pin::is_set_on);
    let detect = slot.detect.map(|line| Pin::input(bus, line));
    let mut host = Usdhc::new(slot, bus, clock, dma, buffers, power, detect);
    host.trusts_power = trusts_power;
    Card::new(slot.name, slot.kind, host)
}

/// Looks which card is in the slot now, and forgets what was read of the one before.
///
/// # Errors
/// None answers, or none that can be used.
pub fn identify<H: Host>(cached: &mut Cache<Card<H>>) -> Result<(), block::Error> {
    cached.clear();
    let card = cached.device_mut();
    let identified = card.identify();
    identified.map_err(|error| card.locate(error, 0))
}

impl<'a, B: Bus, C: Clock, D: Dma, P: OutputPin + InputPin> Usdhc<'a, B, C, D, P> {
    /// The controller of `slot`, whose clocks run and whose pads are set. High means "power" and
    /// "card present" at the pins.
    pub fn new(
        slot: &'static CardSlot,
        bus: B,
        clock: C,
        dma: D,
        buffers: &'a mut Buffers,
        power: Option<P>,
        detect: Option<P>,
    ) -> Self {
        let controller = Controller::new(bus, slot.usdhc, clock, slot.clock.hertz, slot.sampling);
        let (trusts_power, read_ahead) = (false, ReadAhead::None);
        Self { controller, dma, buffers, slot, power, detect, trusts_power, read_ahead }
    }

    fn delay(&self, microseconds: u32) {
        Delay(self.controller.clock()).delay_us(microseconds);
    }

    /// Pads as fast edges as the clock needs, and no faster.
    fn drive_pads(&self, timing: Timing) {
        let drive = match timing {
            Timing::Sdr50 => Drive::X2,
            Timing::Sdr104 | Timing::Hs200 | Timing::Hs400 | Timing::Hs400EnhancedStrobe => {
                Drive::X6
            }
            _ => Drive::X1,
        };
        for pad in self.slot.pads {
            pad.set_drive(self.controller.bus(), drive);
        }
    }

    /// Takes the slot's power away for as long as the card needs to forget everything. The clock
    /// stands still, and the lines keep their voltage meanwhile.
    fn power_off(&mut self) {
        let (Some(pin), Some(power)) = (&mut self.power, self.slot.power) else { return };
        // A pin that cannot be moved leaves the card on: identification then shows what it does.
        let _ = pin.set_low();
        Delay(self.controller.clock()).delay_us(power.off_us);
    }

    fn power_on(&mut self) {
        if let Some(pin) = &mut self.power {
            let _ = pin.set_high();
        }
    }

    fn first_voltage_is_low(&self) -> bool {
        self.slot.limits.signalling == Signalling::Fixed1V8
    }
}

impl<B: Bus, C: Clock, D: Dma, P> Usdhc<'_, B, C, D, P> {
    /// The controller, which nothing keeps busy: a read that goes on is broken off.
    fn free_controller(&mut self) -> &mut Controller<B, C> {
        match mem::take(&mut self.read_ahead) {
            ReadAhead::Underway(underway) => {
                let stopped = self.controller.reset_lines();
                if stopped.is_ok() {
                    self.dma.end_send(&self.buffers.table, underway.table);
                }
                let outcome = stopped.and(Err(Error::Controller(Fault::Silent)));
                let finished = self.take_back(underway.buffer, outcome);
                self.read_ahead = ReadAhead::BrokenOff(finished);
            }
            before => self.read_ahead = before,
        }
        &mut self.controller
    }

    /// What a read has come to, after the controller has finished with it or was reset.
    fn take_back(&self, buffer: dma::Lent, outcome: Result<(), Error>) -> Finished {
        let stopped = outcome != Err(Error::Controller(Fault::Reset));
        Finished { outcome, buffer: stopped.then(|| buffer.end(&self.dma)) }
    }

    /// Waits until the controller has finished with a read, whose buffer stays with it.
    fn end(&mut self, begun: Begun, table: u32) -> Result<(), Error> {
        let outcome = self.controller.end(begun).and_then(|answer| answer.check(READ)).map(drop);
        if outcome != Err(Error::Controller(Fault::Reset)) {
            self.dma.end_send(&self.buffers.table, table);
        }
        outcome
    }

    /// Sends for blocks, which come to `buffer` by themselves.
    fn begin(
        &mut self,
        announcement: Option<Command>,
        command: Command,
        stop: bool,
        buffer: dma::Lent,
    ) -> Result<(), Finished> {
        let blocks = u16::try_from(buffer.length() / BLOCK_SIZE);
        let mut table = Table::new(&mut self.buffers.table);
        let fits = table.add(buffer.bus_address(), buffer.length());
        let (Ok(blocks), true) = (blocks, fits) else {
            return Err(self.take_back(buffer, Err(Error::OutOfRange)));
        };
        let table = match self.dma.begin_send(table.finish()) {
            Ok(table) => table,
            Err(error) => return Err(self.take_back(buffer, Err(unreachable(error)))),
        };
        let direction = Direction::FromCard;
        let data = Data { direction, block_size: 512, blocks, stop, table };
        let announced = match announcement {
            Some(told) => {
                self.controller.run(told, None).and_then(|answer| answer.check(told.index))
            }
            None => Ok(Response::default()),
        };
        match announced.and_then(|_| self.controller.begin(command, Some(data))) {
            Ok(begun) => {
                self.read_ahead = ReadAhead::Underway(Underway { begun, buffer, table });
                Ok(())
            }
            Err(error) => {
                if error != Error::Controller(Fault::Reset) {
                    self.dma.end_send(&self.buffers.table, table);
                }
                Err(self.take_back(buffer, Err(error)))
            }
        }
    }
}

/// Gives a buffer of its own to the controller.
fn lend(dma: &impl Dma, buffer: Buffer) -> Result<dma::Lent, (Error, Buffer)> {
    dma::Lent::begin(dma, buffer).map_err(|(error, buffer)| (unreachable(error), buffer))
}

/// Nothing may be written to memory, or read from it, after the driver is gone.
impl<B: Bus, C: Clock, D: Dma, P> Drop for Usdhc<'_, B, C, D, P> {
    fn drop(&mut self) {
        self.free_controller();
    }
}

impl<B: Bus, C: Clock, D: Dma, P> Clock for Usdhc<'_, B, C, D, P> {
    fn now(&self) -> Duration {
        self.controller.clock().now()
    }
}

impl<B: Bus, C: Clock, D: Dma, P: OutputPin + InputPin> Host for Usdhc<'_, B, C, D, P> {
    fn limits(&self) -> Limits {
        let limits = self.slot.limits;
        let signalling = match limits.signalling {
            // There would be no way back.
            Signalling::Switchable if self.power.is_none() => Signalling::Fixed3V3,
            signalling => signalling,
        };
        Limits { signalling, ..limits }
    }

    fn card_present(&mut self) -> bool {
        match &mut self.detect {
            // A pin that cannot be read says nothing: then the card has to.
            Some(pin) => pin.is_high().unwrap_or(true),
            None => true,
        }
    }

    fn delay_us(&mut self, microseconds: u32) {
        self.delay(microseconds);
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.free_controller().halt();
        // The first time, a card may keep its power: at its first voltage, CMD0 takes it out of any
        // state, and losing power takes as long as all the rest together. If it is not there,
        // whoever used it before has left it at 1.8 V all the same: identification shows that.
        let at_first_voltage = self.controller.is_low_voltage() == self.first_voltage_is_low();
        let keeps_power = mem::take(&mut self.trusts_power) && at_first_voltage;
        if !keeps_power {
            self.power_off();
        }
        self.controller.reset(self.first_voltage_is_low())?;
        self.drive_pads(Timing::Default);
        self.power_on();
        if let Some(power) = self.slot.power.filter(|_| !keeps_power) {
            self.delay(power.on_us);
        }
        self.controller.start_identification()?;
        self.delay(FIRST_CLOCKS_US);
        Ok(())
    }

    fn set_mode(&mut self, mode: Mode) -> Result<(), Error> {
        let hertz = self.slot.limits.hertz(mode.timing);
        let hertz = hertz.unwrap_or(Timing::Default.max_hertz());
        self.drive_pads(mode.timing);
        self.free_controller().set_mode(mode, hertz)
    }

    fn switch_to_1v8(&mut self) -> Result<(), Error> {
        let settle_us = self.slot.voltage_settle_us;
        // The clock stands still for at least 5 ms.
        let settle = |clock: &C| Delay(clock).delay_us(settle_us.max(5_000));
        self.free_controller().switch_to_1v8(settle)
    }

    fn tune(&mut self, index: u8) -> Result<(), Error> {
        self.free_controller().tune(index)
    }

    fn command(&mut self, command: Command) -> Result<Response, Error> {
        self.free_controller().run(command, None)
    }

    fn read(&mut self, transfer: Transfer<'_>) -> Result<Response, Error> {
        let Transfer { command, block_size, stop, destination } = transfer;
        let blocks = destination.len() / usize::from(block_size).max(1);
        let blocks = u16::try_from(blocks).map_err(|_| Error::OutOfRange)?;
        let layout = Layout::of(destination);
        self.free_controller();
        let Buffers { table, head, tail } = &mut *self.buffers;

        let response = {
            let body = &mut destination[layout.body_at..layout.body_at + layout.body];
            let body = receive(&self.dma, body)?;
            let head = receive(&self.dma, if layout.head > 0 { head } else { &mut [] })?;
            let tail = receive(&self.dma, if layout.tail > 0 { tail } else { &mut [] })?;
            let mut table = Table::new(table);
            let parts = [(head, layout.head), (body, layout.body), (tail, layout.tail)];
            for (part, length) in &parts {
                let address = part.as_ref().map_or(0, dma::Receive::bus_address);
                if !table.add(address, *length) {
                    return Err(Error::OutOfRange);
                }
            }
            let table = dma::Send::begin(&self.dma, table.finish()).map_err(unreachable)?;
            let direction = Direction::FromCard;
            let data = Data { direction, block_size, blocks, stop, table: table.bus_address() };
            // The buffers come back when the controller has finished or was reset.
            self.controller.run(command, Some(data))?
        };
        layout.assemble(destination, &self.buffers.head, &self.buffers.tail);
        Ok(response)
    }

    fn start(&mut self, incoming: Incoming) -> Result<(), Finished> {
        let Incoming { announcement, command, stop, buffer } = incoming;
        self.free_controller();
        let buffer = lend(&self.dma, buffer).map_err(Finished::failed)?;
        self.begin(announcement, command, stop, buffer)
    }

    fn finish(&mut self) -> Option<Finished> {
        match mem::take(&mut self.read_ahead) {
            ReadAhead::None => None,
            ReadAhead::BrokenOff(finished) => Some(finished),
            ReadAhead::Underway(Underway { begun, buffer, table }) => {
                let outcome = self.end(begun, table);
                Some(self.take_back(buffer, outcome))
            }
        }
    }

    fn finish_and_start(
        &mut self,
        incoming: Incoming,
    ) -> Result<(Buffer, Result<(), Finished>), (Finished, Buffer)> {
        let Incoming { announcement, command, stop, buffer: next } = incoming;
        let Underway { begun, buffer, table } = match mem::take(&mut self.read_ahead) {
            ReadAhead::Underway(underway) => underway,
            ReadAhead::BrokenOff(finished) => return Err((finished, next)),
            ReadAhead::None => {
                let outcome = Err(Error::Controller(Fault::Silent));
                return Err((Finished { outcome, buffer: None }, next));
            }
        };
        // Caches are looked after while data moves: for the next buffer before the end of this one,
        // for this one after the start of the next.
        let next = lend(&self.dma, next);
        if let Err(error) = self.end(begun, table) {
            let next = next.map_or_else(|(_, buffer)| buffer, |next| next.end(&self.dma));
            return Err((self.take_back(buffer, Err(error)), next));
        }
        let started = next
            .map_err(Finished::failed)
            .and_then(|next| self.begin(announcement, command, stop, next));
        Ok((buffer.end(&self.dma), started))
    }

    fn write_protected(&self) -> bool {
        self.slot.protect && self.controller.is_locked()
    }

    fn write(&mut self, outgoing: Outgoing<'_>) -> Result<Response, Error> {
        let Outgoing { command, stop, source } = outgoing;
        let blocks = u16::try_from(source.len() / BLOCK_SIZE).map_err(|_| Error::OutOfRange)?;
        self.free_controller();
        let source = dma::Send::begin(&self.dma, source).map_err(unreachable)?;
        if !source.bus_address().is_multiple_of(4) {
            return Err(Error::Unreachable);
        }
        let mut table = Table::new(&mut self.buffers.table);
        if !table.add(source.bus_address(), usize::from(blocks) * BLOCK_SIZE) {
            return Err(Error::OutOfRange);
        }
        let table = dma::Send::begin(&self.dma, table.finish()).map_err(unreachable)?;
        let table = table.bus_address();
        let direction = Direction::ToCard;
        let data = Data { direction, block_size: 512, blocks, stop, table };
        // The buffers come back when the controller has finished or was reset.
        self.controller.run(command, Some(data))
    }

    fn stop(&mut self) {
        self.free_controller();
        if self.controller.is_running() {
            // A soldered eMMC and a card at 3.3 V can be identified again after CMD0.
            let _ = self.controller.run(Command::new(0, 0, ResponseKind::None), None);
        }
        self.controller.halt();
        if self.controller.is_low_voltage() && !self.first_voltage_is_low() {
            // Only a card that loses power leaves 1.8 V signalling, and not every operating system
            // takes it away.
            self.power_off();
        }
        // Ends all DMA; should the controller not come out of it, there is no one left to tell.
        let _ = self.controller.reset(self.first_voltage_is_low());
        self.drive_pads(Timing::Default);
        self.power_on();
    }
}

/// Gives a buffer to the controller; an empty one stays here.
fn receive<'b, D: Dma>(
    dma: &'b D,
    buffer: &'b mut [u8],
) -> Result<Option<dma::Receive<'b, D>>, Error> {
    if buffer.is_empty() {
        return Ok(None);
    }
    dma::Receive::begin(dma, buffer).map(Some).map_err(unreachable)
}

fn unreachable(_: dma::Error) -> Error {
    Error::Unreachable
}
