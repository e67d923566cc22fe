//! Addresses of Ethernet interfaces: what may be one, and one where nobody gave any.
//!
//! Source: IEEE 802-2014, 8.2 (the first byte's two lowest bits: group, locally administered).

#![forbid(unsafe_code)]

use core::fmt;

use sha2::{Digest, Sha256};

/// Bytes of an address.
pub const LENGTH: usize = 6;

const GROUP: u8 = 1 << 0;
const LOCAL: u8 = 1 << 1;

/// The address of one interface: neither blank nor a group's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address([u8; LENGTH]);

/// Why bytes are no address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// All zeros or all ones: nobody wrote it.
    Blank,
    /// Frames to it are for many.
    Group,
    /// The text is not six pairs of hexadecimal digits with colons or dashes between.
    Text,
}

impl Address {
    /// The address in `bytes`, first byte first.
    pub fn new(bytes: [u8; LENGTH]) -> Result<Self, Refused> {
        match bytes {
            [0, 0, 0, 0, 0, 0] | [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => Err(Refused::Blank),
            [first, ..] if first & GROUP != 0 => Err(Refused::Group),
            _ => Ok(Self(bytes)),
        }
    }

    /// Reads "00:04:9f:01:02:03".
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let mut bytes = [0; LENGTH];
        let mut pairs = text.trim().split([':', '-']);
        for byte in &mut bytes {
            *byte = pairs.next().and_then(pair).ok_or(Refused::Text)?;
        }
        if pairs.next().is_some() { Err(Refused::Text) } else { Self::new(bytes) }
    }

    /// A locally administered address of interface `index` of the device with this unique id: the
    /// same at each boot, another one for each interface and device.
    pub fn derived(unique_id: u64, index: usize) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"firn ethernet address");
        hash.update(unique_id.to_be_bytes());
        hash.update((index as u64).to_be_bytes());
        let digest = hash.finalize();
        let mut bytes = [0; LENGTH];
        bytes.iter_mut().zip(digest).for_each(|(byte, hashed)| *byte = hashed);
        bytes[0] = bytes[0] & !GROUP | LOCAL;
        Self(bytes)
    }

    /// Its bytes, in the order of transmission.
    pub fn bytes(self) -> [u8; LENGTH] {
        self.0
    }
}

fn pair(text: &str) -> Option<u8> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (digits && text.len() == 2).then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blank => "it is blank",
            Self::Group => "it is a multicast address",
            Self::Text => "it is not written as 00:11:22:33:44:55",
        })
    }
}

impl core::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, string::ToString, vec::Vec};

    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["00:04:9f:01:02:03", "00-04-9F-01-02-03", " 00:04:9f:01:02:03\n"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), "00:04:9f:01:02:03");
        }
    }

    #[test]
    fn what_is_no_address_of_one_interface_is_refused() {
        assert_eq!(Address::new([0; 6]), Err(Refused::Blank));
        assert_eq!(Address::new([0xff; 6]), Err(Refused::Blank));
        assert_eq!(Address::parse("01:00:5e:00:00:01"), Err(Refused::Group));
        let texts = [
            "",
            "00:04:9f:01:02",
            "00:04:9f:01:02:03:04",
            "0:04:9f:01:02:03",
            "00:04:9f:01:02:+3",
            "00:04:9f:01:02:zz",
            "00049f010203",
        ];
        for text in texts {
            assert_eq!(Address::parse(text), Err(Refused::Text), "{text:?}");
        }
    }

    #[test]
    fn a_derived_address_is_stable_local_and_different_for_each_interface_and_device() {
        let all: Vec<_> = (0..100_u64)
            .flat_map(|id| (0..4).map(move |index| Address::derived(id, index)))
            .collect();
        for address in &all {
            assert_eq!(Address::new(address.bytes()), Ok(*address));
            assert_eq!(address.bytes()[0] & 3, 2, "{address}");
        }
        assert_eq!(all.iter().map(|address| address.bytes()).collect::<HashSet<_>>().len(), 400);
        // Boards in the field keep their addresses only if this never changes.
        assert_eq!(Address::derived(0x9abc_def0_1234_5678, 0).to_string(), "72:7f:d5:6f:1b:37");
    }
}
