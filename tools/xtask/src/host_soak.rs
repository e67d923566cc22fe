//! The soak over the same code on this machine: built for speed, split into parts that run at once,
//! each in a process of its own, so that a run that hangs or takes its process with it is noticed.

use std::{
    ops::Range,
    path::PathBuf,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use evk::soak::host::Summary;

use crate::{
    process,
    setup::{self, Need},
};

const EXAMPLE: &str = "host_soak";
const PROFILE: &str = "soak";

/// Runs of a process. What the board's slots hold, they hold until it ends: some 20 KiB a run.
const PART: u64 = 1000;
/// A run takes milliseconds.
const PART_DEADLINE: Duration = Duration::from_secs(600);
const BUILD_DEADLINE: Duration = Duration::from_secs(1800);

/// What to run.
pub(crate) struct Plan {
    /// The same faults for the same seed.
    pub(crate) seed: u64,
    /// Numbers of the runs.
    pub(crate) runs: Range<u64>,
    /// Processes at once.
    pub(crate) jobs: usize,
}

/// Builds, runs, and prints what came of it; a single run is shown in full.
///
/// # Errors
/// A promise was not kept, or a run did not end.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    let program = build()?;
    if plan.runs.end - plan.runs.start == 1 {
        let numbers = [plan.seed, plan.runs.start].map(|number| number.to_string());
        return process::show(Command::new(program).args(numbers), PART_DEADLINE);
    }
    let started = Instant::now();
    let summary = soak(&program, plan)?;
    println!("{summary}\n{:.0} s", started.elapsed().as_secs_f64());
    ensure!(
        summary.failures().is_empty(),
        "{} runs broke a promise; `cargo xtask soak --host --seed {} --only RUN` shows one",
        summary.failures().len(),
        plan.seed
    );
    Ok(())
}

fn build() -> Result<PathBuf> {
    setup::ensure(Need::Build)?;
    let mut cargo = process::cargo();
    cargo.args(["build", "--quiet", "--package", "evk", "--example", EXAMPLE]);
    cargo.args(["--profile", PROFILE]);
    process::show(&mut cargo, BUILD_DEADLINE)?;
    Ok(crate::root().join("target").join(PROFILE).join("examples").join(EXAMPLE))
}

/// All parts, some at once.
fn soak(program: &PathBuf, plan: &Plan) -> Result<Summary> {
    let whole = Mutex::new(Summary::default());
    let next = AtomicU64::new(plan.runs.start);
    let work = || -> Result<()> {
        loop {
            let first = next.fetch_add(PART, Ordering::Relaxed);
            if first >= plan.runs.end {
                return Ok(());
            }
            let count = PART.min(plan.runs.end - first);
            let numbers = [plan.seed, first, count].map(|number| number.to_string());
            let part = process::output(Command::new(program).args(numbers), PART_DEADLINE)
                .with_context(|| format!("one of the runs {first} to {}", first + count - 1))?;
            let part = Summary::from_json(&serde_json::from_str(&part)?)?;
            whole.lock().unwrap_or_else(PoisonError::into_inner).merge(part);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Result<()>>| {
            worker.join().unwrap_or_else(|_| Err(anyhow!("a worker panicked")))
        };
        workers.into_iter().map(join).collect::<Vec<_>>().into_iter().collect::<Result<()>>()
    })?;
    Ok(whole.into_inner().unwrap_or_else(PoisonError::into_inner))
}
