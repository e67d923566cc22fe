//! `firn`: the command of the build host and of the running target.

fn main() {}
