//! `cargo xtask fuzz`: libFuzzer on each parser of untrusted bytes, with the stable compiler.
//!
//! What cargo-fuzz asks of a nightly compiler is coverage instrumentation, and that is a pass of LLVM
//! which any compiler has; so is AddressSanitizer, where its runtime came with the compiler. The layout
//! of `fuzz/` is cargo-fuzz's all the same.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use evk::assets::find_tool;

use crate::process;
use crate::sanitizer::{self, Sanitizer};

/// Fuzz the parsers of untrusted bytes. What is found is kept in fuzz/artifacts, what leads to new
/// code in fuzz/corpus.
///
/// Example: `cargo xtask fuzz profiles --seconds 600`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// One of fuzz/fuzz_targets; without it, all of them
    target: Option<String>,
    /// How long each is fuzzed
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Targets that are fuzzed at once; without it, one on each core
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Without AddressSanitizer, which is used wherever the toolchain has its runtime
    #[arg(long)]
    no_sanitizer: bool,
}

const MANIFEST: &str = "fuzz/Cargo.toml";

/// Seconds of all targets in `cargo xtask test`, and the most for one.
const BRIEFLY: u64 = 75;
const BRIEFLY_EACH: u64 = 60;

/// Longest input in bytes. libFuzzer begins with short ones.
const LONGEST: usize = 16 * 1024;

/// An input that takes longer than this has found a loop; all take milliseconds.
const SLOWEST: Duration = Duration::from_secs(10);

/// Memory that may be in use, the sanitizer's included, and that may be asked for at once. The
/// loader's heap is smaller.
const MEMORY_MIB: u32 = 2048;
const ALLOCATION_MIB: u32 = 64;

const BUILD_DEADLINE: Duration = Duration::from_secs(1800);
/// Reading the corpus and stopping take a while besides.
const GRACE: Duration = Duration::from_secs(120);

/// As cargo-fuzz has them: counters at each edge, the operands of comparisons, the depth of the stack.
const COVERAGE: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-sanitizer-coverage-stack-depth",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// Files under tests/fixtures that are seeds of a target, besides fuzz/seeds/TARGET and TARGET.hex.
const FIXTURES: [(&str, &str); 7] = [
    ("bootspec", "nixos"),
    ("devicetree", "devicetree"),
    ("extlinux", "nixos"),
    ("loader_conf", "nixos/loader"),
    ("loader_entries", "nixos/loader/entries"),
    ("overlay", "devicetree/overlays"),
    ("profiles", "nixos"),
];

/// How the targets are built.
struct Workshop {
    triple: String,
    sanitizer: Option<Sanitizer>,
}

/// Where a run starts and where it keeps what it learns.
struct Run {
    seconds: u64,
    /// For new inputs; made if it is not there.
    corpus: PathBuf,
    /// Where random numbers begin; none is random itself.
    seed: Option<u32>,
}

/// What libFuzzer says at the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    executions: u64,
    new_inputs: u64,
    edges: u64,
    /// The input that broke a promise.
    finding: Option<PathBuf>,
}

/// What has come of several targets.
#[derive(Debug, Default)]
struct All {
    executions: u64,
    /// Commands that repeat the findings.
    broken: Vec<String>,
}

/// Builds the targets and fuzzes those that are asked for.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let targets = chosen(arguments.target.as_deref())?;
    let workshop = Workshop::open(!arguments.no_sanitizer)?;
    workshop.build()?;
    let jobs = arguments.jobs.map_or_else(cores, NonZeroUsize::get).min(targets.len());
    eprintln!(
        "{} targets, {} s each, {jobs} at once, {}",
        targets.len(),
        arguments.seconds,
        workshop.watched()
    );
    let corpora = crate::root().join("fuzz/corpus");
    let all = workshop.fuzz_all(&targets, jobs, |target| Run {
        seconds: arguments.seconds,
        corpus: corpora.join(target),
        seed: None,
    })?;
    findings(&all.broken)
}

