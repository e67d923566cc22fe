//! How the images of `tests/fixtures` were made, by the real tools: run by `tests/fixtures.rs`.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Image, content};

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
    assert!(output.status.success(), "{tool} {arguments:?}: {errors}\n{text}");
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
const EXT4_FEATURES: &str = "has_journal,ext_attr,resize_inode,dir_index,orphan_file,filetype,\
    extent,64bit,flex_bg,metadata_csum_seed,sparse_super,large_file,huge_file,dir_nlink,\
    extra_isize,metadata_csum";

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
    let features = format!("none,{EXT4_FEATURES}");
    mke2fs(&image, &tree, &["-t", "ext4", "-b", "4096", "-I", "256", "-O", &features]);
    Image::load(&image)
}
