//! What is said of a record: lines for a person, or JSON.

use std::{fmt::Write as _, path::Path};

use firn::{
    boot::{Location, Store},
    state::{
        Counted, Failure, Identity, Standing,
        copies::{Copy, Ground, Source},
    },
};
use serde_json::{Value, json};

use super::account::Account;

/// A record, and where it comes from.
pub(super) struct Report<'a> {
    pub(super) card: &'a Path,
    pub(super) store: &'a Store,
    /// The running system's boot.
    pub(super) account: Option<&'a Account>,
    /// Whether something was written, if that was asked for.
    pub(super) changed: Option<bool>,
}

impl Report<'_> {
    /// All of it.
    pub(super) fn told(&self, json: bool) -> String {
        if json { format!("{:#}\n", self.to_json()) } else { self.to_text() }
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        // A string takes everything.
        match self.changed {
            Some(true) => text.push_str("written\n"),
            Some(false) => text.push_str("nothing to write: the record says so already\n"),
            None => {}
        }
        let _ = writeln!(text, "record        {}: {}", self.card.display(), self.store.place());
        if self.store.place() != Location::Nowhere {
            record_to_text(self.store, &mut text);
        }
        if let Some(account) = self.account.filter(|_| self.changed.is_none()) {
            account_to_text(account, &mut text);
        }
        text
    }

    fn to_json(&self) -> Value {
        let record = self.store.record();
        let place = self.store.place();
        let problem = |problem: &firn::boot::Problem| json!({ "code": problem.code.to_string(), "text": problem.text });
        let mut value = json!({
            "card": self.card.display().to_string(),
            "place": place_to_json(place),
            "writable": self.store.is_writable(),
            "problems": super::problems(self.store).iter().map(problem).collect::<Vec<_>>(),
            "default": record.default.as_ref().map(Identity::as_str),
            "bootOnce": record.boot_once.as_ref().map(Identity::as_str),
            "lastGood": record.last_good().map(Identity::as_str),
            "lastBooted": record.last_booted.as_ref().map(|booted| json!({
                "id": booted.identity.as_str(),
                "onTrial": booted.on_trial,
            })),
            "lastFailure": record.last_failure.as_ref().map(|failure| json!({
                "id": failure.identity.as_str(),
                "code": code(failure),
                "text": failure.text,
            })),
            "counted": record.counted().iter().map(counted_to_json).collect::<Vec<_>>(),
            "boot": self.account.map(account_to_json),
        });
        if let (Some(changed), Some(object)) = (self.changed, value.as_object_mut()) {
            object.insert("changed".into(), changed.into());
        }
        value
    }
}

/// What is left to say where there is no record.
pub(super) fn account_alone(account: &Account, json: bool) -> String {
    if json {
        return format!("{:#}\n", json!({ "card": null, "boot": account_to_json(account) }));
    }
    let mut text = String::new();
    account_to_text(account, &mut text);
    text
}

/// Where no list has what was booted, nothing is noted.
pub(super) fn nothing_to_bless(account: &Account, json: bool) -> String {
    if json {
        return format!("{:#}\n", json!({ "changed": false, "boot": account_to_json(account) }));
    }
    let source = account.source.as_deref().unwrap_or_default();
    format!("nothing to bless: what was booted is no generation, it came from the {source}\n")
}

fn place_to_json(place: Location) -> Value {
    // What is stored elsewhere has no place on the card.
    let Location::Card { place, source } = place else { return Value::Null };
    json!({
        "ground": match place.ground {
            Ground::Own => "partitions",
            Ground::Gap => "gap",
        },
        "blocks": place.first_blocks,
        "source": match source {
            Source::Copy(Copy::A) => "first copy",
            Source::Copy(Copy::B) => "second copy",
            Source::Blank => "blank",
            Source::Lost(_) => "lost",
            Source::Later(_) => "later version",
        },
    })
}

fn counted_to_json(counted: &Counted) -> Value {
    let id = counted.identity.as_str();
    match counted.standing {
        Standing::Good => json!({ "id": id, "standing": "good" }),
        Standing::Trying { left, done } => json!({
            "id": id,
            "standing": if counted.standing.has_failed() { "failed" } else { "trying" },
            "triesLeft": left,
            "triesDone": done,
        }),
    }
}

fn account_to_json(account: &Account) -> Value {
    let time = |(name, microseconds): &(String, u64)| json!({ "name": name, "microseconds": microseconds });
    json!({
        "version": account.version,
        "generation": account.generation,
        "source": account.source,
        "number": account.number,
        "profile": account.profile,
        "specialisation": account.specialisation,
        "try": account.attempt.map(|[number, of]| json!({ "number": number, "of": of })),
        "resetCause": account.reset_cause,
        "lastFailure": account.last_failure,
        "times": account.times.iter().map(time).collect::<Vec<_>>(),
    })
}

fn record_to_text(store: &Store, text: &mut String) {
    let record = store.record();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<13} {value}");
    };
    let or_none = |identity: &Option<Identity>| match identity {
        Some(identity) => identity.as_str().to_owned(),
        None => "none".to_owned(),
    };
    line("default", &or_none(&record.default));
    line("boot once", &or_none(&record.boot_once));
    if let Some(booted) = &record.last_booted {
        let trial = if booted.on_trial { ", on trial" } else { "" };
        line("last booted", &format!("{}{trial}", booted.identity));
    }
    if let Some(failure) = &record.last_failure {
        let Failure { identity, text, .. } = failure;
        line("last failure", &format!("[{}] {identity}: {text}", code(failure)));
    }
    for Counted { identity, standing } in record.counted() {
        match standing {
            Standing::Good => line("good", identity.as_str()),
            Standing::Trying { left: 0, done } => {
                line("failed", &format!("{identity}, {done} tries done"))
            }
            Standing::Trying { left, done } => {
                line("trying", &format!("{identity}, {done} tries done, {left} left"));
            }
        }
    }
}

fn account_to_text(account: &Account, text: &mut String) {
    let mut line = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:<13} {value}");
        }
    };
    line("this boot", Some(account.generation.as_deref().unwrap_or("not a generation")));
    let number = account.number.map(|number| number.to_string());
    line("  number", number.as_deref());
    line("  profile", account.profile.as_deref());
    line("  special.", account.specialisation.as_deref());
    line("  source", account.source.as_deref());
    let attempt = account.attempt.map(|[number, of]| format!("{number} of {of}"));
    line("  try", attempt.as_deref());
    line("  reset cause", account.reset_cause.as_deref());
    line("  failed", account.last_failure.as_deref());
    line("  loader", Some(&account.version));
    for (name, microseconds) in &account.times {
        let (milliseconds, rest) = (microseconds / 1000, microseconds % 1000);
        let _ = writeln!(text, "  {milliseconds:>7}.{rest:03} ms {name}");
    }
}

/// As in docs/error-codes.md; a later version's number too.
fn code(failure: &Failure) -> String {
    format!("E{}", failure.code)
}
