//! A generation in one row: its columns, and the remarks on how it stands.

#![forbid(unsafe_code)]

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    Row,
    list::Folded,
    text::{ascii, reason, shortened},
};
use crate::{nixos::Generation, state::Standing};

/// Columns of a row, the first two of which stay blank for the mark of the selection.
pub(super) struct Columns {
    numbered: bool,
    width: usize,
    /// Where name, date, NixOS, kernel and remark begin, as far as there is room for them.
    starts: [Option<usize>; 5],
}

impl Columns {
    /// Those of a list of `rows` on a line of `width`. A narrow one does without the kernel, a very
    /// narrow one without the version: remarks matter more.
    pub(super) fn new(rows: &[Row], width: usize) -> Self {
        let starts = match width {
            79.. => [Some(2), Some(18), Some(35), Some(50), Some(59)],
            70.. => [Some(2), Some(18), Some(35), None, Some(50)],
            _ => [Some(2), Some(18), None, None, Some(35)],
        };
        Self { numbered: are_numbered(rows), width, starts }
    }

    /// The same without the room that no name of `rows` needs: blanks take their time on the line.
    pub(super) fn narrowed<'a>(
        mut self,
        rows: impl Iterator<Item = (usize, &'a Row, Option<Folded>)>,
    ) -> Self {
        let names =
            rows.map(|(index, row, folded)| self.name(index, &row.generation, folded).len());
        let longest = names.fold(self.titles()[0].len(), usize::max);
        let unused = self.room(0).saturating_sub(longest);
        for start in self.starts.iter_mut().skip(1).flatten() {
            *start -= unused;
        }
        self
    }

    /// Their names.
    pub(super) fn header(&self) -> String {
        self.line(&self.titles().map(ToOwned::to_owned))
    }

    fn titles(&self) -> [&'static str; 5] {
        match self.numbered {
            true => ["Generation", "Built", "NixOS", "Kernel", ""],
            false => ["Entry", "", "", "", ""],
        }
    }

    /// The row at `index`, of which `folded` is hidden or shown below it.
    pub(super) fn row(&self, index: usize, row: &Row, folded: Option<Folded>) -> String {
        let generation = &row.generation;
        let name = self.name(index, generation, folded);
        let known = |text: &Option<String>| text.as_deref().map(ascii).unwrap_or_default();
        let [date, version, kernel] = match &generation.broken {
            Some(broken) => [format!("broken: {}", reason(broken)), String::new(), String::new()],
            None if generation.unread => ["not read yet".to_owned(), String::new(), String::new()],
            None => [
                known(&generation.date),
                without_hash(&known(&generation.version), self.room(2)),
                kernel(generation),
            ],
        };
        self.line(&[name, date, version, kernel, remarks(row)])
    }

    fn name(&self, index: usize, generation: &Generation, folded: Option<Folded>) -> String {
        if generation.number.is_none() {
            return match self.numbered {
                true => ascii(&generation.title),
                false => format!("{}  {}", index + 1, ascii(&generation.title)),
            };
        }
        let mut name = number(generation);
        if let Some(specialisation) = &generation.specialisation {
            name += &format!(" {}", ascii(specialisation));
        }
        match folded {
            Some(Folded { open: true, .. }) => name + " [-]",
            Some(Folded { count, .. }) => format!("{name} [+{count}]"),
            None => name,
        }
    }

    /// Characters that the column has room for, if what follows it is there.
    fn room(&self, column: usize) -> usize {
        let start = self.starts[column].unwrap_or(self.width);
        let next = self.starts[column + 1..].iter().flatten().next().copied();
        next.unwrap_or(self.width + 1).saturating_sub(start + 1)
    }

    /// Texts in their columns; an empty one leaves its room to the one before it.
    fn line(&self, cells: &[String; 5]) -> String {
        let shown = self.starts.iter().zip(cells);
        let shown: Vec<_> = shown
            .filter_map(|(start, cell)| start.map(|start| (start, cell)))
            .filter(|(_, cell)| !cell.is_empty())
            .collect();
        let mut text = String::new();
        for (place, &(start, cell)) in shown.iter().enumerate() {
            let end = shown.get(place + 1).map_or(self.width.max(start) + 1, |&(next, _)| next);
            text.extend(core::iter::repeat_n(' ', start - text.len()));
            text.push_str(&shortened(cell, end - start - 1));
        }
        text.truncate(self.width);
        text
    }
}

/// Whether generations have numbers, or are called by their place in the list.
pub(super) fn are_numbered(rows: &[Row]) -> bool {
    rows.iter().any(|row| row.generation.number.is_some())
}

/// What counts the tries of a generation: "try 2 of 3".
pub(super) fn next_try(left: u8, done: u8) -> String {
    let (left, done) = (u16::from(left), u16::from(done));
    format!("try {} of {}", done + 1, done + left)
}

/// The number of a generation as its link names it; nothing if it has none.
fn number(generation: &Generation) -> String {
    let number = generation.number.map(|number| number.to_string()).unwrap_or_default();
    match &generation.profile {
        Some(profile) => format!("{}-{number}", ascii(profile)),
        None => number,
    }
}

/// Other systems' titles mostly name the kernel; a bare file name tells nothing.
fn kernel(generation: &Generation) -> String {
    match &generation.kernel_version {
        Some(kernel) if !generation.title.contains(kernel) || generation.number.is_some() => {
            ascii(kernel)
        }
        _ => String::new(),
    }
}

