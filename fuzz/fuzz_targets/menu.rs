//! The menu: any list, any bytes at any times. It never boots what is not there, sends nothing to
//! the terminal that came from a card, and in the end boots the default if nobody is there.
#![no_main]

use std::{num::NonZeroU8, time::Duration};

use firn::{
    error::Code,
    menu::{Menu, Outcome, Row},
    nixos::{Access, BootFiles, Broken, DeviceTreeFile, Generation, Settings, Source, Timeout},
    state::Standing,
};
use firn_fuzz::{input::Input, terminal};
use libfuzzer_sys::fuzz_target;

/// Bytes of an input that count; more keys tell nothing new.
const LONGEST: usize = 2048;

/// As the loader does.
const TICK: Duration = Duration::from_millis(10);

fuzz_target!(|data: &[u8]| {
    let mut input = Input(&data[..data.len().min(LONGEST)]);
    let settings = settings(&mut input);
    let count = input.byte() % 40;
    let mut rows: Vec<_> = (0..count).map(|number| row(number, &mut input)).collect();
    let default = usize::from(input.byte());
    set_default(&mut rows, default);
    let messages: Vec<String> = (0..input.byte() % 4).map(|_| input.text()).collect();
    let counts_down = settings.timeout != Timeout::Never && bootable_default(&rows).is_some();
    let menu = Menu::new(rows.clone(), &settings, &messages, Duration::ZERO);
    let locked = settings.access != Access::Free;
    let mut session = Session { menu, rows, locked, now: Duration::ZERO, ended: false };
    session.pass(Duration::ZERO);
    while !input.is_empty() && !session.ended {
        let pause = match input.byte() {
            // Most bytes of a key come together.
            0..128 => Duration::ZERO,
            pause @ 128..208 => TICK * u32::from(pause - 127),
            pause @ 208..224 => Duration::from_secs(u64::from(pause - 207) * 20),
            change => {
                session.change(change, &mut input);
                continue;
            }
        };
        session.pass(pause);
        session.menu.feed(input.byte(), session.now);
    }
    session.pass(TICK);
    if counts_down && bootable_default(&session.rows).is_some() {
        // Longer than any countdown that was chosen here and any that starts again.
        for _ in 0..40 {
            session.pass(Duration::from_secs(300));
        }
        assert!(session.ended, "the board stays down");
    }
});

struct Session {
    menu: Menu,
    rows: Vec<Row>,
    /// Whether nobody here may change what is booted.
    locked: bool,
    now: Duration,
    ended: bool,
}

impl Session {
    fn pass(&mut self, pause: Duration) {
        self.now += pause;
        let outcome = self.menu.tick(self.now);
        self.draw();
        match outcome {
            Outcome::Stay => {}
            Outcome::SetDefault(index) => {
                assert!(index < self.rows.len() && !self.locked);
                set_default(&mut self.rows, index);
                self.menu.update(self.rows.clone());
                self.menu.say("It is the default now.\x1b[2J");
                self.draw();
            }
            Outcome::Boot(choice) => {
                self.ended = true;
                let chosen = &self.rows[choice.index].generation;
                assert!(choice.by_person || (chosen.default && chosen.broken.is_none()));
                assert!(!self.locked || choice.command_line.is_none(), "edited without a password");
                let line = choice.command_line.unwrap_or_default();
                assert!(line.len() <= 2047 && !line.contains(char::is_control), "{line:?}");
            }
            Outcome::Rescue => {
                assert!(!self.locked, "the prompt without a password");
                self.ended = true;
            }
            Outcome::Reset | Outcome::PowerOff => self.ended = true,
        }
        if let Some(wanted) = self.menu.wanted().filter(|_| !self.ended) {
            let row = &mut self.rows[wanted];
            assert!(row.generation.unread, "{wanted} is read already");
            row.generation.unread = false;
            self.menu.update(self.rows.clone());
        }
    }

