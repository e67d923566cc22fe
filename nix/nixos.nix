# The NixOS module with the packages of this flake, made of the configuration's own nixpkgs, without an overlay: so it works where
# `nixpkgs.pkgs` is given and overlays are not taken.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.boot.loader.firn;
  packages = import ./packages { inherit pkgs; };
  board = (import ./boards.nix).${cfg.board};
in
{
  imports = [
    ./image
    ./module
  ];

  config.boot.loader.firn = {
    # The board has no use for an emulated board.
    package = lib.mkDefault (packages.firn-cli.override { withHostTools = false; });
    buildPackage = lib.mkDefault (import ./packages { pkgs = pkgs.buildPackages; }).firn-cli;
    ddrFirmware = lib.mkDefault packages.firmware-imx;
    armTrustedFirmware.package = lib.mkDefault (
      packages.${board.armTrustedFirmware}.override { withOptee = cfg.optee.enable; }
    );
    optee.package = lib.mkDefault packages.${board.optee};
    firmware.package = lib.mkDefault (
      packages."flash-image-${cfg.board}".override {
        inherit (cfg) ddrFirmware;
        armTrustedFirmware = cfg.armTrustedFirmware.package;
        optee = if cfg.optee.enable then cfg.optee.package else null;
      }
    );
  };
}
