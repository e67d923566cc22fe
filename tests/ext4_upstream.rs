//! What the pinned `ext4-view` does not do, so that `src/fs/ext4` does it. A test that fails here
//! after an update is good news: something in `src/fs/ext4` can go.

mod disk;

use std::panic::catch_unwind;

use disk::{Image, content, recipes};
use ext4_view::{Ext4, Ext4Error, Ext4Read};

struct Reader(Image);

impl Ext4Read for Reader {
    fn read(
        &mut self,
        start: u64,
        destination: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        destination.copy_from_slice(&self.0.read(start, destination.len()));
        Ok(())
    }
}

fn load(name: &str) -> Result<Ext4, Ext4Error> {
    load_image(Image::fixture(name))
}

fn load_image(image: Image) -> Result<Ext4, Ext4Error> {
    Ext4::load(Box::new(Reader(image)))
}

#[test]
fn it_shows_a_files_inode_number_only_to_debug() {
    let fs = load("ext4").expect("a file system");
    let file = fs.open("/boot/extlinux/extlinux.conf").expect("a file");
    let text = format!("{file:?}");
    assert!(text.starts_with("File { inode: ") && text.contains(", position: 0"), "{text}");
}

#[test]
fn it_reads_what_was_never_written_as_if_it_had_been() {
    let fs = load("ext4-1k").expect("a file system");
    let (path, seed, size) = recipes::SPARSE;
    let mut expected = content(seed, size);
    expected[1024..20 * 1024].fill(0);
    assert!(fs.read(path).expect("a file") != expected);
}

#[test]
fn it_cannot_read_a_file_with_missing_branches_in_its_block_map() {
    let fs = load("ext2").expect("a file system");
    assert!(matches!(fs.read(recipes::GAP.0), Err(Ext4Error::Corrupt(_))));
}

#[test]
fn it_ignores_revocations_of_what_earlier_transactions_wrote() {
    let fs = load("ext4-dirty").expect("a file system");
    let (path, seed, size) = recipes::JOURNALED[0];
    assert!(fs.read(path).expect("a file") != content(seed, size));
}

#[test]
fn it_forgets_what_lies_behind_the_wrap_of_the_journal() {
    let fs = load("ext4-dirty-wrapped").expect("a file system");
    assert!(matches!(fs.open(recipes::JOURNALED[0].0), Err(Ext4Error::NotFound)));
}

#[test]
fn it_refuses_journals_of_older_formats() {
    assert!(matches!(load("ext3-dirty"), Err(Ext4Error::Incompatible(_))));
}

#[test]
fn it_refuses_checksums_of_small_inodes() {
    assert!(matches!(load("ext4-dirty-v2"), Err(Ext4Error::Corrupt(_))));
}

#[test]
fn it_panics_on_a_directory_index_with_more_entries_than_room() {
    let mut image = Image::fixture("ext4-1k");
    let root = image
        .literal_blocks()
        .into_iter()
        .map(|block| block * 512)
        .find(|&at| image.read(at + 0x18, 6)[..4] == [0; 4] && image.read(at + 0x1d, 1) == [8])
        .expect("an index");
    image.write(root + 0x22, &[0xff, 0xff]);
    let name = recipes::one_of_many(5);
    let result = catch_unwind(|| load_image(image).and_then(|fs| fs.open(name.as_str())).is_ok());
    assert!(result.is_err(), "a panic");
}
