//! The fault matrix: every cell is either recovered from or ends in a clear error, within its time.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use evk::{
    assets,
    soak::{
        Bench,
        matrix::{self, Cell, Shown},
    },
};

#[test]
fn the_docs_have_the_table() {
    let docs = fs::read_to_string(assets::tree().join("docs/faults.md")).expect("docs/faults.md");
    let table = matrix::table(&matrix::cells());
    assert!(docs.contains(&table), "docs/faults.md is to hold this table:\n\n{table}");
}

#[test]
fn the_tests_that_show_cells_exist() {
    let folders = ["tools/evk/tests", "tests"].map(|folder| assets::tree().join(folder));
    let names: BTreeSet<String> = folders.iter().flat_map(|folder| functions(folder)).collect();
    for Cell { fault, place, shown, .. } in matrix::cells() {
        let Shown::Tests(tests) = shown else { continue };
        for test in tests {
            assert!(names.contains(*test), "{fault}, {place}: there is no test {test}");
        }
    }
}

/// The names of all tests below `folder`.
fn functions(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("tests").map(|entry| entry.expect("entry").path()) {
        if entry.is_dir() {
            names.extend(functions(&entry));
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&entry).expect("text");
            let after_test = text.split("#[test]").skip(1);
            names.extend(
                after_test.filter_map(|rest| {
                    Some(rest.split_once("fn ")?.1.split_once('(')?.0.to_owned())
                }),
            );
        }
    }
    names
}

/// With FIRN_CELLS in the environment, only cells whose name holds it.
#[test]
#[ignore = "emulated boot; cargo xtask test runs it"]
fn every_cell_is_recovered_from_or_ends_in_a_clear_error_in_time() {
    let only = std::env::var("FIRN_CELLS").unwrap_or_default();
    let mut cells = matrix::cells();
    cells.retain(|cell| format!("{}, {}", cell.fault, cell.place).contains(&only));
    let bench = Bench::new().expect("sound boots");
    let wrong = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = cell.run(&bench).unwrap_or_else(|error| vec![format!("{error:#}")]);
            wrong.lock().expect("no test panics").extend(found);
        }
    };
    thread::scope(|scope| {
        for _ in 0..2 * thread::available_parallelism().map_or(1, |cores| cores.get()) {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().expect("no test panics");
    let boots: usize = cells.iter().map(Cell::boots).sum();
    println!("{}\n{boots} boots, {} wrong", matrix::table(&cells), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
