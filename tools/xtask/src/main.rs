//! `cargo xtask`: set-up, build, demo and tests for developers.

fn main() {}
