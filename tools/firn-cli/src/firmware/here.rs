//! Whether this is the board itself: what an installation may do to the machine's firmware depends on it.

use std::{fmt, fs, path::Path};

use anyhow::{Context as _, Result};
use firn::board::BOARD;

use crate::state::{Account, booted_system};

/// The system that the loader of this board has started.
pub(super) struct Here {
    /// What the loader says of it.
    pub(super) account: Account,
}

/// Why a system is not that.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// No loader of ours has started this machine.
    NotFirn,
    /// Its device tree names another board.
    OtherBoard,
    /// The machine runs another system than the one that is seen: an image, or a card that is being
    /// installed.
    OtherSystem,
}

impl Here {
    /// Looks at the system below `root`.
    ///
    /// # Errors
    /// What the loader says cannot be read.
    pub(super) fn look(root: &Path) -> Result<Result<Self, Elsewhere>> {
        let Some(account) = Account::find(root)? else {
            return Ok(Err(Elsewhere::NotFirn));
        };
        if !is_board(root)? {
            return Ok(Err(Elsewhere::OtherBoard));
        }
        // In the chroot of an installation, /proc and /dev are those of the machine that installs.
        let booted = booted_system(root);
        if booted.is_none() || booted != account.generation {
            return Ok(Err(Elsewhere::OtherSystem));
        }
        Ok(Ok(Self { account }))
    }
}

/// Whether the device tree is one for the board.
pub(super) fn is_board(root: &Path) -> Result<bool> {
    let path = root.join("proc/device-tree/compatible");
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes.split(|&byte| byte == 0).any(|name| name == BOARD.compatible.as_bytes()))
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFirn => f.write_str("this machine was not booted by Firn"),
            Self::OtherBoard => write!(f, "this machine is not the board {}", BOARD.name),
            Self::OtherSystem => f.write_str("this is not the system that the machine has booted"),
        }
    }
}
