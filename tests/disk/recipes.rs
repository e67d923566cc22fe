//! How the images of `tests/fixtures` were made, by the real tools: run by `tests/fixtures.rs`.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Image, content, recognise_content};

pub const MIB: usize = 1 << 20;

pub type Recipe = fn() -> Image;

/// Recipes by name.
pub const ALL: &[(&str, Recipe)] = &[
    ("gpt", gpt),
    ("mbr", mbr),
    ("fat12", || fat(12)),
    ("fat16", || fat(16)),
    ("fat32", || fat(32)),
    ("fat32-large", fat_large),
    ("ext4", ext4),
    ("ext4-large", ext4_large),
    ("ext4-1k", ext4_1k),
    ("ext4-plain", ext4_plain),
    ("ext3", || ext23("ext3")),
    ("ext2", || ext23("ext2")),
    ("ext4-dirty", || dirty(&["-t", "ext4", "-O", &ext4_features()], "-c -v 3", 0)),
    // Inodes of 128 bytes have no room for the upper half of their checksum.
    ("ext4-dirty-v2", || dirty(&["-t", "ext4", "-I", "128", "-O", &ext4_features()], "-c -v 2", 0)),
    ("ext4-dirty-wrapped", || dirty(&["-t", "ext4", "-O", &ext4_features()], "-c -v 3", -7)),
    ("ext3-dirty", || dirty(&["-t", "ext3", "-O", "^resize_inode"], "", 0)),
];

/// A directory that goes away with its value.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("firn-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("inside of the scratch")).expect("a directory");
        path
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a file");
    }

    /// A file of zeros that takes no room.
    pub fn blank_image(&self, name: &str, size: usize) -> PathBuf {
        let path = self.path(name);
        let file = fs::File::create(&path).expect("an image");
        file.set_len(size as u64).expect("a sparse file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a tool and gives its output; says what to install if it is not there.
pub fn run(tool: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(tool)
        .args(arguments)
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
        // For images that are the same each time.
        .env("E2FSPROGS_FAKE_TIME", "1700000000")
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("MTOOLS_SKIP_CHECK", "1")
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{tool}: {error}; on Debian, install e2fsprogs dosfstools mtools fdisk gdisk")
        });
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, input.as_bytes()).expect("input is taken");
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    // fsck gives 1 when it changed something, as it is asked to.
    let is_good = output.status.success() || tool == "e2fsck" && output.status.code() == Some(1);
    assert!(is_good, "{tool} {arguments:?}: {errors}\n{text}");
    text
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// As `sd-image` and this project lay out a card, with a gap in the numbers.
fn gpt() -> Image {
    let scratch = Scratch::new("gpt");
    let image = scratch.blank_image("card", 64 * MIB);
    let script = "label: gpt\n\
        label-id: 11111111-2222-3333-4444-555555555555\n\
        1: start=16384, size=32768, type=U, name=\"FIRMWARE\", attrs=LegacyBIOSBootable, \
           uuid=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee\n\
        2: start=49152, size=65536, type=L, name=\"Wurzel-übung\", \
           uuid=01234567-89ab-cdef-0123-456789abcdef\n\
        5: start=114688, size=16000, type=S, name=\"\"\n";
    run("sfdisk", &["--quiet", text(&image)], script);
    Image::load(&image)
}

/// Two primary and three logical partitions.
fn mbr() -> Image {
    let scratch = Scratch::new("mbr");
    let image = scratch.blank_image("card", 64 * MIB);
    let script = "label: dos\n\
        label-id: 0xcafe1234\n\
        1: start=16384, size=16384, type=c, bootable\n\
        2: start=32768, size=16384, type=83\n\
        4: start=49152, size=81920, type=f\n\
        5: start=51200, size=8192, type=83\n\
        6: start=61440, size=8192, type=82\n\
        7: start=71680, size=8192, type=83\n";
    run("sfdisk", &["--quiet", text(&image)], script);
    Image::load(&image)
}

