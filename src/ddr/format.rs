//! Timing files: the DRAM timing of one memory configuration as text.
//!
//! Read when the firmware is built (`build.rs`) and by `firn ddr import`; the firmware itself only
//! knows the tables made of it, so this is host code and relies on nothing else here.
//!
//! ```text
//! # a comment
//! [base lpddr4-4000]        first, optional: what is not given here is as in that file
//! [rates]                   set points by data rate in MT/s, decimal, as BL31 gets them
//! 4000 400 100
//! [controller]              address and value, hexadecimal, written in this order
//! 3d400304 00000001
//! [phy]                     PHY register number and value
//! 0100a0 0000
//! [run 0 4000 1d]           training run 0, at 4000 MT/s, one- or two-dimensional: its message
//! 0d0000 0000               block, as PHY register and value
//! [pie]                     the PHY's initialization engine and what is set after training
//! 090000 0010
//! [captured]                PHY registers that hold what training found
//! 0200b2
//! [scrub]                   inline ECC only: first and last HIF word of each range to be filled
//! 00000000 03ffffff
//! [background scrub]        and the range to be checked for ever
//! 00000000 5fffffff
//! ```

#![forbid(unsafe_code)]

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

/// Training runs at most: a 1D and a 2D run for each of the controller's four set points.
pub const MAX_RUNS: usize = 8;
/// Set points of the controller.
pub const MAX_RATES: usize = 4;
/// Controller register with the memory type, and its bit for LPDDR4.
const MSTR: u32 = 0x3d40_0000;
const MSTR_LPDDR4: u32 = 1 << 5;
/// PHY register of the message block's pstate.
const PSTATE: u32 = 0x5_4002;

/// One file, or a file over its base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// The file that this one changes.
    pub base: Option<String>,
    /// Data rates of the set points, in MT/s.
    pub rates: Option<Vec<u16>>,
    /// Controller registers.
    pub controller: Option<Vec<(u32, u32)>>,
    /// PHY registers.
    pub phy: Option<Vec<(u32, u16)>>,
    /// Training runs by number.
    pub runs: [Option<Run>; MAX_RUNS],
    /// The PHY's initialization engine.
    pub pie: Option<Vec<(u32, u16)>>,
    /// PHY registers to keep.
    pub captured: Option<Vec<u32>>,
    /// Ranges to fill.
    pub scrub: Option<Vec<(u32, u32)>>,
    /// Range to check for ever.
    pub background: Option<(u32, u32)>,
}

/// A training run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Data rate in MT/s.
    pub rate: u16,
    /// Whether the reference voltage is trained too.
    pub two_dimensional: bool,
    /// Message block.
    pub message: Vec<(u32, u16)>,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where, counted from 1; `None` if something is missing.
    pub line: Option<usize>,
    /// What, and what is expected.
    pub problem: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl core::error::Error for Error {}

fn problem(problem: impl Into<String>) -> Error {
    Error { line: None, problem: problem.into() }
}

