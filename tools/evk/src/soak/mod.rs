//! Boots with which something goes wrong, and what must hold whatever it is.
//!
//! A [`Fault`] is what goes wrong, a [`Medium`] what the board boots from, a [`Bench`] boots the one with the
//! other in the emulated board, tells the [`End`] of it, and holds that against the promise ([`Verdict`]):
//! within a deadline either the kernel of a generation runs, with the files that belong to it, or a prompt
//! answers under an error with a code. [`matrix`] has the faults
//! that are known by name, cell by cell;
//! [`Run`] draws one to three at random, the same ones for the same seed and index. [`host`] does so over the
//! loader's code on this machine, where a boot takes a millisecond.

mod bench;
mod boot;
mod fault;
mod files;
pub mod host;
mod journal;
pub mod matrix;

mod random;
mod summary;
mod verdict;

pub use bench::{Bench, Medium};
pub use boot::{End, Ended};
pub use fault::{Babble, Damage, Fault, Moment, Part};
pub use files::Unchecked;
pub use journal::Journal;
pub use random::{Random, Run};
pub use summary::Summary;
pub use verdict::Verdict;

use anyhow::Result;

/// What a run did and what came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Which one.
    pub run: Run,
    /// What it booted from.
    pub medium: Medium,
    /// What went wrong.
    pub faults: Vec<Fault>,
    /// Whether the promise was kept.
    pub verdict: Verdict,
    /// What came over the serial line.
    pub text: String,
}

/// Boots what `run` draws.
///
/// # Errors
/// The emulator could not be started or talked to; what the firmware does is in the verdict.
pub fn boot(bench: &Bench, run: Run) -> Result<Outcome> {
    let mut random = run.random();
    let medium = *random.one_of(&Medium::ALL);
    let faults = fault::draw(&mut random, medium);
    let ended = bench.boot(medium, &faults)?;
    let verdict = bench.judge(medium, &faults, &ended);
    Ok(Outcome { run, medium, faults, verdict, text: ended.text })
}
