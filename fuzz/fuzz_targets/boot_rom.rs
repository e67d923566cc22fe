//! What the boot ROM tells and what it reads, any of it: the first stage reads no register but those
//! that are there, loads to no memory but that of its parts, and enters BL31 only where it belongs.
#![no_main]

use std::{cell::RefCell, collections::BTreeMap};

use firn::{
    image::container::PartKind,
    memory::Region,
    mmio::Bus,
    soc::boot_rom::{
        Access, BOOT_MODE, BootRom, CARD_OFFSET, EVENT_LOG_POINTER, MAX_PAGE_SIZE, Question,
        RECORD_POINTER, RomFailure, SECONDARY_CARD_OFFSET, SECONDARY_FUSES, find,
    },
    spl::load::{Memory, SCRATCH_SIZE, load},
};
use firn_fuzz::{
    flash::{containers, damage, image, repair, target},
    input::Input,
};
use libfuzzer_sys::fuzz_target;

/// More than any image takes.
const DOWNLOADS: u32 = 20_000;
/// The most memory that a part gets here, in bytes.
const PART: u64 = 64 << 10;

thread_local! {
    static IMAGE: Vec<u8> = image();
    static SCRATCH: RefCell<Box<[u8; SCRATCH_SIZE]>> = RefCell::new(Box::new([0; SCRATCH_SIZE]));
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let flags = input.byte();
    // An SD card, the secondary copy on it, an eMMC's boot partition that is poured out, USB.
    let usual: [u32; 6] = match flags % 4 {
        0 => [1, 0x01_0100, 512, 0x8400, 6, 0x8000],
        1 => [1, 0x01_0100, 512, 0x40_8400, 9, 0x40_8000],
        2 => [1, 0x02_0201, 1024, 0, 6, 0],
        _ => [1, 0x0e_0000, 512, 0x400, 5, 0],
    };
    let mut answers = usual.map(Ok);
    for _ in 0..(flags >> 2) % 4 {
        let which = usize::from(input.byte());
        answers[which % 6] = match which / 6 % 4 {
            0 => Err(RomFailure::Absent),
            1 => Err(RomFailure::Refused(input.u32())),
            2 => Ok(1 << (input.byte() % 32)),
            _ => Ok(input.u32()),
        };
    }
    let failures = if flags & 0x10 == 0 { [0; 3] } else { input.array::<3>() };
    let words = if flags & 0x20 == 0 {
        Words::default()
    } else {
        Words {
            pointers: std::array::from_fn(|_| input.u32()),
            records: std::array::from_fn(|_| u32::from(input.byte()) << 24 | 0x02_0200),
        }
    };
    let whole = IMAGE.with(Clone::clone);
    let mut image = whole.clone();
    let first = containers(&image).pop().expect("the container of what is loaded");
    if flags & 0x40 == 0 {
        damage(&mut image, &[first], 0, &mut input);
        repair(&mut image, first);
    } else {
        // Bytes of any part, or of the container.
        for _ in 0..input.byte() % 4 {
            let at = first + usize::from(input.u16()) % (image.len() - first);
            image[at] ^= input.byte();
        }
    }
    let is_good = answers == usual.map(Ok) && failures == [0; 3] && image == whole;
    let second = (flags & 0x80 != 0).then_some(whole);
    let rom = Rom { answers, copies: [Some(image), second], failures, state: RefCell::default() };
    let medium = match find(&words, &rom) {
        Ok(medium) => medium,
        Err(error) => {
            assert!(!is_good, "{error}");
            return assert!(!error.to_string().contains(char::is_control));
        }
    };
    assert!(medium.page_size.is_power_of_two() && medium.page_size <= MAX_PAGE_SIZE);
    let _ = medium.to_string();
    rom.state.borrow_mut().unit = Some(medium.page_size);
    rom.state.borrow_mut().stream = medium.access == Access::Stream;
    let mut memory = Rooms::default();
    let loaded = SCRATCH.with_borrow_mut(|scratch| {
        load(&rom, &medium, target(), &mut memory, scratch, &mut |error| drop(error.to_string()))
    });
    match loaded {
        Err(error) => {
            let is_there = flags % 4 != 1 || rom.copies[1].is_some();
            assert!(!is_good || !is_there, "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
        Ok(loaded) => {
            let room = target().room(PartKind::Bl31).expect("memory for BL31");
            assert_eq!(loaded.entry, room.start, "BL31 is entered elsewhere");
            assert!(memory.parts.contains_key(&room.start), "BL31 was not loaded");
            for region in loaded.recovery.regions() {
                assert!(memory.parts.contains_key(&region.start()), "{region:?} was not loaded");
            }
        }
    }
});

/// Memory that the ROM leaves behind, and registers.
#[derive(Default)]
struct Words {
    pointers: [u32; 4],
    records: [u32; 16],
}

impl Bus for Words {
    fn read16(&self, address: u32) -> u16 {
        panic!("a halfword at {address:#x}")
    }

    fn write16(&self, address: u32, _: u16) {
        panic!("written to {address:#x}")
    }

    fn read32(&self, address: u32) -> u32 {
        let known = [EVENT_LOG_POINTER, RECORD_POINTER, SECONDARY_FUSES, BOOT_MODE];
        match known.iter().position(|&known| known == address) {
            // Mostly such as the ROM's are.
            Some(index @ (0 | 1)) if self.pointers[index] & 1 == 0 => {
                0x90_0000 + (self.pointers[index] & 0x9_fffc)
            }
            Some(index) => self.pointers[index],
            None => {
                assert!((0x90_0000..0x99_0000).contains(&address), "{address:#x} is no memory");
                assert!(address.is_multiple_of(4), "{address:#x} is not aligned");
                self.records[(address / 4) as usize % self.records.len()]
            }
        }
    }

    fn write32(&self, address: u32, _: u32) {
        panic!("written to {address:#x}")
    }
}

/// A ROM that was started from a card or fed through USB.
struct Rom {
    answers: [Result<u32, RomFailure>; 6],
    /// What lies in both places of a card; in others, the first.
    copies: [Option<Vec<u8>>; 2],
    /// Downloads that fail, counted from the first.
    failures: [u8; 3],
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    downloads: u32,
    /// Once it was told.
    unit: Option<u32>,
    stream: bool,
    /// Where a stream is.
    position: usize,
}

impl BootRom for Rom {
    fn query(&self, question: Question) -> Result<u32, RomFailure> {
        self.answers[question as usize - 1]
    }

    fn download(&self, destination: &mut [u8], offset: u32) -> Result<(), RomFailure> {
        let mut state = self.state.borrow_mut();
        state.downloads += 1;
        assert!(state.downloads < DOWNLOADS, "endless loading");
        let unit = state.unit.expect("a page size that was told");
        assert!(offset.is_multiple_of(unit) && destination.len().is_multiple_of(unit as usize));
        if self.failures.iter().any(|&failure| u32::from(failure) == state.downloads) {
            return Err(RomFailure::Refused(0x33));
        }
        let [first, second] = &self.copies;
        let (copy, start) = if state.stream {
            assert_eq!(offset, 0, "a stream has no places");
            state.position += destination.len();
            (first, Some(state.position - destination.len()))
        } else if u64::from(offset) < SECONDARY_CARD_OFFSET {
            (first, offset.checked_sub(CARD_OFFSET as u32).map(|start| start as usize))
        } else {
            (second, Some(offset as usize - SECONDARY_CARD_OFFSET as usize))
        };
        destination.fill(0);
        let bytes = copy.as_ref().zip(start).and_then(|(copy, start)| copy.get(start..));
        let bytes = bytes.unwrap_or_default();
        if state.stream && bytes.is_empty() {
            return Err(RomFailure::Refused(0x55));
        }
        destination.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

/// Memory of parts, as the board has it.
#[derive(Default)]
struct Rooms {
    parts: BTreeMap<u64, Vec<u8>>,
}

impl Memory for Rooms {
    fn bytes(&mut self, region: Region) -> Option<&mut [u8]> {
        let fits = |start: u64, size: u64| Region::new(start, size).contains(region);
        assert!(
            target().rooms.iter().any(|(_, room)| fits(room.start, room.size)),
            "{region:?} is nobody's room"
        );
        if region.size() > PART {
            return None;
        }
        let size = region.size() as usize;
        let bytes = self.parts.entry(region.start()).or_default();
        bytes.resize(size.max(bytes.len()), 0);
        Some(&mut bytes[..size])
    }
}