/// Files that FAT fixtures hold besides a fragmented one: path, seed, size.
pub const FAT_FILES: &[(&str, u32, usize)] = &[
    ("/EXTLINUX/extlinux.conf", 1, 700),
    ("/nixos/k8d3vx1zr1bcd2qhw9y7h5lwv3zs0a4n-linux-6.12.30-Image", 2, 70_000),
    ("/nixos/Ein Name mit Leerzeichen, Ümläuten und 日本.txt", 3, 512),
    ("/empty", 4, 0),
    ("/a/b/c/d/deep.bin", 5, 1025),
];
/// A file in many pieces: path, seed, size.
pub const FAT_FRAGMENTED: (&str, u32, usize) = ("/fragmented.bin", 6, 150_001);

/// The smallest file systems of each width, so that their clusters are of one sector.
fn fat(width: u32) -> Image {
    let scratch = Scratch::new(&format!("fat{width}"));
    let size = match width {
        12 => 2 * MIB,
        16 => 8 * MIB,
        _ => 34 * MIB,
    };
    let image = scratch.blank_image("image", size);
    let image = text(&image);
    let width = width.to_string();
    run("mkfs.vfat", &["-F", &width, "-s", "1", "-n", "BOOT", "-i", "cafe0001", image], "");
    fill_fat(&scratch, image);
    Image::load(Path::new(image))
}

fn fill_fat(scratch: &Scratch, image: &str) {
    let host = scratch.path("host");
    let host = text(&host);
    let copy = |seed: u32, size: usize, path: &str| {
        fs::write(host, content(seed, size)).expect("a file");
        run("mcopy", &["-i", image, host, &format!("::{path}")], "");
    };
    for directory in ["/EXTLINUX", "/nixos", "/a", "/a/b", "/a/b/c", "/a/b/c/d"] {
        run("mmd", &["-i", image, &format!("::{directory}")], "");
    }
    for &(path, seed, size) in FAT_FILES {
        copy(seed, size, path);
    }
    // Holes of three clusters, which the fragmented file then fills.
    for number in 0..40 {
        copy(100 + number, 3 * 512, &format!("/filler{number}"));
    }
    for number in (0..40).step_by(2) {
        run("mdel", &["-i", image, &format!("::/filler{number}")], "");
    }
    let (path, seed, size) = FAT_FRAGMENTED;
    copy(seed, size, path);
}

/// The size of a kernel: path, seed, size.
pub const LARGE: (&str, u32, usize) = ("/Image", 60, 60 * MIB + 77);

/// FAT32 as `mkfs.vfat` chooses it for a firmware partition.
fn fat_large() -> Image {
    let scratch = Scratch::new("fat-large");
    let image = scratch.blank_image("image", 512 * MIB);
    let image = text(&image);
    run("mkfs.vfat", &["-F", "32", "-n", "FIRMWARE", "-i", "cafe0002", image], "");
    let host = scratch.path("host");
    let (path, seed, size) = LARGE;
    fs::write(&host, content(seed, size)).expect("a file");
    run("mcopy", &["-i", image, text(&host), &format!("::{path}")], "");
    Image::load(Path::new(image))
}

/// What `mkfs.ext4` of e2fsprogs 1.47 enables; given here so that another version makes the same.
pub fn ext4_features() -> String {
    "none,has_journal,ext_attr,resize_inode,dir_index,orphan_file,filetype,extent,64bit,flex_bg,\
     metadata_csum_seed,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
        .into()
}

/// Files of the ext4 fixtures: path, seed, size.
pub const EXT4_FILES: &[(&str, u32, usize)] = &[
    ("/boot/extlinux/extlinux.conf", 11, 1500),
    ("/boot/nixos/k8d3vx1zr1bcd2qhw9y7h5lwv3zs0a4n-linux-6.12.30-Image", 12, 300_001),
    ("/empty", 13, 0),
    ("/nix/store/abc-linux/Image", 14, 70_000),
];
/// Symbolic links: path, target.
pub const EXT4_LINKS: &[(&str, &str)] = &[
    ("/nix/var/nix/profiles/system", "system-2-link"),
    ("/nix/var/nix/profiles/system-2-link", "/nix/store/xyz-nixos-system"),
    ("/nix/store/xyz-nixos-system/kernel", "/nix/store/abc-linux/Image"),
    ("/nix/store/xyz-nixos-system/up", "../abc-linux/../abc-linux/Image"),
    ("/loop-a", "loop-b"),
    ("/loop-b", "/loop-a"),
    ("/self", "self"),
    ("/dangling", "nowhere"),
    // Longer than 59 bytes, so outside of the inode.
    (
        "/long-link",
        "/nix/store/../store/../store/../store/../store/../store/../store/abc-linux/./Image",
    ),
];

