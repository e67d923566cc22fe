//! Running other programs: their output on demand, their complaints in the error, a deadline on
//! each.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How many of a program's last lines an error repeats.
const LINES_TOLD: usize = 12;
const POLL: Duration = Duration::from_millis(5);

/// Cargo at the root of the tree.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(crate::root());
    cargo
}

/// Runs `command` unseen and returns what it wrote to its standard output.
///
/// # Errors
/// The program is missing, failed (its last words are in the error), or was killed at `deadline`.
pub(crate) fn output(command: &mut Command, deadline: Duration) -> Result<String> {
    let started = Instant::now();
    let mut child =
        spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = wait(&mut child, command, started, deadline)?;
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    if !status.success() {
        bail!("{} failed ({status}){}", told(command), last_words(&stdout, &stderr));
    }
    Ok(stdout)
}

/// Like [`output`], with the program's standard error (its progress and complaints) on this
/// terminal.
///
/// # Errors
/// As [`output`], without the last words.
pub(crate) fn output_with_progress(command: &mut Command, deadline: Duration) -> Result<String> {
    let started = Instant::now();
    let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let stdout = collect(child.stdout.take());
    let status = wait(&mut child, command, started, deadline)?;
    succeeded(command, status)?;
    Ok(stdout.join().unwrap_or_default())
}

/// Runs `command` on this terminal, without input.
///
/// # Errors
/// The program is missing or failed, or was killed at `deadline`.
pub(crate) fn show(command: &mut Command, deadline: Duration) -> Result<()> {
    let started = Instant::now();
    let mut child = spawn(command.stdin(Stdio::null()))?;
    let status = wait(&mut child, command, started, deadline)?;
    succeeded(command, status)
}

/// Like [`show`]; each line of the program's standard output is given to `see` as it comes.
///
/// # Errors
/// As [`show`].
pub(crate) fn show_lines(
    command: &mut Command,
    deadline: Duration,
    mut see: impl FnMut(&str),
) -> Result<()> {
    let started = Instant::now();
    let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let (sender, lines) = mpsc::channel();
    let stdout = child.stdout.take().context("no standard output")?;
    thread::spawn(move || {
        let lines = BufReader::new(stdout).split(b'\n').map_while(Result::ok);
        lines.for_each(|line| drop(sender.send(String::from_utf8_lossy(&line).into_owned())));
    });
    // Ends with the program's output, or at the deadline, which `wait` then finds passed.
    while let Ok(line) = lines.recv_timeout(deadline.saturating_sub(started.elapsed())) {
        println!("{line}");
        see(&line);
    }
    let status = wait(&mut child, command, started, deadline)?;
    succeeded(command, status)
}

/// A command as a user would type it.
pub(crate) fn told(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={}", name.display(), quoted(&value?.to_string_lossy())))
    });
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| quoted(&word.to_string_lossy()));
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

/// A word as a shell wants it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().with_context(|| format!("cannot start {}", told(command)))
}

fn succeeded(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("{} failed ({status})", told(command));
    }
    Ok(())
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

fn wait(
    child: &mut Child,
    command: &Command,
    started: Instant,
    deadline: Duration,
) -> Result<ExitStatus> {
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
    fn lines_are_seen_and_a_failure_after_them_is_told() {
        let mut seen = Vec::new();
        let outcome = show_lines(&mut shell("echo one; printf two; exit 4"), SOON, |line| {
            seen.push(line.to_owned());
        });
        assert_eq!(seen, ["one", "two"]);
        assert!(outcome.unwrap_err().to_string().contains("exit status: 4"));
    }

    #[test]
    fn a_silent_program_is_stopped_at_its_deadline_too() {
        let deadline = Duration::from_millis(100);
        let outcome = show_lines(Command::new("sleep").arg("60"), deadline, |_| {});
        assert!(outcome.unwrap_err().to_string().contains("was stopped"));
    }

    #[test]
    fn a_command_is_told_so_that_it_can_be_pasted() {
        let mut command = shell("echo 'a b'");
        command.env("FLAGS", "-D warnings");
        assert_eq!(told(&command), r"FLAGS='-D warnings' sh -c 'echo '\''a b'\'''");
    }
}
