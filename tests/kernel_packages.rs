//! Kernels in packages: what boots, and what is said of what does not.

mod loading;
mod through;

use firn::error::Coded;
use loading::{
    COMPRESSED, IMAGE_SIZE, KERNEL_SIZE, Memory, kernel, load_kernel, log, refusal, sample, zboot,
};
use through::through;

const ARM64: u16 = 0xaa64;

/// The kernel as it must lie in memory, padded as zboot pads it.
fn padded() -> Vec<u8> {
    let mut padded = kernel();
    padded.resize(IMAGE_SIZE, 0);
    padded
}

fn loads_as(file: &[u8], image: &[u8], line: &str) {
    let mut memory = Memory::new();
    let hand_over =
        load_kernel(&mut memory, file).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(hand_over.kernel.size(), IMAGE_SIZE as u64);
    assert!(memory.at(hand_over.kernel).starts_with(image), "{line}: another kernel");
    assert!(log().lines().any(|logged| logged == line), "no {line:?} in:\n{}", log());
}

#[test]
fn a_plain_image_boots() {
    loads_as(&kernel(), &kernel(), "kernel /kernel, 195.3 KiB");
}

#[test]
fn a_compressed_image_boots_and_the_log_tells_its_unpacked_size() {
    for (command, _, name) in COMPRESSED {
        let file = through(command, &kernel());
        loads_as(&file, &kernel(), &format!("kernel /kernel, 195.3 KiB, {name}"));
    }
}

#[test]
fn a_zboot_kernel_boots_without_being_run() {
    for (command, rule, name) in COMPRESSED {
        let file = zboot(rule, &through(command, &padded()), IMAGE_SIZE, ARM64);
        loads_as(&file, &padded(), &format!("kernel /kernel, 292.9 KiB, {name}"));
    }
}

#[test]
fn a_zboot_kernel_for_another_processor_is_named() {
    for (machine, name) in [(0x8664, "x86-64"), (0x5064, "RISC-V"), (0x6264, "LoongArch")] {
        let file = zboot("gzip", &through("gzip -c", &padded()), IMAGE_SIZE, machine);
        let text = refusal(&file);
        assert!(text.starts_with("[E501]"), "{text}");
        assert!(text.contains(&format!("zboot kernel (vmlinuz.efi) for {name}")), "{text}");
    }
}

#[test]
fn a_zboot_kernel_with_an_unknown_compression_says_which_are_known() {
    let text = refusal(&zboot("brotli", &[1, 2, 3, 4], 10_000, ARM64));
    assert!(text.starts_with("[E507]"), "{text}");
    assert!(text.contains("use gzip, zstd, lz4, xz, lzma or lzo"), "{text}");
}

#[test]
fn a_zboot_kernel_whose_payload_ends_behind_the_file_is_truncated() {
    let whole = zboot("gzip", &through("gzip -c", &padded()), IMAGE_SIZE, ARM64);
    for size in [4096, 5000, whole.len() - 3001] {
        let text = refusal(&whole[..size]);
        assert!(text.starts_with("[E502]"), "{size}: {text}");
        assert!(text.contains(&format!("it has {size} bytes of ")), "{text}");
    }
    // A header whose numbers say so.
    let mut lies = whole.clone();
    lies[12..16].fill(0xff);
    assert!(refusal(&lies).starts_with("[E502]"), "{}", refusal(&lies));
    lies[8..12].fill(0xff);
    assert!(refusal(&lies).starts_with("[E502]"), "{}", refusal(&lies));
}

#[test]
fn a_zboot_kernel_that_unpacks_to_another_size_than_it_says_is_damaged() {
    // The size that gzip has at its end belongs to another Image than the payload's.
    let payload = through("gzip -c", &padded());
    let mut file = zboot("gzip", &payload, IMAGE_SIZE, ARM64);
    let end = 4096 + payload.len();
    file[end - 4..end].copy_from_slice(&77u32.to_le_bytes());
    assert!(refusal(&file).starts_with("[E506]"), "{}", refusal(&file));
    // Nothing in a legacy frame of lz4 says where it ends.
    let payload = through("lz4 -c -l -9", &kernel());
    let text = refusal(&zboot("lz4", &payload, IMAGE_SIZE, ARM64));
    assert!(text.starts_with("[E506]"), "{text}");
    assert!(text.contains("it unpacks to 200000 bytes of 300000"), "{text}");
}

