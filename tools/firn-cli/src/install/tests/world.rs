//! A machine with NixOS: its store and profiles change as Nix changes them, its owner installs, and the power
//! fails. What every generation is made of is remembered, so that it can be told whether it is all there.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
    rc::Rc,
};

use anyhow::Result;
use firn::{
    block::SharedDevice,
    boot::{Catalogue, Ground, Store, Volume},
    fs::FileSystem,
    nixos::{DeviceTreeFile, Generation},
    state::Identity,
};
use serde_json::{Value, json};

use super::{
    card::{self, Card, Recorder},
    dice::Dice,
    disk::{Model, Plan},
};
use crate::install::{
    Installation,
    config::{Config, Source},
    judge,
    secrets::SecretsMaker,
    writer::Writer,
};
use crate::state::Named;

const PROFILES: &str = "/nix/var/nix/profiles";
/// A profile besides `system`.
const OTHER: &str = "known-good";
/// Where an encrypted root leaves room for the loader.
const BOOT: &str = "/boot";
/// What a kernel is longer than need be, in bytes: one of them is more than all else.
const LARGE: usize = 200_000;

/// What files of a generation hold. The loader must be able to boot it; in the emulator, for real.
#[derive(Clone)]
pub(super) struct Pieces {
    pub(super) kernel: Vec<u8>,
    pub(super) device_tree: Vec<u8>,
}

impl Pieces {
    /// A kernel that does nothing, and a tree.
    pub(super) fn small() -> Self {
        const SIZE: usize = 0x1000;
        let mut kernel = vec![0; SIZE];
        kernel[16..24].copy_from_slice(&(SIZE as u64 + 0x1_0000).to_le_bytes());
        kernel[24..32].copy_from_slice(&0b1010_u64.to_le_bytes());
        kernel[56..60].copy_from_slice(b"ARM\x64");
        let device_tree = include_bytes!("../../../../../tests/fixtures/devicetree/board.dtb");
        Self { kernel, device_tree: device_tree.to_vec() }
    }

    /// The kernel with a mark behind it.
    fn kernel(&self, mark: u32, more: usize) -> Vec<u8> {
        let mut kernel = self.kernel.clone();
        kernel.extend(mark.to_le_bytes());
        let size = kernel.len() + more;
        kernel.resize(size, 0x5a);
        // An Image is as long as it says, or shorter.
        kernel[16..24].copy_from_slice(&(size as u64 + 0x1_0000).to_le_bytes());
        kernel
    }
}

/// What a toplevel boots: the contents of its kernel, of its initrds, and of its device tree.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Truth {
    kernel: Vec<u8>,
    initrds: Vec<Vec<u8>>,
    has_secrets: bool,
    /// What store objects it needs.
    objects: BTreeSet<String>,
}

/// A link in a profile.
#[derive(Clone, Debug)]
pub(super) struct Link {
    profile: Option<&'static str>,
    number: u32,
    pub(super) toplevel: String,
    /// Its specialisations.
    pub(super) specialisations: Vec<String>,
}

/// The machine.
pub(super) struct World {
    pub(super) model: Model,
    pub(super) card: Rc<RefCell<Card>>,
    pub(super) config: Config,
    pub(super) dice: Dice,
    pieces: Pieces,
    /// Contents of everything that was ever in the store, by object and path.
    objects: BTreeMap<String, Vec<(String, Content)>>,
    truths: BTreeMap<String, Truth>,
    pub(super) links: Vec<Link>,
    /// What each profile names.
    current: BTreeMap<Option<&'static str>, u32>,
    next: u32,
    /// Whether no two generations have one kernel, and kernels are [`LARGE`].
    pub(super) only_new_kernels: bool,
    pub(super) running: String,
    /// What was there when an installation was done: it has its secrets.
    complete: RefCell<BTreeSet<String>>,
}

#[derive(Clone)]
enum Content {
    File(Vec<u8>),
    Link(String),
}

/// What a program appends is told by its name.
struct Programs;

impl SecretsMaker for Programs {
    fn make(&self, program: &str) -> Result<Option<Vec<u8>>> {
        Ok(Some(format!("made by {program}").into_bytes()))
    }
}

