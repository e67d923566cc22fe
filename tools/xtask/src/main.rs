//! `cargo xtask`: developers' chores, one module each.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod demo;
mod fuzz;
mod host_soak;
mod licences;
mod nix;
mod process;
mod reproduce;
mod sanitizer;
mod sbom;
mod setup;
mod soak;
mod test;
mod unsafe_code;

use std::path::PathBuf;

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
    Build(build::Arguments),
    Demo(demo::Arguments),
    Test(test::Arguments),
    Bench(bench::Arguments),
    Fuzz(fuzz::Arguments),
    Soak(soak::Arguments),
    Nix(nix::Arguments),
    Reproduce(reproduce::Arguments),
}

fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Setup(arguments) => setup::run(&arguments),
        Chore::Build(arguments) => build::run(&arguments),
        Chore::Demo(arguments) => demo::run(&arguments),
        Chore::Test(arguments) => test::run(&arguments),
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::Fuzz(arguments) => fuzz::run(&arguments),
        Chore::Soak(arguments) => soak::run(&arguments),
        Chore::Nix(arguments) => nix::run(&arguments),
        Chore::Reproduce(arguments) => reproduce::run(&arguments),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// The root of the tree.
fn root() -> PathBuf {
    evk::assets::tree()
}
