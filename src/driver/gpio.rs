//! Pins of the i.MX GPIO block behind `embedded-hal`'s traits.
//!
//! A [`Pin`] relies on its pad being multiplexed to GPIO ([`crate::soc::iomuxc`]). Source: i.MX 8M
//! Plus reference manual, chapter 8 (GPIO_DR, GPIO_GDIR, GPIO_PSR).

#![forbid(unsafe_code)]

use core::convert::Infallible;

use embedded_hal::digital::{ErrorType, InputPin, OutputPin};

use crate::mmio::Bus;

const DATA: u32 = 0x0;
const DIRECTION: u32 = 0x4;
const PAD_STATUS: u32 = 0x8;

/// Which pin, and which of its levels means "on".
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Base address of the GPIO block.
    pub block: u32,
    /// 0 to 31.
    pub number: u8,
    /// Low level means "on", "present", "pressed".
    pub active_low: bool,
}

/// A pin in use. High, in the sense of `embedded-hal`, is the level that means "on".
#[derive(Debug)]
pub struct Pin<B> {
    bus: B,
    line: Line,
}

impl<B: Bus> Pin<B> {
    /// Makes `line` an input.
    pub fn input(bus: B, line: Line) -> Self {
        let pin = Self { bus, line };
        pin.bus.modify32(line.block + DIRECTION, pin.mask(), 0);
        pin
    }

    /// Makes `line` an output that keeps its level if somebody drives it, and is "on" otherwise.
    pub fn output(bus: B, line: Line) -> Self {
        let pin = Self { bus, line };
        if pin.bus.read32(line.block + DIRECTION) & pin.mask() == 0 {
            pin.drive(!line.active_low);
            pin.bus.modify32(line.block + DIRECTION, 0, pin.mask());
        }
        pin
    }

    /// Whether "on" is the level that it is driven to as an output.
    pub fn is_set_on(&self) -> bool {
        let high = self.bus.read32(self.line.block + DATA) & self.mask() != 0;
        high != self.line.active_low
    }

    fn mask(&self) -> u32 {
        1 << self.line.number
    }

    fn drive(&self, high: bool) {
        let (clear, set) = if high { (0, self.mask()) } else { (self.mask(), 0) };
        self.bus.modify32(self.line.block + DATA, clear, set);
    }
}

impl<B> ErrorType for Pin<B> {
    type Error = Infallible;
}

impl<B: Bus> OutputPin for Pin<B> {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.drive(self.line.active_low);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.drive(!self.line.active_low);
        Ok(())
    }
}

impl<B: Bus> InputPin for Pin<B> {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        let level = self.bus.read32(self.line.block + PAD_STATUS) & self.mask() != 0;
        Ok(level != self.line.active_low)
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        self.is_high().map(|high| !high)
    }
}
