//! Files as runs of bytes on a volume.

use alloc::{string::String, vec::Vec};

use super::{Error, ErrorKind, File};
use crate::block::volume::Volume;

/// A file in more pieces than this is refused: its map would take more than 3 MiB.
pub(super) const MAX_RUNS: usize = 1 << 17;

/// Consecutive bytes of a file that are consecutive on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// Where it begins on the volume.
    pub(super) position: u64,
    /// Bytes.
    pub(super) length: u64,
}

impl Run {
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// Where a file is, in ascending order. What lies between two runs, or behind the last, is zero.
#[derive(Default)]
pub(super) struct RunMap(Vec<Run>);

/// Why a run cannot follow those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunError {
    /// It does not begin behind the last one.
    OutOfOrder,
    /// There are [`MAX_RUNS`] already.
    TooMany,
}

impl RunMap {
    /// Appends a run, or lengthens the last one.
    pub(super) fn push(&mut self, run: Run) -> Result<(), RunError> {
        if let Some(last) = self.0.last_mut() {
            if run.offset < last.end() {
                return Err(RunError::OutOfOrder);
            }
            let continues = last.position.checked_add(last.length) == Some(run.position);
            if run.offset == last.end() && continues {
                last.length = last.length.saturating_add(run.length);
                return Ok(());
            }
        }
        if self.0.len() == MAX_RUNS {
            return Err(RunError::TooMany);
        }
        self.0.push(run);
        Ok(())
    }

    /// Where the byte at `offset` of the file is on the volume; `None` in a gap.
    pub(super) fn position(&self, offset: u64) -> Option<u64> {
        let run = self.0.get(self.0.partition_point(|run| run.end() <= offset))?;
        run.position.checked_add(offset.checked_sub(run.offset)?)
    }
}

/// An open file.
pub(super) struct RunFile {
    volume: Volume,
    path: String,
    size: u64,
    map: RunMap,
}

impl RunFile {
    pub(super) fn new(volume: Volume, path: String, size: u64, map: RunMap) -> Self {
        Self { volume, path, size, map }
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error { kind, path: self.path.clone() }
    }
}

impl File for RunFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, destination: &mut [u8]) -> Result<(), Error> {
        let end = offset.checked_add(destination.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(self.error(ErrorKind::BeyondEnd));
        }
        let mut position = offset;
        let mut rest = destination;
        let mut next = self.map.0.partition_point(|run| run.end() <= offset);
        while !rest.is_empty() {
            let run = self.map.0.get(next).copied();
            let in_run = run.filter(|run| run.offset <= position);
            let piece_end = match (in_run, run) {
                (Some(run), _) => run.end(),
                (None, Some(run)) => run.offset,
                (None, None) => u64::MAX,
            };
            let length = usize::try_from(piece_end - position).unwrap_or(usize::MAX);
            let (piece, behind) = rest.split_at_mut(length.min(rest.len()));
            if let Some(run) = in_run {
                let at = run.position.saturating_add(position - run.offset);
                self.volume
                    .read_at(at, piece)
                    .map_err(|error| self.error(ErrorKind::Device(error)))?;
                next += 1;
            } else {
                piece.fill(0);
            }
            position += piece.len() as u64;
            rest = behind;
        }
        Ok(())
    }
}
