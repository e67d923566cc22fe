//! The console's UART.
//!
//! Polled. A screen takes a third of a second at 115,200 baud, longer than the receive FIFO holds
//! typed keys; so whoever waits to send collects what has arrived. A transmitter that stops does
//! not stop the boot: after one deadline, output is dropped until it moves again.
//!
//! Source: i.MX 8M Plus reference manual, "Universal Asynchronous Receiver/Transmitter (UART)".

#![forbid(unsafe_code)]

use core::fmt;
use core::time::Duration;

use crate::mmio::Bus;
use crate::time::{Clock, Deadline, poll};

/// Receiver register.
const URXD: u32 = 0x00;
const URXD_CHARACTER_READY: u32 = 1 << 15;
const URXD_FRAME_ERROR: u32 = 1 << 12;
const URXD_BREAK: u32 = 1 << 11;
const URXD_PARITY_ERROR: u32 = 1 << 10;
/// Transmitter register.
const UTXD: u32 = 0x40;
const UCR1: u32 = 0x80;
const UCR1_ENABLE: u32 = 1 << 0;
const UCR2: u32 = 0x84;
/// Clear resets the state machines and FIFOs; reads as set when that is done.
const UCR2_NOT_RESET: u32 = 1 << 0;
const UCR2_RECEIVE: u32 = 1 << 1;
const UCR2_TRANSMIT: u32 = 1 << 2;
const UCR2_EIGHT_BITS: u32 = 1 << 5;
const UCR2_IGNORE_RTS: u32 = 1 << 14;
const UCR3: u32 = 0x88;
/// The modem lines at rest, and autobaud off.
const UCR3_AT_REST: u32 = 0x780;
/// Must be set: the receiver listens to its pad through the multiplexer.
const UCR3_RXD_MUXED: u32 = 1 << 2;
const UCR4: u32 = 0x8c;
/// CTS trigger level 32, the reset value.
const UCR4_RESET: u32 = 0x8000;
const UFCR: u32 = 0x90;
/// Reference clock divided by 2 (field 9:7 = 4), trigger levels 2 to send and 1 to receive.
const UFCR_DIVIDE_BY_2: u32 = 2 << 10 | 4 << 7 | 1;
const USR2: u32 = 0x98;
const USR2_TRANSMIT_DONE: u32 = 1 << 3;
/// A character was discarded because the FIFO was full; written as one to clear.
const USR2_OVERRUN: u32 = 1 << 1;
const UBIR: u32 = 0xa4;
const UBMR: u32 = 0xa8;
const UTS: u32 = 0xb4;
const UTS_TX_FULL: u32 = 1 << 4;
const UTS_RX_EMPTY: u32 = 1 << 5;

/// 24 MHz / 2 * (UBIR + 1) / (16 * (UBMR + 1)) = 115,385 baud, 0.16 % fast.
const UBIR_115200: u32 = 15;
const UBMR_115200: u32 = 103;

/// Characters in each FIFO.
const FIFO: usize = 32;

/// A character takes 87 us, so a FIFO that was full for this long is stuck.
const STUCK_AFTER: Duration = Duration::from_millis(20);

/// Keys kept: more than anybody types ahead, or pastes as one command line.
const KEYS: usize = 1024;

/// The UART at a base address, and the keys that it has received.
pub struct Uart<B, C> {
    bus: B,
    clock: C,
    base: u32,
    keys: Keys,
    stuck: bool,
    lost: bool,
}

impl<B: Bus, C: Clock> Uart<B, C> {
    /// Touches nothing yet.
    pub const fn new(bus: B, clock: C, base: u32) -> Self {
        Self { bus, clock, base, keys: Keys::new(), stuck: false, lost: false }
    }

    /// Sets up pads and clock (`setup`: the board's register writes), then 115,200 baud, 8N1. What
    /// a stage before still has to send is sent, what was typed to it is kept.
    pub fn initialise(&mut self, setup: &[(u32, u32)]) {
        for &(register, value) in setup {
            self.bus.write32(register, value);
        }
        if self.read32(UCR1) & UCR1_ENABLE != 0 {
            self.flush();
            self.collect();
        }
        self.write32(UCR1, 0);
        self.write32(UCR2, 0);
        // Without an answer there is nobody to tell; what follows does no harm.
        let _ = poll(&self.clock, STUCK_AFTER, || {
            (self.read32(UCR2) & UCR2_NOT_RESET != 0).then_some(())
        });
        self.write32(UCR3, UCR3_AT_REST | UCR3_RXD_MUXED);
        self.write32(UCR4, UCR4_RESET);
        self.write32(UTS, 0);
        self.write32(UFCR, UFCR_DIVIDE_BY_2);
        // In this order: the divider takes over when UBMR is written.
        self.write32(UBIR, UBIR_115200);
        self.write32(UBMR, UBMR_115200);
        let line = UCR2_IGNORE_RTS | UCR2_EIGHT_BITS | UCR2_TRANSMIT | UCR2_RECEIVE;
        self.write32(UCR2, line | UCR2_NOT_RESET);
        self.write32(UCR1, UCR1_ENABLE);
    }

