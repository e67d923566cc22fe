//! `cargo xtask build`: the firmware's binaries, flattened and measured against their budgets; the
//! `firn` command of the running target, as one static file.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use evk::assets;
use evk::elf::{flatten, is_static, symbols};

use crate::process;
use crate::sbom::{self, Recipe};
use crate::setup::{self, Compiler, LINUX_TRIPLE, Need, TRIPLE};

/// Build the firmware: target/firn/imx8mp-evk/{firn-spl,firn}.{bin,elf}, and the running target's command:
/// target/firn/firn-aarch64-linux. Beside each stands what it is made of: NAME.cdx.json (CycloneDX).
///
/// Example: `cargo xtask build`
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// One firmware binary.
struct Stage {
    /// Cargo's name of it.
    binary: &'static str,
    /// The name under which it ships.
    name: &'static str,
    /// That of its flat binary.
    file: &'static str,
    /// Its linker script, whose memory region IMAGE is as long as the binary may be.
    script: &'static str,
    /// Whether its memory is so tight that a developer wants to see where it goes.
    tight: bool,
}

const STAGES: [Stage; 2] = [
    Stage {
        binary: "firn-spl",
        name: "firn-spl",
        file: "firn-spl.bin",
        script: "linker/spl.ld",
        tight: true,
    },
    Stage {
        binary: "firn-loader",
        name: "firn",
        file: "firn.bin",
        script: "linker/loader.ld",
        tight: false,
    },
];

impl Stage {
    /// What it is built of.
    fn recipe(&self) -> Recipe {
        Recipe {
            name: self.file,
            kind: "firmware",
            package: "firn",
            features: &["--features", "firmware"],
            triple: TRIPLE,
            libraries: "core, alloc and compiler_builtins",
        }
    }
}

/// What the running target's command is built of.
const TARGET_COMMAND: Recipe = Recipe {
    name: "firn-aarch64-linux",
    kind: "application",
    package: "firn-cli",
    features: &["--no-default-features"],
    triple: LINUX_TRIPLE,
    libraries: "std with musl",
};

const BUILD_DEADLINE: Duration = Duration::from_secs(1800);

/// Sets up what is missing and builds.
pub(crate) fn run(_: &Arguments) -> Result<()> {
    setup::ensure(Need::Build)?;
    firmware()?;
    target_tools()
}

/// Builds every stage and prints its size.
///
/// # Errors
/// It does not compile, can't be flattened, or is larger than its budget.
pub(crate) fn firmware() -> Result<()> {
    let directory = assets::firmware_dir();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    for stage in &STAGES {
        let elf_file = compile(&Site::here(), stage)?;
        let elf =
            fs::read(&elf_file).with_context(|| format!("cannot read {}", elf_file.display()))?;
        let image = flatten(&elf)
            .with_context(|| format!("cannot make a flat binary of {}", elf_file.display()))?;
        let budget = budget(&crate::root().join(stage.script))?;
        let file = directory.join(stage.name).with_extension("bin");
        println!("{}", size_line(&file, image.len(), budget));
        if stage.tight {
            let elf = symbols(&elf).context("no symbols in the ELF file")?;
            memory_map(&elf)?.iter().for_each(|line| println!("    {line}"));
        }
        ensure!(image.len() <= budget, "{}.bin is larger than {}", stage.name, stage.script);
        write_if_changed(&file, &image)?;
        write_if_changed(&file.with_extension("elf"), &elf)?;
        sbom::write(&stage.recipe(), &file, &image)?;
    }
    Ok(())
}

/// Where a build takes place.
pub(crate) struct Site {
    /// The tree.
    pub(crate) root: PathBuf,
    /// Where cargo keeps the sources of dependencies, if that is known.
    pub(crate) cargo_home: Option<PathBuf>,
    /// What differs from the environment of this process.
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
}

impl Site {
    /// This tree, as it is used.
    pub(crate) fn here() -> Self {
        let home = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
        let cargo_home = home("CARGO_HOME").or_else(|| Some(home("HOME")?.join(".cargo")));
        Self { root: crate::root(), cargo_home, environment: Vec::new() }
    }

    fn cargo(&self) -> Command {
        let mut cargo = process::cargo();
        cargo.current_dir(&self.root);
        cargo.envs(self.environment.iter().map(|(name, value)| (name, value)));
        cargo
    }

    /// Where sources lie: this tree, and where cargo unpacks those of dependencies, one folder for each
    /// registry.
    fn sources(&self) -> Vec<PathBuf> {
        let folders = self.cargo_home.as_ref().map(|home| fs::read_dir(home.join("registry/src")));
        let folders = folders.and_then(Result::ok).into_iter().flatten().flatten();
        std::iter::once(self.root.clone()).chain(folders.map(|entry| entry.path())).collect()
    }

