//! Runs of the soak on this machine, a part of them: `cargo xtask soak --host` starts one of these for
//! each part and adds up. Prints the summary as JSON.
//!
//! Usage: host_soak SEED FIRST COUNT, or host_soak SEED INDEX to see one run's boots.

#![forbid(unsafe_code)]

use std::{env, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use evk::{
    assets::cache_dir,
    soak::{
        Run,
        host::{Soak, Summary},
    },
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let numbers: Vec<u64> = env::args()
        .skip(1)
        .map(|argument| argument.parse().with_context(|| format!("{argument}: not a number")))
        .collect::<Result<_>>()?;
    let soak = Soak::new(&cache_dir()?.join("cards"))?;
    match numbers[..] {
        [seed, index] => {
            let verdict = soak.run(Run { seed, index }, &mut |text| print!("{text}"));
            println!("{verdict:?}");
        }
        [seed, first, count] => {
            let mut summary = Summary::default();
            for index in first..first + count {
                let run = Run { seed, index };
                summary.add(run, soak.run(run, &mut |_| {}));
            }
            println!("{}", summary.to_json());
        }
        _ => bail!("usage: host_soak SEED FIRST COUNT | SEED INDEX"),
    }
    Ok(())
}
