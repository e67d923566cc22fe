//! The uSDHC driver on QEMU's own model of controller and card, by QEMU's test protocol: the driver
//! runs here and pokes the registers from outside, while the processor sleeps.

mod common;

use std::{
    cell::{Cell, RefCell},
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{
        fs::FileExt as _,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use common::assets;
use firn::{
    block::{BlockDevice as _, SharedDevice, cache::Cache},
    board::{BOARD, CardSlot},
    boot::Store,
    dma::{ALIGNMENT, Buffer, Dma, Error},
    driver::{
        sd,
        usdhc::{self, Buffers},
    },
    mmio::Bus,
    state::{
        Identity, RECORD_SIZE, Record,
        copies::{self, Ground},
        place::GAP_OFFSETS,
    },
    time::Clock,
};

const GIB: u64 = 1 << 30;
/// DRAM that stands in for the buffers that the driver hands over.
const STAGING: u32 = 0x4000_0000;

/// `wfi` and a branch back to it.
const SLEEP: [u32; 2] = [0xd503_207f, 0x17ff_ffff];

/// A machine whose processor sleeps.
struct Machine {
    qemu: RefCell<Child>,
    protocol: RefCell<BufReader<UnixStream>>,
    start: Instant,
    _folder: tempfile::TempDir,
    staged: Cell<u32>,
    /// Buffers that a device may write.
    lent: Cell<u32>,
}

impl Machine {
    /// With card images that are not written to.
    fn start(drives: &[(u32, &Path)]) -> Self {
        Self::start_with(drives, "on")
    }

    fn start_with(drives: &[(u32, &Path)], snapshot: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("qtest");
        let listener = UnixListener::bind(&socket).unwrap();
        let sleep = folder.path().join("sleep");
        std::fs::write(&sleep, SLEEP.map(u32::to_le_bytes).concat()).unwrap();
        let mut command = Command::new(assets().qemu);
        command.args(["-M", "imx8mp-evk", "-m", "1G", "-display", "none", "-serial", "none"]);
        let sleep = format!("loader,file={},addr=0x920000,cpu-num=0,force-raw=on", sleep.display());
        command.args(["-device", &sleep]);
        command.args(["-qtest-log", "none", "-qtest", &format!("unix:{}", socket.display())]);
        for (bus, image) in drives {
            let image = image.display();
            let drive = format!("if=sd,bus={bus},format=raw,snapshot={snapshot},file={image}");
            command.args(["-drive", &drive]);
        }
        let mut qemu = command.stdin(Stdio::null()).spawn().unwrap();
        let stream = connection(&listener, &mut qemu);
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self {
            qemu: RefCell::new(qemu),
            protocol: RefCell::new(BufReader::new(stream)),
            start: Instant::now(),
            _folder: folder,
            staged: Cell::new(STAGING),
            lent: Cell::new(0),
        }
    }

    fn ask(&self, request: &str) -> String {
        let mut protocol = self.protocol.borrow_mut();
        writeln!(protocol.get_mut(), "{request}").unwrap();
        let mut answer = String::new();
        protocol.read_line(&mut answer).unwrap();
        let answer = answer.trim_end().strip_prefix("OK").unwrap_or_else(|| panic!("{request}"));
        answer.trim().to_owned()
    }

    fn stage(&self, length: usize) -> u32 {
        let address = self.staged.get();
        self.staged.set(address + u32::try_from(length).unwrap());
        address
    }
}

/// QEMU's connection; it ends at once if something in its command line does not please it.
fn connection(listener: &UnixListener, qemu: &mut Child) -> UnixStream {
    listener.set_nonblocking(true).unwrap();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
            Err(_) => assert!(qemu.try_wait().unwrap().is_none(), "QEMU ended"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Machine {
    fn end(&self) {
        let mut qemu = self.qemu.borrow_mut();
        let _ = qemu.kill();
        let _ = qemu.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends QEMU where the machine itself is never dropped.
struct Ending(&'static Machine);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Bus for Machine {
    fn read16(&self, _: u32) -> u16 {
        unreachable!("the driver reads 32 bits")
    }
    fn write16(&self, _: u32, _: u16) {
        unreachable!("the driver writes 32 bits")
    }
    fn read32(&self, address: u32) -> u32 {
        let answer = self.ask(&format!("readl {address:#x}"));
        let value = u64::from_str_radix(answer.trim_start_matches("0x"), 16).unwrap();
        u32::try_from(value).unwrap()
    }
    fn write32(&self, address: u32, value: u32) {
        self.ask(&format!("writel {address:#x} {value:#x}"));
    }
}

impl Clock for Machine {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Dma for Machine {
    fn begin_receive(&self, buffer: &mut [u8]) -> Result<u32, Error> {
        let aligned = buffer.as_ptr().addr().is_multiple_of(ALIGNMENT)
            && buffer.len().is_multiple_of(ALIGNMENT);
        if !aligned {
            return Err(Error::Unaligned);
        }
        self.lent.set(self.lent.get() + 1);
        Ok(self.stage(buffer.len()))
    }
    fn end_receive(&self, buffer: &mut [u8], bus_address: u32) {
        let answer = self.ask(&format!("read {bus_address:#x} {}", buffer.len()));
        for (byte, digits) in buffer.iter_mut().zip(answer.as_bytes()[2..].chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        }
        self.lent.set(self.lent.get() - 1);
        if self.lent.get() == 0 {
            self.staged.set(STAGING);
        }
    }
    fn begin_send(&self, buffer: &[u8]) -> Result<u32, Error> {
        let address = self.stage(buffer.len());
        let digits: String = buffer.iter().map(|byte| format!("{byte:02x}")).collect();
        self.ask(&format!("write {address:#x} {} 0x{digits}", buffer.len()));
        Ok(address)
    }
    fn end_send(&self, _: &[u8], _: u32) {}
}

/// Byte `offset` of a test card.
fn content(offset: u64) -> u8 {
    (offset ^ offset >> 9 ^ offset >> 17).to_le_bytes()[0]
}

/// A sparse card image whose first two MiB are known.
fn card(size: u64) -> tempfile::NamedTempFile {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(size).unwrap();
    let file: &File = image.as_file();
    let bytes: Vec<u8> = (0..2 << 20).map(content).collect();
    file.write_all_at(&bytes, 0).unwrap();
    image
}

/// Identifies a card of `size` bytes in `slot` and reads it at all kinds of places.
fn read_everything(slot: &'static CardSlot, bus: u32, size: u64) {
    let image = card(size);
    let machine = Machine::start(&[(bus, image.path())]);
    let mut buffers = Buffers::new();
    let mut card = usdhc::open(slot, &machine, &machine, &machine, &mut buffers);
    card.identify().unwrap();
    assert_eq!(card.block_count(), size / 512);
    for (block, offset, blocks) in [(0, 0, 1), (1, 0, 2), (3, 8, 200), (7, 1, 3), (0, 0, 2048)] {
        let mut memory = vec![0; offset + blocks * 512];
        card.read_blocks(block, &mut memory[offset..]).unwrap();
        let first = block * 512;
        let wanted = (first..).map(content);
        assert!(memory[offset..].iter().copied().eq(wanted.take(blocks * 512)), "block {block}");
    }
    // Data that comes while the processor does something else, and a read in between.
    for (block, blocks) in [(0, 1), (5, 1024), (16, 256)] {
        card.start_read(block, Buffer::new(blocks * 512)).unwrap();
        let mut between = [0; 1024];
        card.read_blocks(3, &mut between).unwrap();
        assert!(between.iter().copied().eq((3 * 512..).map(content).take(1024)));
        let read = card.finish_read().unwrap();
        let wanted = (block * 512..).map(content).take(blocks * 512);
        assert!(read.iter().copied().eq(wanted), "block {block}");
        card.start_read(block, read).unwrap();
        card.abandon_read();
    }
    card.start_read(1, Buffer::new(65_536)).unwrap();
    for block in [9, 300, 2] {
        let (finished, started) = card.finish_and_start_read(block, Buffer::new(65_536));
        assert_eq!(finished.unwrap().len(), 65_536);
        started.unwrap();
    }
    let (finished, started) = card.finish_and_start_read(1, Buffer::new(65_536));
    assert!(finished.unwrap().iter().copied().eq((1024..).map(content).take(65_536)));
    started.unwrap();
    card.stop();
    card.finish_read().unwrap_err();
    let mut last = [1; 512];
    card.read_blocks(size / 512 - 1, &mut last).unwrap();
    assert_eq!(last, [0; 512]);
    assert_eq!(card.read_blocks(size / 512, &mut last), Err(sd::Error::OutOfRange));
    card.stop();
    // Whoever comes next can start over.
    card.read_blocks(0, &mut last).unwrap();
    assert_eq!(last[5], content(5));
}

#[test]
#[ignore = "needs QEMU; cargo xtask test runs it"]
fn a_byte_addressed_card_is_read() {
    read_everything(&BOARD.cards[0], 1, 64 << 20);
}

#[test]
#[ignore = "needs QEMU; cargo xtask test runs it"]
fn a_block_addressed_card_is_read() {
    read_everything(&BOARD.cards[0], 1, 8 * GIB);
}

/// The record that write number `n` writes.
fn record(n: usize) -> Record {
    let mut record = Record::default();
    (0..8).for_each(|k| record.bless(Identity::new(&format!("/nix/store/{:0>240}", n * 100 + k))));
    record
}

/// Writes records to a card of `size` bytes, whose first partition begins behind 8 MiB, and looks
/// for the last one in its image.
fn write_records(size: u64) {
    let image = card(size);
    let mut boot = [0; 512];
    boot[446 + 4] = 0x83;
    boot[446 + 8..446 + 12].copy_from_slice(&16384u32.to_le_bytes());
    boot[446 + 12..446 + 16].copy_from_slice(&1000u32.to_le_bytes());
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    image.as_file().write_all_at(&boot, 0).unwrap();

    // A store's device lives for ever, but QEMU has to end.
    let machine: &'static Machine =
        Box::leak(Box::new(Machine::start_with(&[(1, image.path())], "off")));
    let _qemu = Ending(machine);
    let buffers = Box::leak(Box::new(Buffers::new()));
    let mut driver = usdhc::open(&BOARD.cards[0], machine, machine, machine, buffers);
    driver.identify().unwrap();
    let device: SharedDevice = Rc::new(RefCell::new(Cache::new(driver)));
    for n in 1..4 {
        let mut store = Store::open(&device, None);
        assert_eq!(*store.record(), if n == 1 { Record::default() } else { record(n - 1) });
        store.write(&record(n)).unwrap();
        assert_eq!(store.problems(), []);
    }
    // One block, another command.
    device.borrow_mut().write(20_000, &[0x5c; 512]).unwrap();

    let read = |offset: u64| {
        let mut bytes = vec![0; RECORD_SIZE];
        image.as_file().read_exact_at(&mut bytes, offset).unwrap();
        bytes
    };
    let [a, b] = GAP_OFFSETS.map(read);
    assert_eq!(copies::choose(Ground::Gap, &a, &b).record, record(3));
    assert_eq!(read(20_000 * 512)[..513], [&[0x5c; 512][..], &[0]].concat());
    // Nothing else.
    let mut front: Vec<u8> = (0..2 << 20).map(content).collect();
    front[..512].copy_from_slice(&boot);
    let mut now = vec![0; 2 << 20];
    image.as_file().read_exact_at(&mut now, 0).unwrap();
    assert!(now == front);
}

#[test]
#[ignore = "needs QEMU; cargo xtask test runs it"]
fn a_record_written_to_a_byte_addressed_card_is_in_its_image() {
    write_records(64 << 20);
}

#[test]
#[ignore = "needs QEMU; cargo xtask test runs it"]
fn a_record_written_to_a_block_addressed_card_is_in_its_image() {
    write_records(8 * GIB);
}

#[test]
#[ignore = "needs QEMU; cargo xtask test runs it"]
fn an_empty_slot_is_found_soon() {
    let machine = Machine::start(&[]);
    for slot in BOARD.cards {
        let mut buffers = Buffers::new();
        let mut card = usdhc::open(slot, &machine, &machine, &machine, &mut buffers);
        let start = Instant::now();
        assert_eq!(card.identify(), Err(sd::Error::NoCard));
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
}
