//! What the fuses say of the part: which i.MX 8M Plus it is, and what works on it.
//!
//! Only an i.MX 8M Plus is looked at: other parts keep other things in the same words. Sources:
//! i.MX 8M Plus reference manual, "Fusemap" (its disable bits also in Linux's
//! `imx8mp-ocotp.h`); mainline U-Boot, `arch/arm/mach-imx/imx8m/soc.c` (variants),
//! `arch/arm/mach-imx/cpu.c` (grades) and `mac.c`; barebox, `drivers/nvmem/ocotp.c` (the DSP's bit).

#![forbid(unsafe_code)]

use core::fmt;

use super::{ccm, ocotp};
use crate::{ethernet, mmio::Bus};

/// Which silicon it is (USB_ANALOG_DIGPROG).
const DIGPROG: u32 = 0x3036_0800;
const FAMILY: u32 = 0xff00;
const IMX8MP: u32 = 0x4300;

/// Ethernet interfaces that have an address in fuses.
pub const INTERFACES: usize = 2;

/// A part as its fuses describe it; by default one of which nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// What tells the silicon.
    pub digprog: u32,
    /// The number that no other part has, unless it is blank.
    pub unique_id: Option<u64>,
    /// Cortex-A53 cores that can be started, unless not known.
    pub cores: Option<u8>,
    /// The fastest clock of these cores in MHz, unless blank.
    pub megahertz: Option<u32>,
    /// The range of temperatures that it was tested for, unless blank.
    pub grade: Option<Grade>,
    /// What is fused off.
    pub missing: Units,
    /// The Ethernet interfaces' addresses as they stand in fuses, ENET1's first; they may be blank.
    pub ethernet: [[u8; ethernet::LENGTH]; INTERFACES],
}

/// A unit that a part may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Unit {
    /// The GPU for 3D, GC7000UL.
    Gpu3d,
    /// The GPU for 2D, GC520L.
    Gpu2d,
    /// The video decoder G1.
    VpuG1,
    /// The video decoder G2.
    VpuG2,
    /// The video encoder VC8000E.
    VpuVc8000e,
    /// The machine learning accelerator.
    Npu,
    /// The first image signal processor.
    Isp1,
    /// The second one.
    Isp2,
    /// The dewarp engine.
    Dewarp,
    /// The HiFi 4 audio processor.
    Dsp,
    /// The MIPI DSI transmitter.
    Dsi,
    /// Both channels of the LVDS transmitter.
    Lvds,
}

impl Unit {
    /// Each one.
    pub const ALL: [Self; 12] = [
        Self::Gpu3d,
        Self::Gpu2d,
        Self::VpuG1,
        Self::VpuG2,
        Self::VpuVc8000e,
        Self::Npu,
        Self::Isp1,
        Self::Isp2,
        Self::Dewarp,
        Self::Dsp,
        Self::Dsi,
        Self::Lvds,
    ];

    /// What a person calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gpu3d => "3D GPU",
            Self::Gpu2d => "2D GPU",
            Self::VpuG1 => "VPU G1",
            Self::VpuG2 => "VPU G2",
            Self::VpuVc8000e => "VPU VC8000E",
            Self::Npu => "NPU",
            Self::Isp1 => "ISP 1",
            Self::Isp2 => "ISP 2",
            Self::Dewarp => "dewarp",
            Self::Dsp => "DSP",
            Self::Dsi => "DSI",
            Self::Lvds => "LVDS",
        }
    }

    /// The fuses that are all blown where it does not work: offset of the word, and its bits.
    pub const fn fuses(self) -> (u32, u32) {
        match self {
            Self::VpuG1 => (ocotp::TESTER3, 1 << 24),
            Self::VpuG2 => (ocotp::TESTER3, 1 << 25),
            Self::VpuVc8000e => (ocotp::TESTER3, 1 << 30),
            Self::Isp1 => (ocotp::TESTER4, 1 << 0),
            Self::Isp2 => (ocotp::TESTER4, 1 << 1),
            Self::Dewarp => (ocotp::TESTER4, 1 << 2),
            Self::Npu => (ocotp::TESTER4, 1 << 3),
            Self::Dsp => (ocotp::TESTER4, 1 << 4),
            Self::Gpu2d => (ocotp::TESTER4, 1 << 6),
            Self::Gpu3d => (ocotp::TESTER4, 1 << 7),
            Self::Dsi => (ocotp::TESTER4, 1 << 17),
            Self::Lvds => (ocotp::TESTER4, 0b11 << 19),
        }
    }
}

