//! FIT images as `mkimage` makes them, and as nobody should.

#![allow(clippy::cast_possible_truncation, reason = "what tests make is small")]

mod loading;
mod through;

use std::{fs, path::Path, process::Command};

use firn::{
    boot::HandOver,
    devicetree::DeviceTree,
    error::Coded,
    nixos::{BootFiles, DeviceTreeFile},
};
use loading::{
    COMPRESSED, Files, IMAGE_SIZE, Memory, TREE, entry, kernel, load_entry, log, sample, zboot,
};
use through::through;

// --- making them -------------------------------------------------------------------------------

/// A FIT image source: images and configurations in the language of device trees.
struct Source {
    /// What `/incbin/` finds.
    files: Vec<(&'static str, Vec<u8>)>,
    images: String,
    configurations: String,
    options: &'static [&'static str],
}

impl Source {
    fn new(configurations: &str) -> Self {
        Self {
            files: Vec::new(),
            images: String::new(),
            configurations: configurations.into(),
            options: &[],
        }
    }

    fn image(mut self, name: &'static str, data: &[u8], kind: &str, more: &str) -> Self {
        self.files.push((name, data.into()));
        self.images += &format!(
            "{name} {{ description = \"test\"; data = /incbin/(\"{name}\"); {kind} {more} }};\n"
        );
        self
    }

    fn kernel(self, name: &'static str, data: &[u8], compression: &str) -> Self {
        self.kernel_with(name, data, compression, "hash-1 { algo = \"crc32\"; };")
    }

    fn kernel_with(self, name: &'static str, data: &[u8], packing: &str, more: &str) -> Self {
        let kind = format!(
            "type = \"kernel\"; arch = \"arm64\"; os = \"linux\"; compression = \"{packing}\"; \
             load = <0x40480000>; entry = <0x40480000>;"
        );
        self.image(name, data, &kind, more)
    }

    fn ramdisk(self, name: &'static str, data: &[u8]) -> Self {
        let kind = "type = \"ramdisk\"; arch = \"arm64\"; os = \"linux\"; compression = \"none\";";
        self.image(name, data, kind, "hash-1 { algo = \"sha256\"; };")
    }

    fn tree(self, name: &'static str, data: &[u8]) -> Self {
        let kind = "type = \"flat_dt\"; arch = \"arm64\"; compression = \"none\";";
        self.image(name, data, kind, "hash-1 { algo = \"sha256\"; };")
    }

    fn with(self, options: &'static [&'static str]) -> Self {
        Self { options, ..self }
    }

    /// As `mkimage` builds it.
    fn build(&self) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (name, data) in &self.files {
            fs::write(at(name), data).unwrap();
        }
        let source = format!(
            "/dts-v1/; / {{ description = \"test\"; #address-cells = <1>; images {{ {} }}; \
             configurations {{ {} }}; }};",
            self.images, self.configurations
        );
        fs::write(at("image.its"), source).unwrap();
        run("mkimage", self.options, &["-f", "image.its", "image.itb"], directory.path());
        fs::read(at("image.itb")).unwrap()
    }
}

fn run(tool: &str, options: &[&str], arguments: &[&str], directory: &Path) {
    let output = Command::new(tool)
        .args(options)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}; `cargo xtask setup` installs it"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A device tree for these boards, with `mark` as its model.
fn tree_for(compatible: &str, mark: &str) -> Vec<u8> {
    let source = format!(
        "/dts-v1/; / {{ #address-cells = <2>; #size-cells = <2>; model = \"{mark}\"; \
         compatible = {compatible}; chosen {{ }}; }};"
    );
    through("dtc -q -I dts -O dtb -o - -", source.as_bytes())
}

const EVK: &str = "\"fsl,imx8mp-evk\", \"fsl,imx8mp\"";
const OTHER: &str = "\"other,board\", \"other,soc\"";

// --- loading them ------------------------------------------------------------------------------

struct Loaded {
    memory: Memory,
    hand_over: HandOver,
}

impl Loaded {
    fn kernel(&self) -> &[u8] {
        self.memory.at(self.hand_over.kernel)
    }

    fn initrd(&self) -> Option<&[u8]> {
        self.hand_over.initrd.map(|region| self.memory.at(region))
    }