/// Each target for a short time, from the same random numbers each time: they do not rot, and what
/// is easily found is found.
///
/// # Errors
/// A target does not build, or an input breaks a promise.
pub(crate) fn briefly() -> Result<String> {
    if !has_cpp_compiler() {
        return Ok("skipped: libFuzzer needs a C++ compiler".to_owned());
    }
    let targets = chosen(None)?;
    let workshop = Workshop::open(true)?;
    workshop.build()?;
    let corpora = tempfile::tempdir().context("cannot make a directory for new inputs")?;
    let (jobs, seconds) = (cores(), brief_seconds(targets.len(), cores()));
    let all = workshop.fuzz_all(&targets, jobs, |target| Run {
        seconds,
        corpus: corpora.path().join(target),
        seed: Some(1),
    })?;
    findings(&all.broken)?;
    let (count, watched) = (targets.len(), workshop.watched());
    Ok(format!("{count} targets, {seconds} s each, {} executions, {watched}", all.executions))
}

/// What `cargo xtask test` has for each of so many targets.
fn brief_seconds(targets: usize, jobs: usize) -> u64 {
    let rounds = targets.div_ceil(jobs.max(1)).max(1) as u64;
    (BRIEFLY / rounds).clamp(1, BRIEFLY_EACH)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// The lints of the targets.
///
/// # Errors
/// As the compiler says.
pub(crate) fn lint() -> Result<String> {
    if !has_cpp_compiler() {
        return Ok("skipped: libFuzzer needs a C++ compiler".to_owned());
    }
    let mut clippy = Workshop::open(true)?.cargo("clippy");
    process::show(clippy.args(["--", "-D", "warnings"]), BUILD_DEADLINE)?;
    Ok(String::new())
}

fn has_cpp_compiler() -> bool {
    std::env::var_os("CXX").is_some() || find_tool("c++").is_some()
}

/// The targets that a user means by `name`.
fn chosen(name: Option<&str>) -> Result<Vec<String>> {
    let all = targets(&crate::root().join("fuzz/fuzz_targets"))?;
    match name {
        None => Ok(all),
        Some(name) if all.iter().any(|target| target == name) => Ok(vec![name.to_owned()]),
        Some(name) => bail!("there is no target {name}; there are {}", all.join(", ")),
    }
}

fn targets(folder: &Path) -> Result<Vec<String>> {
    let files =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
        names.extend(name.filter(|_| path.extension().is_some_and(|extension| extension == "rs")));
    }
    names.sort_unstable();
    Ok(names)
}

fn findings(broken: &[String]) -> Result<()> {
    ensure!(
        broken.is_empty(),
        "an input breaks what its parser promises; to see it again:\n    {}",
        broken.join("\n    ")
    );
    Ok(())
}

impl Workshop {
    fn open(sanitize: bool) -> Result<Self> {
        ensure!(has_cpp_compiler(), "libFuzzer needs a C++ compiler (Debian: apt install g++)");
        let sanitizer = if sanitize { Sanitizer::find()? } else { None };
        Ok(Self { triple: sanitizer::host()?, sanitizer })
    }

    /// A command of cargo on the targets.
    fn cargo(&self, command: &str) -> Command {
        let mut cargo = process::cargo();
        cargo.args([command, "--manifest-path", MANIFEST, "--release"]);
        // With a target the flags are for it alone: programs that run during the build have no
        // libFuzzer to link to.
        cargo.args(["--target", &self.triple]).arg("--target-dir").arg(self.folder());
        let flags = COVERAGE.join(" ");
        match &self.sanitizer {
            Some(sanitizer) => sanitizer.configure(&mut cargo, &flags),
            None => drop(cargo.env("RUSTFLAGS", flags)),
        }
        cargo
    }

    fn folder(&self) -> PathBuf {
        let name = if self.sanitizer.is_some() { "fuzz-sanitized" } else { "fuzz" };
        Path::new("target/firn").join(name)
    }

