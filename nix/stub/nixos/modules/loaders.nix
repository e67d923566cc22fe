# Other boot loaders, and what all of them share.
{ config, lib, ... }:

let
  inherit (lib) mkEnableOption mkOption types;
in
{
  options.boot.loader = {
    timeout = mkOption {
      type = types.nullOr types.int;
      default = 5;
    };
    supportsInitrdSecrets = mkOption {
      type = types.bool;
      default = false;
    };
    grub.enable = mkEnableOption "GRUB" // {
      default = true;
    };
    systemd-boot.enable = mkEnableOption "systemd-boot";
    generic-extlinux-compatible = {
      enable = mkEnableOption "extlinux.conf";
      configurationLimit = mkOption {
        type = types.int;
        default = 20;
      };
    };
    limine.enable = mkEnableOption "Limine";
    refind.enable = mkEnableOption "rEFInd";
    external = {
      enable = mkEnableOption "an external loader";
      installHook = mkOption { type = types.path; };
    };
  };

  config.system.build.installBootLoader = lib.mkIf config.boot.loader.external.enable config.boot.loader.external.installHook;
}