    /// The model that its device tree is of.
    fn model(&self) -> String {
        let tree = DeviceTree::validate(self.memory.at(self.hand_over.device_tree)).unwrap();
        tree.model().unwrap().into()
    }
}

fn load_with(files: &Files, entry: BootFiles) -> Result<Loaded, String> {
    let mut memory = Memory::new();
    match load_entry(&mut memory, files, entry) {
        Ok(hand_over) => Ok(Loaded { memory, hand_over }),
        Err(error) => Err(format!("[{}] {error}", error.code())),
    }
}

fn load(fit: &[u8]) -> Result<Loaded, String> {
    load_with(&Files::of(&[("/kernel", fit)]), entry())
}

fn load_named(fit: &[u8], configuration: &str) -> Result<Loaded, String> {
    let entry = BootFiles { configuration: Some(configuration.into()), ..entry() };
    load_with(&Files::of(&[("/kernel", fit)]), entry)
}

fn refusal(fit: &[u8]) -> String {
    load(fit).err().expect("it loads")
}

/// One kernel, one initrd, one tree for the board.
fn simple() -> Source {
    Source::new(
        "default = \"conf-1\"; conf-1 { kernel = \"kernel-1\"; ramdisk = \"ramdisk-1\"; \
         fdt = \"fdt-1\"; };",
    )
    .kernel("kernel-1", &kernel(), "none")
    .ramdisk("ramdisk-1", b"an initrd")
    .tree("fdt-1", &tree_for(EVK, "in the FIT"))
}

#[test]
fn kernel_initrd_and_device_tree_of_a_fit_image_boot_together() {
    let loaded = load(&simple().build()).unwrap();
    assert!(loaded.kernel().starts_with(&kernel()));
    assert_eq!(loaded.initrd(), Some(&b"an initrd"[..]));
    assert_eq!(loaded.model(), "in the FIT");
    let log = log();
    for line in [
        "FIT image /kernel: configuration conf-1, for fsl,imx8mp-evk",
        "kernel /kernel (kernel-1), 195.3 KiB",
        "initrd /kernel (ramdisk-1), 9 bytes",
    ] {
        assert!(log.lines().any(|logged| logged == line), "no {line:?} in:\n{log}");
    }
}

#[test]
fn data_may_lie_behind_the_tree_or_at_a_fixed_position() {
    for options in [&["-E"][..], &["-E", "-p", "0x8000"], &["-E", "-B", "0x1000"]] {
        let fit = simple().with(options).build();
        let loaded = load(&fit).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        assert!(loaded.kernel().starts_with(&kernel()), "{options:?}");
        assert_eq!(loaded.initrd(), Some(&b"an initrd"[..]), "{options:?}");
        assert_eq!(loaded.model(), "in the FIT", "{options:?}");
    }
}

#[test]
fn a_kernel_in_a_fit_image_may_be_compressed() {
    // U-Boot and mkimage know no xz.
    for (command, _, name) in COMPRESSED.iter().filter(|(_, _, name)| *name != "xz") {
        for options in [&[][..], &["-E"]] {
            let fit = Source::new("default = \"c\"; c { kernel = \"k\"; };")
                .kernel("k", &through(command, &kernel()), name)
                .with(options)
                .build();
            let loaded = load(&fit).unwrap_or_else(|error| panic!("{command}: {error}"));
            assert!(loaded.kernel().starts_with(&kernel()), "{command}");
            let line = format!("kernel /kernel (k), 195.3 KiB, {name}");
            assert!(log().contains(&line), "no {line:?} in:\n{}", log());
        }
    }
}

#[test]
fn a_device_tree_in_a_fit_image_may_be_compressed() {
    let kind = "type = \"flat_dt\"; arch = \"arm64\"; compression = \"gzip\";";
    let fit = Source::new("conf-1 { kernel = \"k\"; fdt = \"t\"; };")
        .kernel("k", &kernel(), "none")
        .image("t", &through("gzip -c", &tree_for(EVK, "unpacked")), kind, "")
        .build();
    assert_eq!(load(&fit).unwrap().model(), "unpacked");
}

