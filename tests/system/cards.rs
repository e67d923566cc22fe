//! Cards with a random mixture of sources, and what is to be listed of each, worked out from what
//! was put on it.

use std::{cmp::Reverse, collections::BTreeMap};

use firn::{
    boot::Volume,
    nixos::{Generation, Source},
};
use serde_json::{Value, json};

use super::{Memory, PROFILES, as_partition, store};

/// A generation of a profile.
#[derive(Clone, Debug)]
struct Built {
    profile: Option<&'static str>,
    number: u32,
    toplevel: String,
    damage: Option<Damage>,
    /// Names, and whether the kernel of each is missing.
    specialisations: Vec<(&'static str, bool)>,
}

/// What is wrong with a toplevel.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    Collected,
    HalfWritten,
    NoKernel,
    OtherProcessor,
}

/// A card.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    built: Vec<Built>,
    /// What the `system` link names.
    current: Option<usize>,
    /// Those of `built` that extlinux.conf lists; the first is its default.
    extlinux: Vec<usize>,
    /// Those that loader entries list, and whether their tries are used up; the first is their default.
    loader_entries: Vec<(usize, bool)>,
    limit: Option<u32>,
    /// Whether `/nix` is a partition and `/boot` another one.
    is_split: bool,
}

/// What is known of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) number: Option<u32>,
    pub(crate) profile: Option<String>,
    pub(crate) specialisation: Option<String>,
    pub(crate) source: String,
    pub(crate) is_broken: bool,
    pub(crate) is_default: bool,
}

impl From<&Generation> for Row {
    fn from(generation: &Generation) -> Self {
        Self {
            id: generation.id.clone(),
            number: generation.number,
            profile: generation.profile.clone(),
            specialisation: generation.specialisation.clone(),
            source: generation.source.to_string(),
            is_broken: generation.broken.is_some(),
            is_default: generation.default,
        }
    }
}

/// Random numbers, the same for each seed (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    /// Some of `0..end`, in any order.
    fn some(&mut self, end: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..end).filter(|_| !self.one_in(2)).collect();
        let mut shuffled = Vec::new();
        while !left.is_empty() {
            shuffled.push(left.swap_remove(self.below(left.len())));
        }
        shuffled
    }
}

impl Card {
    /// The card of a seed.
    pub(crate) fn random(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut built: Vec<Built> = Vec::new();
        let mut number = 0;
        for _ in 0..dice.below(14) {
            number += 1 + dice.below(3) as u32;
            let generation = Built::random(&mut dice, None, number, &built);
            built.push(generation);
        }
        let of_system = built.len();
        for (index, profile) in ["tested", "known-good"].into_iter().enumerate() {
            if dice.one_in(3) {
                let number = 1 + index as u32 * 5 + dice.below(20) as u32;
                let generation = Built::random(&mut dice, Some(profile), number, &built);
                built.push(generation);
            }
        }
        let without = dice.one_in(4);
        let extlinux = if without { Vec::new() } else { dice.some(of_system) };
        let loader_entries = if dice.one_in(2) { Vec::new() } else { dice.some(of_system) };
        Self {
            current: (of_system > 0 && !dice.one_in(4)).then(|| dice.below(of_system)),
            extlinux,
            loader_entries: loader_entries
                .into_iter()
                .map(|index| (index, dice.one_in(4)))
                .collect(),
            limit: dice.one_in(3).then(|| dice.below(6) as u32),
            is_split: dice.one_in(3),
            built,
        }
    }

    /// Whether it is one file system.
    pub(crate) fn is_one_volume(&self) -> bool {
        !self.is_split
    }

    /// Its file systems: the root, or what holds `/boot` and then what holds `/nix`.
    pub(crate) fn trees(&self) -> Vec<Memory> {
        let mut nix = Memory::default();
        for generation in &self.built {
            self.add_to_store(&mut nix, generation);
        }
        if let Some(current) = self.current {
            let target = format!("system-{}-link", self.built[current].number);
            nix.link(&format!("{PROFILES}/system"), &target);
        }
        let mut boot = if self.is_split { Memory::default() } else { nix.clone() };
        let root = if self.is_split { "" } else { "/boot" };
        self.add_extlinux(&mut boot, root);
        self.add_loader_entries(&mut boot, root);
        if self.is_split { vec![boot, as_partition(nix)] } else { vec![boot] }
    }

