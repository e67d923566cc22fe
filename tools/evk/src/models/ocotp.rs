//! The fuse controller with a part's fuses.
//!
//! Shadow registers answer at once. Nothing that boots a board blows fuses: a write with the key is
//! noted as a broken rule, one without it is the error that the controller shows. Sources: i.MX 8M
//! Plus reference manual, "On-Chip OTP Controller (OCOTP_CTRL)"; what the words mean: mainline U-Boot,
//! `arch/arm/mach-imx/imx8m/soc.c` (`get_cpu_variant_type`, `get_cpu_temp_grade`) and
//! `arch/arm/mach-imx/mac.c`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use crate::{
    access::Width,
    gdb::{self, Bus, Device},
};

/// Where it is.
pub const BASE: u64 = 0x3035_0000;
/// How much room it has.
pub const LENGTH: u64 = 0x1000;

/// Control, and its set, clear and toggle registers.
const CTRL: u32 = 0x00;
const CTRL_ERROR: u32 = 1 << 10;
const CTRL_BUSY: u32 = 1 << 9;
const CTRL_KEY: u32 = 0x3e77 << 16;
/// What is blown is written here.
const DATA: u32 = 0x20;
const SHADOWS: u32 = 0x400;

const TESTER3: u32 = 0x440;
const TESTER4: u32 = 0x450;
const UNIQUE_ID: [u32; 2] = [0x420, 0x430];
const SECONDARY_IMAGE: u32 = 0x490;
const MAC: [u32; 3] = [0x640, 0x650, 0x660];

/// A unit that a part may lack, by the fuses that tell so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The second pair of A53 cores.
    CorePair,
    /// Video codecs.
    Vpu,
    /// Neural network accelerator.
    Npu,
    /// Image signal processors.
    Isp,
    /// 2D and 3D graphics.
    Gpu,
    /// LVDS bridge.
    Lvds,
    /// MIPI DSI.
    Dsi,
    /// Audio DSP.
    Dsp,
}

impl Unit {
    /// Its bits of tester3 and tester4, all of them blown.
    fn fuses(self) -> (u32, u32) {
        match self {
            // One of two bits: 0b10 is "two cores".
            Self::CorePair => (0x0008_0000, 0),
            Self::Vpu => (0x4300_0000, 0),
            Self::Npu => (0, 1 << 3),
            Self::Isp => (0, 0b11),
            Self::Gpu => (0, 0b11 << 6),
            Self::Lvds => (0, 0b11 << 19),
            Self::Dsi => (0, 0b11 << 17),
            Self::Dsp => (0, 1 << 4),
        }
    }
}

/// The parts that are sold, by what they lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    #[default]
    Quad,
    /// Two cores.
    Dual,
    /// No ISP ("5").
    Quad5,
    /// No NPU ("6").
    Quad6,
    /// Two cores, no ISP ("D2").
    Dual2,
    /// No VPU, NPU, ISP ("L").
    Lite,
    /// Nothing but cores and the DSP ("UL").
    UltraLite,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Quad,
        Self::Dual,
        Self::Quad5,
        Self::Quad6,
        Self::Dual2,
        Self::Lite,
        Self::UltraLite,
    ];

    /// What it lacks.
    #[must_use]
    pub fn lacks(self) -> &'static [Unit] {
        use Unit::{CorePair, Dsi, Gpu, Isp, Lvds, Npu, Vpu};
        match self {
            Self::Quad => &[],
            Self::Dual => &[CorePair],
            Self::Quad5 => &[Isp],
            Self::Quad6 => &[Npu],
            Self::Dual2 => &[CorePair, Isp],
            Self::Lite => &[Vpu, Npu, Isp],
            Self::UltraLite => &[Vpu, Npu, Isp, Gpu, Lvds, Dsi],
        }
    }
}

/// What temperatures a part is sold for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grade {
    /// 0 to 95 °C.
    #[default]
    Consumer,
    /// -20 to 105 °C.
    ExtendedConsumer,
    /// -40 to 105 °C.
    Industrial,
    /// -40 to 125 °C.
    Automotive,
}

/// The fuses of a part.
#[derive(Clone, Debug)]
pub struct Fuses {
    /// By their offset.
    shadows: BTreeMap<u32, u32>,
    control: u32,
    rules: Vec<String>,
}

