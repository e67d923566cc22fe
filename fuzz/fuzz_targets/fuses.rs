//! Fuses and what lies in an EEPROM: whatever they say, a part can be told, and only addresses that an
//! interface may have become addresses.
#![no_main]

use firn::{
    ethernet::Address,
    soc::{ocotp, part::Part},
};
use firn_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let digprog = if input.byte() & 1 == 0 { 0x82_4011 } else { input.u32() };
    let words = [
        ocotp::UNIQUE_ID[0],
        ocotp::UNIQUE_ID[1],
        ocotp::TESTER3,
        ocotp::TESTER4,
        ocotp::ETHERNET[0],
        ocotp::ETHERNET[1],
        ocotp::ETHERNET[2],
    ]
    .map(|word| (word, input.u32()));
    let part = Part::of(digprog, |word| {
        let found = words.iter().find(|(of, _)| *of == word);
        found.unwrap_or_else(|| panic!("{word:#x} is no fuse that is asked for")).1
    });
    assert!(part.cores.is_none_or(|cores| matches!(cores, 1 | 2 | 4)), "{part:?}");
    assert!(part.megahertz.is_none_or(|megahertz| (800..=2200).contains(&megahertz)), "{part:?}");
    assert_eq!(part.cores.is_some(), part.revision().is_some(), "{part:?}");
    if let Some(variant) = part.variant() {
        assert!(variant.lacks.iter().all(|&unit| part.missing.contains(unit)), "{part:?}");
    }
    assert!(part.to_string().chars().all(|character| matches!(character, ' '..='~')), "{part}");
    for bytes in part.ethernet {
        if let Ok(address) = Address::new(bytes) {
            check(address);
        }
    }
    check(Address::derived(part.unique_id.unwrap_or(0), usize::from(input.byte())));
    // As a person, or a configuration, writes it.
    if let Ok(address) = Address::parse(&String::from_utf8_lossy(input.0)) {
        check(address);
    }
});

/// An address that is neither blank nor a group's, and reads as it is written.
fn check(address: Address) {
    let bytes = address.bytes();
    assert!(bytes != [0; 6] && bytes[0] & 1 == 0, "{address}");
    assert_eq!(Address::parse(&address.to_string()).ok(), Some(address));
}
