//! `extlinux.conf`, as NixOS's generic-extlinux-compatible and as other distributions write it.
//!
//! The rules are those of U-Boot's `doc/README.pxe` and SYSLINUX's `doc/syslinux.txt`; where the two
//! differ, U-Boot's, whose place this loader takes:
//!
//! * **Menu or not.** A menu is wanted if there is a top-level `MENU` line, a `UI` line, a `DEFAULT`
//!   that names a menu program (`*.c32`), or a `PROMPT` other than 0. Without any of these the
//!   default boots at once whatever `TIMEOUT` says; NixOS writes a timeout of 0 like that.
//! * **How long.** `TIMEOUT` is in tenths of a second. None, 0 (NixOS's `null`) and negative ones
//!   wait for ever. `MENU HIDDEN` waits as long, but shows the list only after a key.
//! * **Which one.** `ONTIMEOUT`, else the last `DEFAULT`, else the first `MENU DEFAULT`, else the
//!   first entry. A label is compared exactly; NixOS's own hint to write `DEFAULT nixos-42` is
//!   honoured by trying `<label>-default` next, SYSLINUX's `DEFAULT label options` by trying the
//!   first word. A default that cannot be booted gives way as [`list::give_up`] says.
//! * **Files.** Relative to the directory of `extlinux.conf`. `FDT` goes before `FDTDIR`, `FDT -`
//!   means none. `KERNEL` counts where it is last, both
//!   others where they are first. Initrds: all `INITRD` lines in order, split at commas; without any, `initrd=` of
//!   the command line. What follows a `#` in the kernel's name is the configuration of a FIT image.
//! * **Command line.** The last `APPEND` of the entry, byte for byte between the blanks around it,
//!   else the one before all entries; `APPEND -` is none.
//! * **Who may edit.** `ALLOWOPTIONS 0`: nobody; `MENU MASTER PASSWD hash`: who knows the password. Both
//!   are about the whole file, wherever they stand. What cannot be read locks.
//! * **Twice.** The first entry of a name counts, later ones are dropped.
//!
//! Every limit that is hit and every line that is dropped gives a [`Warning`]; an entry that lost
//! something it needs is kept as broken, never booted half.

#![forbid(unsafe_code)]

pub(super) mod lines;

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, mem};

use self::lines::{Flaw, Keyword, Line, keyword, lines, split_word};
use super::{
    Access, BootFiles, Broken, DeviceTreeFile, Generation, MAX_OVERLAYS, Settings, Source, Timeout,
    list, naming, path,
};
use crate::error::{Code, Coded};

/// Where to look on a volume, in this order.
pub const PATHS: [&str; 2] = ["/extlinux/extlinux.conf", "/boot/extlinux/extlinux.conf"];

/// Largest file in bytes. A hundred generations with five specialisations each make 300 KB.
pub const MAX_SIZE: usize = 512 * 1024;

/// Entries that are listed; later ones are dropped.
pub const MAX_ENTRIES: usize = 512;

/// Initrds of one entry.
pub(super) const MAX_INITRDS: usize = 16;

/// Warnings that are kept; the rest is counted.
pub(super) const MAX_WARNINGS: usize = 16;

/// Longest text, in bytes, that a warning quotes.
const MAX_QUOTE: usize = 32;

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// In the order of the menu, at least one; at most one is the default, and that one is not
    /// broken.
    pub generations: Vec<Generation>,
    /// What it says about the menu.
    pub settings: Settings,
    /// What was left out, in the order of the file; at most a handful.
    pub warnings: Vec<Warning>,
}

/// Something in a file that is not as its author meant it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The code to look up.
    pub code: Code,
    /// Line, counted from 1; none if it is about the whole file.
    pub line: Option<u32>,
    /// What was done about it.
    pub text: String,
}

impl Coded for Warning {
    fn code(&self) -> Code {
        self.code
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// Why a file gives nothing to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No `LABEL` in it.
    NoEntry,
    /// No `LABEL`, and bytes that no text has.
    NotText,
    /// More bytes than [`MAX_SIZE`].
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
}

/// A file that gives nothing to boot: why, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// The file.
    pub path: String,
}

