//! What a kernel's tree is told about an i.MX 8M Plus, as a table.
//!
//! docs/device-tree.md shows it, and a test compares the two. Sources: mainline U-Boot,
//! `arch/arm/mach-imx/imx8m/soc.c` and NXP's (which nodes they change on which part); Linux
//! `imx8mp.dtsi` of 6.1 to 7.1 and NXP's of 5.10 to 6.12 (what the nodes are called). Where U-Boot
//! knows old names only, so that a current kernel would start what is fused off, the current ones
//! are here.

#![forbid(unsafe_code)]

use core::fmt;

use super::part::{Grade, Part, Unit};
use crate::devicetree::{
    ethernet,
    fixup::{Action, NodeName, Processors, Temperature, Trips},
};

/// A fix-up, and when it is made.
#[derive(Debug)]
pub struct Row {
    /// Of which parts.
    pub when: Condition,
    /// What is done.
    pub action: Action,
}

/// A property of the part, or none.
#[derive(Debug)]
pub enum Condition {
    /// Each part, even one that is not known: for a board's own rows.
    Always,
    /// Parts that lack all of these.
    Lacks(&'static [Unit]),
    /// Parts with so many cores.
    Cores(u8),
    /// Parts of this grade.
    Grade(Grade),
}

impl Condition {
    /// Whether `part` is meant.
    pub fn holds(&self, part: &Part) -> bool {
        match *self {
            Self::Always => true,
            Self::Lacks(units) => units.iter().all(|&unit| part.missing.contains(unit)),
            Self::Cores(cores) => part.cores == Some(cores),
            Self::Grade(grade) => part.grade == Some(grade),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Always => f.write_str("always"),
            Self::Lacks(units) => {
                for (index, unit) in units.iter().enumerate() {
                    let before = if index == 0 { "no " } else { ", " };
                    write!(f, "{before}{}", unit.name())?;
                }
                Ok(())
            }
            Self::Cores(1) => f.write_str("1 core"),
            Self::Cores(cores) => write!(f, "{cores} cores"),
            Self::Grade(grade) => f.write_str(grade.name()),
        }
    }
}

/// Ethernet of this SoC.
pub static ETHERNET: ethernet::Hardware = ethernet::Hardware {
    controllers: &["fsl,imx8mp-fec", "nxp,imx8mp-dwmac-eqos"],
    fuses: &["fsl,imx8mp-ocotp"],
};

/// Bytes at the end of OP-TEE's memory that it shares with the kernel, as U-Boot takes them to be.
pub const TEE_SHARED: u64 = 4 << 20;

/// All fix-ups that depend on the part.
pub static IMX8MP: &[Row] = &[
    lacks(&[Unit::Gpu3d], GPU_3D),
    lacks(&[Unit::Gpu2d], GPU_2D),
    lacks(&[Unit::VpuG1], VPU_G1),
    lacks(&[Unit::VpuG2], VPU_G2),
    lacks(&[Unit::VpuVc8000e], VPU_VC8000E),
    // Its power domain is that of all three.
    lacks(&[Unit::VpuG1, Unit::VpuG2, Unit::VpuVc8000e], VPU),
    lacks(&[Unit::Npu], NPU),
    lacks(&[Unit::Isp1], ISP_1),
    lacks(&[Unit::Isp2], ISP_2),
    lacks(&[Unit::Dewarp], DEWARP),
    lacks(&[Unit::Dsp], DSP),
    lacks(&[Unit::Dsi], DSI),
    lacks(&[Unit::Lvds], LVDS),
    cores(2),
    cores(1),
    grade(Grade::Commercial),
    grade(Grade::ExtendedCommercial),
    grade(Grade::Industrial),
    grade(Grade::Automotive),
];

const fn lacks(units: &'static [Unit], nodes: &'static [NodeName]) -> Row {
    Row { when: Condition::Lacks(units), action: Action::Disable(nodes) }
}

const fn cores(count: u8) -> Row {
    Row { when: Condition::Cores(count), action: Action::Keep(Processors(count as u32)) }
}

/// Linux slows down ten degrees below the limit, as U-Boot has it.
#[allow(clippy::cast_sign_loss, reason = "the upper limits are above zero")]
const fn grade(grade: Grade) -> Row {
    let limit = grade.range().1 as u32 * 1000;
    let trips = Trips {
        zones: &["cpu-thermal", "soc-thermal"],
        passive: Temperature { usual: 85_000, allowed: limit - 10_000 },
        critical: Temperature { usual: 95_000, allowed: limit },
    };
    Row { when: Condition::Grade(grade), action: Action::Trip(trips) }
}

const fn node(
    paths: &'static [&'static str],
    address: &'static str,
    compatible: &'static [&'static str],
) -> NodeName {
    NodeName { paths, address, compatible }
}

const GPU_3D: &[NodeName] = &[node(
    &["/soc@0/gpu@38000000", "/gpu3d@38000000"],
    "38000000",
    &["vivante,gc", "fsl,imx8-gpu"],
)];

const GPU_2D: &[NodeName] = &[node(
    &["/soc@0/gpu@38008000", "/gpu2d@38008000"],
    "38008000",
    &["vivante,gc", "fsl,imx8-gpu"],
)];

const VPU_G1: &[NodeName] = &[node(
    &["/soc@0/video-codec@38300000", "/vpu_g1@38300000"],
    "38300000",
    &["nxp,imx8mm-vpu-g1", "nxp,imx8mp-hantro"],
)];

const VPU_G2: &[NodeName] = &[node(
    &["/soc@0/video-codec@38310000", "/vpu_g2@38310000"],
    "38310000",
    &["nxp,imx8mq-vpu-g2", "nxp,imx8mp-hantro"],
)];

