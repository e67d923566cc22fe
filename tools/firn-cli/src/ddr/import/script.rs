//! Scripts of NXP's DDR tool (.ds), as its spreadsheets write them.
//!
//! A line is a command; `#` begins a comment:
//!
//! ```text
//! memory set ADDRESS WIDTH VALUE       also setbit, clrbit, chkbit1: what is done at once
//! freq0 set ADDRESS WIDTH VALUE        the same for a change to set point 0, 1 or 2
//! sysparam set NAME VALUE              the tool's own settings
//! ddrparam set NAME VALUE              what the tool makes the PHY's tables of
//! ```
//!
//! So the controller's registers and the order of the data lines can be taken as they are; tables
//! for the PHY cannot. Where parameters can be seen in a base's tables, they must agree with it.
//!
//! Source of the grammar: the commands that U-Boot users convert for the tool's target program.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use firn::ddr::format::File;

/// Reset register of the memory subsystem: the register port and the core.
const RESET: u32 = 0x3039_1000;
const RESET_REGISTERS: u32 = 1;
const RESET_CORE: u32 = 2;
const CONTROLLER: std::ops::Range<u32> = 0x3d40_0000..0x3d40_5000;
const PHY: std::ops::Range<u32> = 0x3c00_0000..0x3d00_0000;
/// Registers that say which data line is which: eight for each of four bytes.
const DATA_LINES: [u32; 4] = [0x1_00a0, 0x1_10a0, 0x1_20a0, 0x1_30a0];

/// What a script says that can be used.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    /// Controller registers that are written while the core is in reset.
    controller: Vec<(u32, u32)>,
    /// PHY registers with the order of data lines.
    data_lines: BTreeMap<u32, u16>,
    /// What the tool makes tables of.
    parameters: BTreeMap<String, u32>,
}

impl Script {
    /// Reads a script.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut script = Self::default();
        // The script begins with everything in reset.
        let mut resets = RESET_REGISTERS | RESET_CORE;
        for (index, line) in text.lines().enumerate() {
            let words: Vec<&str> =
                line.split('#').next().unwrap_or_default().split_whitespace().collect();
            script.line(&words, &mut resets).with_context(|| format!("line {}", index + 1))?;
        }
        ensure!(
            !script.controller.is_empty(),
            "no controller register is written while its core is in reset ({RESET:#x} with bit 0 \
             clear and bit 1 set)"
        );
        Ok(script)
    }

    fn line(&mut self, words: &[&str], resets: &mut u32) -> Result<()> {
        match *words {
            [] | ["sysparam", ..] | ["freq0" | "freq1" | "freq2" | "freq3", ..] => {}
            ["memory", "set", address, width, value] => {
                let (address, value) = (number(address)?, number(value)?);
                ensure!(matches!(width, "8" | "16" | "32"), "a width is 8, 16 or 32");
                self.store(address, value, resets)?;
            }
            ["memory", "setbit" | "clrbit" | "chkbit1" | "chkbit0", ..] => {}
            ["ddrparam", "set", name, value] => {
                self.parameters.insert(name.to_owned(), number(value)?);
            }
            _ => bail!("unknown command: {}", words.join(" ")),
        }
        Ok(())
    }

    fn store(&mut self, address: u32, value: u32, resets: &mut u32) -> Result<()> {
        if address == RESET {
            *resets = value;
        } else if CONTROLLER.contains(&address) {
            if *resets & (RESET_REGISTERS | RESET_CORE) == RESET_CORE {
                self.controller.push((address, value));
            }
        } else if PHY.contains(&address) {
            let register = (address - PHY.start) / 4;
            if DATA_LINES.iter().any(|first| (*first..first + 8).contains(&register)) {
                let value = u16::try_from(value).context("a PHY register holds 16 bits")?;
                self.data_lines.insert(register, value);
            }
        }
        Ok(())
    }

    /// `base` with the registers of the script.
    pub(super) fn apply(&self, base: &File) -> Result<File> {
        self.agree(base)?;
        let mut file = base.clone();
        file.controller = Some(self.controller.clone());
        for (register, value) in file.phy.iter_mut().flatten() {
            if let Some(line) = self.data_lines.get(register) {
                *value = *line;
            }
        }
        Ok(file)
    }

    /// Whether C tables were made of this script.
    pub(super) fn verify(&self, tables: &File) -> Result<()> {
        self.agree(tables)?;
        let applied = self.apply(tables)?;
        let differences = super::tables::compare(tables, &applied);
        ensure!(
            differences.is_empty(),
            "the C tables are of another script: {}",
            differences.join("; ")
        );
        Ok(())
    }

    /// Compares what can be seen in the tables.
    fn agree(&self, tables: &File) -> Result<()> {
        let rates = tables.rates.as_deref().unwrap_or_default();
        for (index, rate) in rates.iter().enumerate() {
            // The tool counts in MHz of the memory clock.
            self.same(&format!("frequency{index}"), u32::from(*rate) / 2)?;
        }
        if let Some(count) = self.parameters.get("num_pstat") {
            let rates = u32::try_from(rates.len())?;
            ensure!(*count == rates, "the script has {count} set points, the tables {rates}");
        }
        let one_d = tables.runs.iter().flatten().filter(|run| !run.two_dimensional);
        for (set_point, run) in one_d.enumerate() {
            for (name, register, shift) in MESSAGE_FIELDS {
                let value = run.message.iter().rfind(|row| row.0 == *register).map(|row| row.1);
                let Some(value) = value else { continue };
                let name = match set_point {
                    0 => (*name).to_owned(),
                    later => format!("{name}-{later}"),
                };
                self.same(&name, u32::from(value >> shift & 0xff))?;
            }
        }
        Ok(())
    }

    fn same(&self, name: &str, tables: u32) -> Result<()> {
        match self.parameters.get(name) {
            Some(script) if *script != tables => bail!(
                "{name} is {script:#x} in the script and {tables:#x} in the tables: let NXP's tool \
                 generate C tables of this script and import them"
            ),
            _ => Ok(()),
        }
    }
}

