//! QEMU's machine protocol: what happens to a board from outside, such as a card that is pulled.
//!
//! Source: QEMU 10.0, docs/interop/qmp-spec.rst.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

const ANSWER: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// A connection to a running emulator.
#[derive(Debug)]
pub(crate) struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the emulator's socket, which may not be there yet if it has just been started.
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let until = Instant::now() + ANSWER;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if error.kind() == ErrorKind::NotFound && Instant::now() < until => {
                    thread::sleep(BETWEEN_LOOKS);
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("no monitor at {}", socket.display()));
                }
            }
        };
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let mut monitor = Self { stream: BufReader::new(stream) };
        monitor.next_message()?;
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Executes a command and returns its result.
    pub(crate) fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let message = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stream.get_mut(), "{message}").context("the monitor is closed")?;
        loop {
            let answer = self.next_message()?;
            if let Some(result) = answer.get("return") {
                return Ok(result.clone());
            }
            if let Some(error) = answer.get("error") {
                bail!("{command} {arguments}: {error}");
            }
            // An event: nobody asked for it.
        }
    }

    fn next_message(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line).context("the monitor does not answer")?;
        serde_json::from_str(&line).with_context(|| format!("the monitor says {line:?}"))
    }
}
