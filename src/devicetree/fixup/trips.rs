//! Trip temperatures of thermal zones.
//!
//! Source: Linux `Documentation/devicetree/bindings/thermal/thermal-zones.yaml`.

use super::{Change, Edits};
use crate::devicetree::{DeviceTreeBuf, Property, fixup::walk};

/// New trip temperatures, in thousandths of a degree Celsius.
#[derive(Debug)]
pub struct Trips {
    /// Children of `/thermal-zones`.
    pub zones: &'static [&'static str],
    /// Where the kernel slows down.
    pub passive: Temperature,
    /// Where it powers off.
    pub critical: Temperature,
}

/// Of one kind of trip.
#[derive(Debug)]
pub struct Temperature {
    /// As the SoC's tree has it. A board's tree that has a lower one means it.
    pub usual: u32,
    /// As the part allows.
    pub allowed: u32,
}

impl Trips {
    pub(super) fn edits(&self, tree: &DeviceTreeBuf) -> Edits {
        let mut edits = Edits::default();
        walk(tree.view(), |path, node| {
            let Some(zone) = trip_of(path) else { return };
            let temperature = match node.property("type").and_then(Property::as_str) {
                Some("passive") => &self.passive,
                Some("critical") => &self.critical,
                _ => return,
            };
            let current = node.property("temperature").and_then(Property::as_u32);
            let is_the_boards = current.is_some_and(|current| current < temperature.usual);
            if self.zones.contains(&zone) && !is_the_boards && current != Some(temperature.allowed)
            {
                let value = temperature.allowed.to_be_bytes().to_vec();
                edits.push(path, node, Change::Set("temperature", value));
            }
        });
        edits
    }
}

/// The zone that the node at `path` is a trip of.
fn trip_of(path: &str) -> Option<&str> {
    let (zone, rest) = path.strip_prefix("/thermal-zones/")?.split_once('/')?;
    let trip = rest.strip_prefix("trips/")?;
    (!trip.contains('/')).then_some(zone)
}
