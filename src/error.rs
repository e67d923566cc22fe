//! The stable error codes that a user can look up.
//!
//! Every message on the serial line carries one, as `[E503]`. A code is never reused and never
//! changes its meaning; docs/error-codes.md tells what to do, and a test keeps it complete.

#![forbid(unsafe_code)]

use core::fmt;

macro_rules! codes {
    ($($number:literal $name:ident $summary:literal;)*) => {
        /// What went wrong, as a stable number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "each variant's text is its summary, see codes!")]
        pub enum Code { $(#[doc = $summary] $name = $number,)* }

        impl Code {
            /// All codes, in ascending order.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The number printed after `E`.
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// One short clause.
            pub const fn summary(self) -> &'static str {
                match self { $(Code::$name => $summary,)* }
            }
        }
    };
}

codes! {
    // 1xx: storage devices
    101 NoCard "no card answers";
    102 CardTimeout "the card stopped answering";
    103 CardTransfer "data from the card arrived damaged";
    104 CardUnsupported "the card cannot be used";
    105 CardRemoved "the card was removed";
    106 ReadBeyondEnd "read beyond the end of the device";
    107 ControllerFault "the card controller reports a fault";
    108 ReadOnly "the card cannot be written to";
    // 2xx: partitions
    201 NoPartitions "no partition table";
    202 PartitionTableCorrupt "the partition table is damaged";
    // 3xx: file systems
    301 UnknownFileSystem "not a FAT or ext4 file system";
    302 FileSystemCorrupt "the file system is damaged";
    303 FileSystemFeature "the file system uses a feature that cannot be read";
    304 NotFound "no such file";
    305 WrongFileType "not a file of the kind expected";
    306 TooManyLinks "too many symbolic links";
    307 FileRead "a file could not be read";
    // 4xx: boot configuration
    401 ConfigurationEmpty "the boot configuration has no entry";
    402 ConfigurationNotText "the boot configuration is not text";
    403 ConfigurationTooLarge "the boot configuration is too large";
    404 NothingToBoot "no generation found";
    405 EntryIncomplete "the entry names no kernel";
    406 ConfigurationLineIgnored "a line of the boot configuration is ignored";
    407 DefaultUnusable "the default entry cannot be booted";
    408 EntryDamaged "the entry is damaged";
    // 5xx: kernel and initrd
    501 KernelNotArm64 "not an arm64 kernel image";
    502 KernelTruncated "the kernel is truncated";
    503 KernelUnsupported "the kernel cannot run here";
    504 DoesNotFit "does not fit into memory";
    505 InitrdEmpty "the initrd is empty";
    506 CompressedDamaged "a compressed kernel is damaged";
    507 KernelPackage "the kernel is packed in a way that cannot be unpacked";
    508 FitDamaged "the FIT image is damaged";
    509 FitUnusable "the FIT image has nothing that can be booted here";
    // 6xx: device tree
    601 DeviceTreeCorrupt "the device tree is damaged";
    602 DeviceTreeMissing "no device tree for this board";
    603 DeviceTreeEdit "the device tree cannot be patched";
    604 OverlayUnusable "the device tree overlay cannot be applied";
    605 DeviceTreeFixup "the device tree cannot be fitted to the board";
    606 EthernetAddress "an Ethernet address cannot be used";
    // 7xx: the stages themselves
    701 ProcessorException "the processor took an exception";
    702 Panic "a stage found itself in an impossible state";
    703 MemoryUnknown "the memory size is not known";
    704 WrongExceptionLevel "entered at an exception level that cannot start Linux";
    705 LoadedOverItself "loaded where it cannot be moved to its place from";
    706 ClockStopped "the system counter stands still";
    // 8xx: DRAM
    801 DramFirmwareUnusable "a DRAM training blob cannot be used";
    802 DramFirmwareDamaged "the DRAM training firmware arrived damaged";
    803 DramClock "the DRAM clock does not start";
    804 DramController "the DRAM controller does not answer";
    805 DramTrainingFailed "DRAM training failed";
    806 DramTrainingSilent "the DRAM training firmware stopped answering";
    807 DramData "DRAM does not hold what is written";
    808 DramAddress "DRAM answers at the wrong address";
    809 DramEcc "DRAM holds wrong bits";
    // 9xx: boot image
    901 NotABootImage "not a boot image";
    902 BootImageTruncated "the boot image is truncated";
    903 BootImageHeader "a header of the boot image is damaged";
    904 BootImageDigest "a part of the boot image is damaged";
    905 BootImageForeign "the boot image is for another board or version";
    906 BootImagePlacement "a part of the boot image has an impossible place";
    907 BootImageIncomplete "the boot image lacks a part";
    908 BootImageTooLarge "the boot image does not fit";
    909 BootImageInput "a file cannot be part of a boot image";
    910 TrainingFirmware "the DRAM training firmware cannot be used";
    911 DummyTrainingFirmware "the DRAM training firmware is a dummy";
    // 10xx: the first stage
    1001 NoBootDevice "the boot ROM does not tell what it booted from";
    1002 BootDeviceRead "the boot device cannot be read";
    1003 PmicSilent "the PMIC does not answer";
    1004 I2cBus "the I2C bus is stuck";
    1005 PllUnlocked "a PLL does not lock";
    1006 StreamEnded "the download over USB ended early";
    1007 HandOffDamaged "the first stage's record is damaged";
    1008 NoEntropy "no random numbers";
    // 11xx: boot counting and the state record
    1101 TryUnconfirmed "a boot was not confirmed";
    1102 StateDamaged "the state record is damaged";
    1103 StateVersion "the state record is of a later version";
    1104 StatePlace "there is no place for the state record";
    1105 StateForeign "the state record's place holds something else";
    1106 StateWrite "the state record could not be written";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E{:03}", self.number())
    }
}

/// An error with a stable code. `Display` of the error itself names what and where.
pub trait Coded: fmt::Display {
    /// The code to look up.
    fn code(&self) -> Code;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_ascending() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn the_documentation_lists_each_code_once_with_its_summary_and_what_to_do() {
        let document = include_str!("../docs/error-codes.md");
        let mut rows = document.lines().filter(|line| line.starts_with("| E"));
        for code in Code::ALL {
            let row = rows.next().unwrap_or_default();
            let start = std::format!("| {code} | {} | ", code.summary());
            let advice = row.strip_prefix(start.as_str()).and_then(|rest| rest.strip_suffix(" |"));
            assert!(advice.is_some_and(|advice| !advice.is_empty()), "{start}... is not {row:?}");
        }
        assert_eq!(rows.next(), None, "a code that is none");
    }
}
