//! Cards as NixOS makes them: populated by the real `firn install`, made by the very script that the
//! derivation runs (`nix/image/card-image.sh`), and booted as they are, from the boot ROM to the second
//! stage on the card.

#[path = "../common/mod.rs"]
mod common;

mod host;
mod image;
mod life;
mod scripts;
mod sequences;

use std::{path::Path, time::Duration};

use evk::{
    gdb::Hardware,
    qemu::{Entry, Machine, Slot},
    session::Session,
};

use common::assets;

/// From switching on to the loader's last word.
const LOADER: Duration = Duration::from_secs(120);

/// The whole board with this card, switched on; the image stays as it is.
fn switched_on(image: &Path) -> Session {
    let board = Machine::new(Entry::BootRom(Hardware::default()));
    board.card(Slot::Sd, image).start(&assets()).expect("board")
}