/// What came of an installation.
pub(super) struct Outcome {
    pub(super) result: Result<()>,
    pub(super) said: Vec<String>,
    pub(super) written: usize,
    pub(super) removed: usize,
}

impl World {
    /// A machine with one generation, which is installed and runs.
    pub(super) fn new(seed: u64, source: Source, pieces: Pieces) -> Self {
        let mut dice = Dice(seed);
        let (has_journal, unit) =
            if dice.one_in(2) { (true, 4096) } else { (false, 512 << dice.below(4)) };
        let mounts = [("/", true, 4096), (BOOT, has_journal, unit)];
        let mounts = if source == Source::Profiles { &mounts[..1] } else { &mounts[..] };
        let model = Model::new(mounts, Dice(dice.next()));
        let name = if source == Source::Profiles { "profiles" } else { "extlinux" };
        let limit = [None, Some(2), Some(3), Some(20)][dice.below(4)];
        let config = json!({
            "board": "imx8mp-evk", "source": name, "boot": BOOT, "configurationLimit": limit,
            "extraEntries": if dice.one_in(3) { json!({ "other": "title Other\nlinux /other\n" }) } else { json!({}) },
        });
        let mut world = Self {
            model,
            card: Card::new(),
            config: Config::parse(&config.to_string()).unwrap(),
            dice,
            pieces,
            objects: BTreeMap::new(),
            truths: BTreeMap::new(),
            links: Vec::new(),
            current: BTreeMap::new(),
            next: 1,
            only_new_kernels: false,
            running: String::new(),
            complete: RefCell::default(),
        };
        world.model.file("/etc/NIXOS", b"");
        if source == Source::Profiles {
            world.model.file("/boot/.keep", b"");
        } else {
            world.model.file("/boot-is-mounted-here", b"");
        }
        let first = world.build(None);
        world.install(&first).result.unwrap();
        world.model.sync_all();
        world.reboot();
        world
    }

    pub(super) fn source(&self) -> Source {
        self.config.source
    }

    // --- what Nix does ---------------------------------------------------------------------------------

    /// Builds a system, links it in a profile, and gives its toplevel. Nothing is synced.
    pub(super) fn build(&mut self, profile: Option<&'static str>) -> String {
        let number = self.next;
        self.next += 1;
        // A configuration that has changed often has the kernel of the one before.
        let has_old_kernel = number > 1 && !self.only_new_kernels && self.dice.one_in(2);
        let kernel_of = if has_old_kernel { number - 1 } else { number };
        let kernel = self.kernel_of(kernel_of);
        let trees = u32::from(self.dice.one_in(4));
        let trees = self.object("dtbs", trees);
        let tree = self.pieces.device_tree.clone();
        self.add(&trees, "freescale/imx8mp-evk.dtb", Content::File(tree));
        self.add(&trees, "freescale/other.dtb", Content::File(b"tree of another board".to_vec()));
        let names: &[&str] = [&[][..], &[], &["rescue"], &["rescue", "tiny"]][self.dice.below(4)];
        let mut specialisations = Vec::new();
        let mut documents = serde_json::Map::new();
        for name in names {
            let (toplevel, document) = self.toplevel(number, name, &kernel, &trees, &json!({}));
            specialisations.push(toplevel);
            documents.insert((*name).to_owned(), document);
        }
        let (toplevel, _) = self.toplevel(number, "", &kernel, &trees, &documents.into());
        let of_all: Vec<String> =
            specialisations.iter().flat_map(|of| self.truths[of].objects.clone()).collect();
        self.truths.get_mut(&toplevel).unwrap().objects.extend(of_all);
        self.write_objects(&toplevel);
        self.set_link(Link { profile, number, toplevel: toplevel.clone(), specialisations });
        toplevel
    }

    fn kernel_of(&mut self, number: u32) -> String {
        let object = self.object("linux-6.12.63", number);
        if !self.objects.contains_key(&object) {
            let more = if self.only_new_kernels { LARGE } else { self.dice.below(20_000) };
            let kernel = self.pieces.kernel(number, more);
            self.add(&object, "Image", Content::File(kernel));
        }
        object
    }

