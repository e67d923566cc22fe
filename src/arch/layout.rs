//! Where the loader's own parts lie, as the linker scripts place them (linker/sections.ld).

use core::fmt;
use core::ops::Range;

#[cfg(target_os = "none")]
use crate::memory::Region;

/// Bytes in a page, the unit of rights.
pub const PAGE: u64 = 4096;

/// The loader's own memory. All bounds are multiples of [`PAGE`], except the end of `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Header, entry code and functions.
    pub text: Range<u64>,
    /// Constants.
    pub rodata: Range<u64>,
    /// Initialised variables; the file ends with them.
    pub data: Range<u64>,
    /// Variables that begin as zero.
    pub bss: Range<u64>,
    /// What lies below the stack and is never mapped.
    pub guard: Range<u64>,
    /// The stack.
    pub stack: Range<u64>,
    /// The stack of the exception report; the pages below it are not mapped either.
    pub fault_stack: Range<u64>,
    /// The heap.
    pub heap: Range<u64>,
    /// The end of what lies behind the heap and is never mapped.
    pub end: u64,
}

impl Layout {
    /// Everything from the header to the end of the gap behind the heap; what the Image header calls
    /// image_size.
    pub fn image(&self) -> Range<u64> {
        self.text.start..self.end
    }

    /// What a person who reads an exception wants to know of an address.
    pub fn describe(&self, address: u64) -> Place {
        if address < PAGE {
            Place::Null
        } else if self.guard.contains(&address) {
            Place::BelowStack
        } else if self.text.contains(&address) {
            Place::Code
        } else if self.rodata.contains(&address) {
            Place::Constants
        } else if self.stack.contains(&address) {
            Place::Stack
        } else if self.heap.contains(&address) {
            Place::Heap
        } else if (self.heap.end..self.end).contains(&address) {
            Place::BehindHeap
        } else if self.image().contains(&address) {
            Place::Data
        } else {
            Place::Elsewhere
        }
    }
}

/// What lies at an address, coarsely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The page of the null pointer.
    Null,
    /// The gap below the stack.
    BelowStack,
    /// The loader's code.
    Code,
    /// The loader's constants.
    Constants,
    /// The loader's variables.
    Data,
    /// The stack.
    Stack,
    /// The heap.
    Heap,
    /// The gap behind the heap.
    BehindHeap,
    /// Not the loader's.
    Elsewhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "a null pointer",
            Self::BelowStack => "stack overflow: the gap below the stack",
            Self::Code => "its own code",
            Self::Constants => "its own constants",
            Self::Data => "its own variables",
            Self::Stack => "the stack",
            Self::Heap => "the heap",
            Self::BehindHeap => "heap overrun: the gap behind the heap",
            Self::Elsewhere => "not its own",
        })
    }
}

/// All memory that the running loader uses.
#[cfg(target_os = "none")]
pub fn loader() -> Region {
    let image = linked().image();
    Region::between(image.start, image.end)
}

/// The running image's layout.
#[cfg(target_os = "none")]
pub fn linked() -> Layout {
    // The symbols' addresses are the values; nothing is ever read through them.
    unsafe extern "C" {
        safe static __image_start: u8;
        safe static __text_end: u8;
        safe static __rodata_end: u8;
        safe static __file_end: u8;
        safe static __bss_start: u8;
        safe static __bss_end: u8;
        safe static __guard_start: u8;
        safe static __stack_start: u8;
        safe static __stack_end: u8;
        safe static __fault_stack_start: u8;
        safe static __fault_stack_end: u8;
        safe static __heap_start: u8;
        safe static __heap_end: u8;
        safe static __image_end: u8;
    }
    fn bounds(start: *const u8, end: *const u8) -> Range<u64> {
        start.addr() as u64..end.addr() as u64
    }
    Layout {
        text: bounds(&raw const __image_start, &raw const __text_end),
        rodata: bounds(&raw const __text_end, &raw const __rodata_end),
        data: bounds(&raw const __rodata_end, &raw const __file_end),
        bss: bounds(&raw const __bss_start, &raw const __bss_end),
        guard: bounds(&raw const __guard_start, &raw const __stack_start),
        stack: bounds(&raw const __stack_start, &raw const __stack_end),
        fault_stack: bounds(&raw const __fault_stack_start, &raw const __fault_stack_end),
        heap: bounds(&raw const __heap_start, &raw const __heap_end),
        end: (&raw const __image_end).addr() as u64,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> Layout {
        Layout {
            text: 0x4020_0000..0x4022_0000,
            rodata: 0x4022_0000..0x4023_0000,
            data: 0x4023_0000..0x4023_0440,
            bss: 0x4026_4000..0x4028_0000,
            guard: 0x4028_0000..0x4028_4000,
            stack: 0x4028_4000..0x402c_4000,
            fault_stack: 0x402c_8000..0x402d_0000,
            heap: 0x402d_0000..0x412d_0000,
            end: 0x412d_4000,
        }
    }

    #[test]
    fn an_address_is_named_by_what_lies_there() {
        let layout = example();
        assert_eq!(layout.describe(0x10), Place::Null);
        assert_eq!(layout.describe(0x4020_0000), Place::Code);
        assert_eq!(layout.describe(0x4022_0000), Place::Constants);
        assert_eq!(layout.describe(0x4026_4008), Place::Data);
        assert_eq!(layout.describe(0x4028_3ff0), Place::BelowStack);
        assert_eq!(layout.describe(0x4028_4000), Place::Stack);
        assert_eq!(layout.describe(0x412c_ffff), Place::Heap);
        assert_eq!(layout.describe(0x412d_0000), Place::BehindHeap);
        assert_eq!(layout.describe(0x412d_4000), Place::Elsewhere);
    }
}