#[derive(Clone, Copy)]
enum Section {
    None,
    Base,
    Rates,
    Controller,
    Phy,
    Run(usize),
    Pie,
    Captured,
    Scrub,
    Background,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// The first line that does not follow the format.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut file = Self::default();
        let mut section = Section::None;
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let outcome = if line.is_empty() {
                Ok(())
            } else if let Some(header) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                file.open(header).map(|opened| section = opened)
            } else {
                file.row(section, line)
            };
            outcome.map_err(|error| Error { line: Some(index + 1), ..error })?;
        }
        Ok(file)
    }

    fn open(&mut self, header: &str) -> Result<Section, Error> {
        let words: Vec<&str> = header.split_whitespace().collect();
        let (section, fresh) = match *words.as_slice() {
            ["base", name] => (Section::Base, self.base.replace(name.to_owned()).is_none()),
            ["rates"] => (Section::Rates, self.rates.replace(Vec::new()).is_none()),
            ["controller"] => (Section::Controller, self.controller.replace(Vec::new()).is_none()),
            ["phy"] => (Section::Phy, self.phy.replace(Vec::new()).is_none()),
            ["run", number, rate, kind] => {
                let index = decimal(number)?;
                let rate = decimal(rate)?;
                let two_dimensional = match kind {
                    "1d" => false,
                    "2d" => true,
                    _ => return Err(problem("the kind of a run is 1d or 2d")),
                };
                let run = Run { rate, two_dimensional, message: Vec::new() };
                let place = self
                    .runs
                    .get_mut(usize::from(index))
                    .ok_or_else(|| problem("runs are numbered from 0 to 7"))?;
                (Section::Run(usize::from(index)), place.replace(run).is_none())
            }
            ["pie"] => (Section::Pie, self.pie.replace(Vec::new()).is_none()),
            ["captured"] => (Section::Captured, self.captured.replace(Vec::new()).is_none()),
            ["scrub"] => (Section::Scrub, self.scrub.replace(Vec::new()).is_none()),
            ["background", "scrub"] => (Section::Background, true),
            _ => return Err(problem("unknown section")),
        };
        if fresh { Ok(section) } else { Err(problem("this section was there before")) }
    }

    fn row(&mut self, section: Section, line: &str) -> Result<(), Error> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match section {
            Section::None => return Err(problem("a section, like [rates], comes first")),
            Section::Base => return Err(problem("a base has no lines of its own")),
            Section::Rates => {
                for word in words {
                    self.rates.get_or_insert_default().push(decimal(word)?);
                }
            }
            Section::Controller => {
                let (address, value) = pair(&words)?;
                self.controller.get_or_insert_default().push((controller(address)?, value));
            }
            Section::Phy => self.phy.get_or_insert_default().push(phy_row(&words)?),
            Section::Pie => self.pie.get_or_insert_default().push(phy_row(&words)?),
            Section::Run(index) => {
                if let Some(Some(run)) = self.runs.get_mut(index) {
                    run.message.push(phy_row(&words)?);
                }
            }
            Section::Captured => match *words.as_slice() {
                [register] => self.captured.get_or_insert_default().push(phy_register(register)?),
                _ => return Err(problem("expected one PHY register")),
            },
            Section::Scrub => self.scrub.get_or_insert_default().push(range(&words)?),
            Section::Background => {
                if self.background.replace(range(&words)?).is_some() {
                    return Err(problem("there is one range only"));
                }
            }
        }
        Ok(())
    }

    /// This file's sections, and those of `base` where it has none.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        let mut runs = base.runs;
        for (place, run) in runs.iter_mut().zip(self.runs) {
            *place = run.or(place.take());
        }
        Self {
            base: base.base,
            rates: self.rates.or(base.rates),
            controller: self.controller.or(base.controller),
            phy: self.phy.or(base.phy),
            runs,
            pie: self.pie.or(base.pie),
            captured: self.captured.or(base.captured),
            scrub: self.scrub.or(base.scrub),
            background: self.background.or(base.background),
        }
    }

    /// Checks that a file without a base, wherever it comes from, has all that a bring-up needs, and
    /// that [`File::parse`] reads it.
    ///
    /// # Errors
    /// What is missing, or what the engine cannot train.
    pub fn check(&self) -> Result<(), Error> {
        let rates = self.rates.as_deref().unwrap_or_default();
        if rates.is_empty() || rates.len() > MAX_RATES || rates.contains(&0) {
            return Err(problem("[rates] lists one to four data rates"));
        }
        let controller = self.controller.as_deref().unwrap_or_default();
        let memory_type = controller.iter().rfind(|row| row.0 == MSTR).map(|row| row.1);
        if memory_type.is_none_or(|value| value & MSTR_LPDDR4 == 0) {
            return Err(problem("[controller] does not set MSTR (3d400000) to LPDDR4"));
        }
        for (name, rows) in [("phy", &self.phy), ("pie", &self.pie)] {
            if rows.as_ref().is_none_or(Vec::is_empty) {
                return Err(problem(format!("[{name}] is missing")));
            }
        }
        if self.captured.as_ref().is_none_or(Vec::is_empty) {
            return Err(problem("[captured] is missing"));
        }
        if self.scrub.is_some() != self.background.is_some() {
            return Err(problem("[scrub] and [background scrub] belong together"));
        }
        self.check_runs(rates.len())?;
        self.check_values()
    }

    /// Whether all registers and ranges are such.
    fn check_values(&self) -> Result<(), Error> {
        for (address, _) in self.controller.iter().flatten() {
            controller(*address)?;
        }
        let messages = self.runs.iter().flatten().flat_map(|run| &run.message);
        let rows = self.phy.iter().flatten().chain(messages).chain(self.pie.iter().flatten());
        for register in rows.map(|(register, _)| register).chain(self.captured.iter().flatten()) {
            phy_number(*register)?;
        }
        self.scrub.iter().flatten().chain(&self.background).try_for_each(|range| ordered(*range))
    }

    /// The engine loads firmware only when its kind changes, so what a run leaves in the message
    /// block stays for the next one: only the first run after a load may rely on the pstate that the
    /// firmware comes with.
    fn check_runs(&self, rates: usize) -> Result<(), Error> {
        let count = self.runs.iter().take_while(|run| run.is_some()).count();
        if count == 0 || self.runs.iter().skip(count).any(Option::is_some) {
            return Err(problem("training runs are numbered from 0 on, without a gap"));
        }
        let mut loaded = None;
        let mut trained = 0;
        for (index, run) in self.runs.iter().flatten().enumerate() {
            let says_pstate = run.message.iter().any(|row| row.0 == PSTATE);
            if loaded == Some(run.two_dimensional) && !says_pstate {
                return Err(problem(format!(
                    "run {index} would train the set point of the run before: it does not set \
                     the pstate (PHY register {PSTATE:06x})"
                )));
            }
            loaded = Some(run.two_dimensional);
            trained += usize::from(!run.two_dimensional);
        }
        if trained != rates {
            return Err(problem(format!(
                "[rates] lists {rates} set points, but there are {trained} 1D runs"
            )));
        }
        Ok(())
    }
}

