//! flash.bin as `firn image inspect` reads it, with damaged header, containers or FIT: it says what is
//! there and what is wrong, and nothing of an image that is not damaged.
#![no_main]

use firn::image::{container::Container, fit::Fit, inspect, rom::Header};
use firn_fuzz::{
    flash::{containers, damage, image, repair, target},
    input::Input,
};
use libfuzzer_sys::fuzz_target;

const FITS: [&[u8]; 3] = [
    include_bytes!("../../tests/fixtures/image/fit-embedded.itb"),
    include_bytes!("../../tests/fixtures/image/fit-offset.itb"),
    include_bytes!("../../tests/fixtures/image/fit-position.itb"),
];

thread_local! {
    static IMAGE: Vec<u8> = image();
}

fuzz_target!(|data: &[u8]| {
    // What the bytes are by themselves.
    survey(data);
    let _ = Header::parse(data, 0).map(|header| header.check(target().entry, 0));
    let _ = Container::parse(data, 0).map_err(|error| error.to_string());
    let _ = Fit::parse(data).map(|fit| fit.images().count());

    let mut input = Input(data);
    let flags = input.byte();
    let mut bytes = IMAGE.with(Clone::clone);
    let places = containers(&bytes);
    if flags & 1 != 0 {
        // U-Boot's image: behind what the boot ROM loads comes a FIT.
        let loaded = Header::parse(&bytes, 0).map_or(0, |header| header.signed_size());
        bytes.truncate(loaded as usize);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        let place = bytes.len();
        bytes.extend(FITS[usize::from(flags >> 1) % FITS.len()]);
        for _ in 0..input.byte() % 16 {
            let at = place + usize::from(input.u16()) % (bytes.len() - place);
            bytes[at] = input.byte();
        }
    }
    let cut = if flags & 0x80 != 0 { usize::from(input.u16()) } else { 0 };
    let before = bytes.clone();
    damage(&mut bytes, &places, 64, &mut input);
    if flags & 0x40 == 0 {
        places.iter().for_each(|&place| repair(&mut bytes, place));
    }
    bytes.truncate(bytes.len().saturating_sub(cut));
    let is_good = bytes == before && flags & 1 == 0;
    let images = survey(&bytes);
    assert!(!is_good || images.iter().all(|image| image.problems.is_empty()), "{images:?}");
    assert!(!is_good || images.len() == 1);
});

fn survey(bytes: &[u8]) -> Vec<inspect::Image> {
    let images = inspect::survey(&bytes, target());
    for image in &images {
        for problem in &image.problems {
            assert!(!problem.text.is_empty(), "{problem:?}");
        }
        assert!(image.parts.len() <= 64, "{} parts", image.parts.len());
        for part in &image.parts {
            let end = part.offset.checked_add(part.size);
            let is_there = end.is_some_and(|end| end <= bytes.len() as u64);
            assert!(is_there || part.digest.is_none(), "a digest of what is not there: {part:?}");
        }
    }
    images
}