/// A tree as [`EXT4_FILES`] and [`EXT4_LINKS`] tell.
pub fn ext4_tree(scratch: &Scratch) -> PathBuf {
    for &(path, seed, size) in EXT4_FILES {
        scratch.write(&format!("tree{path}"), &content(seed, size));
    }
    for &(path, target) in EXT4_LINKS {
        let link = scratch.path(&format!("tree{path}"));
        std::os::unix::fs::symlink(target, link).expect("a link");
    }
    scratch.path("tree")
}

/// Runs `mke2fs` with a tree.
pub fn mke2fs(image: &Path, tree: &Path, arguments: &[&str]) {
    let mut all = vec!["-q", "-F", "-L", "nixos", "-d", text(tree)];
    all.extend(["-U", "5eed5eed-0000-4000-8000-000000000001"]);
    all.extend(["-E", "hash_seed=5eed5eed-0000-4000-8000-000000000002,root_owner=0:0"]);
    all.extend(arguments);
    all.push(text(image));
    run("mke2fs", &all, "");
}

/// Runs commands of `debugfs`.
pub fn debugfs(image: &Path, commands: &[String]) -> String {
    let mut script = String::new();
    for command in commands {
        writeln!(script, "{command}").expect("room");
    }
    run("debugfs", &["-w", "-f", "-", text(image)], &script)
}

/// As NixOS's images and installations have it.
fn ext4() -> Image {
    let scratch = Scratch::new("ext4");
    let image = scratch.blank_image("image", 16 * MIB);
    let tree = ext4_tree(&scratch);
    mke2fs(&image, &tree, &["-t", "ext4", "-b", "4096", "-I", "256", "-O", &ext4_features()]);
    Image::load(&image)
}

/// With a kernel.
fn ext4_large() -> Image {
    let scratch = Scratch::new("ext4-large");
    let image = scratch.blank_image("image", 512 * MIB);
    let (path, seed, size) = LARGE;
    scratch.write(&format!("tree{path}"), &content(seed, size));
    let features = ext4_features();
    mke2fs(&image, &scratch.path("tree"), &["-t", "ext4", "-b", "4096", "-O", &features]);
    Image::load(&image)
}

/// Names in the indexed directory of `ext4-1k`, all of one file. So many that its index has two
/// levels.
pub const MANY_NAMES: usize = 3500;

/// A name in the directory `/many`.
pub fn one_of_many(number: usize) -> String {
    format!("/many/a-name-as-long-as-those-in-the-store-{number:04}")
}

/// Fills `/many` of a tree.
fn add_many(scratch: &Scratch, count: usize) {
    let first = format!("tree{}", one_of_many(0));
    scratch.write(&first, b"one of many");
    for number in 1..count {
        let name = scratch.path(&format!("tree{}", one_of_many(number)));
        fs::hard_link(scratch.path(&first), name).expect("a link");
    }
}

/// A file of 1 KiB blocks, every other one of them a gap: path, seed, size.
pub const PUNCHED: (&str, u32, usize) = ("/punched", 21, 4 * MIB);
/// A file whose blocks from 1 to 9 were never written and from 10 to 19 were allocated, no more.
pub const SPARSE: (&str, u32, usize) = ("/sparse", 22, 40 * 1024 + 100);

/// Blocks of 1 KiB, and what takes them: deep extent trees, deep directory indices, gaps.
fn ext4_1k() -> Image {
    let scratch = Scratch::new("ext4-1k");
    let image = scratch.blank_image("image", 16 * MIB);
    let tree = ext4_tree(&scratch);
    add_many(&scratch, MANY_NAMES);
    let (path, seed, size) = PUNCHED;
    scratch.write(&format!("tree{path}"), &content(seed, size));
    let (path, seed, size) = SPARSE;
    let mut sparse = content(seed, size);
    sparse[1024..20 * 1024].fill(0);
    scratch.write(&format!("tree{path}"), &sparse);
    mke2fs(&image, &tree, &["-t", "ext4", "-b", "1024", "-O", &ext4_features()]);

    let mut commands: Vec<_> =
        (0..4096).step_by(2).map(|block| format!("punch /punched {block} {block}")).collect();
    commands.push("fallocate /sparse 10 19".into());
    debugfs(&image, &commands);
    run("e2fsck", &["-fyD", text(&image)], "");
    let allocated = block_of(&image, "/sparse", 10);
    let mut image = Image::load(&image);
    image.write(allocated * 1024, &[0xaa; 1024]);
    image
}

