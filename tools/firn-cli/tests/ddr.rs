//! `firn ddr` as a user types it.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use evk::models::ddr::blobs::Blobs;
use firn::{
    board::MEMORIES,
    ddr::{
        format::File,
        timing::{Kind, PhyWrite, Timing},
    },
};

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
    assert_eq!(run.status.code(), Some(1));
    assert!(stderr(&run).contains("the last one is 3"), "{}", stderr(&run));
    let memory = firn(&["trace", "--memory", "ddr5"]);
    assert_eq!(memory.status.code(), Some(1));
    assert!(stderr(&memory).contains("lpddr4-4000-ecc"), "{}", stderr(&memory));
}

/// A C file of the shape that NXP's DDR tool generates, with the board's values.
fn generated_c(memory: &str) -> String {
    let timing = timing(memory);
    let mut text = "/* Generated code */\n#include <asm/arch/ddr.h>\n\n".to_owned();
    let mut table = |name: &str, rows: Vec<(u32, u32)>| {
        text += &format!("struct dram_cfg_param {name}[] = {{\n\t/** {name} **/\n");
        for (register, value) in rows {
            text += &format!("\t{{ 0x{register:x}, 0x{value:x} }},\n");
        }
        text += "};\n\n";
    };
    table("ddr_ddrc_cfg", timing.controller.iter().map(|row| (row.address, row.value)).collect());
    let phy = |rows: &[PhyWrite]| -> Vec<(u32, u32)> {
        rows.iter().map(|row| (row.register(), row.value().into())).collect()
    };
    table("ddr_ddrphy_cfg", phy(timing.phy));
    let captured = timing.captured.iter().map(|register| (register.number(), 0));
    table("ddr_ddrphy_trained_csr", captured.collect());
    for (index, run) in timing.runs.iter().enumerate() {
        table(&format!("ddr_fsp{index}_cfg"), phy(run.message));
    }
    table("ddr_phy_pie", phy(timing.pie));
    text += "struct dram_fsp_msg ddr_dram_fsp_msg[] = {\n";
    for (index, run) in timing.runs.iter().enumerate() {
        let kind = if run.kind == Kind::OneD { "FW_1D_IMAGE" } else { "FW_2D_IMAGE" };
        text += &format!(
            "\t{{\n\t\t/* P{index} */\n\t\t.drate = {},\n\t\t.fw_type = {kind},\n\t\t.fsp_cfg = \
             ddr_fsp{index}_cfg,\n\t\t.fsp_cfg_num = ARRAY_SIZE(ddr_fsp{index}_cfg),\n\t}},\n",
            run.rate
        );
    }
    text += "};\n\n/* ddr timing config params */\nstruct dram_timing_info dram_timing = {\n";
    for (field, table) in [
        ("ddrc_cfg", "ddr_ddrc_cfg"),
        ("ddrphy_cfg", "ddr_ddrphy_cfg"),
        ("fsp_msg", "ddr_dram_fsp_msg"),
        ("ddrphy_trained_csr", "ddr_ddrphy_trained_csr"),
        ("ddrphy_pie", "ddr_phy_pie"),
    ] {
        text += &format!("\t.{field} = {table},\n\t.{field}_num = ARRAY_SIZE({table}),\n");
    }
    let rates: Vec<String> = timing.rates.iter().map(ToString::to_string).collect();
    text += &format!("\t.fsp_table = {{ {}, }},\n}};\n", rates.join(", "));
    text += "\n#ifdef CONFIG_IMX8M_DRAM_INLINE_ECC\nvoid board_dram_ecc_scrub(void)\n{\n";
    for range in timing.scrub {
        text += &format!("\tddrc_inline_ecc_scrub(0x{:x}, 0x{:x});\n", range.first, range.last);
    }
    if let Some(range) = timing.background_scrub {
        text += &format!("\tddrc_inline_ecc_scrub_end(0x{:x}, 0x{:x});\n", range.first, range.last);
    }
    text + "}\n#endif\n"
}

/// A script with the board's values.
fn generated_script(memory: &str) -> String {
    let timing = timing(memory);
    let mut text =
        "#step 0: reset\nmemory set 0x30391000 32 0x8F00001F\nsysparam set debug_uart 1 \
                    #UART2\nmemory setbit 0x303A00F8 32 5\nmemory set 0x30391000 32 0x8F000006\n"
            .to_owned();
    for row in timing.controller {
        text += &format!("memory set\t0x{:08X}\t32\t0x{:08X}\t#DDRC\n", row.address, row.value);
    }
    text += "memory set 0x30391000 32 0x8F000000\nmemory set 0x3D400304 32 0x00000000\n";
    for row in timing.phy.iter().take(32) {
        let address = 0x3c00_0000 + 4 * row.register();
        text += &format!("memory set 0x{address:08X} 32 0x{:08X}\n", row.value());
    }
    text + &format!(
        "ddrparam set num_pstat {}\nddrparam set frequency0 {}\nddrparam set MR3 0x33\n",
        timing.rates.len(),
        timing.rates[0] / 2
    )
}

fn timing(memory: &str) -> &'static Timing {
    MEMORIES.iter().find(|candidate| candidate.name == memory).expect("a memory").timing
}

fn board_file(memory: &str) -> String {
    format!("{}/../../board/imx8mp-evk/ddr/{memory}.timing", env!("CARGO_MANIFEST_DIR"))
}

