//! The real tools that kernels and trees are packed with.

use std::{
    io::Write,
    process::{Command, Stdio},
};

/// What `command` makes of `bytes`.
pub(crate) fn through(command: &str, bytes: &[u8]) -> Vec<u8> {
    let mut words = command.split(' ');
    let mut child = Command::new(words.next().unwrap())
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{command}: {error}; `cargo xtask setup` installs it"));
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{command}");
        output.stdout
    })
}
