//! In which order devices are searched.

use alloc::vec::Vec;

use crate::{board::CardSlot, soc::boot_rom::BootDevice, sorting::sort_by_key};

/// Indices of `cards` in the order in which they are searched: what the board was booted from comes
/// first, the others as the board lists them.
pub fn search_order(cards: &[CardSlot], booted: Option<BootDevice>) -> Vec<usize> {
    let usdhc = booted.and_then(BootDevice::usdhc);
    let mut order: Vec<usize> = (0..cards.len()).collect();
    // Stable: the others stay as they are.
    sort_by_key(&mut order, |&index| Some(cards[index].usdhc) != usdhc);
    order
}
