//! Nothing that a file may hold makes reading it panic or take long.

use firn::image::{container::Container, fit::Fit, inspect, rom::Header};
use proptest::prelude::*;

use crate::{Files, fit, target};

fn survey(bytes: &[u8]) {
    for image in inspect::survey(&bytes, target()) {
        for problem in &image.problems {
            assert!(!problem.text.is_empty());
        }
    }
}

/// A good image, small enough to be read thousands of times, and one with a FIT.
fn good() -> [Vec<u8>; 2] {
    let files = Files::small();
    let mut u_boot =
        firn::image::build::padded_first_stage(target(), &files.spl, files.training()).unwrap();
    u_boot.resize(u_boot.len().next_multiple_of(512), 0);
    u_boot.extend_from_slice(fit::MADE_BY_MKIMAGE[1]);
    [files.image(), u_boot]
}

/// Where something can be hurt: the ROM's header, both containers, the FIT's tree.
fn vulnerable(image: &[u8]) -> Vec<usize> {
    let marks: [&[u8]; 2] = [b"FIRNBOOT", &[0xd0, 0x0d, 0xfe, 0xed]];
    let mut places: Vec<usize> = (0..64).collect();
    for at in (0..image.len()).step_by(64) {
        if marks.iter().any(|mark| image[at..].starts_with(mark)) {
            places.extend(at..(at + 1400).min(image.len()));
        }
    }
    places
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_changed_image_is_read_without_panic(
        which in 0..2usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut image = good()[which].clone();
        let places = vulnerable(&image);
        for (place, value) in changes {
            image[*place.get(&places)] = value;
        }
        if let Some(cut) = cut {
            image.truncate(cut.index(image.len()));
        }
        survey(&image);
    }

    #[test]
    fn a_container_of_any_fields_is_read_without_panic(
        header in prop::collection::vec(any::<u8>(), 80),
        entries in prop::collection::vec(any::<u8>(), 16 * 64),
        count in 0..18u16,
        plausible in any::<bool>(),
    ) {
        use sha2::{Digest, Sha256};
        let mut bytes = [header, entries].concat();
        bytes[..8].copy_from_slice(b"FIRNBOOT");
        if plausible {
            for (at, value) in [(8, 1), (10, 2), (12, 80), (14, 64), (16, count)] {
                bytes[at..at + 2].copy_from_slice(&u16::to_le_bytes(value));
            }
            bytes[20..24].copy_from_slice(&[0; 4]);
            bytes[48] = b'x';
            bytes[49] = 0;
        }
        let end = (80 + 64 * usize::from(count)).min(bytes.len());
        let digest = Sha256::digest(&bytes[..end]);
        bytes.resize(2048, 0);
        bytes[end..end + 32].copy_from_slice(&digest);
        if let Ok(container) = Container::parse(&bytes, 0) {
            for part in container.parts() {
                let _ = part.verify(&bytes);
                let _ = target().check_placement(&part);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        survey(&bytes);
        let _ = Header::parse(&bytes, 0).map(|header| header.check(target().entry, 0));
        let _ = Container::parse(&bytes, 0);
        let _ = Fit::parse(&bytes).map(|fit| fit.images().count());
    }
}

#[test]
fn fields_at_their_limits_are_read_without_panic() {
    for image in good() {
        for at in (0..64).step_by(4) {
            for value in [0, 1, 0x91_ffc0, 0x7fff_ffff, 0xffff_fe00, u32::MAX] {
                let mut image = image.clone();
                if at != 0 {
                    image[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
                }
                survey(&image);
            }
        }
    }
}
