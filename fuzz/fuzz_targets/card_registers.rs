//! Cards whose registers hold anything and that answer any command otherwise than they should: each
//! ends with a card in a mode that the board allows or an error, after a bounded time, and a card that
//! is protected is not written to.
#![no_main]

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use firn::{
    board::CardKind,
    dma::Buffer,
    driver::sd::{
        BusWidth, Card, Command, Error, Finished, Host, Incoming, Limits, Mode, ModeLimit,
        Outgoing, Response, ResponseKind, Signalling, Timing, Transfer,
    },
    time::Clock,
};
use firn_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

/// The longest that a card may keep a board, in the model's time: it is given up in every mode.
const LONGEST: Duration = Duration::from_secs(300);
/// Status of a card that waits for commands: ready, in transfer state, and as ACMDs want it.
const READY: u32 = 4 << 9 | 1 << 8 | 1 << 5;

const LIMITS: [Limits; 3] = [
    Limits {
        width: BusWidth::Four,
        signalling: Signalling::Switchable,
        modes: &[
            limit(Timing::HighSpeed),
            limit(Timing::Sdr25),
            limit(Timing::Sdr50),
            limit(Timing::Sdr104),
        ],
    },
    Limits {
        width: BusWidth::Eight,
        signalling: Signalling::Fixed1V8,
        modes: &[
            limit(Timing::HighSpeed),
            limit(Timing::Ddr52),
            limit(Timing::Hs200),
            limit(Timing::Hs400),
            limit(Timing::Hs400EnhancedStrobe),
        ],
    },
    Limits { width: BusWidth::Four, signalling: Signalling::Fixed3V3, modes: &[] },
];

const fn limit(timing: Timing) -> ModeLimit {
    ModeLimit { timing, hertz: timing.max_hertz() }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let flags = input.byte();
    let is_emmc = flags & 1 != 0;
    let slot = Slot {
        is_emmc,
        limits: LIMITS[usize::from(flags >> 1) % LIMITS.len()],
        ocr: 0x80ff_8000 | u32::from(input.byte()) << 24,
        csd: csd(&mut input, is_emmc),
        scr: registers(&mut input, [2, 0x35, 0x80, 3, 0, 0, 0, 0]),
        switch: switch_status(&mut input),
        ext_csd: ext_csd(&mut input),
        protected_by_switch: flags & 0x40 != 0,
        time: Cell::new(Duration::ZERO),
        odd: Vec::from(input.0).into_iter(),
        incoming: None,
    };
    let protected = slot.csd >> 12 & 3 != 0 || slot.protected_by_switch;
    let written = Rc::new(RefCell::new(false));
    let host = Watched { slot, written: Rc::clone(&written) };
    let limits = host.limits();
    let kind = if is_emmc { CardKind::Emmc } else { CardKind::Sd };
    let mut card = Card::new("card", kind, host);
    if let Err(error) = card.identify() {
        let is_good = data.iter().skip(1).all(|&byte| byte == 0);
        assert!(!is_good, "a good card: {error}");
        assert_eq!(card.mode(), None, "{error}");
        return drop(error.to_string());
    }
    let mode = card.mode().expect("the mode of a card that was identified");
    assert!(limits.allow(mode), "{mode}");
    let mut blocks = vec![0; 4 * 512];
    for first_block in [0, 1, 0x1_0000, 1 << 22, u64::MAX >> 9, u64::MAX] {
        let outcome = card.read_blocks(first_block, &mut blocks);
        // 2 TiB are the most that a command can ask for.
        assert!(outcome.is_err() || first_block < 1 << 32, "{first_block} was read");
        if let Ok(()) = card.start_read(first_block, Buffer::new(1024)) {
            let _ = card.finish_read();
        }
    }
    let _ = card.write_blocks(0, &blocks[..512]);
    assert!(!(protected && *written.borrow()), "a protected card was written to");
    card.stop();
});

