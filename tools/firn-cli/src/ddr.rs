//! `firn ddr`: what concerns the bring-up of memory.

mod firmware;
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
    Trace(trace::Arguments),
}

/// Does what the arguments say.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Trace(arguments) => trace::run(arguments),
    }
}
