//! Named figures of named cases: whole numbers, of which less is better.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use evk::{
    measure,
    replay::{EMMC, SD},
};

/// The figures of one case by their names.
pub(super) type Figures = BTreeMap<String, u64>;

/// The figures of all cases by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table(BTreeMap<String, Figures>);

/// How measured figures stand to their budgets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) kept: usize,
    pub(super) worse: Vec<String>,
    pub(super) better: Vec<String>,
}

/// What a figure may be worse, in percent.
const TOLERANCE: u128 = 2;

/// Files of fewer bytes are no load that a share of says anything.
const LOAD: u64 = 10_000_000;

/// Whether a figure says what another one is made of, and is not judged: a processor that is sooner at
/// the same wait waits longer, and all gain.
fn is_part(name: &str) -> bool {
    name.contains("us of waiting for ")
}

/// What a boot took. Times are of a replay ([`evk::replay`]).
pub(super) fn of(boot: &measure::Figures) -> Figures {
    let mut figures = Figures::new();
    let mut note = |name: &str, figure: Option<u64>| {
        figures.extend(figure.map(|figure| (name.to_owned(), figure)));
    };
    let is_load = boot.needed >= LOAD;
    note("instructions to the kernel", boot.to_kernel());
    note("instructions to the menu", boot.menu.map(|menu| menu.stands.executed));
    note("instructions after the choice", boot.after_choice());
    note("bytes needed", Some(boot.needed));
    note("bytes read", Some(boot.traffic.bytes()));
    let ratio = (boot.traffic.bytes() * 10_000).checked_div(boot.needed);
    note("bytes read for 10,000 needed", ratio.filter(|_| is_load));
    note("read commands", Some(boot.traffic.read_commands() as u64));
    note("commands", Some(boot.traffic.commands.len() as u64));
    note("characters", Some(boot.characters as u64));
    for (short, card) in [("SD", SD), ("eMMC", EMMC)] {
        let kernel = boot.replay_to_kernel(card);
        let to_menu = boot.replay_to_menu(card).map(|menu| menu.end() / 1000);
        note(&format!("{short}, us to the menu"), to_menu);
        let name = if to_menu.is_some() { "us after the choice" } else { "us to the kernel" };
        note(&format!("{short}, {name}"), Some(kernel.end() / 1000));
        note(&format!("{short}, us of waiting for the card"), Some(kernel.waited_for_card / 1000));
        note(&format!("{short}, us of waiting for the line"), Some(kernel.waited_for_line / 1000));
        let idle = kernel.idle(|argument| boot.is_of_a_file(argument));
        note(&format!("{short}, card idle in 10,000ths of the load"), idle.filter(|_| is_load));
    }
    figures
}

impl Table {
    /// Reads what [`to_toml`](Self::to_toml) wrote.
    pub(super) fn parse(text: &str) -> Result<Self> {
        Ok(Self(toml::from_str(text)?))
    }

    pub(super) fn insert(&mut self, case: &str, figures: Figures) {
        self.0.insert(case.to_owned(), figures);
    }

    pub(super) fn get(&self, case: &str) -> Option<&Figures> {
        self.0.get(case)
    }

    pub(super) fn figure(&self, case: &str, name: &str) -> Option<u64> {
        self.get(case)?.get(name).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Figures)> {
        self.0.iter().map(|(case, figures)| (case.as_str(), figures))
    }

    /// Takes over the cases of `measured`; others stay.
    pub(super) fn accept(&mut self, measured: Self) {
        self.0.extend(measured.0);
    }

    pub(super) fn to_toml(&self) -> String {
        let mut text = "# Written by `cargo xtask bench --accept`.\n".to_owned();
        for (case, figures) in &self.0 {
            // Infallible on a string.
            let _ = writeln!(text, "\n[{case:?}]");
            for (name, figure) in figures {
                let _ = writeln!(text, "{name:?} = {figure}");
            }
        }
        text
    }

