//! `firn`: the command of the build host and of the running target, one module each subcommand.

#![forbid(unsafe_code)]

#[cfg(feature = "host")]
mod ddr;
#[cfg(feature = "host")]
mod emulate;
mod entries;
mod file_device;
mod firmware;
mod image;
mod install;
mod output;
mod state;
mod write;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Firn's tools for the build host and the running target.
#[derive(Parser)]
#[command(name = "firn", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "host")]
    Ddr(ddr::Arguments),
    #[cfg(feature = "host")]
    Emulate(emulate::Arguments),
    Entries(entries::Arguments),
    Firmware(firmware::Arguments),
    Image(image::Arguments),
    Install(install::Arguments),
    State(state::Arguments),
    Write(write::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        #[cfg(feature = "host")]
        Command::Ddr(arguments) => ddr::run(&arguments),
        #[cfg(feature = "host")]
        Command::Emulate(arguments) => emulate::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Entries(arguments) => entries::run(&arguments),
        Command::Firmware(arguments) => firmware::run(&arguments),
        Command::Image(arguments) => image::run(&arguments),
        Command::Install(arguments) => install::run(&arguments),
        Command::State(arguments) => state::run(&arguments),
        Command::Write(arguments) => write::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
