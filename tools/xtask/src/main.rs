//! `cargo xtask`: developers' chores, one module each.
#![forbid(unsafe_code)]

mod process;
mod setup;

use clap::{Parser, Subcommand};

/// Developers' chores of Firn: set up, build, test.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    Setup(setup::Arguments),
}

fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Setup(arguments) => setup::run(&arguments),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
