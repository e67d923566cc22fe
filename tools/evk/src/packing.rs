//! Kernels in the forms in which people have them: compressed, with an EFI stub that decompresses,
//! in a FIT image. Made by the real tools, with the options that Linux's own build gives them.
//!
//! Sources: Linux, scripts/Makefile.lib and arch/arm64/boot/Makefile (options),
//! drivers/firmware/efi/libstub/{Makefile.zboot,zboot-header.S} (the header); U-Boot,
//! doc/usage/fit/source_file_format.rst.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::tool::{Call, GZIP, LZ4, LZMA, LZOP, MKIMAGE, XZ, ZSTD};

/// A way to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// LZ4 in its own frame.
    Lz4,
    /// LZ4 in the older frame that Linux's build writes.
    Lz4Legacy,
    /// xz.
    Xz,
    /// lzma, without a container.
    Lzma,
    /// lzop.
    Lzo,
}

/// The form of a kernel's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// An arm64 Image.
    Plain,
    /// The Image, compressed.
    Compressed(Compression),
    /// An EFI program with the compressed Image in it.
    Zboot(Compression),
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Gzip, Self::Zstd, Self::Lz4, Self::Lz4Legacy, Self::Xz, Self::Lzma, Self::Lzo];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Lz4Legacy => "lz4, legacy frame",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Lzo => "lzo",
        }
    }

    /// As Linux's build makes `Image.gz` and its like.
    fn call(self) -> Call {
        match self {
            Self::Gzip => GZIP.call().args(["-n", "-9"]),
            Self::Zstd => ZSTD.call().args(["-q", "-19"]),
            Self::Lz4 => LZ4.call().args(["-q", "-9"]),
            Self::Lz4Legacy => LZ4.call().args(["-q", "-l", "-9"]),
            Self::Xz => XZ.call().args(["--check=crc32", "--lzma2=dict=1MiB"]),
            Self::Lzma => LZMA.call().args(["-9"]),
            Self::Lzo => LZOP.call().args(["-9"]),
        }
        .arg("-c")
    }

    /// As Linux's build makes what an EFI stub holds, and the name that it notes.
    fn zboot_call(self) -> (Call, &'static str) {
        match self {
            Self::Zstd => (ZSTD.call().args(["-q", "-22", "--ultra", "-c"]), "zstd22"),
            Self::Xz => {
                let filters = ["--check=crc32", "--arm64", "--lzma2=dict=32MiB"];
                (XZ.call().args(filters).arg("-c"), "xzkern")
            }
            Self::Gzip => (self.call(), "gzip"),
            Self::Lz4 | Self::Lz4Legacy => (Self::Lz4Legacy.call(), "lz4"),
            Self::Lzma => (self.call(), "lzma"),
            Self::Lzo => (self.call(), "lzo"),
        }
    }
}

impl Packing {
    /// What people call it.
    pub fn name(self) -> String {
        match self {
            Self::Plain => "Image".into(),
            Self::Compressed(compression) => compression.name().into(),
            Self::Zboot(compression) => format!("zboot, {}", compression.name()),
        }
    }

    /// `image` in this form, as a file below `cache`, made once.
    ///
    /// # Errors
    /// A tool is missing or fails.
    pub fn pack(self, image: &[u8], cache: &Path) -> Result<PathBuf> {
        let mut key = DefaultHasher::new();
        (self, image).hash(&mut key);
        let file = cache.join(format!("kernel-{:016x}", key.finish()));
        if !file.exists() {
            fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
            let bytes = self.packed(image).with_context(|| self.name())?;
            // Another test may make the same one at the same time.
            let mut partial = tempfile::NamedTempFile::new_in(cache)?;
            partial.write_all(&bytes)?;
            partial.persist(&file)?;
        }
        Ok(file)
    }

    fn packed(self, image: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(image.to_vec()),
            Self::Compressed(compression) => run(compression.call(), image),
            Self::Zboot(compression) => {
                let (call, name) = compression.zboot_call();
                let payload = run(call, image)?;
                let size = (compression != Compression::Gzip).then_some(image.len());
                zboot(name, &payload, size)
            }
        }
    }
}

/// What `call` makes of `input`. As from Linux's build, the tool doesn't know its size beforehand.
fn run(call: Call, input: &[u8]) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), input)?;
    call.input_file(file.path()).run()
}

/// Where the payload of [`zboot`] begins.
const PAYLOAD: usize = 0x1000;

