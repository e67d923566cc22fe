# NXP's training firmware for the DRAM controller's PHY, out of its package for i.MX. Unfree: whoever builds this agrees to NXP's licence
# (LICENSE in the output). Version and digest as in nixos-hardware (purism/librem/5r4/u-boot), jmbaur/u-boot.nix and the Yocto layers'
# firmware-imx_8.20.bb.
{
  lib,
  stdenvNoCC,
  fetchurl,
}:

stdenvNoCC.mkDerivation (finalAttrs: {
  pname = "firmware-imx";
  version = "8.20";

  src = fetchurl {
    url = "https://www.nxp.com/lgfiles/NMG/MAD/YOCTO/firmware-imx-${finalAttrs.version}.bin";
    hash = "sha256-9txqXI/ZuROhU2DTzNU9GI2wWgioWUxRjldiJHjHI4M=";
  };

  # A shell script with an archive behind it.
  unpackPhase = ''
    runHook preUnpack
    sh "$src" --auto-accept --force
    cd "firmware-imx-${finalAttrs.version}"
    runHook postUnpack
  '';

  installPhase = ''
    runHook preInstall
    mkdir -p "$out"
    cp firmware/ddr/synopsys/lpddr4_pmu_train_*_202006.bin "$out"
    cp COPYING "$out/LICENSE"
    runHook postInstall
  '';

  dontBuild = true;
  dontFixup = true;

  meta = {
    description = "LPDDR4 training firmware for NXP i.MX 8M";
    homepage = "https://www.nxp.com";
    license = lib.licenses.unfree;
    sourceProvenance = [ lib.sourceTypes.binaryFirmware ];
    platforms = lib.platforms.all;
  };
})
