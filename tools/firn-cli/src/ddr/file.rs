//! Timing files as the engine takes them.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use firn::{
    ddr::{
        self,
        format::File,
        timing::{ControllerWrite, Kind, PhyRegister, PhyWrite, Run, ScrubRange, Timing},
    },
    mmio::Bus,
};

/// Reads a timing file and its base, which is beside it.
pub(super) fn read(path: &Path) -> Result<File> {
    let file = read_one(path)?;
    match &file.base {
        None => Ok(file),
        Some(name) => {
            let base = read_one(&path.with_file_name(format!("{name}.timing")))?;
            Ok(file.over(base))
        }
    }
}

fn read_one(path: &Path) -> Result<File> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    File::parse(&text).with_context(|| path.display().to_string())
}

/// Tables of a checked file, for as long as the process lives.
pub(super) fn tables(file: &File) -> Timing {
    fn rows<T, U>(rows: Option<&[T]>, row: impl Fn(&T) -> U) -> &'static [U] {
        rows.unwrap_or_default().iter().map(row).collect::<Vec<U>>().leak()
    }
    let phy = |row: &(u32, u16)| PhyWrite::new(row.0, row.1);
    let range = |range: &(u32, u32)| ScrubRange { first: range.0, last: range.1 };
    let run = |run: &firn::ddr::format::Run| Run {
        rate: run.rate,
        kind: if run.two_dimensional { Kind::TwoD } else { Kind::OneD },
        message: rows(Some(&run.message), phy),
    };
    Timing {
        rates: rows(file.rates.as_deref(), |rate| *rate),
        controller: rows(file.controller.as_deref(), |row| ControllerWrite::new(row.0, row.1)),
        phy: rows(file.phy.as_deref(), phy),
        runs: file.runs.iter().flatten().map(run).collect::<Vec<_>>().leak(),
        pie: rows(file.pie.as_deref(), phy),
        captured: rows(file.captured.as_deref(), |register| PhyRegister::new(*register)),
        scrub: rows(file.scrub.as_deref(), range),
        background_scrub: file.background.as_ref().map(range),
    }
}

/// How much memory the controller's registers stand for.
pub(super) fn size(file: &File) -> Option<ddr::Dram> {
    let registers = file.controller.iter().flatten().copied().collect();
    ddr::size(&Controller(registers))
}

/// A controller that was set up and is not running.
struct Controller(BTreeMap<u32, u32>);

impl Bus for Controller {
    fn read16(&self, _: u32) -> u16 {
        0
    }

    fn write16(&self, _: u32, _: u16) {}

    fn read32(&self, address: u32) -> u32 {
        self.0.get(&address).copied().unwrap_or(0)
    }

    fn write32(&self, _: u32, _: u32) {}
}
