//! `firn ddr`: what concerns the bring-up of memory.

mod file;
mod firmware;
mod import;
mod trace;

use std::process::ExitCode;

use clap::Subcommand;

/// Look at how memory is brought up.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Import(import::Arguments),
    Trace(trace::Arguments),
}

/// Does what the arguments say.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Import(arguments) => import::run(arguments),
        Command::Trace(arguments) => trace::run(arguments),
    }
}
