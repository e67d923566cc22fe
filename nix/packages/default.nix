# Everything that Firn builds, for the machine that `pkgs` makes programs for. Firmware runs on the board, whatever that machine is:
# its packages are cross-built, from the machine that `pkgs` are built on.
{ pkgs }:

let
  # On bare metal, for a C library that nobody uses.
  bareMetal = pkgs.pkgsCross.aarch64-embedded;
  # Kernel, TF-A and OP-TEE come with build systems for Linux's compiler: the board's own packages, where they are not at hand.
  board =
    if pkgs.stdenv.hostPlatform.isAarch64 && pkgs.stdenv.hostPlatform.isLinux then
      pkgs
    else
      pkgs.pkgsCross.aarch64-multiplatform;

  # Images are put together where builds run.
  firn-cli-of-build = pkgs.buildPackages.callPackage ./firn-cli.nix { };

  packages = {
    firn = bareMetal.callPackage ./firn.nix { };
    firn-spl = bareMetal.callPackage ./firn-spl.nix { };
    firn-cli = pkgs.callPackage ./firn-cli.nix { };

    firmware-imx = pkgs.callPackage ./firmware-imx.nix { };
    arm-trusted-firmware-imx8mp = board.callPackage ./arm-trusted-firmware-imx8mp.nix { };
    arm-trusted-firmware-imx8mp-nxp = board.callPackage ./arm-trusted-firmware-imx8mp-nxp.nix {
      inherit (packages) arm-trusted-firmware-imx8mp;
    };
    optee-os-imx8mp = board.callPackage ./optee-os-imx8mp.nix { };

    flash-image-imx8mp-evk = pkgs.callPackage ./flash-image.nix {
      board = "imx8mp-evk";
      firn-cli = firn-cli-of-build;
      inherit (packages) firn firn-spl;
      ddrFirmware = packages.firmware-imx;
      armTrustedFirmware = packages.arm-trusted-firmware-imx8mp;
    };

    linux-imx = board.callPackage ./linux-imx.nix {
      # Those that nixpkgs gives every kernel: where NixOS has the helpers that a kernel calls.
      kernelPatches = [
        board.kernelPatches.bridge_stp_helper
        board.kernelPatches.request_key_helper
      ];
    };
  };
in
packages