impl Error {
    /// The error for a file that is too large to be read at all, if `size` in bytes is.
    pub fn if_too_large(path: &str, size: u64) -> Result<(), Self> {
        if size > MAX_SIZE as u64 {
            return Err(Self { kind: ErrorKind::TooLarge { size }, path: path.to_owned() });
        }
        Ok(())
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self.kind {
            ErrorKind::NoEntry => Code::ConfigurationEmpty,
            ErrorKind::NotText => Code::ConfigurationNotText,
            ErrorKind::TooLarge { .. } => Code::ConfigurationTooLarge,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.code().summary())?;
        match self.kind {
            ErrorKind::TooLarge { size } => write!(f, " ({size} bytes, at most {MAX_SIZE})"),
            ErrorKind::NoEntry | ErrorKind::NotText => Ok(()),
        }
    }
}

impl core::error::Error for Error {}

/// Reads `bytes`, the contents of the file `path` (absolute, on the volume that holds it).
///
/// Total: any bytes give a configuration or an error, in time linear in the bytes and quadratic in
/// [`MAX_ENTRIES`]; what is kept is bounded by [`MAX_SIZE`] plus, for each entry, one line.
pub fn parse(path: &str, bytes: &[u8]) -> Result<Configuration, Error> {
    Error::if_too_large(path, bytes.len() as u64)?;
    let mut reader = Reader::new(path::parent(path));
    for line in lines(bytes) {
        reader.line(&line);
    }
    if reader.entries.is_empty() {
        let kind = if is_text(bytes) { ErrorKind::NoEntry } else { ErrorKind::NotText };
        return Err(Error { kind, path: path.to_owned() });
    }
    Ok(reader.finish())
}

/// Whether nothing in `bytes` forbids to call them text.
fn is_text(bytes: &[u8]) -> bool {
    core::str::from_utf8(bytes).is_ok_and(|text| !text.contains(is_control))
}

/// Characters that have no business in a path or a command line.
pub(super) fn is_control(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\r' | '\n')
}

/// What the lines so far said.
struct Reader<'a> {
    directory: &'a str,
    entries: Vec<Entry>,
    place: Place,
    in_help_text: bool,
    global_append: Option<Value>,
    default: Option<String>,
    on_timeout: Option<String>,
    asks: bool,
    hidden: bool,
    timeout: Option<i64>,
    title: Option<String>,
    allows_options: bool,
    password: Option<String>,
    warnings: Warnings,
}

/// What the next line belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The file as a whole.
    Top,
    /// The last entry.
    Entry,
    /// An entry that is dropped.
    DroppedEntry,
}

/// A value that is used as it is, or why it cannot be.
pub(super) type Value = Result<String, &'static str>;

impl<'a> Reader<'a> {
    fn new(directory: &'a str) -> Self {
        Self {
            directory,
            entries: Vec::new(),
            place: Place::Top,
            in_help_text: false,
            global_append: None,
            default: None,
            on_timeout: None,
            asks: false,
            hidden: false,
            timeout: None,
            title: None,
            allows_options: true,
            password: None,
            warnings: Warnings::default(),
        }
    }

