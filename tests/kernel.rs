//! What the loader says about the file that stands in the kernel's place.

use firn::{
    error::{Code, Coded},
    linux::image::{Error, HEAD_SIZE, KernelImage},
};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
/// Little-endian, 4 KiB pages, anywhere in memory.
const FLAGS_TODAY: u64 = 0b1010;

/// A kernel file as the kernel's own build makes it: header, PE section table, contents.
struct File {
    text_offset: u64,
    image_size: u64,
    flags: u64,
    /// Offset and size of each section in the file.
    sections: Option<Vec<(u32, u32)>>,
    size: usize,
}

impl Default for File {
    fn default() -> Self {
        Self {
            text_offset: 0,
            image_size: 3 * MIB,
            flags: FLAGS_TODAY,
            sections: Some(vec![(0x1_0000, 0x10_0000), (0x11_0000, 0x8_0000)]),
            size: 0x19_0000,
        }
    }
}

impl File {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0x5a; self.size.max(HEAD_SIZE)];
        bytes[8..16].copy_from_slice(&self.text_offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.image_size.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.flags.to_le_bytes());
        bytes[56..60].copy_from_slice(b"ARM\x64");
        if let Some(sections) = &self.sections {
            bytes[..2].copy_from_slice(b"MZ");
            bytes[0x3c..0x40].copy_from_slice(&0x40u32.to_le_bytes());
            bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
            bytes[0x44..0x46].copy_from_slice(&0xaa64u16.to_le_bytes());
            bytes[0x46..0x48]
                .copy_from_slice(&u16::try_from(sections.len()).unwrap().to_le_bytes());
            bytes[0x54..0x56].copy_from_slice(&160u16.to_le_bytes());
            for (index, (offset, size)) in sections.iter().enumerate() {
                let entry = 0x40 + 24 + 160 + 40 * index;
                bytes[entry + 16..entry + 20].copy_from_slice(&size.to_le_bytes());
                bytes[entry + 20..entry + 24].copy_from_slice(&offset.to_le_bytes());
            }
        }
        bytes.truncate(self.size);
        bytes
    }

    fn inspect(&self) -> Result<KernelImage, Error> {
        inspect(&self.bytes())
    }
}

fn inspect(file: &[u8]) -> Result<KernelImage, Error> {
    KernelImage::inspect(&file[..file.len().min(HEAD_SIZE)], file.len() as u64)
}

fn message(file: &[u8]) -> (Code, String) {
    let error = inspect(file).unwrap_err();
    (error.code(), error.to_string())
}

#[test]
fn a_kernel_owns_its_bss_although_the_file_ends_before() {
    let image = File::default().inspect().unwrap();
    assert_eq!(image.file_size, 0x19_0000);
    assert_eq!(image.memory_size, 3 * MIB);
    assert!(image.proven_complete);
}

#[test]
fn a_kernel_before_3_17_gets_the_old_offset_and_room_for_a_bss_of_unknown_size() {
    let file = File { image_size: 0, text_offset: 0x1234, flags: 0, ..File::default() };
    let image = file.inspect().unwrap();
    assert_eq!(image.text_offset, 0x8_0000);
    assert!(image.memory_size >= image.file_size + 4 * MIB);
}

#[test]
fn a_file_larger_than_image_size_is_given_all_the_memory_it_is_loaded_to() {
    let image = File { image_size: MIB, ..File::default() }.inspect().unwrap();
    assert_eq!(image.memory_size, image.file_size);
}

#[test]
fn bytes_behind_the_last_section_such_as_a_signature_do_no_harm() {
    assert!(File { size: 0x19_0000 + 1472, ..File::default() }.inspect().is_ok());
}

#[test]
fn a_kernel_cut_off_anywhere_is_truncated() {
    let whole = File::default().bytes();
    // Within the header, behind it, within the section table, within the sections.
    for size in [0x40, 0x44, 0x58, 0x118, 0x130, 0x147] {
        assert_eq!(message(&whole[..size]).0, Code::KernelTruncated, "{size:#x} bytes");
    }
    for size in [HEAD_SIZE, 0x1_0000, 0x11_0000, 0x18_ffff] {
        let (code, text) = message(&whole[..size]);
        assert_eq!(code, Code::KernelTruncated);
        assert!(text.contains(&format!("it has {size} bytes of 1638400")), "{text}");
    }
}

#[test]
fn the_section_that_ends_last_decides_wherever_it_stands_in_the_table() {
    let sections = Some(vec![(0x11_0000, 0x8_0000), (0x1_0000, 0x10_0000)]);
    let file = File { sections, size: 0x18_0000, ..File::default() };
    assert_eq!(file.inspect(), Err(Error::Truncated { expected: 0x19_0000, found: 0x18_0000 }));
}

