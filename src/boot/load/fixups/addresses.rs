//! Which address an Ethernet interface gets.

use core::fmt;

use crate::{
    devicetree::ethernet::{Interface, Told},
    error::{Code, Coded},
    ethernet::{Address, LENGTH, Refused},
    soc::Part,
};

/// Who may have an address, best first.
pub(super) struct Sources<'a> {
    pub(super) part: &'a Part,
    /// From the board's EEPROM.
    pub(super) board: &'a [[u8; LENGTH]],
    /// From the generation.
    pub(super) configured: &'a [Option<Address>],
}

/// What becomes of an interface's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// It is this one, which the tree is told.
    Is(Address, Origin),
    /// The tree has one, which stays.
    Stays(Address),
    /// The kernel finds it where the tree says.
    Elsewhere,
    /// The kernel has to make one up.
    None,
}

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Fuses,
    Eeprom,
    Configured,
    UniqueId,
}

/// Bytes that somebody wrote and that are no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    number: usize,
    origin: Origin,
    refused: Refused,
}

impl Sources<'_> {
    /// The best of them; `refuse` hears of better ones that are no addresses.
    pub(super) fn choose(&self, interface: &Interface, mut refuse: impl FnMut(Unusable)) -> Choice {
        let number = interface.number;
        let is = |origin| move |address| Choice::Is(address, origin);
        let configured = || self.configured.get(number).copied()?.map(is(Origin::Configured));
        match interface.told {
            Told::Elsewhere => return configured().unwrap_or(Choice::Elsewhere),
            Told::Address(_) | Told::Nothing => {}
        }
        let fuses = interface.is_of_soc.then(|| self.part.ethernet.get(number)).flatten();
        let stays = || match interface.told {
            Told::Address(address) => Some(Choice::Stays(address)),
            Told::Nothing | Told::Elsewhere => None,
        };
        let derived = || {
            let id = self.part.unique_id.filter(|_| interface.is_of_soc)?;
            Some(is(Origin::UniqueId)(Address::derived(id, number)))
        };
        let mut usable = |origin, bytes: Option<&[u8; LENGTH]>| match Address::new(*bytes?) {
            Ok(address) => Some(Choice::Is(address, origin)),
            Err(Refused::Blank) => None,
            Err(refused) => {
                refuse(Unusable { number, origin, refused });
                None
            }
        };
        usable(Origin::Fuses, fuses)
            .or_else(|| usable(Origin::Eeprom, self.board.get(number)))
            .or_else(configured)
            .or_else(stays)
            .or_else(derived)
            .unwrap_or(Choice::None)
    }
}

impl Coded for Unusable {
    fn code(&self) -> Code {
        Code::EthernetAddress
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, origin, refused } = self;
        write!(f, "{}: ethernet{number}, {origin}: {refused}", self.code().summary())
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(address, origin) => write!(f, "{address} ({origin})"),
            Self::Stays(address) => write!(f, "{address} (device tree)"),
            Self::Elsewhere => f.write_str("has its address where the device tree says"),
            Self::None => f.write_str("has no known address"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fuses => "fuses",
            Self::Eeprom => "EEPROM",
            Self::Configured => "configured",
            Self::UniqueId => "made of the unique id",
        })
    }
}
