//! `firn ddr` as a user types it.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use evk::models::ddr::blobs::Blobs;

fn firn(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_firn")).arg("ddr").args(arguments).output().expect("firn runs")
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).expect("text")
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).expect("text")
}

/// Puts blobs where firmware-imx has them.
fn write_package(directory: &Path, blobs: &Blobs) {
    let directory = directory.join("firmware/ddr/synopsys");
    fs::create_dir_all(&directory).expect("a directory");
    for (part, bytes) in [
        ("1d_imem", &blobs.one_d_imem),
        ("1d_dmem", &blobs.one_d_dmem),
        ("2d_imem", &blobs.two_d_imem),
        ("2d_dmem", &blobs.two_d_dmem),
    ] {
        let path = directory.join(format!("lpddr4_pmu_train_{part}_202006.bin"));
        fs::write(path, bytes).expect("a blob");
        // What firmware-imx has for older chips.
        fs::write(directory.join(format!("lpddr4_pmu_train_{part}.bin")), [0; 8]).expect("a blob");
        fs::write(directory.join(format!("ddr4_{part}_202006.bin")), [0; 8]).expect("a blob");
    }
}

#[test]
fn trace_prints_one_write_a_line() {
    let output = firn(&["trace"]);
    assert!(output.status.success());
    let lines: Vec<&str> = stdout(&output).lines().collect();
    assert_eq!(lines.len(), 50_405);
    assert_eq!(lines[0], "W 0x30391000 0x8f00001f");
    assert!(lines.contains(&"W16 0x3c140004 0xbb55"));
    assert_eq!(lines.last(), Some(&"W 0x3d400030 0x00000081"));
}

#[test]
fn trace_takes_the_blobs_of_a_firmware_imx_package() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("text");
    write_package(directory.path(), &Blobs::padded());
    assert_eq!(stdout(&firn(&["trace", "--ddr-firmware", path])), stdout(&firn(&["trace"])));
    write_package(directory.path(), &Blobs::raw());
    let halfwords = (32364 + 1660 + 25456 + 1404) / 2;
    let raw = firn(&["trace", "--ddr-firmware", path]);
    assert_eq!(stdout(&raw).lines().filter(|line| line.starts_with("W16")).count(), halfwords);
}

#[test]
fn a_blob_that_is_missing_or_cut_off_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("text");
    let mut blobs = Blobs::raw();
    blobs.two_d_dmem.truncate(1402);
    write_package(directory.path(), &blobs);
    let cut = firn(&["trace", "--ddr-firmware", path]);
    assert_eq!(cut.status.code(), Some(1));
    assert!(stderr(&cut).contains("lpddr4_pmu_train_2d_dmem_202006.bin"), "{}", stderr(&cut));
    assert!(stderr(&cut).contains("1402 bytes"), "{}", stderr(&cut));

    let empty = tempfile::tempdir().expect("a directory");
    let missing = firn(&["trace", "--ddr-firmware", empty.path().to_str().expect("text")]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        stderr(&missing).contains("no lpddr4_pmu_train_1d_imem_202006.bin"),
        "{}",
        stderr(&missing)
    );
}

#[test]
fn a_failed_run_ends_the_trace_with_its_code_and_exit_status_1() {
    for (option, code) in [("--fail", "[E805]"), ("--silent", "[E806]")] {
        let output = firn(&["trace", option, "1"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stdout(&output).lines().count() > 25_000, "what was written until then is printed");
        assert!(stderr(&output).contains(code), "{}", stderr(&output));
        assert!(stderr(&output).contains("run 1 (1D at 400 MT/s)"), "{}", stderr(&output));
    }
}

#[test]
fn a_run_or_memory_that_is_not_there_is_refused() {
    let run = firn(&["trace", "--fail", "4"]);
    assert_eq!(run.status.code(), Some(2));
    assert!(stderr(&run).contains("the last one is 3"), "{}", stderr(&run));
    let memory = firn(&["trace", "--memory", "ddr5"]);
    assert_eq!(memory.status.code(), Some(2));
    assert!(stderr(&memory).contains("lpddr4-4000-ecc"), "{}", stderr(&memory));
}
