//! The boot ROM: what it starts from which medium, and what it offers and tells afterwards.
//!
//! Pure: it knows a medium's bytes and hands out others. Whoever owns it puts what [`BootRom::start`]
//! loads, and the words of [`BootRom::memory`], into memory, enters the first stage at EL3, and answers
//! calls through the table of services with [`BootRom::query_call`] and [`BootRom::download_call`].
//! Host tests use it as [`firn::soc::boot_rom::BootRom`] and as a bus of its records.
//!
//! Sources: i.MX 8M Plus reference manual, chapter on system boot; U-Boot `tools/imx8mimage.c`,
//! `arch/arm/mach-imx/romapi.c`, `arch/arm/mach-imx/imx8m/soc.c`; barebox
//! `drivers/mci/imx-esdhc-pbl.c`. Where none of them tells what the ROM does with a bad header, the
//! model refuses what a loader must not rely on.

use std::cell::RefCell;

use firn::{
    mmio::Bus,
    soc::boot_rom::{
        BOOT_MODE, EVENT_LOG_POINTER, EVENT_SECONDARY, Question, RECORD_POINTER, RomFailure,
        SECONDARY_FUSES, SERVICES,
    },
};

use super::usdhc::Storage;

/// What every service answers when it has done what it was asked.
pub const DONE: u32 = 0xf0;
/// What the model answers otherwise; the real codes are nowhere told.
pub const FAILED: u32 = 0x33;

/// Entries of the table of services, in the ROM's own memory. Whoever enters there wants a service.
pub const DOWNLOAD_ENTRY: u32 = 0x0000_2000;
/// The other one.
pub const QUERY_ENTRY: u32 = 0x0000_2100;

/// Where the model keeps its records: on-chip memory that is the ROM's.
const RECORD: u32 = 0x0091_0000;
const LOG: u32 = 0x0091_0100;

const HEADER_SIZE: usize = 64;
const HEADER_TAG: u32 = 0x4120_00d1;
/// What the ROM may load to: on-chip memory behind its own.
const LOADABLE: std::ops::Range<u64> = 0x91_8000..0x99_0000;
/// More than this at once is refused, as barebox has found.
const LOAD_MAX: u32 = 0x3_f000;
const MIB: u32 = 1 << 20;

/// What is plugged in, and how the switches stand.
pub enum Medium {
    /// A card in the slot of the uSDHC with this number, counted from 0.
    Sd {
        /// The controller.
        instance: u8,
        /// The card.
        card: Box<dyn Storage>,
    },
    /// An eMMC behind the uSDHC with this number.
    Emmc {
        /// The controller.
        instance: u8,
        /// The user area.
        user: Box<dyn Storage>,
        /// The boot partitions.
        boot: [Box<dyn Storage>; 2],
        /// The boot partition that PARTITION_CONFIG names, counted from 0; `None` for the user area.
        active: Option<usize>,
        /// Whether the ROM lets the device pour the boot partition out ("fast boot").
        fast: bool,
    },
    /// A NOR flash behind FlexSPI.
    FlexSpi(Box<dyn Storage>),
    /// What the host sends over USB.
    Usb(Vec<u8>),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device cannot read this byte, ever.
    Byte(u64),
    /// The call of [`download`](firn::soc::boot_rom::BootRom::download) with this number, counted from 0, fails.
    Call(usize),
    /// Every call from this one on fails.
    CallsFrom(usize),
    /// This question gets no answer.
    Silent(Question),
    /// This question gets another answer.
    Answer(Question, u32),
}

/// What the ROM has loaded and enters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Where the bytes go.
    pub address: u32,
    /// The head of the image, header and room for the signature included.
    pub bytes: Vec<u8>,
    /// What is entered, at EL3.
    pub entry: u32,
}

/// The boot ROM of a board with one medium.
pub struct BootRom {
    medium: Medium,
    page_size: u32,
    fuses: u32,
    faults: Vec<Fault>,
    /// What a stream was drained by beyond what was loaded, in bytes.
    drained: usize,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    image_offset: u32,
    secondary: bool,
    /// The boot partition that was started.
    partition: Option<usize>,
    /// How much of a stream was handed out.
    position: usize,
    calls: usize,
    broken_rules: Vec<String>,
}