impl Fuses {
    /// A quad-core part with everything on it, with a serial number and without MAC addresses.
    #[must_use]
    pub fn new() -> Self {
        let [low, high] = UNIQUE_ID;
        let shadows = [(low, 0x1234_5678), (high, 0x9abc_def0)].into();
        Self { shadows, control: 0, rules: Vec::new() }
    }

    /// Those of such a part, otherwise as [`Fuses::new`].
    #[must_use]
    pub fn of(part: Part) -> Self {
        Self::new().without(part.lacks())
    }

    /// Without these units, besides those that it lacks anyway.
    #[must_use]
    pub fn without(self, units: &[Unit]) -> Self {
        units.iter().fold(self, |fuses, unit| {
            let (three, four) = unit.fuses();
            let [three, four] =
                [(TESTER3, three), (TESTER4, four)].map(|(at, bits)| fuses.word(at) | bits);
            fuses.tested(three, four)
        })
    }

    /// Sold for these temperatures.
    #[must_use]
    pub fn graded(self, grade: Grade) -> Self {
        let bits = (grade as u32) << 5;
        let word = self.word(TESTER3) & !(0b11 << 5) | bits;
        self.with(TESTER3, word)
    }

    /// With this serial number.
    #[must_use]
    pub fn unique_id(self, id: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = id.to_be_bytes();
        self.with(UNIQUE_ID[1], u32::from_be_bytes([a, b, c, d]))
            .with(UNIQUE_ID[0], u32::from_be_bytes([e, f, g, h]))
    }

    /// With this word at this offset from the controller's base, from 0x400 on.
    #[must_use]
    pub fn with(mut self, offset: u32, word: u32) -> Self {
        self.shadows.insert(offset, word);
        self
    }

    /// What the part was tested as: speed, temperature grade, cores (tester3); blocks that are off
    /// (tester4).
    #[must_use]
    pub fn tested(self, tester3: u32, tester4: u32) -> Self {
        self.with(TESTER3, tester3).with(TESTER4, tester4)
    }

    /// A part with two cores.
    #[must_use]
    pub fn dual_core(self) -> Self {
        self.without(&[Unit::CorePair])
    }

    /// With MAC addresses for both ports.
    #[must_use]
    pub fn addressed(self, first: [u8; 6], second: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = first;
        let [g, h, i, j, k, l] = second;
        self.with(MAC[0], u32::from_be_bytes([c, d, e, f]))
            .with(MAC[1], u32::from_be_bytes([k, l, a, b]))
            .with(MAC[2], u32::from_be_bytes([g, h, i, j]))
    }

    /// With this code for where the boot ROM looks for the secondary image: 0 means 4 MiB behind the
    /// primary one.
    #[must_use]
    pub fn secondary_image(self, code: u32) -> Self {
        self.with(SECONDARY_IMAGE, (code & 0xf) << 19)
    }

    /// What a load of 32 bits sees.
    pub fn read(&mut self, offset: u32) -> u32 {
        match offset {
            CTRL => self.control,
            SHADOWS.. => self.word(offset),
            _ => 0,
        }
    }

    fn word(&self, offset: u32) -> u32 {
        self.shadows.get(&offset).copied().unwrap_or(0)
    }

    /// What a store of 32 bits does.
    pub fn write(&mut self, offset: u32, value: u32) {
        match offset {
            CTRL => self.control = value & !(CTRL_BUSY | CTRL_ERROR),
            0x04 => self.control |= value & !(CTRL_BUSY | CTRL_ERROR),
            0x08 => self.control &= !value,
            0x0c => self.control ^= value & !(CTRL_BUSY | CTRL_ERROR),
            DATA if self.control & 0xffff_0000 == CTRL_KEY => {
                let fuse = self.control & 0x1ff;
                self.broken(format!("OCOTP: word {value:#010x} blown into fuses {fuse:#x}"));
                self.control &= 0xffff;
            }
            DATA => self.control |= CTRL_ERROR,
            // Takes effect until the next reset, as blowing would.
            SHADOWS.. => self.broken(format!("OCOTP: shadow {offset:#x} overridden")),
            _ => {}
        }
    }

    /// Rules that software broke, in order.
    #[must_use]
    pub fn broken_rules(&self) -> &[String] {
        &self.rules
    }

    fn broken(&mut self, rule: String) {
        if self.rules.len() < 100 {
            self.rules.push(rule);
        }
    }
}

impl Default for Fuses {
    fn default() -> Self {
        Self::new()
    }
}

