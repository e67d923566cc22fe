//! Damaged kernels of every format: whatever the bytes are, there is a kernel or an error, soon, and
//! nothing is written outside of what was planned. `cargo test` tries some, always the same; by hand,
//! with as many of each format as are wanted:
//!
//!     FIRN_MUTATIONS=1000000 cargo test --release --test kernel_mutations -- --include-ignored

#![allow(clippy::cast_possible_truncation, reason = "numbers are cut on purpose")]

mod loading;
mod through;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    time::{Duration, Instant},
};

use loading::{COMPRESSED, Memory, Random, TREE, image, load_kernel, zboot};
use through::through;

/// Bytes of the kernel in all files, and of the memory that it asks for.
const SIZE: usize = 20_000;
const IMAGE_SIZE: usize = 30_000;
/// However damaged, a file of this size is done with soon. A debug build on a busy machine is slow.
const LONGEST: Duration = Duration::from_secs(10);

/// A file to damage.
struct Whole {
    name: String,
    bytes: Vec<u8>,
    /// Whether a checksum covers all of the kernel, and nothing in the file can turn it off.
    checked: bool,
}

/// One file of each format.
fn wholes() -> Vec<Whole> {
    let kernel = image(SIZE, IMAGE_SIZE);
    let mut padded = kernel.clone();
    padded.resize(IMAGE_SIZE, 0);
    let whole = |name: String, bytes, checked| Whole { name, bytes, checked };
    let mut wholes = vec![whole("Image".into(), kernel.clone(), false)];
    for (command, rule, name) in COMPRESSED {
        let checked = matches!(*name, "gzip" | "xz");
        wholes.push(whole((*command).into(), through(command, &kernel), checked));
        let bytes = zboot(rule, &through(command, &padded), IMAGE_SIZE, 0xaa64);
        wholes.push(whole(format!("zboot, {command}"), bytes, false));
    }
    for options in [&[][..], &["-E"]] {
        wholes.push(whole(format!("FIT {options:?}"), fit(&kernel, options), false));
    }
    wholes
}

/// A FIT image with two kernels, two device trees and three configurations.
fn fit(kernel: &[u8], options: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("kernel"), kernel).unwrap();
    fs::write(at("kernel.gz"), through("gzip -c", kernel)).unwrap();
    fs::write(at("tree"), TREE).unwrap();
    fs::write(at("initrd"), b"an initrd").unwrap();
    let source = r#"/dts-v1/; / {
        description = "damaged";
        images {
            kernel-1 { data = /incbin/("kernel"); type = "kernel"; arch = "arm64"; os = "linux";
                compression = "none"; hash-1 { algo = "crc32"; }; };
            kernel-2 { data = /incbin/("kernel.gz"); type = "kernel"; arch = "arm64"; os = "linux";
                compression = "gzip"; hash-1 { algo = "sha256"; }; };
            fdt-1 { data = /incbin/("tree"); type = "flat_dt"; arch = "arm64"; compression = "none";
                hash-1 { algo = "sha256"; }; };
            ramdisk-1 { data = /incbin/("initrd"); type = "ramdisk"; arch = "arm64"; os = "linux";
                compression = "none"; };
        };
        configurations {
            default = "conf-2";
            conf-1 { kernel = "kernel-1"; fdt = "fdt-1"; };
            conf-2 { kernel = "kernel-2"; ramdisk = "ramdisk-1"; fdt = "fdt-1"; };
            conf-3 { kernel = "kernel-1"; compatible = "other,board"; };
        };
    };"#;
    fs::write(at("image.its"), source).unwrap();
    let mut command = Command::new("mkimage");
    command.args(options).args(["-f", "image.its", "image.itb"]).current_dir(directory.path());
    let output = command.output().expect("mkimage; `cargo xtask setup` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(at("image.itb")).unwrap()
}

/// Damages a few places, most of them where formats have their numbers: at the beginning and at the
/// end.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let length = bytes.len();
        if length < 8 {
            return;
        }
        let at = match random.below(8) {
            0..4 => random.below(length.min(64)),
            4 | 5 => random.below(length.min(4096 + 512)),
            6 => length - 1 - random.below(length.min(64)),
            _ => random.below(length),
        };
        let word = at.min(length - 4) & !3;
        match random.below(10) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 | 3 => bytes[at] = random.next() as u8,
            4 => bytes[word..word + 4].fill(0xff),
            5 => bytes[word..word + 4].fill(0),
            6 => {
                let value = random.below(2 * length) as u32;
                let value =
                    if random.below(2) == 0 { value.to_be_bytes() } else { value.to_le_bytes() };
                bytes[word..word + 4].copy_from_slice(&value);
            }
            7 => bytes.truncate(at),
            8 => {
                let piece = at..(at + 1 + random.below(64)).min(length);
                bytes.drain(piece);
            }
            _ => {
                let from = random.below(length);
                let piece = bytes[from..(from + 1 + random.below(64)).min(length)].to_vec();
                let piece = &piece[..piece.len().min(length - at)];
                bytes[at..at + piece.len()].copy_from_slice(piece);
            }
        }
    }
}

/// Tries `count` mutations of each format; gives how many of them boot.
fn try_mutations(count: u64) -> u64 {
    let kernel = image(SIZE, IMAGE_SIZE);
    let mut booted = 0;
    for Whole { name, bytes, checked } in wholes() {
        let mut memory = Memory::new();
        load_kernel(&mut memory, &bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let before = booted;
        for seed in 0..count {
            let mut mutated = bytes.clone();
            mutate(&mut mutated, &mut Random(seed));
            // All of the memory takes longer to look at than the file to load.
            memory.reach = if seed % 64 == 0 { u64::MAX / 2 } else { 4096 };
            let start = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| load_kernel(&mut memory, &mutated)));
            let outcome = outcome.unwrap_or_else(|_| panic!("{name}, mutation {seed}"));
            assert!(start.elapsed() < LONGEST, "{name}, mutation {seed}: very slow");
            match outcome {
                Ok(hand_over) => {
                    booted += 1;
                    let loaded = memory.at(hand_over.kernel);
                    assert_eq!(loaded[56..60], *b"ARM\x64", "what is jumped to is no kernel");
                    assert!(!checked || loaded.starts_with(&kernel), "{name}, mutation {seed}");
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        println!("{name}: {count} mutations, {} boot", booted - before);
    }
    booted
}

#[test]
fn a_damaged_kernel_of_any_format_boots_or_is_an_error_and_writes_nowhere_else() {
    let booted = try_mutations(150);
    // Some damage is harmless, or where nothing can tell.
    assert!(booted > 50, "{booted} boot");
}

#[test]
#[ignore = "takes as long as FIRN_MUTATIONS says"]
fn many_damaged_kernels_of_any_format_boot_or_are_errors_and_write_nowhere_else() {
    let count = std::env::var("FIRN_MUTATIONS").ok().and_then(|count| count.parse().ok());
    try_mutations(count.unwrap_or(10_000));
}