impl BootRom {
    /// A ROM with pages of 512 bytes (1 KiB over USB), unblown fuses and nothing wrong.
    pub fn new(medium: Medium) -> Self {
        let page_size = if matches!(medium, Medium::Usb(_)) { 1024 } else { 512 };
        let state = RefCell::default();
        Self { medium, page_size, fuses: 0, faults: Vec::new(), drained: 0, state }
    }

    /// With another page size in bytes.
    #[must_use]
    pub fn with_page_size(mut self, page_size: u32) -> Self {
        self.page_size = page_size;
        self
    }

    /// With this value of the fuses for the secondary copy's distance (0 to 15).
    #[must_use]
    pub fn with_secondary_fuses(mut self, value: u32) -> Self {
        self.fuses = value << 19;
        self
    }

    /// With something wrong.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// With a stream of which the ROM takes so many bytes more than it loads.
    #[must_use]
    pub fn with_drained(mut self, bytes: usize) -> Self {
        self.drained = bytes;
        self
    }

    /// What the ROM does after a reset: looks for a header, then for the secondary one, and loads what
    /// it describes.
    ///
    /// # Errors
    /// What was refused, in the order of the attempts. A real board goes on with USB then.
    pub fn start(&self) -> Result<Started, Vec<String>> {
        *self.state.borrow_mut() = State::default();
        let mut refused = Vec::new();
        for (partition, offset, secondary) in self.attempts() {
            self.state.borrow_mut().partition = partition;
            match self.try_start(offset) {
                Ok(started) => {
                    let mut state = self.state.borrow_mut();
                    (state.image_offset, state.secondary) = (offset, secondary);
                    state.position = started.bytes.len() + self.drained;
                    return Ok(started);
                }
                Err(why) => refused.push(format!("{offset:#x}: {why}")),
            }
        }
        Err(refused)
    }

    /// Boot partition, offset and whether it is the secondary copy, in the ROM's order.
    fn attempts(&self) -> Vec<(Option<usize>, u32, bool)> {
        let card = || {
            let second = self.secondary_distance().map(|distance| (None, 0x8000 + distance, true));
            [(None, 0x8000, false)].into_iter().chain(second).collect()
        };
        match &self.medium {
            Medium::Sd { .. } | Medium::Emmc { active: None, .. } => card(),
            Medium::Emmc { active: Some(active), .. } => {
                vec![(Some(*active), 0, false), (Some(1 - active), 0, true)]
            }
            Medium::FlexSpi(_) => vec![(None, 0x1000, false)],
            Medium::Usb(_) => vec![(None, 0, false)],
        }
    }

    fn secondary_distance(&self) -> Option<u32> {
        match self.fuses >> 19 & 0xf {
            0 => Some(4 * MIB),
            1 => Some(2 * MIB),
            2 => Some(MIB),
            exponent @ 3..=10 => Some(MIB << exponent),
            _ => None,
        }
    }

    /// Loads what the header at `offset` describes, if the ROM would.
    fn try_start(&self, offset: u32) -> Result<Started, String> {
        let mut header = [0; HEADER_SIZE];
        self.read(u64::from(offset), &mut header).ok_or("unreadable")?;
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        if word(0) != HEADER_TAG {
            return Err(format!("no header, but {:#010x}", word(0)));
        }
        let [entry, dcd, boot_data, this] = [4, 0xc, 0x10, 0x14].map(word);
        // The boot data are looked for where they are in this kind of image.
        if boot_data != this.wrapping_add(0x20) {
            return Err(format!("boot data at {boot_data:#x}, header at {this:#x}"));
        }
        let [start, length, plugin] = [0x20, 0x24, 0x28].map(word);
        let end = u64::from(start) + u64::from(length);
        if start != this || u64::from(start) < LOADABLE.start || end > LOADABLE.end {
            return Err(format!("would be loaded to {start:#x}..{end:#x}"));
        }
        if length > LOAD_MAX || (length as usize) < HEADER_SIZE {
            return Err(format!("would load {length:#x} bytes"));
        }
        if !(u64::from(start) + HEADER_SIZE as u64..end).contains(&u64::from(entry)) {
            return Err(format!("would be entered at {entry:#x}"));
        }
        if dcd != 0 || plugin & 1 != 0 {
            return Err("has device configuration data or is a plugin".into());
        }
        let mut bytes = vec![0; length as usize];
        self.read(u64::from(offset), &mut bytes).ok_or("unreadable")?;
        Ok(Started { address: start, bytes, entry })
    }

