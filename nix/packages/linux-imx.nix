# NXP's kernel for i.MX, release lf-6.12.20-2.0.0. Revision and digest as in nixos-hardware (nxp/imx8mp-evk/bsp). Mainline's (NixOS's own
# linuxPackages) runs the board too; this one has NXP's drivers for its video and camera units.
{
  lib,
  buildLinux,
  fetchFromGitHub,
  ...
}@args:

buildLinux (
  args
  // {
    pname = "linux-imx";
    version = "6.12.20";
    modDirVersion = "6.12.20";

    src = fetchFromGitHub {
      owner = "nxp-imx";
      repo = "linux-imx";
      rev = "dfaf2136deb2af2e60b994421281ba42f1c087e0";
      hash = "sha256-ITrmj3a5YfXh/PSRTi+Rlto5uEBIAWFWtkTsO1ATXIo=";
    };

    defconfig = "imx_v8_defconfig";
    autoModules = false;
    # nixpkgs' common settings name options that this tree does not know.
    ignoreConfigErrors = true;
    # What NXP's defconfig leaves out and NixOS's initrd and firewall expect.
    structuredExtraConfig = with lib.kernel; {
      EXT4_FS = yes;
      BLK_DEV_DM = module;
      DM_CRYPT = module;
      DM_VERITY = module;
      MD = yes;
      MD_RAID0 = module;
      MD_RAID1 = module;
      MD_RAID10 = module;
      MD_RAID456 = module;
      IMX2_WDT = yes;
    };

    extraMeta = {
      branch = "lf-6.12.y";
      platforms = [ "aarch64-linux" ];
    };
  }
  // args.argsOverride or { }
)