#[test]
fn an_initrd_is_the_kernels_to_unpack_whatever_is_said_of_it() {
    let packed = through("gzip -c", b"an initrd");
    let kind = "type = \"ramdisk\"; arch = \"arm64\"; os = \"linux\"; compression = \"gzip\";";
    let fit = Source::new("conf-1 { kernel = \"k\"; ramdisk = \"r\"; };")
        .kernel("k", &kernel(), "none")
        .image("r", &packed, kind, "")
        .build();
    assert_eq!(load(&fit).unwrap().initrd(), Some(&*packed));
}

// --- which configuration -----------------------------------------------------------------------

/// Two boards' configurations; `extra` goes into the second one, the EVK's.
fn two_boards(default: &str, extra: &str) -> Source {
    Source::new(&format!(
        "{default} conf-other {{ kernel = \"kernel-1\"; fdt = \"fdt-other\"; }}; \
         conf-evk {{ kernel = \"kernel-1\"; fdt = \"fdt-evk\"; {extra} }};"
    ))
    .kernel("kernel-1", &kernel(), "none")
    .tree("fdt-other", &tree_for(OTHER, "other"))
    .tree("fdt-evk", &tree_for(EVK, "evk"))
}

#[test]
fn the_configuration_whose_device_tree_is_the_boards_goes_before_the_default() {
    let fit = two_boards("default = \"conf-other\";", "").build();
    assert_eq!(load(&fit).unwrap().model(), "evk");
    assert!(log().contains("configuration conf-evk, for fsl,imx8mp-evk"), "{}", log());
}

#[test]
fn the_compatible_of_a_configuration_goes_before_that_of_its_device_tree() {
    let fit = two_boards("default = \"conf-other\";", "compatible = \"other,soc\";").build();
    assert_eq!(load(&fit).unwrap().model(), "other");
    assert!(log().contains("configuration conf-other, the default"), "{}", log());
}

#[test]
fn the_most_specific_match_wins_and_the_default_among_equals() {
    let image = |default: &str| {
        Source::new(&format!(
            "{default} soc {{ kernel = \"k\"; compatible = \"fsl,imx8mp\"; }}; \
             evk-a {{ kernel = \"k\"; compatible = \"fsl,imx8mp-evk\"; }}; \
             evk-b {{ kernel = \"k\"; compatible = \"fsl,imx8mp-evk\"; }};"
        ))
        .kernel("k", &kernel(), "none")
        .build()
    };
    load(&image("default = \"soc\";")).unwrap();
    assert!(log().contains("configuration evk-a, for fsl,imx8mp-evk"), "{}", log());
    load(&image("default = \"evk-b\";")).unwrap();
    assert!(log().contains("configuration evk-b, for fsl,imx8mp-evk"), "{}", log());
}

#[test]
fn a_configuration_named_behind_the_file_goes_before_all_others() {
    let fit = two_boards("default = \"conf-evk\";", "").build();
    assert_eq!(load_named(&fit, "conf-other").unwrap().model(), "other");
    let text = load_named(&fit, "conf-3").err().unwrap();
    assert!(text.starts_with("[E509] /kernel: "), "{text}");
    assert!(text.contains("no configuration is called conf-3; there are conf-other, conf-evk"));
}

#[test]
fn without_a_match_and_without_a_default_the_error_lists_the_configurations() {
    let fit = two_boards("", "compatible = \"a,b\";").build();
    let text = refusal(&fit);
    assert!(text.starts_with("[E509]"), "{text}");
    assert!(text.contains("name one of conf-other, conf-evk behind the file"), "{text}");
}

#[test]
fn the_only_configuration_needs_no_default_and_no_match() {
    let fit = Source::new("conf-1 { kernel = \"k\"; };").kernel("k", &kernel(), "none").build();
    load(&fit).unwrap();
    assert!(log().contains("configuration conf-1, the only one"), "{}", log());
}

// --- what goes before --------------------------------------------------------------------------

#[test]
fn the_entrys_own_initrd_and_device_tree_go_before_those_in_the_image() {
    let fit = simple().build();
    let own = tree_for(EVK, "the entry's");
    let files = Files::of(&[("/kernel", &fit), ("/initrd", b"another"), ("/tree.dtb", &own)]);
    let loaded = load_with(
        &files,
        BootFiles {
            initrds: vec!["/initrd".into()],
            device_tree: DeviceTreeFile::File("/tree.dtb".into()),
            ..entry()
        },
    )
    .unwrap();
    assert_eq!(loaded.initrd(), Some(&b"another"[..]));
    assert_eq!(loaded.model(), "the entry's");
}