/// A set of units.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Units(u16);

impl Units {
    /// With `unit`, too.
    #[must_use]
    pub const fn with(self, unit: Unit) -> Self {
        Self(self.0 | 1 << unit as u8)
    }

    /// Whether `unit` is one of them.
    pub const fn contains(self, unit: Unit) -> bool {
        self.0 & 1 << unit as u8 != 0
    }

    /// All of them, in the order of [`Unit::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Unit> {
        Unit::ALL.into_iter().filter(move |&unit| self.contains(unit))
    }
}

impl fmt::Debug for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A range of junction temperatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// 0 to 95 °C.
    Commercial,
    /// -20 to 105 °C.
    ExtendedCommercial,
    /// -40 to 105 °C.
    Industrial,
    /// -40 to 125 °C.
    Automotive,
}

impl Grade {
    /// Each one, by its code.
    pub const ALL: [Self; 4] =
        [Self::Commercial, Self::ExtendedCommercial, Self::Industrial, Self::Automotive];

    /// What a person calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commercial => "commercial",
            Self::ExtendedCommercial => "extended commercial",
            Self::Industrial => "industrial",
            Self::Automotive => "automotive",
        }
    }

    /// The lowest and the highest junction temperature, in degrees Celsius.
    pub const fn range(self) -> (i32, i32) {
        match self {
            Self::Commercial => (0, 95),
            Self::ExtendedCommercial => (-20, 105),
            Self::Industrial => (-40, 105),
            Self::Automotive => (-40, 125),
        }
    }
}

/// A kind of i.MX 8M Plus that is sold.
#[derive(Debug, PartialEq, Eq)]
pub struct Variant {
    /// What a person calls it, with the digit of its part number: MIMX8ML**8**.
    pub name: &'static str,
    /// Cortex-A53 cores.
    pub cores: u8,
    /// What it lacks, and is known by.
    pub lacks: &'static [Unit],
    /// Whether its audio processor works; U-Boot goes by the variant, whatever the DSP's own fuse
    /// says.
    pub dsp: bool,
}

/// All that mainline U-Boot knows.
pub static VARIANTS: [Variant; 7] = [
    Variant { name: "Quad (8)", cores: 4, lacks: &[], dsp: true },
    Variant { name: "Quad (6)", cores: 4, lacks: &[Unit::Npu], dsp: false },
    Variant { name: "Quad (5)", cores: 4, lacks: ISPS, dsp: false },
    Variant {
        name: "QuadLite (4)",
        cores: 4,
        lacks: &[Unit::VpuG1, Unit::VpuG2, Unit::VpuVc8000e, Unit::Npu, Unit::Isp1, Unit::Isp2],
        dsp: false,
    },
    Variant { name: "Dual (3)", cores: 2, lacks: &[], dsp: true },
    Variant { name: "Dual (2)", cores: 2, lacks: ISPS, dsp: false },
    Variant { name: "UltraLite", cores: 4, lacks: TELLING, dsp: false },
];

const ISPS: &[Unit] = &[Unit::Isp1, Unit::Isp2];

/// Units that tell variants apart.
const TELLING: &[Unit] = &[
    Unit::Gpu3d,
    Unit::Gpu2d,
    Unit::VpuG1,
    Unit::VpuG2,
    Unit::VpuVc8000e,
    Unit::Npu,
    Unit::Isp1,
    Unit::Isp2,
    Unit::Dsi,
    Unit::Lvds,
];

impl Part {
    /// Reads the fuses' shadow registers.
    pub fn read(bus: &impl Bus) -> Self {
        let digprog = bus.read32(DIGPROG);
        // Without its clock the fuse controller does not answer, and the processor would hang.
        ccm::open(bus, ocotp::GATE);
        Self::of(digprog, |word| bus.read32(ocotp::BASE + word))
    }

