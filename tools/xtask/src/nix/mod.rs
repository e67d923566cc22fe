//! The Nix steps of `cargo xtask test`: every file parsed, formatted and linted; the module's tests;
//! the flake evaluated, offline, against the tree's own small stand-in for nixpkgs. `--build` also
//! runs what the packages' derivations run.

mod builds;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::setup::{self, Need, Nix, nix_formatter, nix_linter};
use crate::{build, process};

/// Where Nix files lie.
const PLACES: [&str; 2] = ["flake.nix", "nix"];
/// The stand-in for nixpkgs, a flake.
const STUB: &str = "nix/stub";
/// Evaluates to `{ NAME = null; }` for a test that has passed, else to what is wrong.
const TESTS: &str = "nix/tests";

const DEADLINE: Duration = Duration::from_secs(300);

/// Check what is written in Nix: form, module tests, flake.
///
/// Example: `cargo xtask nix --build`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also run what the packages' derivations run, without Nix, and compare the firmware with that of
    /// `cargo xtask build`; takes minutes
    #[arg(long)]
    build: bool,
}

/// Sets up what is missing and runs the Nix steps of `cargo xtask test`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure(if arguments.build { Need::Everything } else { Need::Checks })?;
    println!("form: {}", check_style()?);
    let cases = tests()?;
    let failures: Vec<String> = cases.iter().filter_map(Case::told).collect();
    println!("tests: {} passed, {} failed", cases.len() - failures.len(), failures.len());
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    println!("flake: {}", check_flake()?);
    if arguments.build {
        build::firmware()?;
        builds::run()?;
    }
    Ok(())
}

/// A test that Nix evaluates.
pub(crate) struct Case {
    pub(crate) name: String,
    /// What was expected and what was found, if it has failed.
    pub(crate) failure: Option<String>,
}

impl Case {
    /// What there is to say of a failure.
    pub(crate) fn told(&self) -> Option<String> {
        Some(format!("{}: {}", self.name, self.failure.as_ref()?))
    }
}

/// Parses (by Nix itself), formats and lints every Nix file of the tree.
///
/// # Errors
/// Names the files that don't parse, are formatted otherwise, or hold what nothing uses.
pub(crate) fn check_style() -> Result<String> {
    let files = files()?;
    let mut parse = Nix::locate()?.command("nix-instantiate");
    parse.current_dir(crate::root()).arg("--parse").args(&files);
    process::output(&mut parse, DEADLINE)?;
    let mut format = nix_formatter()?;
    format.current_dir(crate::root()).arg("--check").args(PLACES);
    process::output(&mut format, DEADLINE).context("the same without --check formats them")?;
    let mut lint = nix_linter()?;
    lint.current_dir(crate::root()).arg("--fail");
    // What an attribute set of arguments names tells what a function gets, used or not.
    lint.arg("--no-lambda-pattern-names").args(PLACES);
    process::output(&mut lint, DEADLINE)?;
    Ok(format!("{} files", files.len()))
}

/// Evaluates the tests of module and packages.
///
/// # Errors
/// They can't be evaluated at all.
pub(crate) fn tests() -> Result<Vec<Case>> {
    let mut nix = Nix::locate()?.command("nix-instantiate");
    nix.current_dir(crate::root()).args(["--eval", "--strict", "--json", "--expr"]);
    // Not every version calls a function by itself.
    nix.arg(format!("import ./{TESTS} {{ }}"));
    cases(&process::output(&mut nix, DEADLINE)?)
}

/// Evaluates every output of the flake.
///
/// # Errors
/// Nix's complaint.
pub(crate) fn check_flake() -> Result<String> {
    let root = crate::root();
    ensure!(
        root.join(".git").exists(),
        "{} is no checkout: Nix asks git for its files",
        root.display()
    );
    let nix = Nix::locate()?;
    let check = |also: &[&str]| {
        let mut nix = nix.command("nix");
        nix.args(["flake", "check", "--no-build", "--no-write-lock-file"]).args(also);
        nix.args(["--override-input", "nixpkgs", &format!("path:./{STUB}"), "."]);
        nix.current_dir(&root);
        process::output(&mut nix, DEADLINE)
    };
    // Older versions look at all systems anyhow, and know no option for it.
    match check(&["--all-systems"]) {
        Err(error) if error.to_string().contains("unrecognised flag") => check(&[])?,
        outcome => outcome?,
    };
    Ok("every output evaluates".to_owned())
}

fn cases(json: &str) -> Result<Vec<Case>> {
    let outcomes: BTreeMap<String, Option<String>> =
        serde_json::from_str(json).with_context(|| format!("{TESTS} gives no set of tests"))?;
    Ok(outcomes.into_iter().map(|(name, failure)| Case { name, failure }).collect())
}

/// Every Nix file, in the order of their names.
fn files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for place in PLACES {
        collect(&crate::root().join(place), &mut files)?;
    }
    ensure!(!files.is_empty(), "no Nix file in {}", PLACES.join(", "));
    files.sort();
    Ok(files)
}

fn collect(place: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if place.is_dir() {
        let entries =
            fs::read_dir(place).with_context(|| format!("cannot read {}", place.display()))?;
        for entry in entries {
            collect(&entry?.path(), files)?;
        }
    } else if place.extension().is_some_and(|extension| extension == "nix") {
        files.push(place.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests_of_steps {
    use super::*;

    #[test]
    fn a_test_has_passed_if_it_has_nothing_to_say() {
        let cases = cases(r#"{"b": "expected 1, found 2", "a": null}"#).unwrap();
        let told: Vec<_> =
            cases.iter().map(|case| (&*case.name, case.failure.as_deref())).collect();
        assert_eq!(told, [("a", None), ("b", Some("expected 1, found 2"))]);
    }

    #[test]
    fn what_is_no_set_of_tests_is_an_error() {
        assert!(cases("[]").is_err());
        assert!(cases(r#"{"a": true}"#).is_err());
    }

    #[test]
    fn nix_files_are_found_in_folders_of_folders() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("deep")).unwrap();
        for file in ["a.nix", "b.md", "deep/c.nix"] {
            fs::write(directory.path().join(file), "").unwrap();
        }
        let mut files = Vec::new();
        collect(directory.path(), &mut files).unwrap();
        files.sort();
        assert_eq!(files, ["a.nix", "deep/c.nix"].map(|file| directory.path().join(file)));
    }
}