/// As [`File::parse`] reads it, without comments.
impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sections().join("\n"))
    }
}

impl File {
    fn sections(&self) -> Vec<String> {
        let mut sections = Vec::new();
        let mut section = |name: &str, lines: String| sections.push(format!("[{name}]\n{lines}"));
        if let Some(base) = &self.base {
            section(&format!("base {base}"), String::new());
        }
        if let Some(rates) = &self.rates {
            let words: Vec<String> = rates.iter().map(ToString::to_string).collect();
            section("rates", words.join(" ") + "\n");
        }
        if let Some(rows) = &self.controller {
            section("controller", pair_lines(rows));
        }
        if let Some(rows) = &self.phy {
            section("phy", phy_lines(rows));
        }
        for (index, run) in self.runs.iter().enumerate() {
            if let Some(Run { rate, two_dimensional, message }) = run {
                let kind = if *two_dimensional { "2d" } else { "1d" };
                section(&format!("run {index} {rate} {kind}"), phy_lines(message));
            }
        }
        if let Some(rows) = &self.pie {
            section("pie", phy_lines(rows));
        }
        if let Some(registers) = &self.captured {
            let lines = registers.iter().map(|register| format!("{register:06x}\n"));
            section("captured", lines.collect());
        }
        if let Some(rows) = &self.scrub {
            section("scrub", pair_lines(rows));
        }
        if let Some(range) = self.background {
            section("background scrub", pair_lines(&[range]));
        }
        sections
    }
}

fn pair_lines(rows: &[(u32, u32)]) -> String {
    rows.iter().map(|(first, second)| format!("{first:08x} {second:08x}\n")).collect()
}

fn phy_lines(rows: &[(u32, u16)]) -> String {
    rows.iter().map(|(register, value)| format!("{register:06x} {value:04x}\n")).collect()
}

fn decimal(word: &str) -> Result<u16, Error> {
    word.parse().map_err(|_| problem(format!("{word:?} is not a decimal number below 65536")))
}

fn hexadecimal(word: &str) -> Result<u32, Error> {
    // `from_str_radix` would allow a sign.
    let digits = !word.starts_with('+');
    u32::from_str_radix(word, 16).ok().filter(|_| digits).ok_or_else(|| {
        problem(format!("{word:?} is not a hexadecimal number of 32 bits (without 0x)"))
    })
}

fn pair(words: &[&str]) -> Result<(u32, u32), Error> {
    match *words {
        [first, second] => Ok((hexadecimal(first)?, hexadecimal(second)?)),
        _ => Err(problem("expected two numbers")),
    }
}

fn range(words: &[&str]) -> Result<(u32, u32), Error> {
    let range = pair(words)?;
    ordered(range)?;
    Ok(range)
}

fn ordered((first, last): (u32, u32)) -> Result<(), Error> {
    if first > last {
        return Err(problem(format!("the range {first:08x} {last:08x} ends before it begins")));
    }
    Ok(())
}

fn controller(address: u32) -> Result<u32, Error> {
    if !(0x3d00_0000..0x3e00_0000).contains(&address) || !address.is_multiple_of(4) {
        return Err(problem(format!("{address:08x} is not the address of a controller register")));
    }
    Ok(address)
}

fn phy_register(word: &str) -> Result<u32, Error> {
    phy_number(hexadecimal(word)?)
}

fn phy_number(register: u32) -> Result<u32, Error> {
    if register >> 24 != 0 {
        return Err(problem(format!("PHY register {register:x} has more than 24 bits")));
    }
    Ok(register)
}

