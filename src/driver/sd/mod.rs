//! SD and eMMC cards: the protocol, without a controller.
//!
//! [`Card`] identifies what is in a slot, brings it to the fastest bus mode that card, board and
//! controller share, reads and writes it, with a way down for everything that can fail. It is pure logic
//! over [`Host`], allocates nothing but the device's name in a [`crate::block::Error`], and relies
//! on the host for deadlines: every host call ends.
//!
//! Sources: SD Physical Layer Simplified Specification 6.00 ("SD"), JEDEC JESD84-B51 ("eMMC").

#![forbid(unsafe_code)]

mod card;
mod contents;
mod emmc;
mod host;
mod secure_digital;
mod write;

pub use card::Card;
pub use host::{
    BusWidth, Command, Error, Fault, Finished, Host, Incoming, Limits, Mode, ModeLimit, Outgoing,
    Response, ResponseKind, Signalling, Timing, Transfer,
};
