//! The plot of docs/performance.md: bars, as an SVG that is the same each time.

use std::fmt::Write as _;

use super::{figures::Table, report::grouped};

/// What other boot loaders take from reset to the kernel's first instruction, in millions of instructions, on
/// the card of "FAT, 64 MB, at once": measured by hand, as the document says.
const PEERS: [(&str, u64); 3] = [
    ("barebox", 512_500_000),
    ("U-Boot, absent devices out", 295_600_000),
    ("the same, initrd in place", 138_700_000),
];

/// Cases whose time on the board is shown.
const TIMES: [&str; 7] = [
    "FAT, 64 MB, at once",
    "ext4, 64 MB, at once",
    "profiles, 64 MB, at once",
    "FIT, without digests",
    "FIT, SHA-256 verified",
    "kernel gzip",
    "kernel zstd",
];

const WIDTH: u64 = 760;
/// Where bars begin, how long the longest is, and how high a row.
const LEFT: u64 = 240;
const LONGEST: u64 = 420;
const ROW: u64 = 22;

/// What a bar is made of, left to right: the processor works, waits for the card, waits for the line.
const COLOURS: [&str; 3] = ["#3b6ea5", "#c9d7e6", "#d9a441"];

/// A row of the plot.
struct Bar {
    name: String,
    parts: [u64; 3],
    told: String,
}

impl Bar {
    fn length(&self) -> u64 {
        self.parts.iter().sum()
    }
}

/// Draws the figures.
pub(super) fn svg(now: &Table, before: &Table) -> String {
    let mut drawing = Drawing { text: String::new(), y: 10 };
    drawing.chart(
        "Reset to the kernel's first instruction, millions of instructions",
        &counts(now, before),
    );
    drawing.chart("On the board with an SD card (SDR104), by replay", &times(now));
    drawing.legend();
    drawing.finish()
}

fn counts(now: &Table, before: &Table) -> Vec<Bar> {
    let bar = |name: String, instructions: u64| Bar {
        name,
        parts: [instructions, 0, 0],
        told: format!("{}.{}", grouped(instructions / 1_000_000), instructions / 100_000 % 10),
    };
    let mut bars: Vec<Bar> =
        PEERS.map(|(name, instructions)| bar(name.to_owned(), instructions)).into();
    for (table, when) in [(before, ", before"), (now, "")] {
        for place in ["FAT", "ext4"] {
            let case = format!("{place}, 64 MB, at once");
            let figure = table.figure(&case, "instructions to the kernel");
            bars.extend(figure.map(|figure| bar(format!("Firn, {place}{when}"), figure)));
        }
    }
    bars
}

fn times(now: &Table) -> Vec<Bar> {
    let bar = |case: &&str| {
        let figure = |name: &str| now.figure(case, &format!("SD, us {name}"));
        let all = figure("to the kernel")?;
        let (card, line) = (figure("of waiting for the card")?, figure("of waiting for the line")?);
        let told = format!("{} ms", grouped(all / 1000));
        let parts = [all.saturating_sub(card + line), card, line];
        Some(Bar { name: (*case).to_owned(), parts, told })
    };
    TIMES.iter().filter_map(bar).collect()
}

struct Drawing {
    text: String,
    y: u64,
}

impl Drawing {
    fn chart(&mut self, title: &str, bars: &[Bar]) {
        self.y += ROW;
        self.write(8, "start", "b", title);
        let longest = bars.iter().map(Bar::length).max().unwrap_or(0).max(1);
        for bar in bars {
            self.y += ROW;
            self.write(LEFT - 8, "end", "n", &bar.name);
            let mut x = LEFT;
            for (part, colour) in bar.parts.iter().zip(COLOURS) {
                let width = part * LONGEST / longest;
                self.rectangle(x, width, colour);
                x += width;
            }
            self.write(x + 6, "start", "n", &bar.told);
        }
        self.y += ROW / 2;
    }

    fn legend(&mut self) {
        self.y += ROW;
        let names = ["the processor works", "waits for the card", "waits for the serial line"];
        for (place, (name, colour)) in (0..).zip(names.iter().zip(COLOURS)) {
            let x = LEFT + place * 165;
            self.rectangle(x, 12, colour);
            self.write(x + 18, "start", "n", name);
        }
    }

    fn rectangle(&mut self, x: u64, width: u64, colour: &str) {
        if width > 0 {
            let top = self.y - 12;
            // Infallible on a string, here and below.
            let _ = writeln!(
                self.text,
                r#"<rect x="{x}" y="{top}" width="{width}" height="14" fill="{colour}"/>"#
            );
        }
    }

    fn write(&mut self, x: u64, anchor: &str, class: &str, text: &str) {
        let y = self.y;
        let _ = writeln!(
            self.text,
            r#"<text x="{x}" y="{y}" text-anchor="{anchor}" class="{class}">{text}</text>"#
        );
    }

    fn finish(self) -> String {
        let height = self.y + ROW;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\">\n\
             <style>text{{font:13px sans-serif;fill:#222}}.b{{font-weight:bold}}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{}</svg>\n",
            self.text
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::Figures;

    #[test]
    fn a_bar_is_as_long_as_its_figure_is_large() {
        let mut now = Table::default();
        let figures = [("instructions to the kernel".to_owned(), 51_250_000)];
        now.insert("FAT, 64 MB, at once", Figures::from(figures));
        let svg = svg(&now, &Table::default());
        // A tenth of the longest, which is a peer's.
        assert!(svg.contains(r#"width="42" height="14""#), "{svg}");
        assert!(svg.contains(">51.2</text>"), "{svg}");
    }

    #[test]
    fn a_time_is_told_by_what_was_done_in_it() {
        let mut now = Table::default();
        let figure = |name: &str, us| (format!("SD, us {name}"), us);
        now.insert(
            "kernel gzip",
            Figures::from([
                figure("to the kernel", 1000),
                figure("of waiting for the card", 500),
                figure("of waiting for the line", 250),
            ]),
        );
        let bars = times(&now);
        assert_eq!(bars[0].parts, [250, 500, 250]);
    }
}
