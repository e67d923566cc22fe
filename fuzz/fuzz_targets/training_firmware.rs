//! The training firmware as the first stage finds it in on-chip memory, and as `firn image build`
//! judges it: what is given to the memory's controller fits there and has the digest that the
//! container tells.
#![no_main]

use firn::{
    image::{
        container::{Container, Role},
        training::{self, KINDS, Leniency},
    },
    spl::training_firmware::find,
};
use firn_fuzz::{
    flash::{containers, damage, image, repair, target},
    input::Input,
};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};

thread_local! {
    static IMAGE: Vec<u8> = image();
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 4 {
        0 => judge(&mut input),
        flags => search(&mut input, flags == 1),
    }
});

fn search(input: &mut Input<'_>, truncated: bool) {
    let (mut loaded, place) = IMAGE.with(|image| {
        let places = containers(image);
        (image[places[0]..places[1]].to_vec(), places[0] as u32)
    });
    let size = if truncated { usize::from(input.u16()) % loaded.len() } else { loaded.len() };
    let before = loaded.clone();
    damage(&mut loaded, &[0], 0, input);
    repair(&mut loaded, 0);
    loaded.truncate(size);
    let outcome = find(&loaded, place, target().board);
    if loaded == before {
        outcome.expect("firmware that is not damaged");
        return;
    }
    if let Err(error) = outcome {
        return drop(error.to_string());
    }
    let container = Container::parse(&loaded, place).expect("a container that was believed");
    assert_eq!(container.role as u16, Role::FirstStage as u16);
    for kind in KINDS {
        let part = container.require(kind).expect("all of the firmware");
        let start = (part.offset - place) as usize;
        let bytes = &loaded[start..start + part.size as usize];
        assert!(!bytes.is_empty() && bytes.len() <= training::memory_size(kind), "{part:?}");
        assert_eq!(part.digest[..], Sha256::digest(bytes)[..], "{part:?}");
    }
}

fn judge(input: &mut Input<'_>) {
    let kind = KINDS[usize::from(input.byte()) % KINDS.len()];
    let flags = input.byte();
    let lenient = Leniency { dummies: flags & 1 != 0, other_sizes: flags & 2 != 0 };
    let release = ["", "_201904", "_202006", "_none"][usize::from(flags >> 2) % 4];
    let mut bytes = training::dummy(KINDS[usize::from(flags >> 4) % 4], release);
    for _ in 0..input.byte() % 4 {
        let (from, size) = (usize::from(input.u16()), usize::from(input.u16()));
        let byte = input.byte();
        bytes.iter_mut().skip(from).take(size).for_each(|place| *place = byte);
    }
    bytes.resize(bytes.len().wrapping_add_signed((input.u16() as i16).into()) % 40_000, 0);
    match training::check(kind, &bytes, release, lenient) {
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
        Ok(()) => {
            assert!(!bytes.is_empty() && bytes.len().is_multiple_of(4));
            assert!(bytes.len() <= training::memory_size(kind));
            assert!(lenient.dummies || !training::is_dummy(&bytes));
        }
    }
}
