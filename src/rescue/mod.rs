//! The rescue prompt, for the day nothing boots.
//!
//! Pure, like the menu: the caller gives it bytes and time ([`Prompt::feed`], [`Prompt::tick`]),
//! does the [`Command`]s that come out, says their results with [`Prompt::print`] and sends what
//! [`Prompt::draw`] returns. It waits for ever, except where the menu has something to boot: there
//! it gives up when nobody types, so that a stray byte cannot keep a board down.
//!
//! What a command has to say may be long: the caller says it piece by piece with [`Prompt::write`],
//! sends each with [`Prompt::take`], and asks [`Prompt::is_stopped`] in between.

#![forbid(unsafe_code)]

mod completion;
mod history;
#[cfg(test)]
mod tests;
mod words;

use alloc::{
    boxed::Box,
    collections::VecDeque,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{mem, time::Duration};

use self::{history::History, words::Line};
use crate::{
    menu::{
        keys::{Decoder, Event, Key},
        line::{Edit, LineEditor, LineView, Window},
        noise::{self, Noise},
        text,
    },
    nixos::Generation,
};

pub use completion::Completion;

/// What stands before every command.
const PROMPT: &str = "> ";

/// What stands before a password.
const ASK_PASSWORD: &str = "Password: ";

/// Longest command in bytes: a kernel's command line, and room for the files.
const MAX_LINE: usize = 4096;

/// Columns for the command, on a terminal of 80.
const WIDTH: usize = 79 - PROMPT.len();

/// Without a key for this long the menu comes back, if it has something to boot.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// Keys that may be waiting while a command is carried out; more are dropped.
const MAX_WAITING: usize = 1024;

/// Bytes of a command's output behind which any key stops it: a screen. Keys typed earlier are
/// the next command, typed ahead.
const SCREEN: usize = 24 * 80;

/// Weight of a command that does not exist: three in a row are no person's.
const BAD_COMMAND: u32 = 3;

/// What the caller is to do. Paths are as they were typed, without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// List what is in a directory, or the size of a file; nothing: the root of a volume.
    List(Option<String>),
    /// Show a file.
    Show(String),
    /// Boot.
    Boot {
        /// Kernel, initrds and device tree; at least one.
        files: Vec<String>,
        /// The kernel's command line.
        arguments: String,
    },
    /// Print [`entries`].
    Entries,
    /// List devices and what is on them.
    Devices,
    /// Tell what the board is, and how the loader was started.
    Board,
    /// Tell how much memory there is, and what is taken.
    Memory,
    /// Tell what is known from earlier boots.
    State,
    /// Go (back) to the menu.
    Menu,
    /// Reset the board.
    Reset,
    /// Switch it off.
    PowerOff,
    /// Offer what this path, which may be empty, can become to a [`Completion`], and give it to
    /// [`Prompt::complete`].
    Complete(String),
    /// Do a command if the password is right.
    Unlock {
        /// As typed.
        password: String,
        /// What [`Prompt::ask_password`] was given.
        then: Box<Command>,
    },
}

/// What may stand behind a command's name, and what comes of it.
enum Syntax {
    /// Nothing; the prompt does it itself.
    Help,
    /// Nothing.
    Plain(Command),
    /// A path or nothing.
    List,
    /// A path.
    Show,
    /// Paths, and arguments.
    Boot,
}

/// A command as it is typed and explained.
struct Entry {
    name: &'static str,
    usage: &'static str,
    explanation: &'static str,
    syntax: Syntax,
}

const fn plain(name: &'static str, explanation: &'static str, command: Command) -> Entry {
    Entry { name, usage: "", explanation, syntax: Syntax::Plain(command) }
}

