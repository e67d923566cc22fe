# Mounts.
{ lib, ... }:

let
  inherit (lib) mkOption types;
  fileSystem =
    { name, config, ... }:
    {
      options = {
        mountPoint = mkOption {
          type = types.str;
          default = name;
        };
        device = mkOption {
          type = types.nullOr types.str;
          default = null;
        };
        label = mkOption {
          type = types.nullOr types.str;
          default = null;
        };
        fsType = mkOption {
          type = types.str;
          default = "auto";
        };
        options = mkOption {
          type = types.listOf types.str;
          default = [ "defaults" ];
        };
        autoResize = mkOption {
          type = types.bool;
          default = false;
        };
        neededForBoot = mkOption {
          type = types.bool;
          default = false;
        };
        encrypted = {
          enable = mkOption {
            type = types.bool;
            default = false;
          };
          label = mkOption {
            type = types.nullOr types.str;
            default = null;
          };
          blkDev = mkOption {
            type = types.nullOr types.str;
            default = null;
          };
        };
      };
      config.device = lib.mkIf (config.label != null) (
        lib.mkDefault "/dev/disk/by-label/${config.label}"
      );
    };
in
{
  options = {
    fileSystems = mkOption {
      type = types.attrsOf (types.submodule fileSystem);
      default = { };
    };
    swapDevices = mkOption {
      type = types.listOf types.attrs;
      default = [ ];
    };
  };
}
