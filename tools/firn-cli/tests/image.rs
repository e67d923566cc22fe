//! `firn image` as a user runs it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// A directory with the files that an image is made of.
struct Bench {
    directory: tempfile::TempDir,
}

/// Names and raw sizes of the training firmware of release 202006.
const TRAINING: [(&str, usize); 4] = [
    ("lpddr4_pmu_train_1d_imem", 32_364),
    ("lpddr4_pmu_train_1d_dmem", 1_660),
    ("lpddr4_pmu_train_2d_imem", 25_456),
    ("lpddr4_pmu_train_2d_dmem", 1_404),
];

impl Bench {
    fn new() -> Self {
        let bench = Self { directory: tempfile::tempdir().unwrap() };
        bench.put("firn-spl.bin", &content(1, 40_000));
        bench.put("bl31.bin", &content(2, 50_000));
        let mut firn = content(3, 60_000);
        firn[56..60].copy_from_slice(b"ARM\x64");
        bench.put("firn.bin", &firn);
        fs::create_dir(bench.path("ddr")).unwrap();
        for (number, (name, size)) in (4..).zip(TRAINING) {
            bench.put(&format!("ddr/{name}_202006.bin"), &content(number, size));
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn run(&self, words: &str) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_firn"))
            .args(words.split_whitespace())
            .current_dir(&self.directory)
            .output()
            .unwrap();
        Run::from(output)
    }

    /// Builds `flash.bin` of the bench's files, with more or other words.
    fn build(&self, more: &str) -> Run {
        self.run(&format!(
            "image build --board imx8mp-evk --spl firn-spl.bin --ddr-firmware ddr --bl31 bl31.bin \
             --loader firn.bin -o flash.bin {more}"
        ))
    }

    fn inspect(&self, name: &str) -> Value {
        let run = self.run(&format!("image inspect {name} --json"));
        serde_json::from_str(&run.out).unwrap()
    }
}

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Run {
    #[track_caller]
    fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    /// With an error that names all of this.
    #[track_caller]
    fn fails_with(self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{}", self.out);
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in {}", self.err);
        }
    }
}

fn content(seed: u8, size: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

fn part<'a>(report: &'a Value, id: &str) -> &'a Value {
    let parts = report["images"][0]["parts"].as_array().unwrap();
    parts.iter().find(|part| part["id"] == id).unwrap_or_else(|| panic!("no {id} in {report}"))
}

fn exists(path: &Path) -> bool {
    path.try_exists().unwrap()
}

#[test]
fn an_image_is_built_the_same_twice_and_is_in_order() {
    let bench = Bench::new();
    let built = bench.build("").succeeds();
    let first = bench.get("flash.bin");
    bench.build("").succeeds();
    assert_eq!(bench.get("flash.bin"), first);
    for line in ["the first stage", "BL31", "the second stage", "are left up to BL31 at 0x970000"] {
        assert!(built.out.contains(line), "{}", built.out);
    }
    assert!(!exists(&bench.path("flash.bin.part")));
    let report = bench.inspect("flash.bin");
    assert_eq!(report["images"][0]["format"], "firn");
    assert_eq!(report["images"][0]["problems"], Value::Array(vec![]));
    let loader = part(&report, "loader");
    assert_eq!(loader["size"], 60_000);
    assert_eq!(loader["load"], 0x4020_0000);
    bench.run("image inspect flash.bin").succeeds();
}

#[test]
fn what_is_wrong_with_the_training_firmware_is_told_with_the_file() {
    let bench = Bench::new();
    let file = "ddr/lpddr4_pmu_train_2d_dmem_202006.bin";
    let good = bench.get(file);
    bench.put(file, &good[..1_000]);
    bench.build("").fails_with(&[file, "E910", "1000 bytes instead of 1404", "truncated"]);
    bench.put(file, &bench.get("ddr/lpddr4_pmu_train_1d_dmem_202006.bin"));
    bench.build("").fails_with(&[file, "E910", "lpddr4_pmu_train_1d_dmem_202006.bin"]);
    fs::remove_file(bench.path(file)).unwrap();
    bench.build("").fails_with(&["ddr", "lpddr4_pmu_train_2d_dmem_202006.bin", "E910"]);
    assert!(!exists(&bench.path("flash.bin")));
    // Names without a release, and padded files, are the same.
    let mut padded = good;
    padded.resize(0x4000, 0);
    bench.put("ddr/lpddr4_pmu_train_2d_dmem.bin", &padded);
    bench.build("").succeeds();
    assert_eq!(part(&bench.inspect("flash.bin"), "ddr-2d-dmem")["size"], 0x4000);
}