    /// A toplevel in the store, and its boot.json.
    fn toplevel(
        &mut self,
        number: u32,
        name: &str,
        kernel: &str,
        trees: &str,
        specialisations: &Value,
    ) -> (String, Value) {
        let initrd = self.object(&format!("{name}initrd-linux-6.12.63"), number);
        let initrd_bytes = format!("initrd of {number} {name}\n").into_bytes();
        self.add(&initrd, "initrd", Content::File(initrd_bytes.clone()));
        let toplevel =
            self.object(&format!("nixos-system-{name}imx8mp-25.11.2026{number:04}"), number);
        let has_secrets = self.dice.one_in(4);
        let tries = self.dice.one_in(3);
        let mut document = json!({
            "org.nixos.bootspec.v1": {
                "init": format!("{toplevel}/init"), "initrd": format!("{initrd}/initrd"),
                "kernel": format!("{kernel}/Image"), "kernelParams": ["root=fstab"],
                "label": "NixOS 25.11", "system": "aarch64-linux", "toplevel": toplevel,
            },
            "org.nixos.specialisation.v1": specialisations,
        });
        if has_secrets {
            document["org.nixos.bootspec.v1"]["initrdSecrets"] =
                json!(format!("append to {toplevel}"));
        }
        if tries {
            document["org.firn.v1"]["bootTries"] = json!(3);
        }
        if self.dice.one_in(2) {
            document["org.firn.v1"]["deviceTree"] =
                json!(format!("{trees}/freescale/imx8mp-evk.dtb"));
        }
        self.add(&toplevel, "boot.json", Content::File(document.to_string().into_bytes()));
        self.add(&toplevel, "init", Content::File(b"#!".to_vec()));
        self.add(
            &toplevel,
            "nixos-version",
            Content::File(format!("25.11.2026{number:04}").into()),
        );
        self.add(&toplevel, "kernel", Content::Link(format!("{kernel}/Image")));
        self.add(&toplevel, "dtbs", Content::Link(trees.to_owned()));
        let mut initrds = vec![initrd_bytes];
        if has_secrets {
            initrds.push(format!("made by append to {toplevel}").into_bytes());
        }
        let Some((_, Content::File(kernel_bytes))) = self.objects[kernel].first() else {
            unreachable!("kernels are files")
        };
        let truth = Truth {
            kernel: kernel_bytes.clone(),
            initrds,
            has_secrets,
            objects: [kernel, trees, &initrd, &toplevel].map(str::to_owned).into(),
        };
        self.truths.insert(toplevel.clone(), truth);
        (toplevel, document)
    }

    /// Where a toplevel's kernel is in the store.
    pub(super) fn kernel_path(&self, toplevel: &str) -> String {
        self.model.volume("/").read_link(&format!("{toplevel}/kernel")).unwrap()
    }

    fn object(&self, name: &str, number: u32) -> String {
        format!("/nix/store/{number:0>32}-{name}")
    }

    fn add(&mut self, object: &str, path: &str, content: Content) {
        let files = self.objects.entry(object.to_owned()).or_default();
        if !files.iter().any(|(other, _)| other == path) {
            files.push((path.to_owned(), content));
        }
    }

    /// Has all that a toplevel needs in the store, as it should be.
    fn write_objects(&self, toplevel: &str) {
        let mut tree = self.model.volume("/");
        for object in &self.truths[toplevel].objects {
            for (path, content) in &self.objects[object] {
                let path = format!("{object}/{path}");
                match content {
                    Content::File(bytes) if contents(&mut *tree, &path).as_ref() == Some(bytes) => {
                    }
                    Content::File(bytes) => self.model.file(&path, bytes),
                    Content::Link(target) if tree.read_link(&path).as_ref() == Ok(target) => {}
                    Content::Link(target) => self.model.link(&path, target),
                }
            }
        }
    }

    fn set_link(&mut self, link: Link) {
        let path = link.path();
        self.model.link(&path, &link.toplevel);
        self.point(link.profile, link.number);
        self.links.push(link);
    }

    /// Has a profile name one of its generations.
    pub(super) fn point(&mut self, profile: Option<&'static str>, number: u32) {
        let name = profile.unwrap_or("system");
        let path = format!("{}/{name}", directory(profile));
        self.model.link(&path, &format!("{name}-{number}-link"));
        self.current.insert(profile, number);
    }

