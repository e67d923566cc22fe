//! Where it is written down what boots by default: the state record, if there is one, and the profile.

use std::path::Path;

use anyhow::Result;

use super::{Installation, config::Config, device::disk_of, running::Running};
use crate::state::{Keepers, Kept, Named};

const PROFILES: &str = "/nix/var/nix/profiles";

/// What remembers the default.
pub(crate) trait Book {
    /// What must not go.
    fn named(&self) -> &Named;

    /// Makes `toplevel` the default; says where, or why it is nowhere.
    fn set_default(&self, toplevel: &str) -> Result<String>;
}

/// There is none: an image is made.
#[derive(Default)]
pub(super) struct NoBook(Named);

impl Book for NoBook {
    fn named(&self) -> &Named {
        &self.0
    }

    fn set_default(&self, _: &str) -> Result<String> {
        Ok("no state record: the loader boots what the profile names".to_owned())
    }
}

/// The state record of the card that this system boots from.
pub(super) struct StateRecord {
    keepers: Keepers,
    named: Named,
}

/// That of the system at `root`.
///
/// # Errors
/// There is one, and it cannot be read.
pub(super) fn of_system(root: &Path, config: &Config, running: &Running) -> Result<StateRecord> {
    let disk = disk_of(root, config.place());
    let keepers = Keepers::find(root, !running.is_chroot, disk.as_deref())?;
    let named = keepers.named()?;
    Ok(StateRecord { keepers, named })
}

impl Book for StateRecord {
    fn named(&self) -> &Named {
        &self.named
    }

    fn set_default(&self, toplevel: &str) -> Result<String> {
        Ok(match self.keepers.set_default(toplevel)? {
            Kept::Written(card) => {
                format!("{} boots by default (state record of {})", toplevel, card.display())
            }
            Kept::Already(card) => {
                format!(
                    "{} boots by default already (state record of {})",
                    toplevel,
                    card.display()
                )
            }
            Kept::Nowhere(why) => {
                format!(
                    "no state record, the loader boots what profile or extlinux.conf name: {why}"
                )
            }
        })
    }
}

/// Makes the profile `system` with one generation, if there is none.
pub(super) fn make_profile(installation: &Installation<'_>) -> Result<()> {
    const LINK: &str = "system-1-link";
    let writer = &installation.writer;
    writer.make_directories(PROFILES, 0o755)?;
    let names = writer.names(PROFILES)?;
    if !names.iter().any(|name| name == "system") {
        if !names.iter().any(|name| name == LINK) {
            writer.link(&format!("{PROFILES}/{LINK}"), &installation.toplevel)?;
        }
        writer.link(&format!("{PROFILES}/system"), LINK)?;
    }
    Ok(())
}
