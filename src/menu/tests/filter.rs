//! `/`.

use super::*;

/// 60 generations; 17 has a specialisation, 21 another kernel.
fn varied() -> Vec<Generation> {
    let mut generations = many(60);
    generations[39].kernel_version = Some("6.18-rc3".into());
    let plain = generations[43].clone();
    generations.insert(
        44,
        Generation { specialisation: Some("NoGpu".into()), id: "/nix/store/x".into(), ..plain },
    );
    generations
}

fn open(generations: &[Generation]) -> Session {
    let mut session = Session::new(generations, &waiting(), &[]);
    session.press(b" ");
    session
}

#[test]
fn what_is_typed_narrows_the_list_and_enter_boots_what_is_left() {
    let mut session = open(&varied());
    session.press(b"/6.18");
    assert_snapshot("filter", &session.screen());
    session.press(b"\r");
    assert_eq!(session.outcome, Outcome::Stay);
    session.press(b"\r");
    assert_eq!(session.booted(), (39, None));
}

#[test]
fn specialisations_are_found_in_closed_folds_in_any_case() {
    let mut session = open(&varied());
    session.press(b"/nogpu").press(b"\r").press(b"\r");
    assert_eq!(session.booted(), (44, None));
}

#[test]
fn all_words_have_to_match() {
    let mut session = open(&varied());
    session.press(b"/17 nogpu");
    assert!(session.screen().contains("1 of 61 match"));
    session.press(b"x");
    assert!(session.screen().contains("0 of 61 match"));
}

#[test]
fn letters_are_not_keys_while_a_filter_is_typed() {
    let mut session = open(&varied());
    session.press(b"/srepc").wait(5000);
    assert_eq!(session.outcome, Outcome::Stay);
    assert!(session.screen().contains("Filter: srepc"));
}

#[test]
fn nothing_that_matches_is_said_and_nothing_is_booted() {
    let mut session = open(&varied());
    session.press(b"/zzz");
    assert!(session.screen().contains("Nothing matches. Esc shows the whole list."));
    session.press(b"\r");
    for key in [&b"\r"[..], b"o", b"s", b"e", b"d", b"j", b"k", b"+", b"-", b"\x1b[F"] {
        session.press(key);
        assert_eq!(session.outcome, Outcome::Stay, "{key:?}");
    }
    assert!(session.screen().contains("Nothing matches."));
}

#[test]
fn escape_shows_the_whole_list_and_keeps_the_selection() {
    for keys in [&b"\x1b"[..], b"\r\x1b"] {
        let mut session = open(&varied());
        session.press(b"/6.18");
        for &key in keys {
            session.press(&[key]);
        }
        assert!(session.screen().contains("32-47 of 60") || session.screen().contains(" of 60"));
        assert!(session.screen().contains("> 21 "));
        session.press(b"\r");
        assert_eq!(session.booted(), (39, None));
    }
}

#[test]
fn the_selection_comes_back_when_nothing_had_matched() {
    let mut session = open(&varied());
    session.press(b"jj").press(b"/zzz").press(b"\x1b").press(b"\r");
    assert_eq!(session.booted(), (2, None));
}

#[test]
fn arrows_select_while_the_filter_is_typed() {
    let mut session = open(&varied());
    session.press(b"/17").press(DOWN).press(b"\r").press(b"\r");
    assert_eq!(session.booted(), (44, None));
}

#[test]
fn backspace_takes_a_letter_back() {
    let mut session = open(&varied());
    session.press(b"/6.18x").press(b"\x7f");
    assert!(session.screen().contains("1 of 61 match"));
}

#[test]
fn digits_select_among_what_matches() {
    let mut session = open(&varied());
    session.press(b"/6.18").press(b"\r").press(b"4");
    assert!(session.screen().contains("There is no 4."));
    session.wait(2000);
    session.press(b"2").press(b"\r");
    assert_eq!(session.booted(), (39, None));
}

#[test]
fn what_is_not_read_yet_is_read_to_be_filtered() {
    let mut generations = varied();
    for generation in &mut generations[20..] {
        generation.unread = true;
        generation.kernel_version = None;
    }
    let mut session = open(&generations);
    session.press(b"/6.18");
    assert!(session.screen().contains("Nothing matches yet; 41 are still to be read."));
    let read = varied();
    while let Some(index) = session.menu.wanted() {
        generations[index] = read[index].clone();
        session.menu.update(rows(&generations));
    }
    session.step();
    assert!(session.screen().contains("> 21 "));
    session.press(b"\r").press(b"\r");
    assert_eq!(session.booted(), (39, None));
}

#[test]
fn a_filter_stays_when_the_list_changes() {
    let generations = varied();
    let mut session = open(&generations);
    session.press(b"/6.18");
    session.menu.update(rows(&generations[1..]));
    session.press(b"-");
    assert!(session.screen().contains("Filter: 6.18-"));
    session.press(b"\r").press(b"\r");
    assert_eq!(session.booted(), (38, None));
}

#[test]
fn a_line_that_babbles_leaves_no_filter_behind() {
    let mut session = open(&varied());
    session.press(b"/zzz").press(&[0xff; 40]);
    assert!(session.screen().contains("60 "));
}

#[test]
fn a_letter_of_a_filter_that_changes_no_row_costs_a_few_bytes() {
    let mut session = open(&varied());
    session.press(b"/6.1");
    let cost = session.cost(b"8");
    assert!(cost < 16 * 12, "the rows are erased: {cost} bytes");
    let cost = session.cost(b"-");
    assert!(cost <= 25, "{cost} bytes");
}

#[test]
fn a_terminal_without_a_screen_gets_the_matches_as_a_list() {
    let mut session = Session::new(&varied(), &waiting(), &[]).without_answers();
    session.press(b" ").press(b"/nogpu").press(b"\r").press(b"\r");
    assert_eq!(session.booted(), (44, None));
    assert_snapshot("filter-lines", &session.text().replace("\r\n", "\n").replace('\x1b', "^["));
}

#[test]
fn a_thousand_rows_are_a_few_keys_away() {
    let mut session = open(&many(1000));
    session.press(&b"\x1b[6~".repeat(3));
    assert!(session.screen().contains("> 952 "));
    session.press(b"\x1b[F");
    assert!(session.screen().contains("985-1000 of 1000"));
    let cost = session.cost(b"\x1b[5~");
    assert!(cost < 1300, "{cost} bytes");
    session.press(b"\x1b[H").press(b"\r");
    assert_eq!(session.booted(), (0, None));
}
