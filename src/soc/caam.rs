//! Cryptographic Acceleration and Assurance Module: its random number generator, asked through job
//! ring 1.
//!
//! The generator is two state handles of a deterministic generator (SP 800-90A), seeded by a ring
//! oscillator (TRNG). Whoever comes first instantiates them, with prediction resistance, because
//! Linux tears down what is without. A draw does not ask for a new seed itself: that takes 12 ms, and
//! what comes out of a seeded generator is as good.
//!
//! Ring 0 belongs to HAB, and ring 2 to OP-TEE. Before each job and after it the ring is halted and
//! reset, so that nothing is outstanding whenever this is left, and Linux finds a ring as after a reset.
//! The module's clocks cannot be gated on the i.MX 8M.
//!
//! Sources: i.MX 8M Plus security reference manual, "CAAM"; mainline U-Boot `drivers/crypto/fsl/jr.c`,
//! `jobdesc.c` and `arch/arm/mach-imx/imx8m/clock_imx8mm.c` (clocks); Linux `drivers/crypto/caam/ctrl.c`,
//! `regs.h`, `desc.h` and `error.c` (registers, self-test limits of the TRNG, statuses); TF-A
//! `plat/imx/imx8m/imx8m_caam.c` (BL31 gives all rings to the normal world; NXP's keeps ring 0 for HAB).

#![forbid(unsafe_code)]

mod error;
mod ring;

pub use error::{Error, Status};
pub use ring::Buffers;

use core::time::Duration;

use self::ring::{Job, Ring};
use crate::{dma::Dma, entropy::Secret, mmio::Bus, time::Clock};

const BASE: u32 = 0x3090_0000;
/// Ring 1's page.
const RING: u32 = BASE + 0x2000;

/// Master configuration: how it writes to memory, and whether pointers have 64 bits.
const MCFGR: u32 = BASE + 0x04;
const MCFGR_AWCACHE: u32 = 0xf << 8;
const MCFGR_AWCACHE_CACHEABLE: u32 = 0x2 << 8;
const MCFGR_LONG_POINTERS: u32 = 1 << 16;
/// Security configuration.
const SCFGR: u32 = BASE + 0x0c;
/// Random bytes are made ahead.
const SCFGR_RDB_ENABLE: u32 = 1 << 10;
const SCFGR_VIRT_EN: u32 = 1 << 15;
/// Whom ring 1 belongs to.
const JR1DID_MS: u32 = BASE + 0x18;
const JRDID_MS_TZ_OWN: u32 = 1 << 15;
/// The secure world, whose transactions are secure, with identifier 1: the Cortex-A53.
const JRDID_MS_SECURE: u32 = JRDID_MS_TZ_OWN | 1 << 4 | 1;
/// With virtualization, rings have to be started.
const JRSTARTR: u32 = BASE + 0x5c;
const JRSTARTR_RING_1: u32 = 1 << 1;
/// What is built in, of which the ring's page has a copy that a TEE does not hide.
const CTPR_MS: u32 = RING + 0xfa8;
const CTPR_MS_VIRT_EN_INCL: u32 = 1 << 0;
const CTPR_MS_VIRT_EN_POR: u32 = 1 << 1;
const CHAVID_LS: u32 = RING + 0xfec;
/// The fourth generation of the generator is the first with state handles.
const RNG_WITH_HANDLES: u32 = 4;

/// TRNG: control, and what its tests of itself allow.
const RTMCTL: u32 = BASE + 0x600;
const RTMCTL_SAMPLE_MODE: u32 = 0b11;
const RTMCTL_SAMPLE_MODE_RAW: u32 = 1;
/// Together with program mode, drops the samples so far.
const RTMCTL_ACC: u32 = 1 << 5;
const RTMCTL_PRGM: u32 = 1 << 16;
const RTSDCTL: u32 = BASE + 0x610;
const RTFRQMIN: u32 = BASE + 0x618;
const RTFRQMAX: u32 = BASE + 0x61c;
const RTFRQMAX_NONE: u32 = 1 << 20;
/// For seeds of 512 samples: repetitions and the longest run, range and maximum of the poker test, ones
/// among all samples, runs of one to six and more.
const SELF_TEST: [(u32, u32); 10] = [
    (BASE + 0x604, 2 << 16 | 32),
    (BASE + 0x608, 570),
    (BASE + 0x60c, 1600),
    (BASE + 0x620, 122 << 16 | 317),
    (BASE + 0x624, 80 << 16 | 107),
    (BASE + 0x628, 57 << 16 | 62),
    (BASE + 0x62c, 39 << 16 | 39),
    (BASE + 0x630, 27 << 16 | 26),
    (BASE + 0x634, 19 << 16 | 18),
    (BASE + 0x638, 18 << 16 | 17),
];
const SAMPLES: u32 = 512;
/// Clocks of a sample, of which a part may need more to pass its tests; and how long a seed may take:
/// twice what three runs of the tests do at 66 MHz, the slowest clock that anybody gives it.
const ATTEMPTS: [(u32, Duration); 3] = [
    (3200, Duration::from_millis(150)),
    (6400, Duration::from_millis(300)),
    (12_800, Duration::from_millis(600)),
];

