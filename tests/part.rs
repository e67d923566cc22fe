//! What a part is known by, and what it is called.

use std::collections::BTreeMap;

use evk::models::ocotp::Fuses;
use firn::soc::{
    Part, ocotp,
    part::{Grade, Unit, VARIANTS, Variant},
};

/// Silicon A1.
const IMX8MP: u32 = 0x0082_4311;

/// The words that a variant of 1.8 GHz and industrial grade has.
fn words(variant: &Variant) -> BTreeMap<u32, u32> {
    let cores = if variant.cores == 2 { 0b10 << 18 } else { 0 };
    let mut words = BTreeMap::from([(ocotp::TESTER3, cores | 5 << 8 | 2 << 5)]);
    for unit in variant.lacks {
        let (word, bits) = unit.fuses();
        *words.entry(word).or_default() |= bits;
    }
    words
}

fn part(words: &BTreeMap<u32, u32>) -> Part {
    Part::of(IMX8MP, |word| words.get(&word).copied().unwrap_or(0))
}

#[test]
fn each_variant_is_known_by_its_fuses_and_lacks_what_its_maker_says() {
    for variant in &VARIANTS {
        let part = part(&words(variant));
        assert_eq!(part.variant(), Some(variant));
        assert_eq!(part.cores, Some(variant.cores));
        for unit in Unit::ALL {
            let lacks = variant.lacks.contains(&unit) || unit == Unit::Dsp && !variant.dsp;
            assert_eq!(part.missing.contains(unit), lacks, "{}: {}", variant.name, unit.name());
        }
    }
}

#[test]
fn a_part_is_named_in_one_line() {
    let named = |name: &str| {
        let variant = VARIANTS.iter().find(|variant| variant.name == name).unwrap();
        part(&words(variant)).to_string()
    };
    assert_eq!(
        named("Quad (8)"),
        "i.MX 8M Plus Quad (8), revision 1.1, 1800 MHz, industrial (-40..105 C)"
    );
    assert_eq!(
        named("Dual (2)"),
        "i.MX 8M Plus Dual (2), revision 1.1, 1800 MHz, industrial (-40..105 C), \
         without ISP 1, ISP 2, DSP"
    );
    assert_eq!(Part::of(0x0082_4310, |_| 0).to_string(), "i.MX 8M Plus Quad (8), revision 1.0");
    let mixed = Part::of(IMX8MP, |word| if word == ocotp::TESTER4 { 1 << 6 } else { 0 });
    assert_eq!(mixed.to_string(), "i.MX 8M Plus with 4 cores, revision 1.1, without 2D GPU");
    assert_eq!(Part::of(0x0082_4010, |_| 0).to_string(), "not known (DIGPROG 0x00824010)");
}

#[test]
fn of_another_processor_nothing_is_read() {
    for digprog in [0, 0x0082_4010, 0x0082_4110, 0x0082_4210, u32::MAX] {
        let part = Part::of(digprog, |word| panic!("{word:#x} is read"));
        assert_eq!(part, Part { digprog, ..Part::default() });
    }
}

#[test]
fn blank_fuses_are_a_whole_part_whose_grade_and_number_are_not_known() {
    for blank in [0, u32::MAX] {
        let part = Part::of(IMX8MP, |_| blank);
        assert_eq!(part.missing.iter().count(), 0);
        assert_eq!(
            (part.cores, part.megahertz, part.grade, part.unique_id),
            (Some(4), None, None, None)
        );
        assert_eq!(part.ethernet, [[0; 6]; 2]);
    }
}

#[test]
fn the_clock_and_each_grade_are_read() {
    for (code, grade) in (0..).zip(Grade::ALL) {
        for (speed, megahertz) in [(5, 1800), (7, 1600), (11, 1200)] {
            let part = Part::of(IMX8MP, |word| match word {
                ocotp::TESTER3 => speed << 8 | code << 5,
                _ => 0,
            });
            assert_eq!((part.megahertz, part.grade), (Some(megahertz), Some(grade)));
        }
    }
    let unclocked = Part::of(IMX8MP, |word| if word == ocotp::TESTER3 { 2 << 5 } else { 0 });
    assert_eq!(unclocked.grade, Some(Grade::Industrial));
}

#[test]
fn the_number_and_the_addresses_are_those_that_the_fuses_hold() {
    let (first, second) = ([0, 4, 0x9f, 1, 2, 3], [0, 4, 0x9f, 0xa, 0xb, 0xc]);
    let fuses = std::cell::RefCell::new(Fuses::new().addressed(first, second));
    let part = Part::of(IMX8MP, |word| fuses.borrow_mut().read(word));
    assert_eq!(part.unique_id, Some(0x9abc_def0_1234_5678));
    assert_eq!(part.ethernet, [first, second]);
    assert_eq!(fuses.borrow().broken_rules(), [""; 0]);
}

#[test]
fn two_bits_name_the_cores() {
    for (code, cores) in [(0b00, 4), (0b01, 4), (0b10, 2), (0b11, 1)] {
        let part = Part::of(IMX8MP, |word| if word == ocotp::TESTER3 { code << 18 } else { 0 });
        assert_eq!(part.cores, Some(cores));
    }
}
