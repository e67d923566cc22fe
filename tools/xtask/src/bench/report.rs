//! Figures as people read them: on a terminal, and in docs/performance.md.

use std::fmt::Write as _;

use super::figures::Table;

/// The marks in the document between which the tables stand.
const BEGIN: &str = "<!-- cargo xtask bench --accept writes from here -->\n";
const END: &str = "<!-- to here -->\n";

/// Writes a number's digits; its name, and how it is shown.
type Column = (&'static str, &'static str, fn(u64) -> String);

/// How a boot is shown: column, figure, form.
const BOOTS: [Column; 8] = [
    ("M instructions to the menu", "instructions to the menu", millions),
    ("choice to kernel", "instructions after the choice", millions),
    ("entry to kernel", "instructions to the kernel", millions),
    ("bytes read", "bytes read", grouped),
    ("read / needed", "bytes read for 10,000 needed", ratio),
    ("read commands", "read commands", grouped),
    ("all commands", "commands", grouped),
    ("UART characters", "characters", grouped),
];

/// How its time on the board is shown.
const TIMES: [Column; 9] = [
    ("SD: to the menu", "SD, us to the menu", milliseconds),
    ("choice to kernel", "SD, us after the choice", milliseconds),
    ("entry to kernel", "SD, us to the kernel", milliseconds),
    ("of it, waiting for the card", "SD, us of waiting for the card", milliseconds),
    ("for the line", "SD, us of waiting for the line", milliseconds),
    ("card idle", "SD, card idle in 10,000ths of the load", percent),
    ("eMMC: to the menu", "eMMC, us to the menu", milliseconds),
    ("choice to kernel", "eMMC, us after the choice", milliseconds),
    ("entry to kernel", "eMMC, us to the kernel", milliseconds),
];

/// How a form of a kernel is shown.
const KERNELS: [Column; 6] = [
    ("M instructions", "instructions to the kernel", millions),
    ("bytes read", "bytes read", grouped),
    ("commands", "commands", grouped),
    ("SD SDR104", "SD, us to the kernel", milliseconds),
    ("card idle", "SD, card idle in 10,000ths of the load", percent),
    ("eMMC HS400", "eMMC, us to the kernel", milliseconds),
];

/// Groups of cases: those whose names begin with one of these.
const SOURCES: [&str; 3] = ["FAT", "ext4", "profiles"];
const FORMS: [&str; 2] = ["kernel ", "FIT"];

/// All figures, a case after the other.
pub(super) fn plain(table: &Table) -> String {
    let mut text = String::new();
    for (case, figures) in table.iter() {
        // Infallible on a string.
        let _ = writeln!(text, "{case}");
        for (name, figure) in figures {
            let _ = writeln!(text, "{:>14}  {name}", grouped(*figure));
        }
    }
    text
}

/// `document` with `block` between its marks; `None` if they are not there.
pub(super) fn put_into(document: &str, block: &str) -> Option<String> {
    let begin = document.find(BEGIN)? + BEGIN.len();
    let end = begin + document.get(begin..)?.find(END)?;
    Some(format!("{}{block}{}", &document[..begin], &document[end..]))
}

/// The tables. Where a figure has changed since `before`, both are there.
pub(super) fn markdown(now: &Table, before: &Table) -> String {
    let section = |title: &str, rows: &[&str], columns: &[Column]| {
        format!("\n### {title}\n\n{}", table(now, before, rows, columns))
    };
    let mut text = section("Counted", &SOURCES, &BOOTS);
    text += &section("On the board, by replay", &SOURCES, &TIMES);
    text += &section("Forms of a kernel, from ext4 at once", &FORMS, &KERNELS);
    text += "\n### Sizes and DRAM\n\n| | |\n|---|---|\n";
    for (case, name, unit) in [
        ("sizes", "firn.bin", "bytes"),
        ("sizes", "firn-spl.bin", "bytes"),
        ("DRAM bring-up", "stores", "register stores of DRAM bring-up"),
        ("DRAM bring-up", "loads", "register loads of DRAM bring-up"),
    ] {
        let cell = change(now.figure(case, name), before.figure(case, name), grouped);
        let _ = writeln!(text, "| `{name}` | {cell} {unit} |");
    }
    text += "\n![What a boot costs](performance.svg)\n\n";
    text
}

