//! Decompresses what comes as its initrd to where a kernel would go, as the loader does, and says how
//! long it took: for the measurement of `tools/evk/tests/unpack.rs`. Entered in the loader's place.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
mod unpack {
    use core::fmt::Write;

    use firn::{
        arch::{
            self, Machine,
            entry::EntryState,
            heap::{self, Heap},
        },
        devicetree::DeviceTree,
        fs::{self, Stream},
        linux::compression::{Compression, decompress},
        memory::Region,
        time::Clock,
    };

    #[global_allocator]
    static HEAP: Heap = Heap;

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        arch::panic(info)
    }

    firn::entry_point!(main);

    const BANK: Region = Region::new(0x4000_0000, 2 << 30);
    const DESTINATION: Region = Region::new(0x5000_0000, 64 << 20);
    const LENT: Region = Region::new(0xa000_0000, 256 << 20);
    /// Bytes that are at hand at once, as with files.
    const PIECE: usize = 256 << 10;

    struct Pieces {
        bytes: &'static [u8],
        left: usize,
    }

    impl Stream for Pieces {
        fn peek(&mut self) -> Result<&[u8], fs::Error> {
            Ok(&self.bytes[..self.left.min(self.bytes.len())])
        }

        fn consume(&mut self, count: usize) {
            self.bytes = &self.bytes[count..];
            self.left = if count < self.left { self.left - count } else { PIECE };
        }
    }

    fn main(entry: EntryState, mut machine: Machine) -> ! {
        let mut console = machine.console;
        let tree = entry.device_tree.as_deref().map(DeviceTree::validate);
        let source = tree.and_then(Result::ok).and_then(initrd).expect("an initrd");
        let mut dram = machine.claim_dram([BANK], []).expect("nobody else's");
        let start = source.start() - source.start() % arch::layout::PAGE;
        let end = source.end().next_multiple_of(arch::layout::PAGE);
        let pages = dram.take(Region::between(start, end)).expect("free");
        let offset = usize::try_from(source.start() - start).expect("64 bits");
        let bytes = &pages[offset..][..usize::try_from(source.size()).expect("64 bits")];
        let destination = dram.take(DESTINATION).expect("free");
        heap::lend(dram.take(LENT).expect("free")).expect("the first loan");

        let format = Compression::from_magic(bytes).expect("compressed");
        let began = machine.clock.now();
        let unpacked = decompress(format, &mut Pieces { bytes, left: PIECE }, destination);
        let took = machine.clock.now() - began;
        let _ = match unpacked {
            Ok(unpacked) => {
                let sum = adler(&destination[..unpacked.written]);
                let whole = if unpacked.complete { "whole" } else { "cut off" };
                writeln!(
                    console,
                    "{format}: {whole}, {} bytes, adler32 {sum:08x}, {} ns",
                    unpacked.written,
                    took.as_nanos()
                )
            }
            Err(error) => writeln!(console, "{format}: {error}"),
        };
        let _ = writeln!(console, "{:?}", heap::take_back().map(|lent| lent.len()));
        machine.power.off();
        arch::stop()
    }

    fn initrd(tree: DeviceTree<'_>) -> Option<Region> {
        let chosen = tree.find("/chosen")?;
        let bound = |name| chosen.property(name)?.as_u64();
        Some(Region::between(bound("linux,initrd-start")?, bound("linux,initrd-end")?))
    }

    fn adler(bytes: &[u8]) -> u32 {
        bytes.iter().fold(1, |sum, &byte| {
            let a = ((sum & 0xffff) + u32::from(byte)) % 65521;
            let b = ((sum >> 16) + a) % 65521;
            b << 16 | a
        })
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
