//! A private view of Debian's archive: own sources, lists and cache, signatures checked as the
//! machine's apt does. Nothing outside of its directory is written.
//!
//! The package resolver is told that nothing is installed, so that what it chooses does not depend
//! on this machine, and a set of packages unpacked together fits together.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::{progress, remove_directory};
use crate::process;

/// The release that everything is taken from, whichever one the machine runs: it has QEMU 10.0,
/// a 6.12 kernel and a BL31 for the i.MX 8M Plus.
pub(super) const RELEASE: &str = "trixie";

/// Where the keys of all of Debian's releases are.
const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What a user can do about a failed download.
const UNREACHABLE: &str = "is the mirror reachable (try `apt-get update`), and are its keys there \
                           (package debian-archive-keyring)?";

/// Versions compete by their number alone: what depends on a backport gets backports.
const PREFERENCES: &str = "Package: *\nPin: release *\nPin-Priority: 500\n";

const LISTS_DEADLINE: Duration = Duration::from_secs(300);
const QUERY_DEADLINE: Duration = Duration::from_secs(60);
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(1800);
const UNPACK_DEADLINE: Duration = Duration::from_secs(300);

/// A private view of some suites for one architecture, its lists up to date.
pub(super) struct Archive {
    directory: PathBuf,
    suites: String,
}

/// A package that the archive has, in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
}

/// Where the machine's own configuration finds Debian.
#[derive(Debug, PartialEq, Eq)]
struct Mirror {
    uri: String,
    /// Files of keys; none means the ones that apt trusts for everything.
    keys: Vec<String>,
}

/// The machine's architecture in Debian's words.
pub(super) fn native_architecture() -> Result<String> {
    let mut dpkg = Command::new("dpkg");
    let text = process::output(dpkg.arg("--print-architecture"), QUERY_DEADLINE)
        .context("this needs Debian's package tools (apt, dpkg)")?;
    Ok(text.trim().to_owned())
}

impl Archive {
    /// Writes the configuration to a directory of its own below `parent` and fetches the lists.
    pub(super) fn open(parent: &Path, architecture: &str, suites: &[&str]) -> Result<Self> {
        let mirror = machine_mirror()?;
        let suites = suites.join(" ");
        let directory = parent.join(format!("{architecture}-{}", suites.replace(' ', "-")));
        for part in ["lists/partial", "cache/archives/partial", "sources"] {
            let part = directory.join(part);
            fs::create_dir_all(&part)
                .with_context(|| format!("cannot create {}", part.display()))?;
        }
        fs::write(directory.join("status"), "")?;
        fs::write(directory.join("preferences"), PREFERENCES)?;
        fs::write(directory.join("sources/debian.sources"), mirror.source(&suites))?;
        fs::write(directory.join("apt.conf"), configuration(&directory, architecture))?;
        let archive = Self { directory, suites };
        progress(&format!("package lists of Debian {} ({architecture})", archive.suites));
        process::output(&mut archive.apt("apt-get", ["update"]), LISTS_DEADLINE)
            .context(UNREACHABLE)?;
        Ok(archive)
    }

    /// Every version of the package `name`, newest first.
    pub(super) fn versions(&self, name: &str) -> Result<Vec<Package>> {
        let text = process::output(&mut self.apt("apt-cache", ["madison", name]), QUERY_DEADLINE)?;
        Ok(parse_madison(&text).into_iter().filter(|package| package.name == name).collect())
    }

    /// The package `name` in its newest version.
    pub(super) fn newest(&self, name: &str) -> Result<Package> {
        let found = self.versions(name)?.into_iter().next();
        found.with_context(|| format!("Debian {} has no package {name}", self.suites))
    }

    /// The names of all packages that begin with `prefix`; some may have no version.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let text =
            process::output(&mut self.apt("apt-cache", ["pkgnames", prefix]), QUERY_DEADLINE)?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Downloads one package, checked against the signed lists, and unpacks it into `root`.
    pub(super) fn unpack(&self, package: &Package, root: &Path) -> Result<()> {
        let wanted = format!("{}={}", package.name, package.version);
        self.fetch_and_unpack(&wanted, &["download", &wanted], root)
    }

    /// Like [`Self::unpack`], with everything that the package depends on.
    pub(super) fn unpack_with_dependencies(&self, package: &Package, root: &Path) -> Result<()> {
        let wanted = format!("{}={}", package.name, package.version);
        let install = ["install", "--yes", "--no-install-recommends", "--download-only", &wanted];
        self.fetch_and_unpack(&wanted, &install, root)
    }