    fn draw(&mut self) {
        let sent = self.menu.draw(self.now);
        terminal::check(&sent);
        assert!(sent.len() < 64 * 1024, "{} bytes at once", sent.len());
    }

    /// More is known, or less is there.
    fn change(&mut self, change: u8, input: &mut Input<'_>) {
        let count = self.rows.len();
        let index = usize::from(input.byte());
        match change % 4 {
            0 => set_default(&mut self.rows, index),
            1 if index < count => drop(self.rows.remove(index)),
            2 if count < 64 => {
                self.rows.insert(index.min(count), row(change.wrapping_add(index as u8), input));
            }
            _ => {
                if let Some(row) = self.rows.get_mut(index) {
                    let broken = Broken { code: Code::KernelTruncated, reason: input.text() };
                    row.generation.broken = Some(broken);
                }
            }
        }
        self.menu.update(self.rows.clone());
        self.menu.say(&input.text());
    }
}

fn bootable_default(rows: &[Row]) -> Option<usize> {
    rows.iter().position(|row| row.generation.default && row.generation.broken.is_none())
}

fn set_default(rows: &mut [Row], index: usize) {
    for (other, row) in rows.iter_mut().enumerate() {
        row.generation.default = other == index;
    }
}

fn settings(input: &mut Input<'_>) -> Settings {
    let flags = input.byte();
    let timeout = match flags % 4 {
        0 => Timeout::Immediate,
        1 => Timeout::Never,
        _ => Timeout::After(u32::from(input.u16() % 1000)),
    };
    let access = match flags >> 4 & 3 {
        0 => Access::Free,
        1 => Access::Nobody,
        // Of a password that nobody knows.
        2 => Access::Password(format!("$6$rounds=1000$saltsalt${}", ".".repeat(86))),
        _ => Access::Password(input.text()),
    };
    Settings {
        access,
        title: (flags & 4 != 0).then(|| input.text()),
        hidden: flags & 8 != 0,
        ..Settings::new(timeout)
    }
}

fn row(number: u8, input: &mut Input<'_>) -> Row {
    let flags = input.byte();
    let standing = match flags % 4 {
        0 => Some(Standing::Trying { left: input.byte(), done: input.byte() }),
        1 => Some(Standing::Good),
        _ => None,
    };
    Row {
        volume: (flags & 4 != 0).then(|| input.text()),
        standing,
        last_booted: flags & 8 != 0,
        rolled_back: flags & 16 != 0,
        ..Row::new(generation(number, flags & 32 != 0, input))
    }
}

fn generation(id: u8, unread: bool, input: &mut Input<'_>) -> Generation {
    let flags = input.byte();
    let text = |wanted: bool, input: &mut Input<'_>| wanted.then(|| input.text());
    let code = if flags & 2 == 0 { Code::EntryDamaged } else { Code::KernelTruncated };
    let broken = text(flags & 1 != 0, input).map(|reason| Broken { code, reason });
    let number = (flags & 4 != 0).then(|| input.u32());
    let specialisation = text(flags & 8 != 0, input);
    let details = flags & 16 != 0;
    Generation {
        id: format!("/nix/store/{id}{}", text(details, input).unwrap_or_default()),
        source: Source::Extlinux,
        name: text(details, input).unwrap_or_default(),
        title: text(flags & 32 != 0, input).unwrap_or_else(|| "NixOS".into()),
        number,
        profile: text(flags & 64 != 0, input),
        specialisation,
        date: text(details, input),
        version: text(details, input),
        kernel_version: text(details, input),
        default: false,
        files: BootFiles {
            kernel: "/Image".into(),
            configuration: None,
            initrds: vec!["/initrd".into(); usize::from(flags >> 6)],
            device_tree: DeviceTreeFile::FromFirmware,
            overlays: vec![],
            // As all sources do.
            command_line: text(flags & 128 != 0, input)
                .map_or("quiet".into(), |line| line.replace(char::is_control, " ")),
            ethernet_addresses: vec![],
        },
        tries: NonZeroU8::new(flags % 4),
        unread,
        broken,
    }
}