const VPU_VC8000E: &[NodeName] = &[node(
    &["/soc@0/video-codec@38320000", "/vpu_vc8000e@38320000"],
    "38320000",
    &["nxp,imx8mp-hantro-vc8000e"],
)];

/// When Linux resumes, the block's driver powers up each codec's domain.
const VPU: &[NodeName] = &[
    node(
        &["/soc@0/blk-ctrl@38330000", "/soc@0/blk-ctl@38330000"],
        "38330000",
        &["fsl,imx8mp-vpu-blk-ctrl"],
    ),
    node(&["/vpu_v4l2"], "", &[]),
];

const NPU: &[NodeName] = &[node(
    &["/soc@0/npu@38500000", "/vipsi@38500000"],
    "38500000",
    &["vivante,gc", "fsl,imx8-vipsi"],
)];

const ISP_1: &[NodeName] = &[node(
    &["/soc@0/bus@32c00000/isp@32e10000", "/soc@0/bus@32c00000/camera/isp@32e10000"],
    "32e10000",
    &["fsl,imx8mp-isp"],
)];

const ISP_2: &[NodeName] = &[node(
    &["/soc@0/bus@32c00000/isp@32e20000", "/soc@0/bus@32c00000/camera/isp@32e20000"],
    "32e20000",
    &["fsl,imx8mp-isp"],
)];

const DEWARP: &[NodeName] = &[node(
    &["/soc@0/bus@32c00000/dwe@32e30000", "/soc@0/bus@32c00000/camera/dwe@32e30000"],
    "32e30000",
    &["nxp,imx8mp-dw100", "fsl,imx8mp-dwe"],
)];

const DSP: &[NodeName] = &[node(
    &["/soc@0/dsp@3b6e8000", "/dsp@3b6e8000"],
    "3b6e8000",
    &["fsl,imx8mp-dsp", "fsl,imx8mp-hifi4"],
)];

/// The transmitter, and the display controller that feeds nothing else.
const DSI: &[NodeName] = &[
    node(
        &["/soc@0/bus@32c00000/dsi@32e60000", "/soc@0/bus@32c00000/mipi_dsi@32e60000"],
        "32e60000",
        &["fsl,imx8mp-mipi-dsim"],
    ),
    node(
        &[
            "/soc@0/bus@32c00000/display-controller@32e80000",
            "/soc@0/bus@32c00000/lcd-controller@32e80000",
        ],
        "32e80000",
        &["fsl,imx8mp-lcdif", "fsl,imx8mp-lcdif1"],
    ),
];

/// The same.
const LVDS: &[NodeName] = &[
    node(
        &["/soc@0/bus@32c00000/blk-ctrl@32ec0000/bridge@5c", "/soc@0/bus@32c00000/ldb@32ec005c"],
        "5c",
        &["fsl,imx8mp-ldb"],
    ),
    node(&["/soc@0/bus@32c00000/phy@32ec0128"], "32ec0128", &["fsl,imx8mp-lvds-phy"]),
    node(
        &[
            "/soc@0/bus@32c00000/display-controller@32e90000",
            "/soc@0/bus@32c00000/lcd-controller@32e90000",
        ],
        "32e90000",
        &["fsl,imx8mp-lcdif", "fsl,imx8mp-lcdif2"],
    ),
];

#[cfg(test)]
mod tests {
    use std::{
        format,
        string::{String, ToString},
        vec::Vec,
    };

    use super::*;

    fn fuses(when: &Condition) -> String {
        let join = |parts: Vec<String>| parts.join(", ");
        match *when {
            Condition::Always => "any".to_string(),
            Condition::Lacks(units) => {
                let bits = |bits: u32| (0..32).rev().filter(move |bit| bits >> bit & 1 != 0);
                let words = units.iter().map(|unit| unit.fuses());
                join(
                    words
                        .flat_map(|(word, set)| {
                            bits(set).map(move |bit| format!("{word:#x}[{bit}]"))
                        })
                        .collect(),
                )
            }
            Condition::Cores(cores) => {
                let code = (0..4).rev().find(|code| crate::soc::ocotp::cores(code << 18) == cores);
                format!("0x440[19:18] = {:02b}", code.unwrap())
            }
            Condition::Grade(grade) => {
                let code = Grade::ALL.iter().position(|other| *other == grade).unwrap();
                format!("0x440[6:5] = {code:02b}")
            }
        }
    }

    fn change(action: &Action) -> String {
        match action {
            Action::Disable(names) => {
                let either = |name: &NodeName| {
                    let paths = name.paths.iter().map(|path| format!("`{path}`"));
                    paths.collect::<Vec<_>>().join(" or ")
                };
                format!("disabled: {}", names.iter().map(either).collect::<Vec<_>>().join("; "))
            }
            Action::Keep(Processors(count)) => format!(
                "processors of `/cpus` from number {count} on are deleted, with their entries in \
                 `cooling-device` and `interrupt-affinity` and in `cpu-map`; their trace units are disabled"
            ),
            Action::Trip(Trips { zones, passive, critical }) => format!(
                "trips of `{}`: passive {} C, critical {} C",
                zones.join("` and `"),
                passive.allowed / 1000,
                critical.allowed / 1000
            ),
        }
    }

    #[test]
    fn the_documentation_shows_each_row_as_it_is() {
        let document = include_str!("../../docs/device-tree.md");
        let table = document.split("| part | fuses | change |").nth(1).unwrap();
        let mut rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        for Row { when, action } in IMX8MP {
            let expected = format!("| {when} | {} | {} |", fuses(when), change(action));
            assert_eq!(rows.next(), Some(&*expected));
        }
        assert_eq!(rows.next(), None, "a row that is none");
    }
}