    /// Reads from the medium; `None` if that fails.
    fn read(&self, offset: u64, destination: &mut [u8]) -> Option<()> {
        let end = offset.checked_add(destination.len() as u64)?;
        let broken = |fault: &Fault| matches!(fault, Fault::Byte(at) if (offset..end).contains(at));
        if self.faults.iter().any(broken) {
            return None;
        }
        let storage = match &self.medium {
            Medium::Sd { card, .. } => card,
            Medium::Emmc { user, boot, .. } => {
                self.state.borrow().partition.map_or(user, |index| &boot[index])
            }
            Medium::FlexSpi(flash) => flash,
            Medium::Usb(stream) => {
                let start = usize::try_from(offset).ok()?;
                let end = start.checked_add(destination.len())?;
                destination.copy_from_slice(stream.get(start..end)?);
                return Some(());
            }
        };
        let mut block = [0; 512];
        let mut position = offset;
        let mut rest = destination;
        while !rest.is_empty() {
            storage.read(position / 512, &mut block);
            let from = usize::try_from(position % 512).ok()?;
            let count = rest.len().min(512 - from);
            let (piece, behind) = rest.split_at_mut(count);
            piece.copy_from_slice(&block[from..from + count]);
            rest = behind;
            position += count as u64;
        }
        Some(())
    }

    fn is_stream(&self) -> bool {
        matches!(self.medium, Medium::Usb(_) | Medium::Emmc { fast: true, active: Some(_), .. })
    }

    /// Type and instance of the device, as the ROM numbers them.
    fn device(&self) -> (u8, u8) {
        match self.medium {
            Medium::Sd { instance, .. } => (1, instance),
            Medium::Emmc { instance, .. } => (2, instance),
            Medium::FlexSpi(_) => (4, 0),
            Medium::Usb(_) => (0xe, 0),
        }
    }

    /// The answer to a question; `None` for what is no question.
    fn answer(&self, question: u32) -> Option<u32> {
        for fault in &self.faults {
            match *fault {
                Fault::Silent(silent) if silent as u32 == question => return None,
                Fault::Answer(about, answer) if about as u32 == question => return Some(answer),
                _ => {}
            }
        }
        let state = self.state.borrow();
        Some(match question {
            1 => 0x1000,
            2 => {
                let (kind, instance) = self.device();
                let fast = self.is_stream() && kind == 2;
                u32::from_le_bytes([u8::from(fast), instance, kind, 0])
            }
            3 => self.page_size,
            4 => 0,
            5 => match (&self.medium, state.secondary) {
                (Medium::Usb(_), _) => 5,
                (_, false) => 6,
                (_, true) => 9,
            },
            6 => state.image_offset,
            _ => return None,
        })
    }

    /// A call of the query service: x0 to x2 are these. What is to be answered in x0, and the word to
    /// be written at `destination`.
    pub fn query_call(&self, question: u32, destination: u32, xor: u32) -> (u32, Option<u32>) {
        match self.answer(question) {
            Some(answer) if xor == question ^ destination => (DONE, Some(answer)),
            _ => (FAILED, None),
        }
    }

    /// A call of the download service: x0 to x3 are these. What is to be answered in x0, and the bytes
    /// to be written at `destination`.
    pub fn download_call(
        &self,
        destination: u32,
        offset: u32,
        size: u32,
        xor: u32,
    ) -> (u32, Vec<u8>) {
        if xor != destination ^ offset ^ size {
            return (FAILED, Vec::new());
        }
        let mut bytes = vec![0; size as usize];
        match self.hand_out(&mut bytes, offset) {
            Some(()) => (DONE, bytes),
            None => (FAILED, Vec::new()),
        }
    }