    /// Removes older generations of all profiles but the last `keep`, and what of the store nothing
    /// needs any more.
    pub(super) fn collect_garbage(&mut self, keep: usize) {
        for profile in [None, Some(OTHER)] {
            let mut numbers: Vec<u32> =
                self.links.iter().filter(|l| l.profile == profile).map(|l| l.number).collect();
            numbers.sort_unstable_by(|a, b| b.cmp(a));
            let current = self.current.get(&profile).copied();
            let kept: Vec<u32> = numbers.into_iter().take(keep).chain(current).collect();
            let is_kept = |link: &Link| link.profile != profile || kept.contains(&link.number);
            let (left, gone): (Vec<_>, Vec<_>) = self.links.drain(..).partition(is_kept);
            self.links = left;
            gone.iter().for_each(|link| self.model.forget(&link.path()));
        }
        let roots = self.links.iter().map(|link| &link.toplevel).chain([&self.running]);
        let live: BTreeSet<_> = roots.flat_map(|root| self.truths[root].objects.clone()).collect();
        for (object, _) in
            self.model.volume("/").read_dir("/nix/store").unwrap().iter().map(|e| (&e.name, ()))
        {
            let path = format!("/nix/store/{object}");
            if !live.contains(&path) {
                self.model.forget(&path);
            }
        }
    }

    // --- what Firn does ----------------------------------------------------------------------------------

    /// Runs the installer.
    pub(super) fn install(&self, toplevel: &str) -> Outcome {
        let book = Recorder {
            card: self.card.clone(),
            model: self.model.clone(),
            running: self.running.clone(),
            torn: usize::try_from(self.model.operations() % 9).unwrap(),
            named: Named::of(card::store(&self.card).record()),
        };
        let installation = Installation {
            config: &self.config,
            board: judge::board("imx8mp-evk").unwrap(),
            toplevel: toplevel.to_owned(),
            writer: Writer::new(&self.model),
            secrets: &Programs,
            book: &book,
            running: vec![self.running.clone()],
            root_of_nix: Some("/".to_owned()),
            populates: false,
            said: RefCell::default(),
        };
        let result = installation.install();
        if result.is_ok() {
            let all = self
                .links
                .iter()
                .flat_map(|link| [&link.toplevel].into_iter().chain(&link.specialisations));
            self.complete.borrow_mut().extend(all.cloned());
        }
        Outcome {
            result,
            written: installation.writer.written.get(),
            removed: installation.writer.removed.get(),
            said: installation.said.take(),
        }
    }

    /// What the loader lists, and what it boots.
    fn look(&self) -> (Catalogue, Option<usize>) {
        // An encrypted root is nothing that the loader can read.
        let point = if self.source() == Source::Profiles { "/" } else { BOOT };
        let volume = Volume { name: point.to_owned(), file_system: self.model.volume(point) };
        let mut catalogue = Catalogue::of_volumes(vec![volume]);
        catalogue.read_all();
        let device: SharedDevice = self.card.clone();
        let store = Store::open(&device, None);
        let decision = Ground::new(Some(&store), None).decide(&mut catalogue);
        (catalogue, decision.map(|decision| decision.index))
    }

    /// What boots by default, which is all there.
    pub(super) fn booted(&self) -> String {
        let (mut catalogue, default) = self.look();
        let index = default.expect("nothing can be booted");
        let generation = catalogue.generations[index].clone();
        let volume = &mut catalogue.volumes[0].file_system;
        self.check(&mut **volume, &generation).unwrap();
        generation.id
    }

    /// The card is started; what comes up is told to be good.
    pub(super) fn reboot(&mut self) {
        self.running = self.booted();
        let running = Identity::new(&self.running);
        card::change(&self.card, |record| record.bless(running));
    }

    /// After a power cut, whoever switched does so again: what of the store was lost is fetched.
    pub(super) fn repair(&mut self) {
        let mut tree = self.model.volume("/");
        self.links.retain(|link| tree.read_link(&link.path()).is_ok());
        for profile in [None, Some(OTHER)] {
            let name = profile.unwrap_or("system");
            let target = tree.read_link(&format!("{}/{name}", directory(profile)));
            let number = target.ok().and_then(|target| {
                target.strip_prefix(&format!("{name}-"))?.strip_suffix("-link")?.parse().ok()
            });
            match number {
                Some(number) => drop(self.current.insert(profile, number)),
                None => drop(self.current.remove(&profile)),
            }
        }
        let roots = self.links.iter().map(|link| &link.toplevel).chain([&self.running]);
        roots.for_each(|toplevel| self.write_objects(toplevel));
    }

