//! Makes the images of `tests/fixtures` anew: `cargo test --test fixtures -- --ignored`.

mod disk;

use disk::{Image, fixture_path, recipes};

#[test]
#[ignore = "writes tests/fixtures; needs mkfs and other tools"]
fn make_all() {
    let only = std::env::var("FIXTURE").ok();
    for (name, recipe) in recipes::ALL {
        if only.as_ref().is_none_or(|only| only == name) {
            let packed = recipe().pack();
            println!("{name}: {} bytes", packed.len());
            std::fs::write(fixture_path(name), packed).expect("a fixture");
        }
    }
}

#[test]
fn a_packed_image_unpacks_to_the_same() {
    let mut image = Image::blank(1000);
    image.write(511, b"two blocks");
    image.write(1024, &disk::content(7, 512));
    let copy = Image::unpack(&image.pack());
    assert_eq!(copy.block_count, 1000);
    assert_eq!(copy.read(0, 2048), image.read(0, 2048));
}
