//! Running other programs: their output on demand, their complaints in the error, a deadline on
//! each.

use std::fmt::Write as _;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How many of a program's last lines an error repeats.
const LINES_TOLD: usize = 12;
const POLL: Duration = Duration::from_millis(5);

/// Runs `command` unseen and returns what it wrote to its standard output.
///
/// # Errors
/// The program is missing, failed (its last words are in the error), or was killed at `deadline`.
pub(crate) fn output(command: &mut Command, deadline: Duration) -> Result<String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", told(command)))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = wait(&mut child, command, deadline)?;
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    if !status.success() {
        bail!("{} failed ({status}){}", told(command), last_words(&stdout, &stderr));
    }
    Ok(stdout)
}

/// A command as a user would type it.
pub(crate) fn told(command: &Command) -> String {
    let mut line = String::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            let _ = write!(line, "{}={} ", name.display(), value.display());
        }
    }
    let _ = write!(line, "{}", command.get_program().display());
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        let plain = !argument.is_empty() && !argument.contains([' ', '\'', '"', '$', '*', '\n']);
        if plain {
            let _ = write!(line, " {argument}");
        } else {
            let _ = write!(line, " '{}'", argument.replace('\'', r"'\''"));
        }
    }
    line
}

fn collect(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before a failure is still worth telling.
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, command: &Command, deadline: Duration) -> Result<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if started.elapsed() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("{} was stopped after {} s", told(command), deadline.as_secs());
        }
        thread::sleep(POLL);
    }
}

fn last_words(stdout: &str, stderr: &str) -> String {
    let said = if stderr.trim().is_empty() { stdout } else { stderr };
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.len().saturating_sub(LINES_TOLD);
    lines[first..].iter().fold(String::new(), |text, line| text + "\n    " + line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failed_programs_last_words_are_in_the_error() {
        let error = output(&mut shell("echo noise; echo disk full >&2; exit 3"), SOON).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("disk full") && error.contains("exit status: 3"), "{error}");
        assert!(!error.contains("noise\n"), "{error}");
    }

    #[test]
    fn a_program_that_hangs_is_stopped_at_its_deadline() {
        let started = Instant::now();
        let error = output(Command::new("sleep").arg("60"), Duration::from_millis(100));
        assert!(error.unwrap_err().to_string().contains("was stopped"));
        assert!(started.elapsed() < SOON);
    }

    #[test]
    fn more_output_than_a_pipe_holds_arrives_whole() {
        let text = output(&mut shell("seq 100000"), SOON).unwrap();
        assert!(text.ends_with("\n100000\n"));
    }

    #[test]
    fn a_command_is_told_so_that_it_can_be_pasted() {
        let mut command = shell("echo 'a b'");
        command.env("LANG", "C");
        assert_eq!(told(&command), r"LANG=C sh -c 'echo '\''a b'\'''");
    }
}