/// A file in a directory that lives as long as the test.
struct Work(tempfile::TempDir);

impl Work {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        path
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("text").to_owned()
    }
}

#[test]
fn the_boards_timing_is_what_the_import_of_generated_tables_yields() {
    let work = Work::new();
    for memory in MEMORIES {
        let source = work.file("lpddr4_timing.c", &generated_c(memory.name));
        let board = board_file(memory.name);
        let mut arguments = vec!["import", source.as_str(), "--check", board.as_str()];
        if memory.timing.background_scrub.is_some() {
            arguments.extend(["-D", "CONFIG_IMX8M_DRAM_INLINE_ECC"]);
        }
        let output = firn(&arguments);
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        assert!(stderr(&output).contains("6.0 GiB, ranks: 2"), "{}", stderr(&output));
    }
}

#[test]
fn a_check_names_the_first_row_of_each_section_that_differs() {
    let work = Work::new();
    let source = work.file(
        "t.c",
        &generated_c("lpddr4-4000").replace("0x3d400064, 0x7a017c", "0x3d400064, 0x7a0118"),
    );
    let output = firn(&["import", &source, "--check", &board_file("lpddr4-4000")]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "[controller] row 5 is (3d400064, 7a017c), the import has (3d400064, 7a0118)\n";
    assert!(stdout(&output).ends_with(expected), "{}", stdout(&output));
    assert_eq!(stdout(&output).lines().count(), 1);
}

#[test]
fn an_imported_file_is_traced_like_the_boards_own() {
    let work = Work::new();
    let source = work.file("t.c", &generated_c("lpddr4-2400"));
    let written = work.path("slow.timing");
    let base = board_file("lpddr4-4000");
    assert!(firn(&["import", &source, "-o", &written]).status.success());
    let own = firn(&["trace", "--memory", "lpddr4-2400"]);
    assert_eq!(stdout(&firn(&["trace", "--memory", &written])), stdout(&own));
    // Over a base it is shorter, and means the same.
    fs::copy(&base, work.path("lpddr4-4000.timing")).expect("a copy");
    let over = work.path("over.timing");
    assert!(firn(&["import", &source, "--base", &base, "-o", &over]).status.success());
    let size = |path: &str| fs::metadata(path).expect("a file").len();
    assert!(size(&over) < size(&written) * 3 / 4);
    assert_eq!(stdout(&firn(&["trace", "--memory", &over])), stdout(&own));
}

#[test]
fn a_script_changes_the_controller_and_the_data_lines_of_its_base() {
    let work = Work::new();
    let ecc = generated_script("lpddr4-4000-ecc")
        .replace("0x3C040280 32 0x00000000", "0x3C040280 32 0x00000007");
    let script = work.file("board.ds", &ecc);
    let output = firn(&["import", &script, "--base", &board_file("lpddr4-4000")]);
    assert!(output.status.success(), "{}", stderr(&output));
    let imported = File::parse(stdout(&output)).expect("a timing file");
    let rows: Vec<(u32, u32)> =
        timing("lpddr4-4000-ecc").controller.iter().map(|row| (row.address, row.value)).collect();
    assert_eq!(imported.controller, Some(rows));
    assert_eq!(imported.phy.expect("data lines").first(), Some(&(0x1_00a0, 7)));
    assert_eq!(imported.base.as_deref(), Some("lpddr4-4000"));
    assert_eq!((imported.pie, imported.rates), (None, None));
}

#[test]
fn a_script_for_other_memory_or_without_a_base_is_refused() {
    let work = Work::new();
    let script = work.file("board.ds", &generated_script("lpddr4-2400"));
    let base = board_file("lpddr4-4000");
    for (arguments, words) in [
        (vec!["import", &script, "--base", &base], "frequency0 is 0x4b0 in the script and 0x7d0"),
        (vec!["import", &script], "a script has no tables for the PHY"),
    ] {
        let output = firn(&arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn tables_and_script_of_the_same_board_are_checked_against_each_other() {
    let work = Work::new();
    let source = work.file("t.c", &generated_c("lpddr4-4000"));
    let script = generated_script("lpddr4-4000");
    let same = work.file("same.ds", &script);
    assert!(firn(&["import", &source, &same]).status.success());
    let other = work.file(
        "other.ds",
        &script.replace("0x3D400064\t32\t0x007A017C", "0x3D400064\t32\t0x007A0118"),
    );
    let output = firn(&["import", &source, &other]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("the C tables are of another script: [controller] row 5"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn hostile_files_end_in_an_error() {
    let work = Work::new();
    let good = generated_c("lpddr4-4000");
    let endless = format!("struct a b = {}", "{".repeat(100_000));
    for (name, text) in [
        ("empty.c", ""),
        ("cut.c", &good[..good.len() / 2]),
        ("deep.c", &endless),
        ("table.c", &good.replace("ddr_phy_pie[]", "other[]")),
        ("kind.c", &good.replace("FW_2D_IMAGE", "FW_3D_IMAGE")),
        ("rate.c", &good.replace(".drate = 4000", ".drate = 1866")),
        ("type.c", &good.replace("0xa3080020", "0xa3040010")),
        ("empty.ds", ""),
        ("text.ds", "hello"),
        ("binary.bin", "\u{0}"),
    ] {
        let output = firn(&["import", &work.file(name, text)]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(stderr(&output).starts_with("error: "), "{name}: {}", stderr(&output));
    }
}
