//! The end of a stage that cannot go on: what is said last, and what starts the board anew.

use core::cell::Cell;
use core::fmt::Write;
use core::time::Duration;

use super::single_core::{Late, SingleCore};
use crate::board::FIRST_STAGE;
use crate::mmio::Hardware;
use crate::soc::wdog::Watchdog;
use crate::spl::platform;

/// How a stage ends.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    /// What a user calls the stage.
    pub(super) name: &'static str,
    /// What starts the board anew, if anything does.
    pub(super) restart: Option<Restart>,
}

/// A watchdog that starts the board anew.
#[derive(Clone, Copy)]
pub(super) struct Restart {
    /// The way to its registers.
    pub(super) bus: Hardware,
    /// The watchdog.
    pub(super) watchdog: Watchdog,
    /// How long a person has to read what went wrong.
    pub(super) after: Duration,
}

/// How a stage ends that has not decided.
const STOP: Ending = Ending { name: "the loader", restart: None };

/// How long a person has to read why the board starts anew.
pub(super) const RESTART_AFTER: Duration = Duration::from_secs(10);

static ENDING: SingleCore<Cell<Late<Ending>>> = SingleCore::new(Cell::new(Late::Absent));

/// Decides how this stage ends; until then it stops for good.
pub(super) fn decide(ending: Ending) {
    ENDING.set(Late::Present(ending));
}

/// From now on, a stage that cannot go on starts the board anew: somebody counts on it to come back.
pub fn restart_on_failure(bus: Hardware, watchdog: Watchdog) {
    let restart = Restart { bus, watchdog, after: RESTART_AFTER };
    decide(Ending { restart: Some(restart), ..ending() });
}

fn ending() -> Ending {
    ENDING.get().get().unwrap_or(STOP)
}

/// What a user calls the running stage.
pub(super) fn stage() -> &'static str {
    ending().name
}

/// Says what comes, and ends the stage.
pub(super) fn end(out: &mut impl Write) -> ! {
    if let Some(restart) = ending().restart {
        let seconds = restart.after.as_secs();
        // Nothing else can be told to nobody else.
        let _ = writeln!(out, "firn: stopped; the board starts anew in {seconds} s");
        platform::reset_after(&restart.bus, &FIRST_STAGE, restart.watchdog, restart.after);
    } else {
        let _ = out.write_str("firn: stopped; reset the board\n");
    }
    super::stop()
}
