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

    /// Leaves the record in `room`, where the second stage looks for it. Without it the second stage
    /// finds out by itself what it can. Its random bytes are then nowhere else.
    pub fn leave(&mut self, room: Option<&mut [u8]>) {
        let Some(room) = room else { return };
        // What a boot before this one left is no longer true.
        room.fill(0);
        if let Err(error) = self.record.encode(room) {
            room.fill(0);
            self.fail(&error);
        }
        // Wipes it.
        self.record.entropy = None;
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;
    use crate::{entropy::Secret, error::Code};

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
    fn the_second_stage_finds_the_record_or_nothing() {
        let mut report = Report::new(String::new());
        report.note(&Problem);
        let mut bytes = [7; 64];
        bytes[1] = 8;
        report.record.entropy = Secret::take(&mut bytes);
        let record = report.record.clone();
        let mut room = [0x5a; 2048];
        report.leave(Some(&mut room));
        assert!(record.entropy.is_some() && report.record.entropy.is_none());
        assert_eq!(HandOff::decode(&room), Ok(Some(record)));

        let mut small = [0x5a; 16];
        report.leave(Some(&mut small));
        assert_eq!(small, [0; 16], "half a record");
        assert!(report.out.contains("[E1007]"));
        report.leave(None);
    }

    #[test]
    fn what_ends_the_boot_is_told_only() {
        let mut report = Report::new(String::new());
        report.fail(&Problem);
        assert!(report.out.contains("[E1003]"));
        assert_eq!(report.record, HandOff::default());
    }
}
