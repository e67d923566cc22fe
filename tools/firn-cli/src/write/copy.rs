//! Writing, and reading back.

use std::{fs::File, os::unix::fs::FileExt as _, time::Duration};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::{Advice, fadvise};

use super::payload::Payload;

/// Bytes that are read or written at once.
const CHUNK: usize = 1 << 20;
/// What begins an image and is written last.
const HEAD: usize = 512;

/// One copy of a payload.
pub(super) struct Copy<'a> {
    pub(super) payload: &'a Payload,
    pub(super) file: &'a File,
    /// Where it goes, in bytes.
    pub(super) offset: u64,
    /// What a user calls the file.
    pub(super) name: String,
}

impl Copy<'_> {
    /// Writes and compares. Until all else is known to be there, there is no head, which a boot ROM
    /// would believe.
    pub(super) fn run(&self) -> Result<()> {
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

    fn remove_head(&self) -> Result<()> {
        self.write(0, &[0; HEAD])?;
        self.sync()
    }

    fn write_body(&self) -> Result<()> {
        let progress = progress("writing", self.payload.size());
        self.for_each_chunk(|at, chunk| {
            let skipped = if at == 0 { HEAD.min(chunk.len()) } else { 0 };
            self.write(at + skipped as u64, &chunk[skipped..])?;
            // What only sits in memory is no progress.
            self.file.sync_data().with_context(|| format!("cannot write to {}", self.name))?;
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
        self.forget_cache();
        let progress = progress("comparing", self.payload.size());
        self.for_each_chunk(|at, chunk| {
            let skipped = if at == 0 { HEAD.min(chunk.len()) } else { 0 };
            self.compare(at + skipped as u64, &chunk[skipped..])?;
            progress.inc(chunk.len() as u64);
            Ok(())
        })
    }

    fn compare_head(&self) -> Result<()> {
        self.forget_cache();
        let mut head = [0; HEAD];
        self.payload.read_at(0, &mut head)?;
        self.compare(0, &head)
    }

    /// What counts is what is on the medium, not what the kernel remembers of it.
    fn forget_cache(&self) {
        // A whole range cannot be given up where others map it; there is nothing to do about that.
        let _ = fadvise(self.file, 0, None, Advice::DontNeed);
    }

    fn compare(&self, at: u64, wanted: &[u8]) -> Result<()> {
        let place = self.offset + at;
        let mut found = vec![0; wanted.len()];
        self.file
            .read_exact_at(&mut found, place)
            .with_context(|| format!("cannot read {} back at {place:#x}", self.name))?;
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
        let written = self.file.write_all_at(bytes, place);
        written.with_context(|| format!("cannot write to {} at {place:#x}", self.name))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_all().with_context(|| format!("cannot write to {}", self.name))
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