    fn line(&mut self, line: &Line<'_>) {
        let keyword = keyword(line.keyword);
        if self.in_help_text {
            // A forgotten ENDTEXT must not swallow the entries behind it.
            self.in_help_text = !matches!(keyword, Some(Keyword::EndText | Keyword::Label));
            if keyword != Some(Keyword::Label) {
                return;
            }
        }
        if let Some(flaw) = line.flaw {
            self.flawed(line, keyword, flaw);
            return;
        }
        match keyword {
            Some(Keyword::Label) => self.label(line),
            Some(Keyword::Menu) => self.menu(line),
            Some(Keyword::Text) => self.in_help_text = true,
            Some(Keyword::Timeout) => match integer(line.value) {
                Some(tenths) => self.timeout = Some(tenths),
                None => self.warnings.ignored(line, "is not a number; ignored"),
            },
            Some(Keyword::AllowOptions) => {
                self.allows_options = integer(line.value).is_some_and(|flag| flag != 0);
            }
            Some(Keyword::Prompt) => self.asks |= integer(line.value).is_some_and(|flag| flag != 0),
            Some(Keyword::Ui) => self.asks = true,
            Some(Keyword::Default) => self.default_label(line.value),
            Some(Keyword::OnTimeout) => self.on_timeout = Some(shown(line.value)),
            Some(Keyword::Include) => {
                self.warnings.ignored(line, "is not followed; put its lines here");
            }
            Some(Keyword::Cosmetic | Keyword::EndText) => {}
            Some(Keyword::Unsupported) => self.warnings.ignored(line, "is not supported; ignored"),
            Some(of_entry) => self.line_of_entry(line, of_entry),
            None => self.warnings.ignored(line, "is not known; ignored"),
        }
    }

    fn label(&mut self, line: &Line<'_>) {
        let name = match shown(line.value) {
            empty if empty.is_empty() => format!("line {}", line.number),
            name => name,
        };
        self.place = Place::DroppedEntry;
        if self.entries.len() == MAX_ENTRIES {
            self.warnings.add(
                Code::ConfigurationTooLarge,
                line,
                format!("only the first {MAX_ENTRIES} entries are listed"),
            );
        } else if self.entries.iter().any(|entry| entry.name == name) {
            self.warnings.ignored(line, "is there already; the first one counts");
        } else {
            self.entries.push(Entry::new(name));
            self.place = Place::Entry;
        }
    }

    fn menu(&mut self, line: &Line<'_>) {
        let (word, value) = split_word(line.value);
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("title") {
            self.asks = true;
            // NixOS's title is a row of dashes: nothing to show.
            self.title = Some(shown(value)).filter(|text| text.contains(char::is_alphanumeric));
            return;
        }
        if is("master") {
            let (what, hash) = split_word(value);
            if what.eq_ignore_ascii_case(b"passwd") {
                self.password = Some(shown(hash));
            }
            return;
        }
        if is("hidden") {
            self.asks = true;
            self.hidden = true;
            return;
        }
        if is("include") {
            self.warnings.ignored(line, "is not followed; put its lines here");
        }
        match (self.place, self.entries.last_mut()) {
            (Place::Entry, Some(entry)) if is("label") => {
                entry.title = Some(shown(value).replacen('^', "", 1));
            }
            (Place::Entry, Some(entry)) if is("default") => entry.menu_default = true,
            (Place::Top, _) => self.asks = true,
            _ => {}
        }
    }

    fn default_label(&mut self, value: &[u8]) {
        let (word, _) = split_word(value);
        let is_program = word.len() >= 4 && word[word.len() - 4..].eq_ignore_ascii_case(b".c32");
        if is_program {
            self.asks = true;
        } else {
            self.default = Some(shown(value));
        }
    }

    fn line_of_entry(&mut self, line: &Line<'_>, keyword: Keyword) {
        match (self.place, self.entries.last_mut()) {
            (Place::Entry, Some(entry)) => {
                if let Some(complaint) = entry.line(line, keyword) {
                    self.warnings.ignored(line, complaint);
                }
            }
            (Place::Top, _) if keyword == Keyword::Append => {
                self.global_append = Some(verbatim(line.value));
            }
            (Place::Top, _) => self.warnings.ignored(line, "belongs behind a LABEL; ignored"),
            _ => {}
        }
    }