    pub(crate) fn volumes(&self) -> Vec<Volume> {
        let volume = |(index, tree)| Volume {
            name: format!("volume {index}"),
            file_system: Box::new(tree) as _,
        };
        self.trees().into_iter().enumerate().map(volume).collect()
    }

    fn add_to_store(&self, nix: &mut Memory, generation: &Built) {
        let Built { toplevel, damage, .. } = generation;
        let name = format!("{}-{}-link", generation.profile.unwrap_or("system"), generation.number);
        let folder = match generation.profile {
            None => PROFILES.to_owned(),
            Some(_) => format!("{PROFILES}/system-profiles"),
        };
        nix.link(&format!("{folder}/{name}"), toplevel);
        if *damage == Some(Damage::Collected) {
            return;
        }
        let mut document = self.document(toplevel);
        if *damage == Some(Damage::OtherProcessor) {
            document["org.nixos.bootspec.v1"]["system"] = json!("x86_64-linux");
        }
        if *damage != Some(Damage::NoKernel) {
            nix.file(&kernel_of(toplevel), "kernel");
        }
        for (name, without_kernel) in &generation.specialisations {
            let special = special(toplevel, name);
            document["org.nixos.specialisation.v1"][name] = self.document(&special);
            nix.file(&format!("{special}/init"), "#!");
            if !without_kernel {
                nix.file(&kernel_of(&special), "kernel");
            }
        }
        let mut text = document.to_string();
        if *damage == Some(Damage::HalfWritten) {
            text.truncate(text.len() / 2);
        }
        nix.file(&format!("{toplevel}/init"), "#!");
        nix.file(&format!("{toplevel}/boot.json"), text);
    }

    fn document(&self, toplevel: &str) -> Value {
        json!({
            "org.nixos.bootspec.v1": {
                "init": format!("{toplevel}/init"),
                "kernel": kernel_of(toplevel),
                "kernelParams": [],
                "label": "NixOS",
                "system": "aarch64-linux",
                "toplevel": toplevel,
            },
            "org.nixos.specialisation.v1": {},
            "org.firn.v1": {"configurationLimit": self.limit},
        })
    }

    fn add_extlinux(&self, boot: &mut Memory, root: &str) {
        let Some(&default) = self.extlinux.first() else { return };
        let mut text = String::from("DEFAULT nixos-default\nTIMEOUT 50\nMENU TITLE NixOS\n");
        let mut add = |label: &str, toplevel: &str| {
            text += &format!(
                "LABEL nixos-{label}\n  LINUX ../nixos/Image\n  APPEND init={toplevel}/init\n"
            );
        };
        add("default", &self.built[default].toplevel);
        for &index in &self.extlinux {
            let Built { number, toplevel, specialisations, .. } = &self.built[index];
            add(&format!("{number}-default"), toplevel);
            for (name, _) in specialisations {
                add(&format!("{number}-{name}"), &special(toplevel, name));
            }
        }
        boot.file(&format!("{root}/nixos/Image"), "kernel");
        boot.file(&format!("{root}/extlinux/extlinux.conf"), text);
    }

    fn add_loader_entries(&self, boot: &mut Memory, root: &str) {
        let Some((default, _)) = self.loader_entries.first() else { return };
        let default = self.built[*default].number;
        let text = format!("timeout 5\ndefault nixos-generation-{default}.conf\n");
        boot.file(&format!("{root}/loader/loader.conf"), text);
        boot.file(&format!("{root}/EFI/nixos/Image.efi"), "kernel");
        for (index, counted_out) in &self.loader_entries {
            let Built { number, toplevel, .. } = &self.built[*index];
            let counters = if *counted_out { "+0-3" } else { "" };
            boot.file(
                &format!("{root}/loader/entries/nixos-generation-{number}{counters}.conf"),
                format!("title NixOS\nlinux /EFI/nixos/Image.efi\noptions init={toplevel}/init\n"),
            );
        }
    }