    /// Who watches, in words.
    fn watched(&self) -> &'static str {
        match self.sanitizer {
            Some(_) => "with AddressSanitizer",
            None => "without a sanitizer",
        }
    }

    fn build(&self) -> Result<()> {
        process::show(self.cargo("build").arg("--quiet"), BUILD_DEADLINE)
    }

    fn program(&self, target: &str) -> PathBuf {
        self.folder().join(&self.triple).join("release").join(target)
    }

    /// A command that runs one input.
    fn repeat(&self, target: &str, input: &Path) -> String {
        let input = input.strip_prefix(crate::root()).unwrap_or(input);
        process::told(Command::new(self.program(target)).arg(input))
    }

    /// Fuzzes `targets`, so many at once; tells of each as it ends.
    ///
    /// # Errors
    /// A target cannot be run. What is found in the others is told all the same.
    fn fuzz_all(
        &self,
        targets: &[String],
        jobs: usize,
        run: impl Fn(&str) -> Run + Sync,
    ) -> Result<All> {
        let (next, all) = (AtomicUsize::new(0), Mutex::new(All::default()));
        let work = || -> Result<()> {
            while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                let figures = self.fuzz(target, &run(target))?;
                println!("{}", line(target, &figures));
                let broken = figures.finding.map(|input| self.repeat(target, &input));
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.executions += figures.executions;
                all.broken.extend(broken);
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
            let mut ended = workers.into_iter().map(|worker| worker.join());
            ended.try_for_each(|end| end.unwrap_or_else(|panic| resume_unwind(panic)))
        })?;
        Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn fuzz(&self, target: &str, run: &Run) -> Result<Figures> {
        let root = crate::root();
        let artifacts = root.join("fuzz/artifacts").join(target);
        for folder in [&artifacts, &run.corpus] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let log = root.join(self.folder()).join(format!("{target}.log"));
        let file =
            File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = Command::new(root.join(self.program(target)));
        command.args([
            format!("-max_total_time={}", run.seconds),
            format!("-max_len={LONGEST}"),
            format!("-timeout={}", SLOWEST.as_secs()),
            format!("-rss_limit_mb={MEMORY_MIB}"),
            format!("-malloc_limit_mb={ALLOCATION_MIB}"),
            format!("-artifact_prefix={}/", artifacts.display()),
            "-print_final_stats=1".to_owned(),
        ]);
        command.args(run.seed.map(|seed| format!("-seed={seed}")));
        command.args(dictionary(&root, target).map(|file| format!("-dict={}", file.display())));
        let unpacked = root.join(self.folder()).join("seeds").join(target);
        command.arg(&run.corpus).args(seeds(&root, target, unpacked)?);
        command.current_dir(&root).stdout(file.try_clone()?).stderr(file);
        command.env("RUST_BACKTRACE", "0");
        // Little freed memory is kept to notice late uses: inputs are short, and new pages are slow.
        command.env("ASAN_OPTIONS", "quarantine_size_mb=16");
        let outcome = process::show(&mut command, Duration::from_secs(run.seconds) + GRACE);
        let bytes = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let figures = Figures::read(&text);
        if figures.finding.is_some() {
            eprintln!("{}", complaint(&text));
            return Ok(figures);
        }
        outcome.with_context(|| format!("what it said is in {}", log.display()))?;
        Ok(figures)
    }
}

fn dictionary(root: &Path, target: &str) -> Option<PathBuf> {
    let file = root.join("fuzz/dictionaries").join(target).with_extension("dict");
    Some(file).filter(|file| file.is_file())
}

/// Folders of inputs to begin with; `unpacked` becomes that of the packed ones.
fn seeds(root: &Path, target: &str, unpacked: PathBuf) -> Result<Vec<PathBuf>> {
    let fixtures = FIXTURES.iter().filter(|(name, _)| *name == target);
    let fixtures = fixtures.map(|(_, folder)| root.join("tests/fixtures").join(folder));
    let own = root.join("fuzz/seeds").join(target);
    unpack(&own.with_extension("hex"), &unpacked)?;
    Ok(fixtures.chain([own, unpacked]).filter(|folder| folder.is_dir()).collect())
}

/// Writes the inputs of a file, one a line in hexadecimal digits, to a file each. Inputs that are no
/// text are kept like this, because there are hundreds of a few bytes.
fn unpack(packed: &Path, folder: &Path) -> Result<()> {
    if !packed.is_file() {
        return Ok(());
    }
    let text = fs::read_to_string(packed);
    let text = text.with_context(|| format!("cannot read {}", packed.display()))?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (number, line) in (1..).zip(text.lines()) {
        let input = from_hex(line)
            .with_context(|| format!("{} line {number}: not hexadecimal", packed.display()))?;
        fs::write(folder.join(number.to_string()), input)?;
    }
    Ok(())
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair.filter(|pair| pair.len() == 2)?, 16).ok()).collect()
}

impl Figures {
    fn read(text: &str) -> Self {
        let mut figures = Self::default();
        let number = |text: &str| text.trim().parse().unwrap_or(0);
        for line in text.lines() {
            if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
                figures.executions = number(count);
            } else if let Some(count) = line.strip_prefix("stat::new_units_added:") {
                figures.new_inputs = number(count);
            } else if let Some((_, path)) = line.split_once("Test unit written to ") {
                figures.finding = Some(path.into());
            } else if let Some((_, rest)) = line.split_once(" cov: ") {
                figures.edges = rest.split(' ').next().map_or(0, number);
            }
        }
        figures
    }
}

