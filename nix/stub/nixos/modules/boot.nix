# Kernel and initrd.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;
  strings = mkOption {
    type = types.listOf types.str;
    default = [ ];
  };
in
{
  options.boot = {
    kernelPackages = mkOption {
      type = types.raw;
      default = pkgs.linuxPackages;
    };
    kernelParams = strings;
    kernelModules = strings;
    supportedFilesystems = mkOption {
      type = types.anything;
      default = { };
    };
    growPartition = mkOption {
      type = types.bool;
      default = false;
    };
    consoleLogLevel = mkOption {
      type = types.int;
      default = 4;
    };
    swraid.enable = mkOption {
      type = types.bool;
      default = false;
    };
    initrd = {
      enable = mkOption {
        type = types.bool;
        default = true;
      };
      kernelModules = strings;
      availableKernelModules = strings;
      includeDefaultModules = mkOption {
        type = types.bool;
        default = true;
      };
      secrets = mkOption {
        type = types.attrsOf (types.nullOr types.path);
        default = { };
      };
      luks.devices = mkOption {
        type = types.attrsOf types.attrs;
        default = { };
      };
    };
  };
  config.system.build.initialRamdisk = pkgs.makeInitrd {
    modules = config.boot.initrd.kernelModules;
  };
}
