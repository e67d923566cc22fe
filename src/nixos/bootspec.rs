//! `boot.json`: what a NixOS toplevel says of how it is booted.
//!
//! Format: bootspec version 1 (NixOS RFC 125 and nixpkgs' `nixos/modules/system/activation/bootspec.nix`),
//! with the extensions of NixOS's systemd-boot module, of lanzaboote, for further initrds, and this
//! project's own `org.firn.v1`. Extensions that are not known are ignored.
//!
//! Total: any bytes give a [`Bootspec`] or an [`Error`]. What a boot needs is never guessed: a
//! document without it, or with something else in its place, is an error. Settings of the menu, on
//! which no boot depends, are dropped one by one, with a warning. A specialisation that is damaged
//! leaves its parent as it is.

#![forbid(unsafe_code)]

use alloc::{
    borrow::{Cow, ToOwned},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use hifijson::{SliceLexer, token::Lex, value};

use super::{MAX_OVERLAYS, Timeout};
use crate::{
    devicetree::ethernet::MAX_INTERFACES,
    error::{Code, Coded},
    ethernet::Address,
};

/// Largest file in bytes. One with ten specialisations has 15 KB; at worst the values of so many
/// bytes take 6 MB of memory, a third of the loader's heap.
pub const MAX_SIZE: usize = 64 * 1024;

/// Specialisations that a document may have, those of specialisations included.
pub const MAX_SPECIALISATIONS: usize = 128;

/// How deep values may lie in each other: three levels of specialisations, and what extensions hold.
const MAX_DEPTH: usize = 16;

/// Initrds besides the first.
const MAX_EXTRA_INITRDS: usize = 15;

const BOOTSPEC: &str = "org.nixos.bootspec.v1";
const SPECIALISATION: &str = "org.nixos.specialisation.v1";
const SYSTEMD_BOOT: &str = "org.nixos.systemd-boot";
const LANZABOOTE: &str = "org.nix-community.lanzaboote";
const EXTRA_INITRD: &str = "org.nixos.extra-initrd.v1";
const FIRN: &str = "org.firn.v1";
/// Paths of overlays, in that extension.
const OVERLAYS: &str = "deviceTreeOverlays";

/// How one toplevel is booted. Paths are as the running system sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootspec {
    /// The toplevel's store path.
    pub toplevel: String,
    /// What the kernel starts first.
    pub init: String,
    /// The kernel.
    pub kernel: String,
    /// Initrds, concatenated in this order.
    pub initrds: Vec<String>,
    /// A program that is to append secrets to the initrd when the boot loader is installed.
    pub initrd_secrets: Option<String>,
    /// The kernel's parameters without `init=`.
    pub kernel_params: Vec<String>,
    /// What is to be shown, without control characters.
    pub label: String,
    /// Nix's name of the platform, "aarch64-linux".
    pub system: String,
    /// The device tree, if an extension names one: this project's goes before systemd-boot's.
    pub device_tree: Option<String>,
    /// Overlays of the device tree, applied in this order.
    pub overlays: Vec<String>,
    /// Addresses of Ethernet interfaces that have none of their own, by their numbers, if this
    /// project's extension has `"ethernetAddresses": ["00:11:22:33:44:55", ""]`.
    pub ethernet_addresses: Vec<Option<Address>>,
    /// By what entries are to be sorted, if an extension says so: systemd-boot's or lanzaboote's.
    pub sort_key: Option<String>,
    /// What this project's extension says about the menu.
    pub settings: MenuSettings,
    /// Specialisations, in the order of the document.
    pub specialisations: Vec<Specialisation>,
    /// What was left out.
    pub warnings: Vec<String>,
}

/// A variant of a system, a toplevel of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specialisation {
    /// Its name, without control characters.
    pub name: String,
    /// How it is booted, if that can be read.
    pub bootspec: Result<Bootspec, Error>,
}

/// The part of `org.firn.v1` that is not about booting: `{"timeout": SECONDS or null, "editor":
/// BOOL, "passwordHash": TEXT, "configurationLimit": COUNT, "bootTries": COUNT}`, each of which may
/// be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MenuSettings {
    /// How long the menu waits. `null` means for ever, 0 not at all.
    pub timeout: Option<Timeout>,
    /// Whether command lines may be edited. A password hash that cannot be read forbids it.
    pub editor: Option<bool>,
    /// What the password for editing must hash to.
    pub password_hash: Option<String>,
    /// How many generations the menu lists.
    pub configuration_limit: Option<u32>,
    /// How often a new generation is tried before the last good one is booted; 0: not counted.
    pub boot_tries: Option<u32>,
}

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// More bytes than [`MAX_SIZE`].
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// No JSON from this byte on; the text says what is expected there.
    Syntax {
        /// Offset in bytes.
        offset: usize,
        /// What the parser says.
        what: String,
    },
    /// A key that must be there is not.
    Missing,
    /// A value is of another type.
    WrongType {
        /// What it should be.
        expected: &'static str,
    },
    /// A text that goes to the kernel holds control characters.
    ControlCharacters,
    /// More of something than can be loaded.
    TooMany {
        /// How many there may be.
        limit: usize,
    },
}

