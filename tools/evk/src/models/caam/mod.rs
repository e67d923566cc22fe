//! The CAAM, as far as its random number generator is concerned: job ring 1, the descriptors of the
//! generator, the oscillator's tests of itself.
//!
//! [`Caam`] says what kind of module it is and what is wrong with it, [`Model`] is the register block,
//! [`Bench`] puts a host around it for a driver, [`attach`] a machine in QEMU. What hardware would not
//! stand is written down as a broken rule.
//!
//! Sources: i.MX 8M Plus security reference manual, "CAAM"; Linux `drivers/crypto/caam/regs.h`, `desc.h`
//! and `error.c` for what registers, commands and statuses are.

mod bench;
mod descriptor;
mod model;
mod random;
mod window;

pub use bench::Bench;
pub use model::Model;
pub use window::attach;

/// What is wrong with a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It reads as zeros, and does not mind writes.
    Absent,
    /// Ring 1 belongs to the secure world for good.
    Foreign,
    /// A ring never halts.
    NeverHalts,
    /// A ring never comes out of reset.
    NeverResets,
    /// Jobs are never done.
    Silent,
    /// Drawing ends with this status.
    Status(u32),
    /// The oscillator passes its tests only with samples of at least so many clocks.
    NeedsSample(u32),
    /// The second state handle cannot be instantiated.
    OneHandle,
    /// Instantiation ends well and does nothing.
    InstantiatesNothing,
    /// All random bytes are this one.
    Constant(u8),
    /// The random bytes of a draw say everything twice.
    Repeats,
    /// The descriptor's store writes nothing.
    WritesNothing,
}

/// A kind of module.
#[derive(Clone, Debug, Default)]
pub struct Caam {
    seed: Option<u64>,
    faults: Vec<Fault>,
    instantiated: u32,
    is_given: bool,
    is_behind_tee: bool,
}

impl Caam {
    /// As after power-on, and random: no two of them give the same numbers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that gives the numbers that belong to `seed`.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// With something wrong.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// As BL31 leaves it: its rings are the normal world's.
    #[must_use]
    pub fn given_to_the_normal_world(mut self) -> Self {
        self.is_given = true;
        self
    }

    /// With state handles, by their bits, that a stage before has instantiated, keys included.
    #[must_use]
    pub fn instantiated(mut self, handles: u32) -> Self {
        self.instantiated = handles;
        self
    }

    /// As a TEE leaves it: instantiated, and all but the rings is its own.
    #[must_use]
    pub fn behind_a_tee(mut self) -> Self {
        self.is_behind_tee = true;
        self.given_to_the_normal_world().instantiated(0b11)
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}
