//! Trip temperatures of thermal zones.
//!
//! Source: Linux `Documentation/devicetree/bindings/thermal/thermal-zones.yaml`.

use alloc::format;

use super::{Change, Edits};
use crate::devicetree::{DeviceTreeBuf, Node, Property};

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
        let zones = tree.view().find("/thermal-zones");
        let zones = zones.into_iter().flat_map(Node::children);
        for zone in zones.filter(|zone| self.zones.contains(&zone.name())) {
            let trips = zone.children().filter(|child| child.name() == "trips");
            for trip in trips.flat_map(Node::children) {
                self.edit(zone, trip, &mut edits);
            }
        }
        edits
    }

    fn edit(&self, zone: Node<'_>, trip: Node<'_>, edits: &mut Edits) {
        let temperature = match trip.property("type").and_then(Property::as_str) {
            Some("passive") => &self.passive,
            Some("critical") => &self.critical,
            _ => return,
        };
        let current = trip.property("temperature").and_then(Property::as_u32);
        let is_the_boards = current.is_some_and(|current| current < temperature.usual);
        if !is_the_boards && current != Some(temperature.allowed) {
            let path = format!("/thermal-zones/{}/trips/{}", zone.name(), trip.name());
            let value = temperature.allowed.to_be_bytes().to_vec();
            edits.push(&path, trip, Change::Set("temperature", value));
        }
    }
}