    /// Sends a byte, or drops it if the transmitter is stuck.
    pub fn write(&mut self, byte: u8) {
        let deadline = Deadline::after(&self.clock, STUCK_AFTER);
        loop {
            let last_look = self.stuck || deadline.passed(&self.clock);
            let status = self.read32(UTS);
            if status & UTS_RX_EMPTY == 0 {
                self.collect();
            }
            if status & UTS_TX_FULL == 0 {
                self.stuck = false;
                self.write32(UTXD, u32::from(byte));
                return;
            }
            if last_look {
                self.stuck = true;
                return;
            }
        }
    }

    /// The next byte that was typed, if there is one.
    pub fn read(&mut self) -> Option<u8> {
        self.collect();
        self.keys.pop()
    }

    /// Waits until the last byte is on the line.
    pub fn flush(&mut self) {
        let deadline = Deadline::after(&self.clock, STUCK_AFTER);
        loop {
            let last_look = deadline.passed(&self.clock);
            self.collect();
            if last_look || self.read32(USR2) & USR2_TRANSMIT_DONE != 0 {
                return;
            }
        }
    }

    /// Whether keys were lost since the last question.
    pub fn take_lost(&mut self) -> bool {
        core::mem::take(&mut self.lost)
    }

    /// Empties the receive FIFO, at most once, since a babbling line never lets it become empty.
    fn collect(&mut self) {
        for n in 0..FIFO {
            if self.read32(UTS) & UTS_RX_EMPTY != 0 {
                return;
            }
            let received = self.read32(URXD);
            if received & URXD_CHARACTER_READY == 0 {
                return;
            }
            if n == 0 && self.read32(USR2) & USR2_OVERRUN != 0 {
                self.write32(USR2, USR2_OVERRUN);
                self.lost = true;
            }
            // Noise, a break or another baud rate is no key.
            if received & (URXD_FRAME_ERROR | URXD_BREAK | URXD_PARITY_ERROR) == 0 {
                let byte = received.to_le_bytes()[0];
                self.lost |= !self.keys.push(byte);
            }
        }
    }

    fn read32(&self, register: u32) -> u32 {
        self.bus.read32(self.base + register)
    }

    fn write32(&self, register: u32, value: u32) {
        self.bus.write32(self.base + register, value);
    }
}

impl<B: Bus, C: Clock> fmt::Write for Uart<B, C> {
    /// Sends `text` as it is.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.write(byte));
        Ok(())
    }
}

/// Keys in the order of their arrival.
struct Keys {
    bytes: [u8; KEYS],
    first: usize,
    len: usize,
}

impl Keys {
    const fn new() -> Self {
        Self { bytes: [0; KEYS], first: 0, len: 0 }
    }

    /// Whether there was room.
    fn push(&mut self, byte: u8) -> bool {
        if self.len == KEYS {
            return false;
        }
        self.bytes[(self.first + self.len) % KEYS] = byte;
        self.len += 1;
        true
    }

