//! What each shipped file is made of: a CycloneDX document beside it, `NAME.cdx.json`.
//!
//! Made of what cargo itself resolves for the file's target and features, and of nothing else: no time, no
//! random number, no path, so that the same sources give the same bytes. Everything that cargo gives to the
//! linker is listed; the linker may have left all of it out.
//!
//! Source: CycloneDX 1.6, JSON reference; package-url specification, type `cargo`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::process;

const DEADLINE: Duration = Duration::from_secs(120);

/// What a shipped file is built of.
pub(crate) struct Recipe {
    /// The name under which it ships.
    pub(crate) name: &'static str,
    /// CycloneDX's word for what it is: `firmware`, `application`.
    pub(crate) kind: &'static str,
    /// Its package.
    pub(crate) package: &'static str,
    /// How cargo is told of its features.
    pub(crate) features: &'static [&'static str],
    /// Its target.
    pub(crate) triple: &'static str,
    /// What of Rust's own libraries is in it.
    pub(crate) libraries: &'static str,
}

/// A package as cargo resolves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
    features: Vec<String>,
    /// SPDX expression.
    licence: String,
    repository: String,
    /// Those it needs, by their references.
    needs: BTreeSet<String>,
}

/// All packages by their references, and which is the first.
#[derive(Debug, PartialEq, Eq)]
struct Graph {
    root: String,
    packages: BTreeMap<String, Package>,
}

/// The document of `contents`, built by `recipe`.
///
/// # Errors
/// Cargo or rustc fails, or says something that is not understood.
pub(crate) fn document(recipe: &Recipe, contents: &[u8]) -> Result<String> {
    let mut cargo = process::cargo();
    cargo.args(["tree", "--locked", "--package", recipe.package, "--target", recipe.triple]);
    cargo.args(recipe.features);
    cargo.args(["--edges", "no-dev,no-build,no-proc-macro", "--no-dedupe", "--prefix", "depth"]);
    cargo.args(["--format", "{p}\t{f}\t{l}\t{r}"]);
    let graph = Graph::parse(&process::output(&mut cargo, DEADLINE)?)?;
    let mut rustc = Command::new("rustc");
    let compiler = process::output(rustc.arg("-vV").current_dir(crate::root()), DEADLINE)?;
    let compiler = release(&compiler).context("rustc tells no release")?;
    let lock = crate::root().join("Cargo.lock");
    let lock =
        fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let document = describe(recipe, contents, &graph, &checksums(&lock)?, compiler)?;
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// The release in what `rustc -vV` prints.
fn release(told: &str) -> Option<&str> {
    told.lines().find_map(|line| line.strip_prefix("release: "))
}

/// The SHA-256 of each package of a registry, as Cargo.lock has it, by its reference.
fn checksums(lock: &str) -> Result<BTreeMap<String, String>> {
    let lock: toml::Table = lock.parse().context("Cargo.lock")?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let packages = packages.context("Cargo.lock has no packages")?.iter();
    Ok(packages
        .filter_map(|package| {
            let text = |name: &str| package.get(name)?.as_str();
            Some((reference(text("name")?, text("version")?), text("checksum")?.to_owned()))
        })
        .collect())
}

/// A package's URL, which is its reference too.
fn reference(name: &str, version: &str) -> String {
    // The one character of a version that a URL cannot hold.
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

impl Graph {
    /// Reads `cargo tree`, each line of which begins with its depth.
    fn parse(tree: &str) -> Result<Self> {
        let mut packages: BTreeMap<String, Package> = BTreeMap::new();
        let mut above: Vec<String> = Vec::new();
        for line in tree.lines().filter(|line| !line.is_empty()) {
            let (depth, package) =
                Package::parse(line).with_context(|| format!("cargo tree: {line:?}"))?;
            ensure!(depth <= above.len(), "cargo tree: {line:?} hangs in the air");
            above.truncate(depth);
            let reference = reference(&package.name, &package.version);
            if let Some(parent) = above.last().and_then(|parent| packages.get_mut(parent)) {
                parent.needs.insert(reference.clone());
            }
            packages.entry(reference.clone()).or_insert(package);
            above.push(reference);
        }
        let root = above.into_iter().next().context("cargo tree: nothing")?;
        Ok(Self { root, packages })
    }
}

impl Package {
    /// Reads `1sha2 v0.11.1\talloc,default\tMIT OR Apache-2.0\thttps://…`; its depth comes first.
    fn parse(line: &str) -> Option<(usize, Self)> {
        let digits = line.find(|letter: char| !letter.is_ascii_digit())?;
        let (depth, line) = line.split_at(digits);
        let mut columns = line.split('\t');
        // Behind the version of a package of this tree stands its folder.
        let mut words = columns.next()?.split(' ');
        let name = words.next()?.to_owned();
        let version = words.next()?.strip_prefix('v')?.to_owned();
        let features = columns.next()?.split(',').filter(|name| !name.is_empty());
        let features = features.map(str::to_owned).collect();
        // Crates published before the standard form write MIT/Apache-2.0.
        let licence = columns.next()?.replace('/', " OR ");
        let repository = columns.next()?.to_owned();
        let package = Self { name, version, features, licence, repository, needs: BTreeSet::new() };
        Some((depth.parse().ok()?, package))
    }

    /// It as a component; only what comes from a registry has a checksum.
    fn component(&self, checksum: Option<&String>) -> Value {
        let Self { name, version, features, licence, repository, .. } = self;
        let reference = reference(name, version);
        let mut component = json!({
            "type": "library",
            "bom-ref": reference,
            "name": name,
            "version": version,
            "scope": "required",
            "licenses": [{ "expression": licence }],
            "purl": reference,
        });
        if let Some(checksum) = checksum {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        if !repository.is_empty() {
            component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
        }
        if !features.is_empty() {
            let features =
                features.iter().map(|name| json!({ "name": "cargo:feature", "value": name }));
            component["properties"] = features.collect();
        }
        component
    }
}

/// Puts it all together.
fn describe(
    recipe: &Recipe,
    contents: &[u8],
    graph: &Graph,
    checksums: &BTreeMap<String, String>,
    compiler: &str,
) -> Result<Value> {
    let own = graph.packages.get(&graph.root).context("no package of ours")?;
    let file = format!("file:{}", recipe.name);
    let library = format!("pkg:generic/rust-std@{compiler}");
    let digest: String =
        Sha256::digest(contents).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut components = vec![json!({
        "type": "library",
        "bom-ref": library,
        "name": "rust-std",
        "version": compiler,
        "description": format!("{} of Rust, for {}", recipe.libraries, recipe.triple),
        "scope": "required",
        "licenses": [{ "expression": "MIT OR Apache-2.0" }],
        "purl": library,
    })];
    let mut needs = vec![json!({ "ref": file, "dependsOn": [graph.root, library] })];
    for (reference, package) in &graph.packages {
        components.push(package.component(checksums.get(reference)));
        needs.push(json!({ "ref": reference, "dependsOn": package.needs }));
    }
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{ "phase": "build" }],
            "tools": { "components": [{ "type": "application", "name": "rustc", "version": compiler }] },
            "component": {
                "type": recipe.kind,
                "bom-ref": file,
                "name": recipe.name,
                "version": own.version,
                "hashes": [{ "alg": "SHA-256", "content": digest }],
                "licenses": [{ "expression": own.licence }],
            },
        },
        "components": components,
        "dependencies": needs,
    }))
}