#[test]
fn an_unpacked_firmware_imx_is_searched() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("imx/firmware/ddr")).unwrap();
    fs::rename(bench.path("ddr"), bench.path("imx/firmware/ddr/synopsys")).unwrap();
    fs::rename(bench.path("imx"), bench.path("ddr")).unwrap();
    bench.build("").succeeds();
}

#[test]
fn dummies_are_made_marked_and_refused_unless_asked_for() {
    let bench = Bench::new();
    bench.run("image dummy-ddr-firmware dummies").succeeds();
    let file = bench.get("dummies/lpddr4_pmu_train_1d_imem_202006.bin");
    assert!(file.starts_with(b"FIRN DUMMY, NOT TRAINING FIRMWARE: "));
    fs::remove_dir_all(bench.path("ddr")).unwrap();
    fs::rename(bench.path("dummies"), bench.path("ddr")).unwrap();
    bench.build("").fails_with(&["lpddr4_pmu_train_1d_imem_202006.bin", "E911", "dummy"]);
    bench.build("--dummy-ddr-firmware").succeeds();
    let from_files = bench.get("flash.bin");
    bench.put("ddr/lpddr4_pmu_train_2d_imem_202006.bin", &file[..1_000]);
    fs::remove_file(bench.path("ddr/lpddr4_pmu_train_1d_dmem_202006.bin")).unwrap();
    bench.build("--dummy-ddr-firmware").fails_with(&[
        "[E910] neither lpddr4_pmu_train_1d_dmem_202006.bin",
        "lpddr4_pmu_train_2d_imem_202006.bin: [E910] not the 2D training firmware (IMEM): it is a \
         dummy of the 1D training firmware (IMEM)",
    ]);
    let words = "image build --spl firn-spl.bin --dummy-ddr-firmware --bl31 bl31.bin \
                 --loader firn.bin -o flash.bin";
    let built = bench.run(words).succeeds();
    assert_eq!(bench.get("flash.bin"), from_files);
    assert!(built.out.contains("DUMMY") && built.out.contains("E911"), "{}", built.out);
    let report = bench.inspect("flash.bin");
    assert_eq!(part(&report, "ddr-1d-imem")["dummy"], true);
    assert_eq!(report["images"][0]["problems"][0]["code"], "E911");
}

#[test]
fn other_releases_of_the_firmware_are_taken_on_request() {
    let bench = Bench::new();
    bench.put("ddr/lpddr4_pmu_train_1d_imem_202006.bin", &content(9, 32_632));
    bench.build("").fails_with(&["lpddr4_pmu_train_1d_imem_201904.bin"]);
    bench.build("--other-ddr-firmware").succeeds();
}

#[test]
fn unsuitable_files_are_named() {
    let bench = Bench::new();
    bench.put("bl31.bin", b"\x7fELF and more");
    bench.build("").fails_with(&["bl31.bin", "E909", "ELF"]);
    bench.put("bl31.bin", &content(1, 200_000));
    bench.build("").fails_with(&["bl31.bin", "E908", "200000", "131072"]);
    bench.put("bl31.bin", &content(1, 1_000));
    bench.put("firn-spl.bin", &content(1, 100_000));
    bench.build("").fails_with(&["firn-spl.bin", "E908", "98304"]);
    bench.put("firn-spl.bin", b"\0\0 U-Boot SPL 2026.10 \0");
    bench.build("").fails_with(&["firn-spl.bin", "--drop-in"]);
    bench.put("firn-spl.bin", &content(1, 1_000));
    bench.build("--tee no-such-file").fails_with(&["no-such-file"]);
    let words = "image build --board imx8mm-evk --spl firn-spl.bin --loader firn.bin -o x.bin";
    bench.run(words).fails_with(&["imx8mm-evk", "imx8mp-evk"]);
}

#[test]
fn a_file_that_goes_into_the_image_is_not_overwritten_by_it() {
    let bench = Bench::new();
    let loader = bench.get("firn.bin");
    let words = "image build --spl firn-spl.bin --ddr-firmware ddr --bl31 bl31.bin \
                 --loader firn.bin -o ./firn.bin";
    bench.run(words).fails_with(&["firn.bin goes into the image", "-o"]);
    assert_eq!(bench.get("firn.bin"), loader);
}

