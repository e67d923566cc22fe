//! One `firn state` at a time changes the record of a card.

use std::{
    fs::{File, TryLockError},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Longer than a change and udev's look at a device take.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// Held until it is dropped, or the process ends.
///
/// A BSD lock on the card's own node or file, as systemd asks of everybody who writes to block devices
/// (systemd, "Locking Block Device Access"): it needs no folder, names the same card whatever path was used,
/// and keeps udev from probing meanwhile. Opening it exclusively (`O_EXCL`) would be stronger, but
/// the kernel refuses that while a partition of the card is mounted, as the running system's is.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock of the card at `path`.
    ///
    /// # Errors
    /// It cannot be opened, or somebody holds the lock for too long.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        Self::take_within(path, PATIENCE)
    }

    fn take_within(path: &Path, patience: Duration) -> Result<Self> {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {shown}"));
                }
                Err(TryLockError::WouldBlock) if start.elapsed() < patience => thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => bail!(
                    "{shown} is locked by another program for {} s now (`fuser {shown}` tells which); \
                     nothing was written, try again",
                    patience.as_secs()
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_have_the_lock_in_time_is_told_whose_it_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let held = Lock::take(file.path()).unwrap();
        let error = Lock::take_within(file.path(), Duration::from_millis(30)).err().unwrap();
        assert!(error.to_string().contains("is locked by another program"), "{error}");
        drop(held);
        assert!(Lock::take(file.path()).is_ok());
    }
}
