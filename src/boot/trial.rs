//! What goes with a boot that has to prove itself: nobody serves a kernel that hangs.
//!
//! The loader starts the watchdog just before the jump. Linux's driver takes a running one over and
//! serves it, on behalf of a userspace that may never come, unless `watchdog.open_timeout` limits
//! that (Linux, Documentation/watchdog/watchdog-parameters.rst and drivers/watchdog/watchdog_dev.c).

#![forbid(unsafe_code)]

use alloc::{borrow::ToOwned, format, string::String};
use core::time::Duration;

/// How long a kernel has until its driver must have taken over: the longest that the watchdog can be
/// set to, because the driver may be a module that lies in the root file system.
pub(super) const WATCHDOG: Duration = Duration::from_secs(128);

/// Seconds from the driver's start until userspace must have opened the watchdog. systemd does so in
/// its first moments, but a check of a large file system can come before it.
const OPEN_TIMEOUT: u32 = 300;

const WORD: &str = "watchdog.open_timeout=";

/// `command_line` with a limit on how long the kernel serves the watchdog for a userspace that does
/// not; what the command line says about that itself stays.
pub(super) fn command_line(command_line: &str) -> String {
    // Behind "--" everything is init's.
    let kernels = command_line.split_ascii_whitespace().take_while(|&word| word != "--");
    if kernels.clone().any(|word| word.starts_with(WORD)) {
        return command_line.to_owned();
    }
    format!("{WORD}{OPEN_TIMEOUT} {command_line}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_userspace_that_never_opens_the_watchdog_is_not_served_for_ever() {
        assert_eq!(command_line("init=/init quiet"), "watchdog.open_timeout=300 init=/init quiet");
        assert_eq!(command_line(""), "watchdog.open_timeout=300");
    }

    #[test]
    fn what_the_generation_says_about_that_itself_counts() {
        for own in ["watchdog.open_timeout=60 quiet", "quiet watchdog.open_timeout=0"] {
            assert_eq!(command_line(own), own);
        }
        let for_init = "quiet -- watchdog.open_timeout=60";
        assert_eq!(command_line(for_init), "watchdog.open_timeout=300 ".to_owned() + for_init);
    }
}
