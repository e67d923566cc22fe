//! The rescue prompt's commands, carried out.
//!
//! Nothing here counts or writes: what a person boots by hand leaves no trace in the state record.
//! Devices are opened when a command wants to look into them, and anew by `devices`.

mod board;
mod by_hand;
mod files;
mod memory;
mod state;
#[cfg(test)]
mod tests;
mod volumes;

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{ops::ControlFlow, time::Duration};

use self::volumes::Volumes;
use super::{
    found::Found,
    load::{Facts, HandOver, Job, load},
    session::{Machine, Outcome},
};
use crate::{
    devicetree::chosen::Boot,
    menu::lock::{Gate, Lock},
    nixos::Access,
    rescue::{self, Command, Prompt},
};

/// Somebody wants no more of a long answer.
struct Stopped;

/// What a command leads to.
enum Next {
    /// The prompt again.
    Prompt,
    /// The search for something to boot.
    Menu,
    Done(Outcome),
}

/// Runs the rescue prompt until it has an outcome; `None` if all devices are to be searched again.
/// `bootable`: whether the menu that was left had something to boot.
pub(super) fn run(
    machine: &mut impl Machine,
    facts: &Facts<'_>,
    seen: &[Found],
    bootable: bool,
) -> Option<Outcome> {
    Shell::new(machine, facts, seen, bootable, lock(seen)).run()
}

/// Keeps files from whom the devices that were searched keep them.
fn lock(seen: &[Found]) -> Lock {
    let mut lock = Lock::new(Access::Free);
    for Found { catalogue, .. } in seen {
        lock.tighten(&catalogue.settings(catalogue.default_entry()).access);
    }
    lock
}

/// What was found on all devices, a line each.
fn entries(seen: &[Found]) -> impl Iterator<Item = String> {
    let all = seen.iter().flat_map(|found| &found.catalogue.generations);
    let listed = rescue::entries(all);
    listed.split_inclusive('\n').map(String::from).collect::<Vec<_>>().into_iter()
}

struct Shell<'a, M: Machine> {
    machine: &'a mut M,
    facts: &'a Facts<'a>,
    seen: &'a [Found],
    prompt: Prompt,
    volumes: Option<Volumes>,
    /// Of what looks into files.
    lock: Lock,
}

impl<'a, M: Machine> Shell<'a, M> {
    fn new(
        machine: &'a mut M,
        facts: &'a Facts<'a>,
        seen: &'a [Found],
        bootable: bool,
        lock: Lock,
    ) -> Self {
        let prompt = Prompt::new(bootable, machine.now());
        Self { machine, facts, seen, prompt, volumes: None, lock }
    }

    fn run(mut self) -> Option<Outcome> {
        loop {
            self.listen();
            let now = self.machine.now();
            let next = match self.prompt.tick(now) {
                Some(command) => {
                    // The typed line comes before what the command logs.
                    self.send();
                    self.execute(command, now)
                }
                None => {
                    self.machine.write(&self.prompt.draw());
                    continue;
                }
            };
            let outcome = match next {
                Next::Prompt => continue,
                Next::Menu => None,
                Next::Done(outcome) => Some(outcome),
            };
            self.machine.write(&self.prompt.leave());
            return outcome;
        }
    }

    /// Takes in what was typed.
    fn listen(&mut self) {
        while let Some(byte) = self.machine.read_byte() {
            let now = self.machine.now();
            self.prompt.feed(byte, now);
        }
    }

    fn execute(&mut self, command: Command, now: Duration) -> Next {
        self.lock.key(now);
        let done = match command {
            Command::List(_) | Command::Show(_) | Command::Boot { .. } | Command::Complete(_)
                if !self.may_look(now) =>
            {
                self.locked(command, now)
            }
            Command::Unlock { password, then } => match self.lock.open(password.as_bytes(), now) {
                Ok(()) => return self.execute(*then, now),
                Err(refusal) => Err(refusal),
            },
            Command::List(path) => self.list(&path.unwrap_or_default()),
            Command::Show(path) => self.show(&path),
            Command::Complete(word) => {
                let completion = files::complete(self.volumes(), &word);
                self.prompt.complete(&completion);
                Ok(())
            }
            Command::Boot { files, arguments } => match self.boot(files, arguments) {
                Ok(hand_over) => return Next::Done(Outcome::Kernel(hand_over)),
                Err(error) => Err(error),
            },
            Command::Devices => {
                self.volumes = None;
                let lines: Vec<_> = self.volumes().lines().collect();
                self.say_lines(lines)
            }
            Command::Entries => self.say_lines(entries(self.seen)),
            Command::Board => self.say_lines(board::lines(self.facts)),
            Command::Memory => self.say_lines(memory::lines(self.facts, self.machine.heap())),
            Command::State => self.state(),
            Command::Menu => return Next::Menu,
            Command::Reset => return Next::Done(Outcome::Reset),
            Command::PowerOff => return Next::Done(Outcome::PowerOff),
        };
        if let Err(complaint) = done {
            self.prompt.print(&complaint);
        }
        Next::Prompt
    }

