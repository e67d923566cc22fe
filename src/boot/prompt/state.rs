//! `state`: what is known from earlier boots, and where that is kept.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use crate::{
    boot::found::Found,
    error::Code,
    state::{Failure, Record, Standing},
};

/// The answer for what is kept on one device, a line each.
pub(super) fn lines(found: &Found) -> Vec<String> {
    let Some(store) = &found.store else { return Vec::new() };
    let mut lines = vec![format!("{}: {}\n", store.name(), store.place())];
    lines.extend(store.problems().iter().map(|problem| format!("  {problem}\n")));
    lines.extend(facts(store.record()).map(|(name, value)| format!("  {name:14}{value}\n")));
    lines
}

fn facts(record: &Record) -> impl Iterator<Item = (&'static str, String)> {
    let default = record.default.iter().map(|identity| ("default", identity.to_string()));
    let once = record.boot_once.iter().map(|identity| ("boot once", identity.to_string()));
    let last = record.last_booted.iter().map(|booted| {
        let trial = if booted.on_trial { ", on trial" } else { "" };
        ("last booted", format!("{}{trial}", booted.identity))
    });
    let failure = record.last_failure.iter().map(|failure| ("last failure", described(failure)));
    let counted = record.counted().iter().map(|counted| match counted.standing {
        Standing::Good => ("good", counted.identity.to_string()),
        Standing::Trying { left: 0, done } => {
            ("failed", format!("{}, tries: {done}", counted.identity))
        }
        Standing::Trying { left, done } => (
            "on trial",
            format!("{}, tries: {done} of {}", counted.identity, left.saturating_add(done)),
        ),
    });
    default.chain(once).chain(last).chain(failure).chain(counted)
}

fn described(failure: &Failure) -> String {
    // As `Code` is printed; a later version's is not known here.
    let known = Code::ALL.iter().find(|code| code.number() == failure.code);
    let code = known.map_or_else(|| format!("E{:03}", failure.code), Code::to_string);
    format!("[{code}] {}: {}", failure.identity, failure.text)
}