    /// Everything that ships, by its name.
    ///
    /// # Errors
    /// Something does not compile, or can't be flattened.
    pub(crate) fn shipped(&self) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let mut shipped = Vec::new();
        for stage in &STAGES {
            let elf = fs::read(compile(self, stage)?)?;
            shipped.push((stage.file, flatten(&elf)?));
        }
        shipped.push((TARGET_COMMAND.name, fs::read(compile_target_command(self)?)?));
        Ok(shipped)
    }
}

/// Compiles a stage and returns its ELF file.
fn compile(site: &Site, stage: &Stage) -> Result<PathBuf> {
    let mut cargo = site.cargo();
    cargo
        .args(["build", "--package", "firn", "--bin", stage.binary, "--features", "firmware"])
        .args(["--release", "--target", TRIPLE, "--message-format", "json-render-diagnostics"])
        .args(["--config", &without_home(TRIPLE, &site.sources())?]);
    if let Some(compiler) = Compiler::for_firmware()? {
        compiler.configure(&mut cargo);
    }
    built_by(&mut cargo, stage.binary)
}

/// Builds the running target's `firn` and prints its size.
///
/// # Errors
/// It does not compile, or it would need libraries of the target.
pub(crate) fn target_tools() -> Result<()> {
    let built = compile_target_command(&Site::here())?;
    let elf = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let file = assets::target_command_file();
    ensure!(is_static(&elf)?, "{} needs a dynamic linker", built.display());
    println!("{}: {} bytes", shown(&file), elf.len());
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    write_if_changed(&file, &elf)?;
    sbom::write(&TARGET_COMMAND, &file, &elf)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} a program", file.display()))
}

/// Compiles the running target's `firn`.
fn compile_target_command(site: &Site) -> Result<PathBuf> {
    let mut cargo = site.cargo();
    cargo
        .args(["build", "--package", "firn-cli", "--bin", "firn", "--no-default-features"])
        .args(["--profile", "target-tools", "--target", LINUX_TRIPLE])
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--config", &without_home(LINUX_TRIPLE, &site.sources())?]);
    built_by(&mut cargo, "firn")
}

/// The file that a call of cargo's made of `binary`.
fn built_by(cargo: &mut Command, binary: &str) -> Result<PathBuf> {
    let messages = process::output_with_progress(cargo, BUILD_DEADLINE)?;
    let mut executables = messages.lines().filter_map(executable);
    executables.next_back().with_context(|| format!("cargo names no file for {binary}"))
}

/// A setting of cargo's that keeps the paths of `folders` out of panic messages and debug information:
/// the binary says nothing of who built it where, and is smaller.
fn without_home(triple: &str, folders: &[PathBuf]) -> Result<String> {
    let flags: Vec<String> = folders
        .iter()
        .map(|folder| format!("--remap-path-prefix={}/=", folder.display()))
        .collect();
    // A JSON list of strings is a TOML one too.
    Ok(format!("target.{triple}.rustflags={}", serde_json::to_string(&flags)?))
}

/// The executable that a line of cargo's JSON messages is about.
fn executable(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(message.get("executable")?.as_str()?.into())
}

/// The length of the linker script's region IMAGE, in bytes.
fn budget(script: &Path) -> Result<usize> {
    let text =
        fs::read_to_string(script).with_context(|| format!("cannot read {}", script.display()))?;
    image_length(&text)
        .with_context(|| format!("{} has no region IMAGE with a LENGTH", script.display()))
}

/// Reads `IMAGE (…) : ORIGIN = …, LENGTH = 400K`.
fn image_length(script: &str) -> Option<usize> {
    let regions = script.split_once("MEMORY")?.1;
    let region = regions.lines().find(|line| line.trim_start().starts_with("IMAGE "))?;
    let length = region.split_once("LENGTH")?.1.trim_start().strip_prefix('=')?.trim();
    let digits = length.trim_end_matches(['K', 'M']);
    let unit = match &length[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        _ => return None,
    };
    let number = match digits.strip_prefix("0x") {
        Some(hexadecimal) => usize::from_str_radix(hexadecimal, 16).ok()?,
        None => digits.parse().ok()?,
    };
    number.checked_mul(unit)
}

/// A file's place in the tree.
fn shown(file: &Path) -> impl Display {
    file.strip_prefix(crate::root()).unwrap_or(file).display()
}

fn size_line(file: &Path, size: usize, budget: usize) -> String {
    let shown = shown(file);
    let share = size * 100 / budget.max(1);
    format!("{shown}: {size} bytes, {share} % of its budget of {} KiB", budget >> 10)
}