/// Writes the document beside `file`, which holds `contents`.
///
/// # Errors
/// As [`document`], or it cannot be written.
pub(crate) fn write(recipe: &Recipe, file: &Path, contents: &[u8]) -> Result<()> {
    let document = document(recipe, contents)?;
    let place = file.with_file_name(format!("{}.cdx.json", recipe.name.trim_end_matches(".bin")));
    fs::write(&place, document).with_context(|| format!("cannot write {}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use spdx::Expression;

    const TREE: &str = "0firn v0.1.0 (/home/u/firn)\tfirmware\tLGPL-3.0-or-later\t\n\
        1aarch64-cpu v11.2.0\t\tMIT/Apache-2.0\thttps://github.com/rust-embedded/aarch64-cpu\n\
        2tock-registers v0.10.1\tregister_types\tMIT OR Apache-2.0\t\n\
        1tock-registers v0.10.1\tregister_types\tMIT OR Apache-2.0\t\n\
        1odd v1.0.0+build\t\tMIT\t\n";

    const RECIPE: Recipe = Recipe {
        name: "firn.bin",
        kind: "firmware",
        package: "firn",
        features: &["--features", "firmware"],
        triple: "aarch64-unknown-none",
        libraries: "core and alloc",
    };

    const LOCK: &str = "[[package]]\nname = \"tock-registers\"\nversion = \"0.10.1\"\nchecksum = \"ab\"\n\
        [[package]]\nname = \"firn\"\nversion = \"0.1.0\"\n";

    fn described() -> Value {
        let graph = Graph::parse(TREE).unwrap();
        describe(&RECIPE, b"code", &graph, &checksums(LOCK).unwrap(), "1.95.0").unwrap()
    }

    /// What whoever reads the document relies on.
    fn judge(document: &Value) {
        assert_eq!(
            (&document["bomFormat"], &document["specVersion"]),
            (&json!("CycloneDX"), &json!("1.6"))
        );
        let components = document["components"].as_array().unwrap();
        let own = &document["metadata"]["component"];
        let reference = |component: &Value| component["bom-ref"].as_str().unwrap().to_owned();
        let all = components.iter().chain([own]);
        let references: BTreeSet<String> = all.clone().map(reference).collect();
        assert_eq!(references.len(), components.len() + 1, "each reference is there once");
        for component in all {
            let licence = component["licenses"][0]["expression"].as_str().unwrap();
            assert!(Expression::parse(licence).is_ok(), "{component}");
            for hash in component["hashes"].as_array().into_iter().flatten() {
                assert_eq!(hash["alg"], "SHA-256");
            }
        }
        let needs = document["dependencies"].as_array().unwrap();
        assert_eq!(needs.len() + 1, references.len(), "all but Rust's own libraries");
        let mut reached = BTreeSet::from([reference(own)]);
        for need in needs {
            assert!(references.contains(need["ref"].as_str().unwrap()), "{need}");
            for needed in need["dependsOn"].as_array().unwrap() {
                reached.insert(needed.as_str().unwrap().to_owned());
            }
        }
        assert_eq!(reached, references, "everything is there for somebody");
        assert!(
            document.get("serialNumber").is_none()
                && document["metadata"].get("timestamp").is_none()
        );
    }

    #[test]
    fn a_document_holds_together_and_tells_which_file_it_is_about() {
        let document = described();
        judge(&document);
        let own = &document["metadata"]["component"];
        // SHA-256 of "code".
        let digest = "5694d08a2e53ffcae0c3103e5ad6f6076abd960eb1f8a56577040bc1028f702b";
        assert_eq!(
            (&own["name"], &own["hashes"][0]["content"]),
            (&json!("firn.bin"), &json!(digest))
        );
    }

    #[test]
    fn packages_have_their_features_licences_checksums_and_needs() {
        let document = described();
        let components = document["components"].as_array().unwrap();
        let named =
            |name: &str| components.iter().find(|component| component["name"] == name).unwrap();
        let tock = named("tock-registers");
        assert_eq!(tock["properties"][0]["value"], "register_types");
        assert_eq!(tock["hashes"][0]["content"], "ab");
        assert_eq!(named("aarch64-cpu")["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert!(named("firn").get("hashes").is_none(), "ours come from no registry");
        assert_eq!(named("odd")["purl"], "pkg:cargo/odd@1.0.0%2Bbuild");
        let needs = document["dependencies"].as_array().unwrap();
        let of = needs.iter().find(|need| need["ref"] == "pkg:cargo/aarch64-cpu@11.2.0").unwrap();
        assert_eq!(of["dependsOn"], json!(["pkg:cargo/tock-registers@0.10.1"]));
    }

    #[test]
    fn what_cargo_does_not_say_is_an_error() {
        for tree in ["", "firn v0.1.0\t\t\t\n", "1firn v0.1.0\t\tMIT\t\n", "0firn\t\tMIT\t\n"] {
            assert!(Graph::parse(tree).is_err(), "{tree:?}");
        }
    }

    #[test]
    fn this_tree_is_described_the_same_each_time_and_without_its_folder() {
        let [first, second] = [(); 2].map(|()| document(&RECIPE, b"").unwrap());
        assert_eq!(first, second);
        assert!(!first.contains(&*crate::root().to_string_lossy()), "{first}");
        let document: Value = serde_json::from_str(&first).unwrap();
        judge(&document);
        let components = document["components"].as_array().unwrap();
        let named = |name: &str| components.iter().filter(|it| it["name"] == name).count();
        assert_eq!((named("sha2"), named("proptest"), named("evk")), (1, 0, 0), "{first}");
        let without = |it: &&Value| it.get("hashes").is_none();
        let without: Vec<_> = components.iter().filter(without).map(|it| &it["name"]).collect();
        assert_eq!(without, ["rust-std", "firn"], "all others come from a registry");
    }
}
