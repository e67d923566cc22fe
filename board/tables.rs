//! Turns the boards' timing files into Rust tables; part of `build.rs`.
//!
//! For each board with `ddr/*.timing` a file `BOARD.dram.rs`, which the board includes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::format::{File, Run};

/// Writes the tables of all boards into `out`.
pub(crate) fn generate(boards: &Path, out: &Path) -> Result<(), String> {
    println!("cargo:rerun-if-changed={}", boards.display());
    for board in entries(boards)? {
        let timing = board.join("ddr");
        if !timing.is_dir() {
            continue;
        }
        let name = board.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = out.join(format!("{name}.dram.rs"));
        fs::write(&path, code(&read(&timing)?)?)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("{}: {error}", directory.display());
    let entries = fs::read_dir(directory).map_err(failed)?;
    let mut paths = entries
        .map(|entry| Ok(entry.map_err(failed)?.path()))
        .collect::<Result<Vec<_>, String>>()?;
    paths.sort();
    Ok(paths)
}

fn read(directory: &Path) -> Result<BTreeMap<String, File>, String> {
    let mut files = BTreeMap::new();
    for path in entries(directory)? {
        if path.extension().is_none_or(|extension| extension != "timing") {
            continue;
        }
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(&path).map_err(|error| failed(&error))?;
        let file = File::parse(&text).map_err(|error| failed(&error))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        files.insert(name, file);
    }
    Ok(files)
}

/// One `static` for each section that a file has, and one `Timing` for each file, which takes what
/// it lacks from its base's: configurations share what they have in common.
fn code(files: &BTreeMap<String, File>) -> Result<String, String> {
    let mut out = String::new();
    let mut names = String::new();
    for (name, file) in files {
        let base = match &file.base {
            None => None,
            Some(base) => Some((base, files.get(base).ok_or(format!("{name}: no base {base:?}"))?)),
        };
        let whole = match base {
            None => file.clone(),
            Some((_, base)) => file.clone().over(base.clone()),
        };
        whole.check().map_err(|error| format!("{name}: {error}"))?;
        sections(&mut out, &constant(name), file);
        // The name of the table with a section: this file's, or its base's.
        let table = |own: bool, section: &str| match base {
            Some((base, _)) if !own => format!("&{}_{section}", constant(base)),
            _ => format!("&{}_{section}", constant(name)),
        };
        let optional = |own: bool, there: bool, section| {
            if there { table(own, section) } else { "&[]".to_owned() }
        };
        let runs = whole.runs.iter().flatten().enumerate().map(|(index, run)| {
            let kind = if run.two_dimensional { "TwoD" } else { "OneD" };
            let message = table(file.runs[index].is_some(), &format!("RUN_{index}"));
            format!(
                "        Run {{ rate: {}, kind: Kind::{kind}, message: {message} }},\n",
                run.rate
            )
        });
        let background = whole.background.map_or("None".to_owned(), |(first, last)| {
            format!("Some(ScrubRange {{ first: {first:#010x}, last: {last:#010x} }})")
        });
        out += &format!(
            "static {}: Timing = Timing {{\n    rates: {},\n    controller: {},\n    \
             phy: {},\n    runs: &[\n{}    ],\n    pie: {},\n    captured: {},\n    scrub: {},\n    \
             background_scrub: {background},\n}}.checked();\n",
            constant(name),
            table(file.rates.is_some(), "RATES"),
            table(file.controller.is_some(), "CONTROLLER"),
            table(file.phy.is_some(), "PHY"),
            runs.collect::<String>(),
            table(file.pie.is_some(), "PIE"),
            table(file.captured.is_some(), "CAPTURED"),
            optional(file.scrub.is_some(), whole.scrub.is_some(), "SCRUB"),
        );
        names += &format!("    Memory {{ name: {name:?}, timing: &{} }},\n", constant(name));
    }
    out += &format!(
        "/// All memory configurations of the board.\npub const MEMORIES: &[Memory] = &[\n{names}];\n"
    );
    Ok(out)
}

fn sections(out: &mut String, prefix: &str, file: &File) {
    if let Some(rates) = &file.rates {
        table(out, prefix, "RATES", "u16", rates.iter().map(u16::to_string));
    }
    if let Some(rows) = &file.controller {
        let row = |(address, value): &(u32, u32)| {
            format!("ControllerWrite::new({address:#x}, {value:#x})")
        };
        table(out, prefix, "CONTROLLER", "ControllerWrite", rows.iter().map(row));
    }
    if let Some(rows) = &file.phy {
        phy_table(out, prefix, "PHY", rows);
    }
    for (index, run) in file.runs.iter().enumerate() {
        if let Some(Run { message, .. }) = run {
            phy_table(out, prefix, &format!("RUN_{index}"), message);
        }
    }
    if let Some(rows) = &file.pie {
        phy_table(out, prefix, "PIE", rows);
    }
    if let Some(registers) = &file.captured {
        let row = |register: &u32| format!("PhyRegister::new({register:#x})");
        table(out, prefix, "CAPTURED", "PhyRegister", registers.iter().map(row));
    }
    if let Some(ranges) = &file.scrub {
        let row = |(first, last): &(u32, u32)| {
            format!("ScrubRange {{ first: {first:#x}, last: {last:#x} }}")
        };
        table(out, prefix, "SCRUB", "ScrubRange", ranges.iter().map(row));
    }
}

fn phy_table(out: &mut String, prefix: &str, section: &str, rows: &[(u32, u16)]) {
    let row = |(register, value): &(u32, u16)| format!("PhyWrite::new({register:#x}, {value:#x})");
    table(out, prefix, section, "PhyWrite", rows.iter().map(row));
}

fn table(
    out: &mut String,
    prefix: &str,
    section: &str,
    element: &str,
    rows: impl ExactSizeIterator<Item = String>,
) {
    *out += &format!("static {prefix}_{section}: [{element}; {}] = [\n", rows.len());
    for row in rows {
        *out += &format!("    {row},\n");
    }
    *out += "];\n";
}

/// `lpddr4-4000` as the name of a constant.
fn constant(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect()
}