/// Without checksums, so that damage is not found by those.
fn ext4_plain() -> Image {
    let scratch = Scratch::new("ext4-plain");
    let image = scratch.blank_image("image", 8 * MIB);
    let tree = ext4_tree(&scratch);
    add_many(&scratch, 200);
    let (path, seed, _) = PUNCHED;
    scratch.write(&format!("tree{path}"), &content(seed, MIB));
    let features = "none,dir_index,filetype,extent,flex_bg,sparse_super,large_file";
    mke2fs(&image, &tree, &["-t", "ext4", "-b", "1024", "-O", features]);
    let commands: Vec<_> =
        (0..1024).step_by(3).map(|block| format!("punch /punched {block} {block}")).collect();
    debugfs(&image, &commands);
    run("e2fsck", &["-fyD", text(&image)], "");
    Image::load(&image)
}

/// A file that needs three levels of the map of ext2: path, seed, size.
pub const INDIRECT: (&str, u32, usize) = ("/indirect", 23, 70 * MIB);

/// A file with a gap that takes whole branches of the map of ext2 and ends in its third level: path,
/// seed, size of its beginning and its end, size.
pub const GAP: (&str, u32, usize, usize) = ("/gap", 24, 20_000, 80 * MIB);

/// What [`GAP`] holds.
pub fn gap_content() -> Vec<u8> {
    let (_, seed, piece, size) = GAP;
    let mut bytes = content(seed, size);
    bytes[piece..size - piece].fill(0);
    bytes
}

/// Maps of single blocks, blocks of 1 KiB so that the map is deep, and a file with a large gap.
fn ext23(kind: &str) -> Image {
    let scratch = Scratch::new(kind);
    let image = scratch.blank_image("image", 128 * MIB);
    let tree = ext4_tree(&scratch);
    let (path, seed, size) = INDIRECT;
    scratch.write(&format!("tree{path}"), &content(seed, size));
    let (path, seed, size) = SPARSE;
    let mut sparse = content(seed, size);
    sparse[1024..20 * 1024].fill(0);
    scratch.write(&format!("tree{path}"), &sparse);
    scratch.write(&format!("tree{}", GAP.0), &gap_content());
    let journal = if kind == "ext3" { ",has_journal" } else { "" };
    let features = format!("none,dir_index,filetype,sparse_super{journal}");
    mke2fs(&image, &tree, &["-t", kind, "-b", "1024", "-O", &features]);
    Image::load(&image)
}

/// Files of the dirty file systems, of which only the journal knows: path, seed, size.
pub const JOURNALED: &[(&str, u32, usize)] =
    &[("/new/Image", 31, 200_000), ("/new/deeper/initrd", 32, 5000)];

