//! A trusted execution environment: where it is, or that there is none.
//!
//! Sources: Linux `Documentation/devicetree/bindings/arm/firmware/linaro,optee-tz.yaml`; the names of
//! the reservations are mainline U-Boot's (`arch/arm/mach-imx/imx8m/soc.c`).

use alloc::format;

use super::Error;
use crate::{
    devicetree::{DeviceTree, DeviceTreeBuf, Node, memory},
    memory::Region,
};

const FIRMWARE: &str = "/firmware";
const NODE: &str = "optee";
const COMPATIBLE: &str = "linaro,optee-tz";
const RESERVED_MEMORY: &str = "/reserved-memory";
const CORE: &str = "optee_core";
const SHARED: &str = "optee_shm";

/// The memory of an OP-TEE that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tee {
    /// Its own.
    pub core: Region,
    /// What it shares with the kernel.
    pub shared: Region,
}

impl Tee {
    /// The one in `region`, whose last `shared` bytes are shared.
    pub fn new(region: Region, shared: u64) -> Self {
        let size = region.size().saturating_sub(shared);
        Self {
            core: Region::new(region.start(), size),
            shared: Region::new(region.start() + size, region.size() - size),
        }
    }

    /// The one that the tree of a stage before speaks of: of its memory, because some stages name an
    /// OP-TEE whether or not one runs.
    pub fn of(tree: DeviceTree<'_>) -> Option<Self> {
        let parent = tree.find(RESERVED_MEMORY)?;
        let region = |name| parent.child(name)?.regions(parent.cells()).find(|it| !it.is_empty());
        Some(Self { core: region(CORE)?, shared: region(SHARED)? })
    }

    /// Tells the kernel of `tee`, and of no other; says whether that changed anything.
    pub fn tell(tee: Option<Self>, tree: &mut DeviceTreeBuf) -> Result<bool, Error> {
        match tee {
            Some(tee) => tee.add(tree).map(|()| true),
            None => Ok(remove(tree)),
        }
    }

    fn add(self, tree: &mut DeviceTreeBuf) -> Result<(), Error> {
        remove(tree);
        let mut node = tree.find_or_create(FIRMWARE)?.add_child(NODE)?;
        node.set_str("compatible", COMPATIBLE)?;
        node.set_str("method", "smc")?;
        if tree.view().find(RESERVED_MEMORY).is_none() {
            let mut parent = tree.find_or_create(RESERVED_MEMORY)?;
            parent.set_u32("#address-cells", 2)?;
            parent.set_u32("#size-cells", 2)?;
            parent.set("ranges", &[])?;
        }
        let parts = [(CORE, self.core), (SHARED, self.shared)];
        for (name, region) in parts.into_iter().filter(|(_, region)| !region.is_empty()) {
            let parent = tree.find_or_create(RESERVED_MEMORY)?;
            let reg =
                memory::encode(&[region], parent.as_node().cells()).map_err(|_| Error::Cells)?;
            let mut node = parent.add_child(&format!("{name}@{:x}", region.start()))?;
            node.set("reg", &reg)?;
            node.set("no-map", &[])?;
        }
        Ok(())
    }
}

/// What the tree says of an OP-TEE and its memory.
fn remove(tree: &mut DeviceTreeBuf) -> bool {
    let is_tee = |node: &Node<'_>| node.is_compatible(COMPATIBLE);
    let is_memory = |node: &Node<'_>| {
        let name = node.name().split('@').next().unwrap_or_default();
        name == CORE || name == SHARED
    };
    let mut remove = |parent, gone: &dyn Fn(&Node<'_>) -> bool| {
        let Some(mut parent) = tree.find_mut(parent) else { return false };
        let found = parent.as_node().children().any(|child| gone(&child));
        parent.retain_children(|child| !gone(child));
        found
    };
    let node = remove(FIRMWARE, &is_tee);
    remove(RESERVED_MEMORY, &is_memory) || node
}