/// A document that cannot be used: why, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// The key; empty if it is about the whole document.
    pub key: &'static str,
}

impl Error {
    fn at(key: &'static str, kind: ErrorKind) -> Self {
        Self { kind, key }
    }

    /// The error for a file that is too large to be read at all, if `size` in bytes is.
    pub fn if_too_large(size: u64) -> Result<(), Self> {
        if size > MAX_SIZE as u64 {
            return Err(Self::at("", ErrorKind::TooLarge { size }));
        }
        Ok(())
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match (&self.kind, self.key) {
            (ErrorKind::TooLarge { .. }, _) => Code::ConfigurationTooLarge,
            (ErrorKind::Missing, "kernel") => Code::EntryIncomplete,
            _ => Code::EntryDamaged,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        match &self.kind {
            ErrorKind::TooLarge { size } => write!(f, "has {size} bytes, at most {MAX_SIZE}"),
            ErrorKind::Syntax { offset, what } => write!(f, "not JSON at byte {offset}: {what}"),
            ErrorKind::Missing => f.write_str("is not there"),
            ErrorKind::WrongType { expected } => write!(f, "is not {expected}"),
            ErrorKind::ControlCharacters => f.write_str("holds control characters"),
            ErrorKind::TooMany { limit } => write!(f, "more than {limit} cannot be loaded"),
        }
    }
}

impl core::error::Error for Error {}

/// Reads the contents of a `boot.json`.
pub fn parse(bytes: &[u8]) -> Result<Bootspec, Error> {
    Error::if_too_large(bytes.len() as u64)?;
    let mut lexer = SliceLexer::new(bytes);
    let parsed =
        lexer.exactly_one(Lex::ws_peek, |next, lexer| value::parse_bounded(MAX_DEPTH, next, lexer));
    let document = parsed.map_err(|error| {
        let offset = bytes.len().saturating_sub(lexer.as_slice().len());
        Error::at("", ErrorKind::Syntax { offset, what: error.to_string() })
    })?;
    let mut budget = MAX_SPECIALISATIONS;
    Object::of(&document, "the document")?.bootspec(&mut budget)
}

type Value<'a> = value::Value<&'a str, Cow<'a, str>>;

/// The keys of a JSON object. Of a key that is there twice the last counts, as for Nix.
#[derive(Clone, Copy)]
struct Object<'a>(&'a [(Cow<'a, str>, Value<'a>)]);

impl<'a> Object<'a> {
    fn of(value: &'a Value<'a>, key: &'static str) -> Result<Self, Error> {
        match value {
            Value::Object(pairs) => Ok(Self(pairs)),
            _ => Err(Error::at(key, ErrorKind::WrongType { expected: "an object" })),
        }
    }

    fn get(self, key: &str) -> Option<&'a Value<'a>> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    fn object(self, key: &'static str) -> Result<Option<Self>, Error> {
        self.get(key).map(|value| Self::of(value, key)).transpose()
    }

    /// A text that goes to the kernel or names a file.
    fn text(self, key: &'static str) -> Result<Option<String>, Error> {
        self.get(key).map(|value| text(value, key)).transpose()
    }

    fn needed_text(self, key: &'static str) -> Result<String, Error> {
        self.text(key)?.ok_or(Error::at(key, ErrorKind::Missing))
    }

