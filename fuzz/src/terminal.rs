//! What may be sent to a terminal.

/// Printable ASCII, line ends, and control sequences that are whole, whatever was in a file or came
/// over the line.
pub fn check(bytes: &[u8]) {
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        rest = match byte {
            b' '..=b'~' | b'\r' | b'\n' | 0x07 | 0x08 => tail,
            0x1b => behind_sequence(tail).unwrap_or_else(|| odd(rest, bytes)),
            _ => odd(rest, bytes),
        };
    }
}

/// What follows `[`, parameters and a last byte.
fn behind_sequence(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(b"[")?;
    let end = rest.iter().position(|byte| !matches!(byte, b' '..=b'?'))?;
    matches!(rest[end], b'@'..=b'~').then(|| &rest[end + 1..])
}

fn odd(rest: &[u8], all: &[u8]) -> ! {
    panic!("{:?} in {:?}", rest.escape_ascii().to_string(), all.escape_ascii().to_string())
}
