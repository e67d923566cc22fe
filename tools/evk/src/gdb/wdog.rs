//! Watchdog 1 until it counts, and what it told of the reset before.
//!
//! QEMU's own forgets its reset status with the reset, and does not tell how it will bite: by its pin,
//! which boards wire to the PMIC, or within the chip. Once it counts, QEMU's answers for itself.
//!
//! Source: i.MX 8M Plus reference manual, "Watchdog Timer (WDOG)".

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Device, Machine};
use crate::access::Width;

/// Where it is.
pub const BASE: u64 = 0x3028_0000;
/// How much room it has.
pub const LENGTH: u64 = 0x1000;

const WCR: u64 = 0;
const WSR: u64 = 2;
const WRSR: u64 = 4;
const WICR: u64 = 6;
const WMCR: u64 = 8;

const WDE: u16 = 1 << 2;
/// Time-out asserts the pin.
const WDT: u16 = 1 << 3;
/// Clear resets the chip.
const SRS: u16 = 1 << 4;
/// Clear asserts the pin.
const WDA: u16 = 1 << 5;
/// WDZST, WDBG, WDW: as the first write sets them.
const FIRST_WRITE: u16 = 1 | 1 << 1 | 1 << 7;
/// As the first write that sets them.
const SET_ONCE: u16 = WDE | WDT;
const TIME: u16 = 0xff00;
/// The shortest time that QEMU counts: of less it makes a reset on the spot, under the feet of whoever
/// answers at its port.
const SHORTEST: u16 = 1 << 8;

/// How a watchdog reset the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bite {
    /// It asserts its pin, which boards wire to the PMIC.
    pub pin: bool,
    /// Software told it to; else nobody served it.
    pub by_software: bool,
}

/// What is known of it after a reset.
pub type Shared = Arc<Mutex<Option<Bite>>>;

/// The watchdog.
#[derive(Debug)]
pub struct Wdog {
    control: u16,
    is_written: bool,
    reset_status: u16,
    /// What its next bite will be.
    bite: Shared,
    refusal: Option<String>,
}

impl Wdog {
    /// One after a reset, whose cause it tells.
    pub fn new(reset_status: u16) -> Self {
        Self {
            control: SRS | WDA,
            is_written: false,
            reset_status,
            bite: Shared::default(),
            refusal: None,
        }
    }

    /// How it is going to reset the board, if it does.
    pub fn bite(&self) -> Shared {
        Arc::clone(&self.bite)
    }

    fn control(&mut self, written: u16, machine: &mut dyn Machine) {
        let before = self.control;
        let mut value = written;
        if self.is_written {
            value = value & !FIRST_WRITE | before & FIRST_WRITE | before & SET_ONCE;
        }
        self.is_written = true;
        self.control = value | SRS | WDA;
        let told = !value & (SRS | WDA);
        if self.is_told() {
            // The reset is under way.
        } else if told != 0 {
            self.expect(Bite { pin: told & WDA != 0, by_software: true });
            self.count(SHORTEST | WDE | SRS | WDA, machine);
        } else if value & WDE != 0 && (value ^ before) & (TIME | WDE) != 0 {
            self.expect(Bite { pin: value & WDT != 0, by_software: false });
            self.count(value, machine);
        }
    }

    fn next(&self) -> MutexGuard<'_, Option<Bite>> {
        self.bite.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_told(&self) -> bool {
        self.next().is_some_and(|next| next.by_software)
    }

    fn expect(&self, bite: Bite) {
        *self.next() = Some(bite);
    }

    /// Lets QEMU's count.
    fn count(&mut self, value: u16, machine: &mut dyn Machine) {
        self.pass(BASE + WCR, value.max(value & !TIME | SHORTEST), machine);
    }

    fn pass(&mut self, address: u64, value: u16, machine: &mut dyn Machine) {
        if let Err(error) = machine.write(address, &value.to_le_bytes()) {
            self.refusal = Some(format!("QEMU: {error:#}"));
        }
    }
}

impl Device for Wdog {
    fn read(&mut self, offset: u64, _: Width, _: &mut dyn Machine) -> u64 {
        u64::from(match offset {
            WCR => self.control,
            WRSR => self.reset_status,
            // The interrupt would come two seconds before.
            WICR => 4,
            _ => 0,
        })
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, machine: &mut dyn Machine) {
        let value = u16::try_from(value & 0xffff).unwrap_or_default();
        if width != Width::Half {
            self.refusal = Some(format!("watchdog 1 + {offset} is written with {width:?}"));
            return;
        }
        match offset {
            WCR => self.control(value, machine),
            WSR => self.pass(BASE + WSR, value, machine),
            WICR | WMCR => {}
            _ => self.refusal = Some(format!("watchdog 1 has no register at {offset}")),
        }
    }

    fn refusal(&mut self) -> Option<String> {
        self.refusal.take()
    }

    /// When it counts. A look that stops the machine would be a wait, over whose minutes a clock passes
    /// that skips waits; what there is to know of the next bite is known.
    fn is_done(&self) -> bool {
        self.next().is_some_and(|next| !next.by_software)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::Result;

    use super::*;

    /// What was written to QEMU's watchdogs.
    #[derive(Default)]
    struct Written(Vec<(u64, u16)>);

    impl Machine for Written {
        fn now(&self) -> Duration {
            Duration::ZERO
        }
        fn read(&mut self, _: u64, _: &mut [u8]) -> Result<()> {
            Ok(())
        }
        fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
            self.0.push((address, u16::from_le_bytes(bytes.try_into()?)));
            Ok(())
        }
    }

    fn after(controls: &[u16]) -> (Wdog, Vec<(u64, u16)>) {
        let (mut wdog, mut written) = (Wdog::new(0x10), Written::default());
        for control in controls {
            wdog.write(WCR, Width::Half, (*control).into(), &mut written);
        }
        assert_eq!(wdog.refusal(), None);
        (wdog, written.0)
    }

    fn bite(wdog: &Wdog) -> Option<Bite> {
        *wdog.bite.lock().unwrap()
    }

    #[test]
    fn when_it_counts_qemus_answers_for_itself_and_how_it_will_bite_is_known() {
        let (wdog, written) = after(&[0xff3f]);
        assert_eq!(written, [(BASE, 0xff3f)]);
        assert_eq!(bite(&wdog), Some(Bite { pin: true, by_software: false }));
        assert!(wdog.is_done() && !after(&[0x14]).0.is_done());
    }

    #[test]
    fn software_resets_by_the_pin_or_without_it() {
        assert_eq!(bite(&after(&[0x14]).0), Some(Bite { pin: true, by_software: true }));
        assert_eq!(bite(&after(&[0x24]).0), Some(Bite { pin: false, by_software: true }));
        // The first word counts.
        assert_eq!(bite(&after(&[0x24, 0x14]).0), Some(Bite { pin: false, by_software: true }));
    }

    #[test]
    fn it_tells_what_the_reset_left() {
        assert_eq!(Wdog::new(0x2).read(WRSR, Width::Half, &mut Written::default()), 2);
    }
}