/// An EFI program for arm64 that would decompress `payload`, were there any code in it. A
/// decompressor that needs the size finds it behind the payload.
fn zboot(compression: &str, payload: &[u8], size: Option<usize>) -> Result<Vec<u8>> {
    const PE_HEADER: usize = 0x40;
    let narrow = |number: usize| Ok::<_, anyhow::Error>(u32::try_from(number)?.to_le_bytes());
    let mut file = vec![0; PAYLOAD];
    let mut put = |offset: usize, bytes: &[u8]| {
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(0, b"MZ\0\0zimg");
    put(8, &narrow(PAYLOAD)?);
    put(12, &narrow(payload.len())?);
    put(24, compression.as_bytes());
    // LINUX_PE_MAGIC, then where the PE header is.
    put(0x38, &0x8182_23cd_u32.to_le_bytes());
    put(0x3c, &narrow(PE_HEADER)?);
    put(PE_HEADER, b"PE\0\0");
    // The COFF header: arm64, one section, 112 bytes of optional header.
    put(PE_HEADER + 4, &0xaa64_u16.to_le_bytes());
    put(PE_HEADER + 6, &1_u16.to_le_bytes());
    put(PE_HEADER + 20, &112_u16.to_le_bytes());
    // PE32+, and its EFI subsystem.
    put(PE_HEADER + 24, &0x020b_u16.to_le_bytes());
    put(PE_HEADER + 24 + 68, &10_u16.to_le_bytes());
    let section = PE_HEADER + 24 + 112;
    let tail = size.map(narrow).transpose()?.map_or(Vec::new(), |size| size.to_vec());
    put(section, b".gzdata\0");
    put(section + 16, &narrow(payload.len() + tail.len())?);
    put(section + 20, &narrow(PAYLOAD)?);
    file.extend_from_slice(payload);
    file.extend_from_slice(&tail);
    Ok(file)
}

/// A FIT image of a kernel, an initrd and a device tree.
#[derive(Clone, Copy, Debug)]
pub struct Fit<'a> {
    /// An arm64 Image.
    pub image: &'a [u8],
    /// The initrd.
    pub initrd: &'a [u8],
    /// The board's device tree.
    pub device_tree: &'a [u8],
    /// Whether the pieces lie behind the tree that names them (`mkimage -E`).
    pub external: bool,
    /// Whether kernel and device tree are compressed by gzip.
    pub compressed: bool,
    /// Whether the pieces have digests.
    pub hashed: bool,
}

impl Fit<'_> {
    /// The file, made by mkimage.
    ///
    /// # Errors
    /// A tool is missing or fails.
    pub fn make(&self) -> Result<Vec<u8>> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let pack = |bytes: &[u8]| match self.compressed {
            true => run(Compression::Gzip.call(), bytes),
            false => Ok(bytes.to_vec()),
        };
        let kernel = pack(self.image)?;
        let device_tree = pack(self.device_tree)?;
        let source = self.source();
        let pieces: [(&str, &[u8]); 4] = [
            ("kernel", &kernel),
            ("initrd", self.initrd),
            ("tree", &device_tree),
            ("its", source.as_bytes()),
        ];
        for (name, bytes) in pieces {
            fs::write(path(name), bytes)?;
        }
        let external: &[&str] = if self.external { &["-E"] } else { &[] };
        let call = MKIMAGE.call().args(external.iter().copied());
        call.arg("-f").arg(path("its")).arg(path("fit")).run()?;
        Ok(fs::read(path("fit"))?)
    }

    /// What mkimage is told.
    fn source(&self) -> String {
        let is_wanted = |line: &&str| self.hashed || !line.contains("hash-1");
        let source: String =
            FIT_SOURCE.lines().filter(is_wanted).flat_map(|line| [line, "\n"]).collect();
        if self.compressed { source } else { source.replace("\"gzip\"", "\"none\"") }
    }
}

/// Everything compressed and hashed. Another board's configuration is the default.
const FIT_SOURCE: &str = r#"/dts-v1/;
/ {
    description = "A system for two boards";
    #address-cells = <1>;
    images {
        kernel-1 {
            description = "Linux";
            data = /incbin/("kernel");
            type = "kernel"; arch = "arm64"; os = "linux"; compression = "gzip";
            load = <0x40400000>; entry = <0x40400000>;
            hash-1 { algo = "sha256"; };
        };
        ramdisk-1 {
            description = "initrd";
            data = /incbin/("initrd");
            type = "ramdisk"; arch = "arm64"; os = "linux"; compression = "none";
            hash-1 { algo = "crc32"; };
        };
        fdt-1 {
            description = "NXP i.MX8MPlus EVK board";
            data = /incbin/("tree");
            type = "flat_dt"; arch = "arm64"; compression = "gzip";
            hash-1 { algo = "sha256"; };
        };
        fdt-2 {
            description = "Another board";
            data = [00];
            type = "flat_dt"; arch = "arm64"; compression = "none";
        };
    };
    configurations {
        default = "conf-other";
        conf-other { kernel = "kernel-1"; ramdisk = "ramdisk-1"; fdt = "fdt-2"; compatible = "vendor,other"; };
        conf-evk { kernel = "kernel-1"; ramdisk = "ramdisk-1"; fdt = "fdt-1"; compatible = "fsl,imx8mp-evk"; };
    };
};
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zboot_kernel_tells_where_its_payload_is() {
        let file = zboot("zstd22", &[7; 100], Some(0x1234)).unwrap();
        assert_eq!(&file[..8], b"MZ\0\0zimg");
        let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(file[number(8)..][..number(12)], [7; 100]);
        assert_eq!(number(number(8) + number(12)), 0x1234);
        assert_eq!(&file[24..31], b"zstd22\0");
    }

    #[test]
    fn each_form_of_a_kernel_comes_from_its_real_tool() {
        let image: Vec<u8> = (0..100_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let cache = tempfile::tempdir().unwrap();
        for compression in Compression::ALL {
            for packing in [Packing::Compressed(compression), Packing::Zboot(compression)] {
                let file = packing.pack(&image, cache.path()).unwrap();
                let size = fs::metadata(&file).unwrap().len();
                assert!(size < image.len() as u64, "{packing:?}: {size}");
                assert_eq!(packing.pack(&image, cache.path()).unwrap(), file, "made once");
            }
        }
    }
}
