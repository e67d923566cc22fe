//! What the stub kernel prints, read back.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// First line of what the stub kernel prints.
pub const BEGIN: &str = "=== stub kernel ===";
/// Last line of what the stub kernel prints.
pub const END: &str = "=== end of stub kernel ===";

/// The state in which the stub kernel was entered, line by line under the names that it prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(BTreeMap<String, String>);

impl Report {
    /// Reads the lines between [`BEGIN`] and [`END`].
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.trim_end().split_once(": "));
        Self(lines.map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// A line's value as text: `MMU`, `initrd begins`, `/chosen bootargs`.
    pub fn text(&self, name: &str) -> Result<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.with_context(|| format!("the stub kernel did not print {name:?}: {:#?}", self.0))
    }

    /// A line's value as a number: `x0`, `base`, `exception level`.
    pub fn number(&self, name: &str) -> Result<u64> {
        let text = self.text(name)?;
        let digits = text.strip_prefix("0x").unwrap_or(text);
        u64::from_str_radix(digits, 16).with_context(|| format!("{name}: {text}"))
    }

    /// The memory nodes' ranges: start and size in bytes.
    pub fn memory(&self) -> Result<Vec<(u64, u64)>> {
        let nodes = self
            .0
            .iter()
            .filter(|(name, _)| name.starts_with("/memory") && name.ends_with(" reg"))
            .map(|(_, value)| value.as_bytes());
        let mut ranges = Vec::new();
        for node in nodes {
            for pair in node.chunks(32) {
                let digits = std::str::from_utf8(pair)?;
                let (start, size) = digits.split_at_checked(16).context("half a memory range")?;
                ranges.push((u64::from_str_radix(start, 16)?, u64::from_str_radix(size, 16)?));
            }
        }
        Ok(ranges)
    }
}

/// The sum that the stub kernel prints of its initrd.
pub fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_name_and_ranges_are_read() {
        let report = Report::parse(
            "x0: 0x4a000000\r\nMMU: off\r\n\
             /memory@40000000 reg: 000000004000000000000000c0000000\
             0000000100000000000000\
             00c0000000\r\n/chosen bootargs: init=/x a: b\r\n",
        );
        assert_eq!(report.number("x0").unwrap(), 0x4a00_0000);
        assert_eq!(report.text("MMU").unwrap(), "off");
        assert_eq!(report.text("/chosen bootargs").unwrap(), "init=/x a: b");
        assert_eq!(
            report.memory().unwrap(),
            [(0x4000_0000, 0xc000_0000), (0x1_0000_0000, 0xc000_0000)]
        );
        assert!(report.text("x9").is_err());
    }
}
