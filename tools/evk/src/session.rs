//! A running board: its serial line, with a deadline for every wait, and what it leaves behind.

use std::{
    fs,
    io::{Read, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ExitStatus},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{
    gdb::{self, Witness},
    keys::{Script, Step},
    monitor::Monitor,
    qemu::Slot,
    stub,
    userspace::{self, Report},
};

/// How many of the last lines a failure shows.
const LINES_SHOWN: usize = 30;

/// How long the demo's and the tests' keys stand apart: as fast as a person types, so that each
/// one meets the screen that the one before has led to.
const BETWEEN_KEYS: Duration = Duration::from_millis(60);

/// A board that runs. It ends when this value does.
#[derive(Debug)]
pub struct Session {
    child: Child,
    keyboard: Option<ChildStdin>,
    line: Arc<Line>,
    complaints: Arc<Line>,
    readers: Vec<JoinHandle<()>>,
    bus: Option<JoinHandle<Result<()>>>,
    witness: Witness,
    /// How far [`expect`](Self::expect) has come in the plain text.
    position: usize,
    ports: Ports,
    // Sockets live here as long as the emulator does.
    _sockets: tempfile::TempDir,
}

/// The emulator's sockets.
#[derive(Debug)]
pub(crate) struct Ports {
    /// Its monitor.
    pub(crate) monitor: PathBuf,
    /// Its GDB port, which device models may hold.
    pub(crate) debug_port: PathBuf,
}

/// What came over a line, shared with the thread that reads it.
#[derive(Debug, Default)]
struct Line {
    state: Mutex<Heard>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    raw: Vec<u8>,
    plain: String,
    stripper: Stripper,
    ended: bool,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        // A reader that panicked leaves a shorter log, not a wrong one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, mut source: impl Read) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            let mut heard = self.lock();
            heard.take(&buffer[..count]);
            drop(heard);
            self.news.notify_all();
        }
        self.lock().ended = true;
        self.news.notify_all();
    }
}

impl Heard {
    fn take(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        for byte in bytes {
            if let Some(character) = self.stripper.take(*byte) {
                self.plain.push(character);
            }
        }
    }
}

/// Takes the terminal's control sequences out of a stream. Source: ECMA-48, 5.4.
#[derive(Debug, Default, PartialEq, Eq)]
enum Stripper {
    #[default]
    Text,
    Escape,
    Sequence,
}

impl Stripper {
    /// The character that `byte` stands for, if it is text. Bytes outside ASCII stay single.
    fn take(&mut self, byte: u8) -> Option<char> {
        match (&self, byte) {
            (Stripper::Text, 0x1b) => *self = Stripper::Escape,
            (Stripper::Text, b'\r') => {}
            (Stripper::Text, _) => return Some(char::from(byte)),
            (Stripper::Escape, b'[') => *self = Stripper::Sequence,
            (Stripper::Escape, _) => *self = Stripper::Text,
            (Stripper::Sequence, 0x40..=0x7e) => *self = Stripper::Text,
            (Stripper::Sequence, _) => {}
        }
        None
    }
}

impl Session {
    /// Takes over a started emulator: standard input and output are the serial line.
    pub(crate) fn new(
        mut child: Child,
        bus: Option<JoinHandle<Result<()>>>,
        witness: Witness,
        ports: Ports,
        sockets: tempfile::TempDir,
    ) -> Result<Self> {
        let keyboard = child.stdin.take();
        let output = child.stdout.take().context("the emulator has no standard output")?;
        let errors = child.stderr.take().context("the emulator has no standard error")?;
        let line = Arc::<Line>::default();
        let complaints = Arc::<Line>::default();
        let readers = vec![
            thread::spawn({
                let line = line.clone();
                move || line.hear(output)
            }),
            thread::spawn({
                let complaints = complaints.clone();
                move || complaints.hear(errors)
            }),
        ];
        Ok(Self {
            child,
            keyboard,
            line,
            complaints,
            readers,
            bus,
            witness,
            position: 0,
            ports,
            _sockets: sockets,
        })
    }

    /// Waits until `text` has come over the serial line, control sequences and carriage returns
    /// left out, and returns what came before it since the last wait.
    pub fn expect(&mut self, text: &str, deadline: Duration) -> Result<String> {
        self.expect_any(&[text], deadline).map(|(_, before)| before)
    }

