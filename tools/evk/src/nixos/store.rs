//! A board that has been updated for years: hundreds of generations, and a store that is full of others'
//! files.

use std::fs;

use anyhow::{Context as _, Result};

use super::{DEVICE_TREE, Generation, System, Timeout};
use crate::{
    assets::Assets,
    card::{Card, FileSystem, MIB, Partition, Table},
    crowd::{Crowd, WITNESS},
    tree::{Content, Tree},
};

/// Generations of the large system, the newest of which has this number.
pub const GENERATIONS: u32 = 200;
/// Entries in its store.
pub const STORE_ENTRIES: usize = 50_000;

impl System {
    /// So many generations of a few KiB each, with all their files in the store.
    pub fn large(assets: &Assets, stub_kernel: &[u8]) -> Result<Self> {
        let tree = fs::read(assets.dtbs.join(DEVICE_TREE))
            .with_context(|| format!("reading {DEVICE_TREE}"))?;
        let small = Self::small(assets, stub_kernel)?;
        let first = small.generations.first().context("a system has generations")?;
        let device_tree = Content::bytes(tree);
        let generations = (1..=GENERATIONS).rev().map(|number| {
            let day = number - 1;
            Generation {
                number,
                version: format!("25.11.2026{:02}{:02}.{:07x}", day / 28 + 1, day % 28 + 1, number),
                date: format!("2026-{:02}-{:02} 12:00", day / 28 + 1, day % 28 + 1),
                device_tree: device_tree.clone(),
                ..first.clone()
            }
        });
        Ok(Self { generations: generations.collect(), timeout: Timeout::Never, ..small })
    }

    /// A card like that of a board, whose store is crowded. `indexed`: as Linux writes it.
    pub fn crowded_card(&self, entries: usize, indexed: bool) -> Card {
        let folder = "nix/store".to_owned();
        let witness = Content::bytes("a store path\n");
        let root = self.root().with(format!("{folder}/{WITNESS}"), witness);
        let root = Partition::new(FileSystem::Ext4, "NIXOS_SD", root);
        Card::new(Table::Gpt)
            .partition(Partition::new(FileSystem::Fat16, "FIRMWARE", Tree::new()).size(30 * MIB))
            .partition(root.crowded(Crowd { folder, entries, indexed }))
    }
}
