//! `memory`: what there is, and what is taken by whom.

use alloc::{format, string::String, vec, vec::Vec};

use crate::{
    boot::Facts,
    devicetree,
    linux::MemoryMap,
    memory::{Region, Size},
};

/// The answer; `heap` is what of the loader's own memory is used and free, in bytes.
pub(super) fn lines(facts: &Facts<'_>, heap: Option<(usize, usize)>) -> Vec<String> {
    let mut lines = vec![format!("memory ({})\n", facts.dram.source)];
    lines.extend(facts.dram.banks.iter().map(|bank| format!("  {bank}  {}\n", Size(bank.size()))));
    lines.push("taken\n".into());
    for (region, owner, _) in &facts.taken {
        lines.push(format!("  {region}  {}  {owner}\n", Size(region.size())));
    }
    for reserved in facts.firmware_tree.map(devicetree::memory::reservations).unwrap_or_default() {
        let (region, owner) = (reserved.region, reserved.owner);
        lines.push(format!("  {region}  {}  {owner} (device tree)\n", Size(region.size())));
    }
    let free = free(facts).into_iter().map(|free| free.size());
    let largest = free.clone().max().unwrap_or(0);
    lines.push(format!("free: {}, {} in one piece\n", Size(free.sum()), Size(largest)));
    if let Some((used, free)) = heap {
        let [used, free] = [used, free].map(|bytes| Size(bytes as u64));
        lines.push(format!("heap: {used} used, {free} free\n"));
    }
    lines
}

/// What a generation whose tree reserves nothing more may be loaded to.
fn free(facts: &Facts<'_>) -> Vec<Region> {
    let mut map = MemoryMap::new(facts.dram.banks.iter().copied());
    facts.taken.iter().for_each(|&(region, owner, mapping)| map.reserve(region, owner, mapping));
    facts.firmware_tree.into_iter().for_each(|tree| map.reserve_tree(tree));
    map.free()
}
