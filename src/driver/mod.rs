//! Drivers, each over [`Bus`](crate::mmio::Bus) and the traits of `embedded-hal`.

pub mod eeprom;
pub mod gpio;
pub mod i2c;
pub mod pca9450;
pub mod sd;
pub mod uart;
pub mod usdhc;