/// Mode registers of rank 0 of channel A in the message block: register and shift.
const MESSAGE_FIELDS: &[(&str, u32, u32)] = &[
    ("MR1", 0x5_4019, 0),
    ("MR2", 0x5_4019, 8),
    ("MR3", 0x5_401a, 0),
    ("MR11", 0x5_401b, 0),
    ("MR12", 0x5_401b, 8),
    ("MR13", 0x5_401c, 0),
    ("MR14", 0x5_401c, 8),
    ("MR22", 0x5_401e, 0),
];

fn number(text: &str) -> Result<u32> {
    let digits = text.strip_prefix("0x").or(text.strip_prefix("0X"));
    let parsed = match digits {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.with_context(|| format!("{text} is not a number of 32 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
        # step 1\nmemory set 0x30391000 32 0x8F00001F\t# reset\nsysparam set debug_uart 1\n\
        memory setbit 0x303A00F8 32 5\nmemory set 0x30391000\t32\t0x8F000006\n\
        memory set 0x3D400304 32 0x1 #DBG1\nmemory set 0x3D400000 32 0xA3080020\n\
        memory set 0x30391000 32 0x8F000000\nmemory set 0x3D400304 32 0x0\n\
        memory set 0x3C040280 32 0x7\nfreq1 set 0x3C080020 32 0x64\nddrparam set frequency0 2000\n";

    #[test]
    fn the_controllers_registers_are_those_written_while_its_core_is_in_reset() {
        let script = Script::parse(SCRIPT).unwrap();
        assert_eq!(script.controller, [(0x3d40_0304, 1), (0x3d40_0000, 0xa308_0020)]);
        assert_eq!(script.data_lines, BTreeMap::from([(0x1_00a0, 7)]));
        assert_eq!(script.parameters, BTreeMap::from([("frequency0".to_owned(), 2000)]));
    }

    #[test]
    fn a_base_for_another_speed_or_mode_is_refused() {
        let base = File {
            rates: Some(vec![4000]),
            phy: Some(vec![(0x1_00a0, 0), (0x1_00a1, 1)]),
            ..File::default()
        };
        let applied = Script::parse(SCRIPT).unwrap().apply(&base).unwrap();
        assert_eq!(applied.phy, Some(vec![(0x1_00a0, 7), (0x1_00a1, 1)]));
        let slower = SCRIPT.replace("frequency0 2000", "frequency0 1200");
        let error = Script::parse(&slower).unwrap().apply(&base).unwrap_err();
        assert!(error.to_string().contains("frequency0 is 0x4b0"), "{error}");
    }

    #[test]
    fn what_is_no_command_is_named_with_its_line() {
        for (line, words) in [
            ("memory write 0x3d400000 32 1", "unknown command"),
            ("memory set 0x3d400000 32 TBD", "TBD"),
            ("memory set 0x3d400000 64 1", "a width"),
            ("hello", "unknown command"),
        ] {
            let error = Script::parse(&format!("{SCRIPT}{line}\n")).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains("line 13") && error.contains(words), "{error}");
        }
        assert!(Script::parse("").is_err());
    }
}
