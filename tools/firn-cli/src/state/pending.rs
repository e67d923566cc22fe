//! Whether the boot that runs has still to prove itself, for whoever ends those that do not in time.

use std::{path::Path, process::ExitCode};

use anyhow::Result;

use super::{Account, Keeper};

/// Why a boot is not, or still, on trial; as a sentence for the journal.
pub(super) fn answer(root: &Path) -> Result<(ExitCode, String)> {
    let account = Account::read(root)?;
    let Some([attempt, tries]) = account.attempt else {
        return Ok((ExitCode::FAILURE, "this boot is not a try\n".to_owned()));
    };
    // What cannot be looked up nobody has blessed for certain, and to wait for ever is what a try must not do.
    let is_pending = match Keeper::of_running(&account, root).and_then(|keeper| keeper.store()) {
        Ok(store) => store.record().last_booted.as_ref().is_some_and(|booted| booted.on_trial),
        Err(error) => {
            eprintln!("error: {error:#}");
            true
        }
    };
    Ok(if is_pending {
        (
            ExitCode::SUCCESS,
            format!("this boot is try {attempt} of {tries}, and has not been blessed\n"),
        )
    } else {
        (
            ExitCode::FAILURE,
            format!("this boot was try {attempt} of {tries}, and has been blessed\n"),
        )
    })
}
