//! Reads what QEMU's trace events tell about the cards.
//!
//! Source: QEMU 10.0, hw/sd/trace-events.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// The events that [`CardTraffic`] is counted from.
pub const CARD_EVENTS: [&str; 2] = ["sdcard_read_block", "sdhci_send_command"];

/// What went over the card's bus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardTraffic {
    /// Blocks that the card read: byte address and length in bytes.
    pub reads: Vec<(u64, u64)>,
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
            let mut words = line.split_whitespace();
            match words.find(|word| CARD_EVENTS.contains(word)) {
                Some("sdcard_read_block") => traffic.reads.extend(pair(line, "addr", "size")),
                Some(_) => traffic.commands.extend(command(line)),
                None => {}
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

/// The hexadecimal numbers behind two words of a line.
fn pair(line: &str, first: &str, second: &str) -> Option<(u64, u64)> {
    Some((number_after(line, first)?, number_after(line, second)?))
}

fn number_after(line: &str, name: &str) -> Option<u64> {
    let mut words = line.split_whitespace().skip_while(|word| *word != name);
    let digits = words.nth(1)?.trim_end_matches(',');
    u64::from_str_radix(digits.strip_prefix("0x").unwrap_or(digits), 16).ok()
}

fn command(line: &str) -> Option<(u32, u32)> {
    let (_, rest) = line.split_once("CMD")?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let (_, argument) = rest.split_once("ARG[")?;
    let argument = argument.split(']').next()?.trim_start_matches("0x");
    Some((rest[..end].parse().ok()?, u32::from_str_radix(argument, 16).ok()?))
}
