//! The rescue prompt: whatever came over the line and whatever names a card holds, a person gets a
//! prompt that works, and no command without its password.
#![no_main]

use std::time::Duration;

use firn::rescue::{Command, Completion, Prompt};
use firn_fuzz::{input::Input, terminal};
use libfuzzer_sys::fuzz_target;

/// Bytes of an input that count; more keys tell nothing new.
const LONGEST: usize = 1024;

/// Of files and volumes that words can become.
const NAMES: [&str; 9] =
    ["/Image", "/Image-6.12", "/nixos/", "sd1:", "sd1:/a b", "/\"q\\", "/ä", "/\x1b[2J\r", ""];

fuzz_target!(|data: &[u8]| {
    let mut input = Input(&data[..data.len().min(LONGEST)]);
    let flags = input.byte();
    let mut session = Session {
        prompt: Prompt::new(flags & 1 == 0, Duration::ZERO),
        now: Duration::ZERO,
        locked: flags & 2 != 0,
        asked: None,
    };
    while !input.is_empty() {
        let pause = match input.byte() {
            0..128 => Duration::ZERO,
            pause @ 128..224 => Duration::from_millis(u64::from(pause - 127) * 10),
            pause => Duration::from_secs(u64::from(pause - 223) * 20),
        };
        session.now += pause;
        session.prompt.feed(input.byte(), session.now);
        if pause > Duration::ZERO {
            session.pass();
        }
    }
    session.pass();
    session.now += Duration::from_secs(100);
    session.pass();
    session.type_(b"\x03\x15");
    session.now += Duration::from_secs(100);
    session.pass();
    assert_eq!(session.type_(b"\x03reset\r").last(), Some(&Command::Reset));
    terminal::check(&session.prompt.leave());
});

struct Session {
    prompt: Prompt,
    now: Duration,
    /// Whether files take a password.
    locked: bool,
    /// What a password was asked for last.
    asked: Option<Command>,
}

impl Session {
    fn type_(&mut self, bytes: &[u8]) -> Vec<Command> {
        bytes.iter().for_each(|&byte| self.prompt.feed(byte, self.now));
        self.now += Duration::from_millis(100);
        self.pass()
    }

    /// Does what is asked for until nothing is.
    fn pass(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        while let Some(command) = self.prompt.tick(self.now) {
            self.carry_out(&command);
            commands.push(command);
        }
        self.draw();
        commands
    }

    fn draw(&mut self) {
        terminal::check(&self.prompt.draw());
    }

    fn carry_out(&mut self, command: &Command) {
        match command {
            Command::Complete(word) => {
                let mut completion = Completion::new(word);
                let grown = NAMES.map(|name| format!("{word}{name}"));
                let names = NAMES.iter().copied().chain(grown.iter().map(String::as_str));
                names.for_each(|name| completion.offer(name, name));
                self.prompt.complete(&completion);
                self.draw();
            }
            Command::Unlock { password, then } => {
                assert!(self.asked.take().as_ref() == Some(&**then), "another command's password");
                if password == "x" {
                    self.answer(then);
                } else {
                    self.prompt.print("Wrong password.");
                }
            }
            Command::List(_) | Command::Show(_) | Command::Boot { .. } if self.locked => {
                self.prompt.ask_password(command.clone());
                self.asked = Some(command.clone());
            }
            command => self.answer(command),
        }
    }

    /// A long one, which a key may stop.
    fn answer(&mut self, command: &Command) {
        if let Command::Boot { files, arguments } = command {
            assert!(!files.is_empty());
            assert!(!arguments.contains(char::is_control), "{arguments:?}");
        }
        let text =
            "a result \x1b[2J\nof lines ä\r\n, as files have them, without an end".repeat(12);
        for _ in 0..4 {
            self.prompt.write(&text);
            terminal::check(&self.prompt.take());
            if self.prompt.is_stopped(self.now) {
                break;
            }
        }
    }
}