#[test]
fn a_package_in_a_package_is_named_and_not_unpacked_further() {
    let gzip = through("gzip -c", &kernel());
    let zboot = zboot("gzip", &through("gzip -c", &padded()), IMAGE_SIZE, ARM64);
    for (inner, name) in [(&gzip, "gzip"), (&zboot, "EFI zboot")] {
        let text = refusal(&through("gzip -c", inner));
        assert!(text.starts_with("[E507] /kernel: "), "{text}");
        assert!(text.contains(&format!("{name} where the arm64 Image should be")), "{text}");
    }
}

#[test]
fn something_else_that_is_compressed_is_named_as_what_it_is() {
    let mut bzimage = vec![0x90; 9000];
    bzimage[0x202..0x206].copy_from_slice(b"HdrS");
    let text = refusal(&through("gzip -c", &bzimage));
    assert!(text.starts_with("[E501]") && text.contains("an x86 bzImage"), "{text}");
    let text = refusal(&through("gzip -c", &sample(9000)));
    assert!(text.starts_with("[E501]"), "{text}");
    assert!(refusal(&through("gzip -c", b"")).starts_with("[E502]"));
}

#[test]
fn a_file_with_bzip2_is_told_what_to_use() {
    let text =
        refusal(b"BZh91AY&SY................................................................");
    assert!(text.starts_with("[E501]") && text.contains("use gzip, zstd"), "{text}");
}

#[test]
fn a_compressed_kernel_before_3_17_does_not_say_how_much_memory_it_needs() {
    let mut old = kernel();
    old[16..24].fill(0);
    let text = refusal(&through("gzip -c", &old));
    assert!(text.starts_with("[E507]"), "{text}");
    assert!(text.contains("unpack it and boot the Image"), "{text}");
}

#[test]
fn nothing_is_written_of_a_kernel_that_asks_for_more_memory_than_there_is() {
    let mut large = kernel();
    large[16..24].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    assert!(refusal(&through("gzip -c", &large)).starts_with("[E504]"));
}

#[test]
fn a_kernel_that_unpacks_to_more_than_it_asks_for_stops_where_its_memory_ends() {
    let mut bomb = kernel();
    bomb.resize(IMAGE_SIZE + 1, 0);
    let text = refusal(&through("gzip -c", &bomb));
    assert!(text.starts_with("[E506]"), "{text}");
    assert!(text.contains("unpacks to more than the 300000 bytes"), "{text}");
    bomb.resize(40 << 20, 0);
    assert!(refusal(&through("gzip -c", &bomb)).contains("unpacks to more than"));
}

#[test]
fn a_kernel_whose_sections_do_not_fit_its_own_memory_contradicts_itself() {
    let mut kernel = kernel();
    kernel[16..24].copy_from_slice(&100_000_u64.to_le_bytes());
    let text = refusal(&through("gzip -c", &kernel));
    assert!(text.starts_with("[E506]") && text.contains("its sections need 200000"), "{text}");
}

#[test]
fn a_kernel_that_was_cut_off_before_it_was_compressed_is_truncated() {
    let text = refusal(&through("gzip -c", &kernel()[..KERNEL_SIZE / 2]));
    assert!(text.starts_with("[E502]"), "{text}");
    assert!(text.contains("it has 100000 bytes of 200000"), "{text}");
}

#[test]
fn a_compressed_kernel_cut_off_anywhere_does_not_boot() {
    for (command, _, name) in COMPRESSED {
        let whole = through(command, &kernel());
        let mut memory = Memory::new();
        for size in (0..64).chain((64..whole.len()).step_by(997)).chain([whole.len() - 1]) {
            let error = load_kernel(&mut memory, &whole[..size]).expect_err(name);
            let code = error.code().number();
            assert!(matches!(code, 501 | 502 | 506), "{name}, {size} bytes: {error}");
        }
    }
}

#[test]
fn what_a_failed_attempt_leaves_in_memory_does_not_stop_the_next() {
    let mut memory = Memory::new();
    let mut broken = through("gzip -c", &kernel());
    let middle = broken.len() / 2;
    broken[middle..].fill(0);
    load_kernel(&mut memory, &broken).unwrap_err();
    let hand_over = load_kernel(&mut memory, &through("gzip -c", &kernel())).unwrap();
    assert!(memory.at(hand_over.kernel).starts_with(&kernel()));
}