/// The words about a finding, between the progress before them and the input behind them.
fn complaint(text: &str) -> String {
    let is_first = |line: &str| line.contains(" panicked at ") || line.contains("ERROR: libFuzzer");
    let lines = text.lines().skip_while(|line| !is_first(line));
    let told = lines.take_while(|line| !line.starts_with("MS: "));
    told.map(|line| format!("    {line}\n")).collect()
}

fn line(target: &str, figures: &Figures) -> String {
    let Figures { executions, new_inputs, edges, finding } = figures;
    let found = match finding {
        None => "no finding".to_owned(),
        Some(input) => format!("FINDING {}", input.display()),
    };
    format!(
        "{target:<16} {executions:>12} executions {new_inputs:>7} new inputs {edges:>6} edges  {found}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINDING: &str = "#2\tINITED cov: 8 ft: 8 corp: 1/1b exec/s: 0 rss: 27Mb\n\
        #240\tREDUCE cov: 9 ft: 9 corp: 3/6b lim: 6 exec/s: 0 rss: 27Mb L: 5/5 MS: 1 EraseBytes-\n\
        thread '<unnamed>' (7) panicked at src/x.rs:1:2:\nboom\n\
        ==7== ERROR: libFuzzer: deadly signal\nMS: 1 EraseBytes-; base unit: 5acc\n\
        artifact_prefix='fuzz/artifacts/x/'; Test unit written to fuzz/artifacts/x/crash-26e6\n\
        stat::number_of_executed_units: 820\n\
        stat::new_units_added:          169\n";

    #[test]
    fn a_finding_names_its_input() {
        let figures = Figures::read(FINDING);
        assert_eq!((figures.executions, figures.new_inputs, figures.edges), (820, 169, 9));
        assert_eq!(figures.finding, Some("fuzz/artifacts/x/crash-26e6".into()));
        assert!(line("x", &figures).ends_with("FINDING fuzz/artifacts/x/crash-26e6"));
        assert!(complaint(FINDING).contains("boom"));
        assert!(!complaint(FINDING).contains("REDUCE") && !complaint(FINDING).contains("written"));
    }

    #[test]
    fn a_run_without_a_finding_succeeds_and_one_with_a_finding_says_how_to_repeat_it() {
        assert!(findings(&[]).is_ok());
        let told = findings(&["target/x fuzz/artifacts/x/crash-26e6".to_owned()]).unwrap_err();
        assert!(told.to_string().contains("target/x fuzz/artifacts/x/crash-26e6"));
    }

    #[test]
    fn every_target_is_built_and_every_fixture_is_a_targets() {
        let manifest: toml::Table =
            fs::read_to_string(crate::root().join(MANIFEST)).unwrap().parse().unwrap();
        let built: Vec<_> =
            manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str()).collect();
        let targets = chosen(None).unwrap();
        assert_eq!(built, targets.iter().map(|target| Some(target.as_str())).collect::<Vec<_>>());
        for (target, folder) in FIXTURES {
            assert!(targets.iter().any(|name| name == target), "{target}");
            assert!(crate::root().join("tests/fixtures").join(folder).is_dir(), "{folder}");
        }
    }

    #[test]
    fn the_test_run_gives_each_target_its_share_and_a_minute_at_most() {
        assert_eq!(brief_seconds(27, 2), 5);
        assert_eq!(brief_seconds(29, 2), 5);
        assert_eq!(brief_seconds(26, 16), 37);
        assert_eq!(brief_seconds(26, 32), 60);
        assert!(brief_seconds(1000, 1) > 0 && brief_seconds(1, 0) > 0);
    }

    #[test]
    fn packed_seeds_become_a_file_each() {
        let folder = tempfile::tempdir().unwrap();
        let (packed, inputs) = (folder.path().join("x.hex"), folder.path().join("x"));
        fs::write(&packed, "00ff\n1b5b41\n").unwrap();
        unpack(&packed, &inputs).unwrap();
        assert_eq!(fs::read(inputs.join("2")).unwrap(), b"\x1b[A");
        fs::write(&packed, "00f\n").unwrap();
        assert!(unpack(&packed, &inputs).unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn a_target_that_is_not_there_is_told_with_those_that_are() {
        let error = chosen(Some("frob")).unwrap_err().to_string();
        assert!(error.contains("no target frob") && error.contains("state_record"), "{error}");
    }
}
