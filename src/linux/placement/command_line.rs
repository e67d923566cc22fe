//! What a kernel's command line says about memory.
//!
//! Sources: Linux `Documentation/admin-guide/kernel-parameters.txt`, `early_mem` in
//! `arch/arm64/mm/init.c`, `early_cma` in `kernel/dma/contiguous.c`, `memparse` in `lib/cmdline.c`.
//! Of a parameter that stands there twice, the last one counts.

use super::PAGE;
use crate::memory::Region;

/// `cma=SIZE[@START[-END]]`: the default pool's size and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CmaParameter {
    /// Bytes; 0 for no pool.
    pub(super) size: u64,
    /// Where it has to lie, if that is said.
    pub(super) place: Option<Region>,
}

/// Bytes that the kernel is to use.
pub(super) fn mem(command_line: &str) -> Option<u64> {
    let (bytes, _) = number(last(command_line, "mem=")?)?;
    Some(bytes - bytes % PAGE).filter(|&bytes| bytes > 0)
}

/// The default CMA pool.
pub(super) fn cma(command_line: &str) -> Option<CmaParameter> {
    let (size, rest) = number(last(command_line, "cma=")?)?;
    let Some((start, rest)) = rest.strip_prefix('@').and_then(number) else {
        return Some(CmaParameter { size, place: None });
    };
    let place = match rest.strip_prefix('-').and_then(number) {
        Some((end, _)) => Region::between(start, end),
        None => Region::new(start, size),
    };
    Some(CmaParameter { size, place: Some(place) })
}

/// The value of a parameter. What follows `--` is not the kernel's.
fn last<'a>(command_line: &'a str, name: &str) -> Option<&'a str> {
    let words = command_line.split_ascii_whitespace().take_while(|word| *word != "--");
    words.filter_map(|word| word.strip_prefix(name)).last()
}

/// A number with its unit, and what follows.
fn number(text: &str) -> Option<(u64, &str)> {
    let (digits, radix) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let end = digits.find(|digit: char| !digit.is_digit(radix)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let number = u64::from_str_radix(digits, radix).ok()?;
    let unit = rest.chars().next().and_then(|unit| "kmgtpe".find(unit.to_ascii_lowercase()));
    let Some(power) = unit else { return Some((number, rest)) };
    let unit = 1024_u64.checked_pow(u32::try_from(power).ok()? + 1)?;
    Some((number.checked_mul(unit)?, &rest[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn numbers_have_units_and_may_be_hexadecimal() {
        assert_eq!(mem("quiet mem=512M"), Some(512 * MIB));
        assert_eq!(mem("mem=0x20000000 quiet"), Some(512 * MIB));
        assert_eq!(mem("mem=2g"), Some(2048 * MIB));
        // As NXP's U-Boot writes it for a hypervisor.
        assert_eq!(mem("mem=1920MB"), Some(1920 * MIB));
    }

    #[test]
    fn what_is_no_number_of_pages_is_no_limit() {
        for text in
            ["", "mem=", "mem=M", "mem=0", "mem=4095", "mem=99999999999999999999", "xmem=1G"]
        {
            assert_eq!(mem(text), None, "{text}");
        }
        assert_eq!(mem("mem=16E mem=99E"), None, "beyond all numbers");
    }

    #[test]
    fn the_last_one_counts_and_what_is_not_the_kernels_does_not() {
        assert_eq!(mem("mem=1G mem=2G -- mem=3G"), Some(2048 * MIB));
    }

    #[test]
    fn a_pool_has_a_size_and_may_have_a_place() {
        let pool = |text| cma(text).unwrap();
        assert_eq!(pool("cma=320M"), CmaParameter { size: 320 * MIB, place: None });
        assert_eq!(pool("cma=0").size, 0);
        let place = Some(Region::new(0x8000_0000, 64 * MIB));
        assert_eq!(pool("cma=64M@2G"), CmaParameter { size: 64 * MIB, place });
        let place = Some(Region::between(0x4000_0000, 0x8000_0000));
        assert_eq!(pool("cma=64M@1G-2G"), CmaParameter { size: 64 * MIB, place });
        assert_eq!(cma("cma_name=linux,cma"), None);
    }
}