    /// A line of which only the keyword can be trusted.
    fn flawed(&mut self, line: &Line<'_>, keyword: Option<Keyword>, flaw: Flaw) {
        let what = match flaw {
            Flaw::TooLong => "the line is too long",
            Flaw::CutShort => "the file ends within the line",
        };
        match keyword {
            Some(Keyword::Label) => self.place = Place::DroppedEntry,
            Some(Keyword::AllowOptions) => self.allows_options = false,
            _ => {}
        }
        // Behind the end of the file there may have been more of the entry.
        let matters = flaw == Flaw::CutShort || keyword.is_some_and(Keyword::decides_boot);
        match (self.place, self.entries.last_mut()) {
            (Place::Entry, Some(entry)) if matters => {
                entry.damage(Code::EntryDamaged, format!("line {}: {what}", line.number));
            }
            (Place::Top, _) if keyword == Some(Keyword::Append) => {
                self.global_append = Some(Err("is too long"));
            }
            _ => {}
        }
        self.warnings.add(Code::ConfigurationLineIgnored, line, format!("{what}; ignored"));
    }

    fn finish(mut self) -> Configuration {
        let default = self.default_entry();
        let found = mem::take(&mut self.entries)
            .into_iter()
            .enumerate()
            .map(|(index, entry)| {
                entry.generation(self.directory, self.global_append.as_ref(), index == default)
            })
            .collect();
        let mut generations = list::arrange(found);
        self.replace_broken_default(&mut generations);
        Configuration { generations, settings: self.settings(), warnings: self.warnings.finish() }
    }

    /// Index of the entry that boots when nobody chooses.
    fn default_entry(&mut self) -> usize {
        let named = self.on_timeout.take().or(self.default.take());
        if let Some(name) = named {
            if let Some(index) = self.find(&name) {
                return index;
            }
            self.warnings.list.push(Warning {
                code: Code::DefaultUnusable,
                line: None,
                text: format!("no entry has the name of the default, {}", quote(&name)),
            });
        }
        self.entries.iter().position(|entry| entry.menu_default).unwrap_or(0)
    }

    fn find(&self, name: &str) -> Option<usize> {
        let position = |name: &str| self.entries.iter().position(|entry| entry.name == name);
        position(name)
            .or_else(|| position(&format!("{name}-default")))
            .or_else(|| position(name.split_ascii_whitespace().next()?))
    }

    fn replace_broken_default(&mut self, generations: &mut [Generation]) {
        let broken = generations.iter().enumerate().find_map(|(index, generation)| {
            let broken = generation.broken.clone().filter(|_| generation.default)?;
            Some((index, broken))
        });
        let Some((index, broken)) = broken else { return };
        let mut text =
            format!("the default, {}, cannot be booted", quote(&generations[index].name));
        if let Some(next) = list::give_up(generations, index, broken) {
            text = format!("{text}; {} takes its place", quote(&generations[next].name));
        }
        self.warnings.list.push(Warning { code: Code::DefaultUnusable, line: None, text });
    }

    fn settings(&mut self) -> Settings {
        let timeout = match self.timeout {
            _ if !self.asks => Timeout::Immediate,
            Some(tenths) if tenths > 0 => Timeout::After(u32::try_from(tenths).unwrap_or(u32::MAX)),
            _ => Timeout::Never,
        };
        let access = match self.password.take() {
            _ if !self.allows_options => Access::Nobody,
            Some(password) => Access::Password(password),
            None => Access::Free,
        };
        let title = self.title.take();
        Settings { title, hidden: self.hidden, access, ..Settings::new(timeout) }
    }
}

/// An entry as its lines give it.
struct Entry {
    name: String,
    title: Option<String>,
    menu_default: bool,
    kernel: Option<String>,
    configuration: Option<String>,
    initrds: Vec<String>,
    device_tree: Option<String>,
    device_tree_directory: Option<String>,
    overlays: Vec<String>,
    append: Option<Value>,
    broken: Option<Broken>,
}

impl Entry {
    fn new(name: String) -> Self {
        Self {
            name,
            title: None,
            menu_default: false,
            kernel: None,
            configuration: None,
            initrds: Vec::new(),
            device_tree: None,
            device_tree_directory: None,
            overlays: Vec::new(),
            append: None,
            broken: None,
        }
    }

