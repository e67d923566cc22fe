//! `cargo xtask soak`: emulated boots with random faults.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Result, ensure};
use evk::soak::{self, Bench, Outcome, Run, Summary, Verdict};

use crate::{
    build,
    host_soak::{self, Plan},
    setup::{self, Need},
};

/// Boot the emulated EVK again and again, with one to three random faults each time: whatever they are,
/// an intact generation boots, or a prompt says what is wrong.
///
/// Example: `cargo xtask soak --seed 7 --runs 1000`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where random numbers begin: the same faults for the same seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many boots
    #[arg(long, value_name = "N", default_value_t = 200)]
    runs: u64,
    /// Only the run with this number, with all that it says
    #[arg(long, value_name = "INDEX")]
    only: Option<u64>,
    /// How many boards at once [default: twice the number of cores]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// The same code on this machine, with modelled devices: some hundred times as many in the same time
    #[arg(long)]
    host: bool,
}

/// Runs of `cargo xtask test`.
const BRIEFLY: u64 = 200;

/// Builds, boots, and sums up.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (first, count) = match arguments.only {
        Some(index) => (index, 1),
        None => (0, arguments.runs),
    };
    let jobs = arguments.jobs.unwrap_or_else(at_once);
    if arguments.host {
        let runs = first..first + count;
        return host_soak::run(&Plan { seed: arguments.seed, runs, jobs });
    }
    setup::ensure(Need::Boots)?;
    build::firmware()?;
    let started = Instant::now();
    let told = soak(arguments.seed, first..first + count, jobs, &|outcome| {
        if arguments.only.is_some() {
            println!("{}", outcome.text);
        }
        if arguments.only.is_some() || !outcome.verdict.is_kept() {
            println!("{}", line(outcome));
        }
    });
    let summary = told?;
    println!("{summary}\n{:.0} s", started.elapsed().as_secs_f64());
    ensure!(summary.broken() == 0, "{} runs broke the promise", summary.broken());
    Ok(())
}

/// The runs that every change has to stand, always the same.
///
/// # Errors
/// Names the runs that broke the promise, and the command that repeats each.
pub(crate) fn briefly() -> Result<String> {
    let broken = Mutex::new(Vec::new());
    let summary = soak(1, 0..BRIEFLY, at_once(), &|outcome| {
        if !outcome.verdict.is_kept() {
            broken.lock().unwrap_or_else(PoisonError::into_inner).push(line(outcome));
        }
    })?;
    let broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(format!("{} boots", summary.runs()))
}

/// A boot waits for half of its time.
fn at_once() -> usize {
    2 * thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn line(outcome: &Outcome) -> String {
    let Outcome { run, medium, faults, verdict, .. } = outcome;
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let verdict = match verdict {
        Verdict::Default => "generation 42 boots".to_owned(),
        Verdict::Another(number) => format!("generation {number} boots"),
        Verdict::Rescue(code) => format!("rescue prompt, {code}"),
        Verdict::Unnoticed(what) => format!("no checksum: {what}"),
        Verdict::Broken(what) => format!("BROKEN: {what}"),
    };
    let Run { seed, index } = run;
    format!("--seed {seed} --only {index}: {}; {}\n    {verdict}", medium.name(), faults.join("; "))
}

/// Boots the runs with these numbers, several boards at once; each outcome is told as it comes.
fn soak(
    seed: u64,
    indices: std::ops::Range<u64>,
    jobs: usize,
    tell: &(dyn Fn(&Outcome) + Sync),
) -> Result<Summary> {
    let bench = Bench::new()?;
    let summary = Mutex::new(Summary::default());
    let next = AtomicU64::new(indices.start);
    let work = || -> Result<()> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= indices.end {
                return Ok(());
            }
            let outcome = soak::boot(&bench, Run { seed, index })?;
            summary.lock().unwrap_or_else(PoisonError::into_inner).add(&outcome);
            tell(&outcome);
        }
    };
    thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a run panicked")))
        })
    })?;
    Ok(summary.into_inner().unwrap_or_else(PoisonError::into_inner))
}