#[test]
fn the_release_of_the_second_stage_is_that_of_the_image() {
    let bench = Bench::new();
    bench.build("").succeeds();
    assert_eq!(bench.inspect("flash.bin")["images"][0]["version"], Value::Null);
    let table = bench.run("image inspect flash.bin").succeeds().out;
    assert!(table.starts_with("Firn of unknown version for imx8mp-evk, at 0x0"), "{table}");
    let mut field = b"2.3.4-rc.1".to_vec();
    field.resize(firn::release::SIZE.into(), 0);
    let told = [bench.get("firn.bin"), firn::release::MARK.to_vec(), field].concat();
    bench.put("firn.bin", &told);
    let built = bench.build("").succeeds().out;
    assert!(built.starts_with("Firn 2.3.4-rc.1 for imx8mp-evk, at 0x0"), "{built}");
    assert_eq!(bench.inspect("flash.bin")["images"][0]["version"], "2.3.4-rc.1");
}

#[test]
fn what_is_no_file_is_told_as_such() {
    let bench = Bench::new();
    bench.run("image inspect ddr").fails_with(&["ddr is neither a file nor a disk"]);
    bench.run("image inspect /dev/null").fails_with(&["/dev/null is neither a file nor a disk"]);
    bench
        .run(
            "image build --spl firn-spl.bin --ddr-firmware elsewhere --bl31 bl31.bin \
             --loader firn.bin -o flash.bin",
        )
        .fails_with(&["[E910] there is no directory elsewhere"]);
}

#[test]
fn the_image_that_stood_there_survives_a_failure() {
    let bench = Bench::new();
    bench.put("flash.bin", b"the old one");
    bench.build("--tee no-such-file").fails_with(&[]);
    assert_eq!(bench.get("flash.bin"), b"the old one");
}

#[test]
fn each_layout_is_found_where_its_medium_has_it() {
    let bench = Bench::new();
    for (layout, place, offset) in
        [("sd", "start", 0), ("emmc-boot", "start", 0), ("flexspi", "flexspi", 0x1000)]
    {
        bench.build(&format!("--layout {layout}")).succeeds();
        let image = &bench.inspect("flash.bin")["images"][0];
        assert_eq!((&image["place"], &image["offset"]), (&place.into(), &offset.into()));
        assert_eq!(image["problems"], Value::Array(vec![]));
    }
}

/// What begins like an arm64 kernel of 4 MiB.
fn kernel() -> Vec<u8> {
    let mut kernel = content(7, 4 << 20);
    kernel[8..24].fill(0);
    kernel[16..20].copy_from_slice(&(4u32 << 20).to_le_bytes());
    kernel[24..32].copy_from_slice(&0b1010u64.to_le_bytes());
    kernel[56..60].copy_from_slice(b"ARM\x64");
    kernel[..2].fill(0);
    kernel
}

#[test]
fn a_recovery_image_may_be_larger_than_the_room_on_a_card() {
    let bench = Bench::new();
    bench.put("Image", &kernel());
    bench.put("initrd", &content(8, 10_000));
    let words = "--recovery Image --initrd initrd --command-line console=ttymxc1,115200";
    bench
        .build(&format!("{words} --layout sd"))
        .fails_with(&["flash.bin: [E908] the image has", "; --layout usb has room"]);
    // It is for USB unless something else is asked for.
    bench.build(words).succeeds();
    let report = bench.inspect("flash.bin");
    assert_eq!(part(&report, "kernel")["load"], 0x5800_0000);
    assert_eq!(part(&report, "command-line")["size"], 22);
    bench.put("Image", &content(7, 5000));
    bench.build(words).fails_with(&["Image", "E501"]);
}

/// As uuu sends it: byte for byte, with no way back.
#[test]
fn the_parts_of_a_recovery_image_come_in_the_order_in_which_a_stream_needs_them() {
    let bench = Bench::new();
    bench.put("Image", &kernel());
    bench.put("initrd", &content(8, 10_000));
    bench.put("board.dtb", &content(9, 3_000));
    let words = "--recovery Image --initrd initrd --device-tree board.dtb --command-line quiet";
    bench.build(words).succeeds();
    let report = bench.inspect("flash.bin");
    let parts = report["images"][0]["parts"].as_array().unwrap();
    let number = |part: &Value, key: &str| part[key].as_u64().unwrap();
    let behind = |id: &str| {
        let found = parts.iter().position(|part| part["id"] == id).unwrap();
        number(&parts[found], "offset")
    };
    let order = ["boot-rom-part", "container", "bl31", "loader"]
        .into_iter()
        .chain(["kernel", "initrd", "device-tree", "command-line"])
        .map(behind);
    assert!(order.is_sorted_by(|before, after| before < after), "{report:#}");
    // From what the boot ROM takes to the end are whole pieces of a stream.
    let image = bench.get("flash.bin");
    let taken = u32::from_le_bytes(*image[0x24..].first_chunk().unwrap());
    assert!((image.len() - taken as usize).is_multiple_of(1024));
}