/// A file system as a power cut leaves it: files, directories and a link were made, their blocks
/// written, all else is in the journal. Its transactions: (1) garbage, among others for a block of a
/// file; (2) what is right; (3) a revocation of the file's block; (4) garbage without commit. With
/// `rotation` the log begins so many blocks further on in its ring.
fn dirty(arguments: &[&str], journal: &str, rotation: i32) -> Image {
    let scratch = Scratch::new(&format!("dirty{rotation}{}", journal.len() + arguments.len()));
    let before = scratch.blank_image("before", 16 * MIB);
    let tree = ext4_tree(&scratch);
    mke2fs(&before, &tree, &[&["-b", "4096"], arguments].concat());

    let after = scratch.path("after");
    fs::copy(&before, &after).expect("a copy");
    let mut commands = vec!["mkdir /new".into(), "mkdir /new/deeper".into()];
    for &(path, seed, size) in JOURNALED {
        let host = format!("host-{seed}");
        scratch.write(&host, &content(seed, size));
        commands.push(format!("write {} {path}", text(&scratch.path(&host))));
    }
    commands.push("symlink /new/link deeper/initrd".into());
    debugfs(&after, &commands);

    let before_bytes = fs::read(&before).expect("an image");
    let after_bytes = fs::read(&after).expect("an image");
    let changed: Vec<u64> = (1..before_bytes.len() / 4096)
        .filter(|number| {
            let range = number * 4096..(number + 1) * 4096;
            before_bytes[range.clone()] != after_bytes[range]
        })
        .map(|number| number as u64)
        .collect();
    let is_data = |&number: &u64| {
        let at = number as usize * 4096;
        recognise_content(after_bytes[at..at + 512].try_into().expect("a block")).is_some()
    };
    let (data, metadata): (Vec<u64>, Vec<u64>) = changed.into_iter().partition(is_data);
    let mut written = before_bytes;
    for &number in &data {
        let range = number as usize * 4096..(number as usize + 1) * 4096;
        written[range.clone()].copy_from_slice(&after_bytes[range]);
    }
    fs::write(&before, written).expect("an image");

    let list = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let contents = |name: &str, numbers: &[u64], garbage: Option<u8>| {
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|&number| match garbage {
                Some(byte) => vec![byte; 4096],
                None => after_bytes[number as usize * 4096..][..4096].to_vec(),
            })
            .collect();
        scratch.write(name, &bytes);
        text(&scratch.path(name)).to_string()
    };
    // What only a transaction without commit writes.
    let root = block_of(&before, "/", 0);
    let wrong: Vec<u64> = metadata.iter().chain(&data[3..4]).copied().collect();
    let commands = [
        format!("jo {journal}"),
        format!("jw -b {} {}", list(&wrong), contents("wrong", &wrong, Some(0xbb))),
        format!("jw -b {} {}", list(&metadata), contents("right", &metadata, None)),
        format!("jw -r {}", data[3]),
        format!("jw -b {root} -c {}", contents("uncommitted", &[root], Some(0xcc))),
        "jc".into(),
    ];
    debugfs(&before, &commands);
    if rotation != 0 {
        rotate_journal(&before, rotation);
    }
    Image::load(&before)
}

/// Moves the log of a journal with checksums in its ring.
fn rotate_journal(image: &Path, by: i32) {
    let blocks = run("debugfs", &["-R", "blocks <8>", text(image)], "");
    let places: Vec<usize> =
        blocks.split_whitespace().map(|number| number.parse().expect("a block")).collect();
    let mut bytes = fs::read(image).expect("an image");
    let start = places[0] * 4096;
    let number = |bytes: &[u8], at: usize| {
        u32::from_be_bytes(bytes[start + at..start + at + 4].try_into().expect("four bytes"))
    };
    let (end, first) = (number(&bytes, 0x10) as usize, number(&bytes, 0x14) as usize);
    let distance = by.rem_euclid((end - first) as i32) as usize;
    let mut ring: Vec<Vec<u8>> =
        places[first..end].iter().map(|place| bytes[place * 4096..][..4096].to_vec()).collect();
    ring.rotate_right(distance);
    for (place, block) in places[first..end].iter().zip(ring) {
        bytes[place * 4096..][..4096].copy_from_slice(&block);
    }
    let log_start = number(&bytes, 0x1c) as usize;
    let moved = (log_start - first + distance) % (end - first) + first;
    bytes[start + 0x1c..start + 0x20].copy_from_slice(&(moved as u32).to_be_bytes());
    bytes[start + 0xfc..start + 0x100].fill(0);
    let checksum = crc32c(&bytes[start..start + 1024]);
    bytes[start + 0xfc..start + 0x100].copy_from_slice(&checksum.to_be_bytes());
    fs::write(image, bytes).expect("an image");
}

/// CRC-32C as ext4 has it, without the last inversion.
pub fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc: u32, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

/// What `debugfs` answers to a question: a block's number.
fn block_of(image: &Path, file: &str, block: u32) -> u64 {
    let answer = run("debugfs", &["-R", &format!("bmap {file} {block}"), text(image)], "");
    let number = answer.split_whitespace().next().unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("{file}: {answer:?}"))
}
