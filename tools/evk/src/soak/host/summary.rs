//! What came of many runs.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::soak::Run;

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What went wrong on purpose, in a few words each.
    pub faults: Vec<String>,
    /// What a user got, or which promise was not kept.
    pub outcome: Result<String, String>,
    /// How long the longest of its boots took, in the board's time.
    pub took: Duration,
}

/// Runs by fault and outcome. A run with several faults counts for each of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    runs: u64,
    cells: BTreeMap<String, BTreeMap<String, u64>>,
    failures: BTreeMap<u64, String>,
    longest: Option<(Duration, u64)>,
}

impl Summary {
    /// Takes a run in.
    pub fn add(&mut self, run: Run, verdict: Verdict) {
        self.runs += 1;
        self.longest = self.longest.max(Some((verdict.took, run.index)));
        let mut faults = verdict.faults;
        faults.sort();
        faults.dedup();
        let outcome = match verdict.outcome {
            Ok(outcome) => outcome,
            Err(promise) => {
                self.failures.insert(run.index, promise);
                "FAILED".into()
            }
        };
        for fault in faults {
            *self.cells.entry(fault).or_default().entry(outcome.clone()).or_default() += 1;
        }
    }

    /// Takes another part of the same soak in.
    pub fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.longest = self.longest.max(other.longest);
        self.failures.extend(other.failures);
        for (fault, outcomes) in other.cells {
            let row = self.cells.entry(fault).or_default();
            for (outcome, count) in outcomes {
                *row.entry(outcome).or_default() += count;
            }
        }
    }

    /// How many runs there were.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Promises that were not kept, by the run's index.
    pub fn failures(&self) -> &BTreeMap<u64, String> {
        &self.failures
    }

    /// In how many runs `fault` ended in `outcome`.
    pub fn count(&self, fault: &str, outcome: &str) -> u64 {
        self.cells.get(fault).and_then(|row| row.get(outcome)).copied().unwrap_or(0)
    }

    /// The longest boot, in the board's time.
    pub fn longest(&self) -> Duration {
        self.longest.map(|(took, _)| took).unwrap_or_default()
    }

    /// For another process.
    pub fn to_json(&self) -> Value {
        json!({
            "runs": self.runs,
            "cells": self.cells,
            "failures": self.failures.iter().collect::<Vec<_>>(),
            "longest": self.longest.map(|(took, index)| (took.as_micros().to_string(), index)),
        })
    }

    /// From another process.
    ///
    /// # Errors
    /// It is not what [`Summary::to_json`] gives.
    pub fn from_json(value: &Value) -> Result<Self> {
        let read = || -> Option<Self> {
            let mut summary = Self { runs: value["runs"].as_u64()?, ..Self::default() };
            for (fault, outcomes) in value["cells"].as_object()? {
                let row = summary.cells.entry(fault.clone()).or_default();
                for (outcome, count) in outcomes.as_object()? {
                    row.insert(outcome.clone(), count.as_u64()?);
                }
            }
            for failure in value["failures"].as_array()? {
                summary.failures.insert(failure[0].as_u64()?, failure[1].as_str()?.into());
            }
            if let Some(longest) = value["longest"].as_array() {
                let took = Duration::from_micros(longest.first()?.as_str()?.parse().ok()?);
                summary.longest = Some((took, longest.get(1)?.as_u64()?));
            }
            Some(summary)
        };
        read().context("not a summary")
    }
}

/// A table of faults and what came of them, then what failed.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut outcomes: Vec<&String> = self.cells.values().flat_map(BTreeMap::keys).collect();
        outcomes.sort();
        outcomes.dedup();
        let width = self.cells.keys().map(|fault| fault.chars().count()).max().unwrap_or(0);
        write!(f, "| {:width$} |", "fault")?;
        outcomes.iter().try_for_each(|outcome| write!(f, " {outcome} |"))?;
        write!(f, "\n|{}|", "-".repeat(width + 2))?;
        outcomes
            .iter()
            .try_for_each(|outcome| write!(f, "{}:|", "-".repeat(outcome.chars().count() + 1)))?;
        for (fault, row) in &self.cells {
            write!(f, "\n| {fault:width$} |")?;
            for outcome in &outcomes {
                let count = row.get(*outcome).copied().unwrap_or(0);
                write!(f, " {count:>width$} |", width = outcome.chars().count())?;
            }
        }
        write!(f, "\n\n{} runs, {} failed", self.runs, self.failures.len())?;
        if let Some((took, index)) = self.longest {
            write!(f, "; the longest boot took {:.1} s (run {index})", took.as_secs_f64())?;
        }
        for (index, promise) in &self.failures {
            write!(f, "\nrun {index}: {promise}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(faults: &[&str], outcome: Result<&str, &str>, seconds: u64) -> Verdict {
        Verdict {
            faults: faults.iter().map(|&fault| fault.into()).collect(),
            outcome: outcome.map(Into::into).map_err(Into::into),
            took: Duration::from_secs(seconds),
        }
    }

    fn sample() -> Summary {
        let mut summary = Summary::default();
        let run = |index| Run { seed: 1, index };
        summary.add(run(0), verdict(&["card pulled", "power cut"], Ok("boots"), 2));
        summary.add(run(1), verdict(&["power cut", "power cut"], Err("no kernel"), 9));
        summary
    }

    #[test]
    fn a_run_counts_once_for_each_of_its_faults() {
        let summary = sample();
        assert_eq!(summary.count("power cut", "boots"), 1);
        assert_eq!(summary.count("power cut", "FAILED"), 1);
        assert_eq!(summary.count("card pulled", "FAILED"), 0);
        assert_eq!(summary.failures()[&1], "no kernel");
    }

    #[test]
    fn parts_of_a_soak_add_up_also_from_other_processes() {
        let mut whole = sample();
        whole.merge(Summary::from_json(&sample().to_json()).unwrap());
        assert_eq!(whole.runs(), 4);
        assert_eq!(whole.count("power cut", "boots"), 2);
        assert_eq!(whole.longest(), Duration::from_secs(9));
    }

    #[test]
    fn the_table_shows_faults_outcomes_and_what_failed() {
        assert_eq!(
            sample().to_string(),
            "| fault       | FAILED | boots |\n\
             |-------------|-------:|------:|\n\
             | card pulled |      0 |     1 |\n\
             | power cut   |      1 |     1 |\n\n\
             2 runs, 1 failed; the longest boot took 9.0 s (run 1)\n\
             run 1: no kernel"
        );
    }
}