#[test]
fn naming_the_image_as_initrd_and_device_tree_means_those_in_it() {
    let files = Files::of(&[("/kernel", &simple().build())]);
    for name in ["/kernel", "/kernel#conf-1"] {
        let entry = BootFiles {
            configuration: Some("conf-1".into()),
            initrds: vec![name.into()],
            device_tree: DeviceTreeFile::File(name.into()),
            ..entry()
        };
        let loaded = load_with(&files, entry).unwrap();
        assert_eq!(loaded.initrd(), Some(&b"an initrd"[..]));
        assert_eq!(loaded.model(), "in the FIT");
    }
}

#[test]
fn an_image_that_is_named_as_initrd_or_device_tree_must_have_one() {
    let fit = Source::new("c { kernel = \"k\"; };").kernel("k", &kernel(), "none").build();
    let files = Files::of(&[("/kernel", &fit)]);
    let initrd = BootFiles { initrds: vec!["/kernel".into()], ..entry() };
    let tree = BootFiles { device_tree: DeviceTreeFile::File("/kernel".into()), ..entry() };
    for (entry, name) in [(initrd, "ramdisk"), (tree, "flat_dt")] {
        let text = load_with(&files, entry).err().unwrap();
        assert!(text.starts_with("[E509]"), "{text}");
        assert!(text.contains(&format!("c names no image of type {name}")), "{text}");
    }
}

#[test]
fn a_directory_of_device_trees_goes_before_the_image_only_if_it_has_the_boards() {
    let fit = simple().build();
    let entry = BootFiles { device_tree: DeviceTreeFile::Directory("/dtbs".into()), ..entry() };
    let mut files = Files::of(&[("/kernel", &fit)]);
    assert_eq!(load_with(&files, entry.clone()).unwrap().model(), "in the FIT");
    files.put("/dtbs/freescale/imx8mp-evk.dtb", &tree_for(EVK, "the directory's"));
    assert_eq!(load_with(&files, entry).unwrap().model(), "the directory's");
}

#[test]
fn without_a_device_tree_in_the_image_that_of_the_stage_before_serves() {
    let fit = Source::new("c { kernel = \"k\"; };").kernel("k", &kernel(), "none").build();
    let model = DeviceTree::validate(TREE).unwrap().model().unwrap();
    assert_eq!(load(&fit).unwrap().model(), model);
}

// --- overlays ----------------------------------------------------------------------------------

/// An overlay that gives the node `panel` a property.
fn overlay(property: &str) -> Vec<u8> {
    let source = format!("/dts-v1/; /plugin/; &panel {{ {property}; }};");
    through("dtc -q -@ -I dts -O dtb -o - -", source.as_bytes())
}

/// A base tree with overlays, in one configuration and in two.
fn with_overlays() -> Source {
    let base = format!(
        "/dts-v1/; / {{ #address-cells = <2>; #size-cells = <2>; model = \"base\"; \
         compatible = {EVK}; chosen {{ }}; panel: panel {{ }}; }};"
    );
    Source::new(
        "default = \"c\"; c { kernel = \"k\"; fdt = \"base\", \"first\"; }; \
         extension { fdt = \"second\", \"third\"; compatible = \"no,board\"; };",
    )
    .kernel("k", &kernel(), "none")
    .tree("base", &through("dtc -q -@ -I dts -O dtb -o - -", base.as_bytes()))
    .tree("first", &overlay("order = <1>; first"))
    .tree("second", &overlay("order = <2>; second"))
    .tree("third", &overlay("order = <3>; third"))
}

/// The properties of the node `panel`, without the phandle that its label gave it.
fn panel(loaded: &Loaded) -> (Vec<String>, u32) {
    let tree = DeviceTree::validate(loaded.memory.at(loaded.hand_over.device_tree)).unwrap();
    let node = tree.find("/panel").unwrap();
    let names = node.properties().map(|property| property.name().to_owned());
    let mut names: Vec<_> = names.filter(|name| name != "phandle" && name != "order").collect();
    names.sort();
    (names, node.property("order").unwrap().as_u32().unwrap())
}

