//! Where the parts of an image go on a board.

use super::{
    Error, ErrorKind,
    container::{Part, PartKind},
    flexspi::Flash,
    rom,
};

/// What a board and its chip prescribe for an image.
#[derive(Debug)]
pub struct Target {
    /// What a user calls the board, at most [`super::container::BOARD_SIZE`] characters.
    pub board: &'static str,
    /// Where the boot ROM enters the first stage.
    pub entry: u32,
    /// The most that the boot ROM loads, in bytes, header and signature block included.
    pub load_max: u32,
    /// The most that the first stage's code and data may take, in bytes.
    pub spl_max: u32,
    /// Where the container lies in the image.
    pub container_at: u32,
    /// Where existing first stages, U-Boot's and NXP's, look for a FIT in the image.
    pub fit_at: u32,
    /// Room for an image in front of what else is on a card, in bytes.
    pub image_max: u32,
    /// Where each part may be loaded to.
    pub rooms: &'static [(PartKind, Room)],
    /// The release of the training firmware, as its file names end.
    pub training_release: &'static str,
    /// The NOR flash behind FlexSPI.
    pub flexspi: Flash,
}

/// A piece of memory for a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// How the part may lie in it.
    pub fit: RoomFit,
}

/// How a part may lie in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomFit {
    /// It starts with the room, where it is entered.
    AtStart,
    /// Anywhere; it is data.
    Anywhere,
}

impl Target {
    /// The room for parts of this kind, if they are loaded to one.
    pub fn room(&self, kind: PartKind) -> Option<Room> {
        self.rooms.iter().find(|(of, _)| *of == kind).map(|(_, room)| *room)
    }

    /// Where the boot ROM puts the image's first byte.
    pub fn load_address(&self) -> u32 {
        self.entry.saturating_sub(rom::HEADER_SIZE)
    }

    /// Refuses a part that would be loaded to, or entered at, a place that is not for it. `part` is
    /// one of those that the first stage loads.
    pub fn check_placement(&self, part: &Part) -> Result<(), Error> {
        let kind = |address| ErrorKind::Placement { part: part.kind, address };
        let misplaced = |address| Err(Error::at(part.offset, kind(address)));
        let Some(room) = self.room(part.kind) else { return misplaced(part.load) };
        let behind = part.load.checked_sub(room.start);
        let inside = behind
            .and_then(|behind| behind.checked_add(part.size.into()))
            .is_some_and(|end| end <= room.size);
        match room.fit {
            _ if !inside => misplaced(part.load),
            RoomFit::AtStart if part.load != room.start => misplaced(part.load),
            RoomFit::AtStart if part.entry != room.start => misplaced(part.entry),
            RoomFit::Anywhere if part.entry != 0 => misplaced(part.entry),
            RoomFit::AtStart | RoomFit::Anywhere => Ok(()),
        }
    }
}
