//! What a command prints.

use std::io::{self, Write};

use anyhow::{Context, Result};

/// Prints to whoever listens; a pager that was left early is no error.
pub(crate) fn print(output: impl AsRef<[u8]>) -> Result<()> {
    match io::stdout().write_all(output.as_ref()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot print"),
    }
}