    fn hand_out(&self, destination: &mut [u8], offset: u32) -> Option<()> {
        let call = {
            let mut state = self.state.borrow_mut();
            state.calls += 1;
            state.calls - 1
        };
        let refused = self.faults.iter().any(|fault| match *fault {
            Fault::Call(number) => number == call,
            Fault::CallsFrom(number) => call >= number,
            _ => false,
        });
        if refused {
            return None;
        }
        if self.is_stream() {
            if offset != 0 {
                return self.break_rule(format!("offset {offset:#x} in a stream"));
            }
            let position = self.state.borrow().position;
            self.read(position as u64, destination)?;
            self.state.borrow_mut().position += destination.len();
            return Some(());
        }
        let page = self.page_size as usize;
        if !destination.len().is_multiple_of(page) || !(offset as usize).is_multiple_of(page) {
            let size = destination.len();
            return self.break_rule(format!("{size:#x} bytes at {offset:#x} are no whole pages"));
        }
        self.read(offset.into(), destination)
    }

    fn break_rule<T>(&self, what: String) -> Option<T> {
        self.state.borrow_mut().broken_rules.push(what);
        None
    }

    /// What a caller did that the ROM does not stand.
    pub fn broken_rules(&self) -> Vec<String> {
        self.state.borrow().broken_rules.clone()
    }

    /// Bytes of what the host sends that nobody has taken.
    pub fn left_in_stream(&self) -> usize {
        match &self.medium {
            Medium::Usb(stream) => stream.len().saturating_sub(self.state.borrow().position),
            _ => 0,
        }
    }

    /// How often something was downloaded.
    pub fn downloads(&self) -> usize {
        self.state.borrow().calls
    }

    /// The words that the ROM leaves in memory, and those of registers that it does not write but
    /// that tell the same: address and value.
    pub fn memory(&self) -> Vec<(u32, u32)> {
        let (kind, instance) = self.device();
        let serial = matches!(self.medium, Medium::Usb(_));
        let mut words = vec![
            (SERVICES, 0x0000_0001),
            (SERVICES + 4, 0),
            (SERVICES + 8, DOWNLOAD_ENTRY),
            (SERVICES + 12, 0),
            (SERVICES + 16, QUERY_ENTRY),
            (SERVICES + 20, 0),
            (EVENT_LOG_POINTER, LOG),
            (EVENT_LOG_POINTER + 4, 0),
            (RECORD_POINTER, RECORD),
            (RECORD_POINTER + 4, 0),
            (RECORD, u32::from_le_bytes([0, instance, kind, 0])),
            (SECONDARY_FUSES, self.fuses),
            (BOOT_MODE, if serial { 1 << 24 } else { 2 << 24 }),
        ];
        let started = if self.state.borrow().secondary { EVENT_SECONDARY } else { 0x50 };
        // Words behind an event are no events, whatever they look like.
        let log =
            [0x10 << 24, 0x80 << 24, EVENT_SECONDARY << 24, 0xa0 << 24, 0, 0, started << 24, 0];
        words.extend((LOG..).step_by(4).zip(log));
        words
    }
}

impl firn::soc::boot_rom::BootRom for BootRom {
    fn query(&self, question: Question) -> Result<u32, RomFailure> {
        self.answer(question as u32).ok_or(RomFailure::Refused(FAILED))
    }

    fn download(&self, destination: &mut [u8], offset: u32) -> Result<(), RomFailure> {
        self.hand_out(destination, offset).ok_or(RomFailure::Refused(FAILED))
    }
}

/// Its records, and 0 everywhere else.
impl Bus for BootRom {
    fn read16(&self, address: u32) -> u16 {
        panic!("16 bits at {address:#x}: the ROM's records are words");
    }

    fn write16(&self, address: u32, _: u16) {
        panic!("{address:#x} is the ROM's");
    }