    fn texts(self, key: &'static str) -> Result<Option<Vec<String>>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(values)) => {
                values.iter().map(|value| text(value, key)).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(Error::at(key, ErrorKind::WrongType { expected: "a list" })),
        }
    }

    /// A text that is only shown or compared.
    fn cosmetic(self, key: &str) -> Option<String> {
        match self.get(key) {
            Some(Value::String(text)) => Some(shown(text)),
            _ => None,
        }
    }

    /// The toplevel that this object describes, with its extensions. `budget` is how many
    /// specialisations may follow.
    fn bootspec(self, budget: &mut usize) -> Result<Bootspec, Error> {
        let spec = self.object(BOOTSPEC)?.ok_or(Error::at(BOOTSPEC, ErrorKind::Missing))?;
        let mut bootspec = Bootspec {
            toplevel: spec.needed_text("toplevel")?,
            init: spec.needed_text("init")?,
            kernel: spec.needed_text("kernel")?,
            initrds: spec.text("initrd")?.into_iter().collect(),
            initrd_secrets: spec.text("initrdSecrets")?,
            kernel_params: spec
                .texts("kernelParams")?
                .ok_or(Error::at("kernelParams", ErrorKind::Missing))?,
            label: spec.cosmetic("label").unwrap_or_default(),
            system: spec.needed_text("system")?,
            device_tree: None,
            overlays: Vec::new(),
            ethernet_addresses: Vec::new(),
            sort_key: None,
            settings: MenuSettings::default(),
            specialisations: Vec::new(),
            warnings: Vec::new(),
        };
        self.extensions(&mut bootspec)?;
        self.specialisations(&mut bootspec, budget)?;
        Ok(bootspec)
    }

    fn extensions(self, bootspec: &mut Bootspec) -> Result<(), Error> {
        if let Some(systemd_boot) = self.object(SYSTEMD_BOOT)? {
            bootspec.device_tree = systemd_boot.text("devicetree")?;
            bootspec.sort_key = systemd_boot.cosmetic("sortKey");
        }
        if let Some(Value::Object(lanzaboote)) = self.get(LANZABOOTE) {
            let sort_key = Object(lanzaboote).cosmetic("sort_key");
            bootspec.sort_key = bootspec.sort_key.take().or(sort_key);
        }
        if let Some(extra) = self.object(EXTRA_INITRD)? {
            let paths = extra.texts("paths")?.unwrap_or_default();
            if paths.len() > MAX_EXTRA_INITRDS {
                let kind = ErrorKind::TooMany { limit: MAX_EXTRA_INITRDS };
                return Err(Error::at(EXTRA_INITRD, kind));
            }
            bootspec.initrds.extend(paths);
        }
        if let Some(firn) = self.object(FIRN)? {
            if let Some(path) = firn.text("deviceTree")? {
                bootspec.device_tree = Some(path);
            }
            bootspec.overlays = firn.texts(OVERLAYS)?.unwrap_or_default();
            if bootspec.overlays.len() > MAX_OVERLAYS {
                return Err(Error::at(OVERLAYS, ErrorKind::TooMany { limit: MAX_OVERLAYS }));
            }
            bootspec.ethernet_addresses = firn.addresses(&mut bootspec.warnings);
            bootspec.settings = firn.settings(&mut bootspec.warnings);
        }
        Ok(())
    }

    fn settings(self, warnings: &mut Vec<String>) -> MenuSettings {
        let mut settings = MenuSettings {
            timeout: match self.get("timeout") {
                Some(Value::Null) => Some(Timeout::Never),
                _ => self.count("timeout", warnings).map(|seconds| match seconds {
                    0 => Timeout::Immediate,
                    seconds => Timeout::After(seconds.saturating_mul(10)),
                }),
            },
            editor: match self.get("editor") {
                Some(Value::Bool(editor)) => Some(*editor),
                None => None,
                Some(_) => {
                    warnings.push(ignored("editor", "a truth value"));
                    None
                }
            },
            password_hash: None,
            configuration_limit: self.count("configurationLimit", warnings),
            boot_tries: self.count("bootTries", warnings),
        };
        match self.text("passwordHash") {
            Ok(hash) => settings.password_hash = hash,
            // Null is how Nix writes that there is none.
            Err(_) if matches!(self.get("passwordHash"), Some(Value::Null)) => {}
            Err(_) => {
                warnings.push(format!("{FIRN}: passwordHash is not a text; nobody may edit"));
                settings.editor = Some(false);
            }
        }
        settings
    }

    /// What cannot be read leaves its interface without.
    fn addresses(self, warnings: &mut Vec<String>) -> Vec<Option<Address>> {
        const KEY: &str = "ethernetAddresses";
        let texts = self.texts(KEY).unwrap_or_else(|_| {
            warnings.push(ignored(KEY, "a list of texts"));
            None
        });
        let address = |text: String| match Address::parse(&text) {
            Ok(address) => Some(address),
            Err(_) if text.is_empty() => None,
            Err(refused) => {
                warnings.push(format!("{FIRN}: {KEY}: {}: {refused}; ignored", shown(&text)));
                None
            }
        };
        texts.unwrap_or_default().into_iter().take(MAX_INTERFACES).map(address).collect()
    }

    /// A whole number. Absent and `null` mean that nothing is said.
    fn count(self, key: &str, warnings: &mut Vec<String>) -> Option<u32> {
        let digits = match self.get(key) {
            None | Some(Value::Null) => return None,
            Some(Value::Number((digits, _))) => digits,
            Some(_) => "",
        };
        let count = digits.parse().ok();
        if count.is_none() {
            warnings.push(ignored(key, "a whole number in range"));
        }
        count
    }

    fn specialisations(self, bootspec: &mut Bootspec, budget: &mut usize) -> Result<(), Error> {
        let Some(found) = self.object(SPECIALISATION)? else { return Ok(()) };
        for (name, value) in found.0 {
            let Some(left) = budget.checked_sub(1) else {
                bootspec
                    .warnings
                    .push(format!("only the first {MAX_SPECIALISATIONS} specialisations count"));
                return Ok(());
            };
            *budget = left;
            let child =
                Object::of(value, SPECIALISATION).and_then(|document| document.bootspec(budget));
            bootspec.specialisations.push(Specialisation { name: shown(name), bootspec: child });
        }
        Ok(())
    }
}

fn text(value: &Value<'_>, key: &'static str) -> Result<String, Error> {
    match value {
        Value::String(text) if text.contains(char::is_control) => {
            Err(Error::at(key, ErrorKind::ControlCharacters))
        }
        Value::String(text) => Ok(text.as_ref().to_owned()),
        _ => Err(Error::at(key, ErrorKind::WrongType { expected: "a text" })),
    }
}

fn ignored(key: &str, expected: &str) -> String {
    format!("{FIRN}: {key} is not {expected}; ignored")
}

/// A text with blanks for control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