    /// The part with this DIGPROG, whose fuses `fuse` reads by the offset of their word.
    pub fn of(digprog: u32, fuse: impl Fn(u32) -> u32) -> Self {
        if digprog & FAMILY != IMX8MP {
            return Self { digprog, ..Self::default() };
        }
        // All ones are no part: nothing answered.
        let fuse = |word| Some(fuse(word)).filter(|&word| word != u32::MAX).unwrap_or(0);
        let [tester3, tester4] = [ocotp::TESTER3, ocotp::TESTER4].map(fuse);
        let units = Unit::ALL.into_iter().filter(|unit| {
            let (word, bits) = unit.fuses();
            let fuses = if word == ocotp::TESTER3 { tester3 } else { tester4 };
            fuses & bits == bits
        });
        let megahertz = match tester3 >> 8 & 0xf {
            0 => None,
            code => Some(2300 - 100 * code),
        };
        let mut part = Self {
            digprog,
            unique_id: unique_id(ocotp::UNIQUE_ID.map(fuse)),
            cores: Some(ocotp::cores(tester3)),
            megahertz,
            // Commercial is code 0: on a part whose clock is blank it means nothing.
            grade: match tester3 >> 5 & 0b11 {
                0 => megahertz.map(|_| Grade::Commercial),
                code => Grade::ALL.get(code as usize).copied(),
            },
            missing: units.fold(Units::default(), Units::with),
            ethernet: ethernet(ocotp::ETHERNET.map(fuse)),
        };
        if part.variant().is_some_and(|variant| !variant.dsp) {
            part.missing = part.missing.with(Unit::Dsp);
        }
        part
    }

    /// Major and minor number of the silicon, if it is an i.MX 8M Plus.
    pub fn revision(&self) -> Option<(u32, u32)> {
        (self.digprog & FAMILY == IMX8MP).then_some((self.digprog >> 4 & 0xf, self.digprog & 0xf))
    }

    /// Which of the variants that are sold it is.
    pub fn variant(&self) -> Option<&'static Variant> {
        VARIANTS.iter().find(|variant| {
            let lacks = |&unit| self.missing.contains(unit) == variant.lacks.contains(&unit);
            self.cores == Some(variant.cores) && TELLING.iter().all(lacks)
        })
    }
}

/// The low and the high word, unless blank.
fn unique_id([low, high]: [u32; 2]) -> Option<u64> {
    Some(u64::from(high) << 32 | u64::from(low)).filter(|&id| id != 0)
}

/// Read as one number of 96 bits, the words hold the second address above the first.
fn ethernet([low, middle, high]: [u32; 3]) -> [[u8; ethernet::LENGTH]; INTERFACES] {
    let [c, d, e, f] = low.to_be_bytes();
    let [k, l, a, b] = middle.to_be_bytes();
    let [g, h, i, j] = high.to_be_bytes();
    [[a, b, c, d, e, f], [g, h, i, j, k, l]]
}

/// "i.MX 8M Plus Quad (8), revision 1.1, 1800 MHz, industrial (-40..105 C)".
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((major, minor)) = self.revision() else {
            return write!(f, "not known (DIGPROG {:#010x})", self.digprog);
        };
        f.write_str("i.MX 8M Plus")?;
        if let Some(variant) = self.variant() {
            write!(f, " {}", variant.name)?;
        } else if let Some(cores) = self.cores {
            write!(f, " with {cores} cores")?;
        }
        write!(f, ", revision {major}.{minor}")?;
        if let Some(megahertz) = self.megahertz {
            write!(f, ", {megahertz} MHz")?;
        }
        if let Some(grade) = self.grade {
            let (low, high) = grade.range();
            write!(f, ", {} ({low}..{high} C)", grade.name())?;
        }
        for (index, unit) in self.missing.iter().enumerate() {
            let before = if index == 0 { ", without " } else { ", " };
            write!(f, "{before}{}", unit.name())?;
        }
        Ok(())
    }
}
