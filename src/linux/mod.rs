//! Linux: what a kernel is, where it goes, what it is told.
//!
//! Pure: the caller reads the files, owns the memory and jumps (`arch`). Nothing is loaded before
//! all of it is known to fit, and nothing is jumped to that is not what was judged:
//!
//! ```
//! # use firn::{devicetree::{DeviceTree, DeviceTreeBuf, chosen::Chosen, memory}, error::Coded};
//! # use firn::{linux::*, memory::Region};
//! # type Result<T> = core::result::Result<T, Box<dyn Coded>>;
//! # fn load(from: &str, to: Region) -> Result<&'static mut [u8]> { unimplemented!() }
//! # fn jump(entry: u64, device_tree: u64) {}
//! # fn boxed(error: impl Coded + 'static) -> Box<dyn Coded> { Box::new(error) }
//! fn boot(
//!     head: &[u8],              // the kernel's first `image::HEAD_SIZE` bytes
//!     kernel_size: u64,
//!     initrd_sizes: &[u64],
//!     tree: &[u8],              // from the card, or the stage before's
//!     firmware_tree: Option<DeviceTree<'_>>,
//!     dram: &Dram,              // `Dram::find`
//!     loader: Region,           // image, heap, stack, page tables
//!     mut chosen: Chosen<'_>,
//! ) -> Result<()> {
//!     let kernel = KernelImage::inspect(head, kernel_size).map_err(boxed)?;
//!     let initrds = InitrdLayout::new(initrd_sizes).map_err(boxed)?;
//!     let tree = DeviceTree::validate(tree).map_err(boxed)?;
//!
//!     let mut map = MemoryMap::new(dram.usable(tree));
//!     map.reserve(loader, "firn", Mapping::Normal);
//!     map.reserve_tree(tree);
//!     // What the stage before keeps counts, too.
//!     firmware_tree.map(|tree| map.reserve_tree(tree));
//!     map.leave_room(tree);
//!     map.obey(chosen.command_line);
//!
//!     let mut tree = DeviceTreeBuf::from(tree);
//!     if let Some(banks) = dram.for_tree() {
//!         memory::set_banks(&mut tree, banks).map_err(boxed)?;
//!     }
//!     let device_tree = (tree.size() + chosen.room()) as u64;
//!     let request = Request { kernel, initrd: initrds.size, device_tree };
//!     let plan = Plan::new(&map, &request).map_err(boxed)?;
//!
//!     let image = load("kernel", Region::new(plan.kernel.start(), kernel.file_size))?;
//!     kernel.verify(image).map_err(boxed)?;
//!     if let Some(initrd) = plan.initrd {
//!         load("initrds at `initrds.offsets`, zeros between", initrd)?;
//!     }
//!     chosen.initrd = plan.initrd;
//!     chosen.write(&mut tree).map_err(boxed)?;
//!     tree.write_to(load("nothing: memory for the tree", plan.device_tree)?).map_err(boxed)?;
//!     jump(plan.kernel.start(), plan.device_tree.start());
//!     Ok(())
//! }
//! ```

#![forbid(unsafe_code)]

mod checksum;
pub mod compression;
pub mod dram;
pub mod fit;
mod foreign;
pub mod image;
pub mod package;
mod pe;
pub mod placement;
pub mod zboot;

pub use dram::{Dram, Witnesses};
pub use foreign::Foreign;
pub use image::KernelImage;
pub use package::Package;
pub use placement::{InitrdLayout, Mapping, MemoryMap, Plan, Request};
