//! The structure block as a sequence of tokens.
//!
//! The one place that knows how tokens lie in memory. It takes any bytes and never leaves its
//! block; whether the tokens make a tree is [`super::validate`]'s question.

use core::ffi::CStr;

use super::{ErrorKind, MAX_NAME, be32};

pub(super) const BEGIN_NODE: u32 = 1;
pub(super) const END_NODE: u32 = 2;
pub(super) const PROPERTY: u32 = 3;
const NOP: u32 = 4;
pub(super) const END: u32 = 9;
/// Bytes of a tag, and what everything in the block is aligned to.
pub(super) const TAG_SIZE: usize = 4;

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    BeginNode { name: &'a [u8] },
    EndNode,
    Property { name_offset: u32, value: &'a [u8] },
    End,
}

/// A token and where it lies in the structure block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located<'a> {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) token: Token<'a>,
}

/// Reads tokens from an offset on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens<'a> {
    structure: &'a [u8],
    offset: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(structure: &'a [u8], offset: usize) -> Self {
        Self { structure, offset }
    }

    /// The next token that is not padding, or what is wrong with it and where.
    pub(super) fn next(&mut self) -> Result<Located<'a>, (ErrorKind, usize)> {
        if let Some(property) = self.next_property() {
            self.offset = property.end;
            return Ok(property);
        }
        loop {
            let start = self.offset;
            let at_start = |kind| (kind, start);
            let tag = be32(self.structure, start).ok_or((ErrorKind::CutOff, start))?;
            let body = start + TAG_SIZE;
            let (token, end) = match tag {
                NOP => {
                    self.offset = body;
                    continue;
                }
                BEGIN_NODE => self.begin_node(body).map_err(at_start)?,
                END_NODE => (Token::EndNode, body),
                PROPERTY => self.property(body).map_err(at_start)?,
                END => (Token::End, body),
                other => return Err((ErrorKind::Token(other), start)),
            };
            self.offset = end;
            return Ok(Located { start, end, token });
        }
    }

    /// The next token, if it is a whole property: most tokens are.
    fn next_property(&self) -> Option<Located<'a>> {
        let start = self.offset;
        let (head, rest) = self.structure.get(start..)?.split_first_chunk()?;
        let [t3, t2, t1, t0, s3, s2, s1, s0, n3, n2, n1, n0] = *head;
        if u32::from_be_bytes([t3, t2, t1, t0]) != PROPERTY {
            return None;
        }
        let size = u32::from_be_bytes([s3, s2, s1, s0]);
        let name_offset = u32::from_be_bytes([n3, n2, n1, n0]);
        let value = rest.get(..size as usize)?;
        let end = aligned(start + 3 * TAG_SIZE + value.len());
        Some(Located { start, end, token: Token::Property { name_offset, value } })
    }

    /// The next token that is no property either: most tokens are one, and who looks for nodes need
    /// not read them.
    pub(super) fn next_of_node(&mut self) -> Result<Located<'a>, (ErrorKind, usize)> {
        const TAG: [u8; TAG_SIZE] = PROPERTY.to_be_bytes();
        while let Some([head @ .., s3, s2, s1, s0]) = self.head()
            && *head == TAG
        {
            let size = u32::from_be_bytes([*s3, *s2, *s1, *s0]) as usize;
            self.offset = aligned(self.offset + 3 * TAG_SIZE + size);
        }
        self.next()
    }

    fn head(&self) -> Option<&[u8; 2 * TAG_SIZE]> {
        self.structure.get(self.offset..)?.first_chunk()
    }

    fn begin_node(&self, body: usize) -> Result<(Token<'a>, usize), ErrorKind> {
        let name = name_at(self.structure, body)?;
        Ok((Token::BeginNode { name }, aligned(body + name.len() + 1)))
    }

    fn property(&self, body: usize) -> Result<(Token<'a>, usize), ErrorKind> {
        let size = be32(self.structure, body).ok_or(ErrorKind::CutOff)?;
        let name_offset = be32(self.structure, body + 4).ok_or(ErrorKind::CutOff)?;
        let start = body + 8;
        let end = start.checked_add(size as usize).ok_or(ErrorKind::ValueOutside)?;
        let value = self.structure.get(start..end).ok_or(ErrorKind::ValueOutside)?;
        Ok((Token::Property { name_offset, value }, aligned(end)))
    }
}

/// The next offset at which a token may lie.
pub(super) fn aligned(offset: usize) -> usize {
    // Of a power of two; `next_multiple_of` divides.
    (offset + (TAG_SIZE - 1)) & !(TAG_SIZE - 1)
}

/// The bytes in front of the next zero.
pub(super) fn name_at(bytes: &[u8], offset: usize) -> Result<&[u8], ErrorKind> {
    let rest = bytes.get(offset..).ok_or(ErrorKind::NameOutside)?;
    let window = &rest[..rest.len().min(MAX_NAME + 1)];
    match CStr::from_bytes_until_nul(window) {
        Ok(name) => Ok(name.to_bytes()),
        Err(_) if rest.len() > MAX_NAME => Err(ErrorKind::NameTooLong),
        Err(_) => Err(ErrorKind::NameUnterminated),
    }
}
