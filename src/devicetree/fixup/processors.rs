//! Processors that are not there.
//!
//! Sources: Devicetree Specification v0.4, 3.8 (`/cpus`); Linux's bindings of `cooling-device`
//! (`thermal/thermal-zones.yaml`, three cells an entry), `interrupt-affinity` (`arm/pmu.yaml`), `cpu`
//! (`arm/arm,coresight-etm.yaml`, `cpu/cpu-topology.txt`).

use alloc::vec::Vec;

use super::{Change, Edits, Error, MAX_EDITS};
use crate::devicetree::{DeviceTreeBuf, Node, Property, fixup::walk};

/// The processors that are kept: of those in `/cpus` the ones whose `reg` is below this.
#[derive(Debug)]
pub struct Processors(pub u32);

const CELL: usize = 4;

impl Processors {
    pub(super) fn edits(&self, tree: &DeviceTreeBuf) -> Result<Edits, Error> {
        let tree = tree.view();
        let cpus = tree.find("/cpus").ok_or(Error::Missing("/cpus"))?;
        let processors = || cpus.children().filter(|node| is_processor(*node));
        if !processors().any(|node| self.has(node)) {
            return Err(Error::Missing("processor in /cpus that the part has"));
        }
        let gone: Vec<_> =
            processors().filter(|node| !self.has(*node)).take(MAX_EDITS + 1).collect();
        if gone.len() > MAX_EDITS {
            return Err(Error::TooMany);
        }
        let phandles: Vec<u32> = gone.iter().filter_map(|node| phandle(*node)).collect();
        let is_gone = |cell: &[u8]| {
            let cell = cell.first_chunk().map(|cell| u32::from_be_bytes(*cell));
            cell.is_some_and(|cell| phandles.contains(&cell))
        };

        let mut edits = Edits::default();
        let mut deleted = usize::MIN..usize::MIN;
        walk(tree, |path, node| {
            // What lies in a node that goes needs no edit.
            if deleted.contains(&node.start) {
                return;
            }
            let speaks_of_it = node.property("cpu").is_some_and(|cpu| is_gone(cpu.value()));
            if gone.iter().any(|gone| gone.start == node.start)
                || speaks_of_it && path.starts_with("/cpus/cpu-map/")
            {
                deleted = node.extent();
                edits.push(path, node, Change::Delete);
                return;
            }
            if speaks_of_it && node.is_enabled() {
                edits.push(path, node, Change::Disable);
            }
            for (name, cells) in [("cooling-device", 3), ("interrupt-affinity", 1)] {
                let Some(property) = node.property(name) else { continue };
                if let Some(value) = without(property.value(), cells * CELL, is_gone) {
                    edits.push(path, node, Change::Set(name, value));
                }
            }
        });
        Ok(edits)
    }

    fn has(&self, processor: Node<'_>) -> bool {
        let number = processor.property("reg").and_then(Property::as_u64);
        number.is_none_or(|number| number < self.0.into())
    }
}

fn is_processor(node: Node<'_>) -> bool {
    node.property("device_type").and_then(Property::as_str) == Some("cpu")
}

fn phandle(node: Node<'_>) -> Option<u32> {
    node.property("phandle")?.as_u32()
}

/// `list` without the entries of `size` bytes that begin with what is gone; `None` if nothing goes.
fn without(list: &[u8], size: usize, is_gone: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let entries = || list.chunks_exact(size);
    let whole = entries().remainder().is_empty();
    (whole && entries().any(&is_gone))
        .then(|| entries().filter(|entry| !is_gone(entry)).flatten().copied().collect())
}
