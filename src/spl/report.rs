//! What the first stage tells a person, and what it keeps of that for the second stage.

use core::fmt::{self, Write};

use crate::{error::Coded, handoff::HandOff};

/// A line to a person, and the record for the second stage.
#[derive(Debug)]
pub struct Report<W> {
    out: W,
    /// What the second stage is told.
    pub record: HandOff,
}

impl<W: Write> Report<W> {
    /// Writes to `out`; nothing is known yet.
    pub fn new(out: W) -> Self {
        Self { out, record: HandOff::default() }
    }

    /// Tells a person.
    pub fn say(&mut self, text: fmt::Arguments<'_>) {
        // A line that cannot be written has nowhere else to go.
        let _ = writeln!(self.out, "firn: {text}");
    }

    /// Tells a person what went wrong and ends nothing; the second stage is told as well.
    pub fn note(&mut self, problem: &impl Coded) {
        self.fail(problem);
        self.record.note(problem.code(), format_args!("{problem}"));
    }

    /// Tells a person what ends the boot.
    pub fn fail(&mut self, error: &impl Coded) {
        self.say(format_args!("[{}] {error}", error.code()));
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;
    use crate::error::Code;

    struct Problem;

    impl fmt::Display for Problem {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("PMIC at 0x25: no answer")
        }
    }

    impl Coded for Problem {
        fn code(&self) -> Code {
            Code::PmicSilent
        }
    }

    #[test]
    fn a_problem_is_told_by_its_code_and_kept() {
        let mut report = Report::new(String::new());
        report.say(format_args!("Firn 1.2.3"));
        report.note(&Problem);
        assert_eq!(report.out, "firn: Firn 1.2.3\nfirn: [E1003] PMIC at 0x25: no answer\n");
        let note = report.record.notes[0].unwrap();
        assert_eq!(note.code, 1003);
        assert!(note.text.starts_with(b"PMIC at 0x25: no answer\0"));
    }

    #[test]
    fn what_ends_the_boot_is_told_only() {
        let mut report = Report::new(String::new());
        report.fail(&Problem);
        assert!(report.out.contains("[E1003]"));
        assert_eq!(report.record, HandOff::default());
    }
}
