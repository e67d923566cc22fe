//! From C structures to a timing file, and comparisons of timing files.

use std::fmt::Debug;

use anyhow::{Context, Result, bail, ensure};
use firn::ddr::format::{File, MAX_RUNS, Run};

use super::c::{Source, Value};

/// What the tables of `timing`, or of the only `struct dram_timing_info`, say.
pub(super) fn collect(source: &Source, timing: Option<&str>) -> Result<File> {
    let names: Vec<&str> = source.of_kind("dram_timing_info").collect();
    let name = match (timing, names.as_slice()) {
        (Some(name), _) => name,
        (None, [name]) => name,
        (None, []) => bail!("no struct dram_timing_info"),
        (None, several) => {
            bail!(
                "several struct dram_timing_info: choose one with --timing: {}",
                several.join(", ")
            )
        }
    };
    let info = &source.structure(name)?.value;
    let table = |field: &str| -> Result<Option<Vec<(u32, u32)>>> {
        match info.field(field) {
            None => Ok(None),
            Some(Value::Name(table)) => Ok(Some(rows(source, table)?)),
            Some(_) => bail!("{name}: .{field} is not the name of a table"),
        }
    };
    let registers = |rows: Option<Vec<(u32, u32)>>| -> Option<Vec<u32>> {
        rows.map(|rows| rows.into_iter().map(|(register, _)| register).collect())
    };
    let ranges = |function| -> Result<Vec<(u32, u32)>> {
        source
            .calls(function)
            .map(|call| match *call.arguments {
                [first, last] => Ok((first, last)),
                _ => bail!("{function} has two arguments"),
            })
            .collect()
    };
    let scrub = ranges("ddrc_inline_ecc_scrub")?;
    let background = ranges("ddrc_inline_ecc_scrub_end")?;
    ensure!(background.len() <= 1, "ddrc_inline_ecc_scrub_end is called more than once");
    Ok(File {
        base: None,
        rates: Some(rates(info.field("fsp_table").context("no .fsp_table")?)?),
        controller: table("ddrc_cfg")?,
        phy: table("ddrphy_cfg")?.map(phy).transpose()?,
        runs: runs(source, info)?,
        pie: table("ddrphy_pie")?.map(phy).transpose()?,
        captured: registers(table("ddrphy_trained_csr")?),
        scrub: (!scrub.is_empty()).then_some(scrub),
        background: background.first().copied(),
    })
}

/// Set points, without the zeros that end the list.
fn rates(value: &Value) -> Result<Vec<u16>> {
    let Value::List(values) = value else { bail!(".fsp_table is not a list") };
    let mut rates = Vec::new();
    for (_, value) in values {
        match value {
            Value::Number(0) => break,
            Value::Number(rate) => rates.push(u16::try_from(*rate).context("a data rate")?),
            _ => bail!(".fsp_table has numbers"),
        }
    }
    Ok(rates)
}

fn runs(source: &Source, info: &Value) -> Result<[Option<Run>; MAX_RUNS]> {
    let Some(Value::Name(messages)) = info.field("fsp_msg") else { bail!("no .fsp_msg") };
    let Value::List(entries) = &source.structure(messages)?.value else {
        bail!("{messages} is not a list")
    };
    ensure!(entries.len() <= MAX_RUNS, "{messages} has more than {MAX_RUNS} runs");
    let mut runs = [const { None }; MAX_RUNS];
    for (place, (_, entry)) in runs.iter_mut().zip(entries) {
        let Some(Value::Number(rate)) = entry.field("drate") else {
            bail!("{messages}: no .drate")
        };
        let two_dimensional = match entry.field("fw_type") {
            Some(Value::Name(kind)) if kind == "FW_1D_IMAGE" => false,
            Some(Value::Name(kind)) if kind == "FW_2D_IMAGE" => true,
            other => bail!("{messages}: .fw_type is {other:?}, not FW_1D_IMAGE or FW_2D_IMAGE"),
        };
        let Some(Value::Name(table)) = entry.field("fsp_cfg") else {
            bail!("{messages}: no .fsp_cfg")
        };
        let rate = u16::try_from(*rate).context("a data rate")?;
        *place = Some(Run { rate, two_dimensional, message: phy(rows(source, table)?)? });
    }
    Ok(runs)
}

