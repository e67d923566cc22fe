# OP-TEE for the i.MX 8M Plus EVK: tee-raw.bin, which BL31 built with `withOptee` starts at 0x56000000.
{ buildOptee }:

buildOptee {
  platform = "imx-mx8mpevk";
  extraMeta.platforms = [ "aarch64-linux" ];
}