#[test]
fn a_kernel_without_efi_stub_is_taken_although_nothing_proves_it_complete() {
    let image = File { sections: None, ..File::default() }.inspect().unwrap();
    assert!(!image.proven_complete);
}

#[test]
fn a_kernel_for_16_kib_pages_cannot_run() {
    let error = File { flags: 0b1100, ..File::default() }.inspect().unwrap_err();
    assert_eq!((error, error.code()), (Error::PageSize, Code::KernelUnsupported));
    assert!(error.to_string().contains("16 KiB pages"));
    for works in [0b1000, 0b1010, 0b1110] {
        assert!(File { flags: works, ..File::default() }.inspect().is_ok());
    }
}

#[test]
fn a_big_endian_kernel_cannot_run() {
    let error = File { flags: 0b1011, ..File::default() }.inspect().unwrap_err();
    assert_eq!((error, error.code()), (Error::BigEndian, Code::KernelUnsupported));
}

#[test]
fn a_text_offset_within_a_page_is_damage() {
    let error = File { text_offset: 0x8_0010, ..File::default() }.inspect().unwrap_err();
    assert_eq!((error, error.code()), (Error::TextOffset(0x8_0010), Code::KernelUnsupported));
}

#[test]
fn what_a_power_cut_leaves_is_called_truncated() {
    assert_eq!(message(&[]).0, Code::KernelTruncated);
    assert_eq!(message(b"MZ\0\0").0, Code::KernelTruncated);
    let (code, text) = message(&[0; 8192]);
    assert_eq!(code, Code::KernelTruncated);
    assert!(text.contains("zeros"), "{text}");
}

#[test]
fn other_formats_are_called_by_their_names() {
    let mut bzimage = vec![0x90; 1024];
    bzimage[0x202..0x206].copy_from_slice(b"HdrS");
    let mut zimage = vec![0x90; 1024];
    zimage[0x24..0x28].copy_from_slice(&0x016f_2818u32.to_le_bytes());
    let mut riscv = vec![0x90; 1024];
    riscv[0x38..0x3c].copy_from_slice(b"RSC\x05");
    let mut efi = File::default().bytes();
    efi[56..60].fill(0);
    let mut elf = vec![0; 1024];
    elf[..4].copy_from_slice(b"\x7fELF");
    elf[18] = 183;

    let cases: [(&[u8], &str); 8] = [
        (&bzimage, "an x86 bzImage"),
        (&zimage, "a 32-bit Arm zImage"),
        (&riscv, "a RISC-V kernel"),
        (&efi, "an EFI program for arm64 without an arm64 Image"),
        (&elf, "an ELF file for arm64"),
        (b"\x27\x05\x19\x56....", "uImage"),
        (b"070701000000", "a cpio archive; are kernel and initrd exchanged?"),
        (b"#!/bin/sh\necho hello\n", "text"),
    ];
    for (file, name) in cases {
        let (code, text) = message(file);
        assert_eq!(code, Code::KernelNotArm64, "{text}");
        assert!(text.contains(name), "{text:?} does not say {name:?}");
    }
}

#[test]
fn an_unknown_file_is_told_by_what_it_lacks() {
    let (code, text) = message(&[0xa5; 8192]);
    assert_eq!(code, Code::KernelNotArm64);
    assert!(text.contains("no ARM\\x64 at offset 0x38"), "{text}");
}

#[test]
fn the_loaded_kernel_must_be_the_inspected_one() {
    let mut bytes = File::default().bytes();
    let image = inspect(&bytes).unwrap();
    assert_eq!(image.verify(&bytes), Ok(()));
    assert_eq!(image.verify(&bytes[..0x18_0000]), Err(Error::Changed));
    bytes[16] ^= 1;
    assert_eq!(image.verify(&bytes), Err(Error::Changed));
    assert_eq!(image.verify(&vec![0; bytes.len()]), Err(Error::Changed));
    assert_eq!(image.verify(&[]), Err(Error::Changed));
}

proptest! {
    #[test]
    fn any_bytes_and_any_size_get_an_answer(
        head in proptest::collection::vec(any::<u8>(), 0..HEAD_SIZE),
        file_size in any::<u64>(),
    ) {
        if let Err(error) = KernelImage::inspect(&head, file_size) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn a_damaged_header_never_promises_less_memory_than_the_file_fills(
        damage in proptest::collection::vec((0..512usize, any::<u8>()), 1..8),
        file_size in any::<u64>(),
    ) {
        let mut head = File::default().bytes();
        head.truncate(HEAD_SIZE);
        for (offset, value) in damage {
            head[offset] = value;
        }
        if let Ok(image) = KernelImage::inspect(&head, file_size) {
            prop_assert!(image.memory_size >= file_size);
        }
    }
}