fn table(now: &Table, before: &Table, groups: &[&str], columns: &[Column]) -> String {
    let mut text = String::from("| |");
    for (title, _, _) in columns {
        let _ = write!(text, " {title} |");
    }
    text += "\n|---|";
    text += &"---|".repeat(columns.len());
    text.push('\n');
    let of_group = |group: &&str| {
        let group = (*group).to_owned();
        now.iter().filter(move |(case, _)| case.starts_with(&group)).map(|(case, _)| case)
    };
    for case in groups.iter().flat_map(of_group) {
        let _ = write!(text, "| {} |", case.trim_start_matches("kernel "));
        for (_, figure, form) in columns {
            let cell = change(now.figure(case, figure), before.figure(case, figure), *form);
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text
}

/// "26.5 → 13.1", or the one figure that there is.
fn change(now: Option<u64>, before: Option<u64>, form: fn(u64) -> String) -> String {
    let (now, before) = (now.map(form), before.map(form));
    match (before, now) {
        (Some(before), Some(now)) if before != now => format!("{before} → **{now}**"),
        (_, now) => now.unwrap_or_default(),
    }
}

/// 26,508,125 as 26.5.
fn millions(figure: u64) -> String {
    let tenths = (figure + 50_000) / 100_000;
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

/// Microseconds as milliseconds.
fn milliseconds(figure: u64) -> String {
    let tenths = (figure + 50) / 100;
    format!("{}.{} ms", grouped(tenths / 10), tenths % 10)
}

/// 10,078 as 1.0078.
fn ratio(ten_thousandths: u64) -> String {
    format!("{}.{:04}", ten_thousandths / 10_000, ten_thousandths % 10_000)
}

fn percent(ten_thousandths: u64) -> String {
    let tenths = (ten_thousandths + 5) / 10;
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// With commas between thousands.
pub(super) fn grouped(figure: u64) -> String {
    let digits = figure.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::Figures;

    #[test]
    fn figures_are_rounded_as_people_read_them() {
        assert_eq!(millions(26_508_125), "26.5");
        assert_eq!(millions(1_067_849_999), "1,067.8");
        assert_eq!(milliseconds(658_049), "658.0 ms");
        assert_eq!(ratio(10_078), "1.0078");
        assert_eq!((percent(333), percent(4)), ("3.3 %".into(), "0.0 %".into()));
        assert_eq!(
            (grouped(0), grouped(999), grouped(64_388_096)),
            ("0".into(), "999".into(), "64,388,096".into())
        );
    }

    #[test]
    fn a_figure_that_has_changed_stands_beside_the_one_before() {
        assert_eq!(change(Some(2), Some(1), grouped), "1 → **2**");
        assert_eq!(change(Some(2), Some(2), grouped), "2");
        assert_eq!(change(Some(2), None, grouped), "2");
        assert_eq!(change(None, Some(2), grouped), "");
    }

    #[test]
    fn the_tables_replace_what_stands_between_the_marks_and_nothing_else() {
        let document = format!("before\n{BEGIN}old\n{END}after\n");
        let fresh = put_into(&document, "new\n").unwrap();
        assert_eq!(fresh, format!("before\n{BEGIN}new\n{END}after\n"));
        assert_eq!(put_into("no marks", ""), None);
    }

    #[test]
    fn a_case_is_a_row() {
        let mut now = Table::default();
        let figures = [("instructions to the kernel".to_owned(), 13_900_000)];
        now.insert("FAT, 64 MB, at once", Figures::from(figures));
        let text = markdown(&now, &Table::default());
        assert!(
            text.contains(
                "| FAT, 64 MB, at once | | | 13.9 |".replace("| | |", "|  |  |").as_str()
            ),
            "{text}"
        );
    }
}
