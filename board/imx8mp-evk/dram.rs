//! The board's memory: a pair of 3 GiB ranks, as NXP's timing describes them.
//!
//! `ddr/*.timing` holds the values; the environment variable `FIRN_MEMORY` names another one of them
//! when the first stage is built.

use crate::ddr::timing::{
    ControllerWrite, Kind, Memory, PhyRegister, PhyWrite, Run, ScrubRange, Timing,
};

include!(concat!(env!("OUT_DIR"), "/imx8mp-evk.dram.rs"));

/// The memory that this build is for.
pub static MEMORY: Memory = Memory::choose(MEMORIES, option_env!("FIRN_MEMORY"), "lpddr4-4000");