/// That of a good card, changed.
fn csd(input: &mut Input<'_>, is_emmc: bool) -> u128 {
    let usual: u128 = match is_emmc {
        false => 0x400e_0032_5b59_0000_3b37_7f80_0a40_4000,
        true => 0xd027_0132_0f59_03ff_f6db_ffef_8e40_4000,
    };
    let changes = input.byte() % 6;
    (0..changes).fold(usual, |csd, _| {
        let place = u32::from(input.byte() % 16) * 8;
        csd & !(0xff << place) | u128::from(input.byte()) << place
    })
}

fn registers<const SIZE: usize>(input: &mut Input<'_>, mut usual: [u8; SIZE]) -> [u8; SIZE] {
    for _ in 0..input.byte() % 6 {
        usual[usize::from(input.u16()) % SIZE] = input.byte();
    }
    usual
}

fn switch_status(input: &mut Input<'_>) -> [u8; 64] {
    let mut usual = [0; 64];
    usual[13] = 0x1f;
    registers(input, usual)
}

/// JESD84-B51, 7.4: revision 8, HS400 with enhanced strobe, 16 GB, reliable writes.
fn ext_csd(input: &mut Input<'_>) -> [u8; 512] {
    let mut usual = [0; 512];
    for (at, value) in [(192, 8), (196, 0x57), (184, 1), (215, 1), (222, 1), (166, 4)] {
        usual[at] = value;
    }
    // Fields that are looked at are changed more often than others.
    const KNOWN: [usize; 12] = [33, 166, 183, 184, 185, 192, 196, 212, 213, 214, 215, 222];
    for _ in 0..input.byte() % 4 {
        usual[KNOWN[usize::from(input.byte()) % KNOWN.len()]] = input.byte();
    }
    registers(input, usual)
}

/// A slot with its card.
struct Slot {
    is_emmc: bool,
    limits: Limits,
    ocr: u32,
    csd: u128,
    scr: [u8; 8],
    switch: [u8; 64],
    ext_csd: [u8; 512],
    protected_by_switch: bool,
    time: Cell<Duration>,
    /// What the card does at each command: 0 is what it should do.
    odd: std::vec::IntoIter<u8>,
    incoming: Option<Incoming>,
}

impl Slot {
    fn spend(&self, time: Duration) {
        self.time.set(self.time.get() + time);
        assert!(self.time.get() < LONGEST, "a card keeps the board for ever");
    }

    fn answer(&mut self, command: Command) -> Result<Response, Error> {
        self.spend(Duration::from_micros(50));
        let index = command.index;
        match self.odd.next().unwrap_or(0) {
            1 => return Err(Error::NoResponse(index)),
            2 => return Err(Error::DamagedResponse(index)),
            3 => return Err(Error::Busy(index)),
            4 => return Err(Error::DamagedData(index)),
            5 => return Err(Error::NoData(index)),
            6 => {
                let word: Vec<u8> = self.odd.by_ref().take(4).collect();
                let word = Input(&word).u32();
                return Ok(Response([word, !word, word, word]));
            }
            _ => {}
        }
        let short = |word| Ok(Response([word, 0, 0, READY]));
        let long = |register: u128| {
            let bits = register >> 8;
            Ok(Response(std::array::from_fn(|word| (bits >> (32 * word)) as u32)))
        };
        match (index, command.response) {
            (8, ResponseKind::Short) if !self.is_emmc => short(command.argument),
            (8 | 55, _) | (41, _) if self.is_emmc => Err(Error::NoResponse(index)),
            (1, _) if !self.is_emmc => Err(Error::NoResponse(index)),
            (1 | 41, _) => short(self.ocr),
            (2, _) => long(0x1234_5678_9abc_def0_1122_3344_5566_7700),
            (9, _) => long(self.csd),
            (3, _) if !self.is_emmc => short(0x1234_0000 | 0x500),
            (6, ResponseKind::ShortBusy) if self.is_emmc => {
                let [_, value, field, _] = command.argument.to_le_bytes();
                self.ext_csd[usize::from(field)] = value;
                short(READY)
            }
            _ => short(READY),
        }
    }