    /// [`expect`](Self::expect) for the first of several texts to come; also returns which one.
    pub fn expect_any(&mut self, texts: &[&str], deadline: Duration) -> Result<(usize, String)> {
        let until = Instant::now() + deadline;
        let line = self.line.clone();
        let mut heard = line.lock();
        loop {
            let news = heard.plain.get(self.position..).unwrap_or_default();
            let first = texts
                .iter()
                .enumerate()
                .filter_map(|(index, text)| Some((news.find(text)?, index, text.len())))
                .min();
            if let Some((at, index, length)) = first {
                let before = news[..at].to_owned();
                self.position += at + length;
                return Ok((index, before));
            }
            let left = until.saturating_duration_since(Instant::now());
            if heard.ended || left.is_zero() {
                drop(heard);
                return Err(self.failure(&format!("waited {deadline:?} in vain for {texts:?}")));
            }
            heard = line.news.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends bytes to the serial line.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let keyboard = self.keyboard.as_mut().context("the serial line is closed")?;
        let sent = keyboard.write_all(bytes.as_ref()).and_then(|()| keyboard.flush());
        sent.map_err(|error| self.failure(&format!("the serial line takes no keys: {error}")))
    }

    /// Plays a key script; each `wait:` in it takes at most `deadline`.
    pub fn play(&mut self, script: &Script, deadline: Duration) -> Result<()> {
        script.steps().iter().try_for_each(|step| self.step(step, deadline))
    }

    /// Plays one step of a key script.
    pub fn step(&mut self, step: &Step, deadline: Duration) -> Result<()> {
        match step {
            Step::Send(bytes) => {
                thread::sleep(BETWEEN_KEYS);
                self.send(bytes)?;
            }
            Step::Wait(text) => drop(self.expect(text, deadline)?),
            Step::Sleep(time) => thread::sleep(*time),
        }
        Ok(())
    }

    /// Pulls the card out of its slot.
    pub fn remove_card(&mut self, slot: Slot) -> Result<()> {
        let arguments = json!({ "device": slot.drive(), "force": true });
        Monitor::connect(&self.ports.monitor)?.execute("eject", &arguments)?;
        Ok(())
    }

    /// Resets the board, as a watchdog does when it bites.
    pub fn reset(&mut self) -> Result<()> {
        Monitor::connect(&self.ports.monitor)?.execute("system_reset", &json!({}))?;
        Ok(())
    }

    /// Lets the processor stand still for `time`, while the board's clocks go on.
    pub fn freeze(&mut self, time: Duration) -> Result<()> {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::STOP)?;
        thread::sleep(time);
        Ok(kill_process(process, Signal::CONT)?)
    }

    /// What is in `size` bytes of memory from `start` on, as the processors see it.
    pub fn memory(&mut self, start: u64, size: u64) -> Result<Vec<u8>> {
        let file = tempfile::NamedTempFile::new()?;
        let arguments = json!({ "val": start, "size": size, "filename": file.path() });
        Monitor::connect(&self.ports.monitor)?.execute("pmemsave", &arguments)?;
        Ok(fs::read(file.path())?)
    }

    /// Lets a processor that spins for ever wait for interrupts instead, as that of a kernel that has
    /// panicked: its time then passes as [`Machine::skipping_waits`](crate::qemu::Machine) says. Not for a
    /// board whose devices are answered for at the GDB port.
    pub fn rest_from_spinning(&mut self) -> Result<()> {
        gdb::let_rest(&self.ports.debug_port)
    }

    /// Ends the emulator in good order: what it writes down is whole.
    pub fn quit(&mut self) -> Result<()> {
        Monitor::connect(&self.ports.monitor)?.execute("quit", &json!({}))?;
        self.expect_exit(Duration::from_secs(30)).map(drop)
    }

    /// Waits for the report of [`userspace`]'s initrd.
    pub fn expect_userspace(&mut self, deadline: Duration) -> Result<Report> {
        let until = Instant::now() + deadline;
        self.expect(userspace::BEGIN, deadline)?;
        let left = until.saturating_duration_since(Instant::now());
        Report::parse(&self.expect(userspace::END, left)?)
    }

    /// Waits for the report of the stub kernel.
    pub fn expect_stub(&mut self, deadline: Duration) -> Result<stub::Report> {
        let until = Instant::now() + deadline;
        self.expect(stub::BEGIN, deadline)?;
        let left = until.saturating_duration_since(Instant::now());
        Ok(stub::Report::parse(&self.expect(stub::END, left)?))
    }