#[test]
fn a_listing_that_nobody_reads_to_its_end_is_no_failure() {
    let bench = Bench::new();
    bench.build("").succeeds();
    let firn = env!("CARGO_BIN_EXE_firn");
    let mut child = Command::new(firn)
        .args(["image", "inspect", "flash.bin", "--json"])
        .current_dir(&bench.directory)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let Run { err, .. } = Run::from(child.wait_with_output().unwrap());
    assert_eq!(err, "");
}

#[test]
fn firn_takes_the_place_of_u_boot_in_an_existing_image() {
    let bench = Bench::new();
    bench.put("u-boot-spl.bin", b"first stage U-Boot SPL 2026.10 and so on");
    bench.put("u-boot.bin", &content(9, 90_000));
    let words = "image build --drop-in --spl u-boot-spl.bin --ddr-firmware ddr --bl31 bl31.bin \
                 --loader u-boot.bin -o existing.bin";
    bench.run(words).succeeds();
    let existing = bench.get("existing.bin");
    assert_eq!(existing[0x5_8000..0x5_8004], [0xd0, 0x0d, 0xfe, 0xed]);

    let words = "image build --drop-in --spl existing.bin --loader firn.bin -o flash.bin";
    bench.run(words).succeeds();
    let flash = bench.get("flash.bin");
    assert_eq!(flash[..0x5_8000], existing[..0x5_8000], "the first stage stays");
    let report = bench.inspect("flash.bin");
    assert_eq!(report["images"][0]["format"], "fit");
    assert_eq!(report["images"][0]["problems"], Value::Array(vec![]));
    let (firn, atf) = (part(&report, "fit:firn"), part(&report, "fit:atf"));
    assert_eq!((&firn["size"], &firn["load"]), (&60_000.into(), &0x4020_0000.into()));
    assert_eq!((&firn["entry"], &firn["intact"]), (&Value::Null, &true.into()));
    assert_eq!((&atf["size"], &atf["entry"]), (&50_000.into(), &0x97_0000.into()));
    let at = usize::try_from(firn["offset"].as_u64().unwrap()).unwrap();
    assert_eq!(flash[at..at + 60_000], bench.get("firn.bin"));
}

#[test]
fn what_a_drop_in_cannot_be_made_of_is_told() {
    let bench = Bench::new();
    bench.build("").succeeds();
    let words = "image build --drop-in --spl flash.bin --loader firn.bin -o x.bin";
    bench.run(words).fails_with(&["flash.bin", "Firn's own"]);
    bench.put("u-boot-spl.bin", b"U-Boot SPL 2026.10");
    let words = "image build --drop-in --spl u-boot-spl.bin --ddr-firmware ddr --bl31 bl31.bin \
                 --loader firn.bin -o x.bin";
    bench.run(&format!("{words} --fit-offset 0x10000")).fails_with(&["0x10000"]);
    assert_eq!(bench.run(&format!("{words} --fit-offset 0x60001")).code, Some(2));
    bench.run(&format!("{words} --fit-offset 0x60000")).succeeds();
    let report = bench.inspect("x.bin");
    assert_eq!(part(&report, "fit")["offset"], 0x6_0000);
    bench.put("x.bin", &bench.get("x.bin")[..0x6_6000]);
    let words = "image build --drop-in --spl x.bin --loader firn.bin -o y.bin";
    bench.run(words).fails_with(&["x.bin", "E902"]);
}

#[test]
fn a_damaged_image_and_a_file_that_is_none_give_exit_code_1() {
    let bench = Bench::new();
    bench.build("").succeeds();
    let mut flash = bench.get("flash.bin");
    flash[0x4_1010] ^= 1;
    bench.put("flash.bin", &flash);
    let run = bench.run("image inspect flash.bin");
    assert!(run.out.contains("BL31 (damaged)") && run.out.contains("[E904] BL31"), "{}", run.out);
    run.fails_with(&[]);
    bench.run("image inspect firn.bin").fails_with(&["firn.bin", "E901"]);
    bench.run("image inspect no-such-file").fails_with(&["no-such-file"]);
    assert_eq!(bench.run("image inspect").code, Some(2));
}
