//! Reads what QEMU's trace events tell about the cards.
//!
//! Source: QEMU 10.0, hw/sd/trace-events.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// The events that [`CardTraffic`] is counted from.
pub const CARD_EVENTS: [&str; 3] =
    ["sdcard_read_block", "sdcard_write_block", "sdhci_send_command"];

/// What went over the card's bus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardTraffic {
    /// Blocks that the card read: byte address and length in bytes.
    pub reads: Vec<(u64, u64)>,
    /// Blocks that the card wrote, likewise.
    pub writes: Vec<(u64, u64)>,
    /// Commands that the controller sent: index and argument.
    pub commands: Vec<(u32, u32)>,
}

impl CardTraffic {
    /// Reads a trace file; lines of other events are left out.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("reading the trace {}", file.display()))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut traffic = Self::default();
        for line in text.lines() {
            // Some builds put the process and the time in front, up to a colon.
            let (name, values) = line.split_once(' ').unwrap_or((line, ""));
            match name.rsplit(':').next() {
                Some("sdcard_read_block") => traffic.reads.extend(block(values)),
                Some("sdcard_write_block") => traffic.writes.extend(block(values)),
                Some("sdhci_send_command") => traffic.commands.extend(command(values)),
                _ => {}
            }
        }
        traffic
    }

    /// Bytes that the card read.
    pub fn bytes(&self) -> u64 {
        self.reads.iter().map(|(_, length)| length).sum()
    }

    /// How many commands started a read (CMD17, CMD18).
    pub fn read_commands(&self) -> usize {
        self.commands.iter().filter(|(index, _)| matches!(index, 17 | 18)).count()
    }
}

/// Reads `addr 0x… size 0x…`.
fn block(values: &str) -> Option<(u64, u64)> {
    let mut words = values.split_whitespace();
    let mut number_after =
        |name| (words.next()? == name).then(|| words.next().and_then(hexadecimal))?;
    Some((number_after("addr")?, number_after("size")?))
}

/// Reads `CMD17 ARG[0x…]`.
fn command(values: &str) -> Option<(u32, u32)> {
    let (index, argument) = values.strip_prefix("CMD")?.split_once(" ARG[")?;
    let argument = hexadecimal(argument.strip_suffix(']')?)?;
    Some((index.parse().ok()?, argument.try_into().ok()?))
}

fn hexadecimal(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_commands_are_counted_and_other_events_left_out() {
        let traffic = CardTraffic::parse(
            "sdhci_send_command CMD18 ARG[0x00000010]\n\
             sdcard_read_block addr 0x2000 size 0x200\n\
             41@1771027200.000001:sdcard_read_block addr 0x2200 size 0x200\n\
             sdhci_send_command CMD12 ARG[0x00000000]\nsdhci_other 7\nsdcard_read_block broken\n\
             sdcard_write_block addr 0x3e0000 size 0x200\n",
        );
        assert_eq!(traffic.reads, [(0x2000, 512), (0x2200, 512)]);
        assert_eq!(traffic.writes, [(0x3e_0000, 512)]);
        assert_eq!(traffic.commands, [(18, 16), (12, 0)]);
        assert_eq!((traffic.bytes(), traffic.read_commands()), (1024, 1));
    }
}
