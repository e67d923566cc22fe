//! What the kernel's tree is told of the hardware that is there.

mod addresses;

use alloc::{format, string::String, vec::Vec};

use log::Level;

use self::addresses::{Choice, Sources};
use super::Facts;
use crate::{
    devicetree::{
        DeviceTreeBuf, ethernet,
        fixup::{Action, Error, Tee},
    },
    error::Coded,
    ethernet::Address,
    soc::fixups::{self, Condition, Row},
};

/// What is to be said of the fix-ups when the generation is booted.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<(Level, String)>);

impl Report {
    pub(super) fn notes(self) -> Vec<(Level, String)> {
        self.0
    }

    fn note(&mut self, line: String) {
        self.0.push((Level::Info, line));
    }

    fn warn(&mut self, warning: &impl Coded) {
        self.0.push((Level::Warn, format!("[{}] {warning}", warning.code())));
    }
}

impl Facts<'_> {
    /// Fits `tree` to the part, the board and the stages before. `configured` are the addresses that
    /// the generation asks for, by the interfaces' numbers.
    pub(super) fn fit(
        &self,
        tree: &mut DeviceTreeBuf,
        configured: &[Option<Address>],
    ) -> Result<Report, Error> {
        let mut report = Report::default();
        self.fit_to_part(tree, &mut report)?;
        self.number(tree)?;
        self.address(tree, configured, &mut report)?;
        let tee = self.tee();
        if Tee::tell(tee, tree)? {
            let runs = if tee.is_some() { "runs" } else { "does not run" };
            report.note(format!("device tree: OP-TEE {runs}"));
        }
        Ok(report)
    }

    /// Follows the tables of the SoC and the board.
    fn fit_to_part(&self, tree: &mut DeviceTreeBuf, report: &mut Report) -> Result<(), Error> {
        let mut disabled = Vec::new();
        for row in fixups::IMX8MP.iter().chain(self.board.fixups) {
            if !row.when.holds(&self.part) {
                continue;
            }
            match row.action.apply(tree) {
                Ok(nodes) if nodes.is_empty() => {}
                Ok(_) => match (&row.action, &row.when) {
                    (Action::Disable(_), Condition::Lacks(units)) => {
                        let new = |name: &&str| !disabled.contains(name);
                        let names: Vec<_> =
                            units.iter().map(|unit| unit.name()).filter(new).collect();
                        disabled.extend(names);
                    }
                    _ => report.note(describe(row)),
                },
                Err(error @ Error::Missing(_)) => report.warn(&error),
                Err(error) => return Err(error),
            }
        }
        if !disabled.is_empty() {
            let units = disabled.join(", ");
            report.note(format!("device tree: disabled {units} (fused off)"));
        }
        Ok(())
    }

    /// The number by which systems tell boards apart, in the form that U-Boot gives it.
    fn number(&self, tree: &mut DeviceTreeBuf) -> Result<(), Error> {
        let Some(id) = self.part.unique_id else { return Ok(()) };
        tree.root_mut().set_str("serial-number", &format!("{id:016x}"))?;
        Ok(())
    }

    fn address(
        &self,
        tree: &mut DeviceTreeBuf,
        configured: &[Option<Address>],
        report: &mut Report,
    ) -> Result<(), Error> {
        let sources = Sources { part: &self.part, board: &self.board_addresses, configured };
        let mut said = Vec::new();
        for interface in ethernet::interfaces(tree.view(), &fixups::ETHERNET) {
            let choice = sources.choose(&interface, |unusable| report.warn(&unusable));
            if let Choice::Is(address, _) = choice {
                ethernet::set_address(tree, &interface.path, address)?;
            }
            said.push(format!("ethernet{} {choice}", interface.number));
        }
        if !said.is_empty() {
            report.note(said.join(", "));
        }
        Ok(())
    }

    /// The OP-TEE that runs: the one that BL31 tells of, or the one that is in the tree of the stage
    /// before, which BL31 told.
    fn tee(&self) -> Option<Tee> {
        self.tee
            .map(|region| Tee::new(region, fixups::TEE_SHARED))
            .or_else(|| Tee::of(self.firmware_tree?))
    }
}

/// What `row` has done, for a person.
fn describe(row: &Row) -> String {
    match &row.action {
        Action::Disable(_) => format!("device tree: a unit disabled ({})", row.when),
        Action::Keep(_) => format!("device tree: {}", row.when),
        Action::Trip(trips) => {
            let [passive, critical] =
                [&trips.passive, &trips.critical].map(|trip| trip.allowed / 1000);
            format!("device tree: thermal trips at {passive} and {critical} C ({})", row.when)
        }
    }
}