/// What lies where in the first stage's memory: names and the symbols that bound it.
const MEMORY_MAP: [(&str, &str, &str); 6] = [
    ("code", "__image_start", "__text_end"),
    ("constants", "__text_end", "__rodata_end"),
    ("variables in the file", "__rodata_end", "__file_end"),
    ("room for training firmware", "__behind_start", "__behind_end"),
    ("other variables, translation tables", "__bss_start", "__bss_end"),
    ("stack", "__stack_start", "__stack_end"),
];

/// One line for each part of a stage's memory, and how much is left in front of BL31.
fn memory_map(symbols: &BTreeMap<String, u64>) -> Result<Vec<String>> {
    let at = |name: &str| {
        symbols.get(name).copied().with_context(|| format!("the ELF file has no symbol {name}"))
    };
    let line = |start: u64, size: u64, name: &str| format!("{start:#x} {size:>7} bytes {name}");
    let mut lines = Vec::new();
    for (name, start, end) in MEMORY_MAP {
        let (start, end) = (at(start)?, at(end)?);
        lines.push(line(start, end.saturating_sub(start), name));
    }
    let (start, end) = (at("__heap_end")?, at("__ram_end")?);
    lines.push(line(start, end.saturating_sub(start), "left in front of BL31"));
    Ok(lines)
}

/// Leaves the time of an unchanged file alone, so that what is made of it stays fresh.
fn write_if_changed(file: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "STACK = 4K;\nMEMORY\n{\n    IMAGE (rwx) : ORIGIN = 0x40200000, LENGTH = 400K\n    \
                          RAM (rw) : ORIGIN = 0x40264000, LENGTH = 18M\n}\n";

    #[test]
    fn the_budget_is_the_length_of_the_image_region() {
        assert_eq!(image_length(SCRIPT), Some(400 << 10));
        assert_eq!(image_length(&SCRIPT.replace("400K", "0x64000")), Some(400 << 10));
        assert_eq!(image_length(&SCRIPT.replace("400K", "1M")), Some(1 << 20));
    }

    #[test]
    fn a_script_without_the_region_has_no_budget() {
        assert_eq!(image_length(&SCRIPT.replace("IMAGE", "FLASH")), None);
        assert_eq!(image_length(&SCRIPT.replace("400K", "40 * 10K")), None);
    }

    #[test]
    fn paths_of_the_builders_home_are_remapped_whatever_is_in_them() {
        let setting = without_home(TRIPLE, &["/home/u/a \"b\"".into()]).unwrap();
        let table: toml::Table = setting.parse().unwrap();
        let flags = table["target"][TRIPLE]["rustflags"].as_array().unwrap();
        assert_eq!(flags[0].as_str(), Some("--remap-path-prefix=/home/u/a \"b\"/="));
    }

    #[test]
    fn sizes_are_told_as_a_share_of_the_budget() {
        let line = size_line(Path::new("firn.bin"), 204_800, 400 << 10);
        assert_eq!(line, "firn.bin: 204800 bytes, 50 % of its budget of 400 KiB");
    }

    #[test]
    fn the_memory_map_tells_what_is_left() {
        let names = MEMORY_MAP.iter().flat_map(|(_, start, end)| [*start, *end]);
        let names = names.chain(["__heap_end"]);
        let mut symbols: BTreeMap<String, u64> = names.map(|name| (name.into(), 0)).collect();
        symbols.insert("__stack_start".into(), 0x95_e000);
        symbols.insert("__stack_end".into(), 0x96_6000);
        assert!(memory_map(&symbols).is_err(), "where does the memory end?");
        symbols.insert("__heap_end".into(), 0x96_f000);
        symbols.insert("__ram_end".into(), 0x97_0000);
        let lines = memory_map(&symbols).unwrap();
        assert!(lines.contains(&"0x95e000   32768 bytes stack".to_owned()), "{lines:?}");
        assert_eq!(lines.last().unwrap(), "0x96f000    4096 bytes left in front of BL31");
    }

    #[test]
    fn cargos_message_about_an_executable_names_it() {
        let line = r#"{"reason":"compiler-artifact","executable":"/t/firn-loader"}"#;
        assert_eq!(executable(line), Some("/t/firn-loader".into()));
        assert_eq!(executable(r#"{"reason":"compiler-artifact","executable":null}"#), None);
        assert_eq!(executable("   Compiling firn"), None);
    }

    #[test]
    fn an_unchanged_file_keeps_its_time() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("firn.bin");
        write_if_changed(&file, b"one").unwrap();
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        write_if_changed(&file, b"one").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
        write_if_changed(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
    }
}
