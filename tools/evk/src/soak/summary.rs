//! What many runs came to, by kind of fault.

use std::{collections::BTreeMap, fmt};

use super::{Outcome, Verdict};

/// Counts runs.
#[derive(Debug, Default)]
pub struct Summary {
    rows: BTreeMap<&'static str, [usize; 5]>,
    totals: [usize; 5],
}

const COLUMNS: [&str; 5] = ["default", "another", "rescue", "no checksum", "BROKEN"];

impl Summary {
    /// Adds a run; it counts in the row of each of its faults.
    pub fn add(&mut self, outcome: &Outcome) {
        let column = match outcome.verdict {
            Verdict::Default => 0,
            Verdict::Another(_) => 1,
            Verdict::Rescue(_) => 2,
            Verdict::Unnoticed(_) => 3,
            Verdict::Broken(_) => 4,
        };
        self.totals[column] += 1;
        for fault in &outcome.faults {
            self.rows.entry(fault.kind()).or_default()[column] += 1;
        }
    }

    /// How many runs there were.
    pub fn runs(&self) -> usize {
        self.totals.iter().sum()
    }

    /// How many of them broke the promise.
    pub fn broken(&self) -> usize {
        self.totals[4]
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<28}", "fault")?;
        COLUMNS.iter().try_for_each(|name| write!(f, "{name:>12}"))?;
        writeln!(f)?;
        for (name, counts) in &self.rows {
            write!(f, "{name:<28}")?;
            counts.iter().try_for_each(|count| write!(f, "{count:>12}"))?;
            writeln!(f)?;
        }
        write!(f, "{:<28}", "runs")?;
        self.totals.iter().try_for_each(|count| write!(f, "{count:>12}"))
    }
}
