//! Memory of the host that bus masters may use while it is handed over, and nothing else of it.

use std::collections::BTreeMap;

use firn::dma::{ALIGNMENT, Error};

use super::{
    controller::{BusError, Memory},
    rules::Rules,
};

/// Where it appears to them.
const FIRST_ADDRESS: u32 = 0x4000_0000;

/// Memory in the hands of bus masters.
pub(crate) struct HandedOver {
    regions: BTreeMap<u32, Region>,
    next: u32,
    rules: Rules,
}

struct Region {
    bytes: Vec<u8>,
    writable: bool,
}

impl HandedOver {
    /// None so far.
    pub(crate) fn new(rules: Rules) -> Self {
        Self { regions: BTreeMap::new(), next: FIRST_ADDRESS, rules }
    }

    /// What a bus master writes. What the caches hold of it is lost.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Result<u32, Error> {
        let start = buffer.as_ptr().addr();
        if !start.is_multiple_of(ALIGNMENT) || !buffer.len().is_multiple_of(ALIGNMENT) {
            self.rules.broken("unaligned buffer handed over");
            return Err(Error::Unaligned);
        }
        buffer.fill(0xa5);
        Ok(self.add(buffer, true))
    }

    /// What it wrote.
    pub(crate) fn give_back(&mut self, buffer: &mut [u8], address: u32) {
        if let Some(region) = self.regions.remove(&address) {
            buffer.copy_from_slice(&region.bytes);
        }
    }

    /// It has finished.
    pub(crate) fn remove(&mut self, address: u32) {
        self.regions.remove(&address);
    }

    /// Nobody uses any.
    pub(crate) fn clear(&mut self) {
        self.regions.clear();
    }

    /// How many regions there are.
    pub(crate) fn count(&self) -> usize {
        self.regions.len()
    }

    /// Where it finds `bytes`.
    pub(crate) fn add(&mut self, bytes: &[u8], writable: bool) -> u32 {
        if self.regions.is_empty() {
            self.next = FIRST_ADDRESS;
        }
        // Where it lies in a cache line shows at its bus address, too.
        let within = bytes.as_ptr().addr() % ALIGNMENT;
        let address = self.next + u32::try_from(within).expect("below 64");
        let length = u32::try_from(bytes.len()).expect("below 4 GiB");
        // A gap shows who runs over an end.
        self.next = address + length.next_multiple_of(4096) + 4096;
        self.regions.insert(address, Region { bytes: bytes.to_vec(), writable });
        address
    }

    fn slice(&mut self, address: u32, length: usize, write: bool) -> Result<&mut [u8], BusError> {
        let found = self.regions.range_mut(..=address).next_back().and_then(|(start, region)| {
            let from = (address - start) as usize;
            let fits = from + length <= region.bytes.len() && (region.writable || !write);
            fits.then(|| &mut region.bytes[from..from + length])
        });
        if found.is_none() {
            self.rules.broken(format!("DMA of {length} bytes at {address:#x}, not handed over"));
        }
        found.ok_or(BusError)
    }
}

impl Memory for HandedOver {
    fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), BusError> {
        bytes.copy_from_slice(self.slice(address, bytes.len(), false)?);
        Ok(())
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), BusError> {
        self.slice(address, bytes.len(), true)?.copy_from_slice(bytes);
        Ok(())
    }
}
