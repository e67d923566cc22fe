//! DRAM bring-up on a controller and PHY that answer anything, with training firmware that mails
//! anything: it ends after a bounded time, with memory or with the first step that failed, after
//! which nothing is written.
#![no_main]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use firn::{
    board::MEMORIES,
    ddr::{
        Cause, Error, Step, bring_up, examine,
        firmware::{Firmware, Image},
        saved,
    },
    mmio::Bus,
    time::Clock,
};
use firn_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

/// Longer than all waits of all training runs together.
const LONGEST: Duration = Duration::from_secs(600);
/// What a look at the clock takes; deadlines are seconds.
const LOOK: Duration = Duration::from_millis(5);

/// Registers of the PHY: `UctShadowRegs`, the halves of a mail, `DctWriteProt`.
const MAIL_STATE: u32 = phy(0xd_0004);
const MAIL_LOW: u32 = phy(0xd_0032);
const MAIL_HIGH: u32 = phy(0xd_0034);
const MAIL_TAKEN: u32 = phy(0xd_0031);
/// Where the firmware leaves its results.
const RESULTS: u32 = phy(0x5_4000);
const RESULT_WORDS: u32 = 0x80;
const PASSED: u32 = 7;

const fn phy(register: u32) -> u32 {
    0x3c00_0000 + 4 * register
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let flags = input.byte();
    let timing = MEMORIES[usize::from(flags >> 4) % MEMORIES.len()].timing;
    let odd: Vec<_> = (0..flags % 4).map(|_| (u32::from(input.u16()), input.u32())).collect();
    let bench = Bench {
        registers: RefCell::default(),
        looks: Cell::new(0),
        repeats: Cell::new(0),
        last: Cell::new(None),
        time: Cell::new(Duration::ZERO),
        odd,
        is_silent: flags & 4 != 0,
        mail: Cell::new(Mail::Ready(0)),
        mails: Cell::new(0),
        results: input.array(),
        input: Cell::new(input),
    };
    let is_good = data.iter().all(|&byte| byte == 0);
    bench.next_mail();
    let program = Image::new(&[1, 2, 3, 4], &[5, 6, 7, 8]).expect("a small program");
    let firmware = Firmware { one_d: program, two_d: program };
    let mut room = vec![0; saved::words(timing)];
    let saved = saved::Saved::new(saved::ADDRESS, &mut room, timing).expect("room enough");
    let error = match bring_up(&bench, &bench, timing, firmware, saved) {
        Ok(online) => {
            let memory = online.dram();
            assert!(memory.bytes > 0 && memory.ranks > 0, "{memory:?}");
            assert_eq!(online.findings().runs().count(), timing.runs.len());
            for run in online.findings().runs() {
                assert!(run.heard.words > 0 && run.heard.last.is_some(), "{run:?}");
            }
            return;
        }
        Err(error) => error,
    };
    assert!(!is_good, "{error}");
    assert!(!error.to_string().contains(is_odd), "{error:?}");
    assert!(error.heard.words <= bench.mails.get() || !bench.odd.is_empty(), "{error:?}");
    if let Cause::NoAnswer { register, read, .. } = error.cause {
        assert_eq!(bench.last.get(), Some((register, read)), "{error} is not what was seen last");
    }
    let examined: Error = examine(error, &bench, &bench);
    assert_eq!(examined.evidence.is_some(), error.step == Step::Train);
    assert!(!examined.to_string().contains(is_odd), "{examined:?}");
});

/// Registers that hold what was written. One that is looked at again and again becomes anything, in
/// turn: whoever waits for something sees it.
struct Bench<'a> {
    registers: RefCell<BTreeMap<u32, u32>>,
    looks: Cell<u32>,
    /// How often the last one was looked at before, one look after the other.
    repeats: Cell<u32>,
    /// What was read last, if nothing was written since.
    last: Cell<Option<(u32, u32)>>,
    time: Cell<Duration>,
    /// Which looks see something else.
    odd: Vec<(u32, u32)>,
    /// Whether the firmware says no more when the input ends; else it has passed.
    is_silent: bool,
    mail: Cell<Mail>,
    mails: Cell<u32>,
    results: [u8; 16],
    input: Cell<Input<'a>>,
}

#[derive(Clone, Copy)]
enum Mail {
    Ready(u32),
    Taken,
    None,
}

impl Bench<'_> {
    /// A word of the firmware: a code of one byte, or any.
    fn next_mail(&self) {
        let mut input = self.input.get();
        let word = match input.byte() {
            _ if self.is_silent && input.is_empty() => return self.mail.set(Mail::None),
            0 if input.is_empty() => PASSED,
            0xf0..=0xfe => input.u32(),
            code => code.into(),
        };
        self.input.set(input);
        self.mails.set(self.mails.get() + 1);
        if word & 0xffff == PASSED {
            let mut registers = self.registers.borrow_mut();
            for (index, result) in (0..RESULT_WORDS).zip(self.results.iter().cycle()) {
                registers.insert(RESULTS + 4 * index, u32::from(*result) * 0x101);
            }
        }
        self.mail.set(Mail::Ready(word));
    }

    fn look(&self, address: u32) -> u32 {
        match (address, self.mail.get()) {
            (MAIL_STATE, Mail::Ready(_)) => return 0,
            (MAIL_STATE, _) => return 1,
            (MAIL_LOW, Mail::Ready(word)) => return word & 0xffff,
            (MAIL_HIGH, Mail::Ready(word)) => return word >> 16,
            _ => {}
        }
        let repeats = match self.last.get() {
            Some((last, _)) if last == address => self.repeats.get() + 1,
            _ => 0,
        };
        self.repeats.set(repeats);
        match repeats {
            0 => self.registers.borrow().get(&address).copied().unwrap_or(0),
            1 => 0,
            2 => u32::MAX,
            later => later - 2,
        }
    }
}

impl Bus for Bench<'_> {
    fn read16(&self, address: u32) -> u16 {
        self.read32(address) as u16
    }

    fn write16(&self, address: u32, value: u16) {
        self.write32(address, value.into());
    }

    fn read32(&self, address: u32) -> u32 {
        assert!(address.is_multiple_of(4), "{address:#x} is not aligned");
        self.looks.set(self.looks.get() + 1);
        let seen = self.look(address);
        let odd = self.odd.iter().find(|(look, _)| *look == self.looks.get());
        let seen = odd.map_or(seen, |(_, value)| *value);
        self.last.set(Some((address, seen)));
        seen
    }

    fn write32(&self, address: u32, value: u32) {
        assert!(address.is_multiple_of(4), "{address:#x} is not aligned");
        self.last.set(None);
        self.registers.borrow_mut().insert(address, value);
        match (address, value & 1, self.mail.get()) {
            (MAIL_TAKEN, 0, Mail::Ready(_)) => self.mail.set(Mail::Taken),
            (MAIL_TAKEN, 1, Mail::Taken) => self.next_mail(),
            _ => {}
        }
    }
}

impl Clock for Bench<'_> {
    fn now(&self) -> Duration {
        self.time.set(self.time.get() + LOOK);
        assert!(self.time.get() < LONGEST, "endless waiting");
        self.time.get()
    }
}

/// What has no place in a report of several lines.
fn is_odd(character: char) -> bool {
    character.is_control() && character != '\n'
}
