//! One boot: what was chosen is loaded, and written down if it has to prove itself. If that fails,
//! the next one.

#![forbid(unsafe_code)]

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use super::{
    Problem,
    found::Found,
    load::{self, Facts, HandOver, Job, LoadError, load},
    record::Location,
    session::Machine,
};
use crate::{
    devicetree::chosen::Boot,
    error::Coded,
    menu::Choice,
    nixos::Broken,
    state::{Failure, policy::Decision},
};

/// Boots what was chosen. If that fails, a person gets the menu back, with what went wrong; without
/// one, generation after generation is tried. An edited command line is for the chosen one only.
pub(super) fn boot(
    machine: &mut impl Machine,
    facts: &Facts<'_>,
    found: &mut Found,
    choice: &Choice,
) -> Result<HandOver, Vec<String>> {
    let mut failures = Vec::new();
    let mut command_line = choice.command_line.as_deref();
    let mut next = decide(found, facts, choice);
    while let Some(decision) = next {
        let index = decision.index;
        let error = match load_decided(machine, facts, found, &decision, command_line) {
            Ok(hand_over) => match write_down(found, &decision) {
                Ok(()) => return Ok(hand_over),
                Err(problem) => {
                    log::warn!("{problem}");
                    // What cannot be written down is not counted, and may not be what boots then.
                    next = decide(found, facts, &Choice { index, ..choice.clone() });
                    continue;
                }
            },
            Err(error) => error,
        };
        let failure = failure(found, index, &error);
        let broken = Broken { code: error.code(), reason: error.to_string() };
        if found.catalogue.give_up(index, broken) {
            log::warn!("{failure}");
            log::info!("trying its copy on {}", volume_name(found, index));
            next = Some(decision);
            continue;
        }
        next = found.decide(facts);
        if next.is_none() || !choice.by_person {
            log::error!("{failure}");
        }
        failures.push(failure);
        if choice.by_person {
            break;
        }
        if let Some(next) = &next {
            log::info!("trying {} instead", found.catalogue.generations[next.index].title);
        }
        command_line = None;
    }
    Err(failures)
}

/// What is to be done about a choice. What would boot anyway is no less itself for being chosen.
fn decide(found: &mut Found, facts: &Facts<'_>, choice: &Choice) -> Option<Decision> {
    let index = found.catalogue.read(choice.index);
    let chosen = found.catalogue.generations.get(index)?.id.clone();
    let unattended = found.decide(facts);
    let is_chosen = |decision: &Decision| found.catalogue.generations[decision.index].id == chosen;
    if !choice.by_person || unattended.as_ref().is_some_and(is_chosen) {
        return unattended;
    }
    let index = found.catalogue.find(&chosen)?;
    found.decide_for_person(facts, index)
}

fn load_decided(
    machine: &mut impl Machine,
    facts: &Facts<'_>,
    found: &mut Found,
    decision: &Decision,
    command_line: Option<&str>,
) -> Result<HandOver, LoadError> {
    if let Some(attempt) = decision.attempt {
        log::info!("try {} of {}", attempt.number, attempt.of);
    }
    let now = machine.now();
    machine.gather_entropy(&mut facts.entropy.borrow_mut());
    with_job(now, facts, found, decision, command_line, |job| load(job, facts, machine))
}

/// Where the generation at `index` would go if a person chose it, or why it cannot be booted; in
/// lines.
pub(super) fn plan(
    machine: &impl Machine,
    facts: &Facts<'_>,
    found: &mut Found,
    index: usize,
) -> String {
    let Some(decision) = found.decide_for_person(facts, index) else { return String::new() };
    match with_job(machine.now(), facts, found, &decision, None, |job| load::plan(job, facts)) {
        Ok(plan) => {
            let warnings: String = plan.warnings().map(|warning| warning + "\n").collect();
            format!("{warnings}{plan}")
        }
        Err(error) => format!("[{}] {error}", error.code()),
    }
}

/// Does with `decision` what `action` does with a job.
fn with_job<T>(
    now: Duration,
    facts: &Facts<'_>,
    found: &mut Found,
    decision: &Decision,
    command_line: Option<&str>,
    action: impl FnOnce(Job<'_>) -> T,
) -> T {
    let mut times = facts.times.clone();
    times.push(("chosen", now));
    let reset_cause = facts.reset.map(|cause| cause.to_string()).unwrap_or_default();
    let last_failure = last_failure(found, decision);
    let boot = Boot {
        attempt: decision.attempt.map(|attempt| [attempt.number.into(), attempt.of.into()]),
        reset_cause: &reset_cause,
        last_failure: &last_failure,
        times: &times,
        state_device: match &found.store {
            Some(store) if matches!(store.place(), Location::Card { .. }) => {
                found.linux_name.as_deref().unwrap_or_default()
            }
            _ => "",
        },
        ..Boot::default()
    };
    let generation = &found.catalogue.generations[decision.index];
    let volume = found.catalogue.volume_of(decision.index).unwrap_or_default();
    let file_system = &mut *found.catalogue.volumes[volume].file_system;
    action(Job { generation, file_system, command_line, boot })
}

/// The failure that the record will tell of.
fn last_failure(found: &Found, decision: &Decision) -> String {
    let stored = found.store.as_ref().map(|store| store.record());
    let record = decision.write.as_ref().or(stored);
    let text = |failure: &Failure| {
        format!("[E{:03}] {}: {}", failure.code, failure.identity.as_str(), failure.text)
    };
    record.and_then(|record| record.last_failure.as_ref()).map(text).unwrap_or_default()
}

/// Writes down what has to be before the jump.
fn write_down(found: &mut Found, decision: &Decision) -> Result<(), Problem> {
    match (&mut found.store, &decision.write) {
        (Some(store), Some(record)) => store.write(record),
        _ => Ok(()),
    }
}

fn volume_name(found: &Found, index: usize) -> &str {
    let volume =
        found.catalogue.volume_of(index).and_then(|volume| found.catalogue.volumes.get(volume));
    volume.map_or("", |volume| &volume.name)
}

fn failure(found: &Found, index: usize, error: &LoadError) -> String {
    format!("[{}] {}: {error}", error.code(), found.catalogue.generations[index].title)
}