    fn fetch_and_unpack(&self, wanted: &str, arguments: &[&str], root: &Path) -> Result<()> {
        let download = self.directory.join("cache/archives");
        remove_directory(&download)?;
        fs::create_dir_all(download.join("partial"))?;
        let fetch = |extra: &[&str]| {
            let mut command = self.apt("apt-get", arguments.iter().chain(extra));
            command.current_dir(&download);
            process::output(&mut command, DOWNLOAD_DEADLINE)
                .with_context(|| format!("wanted {wanted} of Debian {}", self.suites))
                .context(UNREACHABLE)
        };
        let (files, bytes) = parse_uris(&fetch(&["--print-uris"])?);
        ensure!(files > 0, "apt names no file for {wanted} of Debian {}", self.suites);
        let count = if files == 1 { String::new() } else { format!("{files} packages, ") };
        progress(&format!("downloading {wanted} ({count}{:.1} MB)", bytes as f64 / 1e6));
        fetch(&[])?;
        let unpacked = self.unpack_all(&download, root)?;
        ensure!(unpacked == files, "{unpacked} of {files} packages arrived for {wanted}");
        // What was unpacked is kept; the packages are not.
        remove_directory(&download)
    }

    fn unpack_all(&self, download: &Path, root: &Path) -> Result<usize> {
        let mut count = 0;
        for entry in fs::read_dir(download)? {
            let file = entry?.path();
            if file.extension() == Some(OsStr::new("deb")) {
                let mut dpkg = Command::new("dpkg-deb");
                process::output(dpkg.arg("-x").arg(&file).arg(root), UNPACK_DEADLINE)?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn apt(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        let mut command = Command::new(program);
        // Its messages and tables are read by this program.
        command.env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
        command.arg("-c").arg(self.directory.join("apt.conf")).args(arguments);
        command
    }
}

/// An apt configuration that keeps to `directory`; proxies and credentials stay the machine's.
fn configuration(directory: &Path, architecture: &str) -> String {
    let directory = directory.display();
    format!(
        "\
Dir::Etc::sourcelist \"/dev/null\";
Dir::Etc::sourceparts \"{directory}/sources\";
Dir::Etc::preferences \"{directory}/preferences\";
Dir::Etc::preferencesparts \"/dev/null\";
Dir::State \"{directory}\";
Dir::State::lists \"lists\";
Dir::State::status \"{directory}/status\";
Dir::Cache \"{directory}/cache\";
Dir::Cache::archives \"archives\";
Dir::Cache::pkgcache \"pkgcache.bin\";
Dir::Cache::srcpkgcache \"srcpkgcache.bin\";
Dir::Log \"{directory}/log\";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear APT::Architectures;
APT::Architecture \"{architecture}\";
APT::Architectures {{ \"{architecture}\"; }};
APT::Get::AllowUnauthenticated \"false\";
APT::Sandbox::User \"root\";
APT::Update::Error-Mode \"any\";
Acquire::AllowInsecureRepositories \"false\";
Acquire::Languages \"none\";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";
Acquire::Retries \"2\";
Acquire::http::Timeout \"30\";
Acquire::https::Timeout \"30\";
Debug::NoLocking \"true\";
"
    )
}

impl Mirror {
    fn source(&self, suites: &str) -> String {
        let uri = &self.uri;
        let mut text = format!("Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\n");
        if !self.keys.is_empty() {
            text += &format!("Signed-By: {}\n", self.keys.join(" "));
        }
        text
    }
}

/// Reads the machine's own configuration for the mirror that its release comes from.
fn machine_mirror() -> Result<Mirror> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |name| os_release(&release, name);
    if value("ID") != Some("debian") {
        bail!(
            "this machine is no Debian ({}): use one of Debian 12 or later, a container will do",
            value("PRETTY_NAME").unwrap_or("no /etc/os-release")
        );
    }
    let mut texts = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    texts.extend(parts.map(|entry| entry.path()));
    texts.sort();
    let codename = value("VERSION_CODENAME").unwrap_or_default();
    let mirror = texts.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        match file.extension()?.to_str()? {
            "sources" => mirror_in_stanzas(&text, codename),
            "list" => mirror_in_lines(&text, codename),
            _ => None,
        }
    });
    let mut mirror = mirror.with_context(|| {
        format!("no mirror of Debian {codename} in /etc/apt/sources.list or sources.list.d")
    })?;
    if Path::new(DEBIAN_KEYS).exists() && !mirror.keys.iter().any(|key| key == DEBIAN_KEYS) {
        mirror.keys.push(DEBIAN_KEYS.to_owned());
    }
    Ok(mirror)
}

fn os_release<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches(['"', '\'']))
}

/// A suite that only a whole mirror of Debian carries (the security archive, say, does not).
fn is_main_suite(suite: &str, codename: &str) -> bool {
    let suite = suite.trim_end_matches('/');
    (!codename.is_empty() && suite == codename)
        || ["stable", "oldstable", "testing", "unstable", "sid"].contains(&suite)
}

/// deb822 format, sources.list(5).
fn mirror_in_stanzas(text: &str, codename: &str) -> Option<Mirror> {
    let uncommented: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    uncommented.split(|line| line.trim().is_empty()).find_map(|stanza| {
        let field = |name: &str| {
            stanza.iter().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then_some(value.trim())
            })
        };
        let has = |name, wanted: &str| field(name)?.split_whitespace().find(|word| *word == wanted);
        has("Types", "deb")?;
        has("Components", "main")?;
        if field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no")) {
            return None;
        }
        field("Suites")?.split_whitespace().find(|suite| is_main_suite(suite, codename))?;
        let uri = field("URIs")?.split_whitespace().find(|uri| !uri.starts_with("cdrom:"))?;
        let keys = field("Signed-By").unwrap_or_default().split([' ', ',']);
        Some(Mirror { uri: uri.to_owned(), keys: key_files(keys) })
    })
}

