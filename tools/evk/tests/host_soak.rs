//! Random faults over the loader's code on this machine: `cargo xtask soak --host` in small.

use std::collections::BTreeSet;

use evk::{
    assets::cache_dir,
    soak::{
        Run,
        host::{LONGEST, Soak, Summary},
    },
};

const SEED: u64 = 7;

fn soak() -> Soak {
    Soak::new(&cache_dir().unwrap().join("cards")).unwrap()
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn whatever_fails_an_intact_generation_boots_or_a_prompt_says_why_not() {
    let soak = soak();
    let mut summary = Summary::default();
    for index in 0..500 {
        let run = Run { seed: SEED, index };
        summary.add(run, soak.run(run, &mut |_| {}));
    }
    assert!(summary.failures().is_empty(), "{summary}");
    assert!(summary.longest() < LONGEST, "{summary}");
    // It says something only if all of them happen, and most boots are rescued.
    for fault in Soak::faults() {
        let rescued = ["newest boots", "other generation boots", "other card boots"];
        let rescued: u64 = rescued.iter().map(|outcome| summary.count(fault, outcome)).sum();
        let ends = rescued
            + summary.count(fault, "cut short, then boots")
            + summary.count(fault, "rescue prompt");
        assert!(ends > 5, "{fault}: {summary}");
    }
    assert!(summary.count("response lost or damaged", "newest boots") > 10, "{summary}");
}

#[test]
#[ignore = "makes card images; cargo xtask test runs it"]
fn a_run_is_the_same_each_time_and_alone() {
    let (first, second) = (soak(), soak());
    let told = |soak: &Soak, index| {
        let mut text = String::new();
        let verdict = soak.run(Run { seed: SEED, index }, &mut |line| text += line);
        // Nanoseconds depend on where in this machine's memory buffers lie.
        text.retain(|character| !character.is_ascii_digit());
        (text, format!("{:?} {:?}", verdict.faults, verdict.outcome))
    };
    let all: Vec<_> = (0..30).map(|index| told(&first, index)).collect();
    for index in (0..30).rev() {
        assert!(told(&second, index) == all[usize::try_from(index).unwrap()], "run {index}");
    }
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), 30);
}