    /// Takes in a line; gives what is to be said about it.
    fn line(&mut self, line: &Line<'_>, keyword: Keyword) -> Option<&'static str> {
        if keyword == Keyword::Append {
            self.append = Some(verbatim(line.value));
            return None;
        }
        if keyword == Keyword::OtherProgram {
            let word = String::from_utf8_lossy(line.keyword).to_ascii_uppercase();
            self.damage(Code::EntryIncomplete, format!("{word} does not start a Linux kernel"));
            return None;
        }
        match verbatim(line.value) {
            Ok(file) => self.file(file, keyword),
            Err(flaw) => {
                self.damage(Code::EntryDamaged, format!("line {}: the path {flaw}", line.number));
                None
            }
        }
    }

    fn file(&mut self, file: String, keyword: Keyword) -> Option<&'static str> {
        let keep_first = |slot: &mut Option<String>, value: String| {
            let taken = slot.is_some();
            slot.get_or_insert(value);
            taken.then_some("is there already; the first one counts")
        };
        match keyword {
            Keyword::Kernel => {
                let (file, configuration) = match file.split_once('#') {
                    Some((file, name)) => (file.trim_end().to_owned(), Some(name.to_owned())),
                    None => (file, None),
                };
                self.kernel = Some(file).filter(|file| !file.is_empty());
                self.configuration = configuration.filter(|name| !name.is_empty());
                None
            }
            Keyword::Initrd => self.add_initrds(&file),
            Keyword::DeviceTree => keep_first(&mut self.device_tree, file),
            Keyword::DeviceTreeDirectory => keep_first(&mut self.device_tree_directory, file),
            Keyword::Overlays => self.add_overlays(&file),
            _ => None,
        }
    }

    fn add_overlays(&mut self, files: &str) -> Option<&'static str> {
        if !self.overlays.is_empty() {
            return Some("is there already; the first one counts");
        }
        self.overlays = files.split_ascii_whitespace().map(ToOwned::to_owned).collect();
        if self.overlays.len() > MAX_OVERLAYS {
            self.damage(
                Code::EntryDamaged,
                format!("more than {MAX_OVERLAYS} overlays cannot be applied"),
            );
        }
        None
    }

    fn add_initrds(&mut self, files: &str) -> Option<&'static str> {
        for file in files.split(',').map(str::trim).filter(|file| !file.is_empty()) {
            if self.initrds.len() == MAX_INITRDS {
                self.damage(
                    Code::EntryDamaged,
                    format!("more than {MAX_INITRDS} initrds cannot be loaded"),
                );
                return None;
            }
            self.initrds.push(file.to_owned());
        }
        None
    }

    /// Notes why the entry cannot be booted; the first reason stays.
    fn damage(&mut self, code: Code, reason: String) {
        self.broken.get_or_insert(Broken { code, reason });
    }

    fn generation(
        mut self,
        directory: &str,
        global_append: Option<&Value>,
        default: bool,
    ) -> Generation {
        let command_line = self.command_line(global_append);
        if self.initrds.is_empty()
            && let Some(files) = word_value(&command_line, "initrd=")
        {
            self.add_initrds(files);
        }
        if self.kernel.is_none() {
            self.damage(Code::EntryIncomplete, Code::EntryIncomplete.summary().to_owned());
        }
        let resolve = |file: &String| path::resolve(directory, file);
        let files = BootFiles {
            kernel: self.kernel.as_ref().map(resolve).unwrap_or_default(),
            configuration: self.configuration.take(),
            initrds: self.initrds.iter().map(resolve).collect(),
            device_tree: match (&self.device_tree, &self.device_tree_directory) {
                (Some(none), _) if none == "-" => DeviceTreeFile::FromFirmware,
                (Some(file), _) => DeviceTreeFile::File(resolve(file)),
                (None, Some(directory)) => DeviceTreeFile::Directory(resolve(directory)),
                (None, None) => DeviceTreeFile::FromFirmware,
            },
            overlays: self.overlays.iter().map(resolve).collect(),
            command_line,
            ethernet_addresses: Vec::new(),
        };
        self.described(files, default)
    }

    fn command_line(&mut self, global_append: Option<&Value>) -> String {
        match self.append.take().as_ref().or(global_append) {
            Some(Ok(none)) if none == "-" => String::new(),
            Some(Ok(line)) => line.clone(),
            Some(Err(flaw)) => {
                self.damage(Code::EntryDamaged, format!("the command line {flaw}"));
                String::new()
            }
            None => String::new(),
        }
    }

    fn described(self, files: BootFiles, default: bool) -> Generation {
        let toplevel = naming::toplevel(&files.command_line).map(ToOwned::to_owned);
        let title =
            self.title.filter(|title| !title.is_empty()).unwrap_or_else(|| self.name.clone());
        let numbered = naming::numbered_label(&self.name);
        let profile = numbered.and_then(|numbered| numbered.profile).map(ToOwned::to_owned);
        let specialisation = numbered.and_then(|numbered| numbered.specialisation);
        let dated = naming::date_and_version(&title);
        let version = dated
            .map(|(_, version)| version)
            .or_else(|| naming::toplevel_version(toplevel.as_deref()?));
        let source = Source::Extlinux;
        Generation {
            number: numbered.map(|numbered| numbered.number),
            specialisation: specialisation.map(ToOwned::to_owned),
            profile,
            date: dated.map(|(date, _)| date.to_owned()),
            version: version.map(ToOwned::to_owned),
            kernel_version: naming::kernel_version(&files.kernel).map(ToOwned::to_owned),
            id: toplevel.unwrap_or_else(|| list::foreign_id(source, &self.name)),
            source,
            title,
            name: self.name,
            default,
            tries: naming::tries(&files.command_line),
            files,
            unread: false,
            broken: self.broken,
        }
    }
}

