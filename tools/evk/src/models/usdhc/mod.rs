//! The i.MX uSDHC with a card behind it, strict: what real hardware would punish sometimes is
//! written down always.
//!
//! [`Controller`] is the register block, [`Card`] what is in the slot ([`SdCard`], [`Emmc`]),
//! [`Fault`] what goes wrong on the way between them, [`Rules`] the list of broken rules. [`Bench`]
//! puts a board around it for a driver on the host, [`attach`] a machine in QEMU.
//!
//! Sources: i.MX 8M Plus reference manual, chapter 10.3; SD Physical Layer Simplified Specification
//! 6.00; JEDEC JESD84-B51; Linux `sdhci-esdhc-imx.c` for what the manual does not say.

mod adma;
mod bench;
mod card;
mod controller;
mod emmc;
mod fault;
mod handed_over;
mod rules;
mod sd;
mod storage;
mod window;

pub use bench::Bench;
pub use card::{Card, Damage, Reply, Response, Strobe, Weakness, Wire};
pub use controller::{BusError, Controller, Issued, Memory};
pub use emmc::{Emmc, EmmcKind};
pub use fault::Fault;
pub(crate) use handed_over::HandedOver;
pub use rules::Rules;
pub use sd::{SdCard, SdKind};
pub use storage::{Image, Pattern, Storage};
pub use window::{Incident, attach, attach_with};