    /// Whether a generation that is listed is all there.
    fn check(&self, tree: &mut dyn FileSystem, generation: &Generation) -> Result<(), String> {
        judge::judge(tree, generation, judge::board("imx8mp-evk").unwrap())
            .map_err(|error| format!("{error:#}"))?;
        self.check_files(tree, generation)
    }

    fn check_files(
        &self,
        tree: &mut dyn FileSystem,
        generation: &Generation,
    ) -> Result<(), String> {
        let id = &generation.id;
        let truth = self.truths.get(id).ok_or_else(|| format!("{id} was never built"))?;
        let files = &generation.files;
        if contents(tree, &files.kernel).as_ref() != Some(&truth.kernel) {
            return Err(format!("{id} has another kernel, {}", files.kernel));
        }
        let initrds: Vec<_> =
            files.initrds.iter().map(|path| contents(tree, path).unwrap_or_default()).collect();
        let may_lack_secrets = truth.has_secrets && !self.complete.borrow().contains(id);
        let is_without = may_lack_secrets && initrds == truth.initrds[..truth.initrds.len() - 1];
        if initrds != truth.initrds && !is_without {
            return Err(format!("{id} has other initrds, {:?}", files.initrds));
        }
        let tree_path = match &files.device_tree {
            DeviceTreeFile::File(path) => path.clone(),
            DeviceTreeFile::Directory(path) => format!("{path}/freescale/imx8mp-evk.dtb"),
            DeviceTreeFile::FromFirmware => String::new(),
        };
        if contents(tree, &tree_path).as_ref() != Some(&self.pieces.device_tree) {
            return Err(format!("{id} has another device tree, {tree_path}"));
        }
        Ok(())
    }

    /// That all that the boot directory lists is there, and that what runs and what the record names are
    /// listed.
    pub(super) fn check_list(&self) {
        if self.source() == Source::Profiles {
            return;
        }
        let (mut catalogue, _) = self.look();
        for index in 0..catalogue.generations.len() {
            let generation = catalogue.generations[index].clone();
            if generation.id.starts_with('/') {
                let volume = &mut catalogue.volumes[0].file_system;
                self.check_files(&mut **volume, &generation).unwrap();
            }
        }
        assert!(
            catalogue.generations.iter().any(|generation| generation.id == self.running),
            "what runs is not listed any more"
        );
    }

    /// Toplevels that are listed.
    pub(super) fn listed(&self) -> Vec<String> {
        self.look().0.generations.into_iter().map(|generation| generation.id).collect()
    }

    /// Writes what the loader can read into a directory.
    pub(super) fn export(&self, directory: &Path) {
        let points: &[&str] = match self.source() {
            Source::Profiles => &["/etc", "/boot", "/nix"],
            Source::Extlinux => &["/boot"],
        };
        for (path, content) in points.iter().flat_map(|point| self.model.all_below(point)) {
            let path = directory.join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match content {
                Ok(bytes) => std::fs::write(path, bytes).unwrap(),
                Err(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            }
        }
    }

    /// What goes wrong in the next installation.
    pub(super) fn plan(&self, plan: Plan) {
        self.model.plan(plan);
    }
}

impl Link {
    pub(super) fn path(&self) -> String {
        let name = self.profile.unwrap_or("system");
        format!("{}/{name}-{}-link", directory(self.profile), self.number)
    }

    pub(super) fn key(&self) -> (Option<&'static str>, u32) {
        (self.profile, self.number)
    }
}

fn directory(profile: Option<&str>) -> String {
    match profile {
        None => PROFILES.to_owned(),
        Some(_) => format!("{PROFILES}/system-profiles"),
    }
}

/// The other profile.
pub(super) fn other() -> Option<&'static str> {
    Some(OTHER)
}

fn contents(tree: &mut dyn FileSystem, path: &str) -> Option<Vec<u8>> {
    let mut file = tree.open(path).ok()?;
    let mut bytes = vec![0; usize::try_from(file.size()).ok()?];
    file.read_at(0, &mut bytes).ok()?;
    Some(bytes)
}