fn phy_row(words: &[&str]) -> Result<(u32, u16), Error> {
    let (_, value) = pair(words)?;
    let register = phy_register(words.first().copied().unwrap_or_default())?;
    let value = u16::try_from(value).map_err(|_| problem("a PHY register holds 16 bits"))?;
    Ok((register, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = "\
        [rates]\n4000\n[controller]\n3d400000 00000020\n[phy]\n020000 0001\n\
        [run 0 4000 1d]\n0d0000 0000\n[pie]\n090000 0010\n[captured]\n0200b2\n";

    #[test]
    fn the_smallest_file_is_complete() {
        let file = File::parse(SMALLEST).unwrap();
        assert_eq!(file.check(), Ok(()));
        assert_eq!(file.controller, Some(alloc::vec![(0x3d40_0000, 0x20)]));
        assert_eq!(
            file.runs[0].as_ref().map(|run| (run.rate, run.two_dimensional)),
            Some((4000, false))
        );
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let text = format!("[base other]\n{SMALLEST}[scrub]\n0 3\n4 7\n[background scrub]\n0 9");
        let file = File::parse(&text).unwrap();
        assert_eq!(File::parse(&file.to_string()).unwrap(), file);
    }

    #[test]
    fn what_cannot_be_read_again_is_refused_wherever_it_comes_from() {
        let good = File::parse(SMALLEST).unwrap();
        type Spoil = fn(&mut File);
        let spoilt: [(Spoil, &str); 6] = [
            (|file| file.controller.as_mut().unwrap().push((0x3d40_0199, 0)), "3d400199"),
            (|file| file.phy.as_mut().unwrap().push((1 << 24, 0)), "1000000"),
            (|file| file.pie.as_mut().unwrap().push((2 << 24, 0)), "2000000"),
            (|file| file.runs[0].as_mut().unwrap().message.push((3 << 24, 0)), "3000000"),
            (|file| file.captured.as_mut().unwrap().push(4 << 24), "4000000"),
            (
                |file| (file.scrub, file.background) = (Some(Vec::from([(2, 1)])), Some((0, 1))),
                "00000002 00000001",
            ),
        ];
        for (spoil, told) in spoilt {
            let mut file = good.clone();
            spoil(&mut file);
            let error = file.check().unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
            assert!(File::parse(&file.to_string()).is_err(), "{told}");
        }
    }

    #[test]
    fn a_section_given_replaces_the_bases_and_a_section_missing_is_inherited() {
        let base = File::parse(SMALLEST).unwrap();
        let over = File::parse("[base b]\n[phy]\n020001 0002\n[run 0 2400 2d]\n").unwrap();
        let both = over.over(base.clone());
        assert_eq!(both.phy, Some(alloc::vec![(0x2_0001, 2)]));
        assert_eq!(both.runs[0].as_ref().map(|run| run.rate), Some(2400));
        assert_eq!((both.pie, both.base), (base.pie, None));
    }

    #[test]
    fn a_line_that_does_not_follow_the_format_is_named() {
        for (text, line, words) in [
            ("0 1", 1, "section"),
            ("[phy]\n\n# remark\n0100a0", 4, "two numbers"),
            ("[phy]\n1000000 0", 2, "24 bits"),
            ("[phy]\n20000 10000", 2, "16 bits"),
            ("[phy]\n0x20000 1", 2, "hexadecimal"),
            ("[phy]\n+20000 1", 2, "hexadecimal"),
            ("[controller]\n30391000 0", 2, "controller register"),
            ("[run 8 4000 1d]", 1, "from 0 to 7"),
            ("[run 0 4000 3d]", 1, "1d or 2d"),
            ("[rates]\n70000", 2, "below 65536"),
            ("[phy]\n[phy]", 2, "before"),
            ("[frequency]", 1, "unknown"),
            ("[scrub]\n2 1", 2, "before it begins"),
        ] {
            let error = File::parse(text).unwrap_err();
            assert_eq!(error.line, Some(line), "{text:?}: {error}");
            assert!(error.problem.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn what_the_engine_cannot_train_is_refused() {
        for (from, to, words) in [
            ("4000\n[con", "4000 0\n[con", "one to four"),
            ("00000020", "00000010", "LPDDR4"),
            ("[pie]\n090000 0010\n", "", "[pie]"),
            ("0200b2\n", "", "[captured]"),
            ("[run 0", "[run 1", "gap"),
            ("[rates]\n4000", "[rates]\n4000 400", "2 set points"),
            ("[pie]", "[run 1 400 1d]\n0d0000 0000\n[pie]", "pstate"),
            ("[pie]", "[scrub]\n0 1\n[pie]", "belong together"),
        ] {
            let file = File::parse(&SMALLEST.replace(from, to)).unwrap();
            let error = file.check().unwrap_err();
            assert!(error.problem.contains(words), "{to:?}: {error}");
        }
    }
}
