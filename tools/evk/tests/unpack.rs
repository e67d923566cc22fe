//! What decompressing a kernel costs on the emulated board, in instructions a byte, and that it comes
//! out as it was: the decompressors as they are in the firmware (tests/guest/unpack.rs).

mod common;

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    time::Duration,
};

use common::{assets, device_tree, target};
use evk::qemu::{Entry, Machine};

/// Billions of instructions.
const LONG: Duration = Duration::from_secs(600);

/// How a kernel is compressed, and the instructions a byte that this may cost.
const FORMATS: [(&str, u64); 7] = [
    ("gzip -9 -c", 45),
    ("zstd -19 -q -c", 90),
    ("lz4 -9 -c", 45),
    ("lz4 -l -9 -q -c", 45),
    ("xz --check=crc32 --arm64 --lzma2=dict=32MiB -c", 200),
    ("xz --format=lzma -c", 200),
    ("lzop -9 -c", 50),
];

#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn every_format_comes_out_as_it_was_at_its_price() {
    let guest = evk::guest::build_unpack(&target().join("guest")).expect("guest");
    let folder = tempfile::tempdir().unwrap();
    let kernel = folder.path().join("kernel");
    // A part of a real one: all of it takes minutes.
    let bytes = fs::read(assets().kernel).unwrap();
    let bytes = &bytes[..bytes.len().min(6_000_000)];
    fs::write(&kernel, bytes).unwrap();
    let sum = adler(bytes);
    for (command, most) in FORMATS {
        let packed = folder.path().join("packed");
        compress(command, &kernel, &packed);
        let entry = Entry::Kernel {
            image: guest.clone(),
            device_tree: device_tree(),
            initrd: Some(packed),
            command_line: None,
        };
        let mut session = Machine::new(entry).counted_time().cpus(1).start(&assets()).unwrap();
        let text = format!(": whole, {} bytes, adler32 {sum:08x}, ", bytes.len());
        session.expect(&text, LONG).unwrap_or_else(|error| panic!("{command}: {error}"));
        session.expect(" ns\n", LONG).unwrap();
        session.expect("Some(268435456)", LONG).expect("the lent memory is had back");
        let said = session.text();
        let (_, took) = said.split_once(&text).unwrap();
        let took: u64 = took.split(' ').next().unwrap().parse().unwrap();
        let cost = took / bytes.len() as u64;
        println!("{command}: {cost} instructions a byte");
        assert!(cost <= most, "{command}: {cost} instructions a byte");
    }
}

fn compress(command: &str, from: &Path, to: &Path) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap())
        .args(words)
        .stdin(File::open(from).unwrap())
        .stdout(File::create(to).unwrap())
        .status()
        .unwrap_or_else(|error| panic!("{command}: {error}; `cargo xtask setup` installs it"));
    assert!(status.success(), "{command}");
}

fn adler(bytes: &[u8]) -> u32 {
    bytes.iter().fold(1, |sum, &byte| {
        let a = ((sum & 0xffff) + u32::from(byte)) % 65521;
        let b = ((sum >> 16) + a) % 65521;
        b << 16 | a
    })
}