    /// All that is on it, in order.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut of_toplevel: BTreeMap<String, Facts> = BTreeMap::new();
        for (index, generation) in self.built.iter().enumerate() {
            for (name, in_store) in generation.in_store() {
                let id = name.map_or(generation.toplevel.clone(), |name| {
                    special(&generation.toplevel, name)
                });
                let facts = of_toplevel.entry(id).or_insert_with(|| Facts::of(generation, name));
                // Two links to one toplevel: the system's own, of the higher number.
                let key =
                    |profile: Option<&str>, number| (profile.map(str::to_owned), Reverse(number));
                if key(generation.profile, generation.number) < key(facts.profile, facts.number) {
                    (facts.profile, facts.number) = (generation.profile, generation.number);
                }
                let is_listed = self.extlinux.contains(&index);
                facts.is_broken_in_store = in_store;
                facts.in_extlinux |= is_listed;
                facts.is_link |= name.is_none() && self.current == Some(index);
                facts.is_default_of_extlinux |=
                    name.is_none() && self.extlinux.first() == Some(&index);
            }
            // A profile whose toplevel is gone does not tell of its specialisations; extlinux does.
            for (name, _) in &generation.specialisations {
                if self.extlinux.contains(&index) {
                    let facts =
                        of_toplevel.entry(special(&generation.toplevel, name)).or_insert_with(
                            || Facts { is_in_store: false, ..Facts::of(generation, Some(name)) },
                        );
                    if generation.number > facts.number
                        && facts.profile.is_none()
                        && !facts.is_in_store
                    {
                        facts.number = generation.number;
                    }
                    facts.in_extlinux = true;
                }
            }
            for (position, (entry, counted_out)) in self.loader_entries.iter().enumerate() {
                if *entry == index {
                    let facts =
                        of_toplevel.get_mut(&generation.toplevel).expect("its link is there");
                    facts.in_loader_entries = true;
                    facts.is_counted_out |= counted_out;
                    facts.is_default_of_loader_entries |= position == 0;
                }
            }
        }
        let mut all: Vec<(String, Facts)> = of_toplevel.into_iter().collect();
        all.sort_by_key(|(_, facts)| {
            (facts.is_counted_out, facts.profile, Reverse(facts.number), facts.specialisation)
        });
        let bootable = |wish: &dyn Fn(&Facts) -> bool| {
            all.iter().position(|(_, facts)| !facts.is_broken() && wish(facts))
        };
        let default = bootable(&|facts| facts.is_link)
            .or_else(|| bootable(&|facts| facts.is_default_of_extlinux))
            .or_else(|| bootable(&|facts| facts.is_default_of_loader_entries))
            .or_else(|| bootable(&|f| !f.is_counted_out && f.specialisation.is_none()))
            .or_else(|| bootable(&|facts| !facts.is_counted_out))
            .or_else(|| bootable(&|_| true));
        let row = |(index, (id, facts)): (usize, (String, Facts))| Row {
            id,
            number: Some(facts.number),
            profile: facts.profile.map(str::to_owned),
            specialisation: facts.specialisation.map(str::to_owned),
            source: facts.source().to_string(),
            is_broken: facts.is_broken(),
            is_default: default == Some(index),
        };
        all.into_iter().enumerate().map(row).collect()
    }

    /// Those of its rows that the menu lists.
    pub(crate) fn listed(&self) -> Vec<Row> {
        let rows = self.rows();
        let default = rows.iter().find(|row| row.is_default).or(rows.first());
        // Only a boot.json that can be read says anything.
        let speaks = default.is_some_and(|default| {
            self.built.iter().any(|generation| {
                let is_it = generation.toplevel == default.id
                    || generation
                        .specialisations
                        .iter()
                        .any(|(name, _)| special(&generation.toplevel, name) == default.id);
                let is_readable =
                    !matches!(generation.damage, Some(Damage::Collected | Damage::HalfWritten));
                is_it && is_readable
            })
        });
        let Some(limit) = self.limit.filter(|_| speaks) else { return rows };
        let link = self.current.map(|current| self.built[current].toplevel.clone());
        let mut shown: Vec<(Option<String>, Option<u32>)> = Vec::new();
        let wanted: Vec<_> = rows
            .iter()
            .filter(|row| row.is_default || (Some(&row.id) == link.as_ref() && !row.is_broken))
            .map(|row| (row.profile.clone(), row.number))
            .collect();
        let keep = |row: &Row| {
            let key = (row.profile.clone(), row.number);
            let of_profile = shown.iter().filter(|(profile, _)| *profile == row.profile).count();
            if row.source == "profile" && of_profile < limit as usize && !shown.contains(&key) {
                shown.push(key.clone());
            }
            row.source != "profile" || shown.contains(&key) || wanted.contains(&key)
        };
        let mut keep = keep;
        rows.into_iter().filter(|row| keep(row)).collect()
    }
}

