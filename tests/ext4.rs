//! ext2, ext3 and ext4 file systems made by mke2fs and debugfs.

mod disk;

use disk::{Disk, Image, content, recipes};
use firn::fs::{Error, ErrorKind, FileSystem, FileType, mount};

fn mount_fixture(name: &str) -> Box<dyn FileSystem> {
    mount(Disk::new(Image::fixture(name)).volume()).expect("a file system")
}

fn read(fs: &mut dyn FileSystem, path: &str) -> Result<Vec<u8>, Error> {
    let mut file = fs.open(path)?;
    let mut bytes = vec![0xee; usize::try_from(file.size()).expect("a small file")];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

#[test]
fn the_contents_of_all_files_are_read() {
    let mut fs = mount_fixture("ext4");
    assert_eq!((fs.kind(), fs.label().as_deref()), ("ext4", Some("nixos")));
    for &(path, seed, size) in recipes::EXT4_FILES {
        assert!(read(&mut *fs, path).expect("a file") == content(seed, size), "{path}");
        let metadata = fs.metadata(path).expect("metadata");
        assert_eq!((metadata.file_type, metadata.size), (FileType::File, size as u64));
    }
}

#[test]
fn symbolic_links_are_followed_and_loops_end() {
    let mut fs = mount_fixture("ext4");
    let kernel = content(14, 70_000);
    for path in [
        "/nix/var/nix/profiles/system/kernel",
        "/nix/store/xyz-nixos-system/up",
        "/nix/var/../store/xyz-nixos-system/../abc-linux/Image",
        "/long-link",
    ] {
        assert!(read(&mut *fs, path).expect("a kernel") == kernel, "{path}");
    }
    for path in ["/loop-a", "/loop-b/below", "/self"] {
        assert_eq!(fs.metadata(path).expect_err("a loop").kind, ErrorKind::TooManyLinks);
    }
    assert_eq!(fs.open("/dangling").err().expect("nothing").kind, ErrorKind::NotFound);
    for &(path, target) in recipes::EXT4_LINKS {
        assert_eq!(fs.read_link(path).expect("a link"), target);
    }
}
