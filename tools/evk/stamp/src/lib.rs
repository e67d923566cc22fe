//! A plugin of QEMU that counts executed instructions and writes what went over UART2, with the
//! count: `COUNT > TEXT` for each line that the guest sent, as of its first character, and
//! `COUNT < CHARACTER`, in hexadecimal digits, for each that it took. `-plugin libstamp.so,out=FILE`
//!
//! With `-icount` two runs are the same to the byte. Source of the interface: QEMU 10.0,
//! `docs/devel/tcg-plugins.rst` and `include/qemu/qemu-plugin.h`.

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    fs::File,
    io::Write as _,
    ptr,
    sync::{Mutex, PoisonError},
};

/// UART2's receive and transmit registers. Source: i.MX 8M Plus Reference Manual, memory map,
/// UARTx_URXD and UARTx_UTXD.
const URXD: u64 = 0x3089_0000;
const UTXD: u64 = 0x3089_0040;
/// URXD holds a character.
const CHARACTER_READY: u64 = 1 << 15;

/// Longest line that is kept, in bytes; what is longer becomes several.
const LONGEST_LINE: usize = 1000;

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
    fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
    fn qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
        instruction: *mut Instruction,
        operation: c_int,
        counter: Counter,
        operand: u64,
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
    out: File,
    executed: Counter,
    line: Vec<u8>,
    line_began: u64,
}

static STAMPER: Mutex<Option<Stamper>> = Mutex::new(None);

impl Stamper {
    fn executed(&self) -> u64 {
        // SAFETY: the counter was made by `qemu_plugin_install`.
        unsafe { qemu_plugin_u64_sum(self.executed) }
    }

    fn taken(&mut self, byte: u8) {
        // Whoever reads the file notices that a line is not there.
        let _ = writeln!(self.out, "{} < {byte:02x}", self.executed());
    }

    fn sent(&mut self, byte: u8) {
        if self.line.is_empty() {
            self.line_began = self.executed();
        }
        if byte != b'\n' {
            self.line.push(byte);
        }
        if byte == b'\n' || self.line.len() == LONGEST_LINE {
            let text = String::from_utf8_lossy(&self.line);
            // As above.
            let _ = writeln!(self.out, "{} > {text}", self.line_began);
            self.line.clear();
        }
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
    let stamper = Stamper { out, executed, line: Vec::new(), line_began: 0 };
    *STAMPER.lock().unwrap_or_else(PoisonError::into_inner) = Some(stamper);
    // SAFETY: as above; the function stays where it is, since nobody unloads the plugin.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
    0
}

/// A block was translated: its instructions are to be counted, their accesses watched.
extern "C" fn translated(_: u64, block: *mut Block) {
    with_stamper(|stamper| {
        // SAFETY: QEMU's block lives as long as this call.
        let count = unsafe { qemu_plugin_tb_n_insns(block) };
        for index in 0..count {
            // SAFETY: the index is below the number of instructions.
            let instruction = unsafe { qemu_plugin_tb_get_insn(block, index) };
            // SAFETY: the instruction is the block's, the counter was made at installation, and
            // `accessed` ignores its data.
            unsafe {
                qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
                    instruction,
                    ADD,
                    stamper.executed,
                    1,
                );
                qemu_plugin_register_vcpu_mem_cb(
                    instruction,
                    accessed,
                    NO_REGISTERS,
                    LOADS_AND_STORES,
                    ptr::null_mut(),
                );
            }
        }
    });
}

/// The guest accesses memory. Every address below DRAM is its own.
extern "C" fn accessed(_: c_uint, access: u32, address: u64, _: *mut c_void) {
    if address != URXD && address != UTXD {
        return;
    }
    // SAFETY: QEMU tells of this access during this call.
    let is_store = unsafe { qemu_plugin_mem_is_store(access) };
    // SAFETY: as above.
    let value = unsafe { qemu_plugin_mem_get_value(access) }.bits[0];
    let byte = value.to_le_bytes()[0];
    with_stamper(|stamper| match (address, is_store) {
        (UTXD, true) => stamper.sent(byte),
        (URXD, false) if value & CHARACTER_READY != 0 => stamper.taken(byte),
        _ => {}
    });
}
