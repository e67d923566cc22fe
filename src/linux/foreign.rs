//! What a file in the kernel's place is that cannot be booted at all.
//!
//! Sources: Linux `Documentation/arch/x86/boot.rst`, `arch/arm/boot/compressed/head.S`,
//! `Documentation/arch/riscv/boot-image-header.rst`, and each container's own magic number.

#![forbid(unsafe_code)]

use core::fmt;

use super::pe::{self, array};

/// A file that is neither an arm64 kernel nor a package of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// bzip2, which kernels for arm64 are not built with.
    Bzip2,
    /// A self-decompressing EFI kernel (`vmlinuz.efi`) for the named processor.
    EfiZboot(&'static str),
    /// An EFI program that is no kernel, for the named processor.
    EfiApplication(&'static str),
    /// A kernel of an x86 machine.
    X86BzImage,
    /// A 32-bit Arm kernel.
    Arm32ZImage,
    /// A RISC-V kernel.
    RiscvImage,
    /// U-Boot's legacy image.
    LegacyUImage,
    /// An ELF file for the named processor.
    Elf(&'static str),
    /// An Android boot image.
    AndroidBoot,
    /// A cpio archive: an initrd.
    Cpio,
    /// A script or other text.
    Text,
}

/// As much of a file as is looked at to call it text.
const SAMPLE: usize = 64;

impl Foreign {
    /// What the first bytes are a sign of.
    pub(super) fn recognise(head: &[u8]) -> Option<Self> {
        const BY_BEGINNING: &[(&[u8], Foreign)] = &[
            (b"BZh", Foreign::Bzip2),
            (b"\x27\x05\x19\x56", Foreign::LegacyUImage),
            (b"ANDROID!", Foreign::AndroidBoot),
            (b"070701", Foreign::Cpio),
            (b"070702", Foreign::Cpio),
        ];
        let starts = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|b| b.starts_with(magic));
        if let Some((_, foreign)) = BY_BEGINNING.iter().find(|(magic, _)| starts(0, magic)) {
            return Some(*foreign);
        }
        if starts(0, b"\x7fELF") {
            return Some(Self::Elf(elf_machine(u16::from_le_bytes(array(head, 18)?))));
        }
        if starts(0x202, b"HdrS") {
            return Some(Self::X86BzImage);
        }
        if starts(0x24, b"\x18\x28\x6f\x01") || starts(0x24, b"\x01\x6f\x28\x18") {
            return Some(Self::Arm32ZImage);
        }
        if starts(0x38, b"RSC\x05") {
            return Some(Self::RiscvImage);
        }
        if let Some(machine) = pe::machine(head) {
            let name = pe::machine_name(machine);
            return Some(match starts(4, b"zimg") {
                true => Self::EfiZboot(name),
                false => Self::EfiApplication(name),
            });
        }
        let sample = &head[..head.len().min(SAMPLE)];
        let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
        (!sample.is_empty() && sample.iter().all(is_text)).then_some(Self::Text)
    }
}

/// The processor of an ELF file.
fn elf_machine(number: u16) -> &'static str {
    match number {
        3 => "x86",
        40 => "32-bit Arm",
        62 => "x86-64",
        183 => "arm64",
        243 => "RISC-V",
        _ => "another processor",
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bzip2 => f.write_str("compressed with bzip2; use gzip, zstd, lz4 or xz"),
            Self::EfiZboot(machine) => {
                write!(f, "an EFI zboot kernel (vmlinuz.efi) for {machine}")
            }
            Self::EfiApplication(machine) => {
                write!(f, "an EFI program for {machine} without an arm64 Image in it")
            }
            Self::X86BzImage => f.write_str("an x86 bzImage; build the system for aarch64-linux"),
            Self::Arm32ZImage => {
                f.write_str("a 32-bit Arm zImage; build the system for aarch64-linux")
            }
            Self::RiscvImage => f.write_str("a RISC-V kernel; build the system for aarch64-linux"),
            Self::LegacyUImage => f.write_str(
                "a legacy U-Boot uImage; use the Image that it was made of, or a FIT image",
            ),
            Self::Elf(machine) => {
                write!(f, "an ELF file for {machine}; use arch/arm64/boot/Image, not vmlinux")
            }
            Self::AndroidBoot => {
                f.write_str("an Android boot image; use the Image and the initrd that are in it")
            }
            Self::Cpio => f.write_str("a cpio archive; are kernel and initrd exchanged?"),
            Self::Text => f.write_str("text"),
        }
    }
}