    /// What a command brings.
    fn data(&mut self, command: Command, destination: &mut [u8]) {
        let register: &[u8] = match command.index {
            51 => &self.scr,
            6 => {
                let function = (command.argument & 0xf) as u8;
                if function != 0xf && self.switch[16] == 0 {
                    destination.copy_from_slice(&self.switch[..destination.len().min(64)]);
                    destination[16] = function;
                    return;
                }
                &self.switch
            }
            8 => &self.ext_csd,
            _ => &[],
        };
        destination.fill(0);
        destination.iter_mut().zip(register).for_each(|(to, from)| *to = *from);
    }
}

/// The slot, and what must not be done to it.
struct Watched {
    slot: Slot,
    written: Rc<RefCell<bool>>,
}

impl Clock for Watched {
    fn now(&self) -> Duration {
        self.slot.spend(Duration::from_micros(1));
        self.slot.time.get()
    }
}

impl Host for Watched {
    fn limits(&self) -> Limits {
        self.slot.limits
    }

    fn card_present(&mut self) -> bool {
        true
    }

    fn delay_us(&mut self, microseconds: u32) {
        self.slot.spend(Duration::from_micros(microseconds.into()));
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.slot.incoming = None;
        self.slot.spend(Duration::from_millis(20));
        Ok(())
    }

    fn set_mode(&mut self, mode: Mode) -> Result<(), Error> {
        // Timings are changed one after the other: on the way to HS400 the board must only carry
        // the clock of the timing that it allows in the end.
        let is_usual = matches!(mode.timing, Timing::Default | Timing::HighSpeed);
        assert!(mode.width <= self.slot.limits.width, "{mode}");
        assert!(is_usual || self.slot.limits.allow(mode), "{mode}");
        Ok(())
    }

    fn switch_to_1v8(&mut self) -> Result<(), Error> {
        assert_eq!(self.slot.limits.signalling, Signalling::Switchable);
        Ok(())
    }

    fn tune(&mut self, index: u8) -> Result<(), Error> {
        self.slot.answer(Command::new(index, 0, ResponseKind::Short)).map(drop)
    }

    fn command(&mut self, command: Command) -> Result<Response, Error> {
        assert!(command.index < 64, "{command:?}");
        self.slot.answer(command)
    }

    fn read(&mut self, transfer: Transfer<'_>) -> Result<Response, Error> {
        let Transfer { command, block_size, destination, .. } = transfer;
        assert!((1..=512).contains(&block_size) && !destination.is_empty(), "{command:?}");
        assert!(destination.len().is_multiple_of(block_size.into()), "{command:?}");
        // Registers are read with the same commands that are answered without data.
        let response = match command.index {
            8 => self.slot.answer(Command { index: 17, ..command })?,
            _ => self.slot.answer(command)?,
        };
        self.slot.data(command, destination);
        Ok(response)
    }

    fn start(&mut self, incoming: Incoming) -> Result<(), Finished> {
        match self.slot.answer(incoming.command) {
            Ok(_) => {
                self.slot.incoming = Some(incoming);
                Ok(())
            }
            Err(error) => Err(Finished::failed((error, incoming.buffer))),
        }
    }

    fn finish(&mut self) -> Option<Finished> {
        let Incoming { command, buffer, .. } = self.slot.incoming.take()?;
        let outcome = self.slot.answer(command).and_then(|answer| answer.check(command.index));
        Some(Finished { outcome: outcome.map(drop), buffer: Some(buffer) })
    }

    fn finish_and_start(
        &mut self,
        incoming: Incoming,
    ) -> Result<(Buffer, Result<(), Finished>), (Finished, Buffer)> {
        match self.finish() {
            Some(Finished { outcome: Ok(()), buffer: Some(buffer) }) => {
                Ok((buffer, self.start(incoming)))
            }
            Some(finished) => Err((finished, incoming.buffer)),
            None => Err((Finished { outcome: Err(Error::NoCard), buffer: None }, incoming.buffer)),
        }
    }

    fn write_protected(&self) -> bool {
        self.slot.protected_by_switch
    }

    fn write(&mut self, outgoing: Outgoing<'_>) -> Result<Response, Error> {
        assert!(outgoing.source.len().is_multiple_of(512));
        *self.written.borrow_mut() = true;
        self.slot.answer(outgoing.command)
    }

    fn stop(&mut self) {}
}
