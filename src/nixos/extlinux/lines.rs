//! Lines and keywords of `extlinux.conf`.
//!
//! Works on bytes: only values that are used have to be text.

#![forbid(unsafe_code)]

/// Longest line in bytes. An arm64 kernel takes 2047 bytes of command line (Linux,
/// `arch/arm64/include/uapi/asm/setup.h`), a path is shorter.
pub(in crate::nixos) const MAX_LINE: usize = 4096;

/// A line with something on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::nixos) struct Line<'a> {
    /// Counted from 1.
    pub number: u32,
    /// The first word.
    pub keyword: &'a [u8],
    /// The rest, without the blanks around it. Empty if the line is not whole.
    pub value: &'a [u8],
    /// What is wrong with the line as such.
    pub flaw: Option<Flaw>,
}

/// What can be wrong with a line, whatever is on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::nixos) enum Flaw {
    /// More than [`MAX_LINE`] bytes.
    TooLong,
    /// The text ends within it.
    CutShort,
}

/// The lines of `bytes` that are neither blank nor a comment, up to the first NUL, which is where
/// other loaders see the end of the file.
pub(in crate::nixos) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    let cut_short = text.len() < bytes.len();
    let last = text.iter().filter(|&&byte| byte == b'\n').count();
    text.split(|&byte| byte == b'\n').enumerate().filter_map(move |(index, line)| {
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            return None;
        }
        let flaw = if line.len() > MAX_LINE {
            Some(Flaw::TooLong)
        } else if cut_short && index == last {
            Some(Flaw::CutShort)
        } else {
            None
        };
        let (keyword, value) = split_word(&line[..line.len().min(MAX_LINE)]);
        let value = if flaw.is_some() { &[] } else { value };
        Some(Line { number: u32::try_from(index + 1).unwrap_or(u32::MAX), keyword, value, flaw })
    })
}

/// The first word and what follows it, both without blanks around them.
pub(in crate::nixos) fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii();
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_ascii())
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    /// Whether command lines may be edited.
    AllowOptions,
    /// The kernel's command line.
    Append,
    /// The default entry.
    Default,
    /// One device tree.
    DeviceTree,
    /// A directory of device trees.
    DeviceTreeDirectory,
    /// End of a help text.
    EndText,
    /// Another file.
    Include,
    /// Initrds.
    Initrd,
    /// The kernel.
    Kernel,
    /// Begin of an entry.
    Label,
    /// Something about the menu.
    Menu,
    /// What to boot when nobody chooses.
    OnTimeout,
    /// Device tree overlays.
    Overlays,
    /// Whether to ask.
    Prompt,
    /// Begin of a help text.
    Text,
    /// How long to wait.
    Timeout,
    /// A menu program.
    Ui,
    /// Makes an entry something else than a kernel.
    OtherProgram,
    /// Looks only: nothing is lost without it.
    Cosmetic,
    /// Meant something that is not done here.
    Unsupported,
}

impl Keyword {
    /// Whether an entry boots something else without such a line.
    pub(super) fn decides_boot(self) -> bool {
        matches!(
            self,
            Keyword::Append
                | Keyword::DeviceTree
                | Keyword::DeviceTreeDirectory
                | Keyword::Initrd
                | Keyword::Kernel
                | Keyword::Overlays
                | Keyword::OtherProgram
        )
    }
}

/// The keyword that a first word is, in any case. As in SYSLINUX's `doc/syslinux.txt` and U-Boot's
/// `doc/README.pxe`.
pub(super) fn keyword(word: &[u8]) -> Option<Keyword> {
    use Keyword::*;
    const KEYWORDS: &[(&str, Keyword)] = &[
        ("allowoptions", AllowOptions),
        ("append", Append),
        ("default", Default),
        ("devicetree", DeviceTree),
        ("fdt", DeviceTree),
        ("devicetreedir", DeviceTreeDirectory),
        ("fdtdir", DeviceTreeDirectory),
        ("devicetree-overlay", Overlays),
        ("fdtoverlays", Overlays),
        ("endtext", EndText),
        ("include", Include),
        ("initrd", Initrd),
        ("kernel", Kernel),
        ("linux", Kernel),
        ("label", Label),
        ("menu", Menu),
        ("ontimeout", OnTimeout),
        ("prompt", Prompt),
        ("text", Text),
        ("timeout", Timeout),
        ("ui", Ui),
        ("boot", OtherProgram),
        ("bss", OtherProgram),
        ("com32", OtherProgram),
        ("comboot", OtherProgram),
        ("config", OtherProgram),
        ("fdimage", OtherProgram),
        ("localboot", OtherProgram),
        ("pxe", OtherProgram),
        ("background", Cosmetic),
        ("console", Cosmetic),
        ("display", Cosmetic),
        ("font", Cosmetic),
        ("implicit", Cosmetic),
        ("kbdmap", Cosmetic),
        ("nocomplete", Cosmetic),
        ("noescape", Cosmetic),
        ("nohalt", Cosmetic),
        ("path", Cosmetic),
        ("say", Cosmetic),
        ("serial", Cosmetic),
        ("fallback", Unsupported),
        ("ipappend", Unsupported),
        ("kaslrseed", Unsupported),
        ("onerror", Unsupported),
        ("sendcookies", Unsupported),
        ("sysappend", Unsupported),
        ("totaltimeout", Unsupported),
    ];
    KEYWORDS
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()))
        .map(|&(_, keyword)| keyword)
        .or_else(|| is_function_key(word).then_some(Cosmetic))
}

/// `F1` to `F12`: help screens.
fn is_function_key(word: &[u8]) -> bool {
    matches!(word, [b'F' | b'f', b'1'..=b'9'] | [b'F' | b'f', b'1', b'0'..=b'2'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{string::String, vec::Vec};

    fn words(text: &[u8]) -> Vec<(u32, String, String)> {
        let text_of = |bytes| String::from_utf8_lossy(bytes).into_owned();
        lines(text).map(|line| (line.number, text_of(line.keyword), text_of(line.value))).collect()
    }

    #[test]
    fn comments_and_blank_lines_count_but_are_not_given() {
        assert_eq!(words(b"# a\n\n  # b\nLABEL x # y\n"), [(4, "LABEL".into(), "x # y".into())]);
    }

    #[test]
    fn tabs_carriage_returns_and_a_byte_order_mark_are_blanks() {
        assert_eq!(
            words(b"\xef\xbb\xbf\tLINUX\t/a b\t\r\nAPPEND"),
            [(1, "LINUX".into(), "/a b".into()), (2, "APPEND".into(), String::new())]
        );
    }

    #[test]
    fn a_line_that_a_nul_ends_is_cut_short_and_has_no_value() {
        let found: Vec<_> = lines(b"LABEL a\nAPPEND ro\0ot\nLABEL b").collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].flaw, None);
        assert_eq!((found[1].flaw, found[1].value), (Some(Flaw::CutShort), &b""[..]));
    }

    #[test]
    fn a_line_beyond_the_limit_is_flagged() {
        let mut text = b"APPEND ".to_vec();
        text.resize(MAX_LINE, b'x');
        assert_eq!(lines(&text).next().unwrap().flaw, None);
        text.push(b'x');
        assert_eq!(lines(&text).next().unwrap().flaw, Some(Flaw::TooLong));
    }
}
