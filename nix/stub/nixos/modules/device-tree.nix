# Device trees.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;
in
{
  options.hardware = {
    deviceTree = {
      enable = mkOption {
        type = types.bool;
        default = pkgs.stdenv.hostPlatform.isAarch64;
      };
      name = mkOption {
        type = types.nullOr types.str;
        default = null;
      };
      filter = mkOption {
        type = types.nullOr types.str;
        default = null;
      };
      overlays = mkOption {
        type = types.listOf types.attrs;
        default = [ ];
      };
      kernelPackage = mkOption {
        type = types.package;
        default = config.boot.kernelPackages.kernel;
      };
      package = mkOption {
        type = types.nullOr types.path;
        default = null;
        internal = true;
      };
    };
    enableRedistributableFirmware = mkOption {
      type = types.bool;
      default = false;
    };
    firmware = mkOption {
      type = types.listOf types.package;
      default = [ ];
    };
  };
  config.hardware.deviceTree.package = lib.mkIf config.hardware.deviceTree.enable "${config.hardware.deviceTree.kernelPackage}/dtbs";
}