    /// As a machine reads it.
    pub(super) fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self.0)
    }

    /// Compares what was measured with this budget. What has no budget, or is no longer measured, counts as
    /// worse.
    pub(super) fn judge(&self, measured: &Self) -> Verdict {
        let mut verdict = Verdict::default();
        for (case, figures) in &measured.0 {
            let Some(budget) = self.get(case) else {
                verdict.worse.push(format!("{case}: there is no budget for it"));
                continue;
            };
            let names =
                figures.keys().chain(budget.keys().filter(|name| !figures.contains_key(*name)));
            for name in names.filter(|name| !is_part(name)) {
                verdict.add(case, name, figures.get(name), budget.get(name));
            }
        }
        verdict
    }
}

impl Verdict {
    fn add(&mut self, case: &str, name: &str, figure: Option<&u64>, budget: Option<&u64>) {
        let (Some(&figure), Some(&budget)) = (figure, budget) else {
            let what = if budget.is_some() { "was not measured" } else { "has no budget" };
            return self.worse.push(format!("{case}: {name:?} {what}"));
        };
        let line = || {
            let change = (figure as f64 / budget as f64 - 1.0) * 100.0;
            format!("{case}: {name}: {figure} instead of {budget} ({change:+.1} %)")
        };
        let (figure_hundredfold, budget) = (u128::from(figure) * 100, u128::from(budget));
        if figure_hundredfold > budget * (100 + TOLERANCE) {
            self.worse.push(line());
        } else {
            self.kept += 1;
            if figure_hundredfold < budget * (100 - TOLERANCE) {
                self.better.push(line());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(figure: u64) -> Table {
        let figures = Figures::from([("bytes read".to_owned(), figure)]);
        Table(BTreeMap::from([("FAT, \"at once\"".to_owned(), figures)]))
    }

    #[test]
    fn a_figure_may_be_two_percent_worse_and_not_more() {
        let budget = table(1000);
        assert_eq!(budget.judge(&table(1020)), Verdict { kept: 1, ..Verdict::default() });
        assert_eq!(
            budget.judge(&table(1021)).worse,
            ["FAT, \"at once\": bytes read: 1021 instead of 1000 (+2.1 %)"]
        );
        let better = budget.judge(&table(500));
        assert_eq!((better.kept, better.worse.len(), better.better.len()), (1, 0, 1));
    }

    #[test]
    fn a_figure_of_nothing_may_not_become_something() {
        assert_eq!(table(0).judge(&table(1)).worse.len(), 1);
        assert_eq!(table(0).judge(&table(0)).kept, 1);
    }

    #[test]
    fn a_longer_wait_is_no_loss_by_itself() {
        let of = |wait, whole| {
            let figures =
                [("SD, us of waiting for the line", wait), ("SD, us to the kernel", whole)];
            let figures = figures.map(|(name, figure)| (name.to_owned(), figure));
            Table(BTreeMap::from([("FAT".to_owned(), Figures::from(figures))]))
        };
        assert_eq!(of(100, 900).judge(&of(200, 900)), Verdict { kept: 1, ..Verdict::default() });
        assert_eq!(of(100, 900).judge(&of(100, 1000)).worse.len(), 1);
    }

    #[test]
    fn what_has_no_budget_and_what_is_no_longer_measured_are_told() {
        assert_eq!(Table::default().judge(&table(1)).worse.len(), 1);
        let mut budget = table(1);
        let case = "FAT, \"at once\"";
        let more = Figures::from([("bytes read".into(), 1), ("commands".into(), 1)]);
        budget.insert(case, more.clone());
        assert_eq!(
            budget.judge(&table(1)).worse,
            ["FAT, \"at once\": \"commands\" was not measured"]
        );
        let mut measured = table(1);
        measured.insert(case, more);
        assert_eq!(table(1).judge(&measured).worse.len(), 1);
    }

    #[test]
    fn a_table_comes_back_from_its_file_and_keeps_what_was_not_measured_again() {
        let mut budget = table(7);
        budget.insert("sizes", Figures::from([("firn.bin".into(), 9)]));
        assert_eq!(Table::parse(&budget.to_toml()).unwrap(), budget);
        budget.accept(table(8));
        assert_eq!(budget.figure("sizes", "firn.bin"), Some(9));
        assert_eq!(budget.figure("FAT, \"at once\"", "bytes read"), Some(8));
    }
}
