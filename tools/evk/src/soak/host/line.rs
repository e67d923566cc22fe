//! The console's UART with a line at both ends, as far as the loader's driver looks at it.
//!
//! Source: i.MX 8M Plus reference manual, "Universal Asynchronous Receiver/Transmitter (UART)".

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    time::Duration,
};

use firn::{mmio::Bus, time::Clock};

use crate::soak::Random;

/// Where it is on the bus.
pub(super) const BASE: u32 = 0x3089_0000;

const URXD: u32 = 0x00;
const UTXD: u32 = 0x40;
const UCR2: u32 = 0x84;
const USR2: u32 = 0x98;
const UTS: u32 = 0xb4;

const READY: u32 = 1 << 15;
const OVERRUN: u32 = 1 << 1;
const TRANSMIT_DONE: u32 = 1 << 3;
const TX_FULL: u32 = 1 << 4;
const RX_EMPTY: u32 = 1 << 5;

/// Characters in each FIFO.
const FIFO: usize = 32;
/// What a character takes at 115,200 baud.
const CHARACTER: Duration = Duration::from_micros(87);
/// What a look at a register or the clock takes.
const LOOK: Duration = Duration::from_nanos(300);

/// The UART and who is at the other end of its line.
#[derive(Default)]
pub(super) struct Line {
    now: Cell<Duration>,
    transmit: Cell<usize>,
    next_sent: Cell<Duration>,
    sent: RefCell<Vec<u8>>,
    receive: RefCell<VecDeque<u8>>,
    overrun: Cell<bool>,
    typed: RefCell<VecDeque<u8>>,
    /// When the transmitter stands still.
    pub(super) stuck: Cell<Option<(Duration, Duration)>>,
    /// When the receiver babbles, and the noise.
    pub(super) babble: RefCell<Option<(Duration, Duration, Random)>>,
    next_noise: Cell<Duration>,
}

impl Line {
    /// Time on the line's clock.
    pub(super) fn elapsed(&self) -> Duration {
        self.now.get()
    }

    /// What was sent so far, also by a transmitter that nobody listens to.
    pub(super) fn sent(&self) -> String {
        String::from_utf8_lossy(&self.sent.borrow()).into_owned()
    }

    /// Whether what was sent ends so.
    pub(super) fn ends_with(&self, text: &str) -> bool {
        self.sent.borrow().ends_with(text.as_bytes())
    }

    /// A person types.
    pub(super) fn type_keys(&self, keys: &str) {
        self.typed.borrow_mut().extend(keys.bytes());
    }

    /// Whether all that was typed is on its way.
    pub(super) fn has_typed(&self) -> bool {
        self.typed.borrow().is_empty()
    }

    /// Whether the receiver babbles, or will.
    pub(super) fn babbles(&self) -> bool {
        self.babble.borrow().as_ref().is_some_and(|&(_, end, _)| self.now.get() < end)
    }

    /// The processor does something else for `time`.
    pub(super) fn spend(&self, time: Duration) {
        let now = self.now.get() + time;
        self.now.set(now);
        let stuck = self.stuck.get().is_some_and(|(from, to)| (from..to).contains(&now));
        while !stuck && self.transmit.get() > 0 && self.next_sent.get() <= now {
            self.transmit.set(self.transmit.get() - 1);
            self.next_sent.set(self.next_sent.get() + CHARACTER);
        }
        if self.receive.borrow().is_empty()
            && let Some(byte) = self.typed.borrow_mut().pop_front()
        {
            self.arrive(byte);
        }
        if let Some((from, to, dice)) = self.babble.borrow_mut().as_mut() {
            while now >= *from && self.next_noise.get().max(*from) < now.min(*to) {
                self.next_noise.set(self.next_noise.get().max(*from) + CHARACTER);
                if self.receive.borrow().len() >= FIFO {
                    self.overrun.set(true);
                    self.next_noise.set(now);
                } else {
                    self.arrive(dice.next().to_le_bytes()[0]);
                }
            }
        }
    }

    fn arrive(&self, byte: u8) {
        self.receive.borrow_mut().push_back(byte);
    }
}

impl Bus for Line {
    fn read16(&self, _: u32) -> u16 {
        panic!("the UART has 32-bit registers")
    }

    fn write16(&self, _: u32, _: u16) {
        panic!("the UART has 32-bit registers")
    }

    fn read32(&self, address: u32) -> u32 {
        self.spend(LOOK);
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        match address.wrapping_sub(BASE) {
            UTS => {
                let full = self.transmit.get() >= FIFO;
                if full {
                    // Nobody needs every look of a wait for a character's end.
                    self.spend(CHARACTER / 8);
                }
                flag(full, TX_FULL) | flag(self.receive.borrow().is_empty(), RX_EMPTY)
            }
            URXD => self.receive.borrow_mut().pop_front().map_or(0, |byte| READY | u32::from(byte)),
            USR2 => {
                self.spend(CHARACTER / 8);
                flag(self.transmit.get() == 0, TRANSMIT_DONE) | flag(self.overrun.get(), OVERRUN)
            }
            UCR2 => 1,
            _ => 0,
        }
    }

    fn write32(&self, address: u32, value: u32) {
        self.spend(LOOK);
        match address.wrapping_sub(BASE) {
            UTXD => {
                assert!(self.transmit.get() < FIFO, "a character sent into a full FIFO");
                if self.transmit.get() == 0 {
                    self.next_sent.set(self.now.get() + CHARACTER);
                }
                self.transmit.set(self.transmit.get() + 1);
                self.sent.borrow_mut().push(value.to_le_bytes()[0]);
            }
            USR2 if value & OVERRUN != 0 => self.overrun.set(false),
            _ => {}
        }
    }
}

impl Clock for Line {
    fn now(&self) -> Duration {
        self.spend(LOOK);
        self.now.get()
    }
}
