//! Lists that change while the menu is open.

use super::*;

/// A menu of thirty, the fourth selected.
fn opened(generations: &[Generation]) -> Session {
    let mut session = Session::new(generations, &waiting(), &[]);
    session.press(b" ").press(b"jjj");
    session
}

/// One more on top of the list.
fn with_a_newer_one(generations: &[Generation]) -> Vec<Generation> {
    let mut more = generations.to_vec();
    let newer = Generation {
        number: Some(31),
        default: false,
        id: "/nix/store/new".into(),
        ..more[0].clone()
    };
    more.insert(0, newer);
    more
}

#[test]
fn the_selection_stays_on_its_generation() {
    let generations = many(30);
    let mut session = opened(&generations);
    session.menu.update(rows(&with_a_newer_one(&generations)));
    session.step();
    assert!(session.screen().contains("> 27 "));
    session.press(b"\r");
    assert_eq!(session.booted(), (4, None));
}

#[test]
fn enter_that_waits_for_silence_boots_what_was_selected() {
    let generations = many(30);
    let mut session = opened(&generations);
    session.menu.feed(b'\r', session.now);
    session.menu.update(rows(&with_a_newer_one(&generations)));
    session.wait(200);
    assert_eq!(session.booted(), (4, None));
}

#[test]
fn the_edited_command_line_is_not_lost() {
    let generations = many(30);
    let mut session = opened(&generations);
    session.press(b"e\x15").press(b"quiet");
    session.menu.update(rows(&with_a_newer_one(&generations)));
    session.step();
    assert!(session.screen().contains("Command line of generation 27"));
    session.press(b"\r");
    assert_eq!(session.booted(), (4, Some("quiet")));
}

#[test]
fn an_edited_command_line_is_not_booted_with_another_generation() {
    let generations = many(30);
    let mut session = opened(&generations);
    session.press(b"e\x15").press(b"quiet");
    session.menu.feed(b'\r', session.now);
    let mut fewer = generations;
    fewer.remove(3);
    session.menu.update(rows(&fewer));
    session.wait(1000);
    assert_eq!(session.outcome, Outcome::Stay);
    assert!(session.screen().contains("What was selected is not in the list any more."));
}

#[test]
fn a_page_of_details_fills_up_when_more_is_known() {
    let mut generations = many(30);
    let read = generations[3].clone();
    generations[3].unread = true;
    let mut session = opened(&generations);
    session.press(b"d");
    assert!(!session.screen().contains("Kernel"));
    generations[3] = read;
    session.menu.update(rows(&generations));
    session.step();
    assert!(session.screen().contains("Kernel        /boot/nixos"));
}

#[test]
fn what_was_selected_unread_is_still_selected_when_it_was_read() {
    let mut generations = many(30);
    let read = generations[3].clone();
    generations[3].unread = true;
    generations[3].id = "/nix/var/nix/profiles/system-27-link".into();
    let mut session = opened(&generations);
    assert_eq!(session.menu.wanted(), Some(3));
    assert!(session.screen().contains("> 27              not read yet"));
    generations[3] = read;
    session.menu.update(rows(&generations));
    assert_eq!(session.menu.wanted(), None);
    session.press(b"\r");
    assert_eq!(session.booted(), (3, None));
}

#[test]
fn what_is_on_the_screen_is_wanted_and_nothing_else() {
    let mut generations = many(30);
    for generation in &mut generations[10..] {
        generation.unread = true;
    }
    let mut session = Session::new(&generations, &waiting(), &[]);
    assert_eq!(session.menu.wanted(), None, "nobody is there");
    session.press(b" ");
    let mut read = Vec::new();
    while let Some(index) = session.menu.wanted() {
        generations[index].unread = false;
        read.push(index);
        session.menu.update(rows(&generations));
        session.step();
    }
    assert_eq!(read, (10..16).collect::<Vec<_>>());
    session.press(b"\x1b[F");
    assert_eq!(session.menu.wanted(), Some(29), "the selected one first");
}

#[test]
fn an_unread_command_line_cannot_be_edited_yet() {
    let mut generations = many(30);
    generations[3].unread = true;
    let mut session = opened(&generations);
    session.press(b"e");
    assert!(session.screen().contains("not read yet"));
    generations[3].unread = false;
    session.menu.update(rows(&generations));
    session.press(b"e");
    assert!(session.screen().contains("Command line of generation 27"));
}