    /// Whether somebody may look into files. That no device that was searched locks them is not enough:
    /// others may hold more.
    fn may_look(&mut self, now: Duration) -> bool {
        self.lock.gate(now) == Gate::Open && {
            self.volumes();
            self.lock.gate(now) == Gate::Open
        }
    }

    /// Asks for the password that `command` needs, or says why it is not to be had.
    fn locked(&mut self, command: Command, now: Duration) -> Result<(), String> {
        match (self.lock.gate(now), command) {
            // Names are not for everybody either.
            (_, Command::Complete(_)) => Ok(()),
            (Gate::Closed(reason), _) => Err(reason),
            (Gate::Ask | Gate::Open, command) => {
                self.prompt.ask_password(command);
                Ok(())
            }
        }
    }

    /// What is on the devices, looked at only once if nobody wants more.
    fn volumes(&mut self) -> &mut Volumes {
        if self.volumes.is_none() {
            // Opening a card logs what it is, on a line of its own.
            self.prompt.write("");
            self.send();
        }
        opened(&mut self.volumes, self.machine, &mut self.lock)
    }

    /// Sends what was said.
    fn send(&mut self) {
        let said = self.prompt.take();
        self.machine.write(&said);
    }

    fn list(&mut self, path: &str) -> Result<(), String> {
        let path = self.volumes().locate(path)?;
        self.with_volumes(|volumes, say| files::list(volumes, &path, say))
    }

    fn show(&mut self, path: &str) -> Result<(), String> {
        let path = self.volumes().locate(path)?;
        self.with_volumes(|volumes, say| files::show(volumes, &path, say))
    }

    fn boot(&mut self, files: Vec<String>, arguments: String) -> Result<HandOver, String> {
        let volumes = opened(&mut self.volumes, self.machine, &mut self.lock);
        let files: Result<Vec<_>, _> = files.iter().map(|file| volumes.locate(file)).collect();
        let generation = by_hand::generation(volumes, files?, arguments)?;
        let reset_cause = self.facts.reset.map(|cause| cause.to_string()).unwrap_or_default();
        let boot = Boot { reset_cause: &reset_cause, times: &self.facts.times, ..Boot::default() };
        let job = Job { generation: &generation, file_system: volumes, command_line: None, boot };
        self.machine.gather_entropy(&mut self.facts.entropy.borrow_mut());
        load(job, self.facts, self.machine).map_err(|error| files::coded(&error))
    }

    fn state(&mut self) -> Result<(), String> {
        let lines: Vec<_> = self.seen.iter().flat_map(state::lines).collect();
        match lines.is_empty() {
            true => Err("no card that can be read was searched".into()),
            false => self.say_lines(lines),
        }
    }

    /// Says a long answer, line by line.
    fn say_lines(&mut self, lines: impl IntoIterator<Item = String>) -> Result<(), String> {
        let _ = lines.into_iter().try_for_each(|line| self.say(&line));
        Ok(())
    }

    /// Says a piece of a long answer, unless somebody wants no more of it.
    fn say(&mut self, text: &str) -> ControlFlow<Stopped> {
        say(self.machine, &mut self.prompt, text)
    }

    fn with_volumes(
        &mut self,
        action: impl FnOnce(&mut Volumes, files::Say<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let volumes = opened(&mut self.volumes, self.machine, &mut self.lock);
        action(volumes, &mut |text| say(self.machine, &mut self.prompt, text))
    }
}

/// `volumes`, which are opened if they are not, and then have their say in who may look into them.
fn opened<'v>(
    volumes: &'v mut Option<Volumes>,
    machine: &mut impl Machine,
    lock: &mut Lock,
) -> &'v mut Volumes {
    volumes.get_or_insert_with(|| {
        let volumes = Volumes::open(machine);
        volumes.accesses().for_each(|access| lock.tighten(access));
        volumes
    })
}

fn say(machine: &mut impl Machine, prompt: &mut Prompt, text: &str) -> ControlFlow<Stopped> {
    prompt.write(text);
    machine.write(&prompt.take());
    while let Some(byte) = machine.read_byte() {
        let now = machine.now();
        prompt.feed(byte, now);
    }
    match prompt.is_stopped(machine.now()) {
        true => ControlFlow::Break(Stopped),
        false => ControlFlow::Continue(()),
    }
}
