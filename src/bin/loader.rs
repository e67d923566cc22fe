//! Second stage (shipped as `firn.bin`): a list of steps.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
#[path = "loader/world.rs"]
mod world;

#[cfg(target_os = "none")]
mod loader {
    use firn::{
        arch::{self, Machine, entry::EntryState, heap::Heap},
        board::BOARD,
        boot::{self, Outcome},
        devicetree::DeviceTreeBuf,
        entropy::Pool,
        error::Code,
        release,
    };
    use log::{debug, error, info, warn};

    use crate::world::{self, World};

    #[global_allocator]
    static HEAP: Heap = Heap;

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        arch::panic(info)
    }

    firn::entry_point!(main);

    fn main(mut entry: EntryState, mut machine: Machine) -> ! {
        info!("Firn {} on {}", release::version(), BOARD.name);
        match entry.is_usual() {
            true => debug!("entered at {entry}"),
            false => warn!("entered at {entry}"),
        }
        world::report(&entry);
        let mut entropy = Pool::default();
        let tree = world::firmware_tree(&mut entry, &mut entropy);
        world::entropy_of_first_stage(&mut entry, &mut entropy);
        let tree = tree.as_ref().map(DeviceTreeBuf::view);
        let mut facts = world::facts(&entry, &machine, tree, entropy);
        debug!("part: {}", facts.part);
        debug!("memory {}", world::describe(&facts.dram));
        let mut dram = match world::claim(&mut machine, &facts) {
            Ok(dram) => dram,
            Err(error) => {
                error!("[{}] {error}", Code::MemoryUnknown);
                arch::stop()
            }
        };
        facts.recovery = world::recovery(&entry, &mut dram, &mut facts);
        let mut world = World::new(&entry, machine, dram);
        match boot::run(&mut world, &facts) {
            Outcome::Kernel(hand_over) => world.enter(&hand_over),
            Outcome::Reset => world.reset(),
            Outcome::PowerOff => world.power_off(),
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
