//! The timing that BL31 finds in OCRAM_S.
//!
//! TF-A reads it to put memory into retention and to change its speed: NXP's `dram_timing_info` with
//! 64-bit pointers, followed by what they point to. U-Boot's SPL leaves the same.

use super::timing::Timing;

/// Where i.MX 8M Plus's BL31 expects it.
pub const ADDRESS: u64 = 0x18_0000;
/// Words of 32 bits before the tables.
const HEADER: usize = 0x60 / 4;
/// Set points in the header; one that is 0 ends the list.
const SET_POINTS: usize = 4;

/// How many words of 32 bits the saved timing takes.
pub const fn words(timing: &Timing) -> usize {
    let rows =
        timing.controller.len() + timing.phy.len() + timing.captured.len() + timing.pie.len();
    HEADER + 2 * rows
}

/// Saved timing under construction: what training finds is kept as soon as it is known.
#[derive(Debug)]
pub struct Saved<'a> {
    address: u64,
    words: &'a mut [u32],
}

/// There is less room than [`words`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

impl<'a> Saved<'a> {
    /// In `room`, which BL31 sees at `address`.
    ///
    /// # Errors
    /// If there is less room than `timing` takes.
    pub fn new(address: u64, room: &'a mut [u32], timing: &Timing) -> Result<Self, TooSmall> {
        let words = room.get_mut(..words(timing)).ok_or(TooSmall)?;
        words.fill(0);
        Ok(Self { address, words })
    }

    /// What entry `index` of `timing.captured` holds.
    pub(super) fn keep(&mut self, timing: &Timing, index: usize, value: u16) {
        let row = timing.controller.len() + timing.phy.len() + index;
        if let Some(word) = self.words.get_mut(HEADER + 2 * row + 1) {
            *word = u32::from(value);
        }
    }

    /// Fills in the rest.
    pub(super) fn complete(&mut self, timing: &Timing) {
        let Some((header, rows)) = self.words.split_at_mut_checked(HEADER) else { return };
        let (pairs, _) = rows.as_chunks_mut::<2>();
        // A table's end must not take a pair with it: the tables lead.
        let mut pairs = pairs.iter_mut();
        for (row, pair) in timing.controller.iter().zip(pairs.by_ref()) {
            *pair = [row.address, row.value];
        }
        for (row, pair) in timing.phy.iter().zip(pairs.by_ref()) {
            *pair = [row.register(), u32::from(row.value())];
        }
        for (captured, [register, _]) in timing.captured.iter().zip(pairs.by_ref()) {
            *register = captured.number();
        }
        for (row, pair) in timing.pie.iter().zip(pairs) {
            *pair = [row.register(), u32::from(row.value())];
        }
        fill_header(header, self.address, timing);
    }
}

/// Pointer, count and padding for the controller, the PHY, the messages (which BL31 does not use),
/// the captured registers; then the PIE without padding, and the set points.
fn fill_header(header: &mut [u32], address: u64, timing: &Timing) {
    let tables = [
        (0, timing.controller.len()),
        (4, timing.phy.len()),
        (12, timing.captured.len()),
        (16, timing.pie.len()),
    ];
    let mut table = address + 4 * HEADER as u64;
    for (place, rows) in tables {
        if let Some([low, high, count]) = header.get_mut(place..place + 3) {
            *low = (table & 0xffff_ffff) as u32;
            *high = (table >> 32) as u32;
            *count = u32::try_from(rows).unwrap_or(u32::MAX);
        }
        table += 8 * rows as u64;
    }
    if let Some(set_points) = header.get_mut(19..19 + SET_POINTS) {
        for (word, rate) in set_points.iter_mut().zip(timing.rates) {
            *word = u32::from(*rate);
        }
    }
}