#[test]
fn further_device_trees_of_a_configuration_are_overlays_for_its_first() {
    let loaded = load(&with_overlays().build()).unwrap();
    assert_eq!(panel(&loaded), (vec!["first".into()], 1));
}

#[test]
fn further_configurations_behind_the_file_add_their_device_trees_as_overlays() {
    let fit = with_overlays().build();
    let loaded = load_named(&fit, "c#extension").unwrap();
    assert_eq!(panel(&loaded), (vec!["first".into(), "second".into(), "third".into()], 3));
    let text = load_named(&fit, "c#none").err().unwrap();
    assert!(text.contains("no configuration is called none"), "{text}");
}

#[test]
fn overlays_of_the_entry_come_after_those_of_the_image() {
    let fit = with_overlays().build();
    let own = overlay("order = <4>; own");
    let files = Files::of(&[("/kernel", &fit), ("/own.dtbo", &own)]);
    let entry = BootFiles { overlays: vec!["/own.dtbo".into()], ..entry() };
    let loaded = load_with(&files, entry).unwrap();
    assert_eq!(panel(&loaded), (vec!["first".into(), "own".into()], 4));
}

#[test]
fn an_overlay_that_cannot_be_applied_is_named_with_the_image() {
    let source = "/dts-v1/; /plugin/; &nowhere { x; };";
    let fit = Source::new("c { kernel = \"k\"; fdt = \"base\", \"bad\"; };")
        .kernel("k", &kernel(), "none")
        .tree("base", &tree_for(EVK, "base"))
        .tree("bad", &through("dtc -q -@ -I dts -O dtb -o - -", source.as_bytes()))
        .build();
    let text = refusal(&fit);
    assert!(text.starts_with("[E604] /kernel (bad): "), "{text}");
    assert!(text.contains("nowhere"), "{text}");
}

// --- digests -----------------------------------------------------------------------------------

/// The offset of `wanted` in `bytes`.
fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
}

#[test]
fn every_digest_that_is_known_is_checked_over_the_stored_bytes() {
    for (packing, data) in [("none", kernel()), ("gzip", through("gzip -c", &kernel()))] {
        for algorithm in ["crc32", "sha256", "sha384", "sha512"] {
            let hash = format!("hash-1 {{ algo = \"{algorithm}\"; }};");
            let source = Source::new("c { kernel = \"k\"; };");
            let fit = source.kernel_with("k", &data, packing, &hash).build();
            load(&fit).unwrap_or_else(|error| panic!("{algorithm}: {error}"));

            let mut damaged = fit.clone();
            // In the gzip header: a time, which no checksum of gzip covers.
            let at = if packing == "none" { 100_000 } else { 4 };
            damaged[find(&fit, &data) + at] ^= 1;
            let text = refusal(&damaged);
            assert!(text.starts_with("[E508] /kernel (k): "), "{text}");
            assert!(text.contains(&format!("does not have the {algorithm} ")), "{text}");
        }
    }
}

#[test]
fn initrds_and_device_trees_are_checked_too() {
    let fit = simple().build();
    let mut damaged = fit.clone();
    damaged[find(&fit, b"an initrd")] ^= 1;
    assert!(refusal(&damaged).starts_with("[E508] /kernel (ramdisk-1): "));
    let mut damaged = fit.clone();
    damaged[find(&fit, b"in the FIT")] ^= 1;
    // Named, because a tree that does not hold is no reason to choose a configuration.
    let text = load_named(&damaged, "conf-1").err().unwrap();
    assert!(text.starts_with("[E508] /kernel (fdt-1): "), "{text}");
}

#[test]
fn a_digest_that_is_not_known_is_a_warning() {
    let source = Source::new("c { kernel = \"k\"; };");
    let hash = "hash-1 { algo = \"md5\"; }; hash-2 { algo = \"crc32\"; };";
    let fit = source.kernel_with("k", &kernel(), "none", hash).build();
    load(&fit).unwrap();
    assert!(log().contains("FIT image /kernel: the md5 of k is not checked"), "{}", log());
}

