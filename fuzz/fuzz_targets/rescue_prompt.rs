//! The rescue prompt: whatever came over the line before, a person gets a prompt that works.
#![no_main]

use std::time::Duration;

use firn::rescue::{Command, Prompt};
use firn_fuzz::{input::Input, terminal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let returns_to_menu = input.byte().is_multiple_of(2);
    let mut session =
        Session { prompt: Prompt::new(returns_to_menu, Duration::ZERO), now: Duration::ZERO };
    while !input.is_empty() {
        let pause = input.byte();
        let pause = match pause {
            0..128 => Duration::ZERO,
            128..224 => Duration::from_millis(u64::from(pause - 127) * 10),
            _ => Duration::from_secs(u64::from(pause - 223) * 20),
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
}

impl Session {
    fn type_(&mut self, bytes: &[u8]) -> Vec<Command> {
        bytes.iter().for_each(|&byte| self.prompt.feed(byte, self.now));
        self.now += Duration::from_millis(100);
        self.pass()
    }

    fn pass(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        while let Some(command) = self.prompt.tick(self.now) {
            self.prompt.print("a result \x1b[2J\nof two lines");
            commands.push(command);
        }
        terminal::check(&self.prompt.draw());
        commands
    }
}
