//! What is measured.

use evk::{
    measure::{Kernel, Layout, Sizes, Source},
    nixos::Timeout,
    packing::{Compression, Packing},
};

/// A boot that is measured.
pub(super) struct Case {
    /// What budgets and tables call it.
    pub(super) name: String,
    pub(super) layout: Layout,
    /// Whether `cargo xtask test` measures it: the slowest part of each way to boot, without those whose
    /// cards or compressed kernels take minutes.
    pub(super) is_checked: bool,
}

/// All of them.
pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (size, sizes) in [("64 MB", Sizes::REAL), ("0.1 MB", Sizes::SMALL)] {
        for (menu, timeout) in [("at once", Timeout::Seconds(0)), ("menu", Timeout::Never)] {
            for (place, source) in SOURCES {
                let kernel = Kernel::Noise(sizes);
                let layout = Layout { source, many: false, kernel, timeout };
                let name = format!("{place}, {size}, {menu}");
                // Loading is measured at once, the menu with files of next to nothing.
                let is_checked = (size == "64 MB") == (menu == "at once");
                cases.push(Case { name, layout, is_checked });
            }
        }
    }
    for (menu, timeout) in [("at once", Timeout::Seconds(0)), ("menu", Timeout::Never)] {
        for (place, source) in [SOURCES[0], SOURCES[2]] {
            let layout =
                Layout { source, many: true, kernel: Kernel::Noise(Sizes::SMALL), timeout };
            let name = format!("{place}, 200 generations, {menu}");
            cases.push(Case { name, layout, is_checked: false });
        }
    }
    cases.extend(packings().map(|packing| {
        at_once_from_ext4(format!("kernel {}", packing.name()), Kernel::Linux(packing))
    }));
    cases.extend([("without digests", false), ("SHA-256 verified", true)].map(
        |(name, verified)| {
            let case = at_once_from_ext4(format!("FIT, {name}"), Kernel::Fit { verified });
            Case { is_checked: verified, ..case }
        },
    ));
    cases
}

const SOURCES: [(&str, Source); 3] =
    [("FAT", Source::Fat), ("ext4", Source::Ext4), ("profiles", Source::Profiles)];

fn at_once_from_ext4(name: String, kernel: Kernel) -> Case {
    let timeout = Timeout::Seconds(0);
    let layout = Layout { source: Source::Ext4, many: false, kernel, timeout };
    Case { name, layout, is_checked: false }
}

/// All forms in which a kernel is found.
fn packings() -> impl Iterator<Item = Packing> {
    let compressed = Compression::ALL.into_iter().map(Packing::Compressed);
    let zboot = [Compression::Gzip, Compression::Zstd, Compression::Xz].map(Packing::Zboot);
    std::iter::once(Packing::Plain).chain(compressed).chain(zboot)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_cases_have_one_name() {
        let names: BTreeSet<String> = all().into_iter().map(|case| case.name).collect();
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn the_tests_measure_a_boot_and_a_menu_of_each_source() {
        let checked = all().into_iter().filter(|case| case.is_checked);
        let names: Vec<String> = checked.map(|case| case.name).collect();
        for (place, _) in SOURCES {
            assert!(names.contains(&format!("{place}, 64 MB, at once")));
            assert!(names.contains(&format!("{place}, 0.1 MB, menu")));
        }
    }
}
