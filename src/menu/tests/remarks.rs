//! How generations stand, in the list and in their details.

use super::*;

/// One generation for each remark.
fn standing() -> Vec<Row> {
    let mut rows = rows(&many(9));
    rows[0].standing = Some(Standing::Trying { left: 2, done: 1 });
    rows[1].standing = Some(Standing::Trying { left: 0, done: 3 });
    rows[1].rolled_back = true;
    rows[1].last_booted = true;
    rows[2].standing = Some(Standing::Trying { left: 0, done: 3 });
    rows[3].standing = Some(Standing::Good);
    rows[3].last_booted = true;
    rows[4].generation.unread = true;
    let reason = "the link leads to a store path that is gone: garbage-collected".into();
    rows[5].generation.broken = Some(Broken { code: Code::NotFound, reason });
    rows[6].generation.profile = Some("test".into());
    rows[6].volume = Some("SD card (uSDHC2) partition 2".into());
    rows[6].generation.tries = core::num::NonZeroU8::new(3);
    rows[7].generation.kernel_version = Some("6.12.63-rt12".into());
    rows
}

fn session(rows: Vec<Row>, size: (u16, u16)) -> Session {
    let mut session = Session::of_rows(rows, &waiting(), &[]);
    session.terminal = vt100::Parser::new(size.0, size.1, 0);
    session.press(b" ");
    session
}

#[test]
fn each_generation_says_in_its_row_how_it_stands() {
    assert_snapshot("remarks", &session(standing(), (24, 80)).screen());
}

#[test]
fn a_narrow_terminal_shows_remarks_rather_than_versions() {
    assert_snapshot("remarks-narrow", &session(standing(), (16, 60)).screen());
}

#[test]
fn the_log_says_how_they_stand_too() {
    let session = Session::of_rows(standing(), &after(50), &[]);
    assert!(session.text().contains("default, try 2 of 3\r\n"));
    assert!(
        session.text().contains("  7          2026-11-22 16:07 25.11.20260214 6.12.63  failed")
    );
}

#[test]
fn a_default_that_was_booted_last_says_both() {
    let mut rows = rows(&many(3));
    rows[0].last_booted = true;
    let mut session = session(rows, (24, 80));
    assert!(session.screen().contains("default, last booted\n"));
}

#[test]
fn details_say_more() {
    for (keys, wanted) in [
        (&b"9d"[..], "State         default; on trial: try 2 of 3 is the next"),
        (b"8d", "State         last booted; rolled back; failed: it came up in none of its"),
        (b"6d", "State         last booted; good: it has come up"),
        (b"5d", "State         not read yet"),
        (b"4d", "Broken        [E304] the link leads to a store path that is gone:"),
        (b"3d", "State         new, with 3 tries"),
        (b"3d", "Profile       test"),
        (b"3d", "Volume        SD card (uSDHC2) partition 2"),
        (b"2d", "State         its boots are not counted"),
    ] {
        let mut session = session(standing(), (24, 80));
        session.press(keys);
        assert!(session.screen().contains(wanted), "{wanted}\n{}", session.screen());
    }
}

#[test]
fn the_help_page_explains_every_remark() {
    let mut session = session(standing(), (24, 80));
    session.press(b"?");
    let mut text = session.screen();
    session.press(b"\x1b[F");
    text += &session.screen();
    for remark in
        ["default", "try 2 of 3", "failed", "rolled back", "last booted", "broken", "not read yet"]
    {
        assert!(text.contains(&format!("\n  {remark:14}")), "{remark}\n{text}");
    }
}