/// The state of the deterministic generator.
const RDSTA: u32 = BASE + 0x6c0;
const RDSTA_HANDLES: [u32; 2] = [1 << 0, 1 << 1];
/// The keys that are made with the first handle, once after a power-on.
const RDSTA_SKVN: u32 = 1 << 30;

/// A draw waits for one seed at most, as long as others may have made it.
const DRAW_WAIT: Duration = Duration::from_millis(300);

/// What of the module this stage may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// All of it: nobody has assigned the rings yet.
    Secure,
    /// All but the assignment, as BL31 leaves it for the normal world.
    Normal,
    /// The ring alone: a TEE keeps the rest, and has seeded the generator.
    Ring,
}

/// Asks for random bytes, and sees to it that the generator is seeded. What cannot be had costs some
/// hundred milliseconds if the module falls silent, and nothing if there is none.
///
/// # Errors
/// Nothing was drawn, and the ring is at rest, unless it is the ring that does not stop.
pub fn draw(
    bus: &impl Bus,
    clock: &impl Clock,
    dma: &impl Dma,
    buffers: &'static mut Buffers,
    access: Access,
) -> Result<Secret, Error> {
    if bus.read32(CHAVID_LS) >> 16 & 0xf < RNG_WITH_HANDLES {
        return Err(Error::Absent);
    }
    take_ring(bus, access)?;
    let mut ring = Ring { bus, clock, dma, buffers };
    if access != Access::Ring {
        instantiate(bus, &mut ring)?;
    }
    ring.run(Job::Generate, DRAW_WAIT)?;
    ring.take_random().ok_or(Error::Constant)
}

/// Makes the ring this stage's.
fn take_ring(bus: &impl Bus, access: Access) -> Result<(), Error> {
    match access {
        Access::Secure => {
            let stale = MCFGR_AWCACHE | MCFGR_LONG_POINTERS;
            bus.modify32(MCFGR, stale, MCFGR_AWCACHE_CACHEABLE);
            bus.write32(JR1DID_MS, JRDID_MS_SECURE);
        }
        Access::Normal if bus.read32(JR1DID_MS) & JRDID_MS_TZ_OWN != 0 => {
            return Err(Error::Foreign);
        }
        Access::Normal => {}
        Access::Ring => return Ok(()),
    }
    let built = bus.read32(CTPR_MS);
    let chosen = built & CTPR_MS_VIRT_EN_INCL != 0 && bus.read32(SCFGR) & SCFGR_VIRT_EN != 0;
    if chosen || built & CTPR_MS_VIRT_EN_POR != 0 {
        bus.write32(JRSTARTR, JRSTARTR_RING_1);
    }
    Ok(())
}

/// Seeds the state handles that nobody has seeded. One is enough for a draw.
fn instantiate<B: Bus, C: Clock, D: Dma>(
    bus: &B,
    ring: &mut Ring<'_, B, C, D>,
) -> Result<(), Error> {
    let [first, second] = RDSTA_HANDLES;
    let mut outcome = Ok(());
    for (sample, wait) in ATTEMPTS {
        // What a handle was seeded with has passed the tests.
        if bus.read32(RDSTA) & (first | second) == 0 {
            set_sample(bus, sample);
        }
        outcome = instantiate_handles(bus, ring, wait);
        if !matches!(outcome, Err(Error::Job(_))) {
            break;
        }
    }
    match outcome {
        Err(Error::Job(status)) if bus.read32(RDSTA) & first == 0 => Err(Error::Unseeded(status)),
        Err(Error::Job(_)) => Ok(()),
        outcome => outcome,
    }
}

fn instantiate_handles<B: Bus, C: Clock, D: Dma>(
    bus: &B,
    ring: &mut Ring<'_, B, C, D>,
    wait: Duration,
) -> Result<(), Error> {
    for (handle, seeded) in (0..).zip(RDSTA_HANDLES) {
        let state = bus.read32(RDSTA);
        if state & seeded != 0 {
            continue;
        }
        let keys = handle == 0 && state & RDSTA_SKVN == 0;
        ring.run(Job::Instantiate { handle, keys }, wait)?;
        if bus.read32(RDSTA) & seeded == 0 {
            return Err(Error::Job(Status::NOTHING_DONE));
        }
        bus.modify32(SCFGR, 0, SCFGR_RDB_ENABLE);
    }
    Ok(())
}

/// Lets the oscillator run for `clocks` before each sample, and tests what it makes.
fn set_sample(bus: &impl Bus, clocks: u32) {
    bus.modify32(RTMCTL, 0, RTMCTL_PRGM | RTMCTL_ACC);
    bus.write32(RTSDCTL, clocks << 16 | SAMPLES);
    // A quarter of a sample; no upper limit.
    bus.write32(RTFRQMIN, clocks / 4);
    bus.write32(RTFRQMAX, RTFRQMAX_NONE);
    for (register, limit) in SELF_TEST {
        bus.write32(register, limit);
    }
    bus.modify32(RTMCTL, RTMCTL_PRGM | RTMCTL_ACC | RTMCTL_SAMPLE_MODE, RTMCTL_SAMPLE_MODE_RAW);
}