/// What of a version fits: `25.11.20260214.9f8e7d6` without the hash at its end.
fn without_hash(version: &str, width: usize) -> String {
    let ends = version.rmatch_indices('.').map(|(dot, _)| &version[..dot]);
    let fitting = core::iter::once(version).chain(ends).find(|part| part.len() <= width);
    fitting.filter(|part| !part.is_empty()).unwrap_or(version).to_owned()
}

/// How the generation stands.
fn remarks(row: &Row) -> String {
    let standing = match row.standing {
        _ if row.rolled_back => "rolled back".to_owned(),
        Some(standing) if standing.has_failed() => "failed".to_owned(),
        Some(Standing::Trying { left, done }) => next_try(left, done),
        _ if row.last_booted => "last booted".to_owned(),
        _ => String::new(),
    };
    match (row.generation.default, standing.is_empty()) {
        (false, _) => standing,
        (true, true) => "default".to_owned(),
        (true, false) => format!("default, {standing}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(width: usize) -> Columns {
        let mut columns = Columns::new(&[], width);
        columns.numbered = true;
        columns
    }

    fn cells(texts: [&str; 5]) -> [String; 5] {
        texts.map(ToOwned::to_owned)
    }

    #[test]
    fn columns_are_where_they_are() {
        let cells =
            cells(["42", "2026-11-22 16:07", "25.11.20260214", "6.12.63", "default, last booted"]);
        assert_eq!(
            columns(79).line(&cells),
            "  42              2026-11-22 16:07 25.11.20260214 6.12.63  default, last booted"
        );
        assert_eq!(
            columns(70).line(&cells),
            "  42              2026-11-22 16:07 25.11.20260214 default, last booted"
        );
        assert_eq!(
            columns(59).line(&cells),
            "  42              2026-11-22 16:07 default, last booted"
        );
    }

    #[test]
    fn short_names_leave_their_room_on_a_line_and_long_ones_lose_nothing() {
        let found = crate::nixos::extlinux::parse(
            "/extlinux.conf",
            include_bytes!("../../tests/fixtures/nixos/extlinux.no-dt.conf"),
        );
        let mut row = Row::new(found.expect("entries").generations.remove(0));
        row.generation.number = Some(42);
        let mut header = |specialisation: &str| {
            row.generation.specialisation = Some(specialisation.into());
            columns(79).narrowed([(0, &row, None)].into_iter()).header()
        };
        assert_eq!(header(""), "  Generation Built            NixOS          Kernel");
        assert_eq!(
            header("with a name"),
            "  Generation     Built            NixOS          Kernel"
        );
        let widest = columns(79).header();
        assert_eq!(header("with a longer name"), widest);
        assert_eq!(columns(59).narrowed([].into_iter()).header(), "  Generation Built");
    }

    #[test]
    fn an_empty_cell_leaves_its_room_to_the_one_before_it() {
        let long = "a".repeat(100);
        let row = columns(79).line(&cells([&long, "", "", "6.12.63", ""]));
        assert_eq!(row.find(".. 6.12.63"), Some(47));
    }

    #[test]
    fn no_row_is_wider_than_the_screen() {
        let long = "a".repeat(100);
        for width in 1..100 {
            assert!(columns(width).line(&cells([&long; 5])).len() <= width);
        }
    }

    #[test]
    fn a_version_that_does_not_fit_loses_its_hash_not_its_date() {
        assert_eq!(without_hash("25.11.20260214.9f8e7d6", 14), "25.11.20260214");
        assert_eq!(without_hash("25.11.20260214.9f8e7d6", 22), "25.11.20260214.9f8e7d6");
        assert_eq!(without_hash("a-name-without-any-dot", 14), "a-name-without-any-dot");
    }

    #[test]
    fn a_generation_says_in_a_few_words_how_it_stands() {
        let found = crate::nixos::extlinux::parse(
            "/extlinux.conf",
            include_bytes!("../../tests/fixtures/nixos/extlinux.no-dt.conf"),
        );
        let mut generation = found.expect("entries").generations.remove(0);
        generation.default = false;
        let row = Row::new(generation);
        let said = |change: fn(&mut Row)| {
            let mut row = row.clone();
            change(&mut row);
            remarks(&row)
        };
        assert_eq!(said(|_| ()), "");
        assert_eq!(said(|row| row.generation.default = true), "default");
        assert_eq!(said(|row| row.last_booted = true), "last booted");
        assert_eq!(said(|row| row.standing = Some(Standing::Good)), "");
        assert_eq!(
            said(|row| row.standing = Some(Standing::Trying { left: 2, done: 1 })),
            "try 2 of 3"
        );
        let failed = |row: &mut Row| row.standing = Some(Standing::Trying { left: 0, done: 3 });
        assert_eq!(said(failed), "failed");
        assert_eq!(
            said(|row| {
                row.rolled_back = true;
                row.last_booted = true;
                row.generation.default = true;
            }),
            "default, rolled back"
        );
        let most = Standing::Trying { left: u8::MAX, done: u8::MAX };
        let mut row = row.clone();
        row.standing = Some(most);
        assert_eq!(remarks(&row), "try 256 of 510");
    }
}
