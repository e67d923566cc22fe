//! Writing, and reading back.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::{hardware::Medium, payload::Payload};

/// Bytes that are read or written at once.
const CHUNK: usize = 1 << 20;
/// What begins an image and is written last.
const HEAD: usize = 512;

/// One copy of a payload.
pub(crate) struct Copy<'a> {
    pub(crate) payload: &'a Payload,
    pub(crate) file: &'a dyn Medium,
    /// Where it goes, in bytes.
    pub(crate) offset: u64,
    /// What a user calls the file.
    pub(crate) name: String,
}

impl Copy<'_> {
    /// Writes and compares. Until all else is known to be there, there is no head, which a boot ROM
    /// would believe.
    pub(crate) fn run(&self) -> Result<()> {
        self.remove_head()?;
        self.write_body()?;
        self.compare_body()?;
        self.write_head()?;
        self.compare_head()?;
        let Self { payload, offset, name, .. } = self;
        let size = payload.size();
        println!("{name}: {size} bytes at {offset:#x} written, read back and compared");
        Ok(())
    }

    /// What follows is written only when the head is known to be gone: a board that believed it would
    /// start half an image.
    fn remove_head(&self) -> Result<()> {
        self.write(0, &[0; HEAD])?;
        self.sync()?;
        self.file.forget_cache();
        self.compare(0, &[0; HEAD])
    }

    fn write_body(&self) -> Result<()> {
        let progress = progress("writing", self.payload.size());
        self.for_each_chunk(|at, chunk| {
            let skipped = if at == 0 { HEAD.min(chunk.len()) } else { 0 };
            self.write(at + skipped as u64, &chunk[skipped..])?;
            // What only sits in memory is no progress.
            self.sync()?;
            progress.inc(chunk.len() as u64);
            Ok(())
        })
    }

    fn write_head(&self) -> Result<()> {
        let mut head = [0; HEAD];
        self.payload.read_at(0, &mut head)?;
        self.write(0, &head)?;
        self.sync()
    }

    fn compare_body(&self) -> Result<()> {
        self.file.forget_cache();
        let progress = progress("comparing", self.payload.size());
        self.for_each_chunk(|at, chunk| {
            let skipped = if at == 0 { HEAD.min(chunk.len()) } else { 0 };
            self.compare(at + skipped as u64, &chunk[skipped..])?;
            progress.inc(chunk.len() as u64);
            Ok(())
        })
    }

    fn compare_head(&self) -> Result<()> {
        self.file.forget_cache();
        let mut head = [0; HEAD];
        self.payload.read_at(0, &mut head)?;
        self.compare(0, &head)
    }

    fn compare(&self, at: u64, wanted: &[u8]) -> Result<()> {
        let place = self.offset + at;
        let mut found = vec![0; wanted.len()];
        self.file
            .read_at(place, &mut found)
            .with_context(|| format!("cannot read {} back at {place:#x}", self.name))?;
        if found == wanted {
            return Ok(());
        }
        let Some(wrong) = found.iter().zip(wanted).position(|(found, wanted)| found != wanted)
        else {
            return Ok(());
        };
        bail!(
            "{} does not hold what was written to it: {:#04x} instead of {:#04x} at {:#x}; the card \
             is failing, or lies about its size",
            self.name,
            found[wrong],
            wanted[wrong],
            place + wrong as u64
        )
    }

    fn for_each_chunk(&self, mut take: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let size = self.payload.size();
        let mut buffer = vec![0; CHUNK];
        let mut at = 0;
        while at < size {
            let length = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
            self.payload.read_at(at, &mut buffer[..length])?;
            take(at, &buffer[..length])?;
            at += length as u64;
        }
        Ok(())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let place = self.offset + at;
        let written = self.file.write_at(place, bytes);
        written.with_context(|| format!("cannot write to {} at {place:#x}", self.name))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync().with_context(|| format!("cannot write to {}", self.name))
    }
}

/// A bar on a terminal; nothing elsewhere.
fn progress(what: &'static str, size: u64) -> ProgressBar {
    let bar = ProgressBar::new(size).with_message(what);
    let style = "{msg:>9} [{bar:40}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
