//! `cargo xtask test`: everything that must hold before a change lands, in the order in which it
//! fails soonest.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use evk::assets::find_tool;

use crate::nix::Case;
use crate::setup::{self, Compiler, LINUX_TRIPLE, Need, TRIPLE};
use crate::{bench, build, fuzz, licences, nix, process, soak, unsafe_code};

/// Run every check: format, lints, host tests, fuzz targets, documentation, licences, Nix, emulated
/// boots, boots with random faults.
///
/// Example: `cargo xtask test --fast`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave the emulated boots out.
    #[arg(long)]
    fast: bool,
}

/// One named check.
struct Step {
    name: &'static str,
    work: Work,
}

enum Work {
    /// A command that succeeds or not.
    Check(Command),
    /// A check for which the user's own compiler must know the bare-metal target.
    Firmware(Command),
    /// `cargo test`, whose tests are counted.
    Tests(Command),
    /// A check of our own, which says what it found, and the command that repeats it.
    Own(fn() -> Result<String>, &'static str),
    /// Tests of our own, each of which is counted, and the command that repeats them.
    Cases(fn() -> Result<Vec<Case>>, &'static str),
}

/// How many checks and tests passed and failed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
}

/// One line of the summary.
struct Line {
    name: &'static str,
    ok: bool,
    note: String,
    took: Duration,
}

/// Longer than any step takes on two slow cores, shorter than anybody's patience.
const STEP_DEADLINE: Duration = Duration::from_secs(1800);
const ADVISORIES_DEADLINE: Duration = Duration::from_secs(120);

/// Sets up what is missing, runs the steps up to the first that fails, and sums up.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure(if arguments.fast { Need::Checks } else { Need::Everything })?;
    let mut tally = Tally::default();
    let mut summary = Vec::new();
    let mut failure = None;
    for mut step in steps(arguments.fast) {
        eprintln!("\n=== {}", step.name);
        let started = Instant::now();
        let outcome = step.work.run(&mut tally);
        let took = started.elapsed();
        let ok = outcome.is_ok();
        let note = outcome.as_ref().map_or_else(|_| "failed".to_owned(), Clone::clone);
        summary.push(Line { name: step.name, ok, note, took });
        if let Err(error) = outcome {
            eprintln!("{error:#}");
            failure = Some((step.name, step.work.repeat()));
            break;
        }
    }
    println!("\n{}", table(&summary));
    if let Some((name, command)) = &failure {
        println!("{name} failed; to repeat it: {command}");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if failure.is_some() {
        std::process::exit(1)
    }
    Ok(())
}

/// Where the property tests take their random numbers from.
const PROPTEST_SEED: &str = "PROPTEST_RNG_SEED";

fn steps(fast: bool) -> Vec<Step> {
    let cargo = |words: &str| {
        let mut cargo = process::cargo();
        cargo.args(words.split_whitespace());
        // The same tests each time; `cargo test` alone explores. A failed boot shows its serial
        // line, under which a backtrace would bury it.
        if std::env::var_os(PROPTEST_SEED).is_none() {
            cargo.env(PROPTEST_SEED, "1");
        }
        cargo.env("RUST_BACKTRACE", "0");
        cargo
    };
    // What private items are documented for is to be linked to.
    const FLAGS: &str = "-D warnings -A rustdoc::private-intra-doc-links";
    let documentation = |words: &str| {
        let mut cargo = cargo(words);
        cargo.args(["--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", FLAGS);
        cargo
    };
    // The command firn-cli and the library are both called firn: their pages would collide.
    let tools = documentation("doc --workspace --exclude firn --exclude firn-cli");
    // Only the target has everything that is documented.
    let firmware =
        documentation(&format!("doc --package firn --features firmware --target {TRIPLE}"));
    let target = format!(
        "clippy --package firn --features firmware --target {TRIPLE} --lib --bins -- -D warnings"
    );
    let tools_target = format!(
        "clippy --package firn-cli --no-default-features --target {LINUX_TRIPLE} -- -D warnings"
    );
    let guests = "--manifest-path tools/evk/guest/Cargo.toml";
    let guest_lints = format!(
        "clippy {guests} --target-dir target/firn/guest --target {TRIPLE} --release -- -D warnings"
    );
    let mut steps = vec![
        Step { name: "format", work: Work::Check(cargo("fmt --all --check")) },
        Step {
            name: "format, guests",
            work: Work::Check(cargo(&format!("fmt {guests} --all --check"))),
        },
        Step {
            name: "lints, host",
            work: Work::Check(cargo("clippy --workspace --all-targets -- -D warnings")),
        },
        Step { name: "lints, firmware", work: Work::Firmware(cargo(&target)) },
        Step { name: "lints, target's command", work: Work::Check(cargo(&tools_target)) },
        Step { name: "lints, guests", work: Work::Firmware(cargo(&guest_lints)) },
        Step { name: "host tests", work: Work::Tests(cargo("test --workspace --no-fail-fast")) },
        Step {
            name: "lints, fuzz targets",
            work: Work::Own(fuzz::lint, "cargo xtask test --fast"),
        },
        Step { name: "fuzzing", work: Work::Own(fuzz::briefly, "cargo xtask fuzz") },
        Step {
            name: "unsafe code",
            work: Work::Own(unsafe_code::test, "cargo test --package firn --lib"),
        },
        Step { name: "documentation, tools", work: Work::Check(tools) },
        Step { name: "documentation, firmware", work: Work::Firmware(firmware) },
        Step {
            name: "Nix, format and lints",
            work: Work::Own(nix::check_style, "cargo xtask nix"),
        },
        Step { name: "Nix, tests", work: Work::Cases(nix::tests, "cargo xtask nix") },
        Step { name: "Nix, flake", work: Work::Own(nix::check_flake, "cargo xtask nix") },
        Step { name: "licences", work: Work::Own(check_licences, "cargo xtask test --fast") },
        Step {
            name: "firmware, size budget",
            work: Work::Own(build_firmware, "cargo xtask build"),
        },
        Step { name: "target's command", work: Work::Own(build_target_tools, "cargo xtask build") },
    ];
    if !fast {
        steps.push(Step {
            name: "benchmark, budget",
            work: Work::Own(bench::check, "cargo xtask bench --check"),
        });
        // Ignored tests of other packages are chores for a hand, some of which write to the tree.
        let mut boots = cargo(&format!(
            "test --package evk --tests --no-fail-fast -- --ignored --test-threads {}",
            boots_at_once()
        ));
        // They build guests for the target; without a compiler for it they say so themselves.
        if let Ok(Some(compiler)) = Compiler::for_firmware() {
            compiler.configure(&mut boots);
        }
        steps.push(Step { name: "emulated boots", work: Work::Tests(boots) });
        steps.push(Step { name: "soak", work: Work::Own(soak::briefly, "cargo xtask soak") });
    }
    steps
}

/// A boot waits for half of its time: for a countdown to end, or as long as a person takes to type.
fn boots_at_once() -> usize {
    2 * std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

impl Work {
    /// Runs and counts; says in a few words what was found.
    fn run(&mut self, tally: &mut Tally) -> Result<String> {
        match self {
            Self::Firmware(_) if !Compiler::for_firmware()?.is_some_and(|found| found.is_own()) => {
                Ok("skipped: only Debian's compiler knows the target here".to_owned())
            }
            Self::Check(command) | Self::Firmware(command) => {
                let outcome = process::show(command, STEP_DEADLINE);
                tally.check(outcome.map(|()| String::new()))
            }
            Self::Own(check, _) => tally.check(check()),
            Self::Cases(evaluate, _) => tally.cases(evaluate()),
            Self::Tests(command) => {
                let mut tests = Tally::default();
                let outcome = process::show_lines(command, STEP_DEADLINE, |line| tests.add(line));
                if outcome.is_err() && tests.failed == 0 {
                    // It did not compile, or it crashed: no test says so.
                    tests.failed = 1;
                }
                tally.passed += tests.passed;
                tally.failed += tests.failed;
                outcome.map(|()| tests.told())
            }
        }
    }

    fn repeat(&self) -> String {
        match self {
            Self::Check(command) | Self::Firmware(command) | Self::Tests(command) => {
                process::told(command)
            }
            Self::Own(_, command) | Self::Cases(_, command) => (*command).to_owned(),
        }
    }
}

impl Tally {
    /// Counts a check that passes or fails as a whole.
    fn check<T>(&mut self, outcome: Result<T>) -> Result<T> {
        *(if outcome.is_ok() { &mut self.passed } else { &mut self.failed }) += 1;
        outcome
    }

    /// Counts tests of our own and tells those that have failed.
    fn cases(&mut self, outcome: Result<Vec<Case>>) -> Result<String> {
        let Ok(cases) = outcome else { return self.check(outcome.map(|_| String::new())) };
        let failures: Vec<String> = cases.iter().filter_map(Case::told).collect();
        let tests = Self { passed: cases.len() - failures.len(), failed: failures.len() };
        self.passed += tests.passed;
        self.failed += tests.failed;
        ensure!(failures.is_empty(), "{}", failures.join("\n"));
        Ok(tests.told())
    }

    /// Adds the counts of a test harness's closing line; other lines have none.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else { return };
        let count = |word: &str| {
            let (before, _) = counts.split_once(word)?;
            before.split(' ').next_back()?.parse::<usize>().ok()
        };
        self.passed += count(" passed;").unwrap_or(0);
        self.failed += count(" failed;").unwrap_or(0);
    }

    fn told(self) -> String {
        match self.passed + self.failed {
            0 => "none in this tree yet".to_owned(),
            1 => "1 test".to_owned(),
            count => format!("{count} tests"),
        }
    }
}

fn build_firmware() -> Result<String> {
    build::firmware().map(|()| String::new())
}

fn build_target_tools() -> Result<String> {
    build::target_tools().map(|()| String::new())
}

/// By cargo-deny where it is installed, else by ourselves.
fn check_licences() -> Result<String> {
    if find_tool("cargo-deny").is_none() {
        let count = licences::check()?;
        return Ok(format!("{count} packages; advisories skipped: cargo-deny is not installed"));
    }
    for manifest in licences::MANIFESTS {
        let mut cargo = process::cargo();
        cargo.args(["deny", "--manifest-path", manifest, "check", "--config", "deny.toml"]);
        process::show(cargo.args(["licenses", "bans", "sources"]), STEP_DEADLINE)?;
    }
    let mut advisories = process::cargo();
    advisories.args(["deny", "check", "advisories"]);
    match process::output(&mut advisories, ADVISORIES_DEADLINE) {
        Ok(_) => Ok("cargo-deny, advisories too".to_owned()),
        Err(error) if is_unreachable(&error.to_string()) => {
            Ok("cargo-deny; advisories skipped: their database can't be reached".to_owned())
        }
        Err(error) => bail!("advisories: {error:#}"),
    }
}

/// Whether cargo-deny had no database to compare with, as opposed to having found something.
fn is_unreachable(complaint: &str) -> bool {
    complaint.contains("advisory database") || complaint.contains("was stopped after")
}

fn table(lines: &[Line]) -> String {
    let rows = lines.iter().map(|Line { name, ok, note, took }| {
        let verdict = if *ok { "ok" } else { "FAILED" };
        let row = format!("{name:<24} {verdict:<6} {:>6.1} s  {note}", took.as_secs_f64());
        row.trim_end().to_owned() + "\n"
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.add(line));
        tally
    }

    #[test]
    fn the_counts_of_all_test_binaries_add_up() {
        let counted = tally(&[
            "test result: ok. 8 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out",
            "test result: FAILED. 26 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
        ]);
        assert_eq!(counted, Tally { passed: 34, failed: 1 });
    }

    #[test]
    fn a_coloured_line_counts_too() {
        let counted =
            tally(&["test result: \x1b[32mok\x1b(B\x1b[m. 3 passed; 0 failed; 0 ignored"]);
        assert_eq!(counted, Tally { passed: 3, failed: 0 });
    }

    #[test]
    fn what_a_test_prints_does_not_count() {
        assert_eq!(tally(&["running 3 tests", "9 passed; 9 failed;"]), Tally::default());
    }

    #[test]
    fn tests_that_do_not_compile_count_as_one_failure() {
        let mut tally = Tally::default();
        assert!(Work::Tests(Command::new("false")).run(&mut tally).is_err());
        assert_eq!(tally, Tally { passed: 0, failed: 1 });
    }

    #[test]
    fn a_check_counts_as_one() {
        let mut tally = Tally::default();
        Work::Check(Command::new("true")).run(&mut tally).unwrap();
        assert!(Work::Check(Command::new("false")).run(&mut tally).is_err());
        assert_eq!(tally, Tally { passed: 1, failed: 1 });
    }

    #[test]
    fn tests_of_our_own_count_one_by_one() {
        let mut tally = Tally::default();
        let case = |failure: Option<&str>| Case {
            name: "n".to_owned(),
            failure: failure.map(str::to_owned),
        };
        let error = tally.cases(Ok(vec![case(None), case(Some("no")), case(None)])).unwrap_err();
        assert_eq!(
            (error.to_string(), tally),
            ("n: no".to_owned(), Tally { passed: 2, failed: 1 })
        );
        assert!(tally.cases(Err(anyhow::anyhow!("syntax error"))).is_err());
        assert_eq!(tally, Tally { passed: 2, failed: 2 });
        assert_eq!(tally.cases(Ok(vec![case(None)])).unwrap(), "1 test");
    }

    #[test]
    fn a_step_without_tests_says_so() {
        let outcome = Work::Tests(Command::new("true")).run(&mut Tally::default());
        assert_eq!(outcome.unwrap(), "none in this tree yet");
    }

    #[test]
    fn fast_leaves_only_emulated_boots_out() {
        let names = |fast| steps(fast).into_iter().map(|step| step.name).collect::<Vec<_>>();
        let all = names(false);
        let more = all.strip_prefix(names(true).as_slice());
        assert_eq!(more, Some(["benchmark, budget", "emulated boots", "soak"].as_slice()));
    }

    #[test]
    fn a_database_that_cannot_be_reached_is_no_finding() {
        assert!(is_unreachable("failed to fetch advisory database https://…"));
        assert!(!is_unreachable("error[vulnerability]: RUSTSEC-2026-0001"));
    }
}
