//! Specialisations fold under their generation.

use super::*;

/// 43 with `names` as its specialisations, 42 with rescue, 41.
fn specialised(names: &[&str]) -> Vec<Generation> {
    let found = nixos();
    let newest = Generation {
        number: Some(43),
        id: "/nix/store/43".into(),
        default: true,
        ..found[0].clone()
    };
    let inside = names.iter().map(|name| Generation {
        specialisation: Some((*name).into()),
        id: format!("/nix/store/43-{name}"),
        default: false,
        ..newest.clone()
    });
    let others = found.iter().cloned().map(|other| Generation { default: false, ..other });
    core::iter::once(newest.clone()).chain(inside).chain(others).collect()
}

fn open(generations: &[Generation]) -> Session {
    let mut session = Session::new(generations, &waiting(), &[]);
    session.press(b" ");
    session
}

#[test]
fn a_closed_fold_is_one_row_that_says_how_many_are_in_it() {
    let mut session = open(&specialised(&["no-gpu", "rescue", "xen"]));
    assert_snapshot("fold-closed", &session.screen());
}

#[test]
fn an_open_fold_shows_them() {
    let mut session = open(&specialised(&["no-gpu", "rescue", "xen"]));
    session.press(b"\x1b[C");
    assert_snapshot("fold-open", &session.screen());
}

#[test]
fn arrows_open_and_close_as_plus_and_minus_do() {
    for (open_key, close_key) in
        [(&b"\x1b[C"[..], &b"\x1b[D"[..]), (b"\x1bOC", b"\x1bOD"), (b"+", b"-")]
    {
        let mut session = open(&specialised(&["no-gpu", "xen"]));
        session.press(open_key).press(b"jj");
        assert!(session.screen().contains("> 43 xen"));
        session.press(close_key);
        assert!(session.screen().contains("> 43 [+2]"));
        assert!(!session.screen().contains("43 xen"));
        session.press(b"j");
        assert!(session.screen().contains("> 42 [+1]"));
    }
}

#[test]
fn what_is_booted_is_what_is_selected_whatever_is_folded() {
    for (keys, index) in [(&b"j"[..], 3), (b"jj", 5), (b"j+j", 4), (b"+jj", 2), (b"+jj-j", 3)] {
        let mut session = open(&specialised(&["no-gpu", "xen"]));
        session.press(keys).press(b"\r");
        assert_eq!(session.booted(), (index, None), "{keys:?}");
    }
}

#[test]
fn a_default_specialisation_is_seen_in_a_closed_fold() {
    let mut generations = specialised(&["no-gpu", "xen"]);
    generations[0].default = false;
    generations[2].default = true;
    let mut session = open(&generations);
    assert!(session.screen().contains("> 43 xen"));
    session.press(b"j");
    assert!(session.screen().contains("  43 xen"));
    assert!(!session.screen().contains("no-gpu"));
}

#[test]
fn a_specialisation_that_is_selected_stays_on_the_screen_when_it_is_the_default_no_more() {
    let mut generations = specialised(&["no-gpu", "xen"]);
    generations[0].default = false;
    generations[2].default = true;
    let mut session = open(&generations);
    generations[0].default = true;
    generations[2].default = false;
    session.menu.update(rows(&generations));
    session.step();
    assert!(session.screen().contains("> 43 xen"));
    session.press(b"j");
    assert!(!session.screen().contains("43 xen"));
}

#[test]
fn an_open_fold_stays_open_when_the_list_changes() {
    let generations = specialised(&["no-gpu", "xen"]);
    let mut session = open(&generations);
    session.press(b"+");
    let mut more = generations.clone();
    more.insert(
        0,
        Generation { number: Some(44), id: "/nix/store/44".into(), ..many(1).remove(0) },
    );
    session.menu.update(rows(&more));
    session.step();
    assert!(session.screen().contains("43 no-gpu"));
    assert!(session.screen().contains("43 [-]"));
}

#[test]
fn generations_of_another_profile_do_not_fold_under_the_same_number() {
    let mut generations = specialised(&["no-gpu", "xen"]);
    generations[2].profile = Some("test".into());
    let mut session = open(&generations);
    assert!(session.screen().contains("43 [+1]"));
    assert!(session.screen().contains("test-43 xen"));
}

#[test]
fn specialisations_without_their_generation_are_listed_as_they_are() {
    let mut generations = specialised(&["no-gpu", "xen"]);
    generations.remove(0);
    generations[0].default = true;
    let mut session = open(&generations);
    assert!(session.screen().contains("43 no-gpu"));
    assert!(session.screen().contains("43 xen"));
}

#[test]
fn a_generation_without_specialisations_says_so() {
    let mut session = open(&many(3));
    session.press(b"+");
    assert!(session.screen().contains("There are no specialisations to show."));
}

#[test]
fn digits_select_the_generation_itself() {
    let mut session = open(&specialised(&["no-gpu", "xen"]));
    session.press(b"42").press(b"\r");
    assert_eq!(session.booted(), (3, None));
}

#[test]
fn a_terminal_without_a_screen_is_told_the_names() {
    let generations = specialised(&["no-gpu", "xen"]);
    let mut session = Session::new(&generations, &waiting(), &[]).without_answers();
    session.press(b" ").press(b"+");
    assert!(session.text().contains("> 43 [-]"));
    assert!(session.text().contains("2 specialisations: no-gpu, xen"));
    session.press(b"jj").press(b"\r");
    assert_eq!(session.booted(), (2, None));
}