const COMMANDS: &[Entry] = &[
    Entry { name: "help", usage: "", explanation: "this list", syntax: Syntax::Help },
    plain("entries", "what was found to boot, and why it cannot be", Command::Entries),
    plain("devices", "search again: cards, partitions, file systems", Command::Devices),
    Entry { name: "ls", usage: "[PATH]", explanation: "list a directory", syntax: Syntax::List },
    Entry { name: "cat", usage: "PATH", explanation: "show a text", syntax: Syntax::Show },
    Entry {
        name: "boot",
        usage: "KERNEL [INITRD...] [DTB [DTBO...]] [-- ARGS]",
        explanation: "boot files",
        syntax: Syntax::Boot,
    },
    plain("board", "what it is, and how the loader was started", Command::Board),
    plain("memory", "what there is, and what is taken", Command::Memory),
    plain("state", "what is known from earlier boots", Command::State),
    plain("menu", "search again and show the menu", Command::Menu),
    plain("reset", "reset the board", Command::Reset),
    plain("poweroff", "switch the board off", Command::PowerOff),
];

/// What `help` says below the list.
const HELP: &str =
    "  A PATH is NAME:/FILE with a NAME that devices lists, or /FILE where the last one was.
  Names with blanks stand in \"quotes\". Tab completes, Up and Down bring old lines back,
  Left, Right, Home, End, Backspace and Ctrl-U edit; any key stops a long answer.";

/// The rescue prompt.
#[derive(Debug)]
pub struct Prompt {
    decoder: Decoder,
    noise: Noise,
    waiting: VecDeque<Event>,
    line: LineEditor,
    history: History,
    /// What is waiting for the password that is being typed.
    locked: Option<Box<Command>>,
    /// The line as the terminal shows it; nothing if the prompt is not shown.
    view: Option<LineView>,
    returns_to_menu: bool,
    last_key: Duration,
    /// Bytes that the command that is carried out has said.
    said: usize,
    /// Keys waiting that came before its answer was long.
    typed_ahead: usize,
    out: Vec<u8>,
}

impl Prompt {
    /// Opens the prompt. `returns_to_menu`: whether the menu has something to boot, and is to come
    /// back when nobody types.
    pub fn new(returns_to_menu: bool, now: Duration) -> Self {
        let mut prompt = Self {
            decoder: Decoder::default(),
            noise: Noise::default(),
            waiting: VecDeque::new(),
            line: LineEditor::new("", MAX_LINE),
            history: History::default(),
            locked: None,
            view: None,
            returns_to_menu,
            last_key: now,
            said: 0,
            typed_ahead: 0,
            out: Vec::new(),
        };
        prompt.print("Rescue prompt. help lists the commands.");
        prompt
    }

    /// Takes in a byte that arrived at `now`.
    pub fn feed(&mut self, byte: u8, now: Duration) {
        let room = MAX_WAITING.saturating_sub(self.waiting.len());
        self.waiting.extend(self.decoder.push(byte, now).into_iter().flatten().take(room));
    }

    /// Lets time pass, up to `now`; gives the next command. Call it every 10 ms or so.
    pub fn tick(&mut self, now: Duration) -> Option<Command> {
        self.waiting.extend(self.decoder.poll(now));
        while let Some(event) = self.waiting.pop_front() {
            let command = self.event(event, now);
            if command.is_some() {
                self.said = 0;
                self.typed_ahead = self.waiting.len();
                return command;
            }
        }
        let idle = now.saturating_sub(self.last_key) >= IDLE;
        if self.returns_to_menu && idle {
            self.last_key = now;
            self.print("");
            return Some(Command::Menu);
        }
        None
    }

    /// Says something: whole lines.
    pub fn print(&mut self, text: &str) {
        self.write("");
        for line in text.lines() {
            self.write(line);
            self.write("\n");
        }
    }

    /// Says something of which only printable ASCII and line ends are shown: what a card holds must
    /// not be able to send escape sequences to somebody's terminal.
    pub fn write(&mut self, text: &str) {
        if self.view.take().is_some() {
            self.out.extend_from_slice(b"\r\n");
        }
        for character in text.chars() {
            match character {
                '\n' => self.out.extend_from_slice(b"\r\n"),
                other => self.out.push(text::printable(other) as u8),
            }
        }
        self.said = self.said.saturating_add(text.len());
    }