/// One-line format, sources.list(5): `deb [options] uri suite component…`.
fn mirror_in_lines(text: &str, codename: &str) -> Option<Mirror> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        if uri.starts_with("cdrom:")
            || !is_main_suite(suite, codename)
            || !words.any(|word| word == "main")
        {
            return None;
        }
        let keys = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        let keys = key_files(keys.unwrap_or_default().split(','));
        Some(Mirror { uri: uri.to_owned(), keys })
    })
}

fn key_files<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    words.filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

/// `apt-cache madison`: a table of package, version and source, newest version first.
fn parse_madison(text: &str) -> Vec<Package> {
    text.lines()
        .filter(|line| !line.trim_end().ends_with(" Sources"))
        .filter_map(|line| {
            let mut columns = line.split('|').map(str::trim);
            Some(Package { name: columns.next()?.into(), version: columns.next()?.into() })
        })
        .collect()
}

/// `apt-get --print-uris`: lines of quoted address, file, size in bytes, digest.
fn parse_uris(text: &str) -> (usize, u64) {
    let sizes = text
        .lines()
        .filter(|line| line.starts_with('\''))
        .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZAS: &str = "\
Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

# A comment in front
Types: deb deb-src
# and one inside
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/some.gpg
";

    #[test]
    fn the_mirror_is_the_one_that_the_release_comes_from() {
        let mirror = mirror_in_stanzas(STANZAS, "bookworm").unwrap();
        assert_eq!(mirror.uri, "http://mirror.example/debian");
        assert_eq!(mirror.keys, ["/usr/share/keyrings/some.gpg"]);
    }

    #[test]
    fn a_disabled_stanza_is_no_mirror() {
        let text = format!("{STANZAS}Enabled: no\n");
        assert_eq!(mirror_in_stanzas(&text, "bookworm"), None);
    }

    #[test]
    fn one_line_sources_are_read_with_their_options() {
        let text = "\
# deb http://commented.example/debian bookworm main
deb cdrom:[Debian]/ bookworm main
deb-src http://source.example/debian bookworm main
deb http://mirror.example/security bookworm-security main
deb [arch=amd64 signed-by=/k/a.gpg,/k/b.gpg] http://mirror.example/debian bookworm main contrib
";
        let mirror = mirror_in_lines(text, "bookworm").unwrap();
        assert_eq!(mirror.uri, "http://mirror.example/debian");
        assert_eq!(mirror.keys, ["/k/a.gpg", "/k/b.gpg"]);
    }

    #[test]
    fn suites_may_be_named_by_their_state() {
        let text = "deb http://mirror.example/debian testing main\n";
        assert!(mirror_in_lines(text, "").is_some());
        let text = "deb http://vendor.example/apt cloud-bookworm main\n";
        assert!(mirror_in_lines(text, "bookworm").is_none());
    }

    #[test]
    fn the_private_source_keeps_signatures_checked() {
        let mirror = mirror_in_stanzas(STANZAS, "bookworm").unwrap();
        let source = mirror.source("trixie trixie-backports");
        assert!(source.contains("Suites: trixie trixie-backports\n"));
        assert!(source.contains("Signed-By: /usr/share/keyrings/some.gpg\n"));
        assert!(!source.to_lowercase().contains("trusted"));
    }

    #[test]
    fn the_private_configuration_points_outside_of_the_machines_own() {
        let text = configuration(Path::new("/cache/apt"), "arm64");
        for place in ["sourceparts", "Dir::State", "Dir::State::status", "Dir::Cache"] {
            let line = text.lines().find(|line| line.contains(&format!("{place} "))).unwrap();
            assert!(line.contains("\"/cache/apt"), "{line}");
        }
    }

    #[test]
    fn a_table_of_versions_is_read_newest_first() {
        let text = "  rust-src | 1.96.1+dfsg1-2 | http://mirror.example/debian t/main amd64 Packages\n  \
                    rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://mirror.example/debian t/main amd64 Packages\n  \
                    rust-src | 1.95.0 | http://mirror.example/debian t/main Sources\n";
        let versions: Vec<_> = parse_madison(text).into_iter().map(|p| p.version).collect();
        assert_eq!(versions, ["1.96.1+dfsg1-2", "1.95.0+dfsg1-2~bpo13+1"]);
    }

    #[test]
    fn the_size_of_a_download_is_the_sum_of_its_files() {
        let text = "Reading package lists...\n'http://m/a.deb' a.deb 100 SHA256:00\n'http://m/b.deb' b.deb 23 SHA256:00\n";
        assert_eq!(parse_uris(text), (2, 123));
    }

    #[test]
    fn os_release_values_lose_their_quotes() {
        let text = "ID=debian\nVERSION_CODENAME=\"bookworm\"\n";
        assert_eq!(os_release(text, "VERSION_CODENAME"), Some("bookworm"));
        assert_eq!(os_release(text, "ID"), Some("debian"));
    }
}
