//! Ethernet addresses in a board's EEPROM, read through the I2C driver.

use evk::models::{first_stage::Bench, i2c::Target};
use firn::{
    board::{AddressRom, FIRST_STAGE},
    driver::{
        eeprom::Offset,
        i2c::{Error, I2c},
    },
    soc::counter,
};

/// An EEPROM with so many bytes of offset, which counts on by itself.
struct Rom {
    wide: bool,
    contents: Vec<u8>,
    offset: usize,
}

impl Target for Rom {
    fn address(&self) -> u8 {
        0x50
    }

    fn start(&mut self, read: bool) {
        if !read {
            self.offset = 0;
        }
    }

    fn write(&mut self, byte: u8) -> bool {
        self.offset = if self.wide { self.offset << 8 } else { 0 } | usize::from(byte);
        true
    }

    fn read(&mut self) -> u8 {
        let byte = self.contents[self.offset % self.contents.len()];
        self.offset += 1;
        byte
    }
}

const FIRST: [u8; 6] = [0, 4, 0x9f, 1, 2, 3];
const SECOND: [u8; 6] = [0, 4, 0x9f, 0xa, 0xb, 0xc];

fn read(wide: bool, offset: Offset, device: u8) -> Result<Vec<[u8; 6]>, Error> {
    let mut contents = vec![0xff; 0x400];
    let at = if wide { 0x1fa } else { 0xf4 };
    contents[at..at + 12].copy_from_slice([FIRST, SECOND].as_flattened());
    let bench = Bench::new().with_device(Rom { wide, contents, offset: 0 });
    counter::start(&bench);
    let rom = AddressRom { bus: &FIRST_STAGE.pmic_bus, device, offset, count: 2 };
    let addresses = rom.read(&mut I2c::new(&bench, &bench, rom.bus));
    assert_eq!(bench.broken_rules(), [""; 0]);
    addresses
}

#[test]
fn addresses_lie_one_behind_the_other_in_small_and_large_eeproms() {
    assert_eq!(read(false, Offset::Byte(0xf4), 0x50), Ok(vec![FIRST, SECOND]));
    assert_eq!(read(true, Offset::Word(0x1fa), 0x50), Ok(vec![FIRST, SECOND]));
}

#[test]
fn an_eeprom_that_is_not_there_is_an_error() {
    assert_eq!(read(false, Offset::Byte(0xf4), 0x51), Err(Error::NoDevice));
}
