//! A plugin of QEMU that counts executed instructions and writes each access to the console's UART and the
//! cards' controllers, with the count: `COUNT WAITED STORE ADDRESS VALUE`, where STORE is `>` for a store
//! and `<` for a load, address and value in hexadecimal digits. `-plugin libstamp.so,out=FILE`
//!
//! WAITED is how many of the instructions did nothing but wait: looks at the system counter that follow one
//! another closely.
//!
//! With `-icount` two runs are the same to the byte. Source of the interface: QEMU 10.0,
//! `docs/devel/tcg-plugins.rst` and `include/qemu/qemu-plugin.h`.

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    fs::File,
    io::{BufWriter, Write as _},
    ptr,
    sync::{Mutex, PoisonError},
};

/// UART2's receive and transmit registers. Source: i.MX 8M Plus Reference Manual, memory map,
/// UARTx_URXD and UARTx_UTXD.
const URXD: u64 = 0x3089_0000;
const UTXD: u64 = 0x3089_0040;
/// URXD holds a character.
const CHARACTER_READY: u64 = 1 << 15;

/// uSDHC2 and uSDHC3. Source: the manual's memory map of AIPS-3.
const USDHC: [u64; 2] = [0x30b5_0000, 0x30b6_0000];
/// Source: the manual, uSDHC memory map: block attributes, command argument, command, interrupt status.
const BLK_ATT: u64 = 0x04;
const CMD_ARG: u64 = 0x08;
const CMD_XFR_TYP: u64 = 0x0c;
const INT_STATUS: u64 = 0x30;
/// INT_STATUS: a command's answer is there, a transfer is complete.
const COMPLETE: u64 = 0b11;

/// Loads and stores of one 32-bit register, with which the firmware reaches devices (`src/mmio.rs`): to watch
/// only these saves time. Bits 31:25. Source: Arm ARM, C4.1, "Loads and Stores".
const WORD_ACCESS: u32 = 0xb800_0000;
const WORD_ACCESS_MASK: u32 = 0xfe00_0000;

/// `mrs x0, CNTPCT_EL0` and `CNTVCT_EL0`; bits 4:0 are the register. Source: Arm ARM, C5.2 and D24.8.
const LOOKS: [u32; 2] = [0xd53b_e020, 0xd53b_e040];
/// A longer way from one look to the next is work.
const LONGEST_ROUND: u64 = 300;

/// Version of the interface; the first that has all that is used here.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "QEMU looks for this name")]
pub static qemu_plugin_version: c_int = 4;

/// `enum qemu_plugin_op`.
const ADD: c_int = 0;
/// `enum qemu_plugin_cb_flags`.
const NO_REGISTERS: c_int = 0;
/// `enum qemu_plugin_mem_rw`.
const LOADS_AND_STORES: c_int = 3;

/// A translated block, QEMU's.
#[repr(C)]
struct Block(u8);

/// An instruction of a block, QEMU's.
#[repr(C)]
struct Instruction(u8);

/// `qemu_plugin_u64`: a 64-bit number for each processor.
#[repr(C)]
#[derive(Clone, Copy)]
struct Counter {
    scoreboard: *mut c_void,
    offset: usize,
}

// SAFETY: the scoreboard is QEMU's, is never freed here, and its functions may be called from every
// thread.
unsafe impl Send for Counter {}

/// `qemu_plugin_mem_value`: the type, and a union of which 128 bits are the largest member.
#[repr(C)]
struct Value {
    kind: c_int,
    bits: [u64; 2],
}

type Arguments = *const *const c_char;

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, translated: extern "C" fn(u64, *mut Block));
    fn qemu_plugin_register_atexit_cb(
        id: u64,
        ended: extern "C" fn(u64, *mut c_void),
        data: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
    fn qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
        instruction: *mut Instruction,
        operation: c_int,
        counter: Counter,
        operand: u64,
    );
    fn qemu_plugin_insn_data(
        instruction: *const Instruction,
        to: *mut c_void,
        room: usize,
    ) -> usize;
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut Instruction,
        executed: extern "C" fn(c_uint, *mut c_void),
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_mem_cb(
        instruction: *mut Instruction,
        accessed: extern "C" fn(c_uint, u32, u64, *mut c_void),
        flags: c_int,
        kinds: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_mem_is_store(access: u32) -> bool;
    fn qemu_plugin_mem_get_value(access: u32) -> Value;
    fn qemu_plugin_scoreboard_new(size: usize) -> *mut c_void;
    fn qemu_plugin_u64_sum(counter: Counter) -> u64;
}

/// What goes on between the calls.
struct Stamper {
    out: BufWriter<File>,
    executed: Counter,
    waited: u64,
    last_look: u64,
}

static STAMPER: Mutex<Option<Stamper>> = Mutex::new(None);

impl Stamper {
    fn executed(&self) -> u64 {
        // SAFETY: the counter was made by `qemu_plugin_install`.
        unsafe { qemu_plugin_u64_sum(self.executed) }
    }

    fn looked(&mut self) {
        let now = self.executed();
        let round = now - self.last_look;
        if round <= LONGEST_ROUND {
            self.waited += round;
        }
        self.last_look = now;
    }