    /// Waits until the emulator ends, as it does when the guest powers off.
    pub fn expect_exit(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + deadline;
        loop {
            if let Some(status) = self.child.try_wait()? {
                for reader in self.readers.drain(..) {
                    drop(reader.join());
                }
                self.join_bus()?;
                return Ok(status);
            }
            if Instant::now() >= until {
                return Err(self.failure(&format!("waited {deadline:?} in vain for power-off")));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// [`expect_exit`](Self::expect_exit), and that nothing went wrong.
    pub fn expect_power_off(&mut self, deadline: Duration) -> Result<()> {
        let status = self.expect_exit(deadline)?;
        if !status.success() {
            return Err(self.failure(&format!("the emulator ended with {status}")));
        }
        Ok(())
    }

    /// Whether the emulator has ended, and how.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Everything that came over the serial line, as text without control sequences.
    pub fn text(&self) -> String {
        self.line.lock().plain.clone()
    }

    /// Everything that came over the serial line, byte for byte.
    pub fn bytes(&self) -> Vec<u8> {
        self.line.lock().raw.clone()
    }

    /// What came over the serial line from byte `from` on; waits up to `patience` for the first.
    /// `None` when the line has ended.
    pub fn bytes_from(&self, from: usize, patience: Duration) -> Option<Vec<u8>> {
        let line = &self.line;
        let (heard, _) = line
            .news
            .wait_timeout_while(line.lock(), patience, |heard| {
                heard.raw.len() <= from && !heard.ended
            })
            .unwrap_or_else(PoisonError::into_inner);
        let news = heard.raw.get(from..).unwrap_or_default().to_vec();
        if news.is_empty() && heard.ended { None } else { Some(news) }
    }

    /// What a terminal of 80 columns and 24 rows shows now, row by row without trailing spaces.
    pub fn screen(&self) -> Vec<String> {
        let mut terminal = vt100::Parser::new(24, 80, 0);
        terminal.process(&self.line.lock().raw);
        terminal.screen().rows(0, 80).map(|row| row.trim_end().to_owned()).collect()
    }

    /// What was seen at the GDB port.
    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    /// An error that shows what the board and the emulator said last.
    pub fn failure(&mut self, what: &str) -> anyhow::Error {
        let mut text = what.to_owned();
        match self.child.try_wait() {
            Ok(None) => text += "; the emulator still runs",
            Ok(Some(status)) => text += &format!("; the emulator ended with {status}"),
            Err(error) => text += &format!("; the emulator cannot be asked: {error}"),
        }
        if let Err(error) = self.join_bus() {
            text += &format!("; {error:#}");
        }
        let complaints = self.complaints.lock().plain.trim().to_owned();
        if !complaints.is_empty() {
            text += &format!("\n--- the emulator says:\n{}", tail(&complaints));
        }
        text += &format!("\n--- last lines:\n{}\n---", tail(&self.line.lock().plain));
        anyhow!(text)
    }

    /// The device models' verdict, if they have ended.
    fn join_bus(&mut self) -> Result<()> {
        // When the emulator has ended, so will they.
        let finished = self.bus.as_ref().is_some_and(JoinHandle::is_finished);
        if !finished && !matches!(self.child.try_wait(), Ok(Some(_))) {
            return Ok(());
        }
        match self.bus.take().map(JoinHandle::join) {
            Some(Ok(verdict)) => verdict.context("the device models stopped"),
            Some(Err(_)) => bail!("the device models panicked"),
            None => Ok(()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Fails only where the emulator has ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(bytes: &[u8]) -> String {
        let mut heard = Heard::default();
        heard.take(bytes);
        heard.plain
    }

    #[test]
    fn control_sequences_and_carriage_returns_are_left_out_of_the_text() {
        assert_eq!(plain(b"\x1b[2J\x1b[1;31mred\x1b[0m\r\nplain \x1b7end"), "red\nplain end");
    }

    #[test]
    fn a_sequence_may_come_in_pieces() {
        let mut heard = Heard::default();
        for byte in b"a\x1b[12;3Hb" {
            heard.take(&[*byte]);
        }
        assert_eq!(heard.plain, "ab");
    }

    #[test]
    fn bytes_that_are_no_text_stay_single_characters() {
        assert_eq!(plain(b"a\xffb").chars().count(), 3);
    }
}
