//! Source `profiles`: the loader reads generations straight from the store. Nothing is copied; all that is
//! to be done is to see that the loader will read the new default, to have it on the disk, and to say that
//! it is the default.

use anyhow::{Result, bail};

use super::{Installation, extra, judge::judge, secrets, systems::Systems};

/// Installs: the loader boots `installation.toplevel` by default then.
pub(super) fn install(installation: &Installation<'_>) -> Result<()> {
    let writer = &installation.writer;
    let systems = Systems::read(&mut *writer.tree())?;
    let new = systems.of(&installation.toplevel)?;
    if let Some(broken) = &new.broken {
        bail!("{} cannot be booted: [{}] {broken}", new.id, broken.code);
    }
    judge(&mut *writer.tree(), new, installation.board)?;

    secrets::write(installation, &systems)?;
    extra::write(installation)?;
    installation.sync_store()?;
    installation.set_default()?;

    secrets::clean(installation, &systems)?;
    extra::clean(installation)
}
