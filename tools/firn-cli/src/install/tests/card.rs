//! The card's first 8 MiB, where the state record is: blocks that were written, and nothing else.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use firn::{
    block::{BLOCK_SIZE, BlockDevice, Error, ErrorKind, SharedDevice},
    boot::Store,
    state::{Identity, RECORD_SIZE, Record, place::GAP_OFFSETS},
};

use super::disk::Model;
use crate::{install::place::Book, state::Named};

/// A card with an MBR whose only partition begins at 8 MiB.
pub(super) struct Card {
    blocks: BTreeMap<u64, [u8; BLOCK_SIZE]>,
    /// Blocks that are written before the power fails.
    left: Option<usize>,
}

impl Card {
    pub(super) fn new() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self::blank()))
    }

    /// One without a record.
    pub(super) fn blank() -> Self {
        let mut mbr = [0; BLOCK_SIZE];
        mbr[446 + 4] = 0x83;
        mbr[446 + 8..][..4].copy_from_slice(&16384_u32.to_le_bytes());
        mbr[446 + 12..][..4].copy_from_slice(&2048_u32.to_le_bytes());
        mbr[510..].copy_from_slice(&[0x55, 0xaa]);
        Self { blocks: [(0, mbr)].into(), left: None }
    }
}

impl Card {
    /// The two copies of the record.
    pub(super) fn copies(&self) -> [Vec<u8>; 2] {
        GAP_OFFSETS.map(|offset| {
            let first = offset / BLOCK_SIZE as u64;
            let blocks = first..first + (RECORD_SIZE / BLOCK_SIZE) as u64;
            let bytes = |number| self.blocks.get(&number).copied().unwrap_or([0; BLOCK_SIZE]);
            blocks.flat_map(bytes).collect()
        })
    }
}

impl BlockDevice for Card {
    fn name(&self) -> &str {
        "card"
    }

    fn block_count(&self) -> u64 {
        16384 + 2048
    }

    fn read(&mut self, first_block: u64, destination: &mut [u8]) -> Result<(), Error> {
        for (number, block) in (first_block..).zip(destination.chunks_mut(BLOCK_SIZE)) {
            match self.blocks.get(&number) {
                Some(bytes) => block.copy_from_slice(bytes),
                None => block.fill(0),
            }
        }
        Ok(())
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn write(&mut self, first_block: u64, source: &[u8]) -> Result<(), Error> {
        for (number, block) in (first_block..).zip(source.as_chunks().0) {
            if self.left == Some(0) {
                let device = "card".to_owned();
                return Err(Error { kind: ErrorKind::Transfer, device, block: number });
            }
            self.left = self.left.map(|left| left - 1);
            self.blocks.insert(number, *block);
        }
        Ok(())
    }
}

/// The loader's view of the record.
pub(super) fn store(card: &Rc<RefCell<Card>>) -> Store {
    let device: SharedDevice = card.clone();
    Store::open(&device, None)
}

/// Changes the record, as `firn state` does.
pub(super) fn change(card: &Rc<RefCell<Card>>, edit: impl FnOnce(&mut Record)) {
    let mut store = store(card);
    let mut record = store.record().clone();
    edit(&mut record);
    if record != *store.record() {
        store.write(&record).unwrap();
    }
}

/// What the installer writes the default to.
pub(super) struct Recorder {
    pub(super) card: Rc<RefCell<Card>>,
    pub(super) model: Model,
    pub(super) running: String,
    /// How much of the record is written when the power fails, in blocks.
    pub(super) torn: usize,
    pub(super) named: Named,
}

impl Book for Recorder {
    fn named(&self) -> &Named {
        &self.named
    }

    fn set_default(&self, toplevel: &str) -> anyhow::Result<String> {
        let mut store = store(&self.card);
        let mut record = store.record().clone();
        record.set_default(Identity::new(toplevel), Some(Identity::new(&self.running)));
        if record == *store.record() {
            return Ok("already".to_owned());
        }
        let done = self.model.operation();
        if done.is_err() {
            self.card.borrow_mut().left = Some(self.torn);
            let _ = store.write(&record);
            self.card.borrow_mut().left = None;
        }
        done?;
        store.write(&record).map_err(|problem| anyhow::anyhow!("{problem}"))?;
        Ok("written".to_owned())
    }
}