impl Built {
    fn random(
        dice: &mut Dice,
        profile: Option<&'static str>,
        number: u32,
        before: &[Self],
    ) -> Self {
        // Somebody went back to an older configuration.
        if !before.is_empty() && dice.one_in(5) {
            return Self { profile, number, ..before[dice.below(before.len())].clone() };
        }
        let name = profile.unwrap_or("system");
        let kinds =
            [Damage::Collected, Damage::HalfWritten, Damage::NoKernel, Damage::OtherProcessor];
        let names: &[&str] = [&[][..], &["rescue"], &["rescue", "tiny"]][dice.below(3)];
        Self {
            profile,
            number,
            toplevel: store(&format!("nixos-{name}-imx8mp-25.11.{number}")),
            damage: dice.one_in(3).then(|| kinds[dice.below(4)]),
            specialisations: names.iter().map(|name| (*name, dice.one_in(4))).collect(),
        }
    }

    /// What the profile tells of: itself and its specialisations, and whether each is broken.
    fn in_store(&self) -> Vec<(Option<&'static str>, bool)> {
        let mut all = vec![(None, self.damage.is_some())];
        if !matches!(self.damage, Some(Damage::Collected | Damage::HalfWritten)) {
            all.extend(self.specialisations.iter().map(|(name, broken)| (Some(*name), *broken)));
        }
        all
    }
}

/// What is to be known of a toplevel.
#[derive(Clone, Debug)]
struct Facts {
    profile: Option<&'static str>,
    number: u32,
    specialisation: Option<&'static str>,
    is_in_store: bool,
    is_broken_in_store: bool,
    in_extlinux: bool,
    in_loader_entries: bool,
    is_counted_out: bool,
    is_link: bool,
    is_default_of_extlinux: bool,
    is_default_of_loader_entries: bool,
}

impl Facts {
    fn of(generation: &Built, specialisation: Option<&'static str>) -> Self {
        Self {
            profile: generation.profile,
            number: generation.number,
            specialisation,
            is_in_store: true,
            is_broken_in_store: false,
            in_extlinux: false,
            in_loader_entries: false,
            is_counted_out: false,
            is_link: false,
            is_default_of_extlinux: false,
            is_default_of_loader_entries: false,
        }
    }

    fn is_in_order_in_store(&self) -> bool {
        self.is_in_store && !self.is_broken_in_store
    }

    fn is_broken(&self) -> bool {
        !self.is_in_order_in_store() && !self.in_extlinux && !self.in_loader_entries
    }

    fn source(&self) -> Source {
        if self.is_in_order_in_store() || self.is_broken() {
            Source::Profile
        } else if self.in_extlinux {
            Source::Extlinux
        } else {
            Source::LoaderEntry
        }
    }
}

fn special(toplevel: &str, name: &str) -> String {
    store(&format!("{name}-of-{}", toplevel.rsplit('/').next().unwrap_or_default()))
}

fn kernel_of(toplevel: &str) -> String {
    let name = toplevel.rsplit('/').next().unwrap_or_default();
    format!("{}/Image", store(&format!("linux-6.12.{}", name.replace('.', "-"))))
}
