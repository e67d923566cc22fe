//! The I2C driver on a model of the controller: what `embedded-hal` promises of a transaction, as a
//! device sees it.

use std::sync::{Arc, Mutex};

use embedded_hal::i2c::{Error as _, ErrorKind, I2c as _, NoAcknowledgeSource, Operation};
use evk::models::{
    first_stage::Bench,
    i2c::{Fault, Target},
};
use firn::{
    board::FIRST_STAGE,
    driver::i2c::{Error, I2c, Wiring},
    soc::counter,
};
use proptest::{collection, prelude::*};

const ADDRESS: u8 = 0x50;

/// What a device saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Start { read: bool },
    Written(u8),
    Read(u8),
}

/// Takes everything, and counts upwards when it is read.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<Seen>>>);

impl Witness {
    fn note(&self, seen: Seen) {
        self.0.lock().unwrap().push(seen);
    }

    fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }
}

impl Target for Witness {
    fn address(&self) -> u8 {
        ADDRESS
    }

    fn start(&mut self, read: bool) {
        self.note(Seen::Start { read });
    }

    fn write(&mut self, byte: u8) -> bool {
        self.note(Seen::Written(byte));
        true
    }

    fn read(&mut self) -> u8 {
        let byte = u8::try_from(self.seen().len() & 0xff).unwrap();
        self.note(Seen::Read(byte));
        byte
    }
}

fn bench() -> (Bench, Witness) {
    let witness = Witness::default();
    let bench = Bench::new().with_device(witness.clone());
    counter::start(&bench);
    (bench, witness)
}

#[test]
fn a_register_is_read_with_a_repeated_start() {
    let (bench, witness) = bench();
    let mut i2c = I2c::new(&bench, &bench, &FIRST_STAGE.pmic_bus);
    let mut buffer = [0; 3];
    i2c.write_read(ADDRESS, &[0x42], &mut buffer).unwrap();
    let (write, read) = (Seen::Start { read: false }, Seen::Start { read: true });
    let bytes = buffer.map(Seen::Read);
    assert_eq!(witness.seen(), [&[write, Seen::Written(0x42), read][..], &bytes].concat());
    assert_eq!(bench.broken_rules(), [""; 0]);
}

#[test]
fn errors_are_of_the_kinds_that_embedded_hal_knows() {
    let address = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
    let data = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data);
    // Each try fails: the bytes of one are the address and two of data.
    for (faults, error, kind) in [
        (&[Fault::Deaf(0)][..], Error::NoDevice, address),
        (&[1, 3, 5].map(Fault::Refused)[..], Error::Refused, data),
        (&[0, 1, 2].map(Fault::Collision)[..], Error::ArbitrationLost, ErrorKind::ArbitrationLoss),
        (&[Fault::ClockDown(0)][..], Error::Stalled, ErrorKind::Bus),
        (&[Fault::DataDown(u32::MAX)][..], Error::Busy, ErrorKind::Bus),
    ] {
        let (bench, _) = bench();
        let bench = bench.with_faults(faults);
        let mut i2c = I2c::new(&bench, &bench, &FIRST_STAGE.pmic_bus);
        assert_eq!(i2c.write(ADDRESS, &[1, 2]), Err(error), "{faults:?}");
        assert_eq!(error.kind(), kind);
    }
}

#[test]
fn a_bus_is_free_again_after_an_error() {
    let (bench, witness) = bench();
    let mut i2c = I2c::new(&bench, &bench, &FIRST_STAGE.pmic_bus);
    assert_eq!(i2c.write(0x51, &[1]), Err(Error::NoDevice));
    i2c.write(ADDRESS, &[7]).unwrap();
    assert_eq!(witness.seen().last(), Some(&Seen::Written(7)));
    assert_eq!(bench.broken_rules(), [""; 0]);
}

#[test]
fn without_pads_to_clock_a_held_line_ends_in_an_error() {
    let Wiring { base, clock, divider, pads, .. } = FIRST_STAGE.pmic_bus;
    let wiring = Wiring { base, clock, divider, pads, recovery: None };
    let (bench, _) = bench();
    let bench = bench.with_faults(&[Fault::DataDown(1)]);
    let mut i2c = I2c::new(&bench, &bench, &wiring);
    assert_eq!(i2c.write(ADDRESS, &[1]), Err(Error::Busy));
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<u8>),
    Read(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = collection::vec(any::<u8>(), 0..5);
    let step = prop_oneof![bytes.prop_map(Step::Write), (0_usize..5).prop_map(Step::Read)];
    collection::vec(step, 0..6)
}

proptest! {
    #[test]
    fn any_transaction_reaches_the_device_as_embedded_hal_describes_it(steps in steps()) {
        let (bench, witness) = bench();
        let mut buffers: Vec<Vec<u8>> = steps
            .iter()
            .map(|step| vec![0; if let Step::Read(length) = step { *length } else { 0 }])
            .collect();
        let mut operations: Vec<Operation<'_>> = steps
            .iter()
            .zip(&mut buffers)
            .map(|(step, buffer)| match step {
                Step::Write(bytes) => Operation::Write(bytes),
                Step::Read(_) => Operation::Read(buffer),
            })
            .collect();
        let mut i2c = I2c::new(&bench, &bench, &FIRST_STAGE.pmic_bus);
        prop_assert_eq!(i2c.transaction(ADDRESS, &mut operations), Ok(()));

        // One START for each change of direction; a read of nothing asks for nothing.
        let mut expected = Vec::new();
        let mut direction = None;
        let nothing = |index: usize| {
            let is_read = |step: &&Step| matches!(step, Step::Read(_));
            let before = steps[..index].iter().rev().take_while(is_read);
            let behind = steps[index..].iter().take_while(is_read);
            before.chain(behind).all(|step| matches!(step, Step::Read(0)))
        };
        for (index, (step, buffer)) in steps.iter().zip(&buffers).enumerate() {
            let read = matches!(step, Step::Read(_));
            if direction != Some(read) {
                direction = Some(read);
                if !(read && nothing(index)) {
                    expected.push(Seen::Start { read });
                }
            }
            match step {
                Step::Write(bytes) => expected.extend(bytes.iter().map(|byte| Seen::Written(*byte))),
                Step::Read(_) => expected.extend(buffer.iter().map(|byte| Seen::Read(*byte))),
            }
        }
        prop_assert_eq!(witness.seen(), expected);
        prop_assert_eq!(bench.broken_rules(), Vec::<String>::new());
    }
}