#[test]
fn signatures_are_named_as_not_checked() {
    let configuration = "c { kernel = \"k\"; \
                         signature { algo = \"sha256,rsa2048\"; key-name-hint = \"dev\"; }; };";
    // Without a key, mkimage leaves the node as it is.
    let fit = Source::new(configuration).kernel("k", &kernel(), "none").build();
    load(&fit).unwrap();
    assert!(log().contains("its signatures are not checked"), "{}", log());
}

// --- what does not boot ------------------------------------------------------------------------

#[test]
fn an_image_of_another_kind_is_named() {
    let kernel_of =
        |kind: &str| Source::new("c { kernel = \"k\"; };").image("k", &kernel(), kind, "").build();
    let cases = [
        ("type = \"kernel\"; arch = \"arm\"; os = \"linux\";", "arch \"arm\" instead of arm64"),
        ("type = \"kernel\"; arch = \"arm64\"; os = \"netbsd\";", "os \"netbsd\" instead of linux"),
        ("type = \"script\"; arch = \"arm64\"; os = \"linux\";", "\"script\" instead of kernel"),
        ("arch = \"arm64\"; os = \"linux\";", "type \"\" instead of kernel"),
        (
            "type = \"kernel\"; arch = \"arm64\"; os = \"linux\"; compression = \"bzip2\";",
            "compressed with \"bzip2\"; use gzip, zstd",
        ),
    ];
    for (kind, wanted) in cases {
        let text = refusal(&kernel_of(kind));
        assert!(text.starts_with("[E509] /kernel: ") && text.contains(wanted), "{text}");
    }
    let old = "type = \"kernel_noload\"; arch = \"arm64\"; os = \"linux\"; compression = \"none\";";
    load(&kernel_of(old)).unwrap();
}

#[test]
fn an_encrypted_image_is_named() {
    let cipher = "cipher { algo = \"aes256\"; key-name-hint = \"k\"; iv-name-hint = \"i\"; };";
    // Made with dtc, as mkimage wants the key.
    let source = format!(
        "/dts-v1/; / {{ images {{ k {{ data = [00]; type = \"kernel\"; arch = \"arm64\"; \
         os = \"linux\"; {cipher} }}; }}; configurations {{ c {{ kernel = \"k\"; }}; }}; }};"
    );
    let text = refusal(&through("dtc -q -I dts -O dtb -o - -", source.as_bytes()));
    assert!(text.starts_with("[E509]") && text.contains("image k is encrypted"), "{text}");
}

#[test]
fn what_a_configuration_names_must_be_there() {
    let fit = Source::new("c { kernel = \"x\"; };").kernel("k", &kernel(), "none").build();
    let text = refusal(&fit);
    assert!(text.starts_with("[E508]"), "{text}");
    assert!(text.contains("no image is called x; there are k"), "{text}");
    let fit = Source::new("c { fdt = \"k\"; };").kernel("k", &kernel(), "none").build();
    assert!(refusal(&fit).contains("configuration c names no image of type kernel"));
}

#[test]
fn a_device_tree_is_no_fit_image() {
    let text = refusal(TREE);
    assert!(text.starts_with("[E501]"), "{text}");
    assert!(text.contains("are kernel and device tree exchanged?"), "{text}");
}

#[test]
fn a_package_in_a_fit_image_is_named() {
    let padded = {
        let mut padded = kernel();
        padded.resize(IMAGE_SIZE, 0);
        padded
    };
    let zboot = zboot("gzip", &through("gzip -c", &padded), IMAGE_SIZE, 0xaa64);
    let twice = through("gzip -c", &through("gzip -c", &kernel()));
    for (data, packing, name) in [
        (through("gzip -c", &kernel()), "none", "gzip"),
        (twice, "gzip", "gzip"),
        (zboot, "none", "EFI zboot"),
    ] {
        let fit = Source::new("c { kernel = \"k\"; };").kernel("k", &data, packing).build();
        let text = refusal(&fit);
        assert!(text.starts_with("[E507] /kernel (k): "), "{text}");
        assert!(text.contains(&format!("{name} where the arm64 Image should be")), "{text}");
    }
}

// --- size --------------------------------------------------------------------------------------

