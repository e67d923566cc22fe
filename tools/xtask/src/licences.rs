//! The licence policy of deny.toml, checked by ourselves where cargo-deny is not installed: every
//! dependency's licence is one of those allowed, and every dependency comes from a registry.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use spdx::{Expression, ParseMode};

use crate::process;

/// The workspaces that have dependencies.
pub(crate) const MANIFESTS: [&str; 2] = ["Cargo.toml", "fuzz/Cargo.toml"];

const DEADLINE: Duration = Duration::from_secs(300);

/// The part of deny.toml that is checked here.
struct Policy {
    /// SPDX identifiers.
    allowed: BTreeSet<String>,
    /// Triples for which dependencies are looked at.
    targets: Vec<String>,
}

/// What a package says of itself.
struct Package {
    name: String,
    licence: Option<String>,
    source: Option<String>,
}

/// Checks every package that any of the policy's targets needs; returns how many there are.
///
/// # Errors
/// Lists all packages that break the policy.
pub(crate) fn check() -> Result<usize> {
    let policy = Policy::read(&crate::root().join("deny.toml"))?;
    let mut seen = BTreeSet::new();
    let mut broken = BTreeSet::new();
    for target in &policy.targets {
        for manifest in MANIFESTS {
            for package in packages(manifest, target)? {
                broken.extend(policy.objection(&package));
                seen.insert(package.name);
            }
        }
    }
    if !broken.is_empty() {
        let list: Vec<String> = broken.into_iter().collect();
        bail!("deny.toml does not allow:\n    {}", list.join("\n    "));
    }
    Ok(seen.len())
}

impl Policy {
    fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("cannot use {}", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse()?;
        let list = |section: &str, name: &str| -> Result<Vec<String>> {
            let values = table.get(section).and_then(|section| section.get(name)?.as_array());
            let values = values.with_context(|| format!("no list {section}.{name}"))?;
            let words = values.iter().map(|value| value.as_str().map(str::to_owned));
            words.collect::<Option<_>>().with_context(|| format!("{section}.{name}: not strings"))
        };
        let policy = Self {
            allowed: list("licenses", "allow")?.into_iter().collect(),
            targets: list("graph", "targets")?,
        };
        ensure!(!policy.targets.is_empty(), "graph.targets is empty: nothing would be checked");
        Ok(policy)
    }

    /// What is wrong with a package, if anything.
    fn objection(&self, package: &Package) -> Option<String> {
        let Package { name, licence, source } = package;
        if let Some(source) = source.as_deref().filter(|source| !source.starts_with("registry+")) {
            return Some(format!("{name}: comes from {source}, not from a registry"));
        }
        let Some(licence) = licence else { return Some(format!("{name}: tells no licence")) };
        match self.allows(licence) {
            Ok(true) => None,
            Ok(false) => Some(format!("{name}: {licence}")),
            Err(error) => Some(format!("{name}: {licence:?} is no SPDX expression: {error}")),
        }
    }

    /// Whether an SPDX expression can be met with allowed licences alone.
    fn allows(&self, licence: &str) -> Result<bool, String> {
        // Crates published before the standard form write MIT/Apache-2.0.
        let expression = Expression::parse_mode(licence, ParseMode::LAX);
        let expression = expression.map_err(|error| error.reason.to_string())?;
        Ok(expression.evaluate(|wanted| self.allowed.contains(&wanted.to_string())))
    }
}

/// The packages that a workspace needs on `target`, itself included.
fn packages(manifest: &str, target: &str) -> Result<Vec<Package>> {
    let mut cargo = process::cargo();
    cargo.args(["metadata", "--format-version=1", "--locked", "--all-features"]);
    cargo.args(["--filter-platform", target, "--manifest-path", manifest]);
    parse_metadata(&process::output(&mut cargo, DEADLINE)?)
}

fn parse_metadata(text: &str) -> Result<Vec<Package>> {
    let metadata: Value = serde_json::from_str(text).context("cargo metadata: not JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata: no packages")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(packages
        .iter()
        .map(|package| Package {
            name: text(&package["name"]).unwrap_or_default(),
            licence: text(&package["license"]),
            source: text(&package["source"]),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let text = "[graph]\ntargets = [\"aarch64-unknown-none\"]\n[licenses]\n\
                    allow = [\"MIT\", \"Apache-2.0\", \"LGPL-3.0-or-later\"] # and no more\n";
        Policy::parse(text).unwrap()
    }

    fn package(licence: Option<&str>, source: Option<&str>) -> Package {
        let own = |text: &str| text.to_owned();
        Package { name: "x".into(), licence: licence.map(own), source: source.map(own) }
    }

    #[test]
    fn one_allowed_way_through_an_expression_is_enough() {
        for licence in
            ["MIT", "MIT OR GPL-2.0-only", "MIT/Apache-2.0", "(MIT OR Zlib) AND Apache-2.0"]
        {
            assert_eq!(policy().allows(licence), Ok(true), "{licence}");
        }
    }

    #[test]
    fn licences_that_are_not_listed_are_refused() {
        let exception = "Apache-2.0 WITH LLVM-exception";
        for licence in ["GPL-3.0-only", "MIT AND GPL-3.0-or-later", "LGPL-2.1-only", exception] {
            assert_eq!(policy().allows(licence), Ok(false), "{licence}");
        }
    }

    #[test]
    fn or_later_is_not_the_same_licence_as_only() {
        assert_eq!(policy().allows("LGPL-3.0-or-later"), Ok(true));
        assert_eq!(policy().allows("LGPL-3.0-only"), Ok(false));
    }

    #[test]
    fn a_package_must_tell_a_licence_that_can_be_read() {
        let registry = Some("registry+x");
        assert!(policy().objection(&package(None, registry)).unwrap().contains("no licence"));
        let odd = policy().objection(&package(Some("as is"), registry)).unwrap();
        assert!(odd.contains("no SPDX expression"), "{odd}");
        assert_eq!(policy().objection(&package(Some("MIT"), registry)), None);
    }

    #[test]
    fn packages_from_outside_of_a_registry_are_refused() {
        let foreign = package(Some("MIT"), Some("git+https://example.org/x"));
        assert!(policy().objection(&foreign).unwrap().contains("not from a registry"));
        assert_eq!(policy().objection(&package(Some("MIT"), None)), None, "our own");
    }

    #[test]
    fn a_policy_that_checks_nothing_is_refused() {
        assert!(Policy::parse("[graph]\ntargets = []\n[licenses]\nallow = [\"MIT\"]\n").is_err());
        assert!(Policy::parse("[graph]\ntargets = [\"x\"]\n").is_err());
    }

    #[test]
    fn the_tree_keeps_its_own_policy_readable() {
        let policy = Policy::read(&crate::root().join("deny.toml")).unwrap();
        assert!(policy.allowed.contains("LGPL-3.0-or-later"));
        assert!(!policy.allowed.iter().any(|licence| licence.starts_with("GPL")));
    }
}