    fn read32(&self, address: u32) -> u32 {
        let word = self.memory().into_iter().find(|(at, _)| *at == address);
        word.map_or(0, |(_, value)| value)
    }

    fn write32(&self, address: u32, _: u32) {
        panic!("{address:#x} is the ROM's");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head that the ROM starts, of 0x3000 bytes.
    fn head() -> Vec<u8> {
        let mut head = vec![0x77; 0x3000];
        head[..HEADER_SIZE].fill(0);
        for (at, word) in [
            (0, HEADER_TAG),
            (4, 0x92_0000),
            (0x10, 0x91_ffe0),
            (0x14, 0x91_ffc0),
            (0x20, 0x91_ffc0),
            (0x24, 0x3000),
        ] {
            put(&mut head, at, word);
        }
        head
    }

    fn put(bytes: &mut [u8], at: usize, word: u32) {
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }

    /// A card with these heads at the two places.
    fn card(first: &[u8], second: &[u8]) -> BootRom {
        let mut card = vec![0; 0x40_8000 + second.len()];
        card[0x8000..0x8000 + first.len()].copy_from_slice(first);
        card[0x40_8000..].copy_from_slice(second);
        BootRom::new(Medium::Sd { instance: 1, card: Box::new(card) })
    }

    #[test]
    fn a_good_head_is_loaded_and_entered_as_its_header_says() {
        let started = card(&head(), &[]).start().unwrap();
        assert_eq!((started.address, started.entry), (0x91_ffc0, 0x92_0000));
        assert_eq!(started.bytes, head());
    }

    #[test]
    fn each_field_that_the_rom_relies_on_makes_it_take_the_second_copy() {
        for (at, word, why) in [
            (0, 0x4020_00d1, "0x8000: no header, but 0x402000d1"),
            (4, 0x91_ffc0, "0x8000: would be entered at 0x91ffc0"),
            (4, 0x92_2fc0, "0x8000: would be entered at 0x922fc0"),
            (0xc, 0x92_0000, "0x8000: has device configuration data or is a plugin"),
            (0x10, 0, "0x8000: boot data at 0x0, header at 0x91ffc0"),
            (0x20, 0x90_0000, "0x8000: would be loaded to 0x900000..0x903000"),
            (0x24, 0x3_f200, "0x8000: would load 0x3f200 bytes"),
            (0x24, u32::MAX, "0x8000: would be loaded to 0x91ffc0..0x10091ffbf"),
            (0x28, 1, "0x8000: has device configuration data or is a plugin"),
        ] {
            let mut bad = head();
            put(&mut bad, at, word);
            let rom = card(&bad, &head());
            rom.start().unwrap();
            assert_eq!(rom.answer(6), Some(0x40_8000), "{why}");
            assert_eq!(rom.answer(5), Some(9), "{why}");
            let refused = card(&bad, &[]).start().unwrap_err();
            assert_eq!(refused, [why, "0x408000: no header, but 0x00000000"]);
        }
    }

    #[test]
    fn a_call_whose_arguments_do_not_add_up_is_refused() {
        let rom = card(&head(), &[]);
        rom.start().unwrap();
        assert_eq!(rom.query_call(3, 0x91_0800, 3 ^ 0x91_0800), (DONE, Some(512)));
        assert_eq!(rom.query_call(3, 0x91_0800, 0), (FAILED, None));
        let xor = 0x4020_0000 ^ 0x8000 ^ 0x200;
        assert_eq!(
            rom.download_call(0x4020_0000, 0x8000, 0x200, xor),
            (DONE, head()[..0x200].to_vec())
        );
        assert_eq!(rom.download_call(0x4020_0000, 0x8000, 0x200, 0).0, FAILED);
        let xor = 0x4020_0000 ^ 0x8000 ^ 0x100;
        assert_eq!(rom.download_call(0x4020_0000, 0x8000, 0x100, xor).0, FAILED);
        assert_eq!(rom.broken_rules(), ["0x100 bytes at 0x8000 are no whole pages"]);
    }
}