#[test]
fn of_a_large_image_only_what_is_used_is_read() {
    let large = vec![0x5a; 20 << 20];
    let fit = simple()
        .ramdisk("other-1", &large)
        .ramdisk("other-2", &large)
        .ramdisk("other-3", &large)
        .build();
    assert!(fit.len() > 60 << 20);
    let files = Files::of(&[("/kernel", &fit)]);
    load_with(&files, entry()).unwrap();
    let read = *files.read.borrow();
    assert!(read < 300_000, "{read} bytes were read");
}

#[test]
fn a_tree_that_is_large_without_its_files_is_refused() {
    let mut source = simple();
    source.configurations.insert_str(0, &format!("blob = [{}];", "00".repeat(300_000)));
    let text = refusal(&source.build());
    assert!(text.starts_with("[E509]") && text.contains("more than 256.0 KiB"), "{text}");
}

// --- damage ------------------------------------------------------------------------------------

#[test]
fn an_image_cut_off_anywhere_does_not_boot() {
    for options in [&[][..], &["-E"]] {
        let fit = simple().with(options).build();
        let sizes = (0..fit.len().min(2000)).step_by(3).chain((2000..fit.len()).step_by(4999));
        for size in sizes.chain([fit.len() - 1]) {
            let text = load(&fit[..size]).err().unwrap_or_else(|| panic!("{size} bytes load"));
            let code = &text[..6];
            assert!(
                ["[E501]", "[E502]", "[E508]", "[E601]"].contains(&code),
                "{size} bytes: {text}"
            );
        }
    }
}

#[test]
fn no_number_of_the_header_or_of_a_reference_leads_out_of_the_file() {
    let fit = simple().with(&["-E"]).build();
    for at in (0..40).step_by(4) {
        for value in [0, 1, 39, 40, fit.len() as u32, 0x7fff_fffc, 0xffff_fff0, 0xffff_ffff] {
            let mut damaged = fit.clone();
            damaged[at..at + 4].copy_from_slice(&value.to_be_bytes());
            let _ = load(&damaged);
        }
    }
    for size in [0_u32, 0x7fff_ffff, 0xffff_ffff] {
        for (name, wanted) in [("data-size", "k"), ("data-position", "k"), ("data-offset", "k")] {
            let value = |wanted| if wanted == name { size } else { 64 };
            let place = match name {
                "data-position" => format!("data-position = <{}>;", value("data-position")),
                _ => format!("data-offset = <{}>;", value("data-offset")),
            };
            let source = format!(
                "/dts-v1/; / {{ images {{ {wanted} {{ {place} data-size = <{}>; \
                 type = \"kernel\"; arch = \"arm64\"; os = \"linux\"; }}; }}; \
                 configurations {{ c {{ kernel = \"k\"; }}; }}; }};",
                value("data-size")
            );
            let mut fit = through("dtc -q -I dts -O dtb -o - -", source.as_bytes());
            fit.extend(sample(200));
            let text = refusal(&fit);
            assert!(text.starts_with("[E50"), "{name} {size}: {text}");
        }
    }
}

#[test]
fn padding_without_end_and_nesting_without_end_are_bounded() {
    let with_structure = |structure: &[u8]| {
        let mut fit = Vec::new();
        let end = 56 + structure.len() as u32;
        for field in [0xd00d_feed, end, 56, 56, 40, 17, 16, 0, 0, structure.len() as u32] {
            fit.extend(u32::to_be_bytes(field));
        }
        fit.resize(56, 0);
        fit.extend(structure);
        fit
    };
    let nop = 4_u32.to_be_bytes();
    let begin = [1_u32.to_be_bytes(), *b"a\0\0\0"].concat();
    let endless_name = [1_u32.to_be_bytes().as_slice(), &[b'a'; 1 << 20]].concat();
    for structure in [nop.repeat(1 << 20), begin.repeat(1 << 18), endless_name] {
        let fit = with_structure(&structure);
        let files = Files::of(&[("/kernel", &fit)]);
        let text = load_with(&files, entry()).err().unwrap();
        assert!(text.starts_with("[E50") || text.starts_with("[E60"), "{text}");
        assert!(*files.read.borrow() < 400_000, "{} bytes were read", files.read.borrow());
    }
}
