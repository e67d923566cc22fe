//! What the first stage tells the second one.
//!
//! One record at a fixed address of DRAM ([`Board::hand_off`](crate::board::Board::hand_off)), because
//! BL31 in between passes nothing on. Everything in it is optional: the second stage finds out by
//! itself what it is not told. Nothing here allocates.

#![forbid(unsafe_code)]

mod record;

use core::{fmt, time::Duration};

use crate::{
    entropy::Secret, error::Code, image::container::PartKind, memory::Region,
    soc::boot_rom::BootDevice,
};

pub use record::Error;

/// DRAM banks that a record has room for.
pub const MAX_BANKS: usize = 4;
/// Problems that a record has room for.
pub const MAX_NOTES: usize = 8;
/// Bytes of a problem's text that are kept.
pub const NOTE_TEXT: usize = 96;

/// What the first stage knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandOff {
    /// Where the image came from.
    pub boot: Option<Boot>,
    /// DRAM; empty entries are not used.
    pub banks: [Option<Region>; MAX_BANKS],
    /// Why the board was reset.
    pub reset: Option<ResetCause>,
    /// When each step was reached, since the system counter started.
    pub times: Times,
    /// How DRAM training went.
    pub training: Option<Training>,
    /// What went wrong on the way, and how it was dealt with.
    pub notes: [Option<Note>; MAX_NOTES],
    /// What to boot, where it came along with the image.
    pub recovery: Recovery,
    /// Random bytes that nobody has used.
    pub entropy: Option<Secret>,
}

/// Where the image came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The device.
    pub device: BootDevice,
    /// Where the image lies on it, or on its boot partition, in bytes.
    pub image_offset: u32,
    /// Whether the boot ROM or the first stage fell back to the second copy.
    pub secondary: bool,
}

/// Why the board was reset, as far as each witness tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetCause {
    /// SRC_SRSR.
    pub src: u32,
    /// WDOG1_WRSR.
    pub watchdog: u16,
    /// The PMIC's power-on reason, if it answered.
    pub pmic: Option<u8>,
}

/// When each step was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The first stage began.
    pub entered: Duration,
    /// DRAM can be used.
    pub dram: Duration,
    /// Everything is loaded.
    pub loaded: Duration,
    /// The first stage ends.
    pub left: Duration,
}

/// How DRAM training went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Training {
    /// Data rate of the fastest set point, in MT/s.
    pub rate: u16,
    /// Attempts that it took, from 1 on.
    pub attempts: u8,
    /// Revision of the training firmware, as it names itself.
    pub firmware: u16,
}

/// A problem that did not end the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Number of the [`Code`]; one that this version does not know is kept.
    pub code: u16,
    /// UTF-8, ended by zeros, cut at [`NOTE_TEXT`].
    pub text: [u8; NOTE_TEXT],
}

/// A kernel in memory, and what goes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// An arm64 Image.
    pub kernel: Option<Region>,
    /// Its initrd.
    pub initrd: Option<Region>,
    /// Its device tree.
    pub device_tree: Option<Region>,
    /// Its command line, UTF-8.
    pub command_line: Option<Region>,
}

impl HandOff {
    /// Keeps a problem for the next stage; with all places taken, it has been on the line at least.
    pub fn note(&mut self, code: Code, text: core::fmt::Arguments<'_>) {
        let Some(place) = self.notes.iter_mut().find(|note| note.is_none()) else { return };
        let mut note = Note { code: code.number(), text: [0; NOTE_TEXT] };
        // A text that is cut still says what it is about.
        let _ = core::fmt::write(&mut Cut { rest: &mut note.text }, text);
        *place = Some(note);
    }
}

/// Writes until there is no room left.
struct Cut<'a> {
    rest: &'a mut [u8],
}

impl core::fmt::Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let mut end = text.len().min(self.rest.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let (taken, rest) = core::mem::take(&mut self.rest).split_at_mut(end);
        taken.copy_from_slice(&text.as_bytes()[..end]);
        self.rest = rest;
        if end == text.len() { Ok(()) } else { Err(core::fmt::Error) }
    }
}

impl Recovery {
    fn parts(&self) -> [(PartKind, Option<Region>); 4] {
        [
            (PartKind::Kernel, self.kernel),
            (PartKind::Initrd, self.initrd),
            (PartKind::DeviceTree, self.device_tree),
            (PartKind::CommandLine, self.command_line),
        ]
    }

    fn part_mut(&mut self, kind: PartKind) -> Option<&mut Option<Region>> {
        match kind {
            PartKind::Kernel => Some(&mut self.kernel),
            PartKind::Initrd => Some(&mut self.initrd),
            PartKind::DeviceTree => Some(&mut self.device_tree),
            PartKind::CommandLine => Some(&mut self.command_line),
            _ => None,
        }
    }

    /// The memory that all of it lies in.
    pub fn regions(&self) -> impl Iterator<Item = Region> {
        self.parts().into_iter().filter_map(|(_, region)| region)
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.device.fmt(f)?;
        match self.device {
            BootDevice::Usb => Ok(()),
            _ if self.secondary => write!(f, ", secondary image at {:#x}", self.image_offset),
            _ => write!(f, ", image at {:#x}", self.image_offset),
        }
    }
}

impl fmt::Display for Training {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, attempts, firmware } = self;
        write!(f, "DRAM trained for {rate} MT/s by firmware {firmware:#x}")?;
        if *attempts > 1 { write!(f, " at attempt {attempts}") } else { Ok(()) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not every version knows every code.
        write!(f, "[E{:03}] {}", self.code, self.text())
    }
}

impl Note {
    /// The text's bytes.
    fn bytes(&self) -> &[u8] {
        self.text.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// What the text says, as far as it is text.
    pub fn text(&self) -> &str {
        let text = self.bytes();
        core::str::from_utf8(text).unwrap_or_else(|error| {
            core::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default()
        })
    }
}