    fn note(&mut self, store: bool, address: u64, value: u64) {
        let sign = if store { '>' } else { '<' };
        let (executed, waited) = (self.executed(), self.waited);
        // Whoever reads the file notices that a line is not there.
        let _ = writeln!(self.out, "{executed} {waited} {sign} {address:x} {value:x}");
    }
}

fn with_stamper(action: impl FnOnce(&mut Stamper)) {
    let mut stamper = STAMPER.lock().unwrap_or_else(PoisonError::into_inner);
    stamper.as_mut().map(action);
}

/// QEMU loads the plugin.
///
/// # Safety
/// `arguments` are `count` strings, each ended by a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _: *const c_void,
    count: c_int,
    arguments: Arguments,
) -> c_int {
    let path = (0..usize::try_from(count).unwrap_or(0)).find_map(|index| {
        // SAFETY: the caller's promise.
        let argument = unsafe { CStr::from_ptr(*arguments.add(index)) };
        argument.to_str().ok()?.strip_prefix("out=")
    });
    let Some(Ok(out)) = path.map(File::create) else {
        eprintln!("stamp: out=FILE must name a file that can be written, not {path:?}");
        return 1;
    };
    // SAFETY: QEMU is ready for every call of the interface when it installs a plugin.
    let scoreboard = unsafe { qemu_plugin_scoreboard_new(size_of::<u64>()) };
    let executed = Counter { scoreboard, offset: 0 };
    let stamper = Stamper { out: BufWriter::new(out), executed, waited: 0, last_look: 0 };
    *STAMPER.lock().unwrap_or_else(PoisonError::into_inner) = Some(stamper);
    // SAFETY: as above; the function stays where it is, since nobody unloads the plugin.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
    // SAFETY: as above.
    unsafe { qemu_plugin_register_atexit_cb(id, ended, ptr::null_mut()) };
    0
}

/// A block was translated: its instructions are to be counted, looks at the clock and accesses to devices
/// watched.
extern "C" fn translated(_: u64, block: *mut Block) {
    with_stamper(|stamper| {
        // SAFETY: QEMU's block lives as long as this call.
        let count = unsafe { qemu_plugin_tb_n_insns(block) };
        for index in 0..count {
            // SAFETY: the index is below the number of instructions.
            let instruction = unsafe { qemu_plugin_tb_get_insn(block, index) };
            // SAFETY: the instruction is the block's.
            unsafe { watch(instruction, stamper.executed) };
        }
    });
}

/// # Safety
/// `instruction` belongs to the block that is being translated, `executed` was made at installation.
unsafe fn watch(instruction: *mut Instruction, executed: Counter) {
    const NO_DATA: *mut c_void = ptr::null_mut();
    let mut code = [0_u8; 4];
    // SAFETY: the room is as large as it is said to be.
    unsafe { qemu_plugin_insn_data(instruction, code.as_mut_ptr().cast(), code.len()) };
    let code = u32::from_le_bytes(code);
    // SAFETY: the caller's promise.
    unsafe { qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(instruction, ADD, executed, 1) };
    if LOOKS.contains(&(code & !0x1f)) {
        // SAFETY: the caller's promise; `looked` ignores its data.
        unsafe {
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, looked, NO_REGISTERS, NO_DATA);
        }
    }
    if code & WORD_ACCESS_MASK == WORD_ACCESS {
        let (flags, kinds) = (NO_REGISTERS, LOADS_AND_STORES);
        // SAFETY: the caller's promise; `accessed` ignores its data.
        unsafe { qemu_plugin_register_vcpu_mem_cb(instruction, accessed, flags, kinds, NO_DATA) };
    }
}

/// The guest looks at the system counter.
extern "C" fn looked(_: c_uint, _: *mut c_void) {
    with_stamper(Stamper::looked);
}

/// The emulator ends.
extern "C" fn ended(_: u64, _: *mut c_void) {
    with_stamper(|stamper| {
        // As in `note`.
        let _ = stamper.out.flush();
    });
}

/// The guest accesses memory. Every address below DRAM is its own.
extern "C" fn accessed(_: c_uint, access: u32, address: u64, _: *mut c_void) {
    if !is_watched(address) {
        return;
    }
    // SAFETY: QEMU tells of this access during this call.
    let store = unsafe { qemu_plugin_mem_is_store(access) };
    // SAFETY: as above.
    let value = unsafe { qemu_plugin_mem_get_value(access) }.bits[0] & 0xffff_ffff;
    if says_something(store, address, value) {
        with_stamper(|stamper| stamper.note(store, address, value));
    }
}

fn is_watched(address: u64) -> bool {
    const REGISTERS: [u64; 4] = [BLK_ATT, CMD_ARG, CMD_XFR_TYP, INT_STATUS];
    let of_a_card = |base: &u64| REGISTERS.contains(&address.wrapping_sub(*base));
    address == URXD || address == UTXD || USDHC.iter().any(of_a_card)
}

/// Leaves out looks that found nothing.
fn says_something(store: bool, address: u64, value: u64) -> bool {
    match (address, store) {
        (URXD, false) => value & CHARACTER_READY != 0,
        (URXD, true) | (UTXD, false) => false,
        (UTXD, true) => true,
        (_, true) => address & 0xff != INT_STATUS,
        (_, false) => address & 0xff == INT_STATUS && value & COMPLETE != 0,
    }
}