/// The value of the first word of a command line that begins with `key`.
fn word_value<'a>(command_line: &'a str, key: &str) -> Option<&'a str> {
    command_line.split_ascii_whitespace().find_map(|word| word.strip_prefix(key))
}

/// A value that is passed on as it is.
pub(super) fn verbatim(value: &[u8]) -> Value {
    match core::str::from_utf8(value) {
        Err(_) => Err("is not UTF-8"),
        Ok(text) if text.contains(is_control) => Err("holds control characters"),
        Ok(text) => Ok(text.to_string()),
    }
}

/// A value that is only shown and compared: what cannot be shown is replaced.
pub(super) fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(value)
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

/// A number at the start of `value`, as `strtol` reads it; too large ones saturate.
fn integer(value: &[u8]) -> Option<i64> {
    let (negative, digits) = match value {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let number = digits[..count].iter().fold(0_i64, |number, digit| {
        number.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    Some(if negative { -number } else { number })
}

pub(super) fn quote(text: &str) -> String {
    let mut end = text.len().min(MAX_QUOTE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let ellipsis = if end < text.len() { "..." } else { "" };
    // A tab or a carriage return may be within a value.
    format!("\"{}{ellipsis}\"", text[..end].replace(char::is_control, " "))
}

/// The first few warnings and how many more there were.
#[derive(Default)]
struct Warnings {
    list: Vec<Warning>,
    dropped: usize,
}

impl Warnings {
    fn ignored(&mut self, line: &Line<'_>, what: &str) {
        let value = line.value.get(..MAX_QUOTE + 1).unwrap_or(line.value);
        let keyword = line.keyword.get(..MAX_QUOTE + 1).unwrap_or(line.keyword);
        let text = if value.is_empty() {
            shown(keyword)
        } else {
            format!("{} {}", shown(keyword), shown(value))
        };
        self.add(Code::ConfigurationLineIgnored, line, format!("{} {what}", quote(&text)));
    }

    fn add(&mut self, code: Code, line: &Line<'_>, text: String) {
        if self.list.len() >= MAX_WARNINGS {
            self.dropped += 1;
            return;
        }
        self.list.push(Warning { code, line: Some(line.number), text });
    }

    fn finish(mut self) -> Vec<Warning> {
        if self.dropped > 0 {
            self.list.push(Warning {
                code: Code::ConfigurationLineIgnored,
                line: None,
                text: format!("and {} more", self.dropped),
            });
        }
        self.list
    }
}