#[test]
fn a_list_that_becomes_empty_or_full_is_shown() {
    let generations = many(3);
    let mut session = opened(&generations);
    session.menu.update(Vec::new());
    session.step();
    assert!(session.screen().contains("Nothing was found to boot."));
    session.press(b"\r");
    assert_eq!(session.outcome, Outcome::Stay);
    session.menu.update(rows(&generations));
    session.press(b"\r");
    assert_eq!(session.booted(), (0, None));
}

/// A list out of a few numbers: small ones, so that generations come and go and come again.
fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0..6_u32, 0..3_usize, 0..2_usize, any::<[bool; 4]>(), 0..4_u8);
    proptest::collection::vec(row, 0..12).prop_map(|rows| {
        let template = nixos().remove(0);
        let mut rows: Vec<_> = rows
            .into_iter()
            .map(|(number, specialisation, profile, [unread, broken, last, back], left)| {
                let specialisation = ["", "rescue", "xen"][specialisation];
                let profile = ["", "test"][profile];
                let text = |text: &str| (!text.is_empty()).then(|| text.to_string());
                let generation = Generation {
                    id: format!("/nix/store/{profile}-{number}-{specialisation}"),
                    number: (number > 0).then_some(number),
                    profile: text(profile),
                    specialisation: text(specialisation),
                    unread,
                    broken: (broken && left == 0)
                        .then(|| Broken { code: Code::EntryDamaged, reason: "x".into() }),
                    default: false,
                    ..template.clone()
                };
                Row {
                    standing: Some(Standing::Trying { left, done: 3 - left }),
                    last_booted: last,
                    rolled_back: back,
                    ..Row::new(generation)
                }
            })
            .collect();
        rows.sort_by_key(|row| {
            (core::cmp::Reverse(row.generation.number), row.generation.id.clone())
        });
        rows.dedup_by_key(|row| row.generation.id.clone());
        if let Some(row) = rows.last_mut() {
            row.generation.default = true;
        }
        rows
    })
}

fn keys() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let key = proptest::sample::select(vec![
        &b"j"[..],
        b"k",
        b"+",
        b"-",
        b"/",
        b"x",
        b"es",
        b"1",
        b"4",
        b"s",
        b"o",
        b"e",
        b"d",
        b"?",
        b"\x1b",
        b"\r",
        b"\x1b[C",
        b"\x1b[D",
        b"\x1b[F",
        b"\x1b[6~",
        b"\x7f",
        b"\x0c",
    ]);
    proptest::collection::vec(key.prop_map(<[u8]>::to_vec), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_the_list_and_whenever_it_changes_what_is_done_is_done_to_what_was_selected(
        steps in proptest::collection::vec((any_rows(), keys()), 1..6), answers in any::<bool>(),
    ) {
        let (mut given, _) = steps[0].clone();
        let mut session = Session::of_rows(given.clone(), &waiting(), &[]);
        session.answers = answers;
        session.press(b" ");
        for (rows, keys) in steps {
            let selected = session.menu.state.list.selected_row().map(|r| r.generation.id.clone());
            let stays = rows.iter().any(|row| Some(&row.generation.id) == selected.as_ref());
            session.menu.update(rows.clone());
            given = rows;
            if stays && !session.menu.state.list.is_filtered() {
                let now = session.menu.state.list.selected_row().map(|r| r.generation.id.clone());
                prop_assert_eq!(now, selected);
            }
            for key in keys {
                session.press(&key);
                let index = match &session.outcome {
                    Outcome::Boot(choice) => Some(choice.index),
                    Outcome::SetDefault(index) => Some(*index),
                    _ => None,
                };
                if let Some(index) = index {
                    let selected = session.menu.state.list.selected_row().expect("selected");
                    prop_assert_eq!(&given[index], selected);
                    prop_assert!(selected.generation.broken.is_none());
                }
                if matches!(session.outcome, Outcome::Boot(_)) {
                    return Ok(());
                }
                session.outcome = Outcome::Stay;
                if let Some(index) = session.menu.wanted() {
                    prop_assert!(given[index].generation.unread);
                }
                if answers {
                    session.screen();
                }
            }
        }
    }
}