/// Registers and values of the table `name`: without field names, or `.reg` and `.val`.
fn rows(source: &Source, name: &str) -> Result<Vec<(u32, u32)>> {
    let structure = source.structure(name)?;
    ensure!(structure.kind == "dram_cfg_param", "{name} is a struct {}", structure.kind);
    let Value::List(entries) = &structure.value else { bail!("{name} is not a list") };
    let row = |(index, (_, entry)): (usize, &(Option<String>, Value))| {
        let both = match entry {
            Value::List(values) => match values.as_slice() {
                [(None, register), (None, value)] => Some((register, value)),
                _ => entry.field("reg").zip(entry.field("val")),
            },
            _ => None,
        };
        match both {
            Some((Value::Number(register), Value::Number(value))) => Ok((*register, *value)),
            _ => bail!("{name}: entry {index} is not a register and a value"),
        }
    };
    entries.iter().enumerate().map(row).collect()
}

fn phy(rows: Vec<(u32, u32)>) -> Result<Vec<(u32, u16)>> {
    rows.into_iter()
        .map(|(register, value)| {
            let value = u16::try_from(value);
            Ok((register, value.with_context(|| format!("PHY register {register:#x}"))?))
        })
        .collect()
}

/// `file` without what is the same in `base`, which is called `name`.
pub(super) fn difference(file: &File, base: &File, name: String) -> File {
    fn other<T: Clone + PartialEq>(one: &Option<T>, base: &Option<T>) -> Option<T> {
        if one == base { None } else { one.clone() }
    }
    let mut runs = [const { None }; MAX_RUNS];
    for (place, (one, base)) in runs.iter_mut().zip(file.runs.iter().zip(&base.runs)) {
        *place = other(one, base);
    }
    File {
        base: Some(name),
        rates: other(&file.rates, &base.rates),
        controller: other(&file.controller, &base.controller),
        phy: other(&file.phy, &base.phy),
        runs,
        pie: other(&file.pie, &base.pie),
        captured: other(&file.captured, &base.captured),
        scrub: other(&file.scrub, &base.scrub),
        background: other(&file.background, &base.background),
    }
}

/// The first difference of each section.
pub(super) fn compare(imported: &File, file: &File) -> Vec<String> {
    let mut differences = Vec::new();
    let mut section = |name: &str, difference: Option<String>| {
        differences.extend(difference.map(|difference| format!("[{name}] {difference}")));
    };
    section("rates", rows_differ(&imported.rates, &file.rates));
    section("controller", rows_differ(&imported.controller, &file.controller));
    section("phy", rows_differ(&imported.phy, &file.phy));
    for (index, (one, other)) in imported.runs.iter().zip(&file.runs).enumerate() {
        let heads = [one, other].map(|run| run.as_ref().map(|run| (run.rate, run.two_dimensional)));
        let [one, other] = [one, other].map(|run| run.as_ref().map(|run| run.message.clone()));
        let head = (heads[0] != heads[1]).then(|| "is another run".to_owned());
        section(&format!("run {index}"), head.or_else(|| rows_differ(&one, &other)));
    }
    section("pie", rows_differ(&imported.pie, &file.pie));
    section("captured", rows_differ(&imported.captured, &file.captured));
    section("scrub", rows_differ(&imported.scrub, &file.scrub));
    let background = imported.background != file.background;
    section("background scrub", background.then(|| "differs".to_owned()));
    differences
}

fn rows_differ<T: PartialEq + Debug>(
    imported: &Option<Vec<T>>,
    file: &Option<Vec<T>>,
) -> Option<String> {
    let imported = imported.as_deref().unwrap_or_default();
    let file = file.as_deref().unwrap_or_default();
    let place = imported.iter().zip(file).position(|(one, other)| one != other);
    match place {
        Some(row) => {
            let (here, there) = (file.get(row)?, imported.get(row)?);
            Some(format!("row {row} is {here:x?}, the import has {there:x?}"))
        }
        None if imported.len() != file.len() => {
            Some(format!("has {} rows, the import {}", file.len(), imported.len()))
        }
        None => None,
    }
}