    fn pop(&mut self) -> Option<u8> {
        self.len = self.len.checked_sub(1)?;
        let byte = self.bytes[self.first];
        self.first = (self.first + 1) % KEYS;
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use core::cell::{Cell, RefCell};
    use core::fmt::Write;
    use std::collections::{BTreeMap, VecDeque};
    use std::string::String;
    use std::vec::Vec;

    use super::*;

    const BASE: u32 = 0x3089_0000;
    /// Of the clock below.
    const TICK: Duration = Duration::from_micros(1);
    /// Ticks that a character takes on the line.
    const CHARACTER: u64 = 87;

    /// The UART with a line at both ends. Time passes with each look at the clock or a register.
    #[derive(Default)]
    struct Model {
        now: Cell<u64>,
        registers: RefCell<BTreeMap<u32, u32>>,
        transmit: RefCell<VecDeque<u8>>,
        sent: RefCell<Vec<u8>>,
        next_sent: Cell<u64>,
        receive: RefCell<VecDeque<u32>>,
        /// What the person types, and when.
        typed: RefCell<VecDeque<(u64, u8)>>,
        overrun: Cell<bool>,
        transmitter_stuck: Cell<bool>,
        babbles: bool,
        reset_never_ends: bool,
    }

    impl Model {
        fn tick(&self) {
            let now = self.now.get() + 1;
            self.now.set(now);
            let ready = !self.transmitter_stuck.get() && now >= self.next_sent.get();
            let next = ready.then(|| self.transmit.borrow_mut().pop_front()).flatten();
            if let Some(byte) = next {
                self.sent.borrow_mut().push(byte);
                self.next_sent.set(now + CHARACTER);
            }
            let mut typed = self.typed.borrow_mut();
            while typed.front().is_some_and(|&(when, _)| when <= now) {
                let (_, byte) = typed.pop_front().unwrap();
                self.arrive(URXD_CHARACTER_READY | u32::from(byte));
            }
        }

        fn arrive(&self, character: u32) {
            let mut receive = self.receive.borrow_mut();
            if receive.len() == FIFO {
                self.overrun.set(true);
            } else {
                receive.push_back(character);
            }
        }

        fn register(&self, offset: u32) -> u32 {
            self.registers.borrow().get(&(BASE + offset)).copied().unwrap_or(0)
        }

        fn enabled(&self) -> bool {
            self.register(UCR1) & UCR1_ENABLE != 0
        }

        fn sent(&self) -> String {
            String::from_utf8(self.sent.borrow().clone()).unwrap()
        }

        fn elapsed(&self) -> Duration {
            TICK * u32::try_from(self.now.get()).unwrap()
        }
    }

    fn flag(set: bool, bit: u32) -> u32 {
        if set { bit } else { 0 }
    }

    impl Bus for Model {
        fn read16(&self, _: u32) -> u16 {
            panic!("the UART has 32-bit registers")
        }
        fn write16(&self, _: u32, _: u16) {
            panic!("the UART has 32-bit registers")
        }
        fn read32(&self, address: u32) -> u32 {
            self.tick();
            match address - BASE {
                UTS => {
                    let full = self.transmit.borrow().len() == FIFO;
                    let empty = self.receive.borrow().is_empty() && !self.babbles;
                    flag(full, UTS_TX_FULL) | flag(empty, UTS_RX_EMPTY)
                }
                URXD if self.babbles => URXD_CHARACTER_READY | 0x55,
                URXD => self.receive.borrow_mut().pop_front().unwrap_or(0),
                USR2 => {
                    let line_idle = self.now.get() >= self.next_sent.get();
                    let done = self.transmit.borrow().is_empty() && line_idle;
                    flag(done, USR2_TRANSMIT_DONE) | flag(self.overrun.get(), USR2_OVERRUN)
                }
                UCR2 if !self.reset_never_ends => self.register(UCR2) | UCR2_NOT_RESET,
                offset => self.register(offset),
            }
        }
        fn write32(&self, address: u32, value: u32) {
            self.tick();
            self.registers.borrow_mut().insert(address, value);
            if address == BASE + UTXD {
                let sends = self.register(UCR2) & UCR2_TRANSMIT != 0;
                assert!(self.enabled() && sends, "sent before the UART was on");
                let mut transmit = self.transmit.borrow_mut();
                assert!(transmit.len() < FIFO, "sent into a full FIFO");
                transmit.push_back(u8::try_from(value).unwrap());
            }
            if address == BASE + USR2 && value & USR2_OVERRUN != 0 {
                self.overrun.set(false);
            }
            if address == BASE + UCR2 && value & UCR2_NOT_RESET == 0 {
                self.transmit.borrow_mut().clear();
                self.receive.borrow_mut().clear();
            }
        }
    }

    impl Clock for Model {
        fn now(&self) -> Duration {
            self.tick();
            self.elapsed()
        }
    }

    fn started(model: &Model) -> Uart<&Model, &Model> {
        let mut uart = Uart::new(model, model, BASE);
        uart.initialise(&[]);
        uart
    }

    #[test]
    fn runs_at_115200_baud_with_eight_bits_and_without_flow_control() {
        let model = Model::default();
        started(&model);
        let divider = match model.register(UFCR) >> 7 & 7 {
            6 => 7,
            field => 6 - field,
        };
        let baud =
            24_000_000 / divider * (model.register(UBIR) + 1) / (16 * (model.register(UBMR) + 1));
        assert!((114_624..=115_776).contains(&baud), "{baud}");
        assert_eq!(model.register(UCR2), 0x4027);
        assert!(model.enabled());
    }

    #[test]
    fn pads_and_clock_are_set_up_first() {
        let model = Model::default();
        let mut uart = Uart::new(&model, &model, BASE);
        uart.initialise(&[(0x3038_af80, 0x1000_0000)]);
        assert_eq!(model.registers.borrow()[&0x3038_af80], 0x1000_0000);
    }

    #[test]
    fn text_arrives_whole_and_in_order() {
        let model = Model::default();
        let mut uart = started(&model);
        let text: String = (0..500).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
        uart.write_str(&text).unwrap();
        uart.flush();
        assert_eq!(model.sent(), text);
    }

    #[test]
    fn keys_typed_while_a_screen_is_drawn_are_kept() {
        let model = Model::default();
        let mut uart = started(&model);
        let keys: Vec<u8> = (0..200u8).collect();
        let start = model.now.get();
        let arrivals = keys.iter().enumerate().map(|(n, &key)| (start + 87 * n as u64, key));
        model.typed.borrow_mut().extend(arrivals);
        uart.write_str(&"x".repeat(1920)).unwrap();
        let read: Vec<u8> = core::iter::from_fn(|| uart.read()).collect();
        assert_eq!(read, keys);
        assert!(!uart.take_lost());
    }

    #[test]
    fn keys_typed_to_the_stage_before_are_kept_and_its_output_is_finished() {
        let model = Model::default();
        {
            let mut before = started(&model);
            before.write_str("Starting kernel ...").unwrap();
        }
        model.typed.borrow_mut().push_back((0, b'q'));
        let mut uart = started(&model);
        assert_eq!(uart.read(), Some(b'q'));
        assert_eq!(model.sent(), "Starting kernel ...");
    }

    #[test]
    fn an_overrun_is_noticed_once() {
        let model = Model::default();
        let mut uart = started(&model);
        model.typed.borrow_mut().extend((0..40).map(|_| (0, b'k')));
        model.tick();
        let read: Vec<u8> = core::iter::from_fn(|| uart.read()).collect();
        assert_eq!(read.len(), FIFO);
        assert!(uart.take_lost());
        model.typed.borrow_mut().push_back((0, b'z'));
        assert_eq!(uart.read(), Some(b'z'));
        assert!(!uart.take_lost());
    }

    #[test]
    fn more_keys_than_anybody_types_ahead_are_reported_as_lost() {
        let model = Model { babbles: true, ..Model::default() };
        let mut uart = started(&model);
        uart.write_str(&"x".repeat(100)).unwrap();
        assert!(uart.take_lost());
        assert_eq!(uart.read(), Some(0x55));
    }

    #[test]
    fn noise_is_no_key() {
        let model = Model::default();
        let mut uart = started(&model);
        model.arrive(URXD_CHARACTER_READY | URXD_FRAME_ERROR | 0xf8);
        model.arrive(URXD_CHARACTER_READY | URXD_BREAK | URXD_FRAME_ERROR);
        model.arrive(URXD_CHARACTER_READY | u32::from(b'j'));
        assert_eq!(uart.read(), Some(b'j'));
        assert_eq!(uart.read(), None);
    }

    #[test]
    fn a_stuck_transmitter_costs_one_deadline_and_recovers() {
        let model = Model::default();
        let mut uart = started(&model);
        model.transmitter_stuck.set(true);
        let before = model.elapsed();
        uart.write_str(&"x".repeat(10_000)).unwrap();
        uart.flush();
        assert!(model.elapsed() - before < Duration::from_millis(100));
        model.transmitter_stuck.set(false);
        for _ in 0..100 * CHARACTER {
            model.tick();
        }
        uart.write_str("back").unwrap();
        uart.flush();
        assert!(model.sent().ends_with("back"));
    }

    #[test]
    fn a_uart_that_does_not_come_out_of_reset_does_not_stop_the_boot() {
        let model = Model { reset_never_ends: true, ..Model::default() };
        started(&model);
        assert!(model.elapsed() < Duration::from_millis(100));
    }

    #[test]
    fn a_babbling_line_does_not_stop_the_output() {
        let model = Model { babbles: true, ..Model::default() };
        let mut uart = started(&model);
        uart.write_str("hello").unwrap();
        uart.flush();
        assert_eq!(model.sent(), "hello");
    }
}