/// Puts `fuses` on `bus`, for both stages, and DIGPROG with the name of the SoC whose they are: QEMU's
/// is that of an i.MX 8M Quad.
#[must_use]
pub fn attach(bus: Bus, fuses: &Arc<Mutex<Fuses>>) -> Bus {
    let bus = bus.with_staying(BASE, LENGTH, Window(Arc::clone(fuses)));
    bus.with_staying(DIGPROG, 4, SiliconVersion)
}

/// Where the analog block tells which SoC it is in.
const DIGPROG: u64 = 0x3036_0800;
/// An i.MX 8M Plus, revision 1.1 (Linux, drivers/soc/imx/soc-imx8m.c).
const IMX8MP: u64 = 0x0082_4311;

struct SiliconVersion;

impl Device for SiliconVersion {
    fn read(&mut self, _: u64, _: Width, _: &mut dyn gdb::Machine) -> u64 {
        IMX8MP
    }

    fn write(&mut self, _: u64, _: Width, _: u64, _: &mut dyn gdb::Machine) {}
}

struct Window(Arc<Mutex<Fuses>>);

impl Window {
    fn with<T>(&self, access: impl FnOnce(&mut Fuses) -> T) -> T {
        access(&mut self.0.lock().expect("no one panics with the model"))
    }
}

impl Device for Window {
    fn read(&mut self, offset: u64, width: Width, _: &mut dyn gdb::Machine) -> u64 {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        self.with(|fuses| {
            if width != Width::Word {
                fuses.broken(format!("OCOTP: {width:?} load from {offset:#x}"));
            }
            fuses.read(offset & !3).into()
        })
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, _: &mut dyn gdb::Machine) {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        self.with(|fuses| match (width, u32::try_from(value)) {
            (Width::Word, Ok(value)) => fuses.write(offset, value),
            _ => fuses.broken(format!("OCOTP: {width:?} store to {offset:#x}")),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_lie_in_the_fuses_as_the_part_has_them() {
        let mut fuses = Fuses::new().addressed([0, 4, 0x9f, 1, 2, 3], [0, 4, 0x9f, 0xa, 0xb, 0xc]);
        assert_eq!(fuses.read(0x640), 0x9f01_0203);
        assert_eq!(fuses.read(0x650), 0x0b0c_0004);
        assert_eq!(fuses.read(0x660), 0x0004_9f0a);
    }

    #[test]
    fn a_part_is_told_by_the_fuses_of_what_it_lacks_and_of_its_grade() {
        for (part, three, four) in [
            (Part::Quad, 0, 0),
            (Part::Dual, 0x0008_0000, 0),
            (Part::Quad5, 0, 0x3),
            (Part::Quad6, 0, 0x8),
            (Part::Dual2, 0x0008_0000, 0x3),
            (Part::Lite, 0x4300_0000, 0xb),
            (Part::UltraLite, 0x4300_0000, 0x001e_00cb),
        ] {
            let mut fuses = Fuses::of(part).graded(Grade::Industrial).graded(Grade::Automotive);
            assert_eq!((fuses.read(0x440), fuses.read(0x450)), (three | 0x60, four), "{part:?}");
        }
    }

    #[test]
    fn the_unique_id_lies_with_its_low_word_first() {
        let mut fuses = Fuses::new().unique_id(0x0123_4567_89ab_cdef);
        assert_eq!((fuses.read(0x420), fuses.read(0x430)), (0x89ab_cdef, 0x0123_4567));
    }

    #[test]
    fn blowing_a_fuse_breaks_a_rule_and_without_the_key_is_an_error() {
        let mut fuses = Fuses::new();
        fuses.write(DATA, 1);
        assert_eq!(fuses.read(CTRL), CTRL_ERROR);
        assert_eq!(fuses.broken_rules(), [""; 0]);
        fuses.write(0x08, CTRL_ERROR);
        fuses.write(0x04, CTRL_KEY | 0x13);
        fuses.write(DATA, 1);
        assert_eq!(fuses.broken_rules(), ["OCOTP: word 0x00000001 blown into fuses 0x13"]);
    }

    #[test]
    fn the_secondary_image_and_the_cores_are_where_a_first_stage_looks() {
        let mut fuses = Fuses::new().dual_core().secondary_image(2);
        assert_eq!(fuses.read(0x490), 2 << 19);
        assert_eq!(fuses.read(0x440) & 0xc_0000, 0x8_0000);
    }
}