    /// The bytes that were said and not sent yet.
    pub fn take(&mut self) -> Vec<u8> {
        mem::take(&mut self.out)
    }

    /// Whether somebody wants no more of what is being said. Says so, and forgets the keys.
    pub fn is_stopped(&mut self, now: Duration) -> bool {
        self.waiting.extend(self.decoder.poll(now));
        // Somebody may be reading all the time.
        self.last_key = now;
        let interrupts = |event: &Event| *event == Event::Key(Key::Control('c'));
        let is_key = |event: &Event| matches!(event, Event::Key(_));
        if self.waiting.iter().any(interrupts) {
            self.waiting.clear();
        } else if self.said < SCREEN {
            self.typed_ahead = self.waiting.len();
            return false;
        } else if self.waiting.iter().skip(self.typed_ahead).any(is_key) {
            self.waiting.truncate(self.typed_ahead);
        } else {
            return false;
        }
        self.write("\n(stopped)\n");
        true
    }

    /// The bytes that bring the terminal up to date, in the order in which they must be sent.
    pub fn draw(&mut self) -> Vec<u8> {
        let secret = self.locked.is_some();
        let view = self.view.get_or_insert_with(|| {
            let prompt = if secret { ASK_PASSWORD } else { PROMPT };
            self.out.extend_from_slice(prompt.as_bytes());
            LineView::default()
        });
        let window = match secret {
            true => Window { text: String::new(), cursor: 0 },
            false => self.line.window(WIDTH),
        };
        view.update(&window, &mut self.out);
        self.take()
    }

    /// The bytes that leave the line in order for whoever writes next.
    pub fn leave(mut self) -> Vec<u8> {
        self.print("");
        self.out
    }

    /// Asks for the password that `command` needs; [`Command::Unlock`] comes of it, unless the
    /// question is given up.
    pub fn ask_password(&mut self, command: Command) {
        self.write("");
        self.locked = Some(Box::new(command));
    }

    /// Completes the path in front of the cursor, or lists what it can become.
    pub fn complete(&mut self, completion: &Completion) {
        let Some((addition, complete)) = completion.addition() else { return };
        if addition.is_empty() && !complete {
            let list = text::ascii(&completion.list());
            self.print(&text::wrapped(&list, text::LINE_WIDTH).join("\n"));
            return;
        }
        let in_quotes = Line::split(self.line.before_cursor()).open_quote;
        let mut typed = words::quoted(addition, in_quotes);
        if complete {
            typed.push_str(if in_quotes { "\" " } else { " " });
        }
        typed.chars().for_each(|character| _ = self.line.handle(Key::Character(character)));
    }

    fn event(&mut self, event: Event, now: Duration) -> Option<Command> {
        match event {
            Event::Garbage => self.noise.add(noise::GARBAGE, now),
            Event::Unbound => self.noise.add(noise::UNBOUND, now),
            Event::Key(_) if self.noise.is_babbling(now) => self.noise.add(0, now),
            Event::Key(key) => {
                self.last_key = now;
                return self.key(key, now);
            }
            Event::CursorAt { .. } => {}
        }
        None
    }

    fn key(&mut self, key: Key, now: Duration) -> Option<Command> {
        match key {
            Key::Tab if self.locked.is_none() => return self.tab(),
            Key::Up | Key::Control('p') if self.locked.is_none() => {
                if let Some(line) = self.history.older(self.line.text()) {
                    self.line = LineEditor::new(line, MAX_LINE);
                }
                return None;
            }
            Key::Down | Key::Control('n') if self.locked.is_none() => {
                if let Some(line) = self.history.newer() {
                    self.line = LineEditor::new(line, MAX_LINE);
                }
                return None;
            }
            _ => {}
        }
        match self.line.handle(key) {
            Edit::Handled => None,
            Edit::Unbound => {
                self.noise.add(noise::UNBOUND, now);
                None
            }
            Edit::Cancelled => {
                self.end_line();
                self.history.keep("");
                self.locked = None;
                None
            }
            Edit::Entered => {
                let line = self.end_line();
                if let Some(then) = self.locked.take() {
                    return Some(Command::Unlock { password: line, then });
                }
                self.history.keep(&line);
                match parse(&line)? {
                    Ok(None) => self.print(&help()),
                    Ok(command) => return command,
                    Err(complaint) => {
                        self.noise.add(BAD_COMMAND, now);
                        self.print(&complaint);
                    }
                }
                None
            }
        }
    }

