//! `s` and `o`.

use super::*;

#[test]
fn s_asks_for_another_default_and_the_menu_goes_on() {
    let mut generations = nixos();
    let mut session = Session::new(&generations, &waiting(), &[]);
    session.press(b" ").press(b"js");
    assert_eq!(session.outcome, Outcome::SetDefault(2));
    generations[0].default = false;
    generations[2].default = true;
    session.menu.update(rows(&generations));
    session.menu.say("Generation 41 is the default now.");
    session.step();
    assert!(session.screen().contains("Generation 41 is the default now."));
    session.press(b"\r");
    assert_eq!(session.booted(), (2, None));
}

#[test]
fn it_is_asked_for_once() {
    let generations = nixos();
    let mut session = Session::new(&generations, &waiting(), &[]);
    session.press(b" ").press(b"s");
    assert_eq!(session.outcome, Outcome::SetDefault(0));
    session.step();
    session.wait(1000);
    assert_eq!(session.outcome, Outcome::Stay);
}

#[test]
fn the_key_that_opens_the_menu_sets_no_default() {
    let generations = nixos();
    let mut session = Session::new(&generations, &waiting(), &[]);
    session.press(b"s");
    assert_eq!(session.outcome, Outcome::Stay);
    assert!(session.screen().contains("Press s again"));
}

#[test]
fn s_among_other_bytes_sets_no_default() {
    let generations = nixos();
    let mut session = Session::new(&generations, &waiting(), &[]);
    session.press(b" ").press(b"jsj");
    assert_eq!(session.outcome, Outcome::Stay);
    session.press(b"\xff").press(b"s");
    assert_eq!(session.outcome, Outcome::Stay);
    assert!(session.screen().contains("noise on the line: press it again"));
}

#[test]
fn what_is_incomplete_does_not_become_the_default() {
    let generations = foreign();
    let mut session = Session::new(&generations, &waiting(), &[]);
    session.press(b" ").press(b"3").press(b"s");
    assert_eq!(session.outcome, Outcome::Stay);
    assert!(session.screen().contains("Cannot be booted: [E405] the entry names no kernel"));
}

#[test]
fn o_boots_what_is_selected_as_enter_does() {
    let generations = nixos();
    let mut session = Session::new(&generations, &waiting(), &[]);
    session.press(b" ").press(b"jo");
    assert_eq!(
        session.outcome,
        Outcome::Boot(Choice { index: 2, command_line: None, by_person: true })
    );
}

#[test]
fn a_changed_default_is_what_the_countdown_boots() {
    let mut generations = nixos();
    let mut session = Session::new(&generations, &after(50), &[]);
    session.wait(1000);
    generations[0].default = false;
    generations[2].default = true;
    session.menu.update(rows(&generations));
    session.wait(4000);
    assert_eq!(session.booted(), (2, None));
    assert!(session.text().ends_with("in 5 4\r\nBooting generation 41 in 4 3 2 1\r\n"));
}
