//! The card clock: what is divided by what.

/// Identification runs at this clock or below, in hertz (SD 6.6.6, eMMC 6.15.6).
pub(super) const IDENTIFICATION_HERTZ: u32 = 400_000;

/// What the controller gives a card to send its next block, in half seconds.
pub(super) const READ_TIME_OUT: u32 = 1;
/// What it gives one to take a block in and to be busy with it, in half seconds; at the fastest
/// clocks its counter ends before.
pub(super) const WRITE_TIME_OUT: u32 = 4;

/// Settings of the divider chain, and what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Divider {
    /// SDCLKFS: the prescaler (a power of two up to 256) halved.
    pub(super) sdclkfs: u32,
    /// DVS: the divisor (1 to 16) less 1.
    pub(super) dvs: u32,
    /// The card clock, in hertz.
    pub(super) hertz: u32,
}

impl Divider {
    /// The fastest setting that makes at most `wanted` hertz from `root`; the slowest there is, if
    /// none does. In double data rate modes the controller halves the clock once more.
    pub(super) fn for_clock(root: u32, wanted: u32, ddr: bool) -> Self {
        let halves = if ddr { 2 } else { 1 };
        let mut prescaler = 1;
        while prescaler < 256 && root / (16 * prescaler * halves) > wanted {
            prescaler *= 2;
        }
        let mut divisor = 1;
        while divisor < 16 && root / (divisor * prescaler * halves) > wanted {
            divisor += 1;
        }
        Self {
            sdclkfs: prescaler >> 1,
            dvs: divisor - 1,
            hertz: root / (divisor * prescaler * halves),
        }
    }

    /// DTOCV: the data time-out counter that runs for so many half seconds or a little more.
    pub(super) fn time_out(&self, half_seconds: u32) -> u32 {
        let clocks = self.hertz / 2 * half_seconds;
        (0..15).find(|counter| 1u32 << (13 + counter) >= clocks).unwrap_or(15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SYS_CTRL[15:4] as U-Boot and Linux program it from a 400 MHz root.
    fn field(wanted: u32, ddr: bool) -> u32 {
        let divider = Divider::for_clock(400_000_000, wanted, ddr);
        divider.sdclkfs << 4 | divider.dvs
    }

    #[test]
    fn settings_are_those_of_the_peers() {
        assert_eq!(field(400_000, false), 0x20f);
        assert_eq!(field(25_000_000, false), 0x00f);
        assert_eq!(field(50_000_000, false), 0x007);
        assert_eq!(field(100_000_000, false), 0x003);
        assert_eq!(field(200_000_000, false), 0x001);
        assert_eq!(field(208_000_000, false), 0x001);
        assert_eq!(field(200_000_000, true), 0x000);
        assert_eq!(field(52_000_000, true), 0x003);
    }

    #[test]
    fn clock_is_never_above_the_wanted_one() {
        for wanted in [100_000, 400_000, 1_000_000, 26_000_000, 52_000_000, 199_999_999] {
            for ddr in [false, true] {
                assert!(Divider::for_clock(400_000_000, wanted, ddr).hertz <= wanted);
            }
        }
    }

    #[test]
    fn data_time_out_is_at_least_half_a_second_at_every_clock() {
        for wanted in [400_000, 25_000_000, 200_000_000] {
            let divider = Divider::for_clock(400_000_000, wanted, false);
            assert!(1u64 << (13 + divider.time_out(READ_TIME_OUT)) >= u64::from(divider.hertz / 2));
        }
    }
}