    /// Leaves the line on the terminal as it was typed.
    fn end_line(&mut self) -> String {
        self.line.handle(Key::End);
        let bytes = self.draw();
        self.out = bytes;
        self.view = None;
        self.out.extend_from_slice(b"\r\n");
        self.line.take()
    }

    /// Completes a command's name; for a path the caller is asked.
    fn tab(&mut self) -> Option<Command> {
        let line = Line::split(self.line.before_cursor());
        if line.arguments.is_some() {
            return None;
        }
        let word = line.last.unwrap_or_default();
        let Some(name) = line.ended.first() else {
            let mut completion = Completion::new(&word);
            COMMANDS.iter().for_each(|entry| completion.offer(entry.name, entry.name));
            self.complete(&completion);
            return None;
        };
        let entry = COMMANDS.iter().find(|entry| entry.name == name)?;
        let takes_path = matches!(entry.syntax, Syntax::List | Syntax::Show | Syntax::Boot);
        takes_path.then_some(Command::Complete(word))
    }
}

/// The command in `line`, if there is any: nothing is what the prompt does itself, an error is what
/// it says to who typed it.
fn parse(line: &str) -> Option<Result<Option<Command>, String>> {
    let mut split = Line::split(line);
    let (open_quote, arguments) = (split.open_quote, split.arguments.take());
    let mut words = split.words().into_iter();
    let name = words.next()?;
    let Some(entry) = COMMANDS.iter().find(|entry| entry.name == name) else {
        let name = text::shortened(&text::ascii(&name), 40);
        return Some(Err(format!("{name}: no such command; help lists them")));
    };
    if open_quote {
        return Some(Err("a quote is open at the end of the line".into()));
    }
    let files: Vec<_> = words.collect();
    let command = match (&entry.syntax, &*files, arguments) {
        (Syntax::Help, [], None) => None,
        (Syntax::Plain(command), [], None) => Some(command.clone()),
        (Syntax::List, [], None) => Some(Command::List(None)),
        (Syntax::List, [path], None) => Some(Command::List(Some(path.clone()))),
        (Syntax::Show, [path], None) => Some(Command::Show(path.clone())),
        (Syntax::Boot, [_, ..], _) => {
            let arguments = arguments.unwrap_or_default().to_string();
            Some(Command::Boot { files, arguments })
        }
        (Syntax::Help | Syntax::Plain(_), ..) => {
            let argument = files.first().map_or("--", String::as_str);
            let argument = text::shortened(&text::ascii(argument), 40);
            return Some(Err(format!("{name} takes no argument, but there is \"{argument}\"")));
        }
        _ => return Some(Err(format!("usage: {name} {}", entry.usage))),
    };
    Some(Ok(command))
}

fn help() -> String {
    let mut help = String::new();
    for Entry { name, usage, explanation, .. } in COMMANDS {
        help.push_str(&format!("  {:40}{explanation}\n", format!("{name} {usage}")));
    }
    help + HELP
}

/// What [`Command::Entries`] prints of a list: why an entry cannot be booted, and its identity.
pub fn entries<'g>(generations: impl IntoIterator<Item = &'g Generation>) -> String {
    let mut list = String::new();
    for generation in generations {
        let mark = if generation.default { '*' } else { ' ' };
        list.push_str(&format!(
            "{mark} {}, {}\n    {}\n",
            text::name(generation),
            generation.source,
            generation.id
        ));
        if let Some(broken) = &generation.broken {
            list.push_str(&format!("    {}\n", text::reason(broken)));
        }
    }
    if list.is_empty() { "Nothing was found to boot.\n".into() } else { list }
}
