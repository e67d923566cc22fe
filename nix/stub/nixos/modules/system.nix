# The system as one derivation, which exists only if no assertion fails.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;
  failed = builtins.filter (one: !one.assertion) config.assertions;
in
{
  options.system = {
    stateVersion = mkOption {
      type = types.str;
      default = "26.05";
    };
    boot.loader.id = mkOption {
      type = types.str;
      default = "";
    };
    nixos.label = mkOption {
      type = types.str;
      default = "stub";
    };
    build = mkOption {
      default = { };
      type = types.submodule {
        freeformType = types.lazyAttrsOf types.unspecified;
        options = {
          installBootLoader = mkOption {
            type = types.either types.str types.package;
          };
          toplevel = mkOption { type = types.package; };
        };
      };
    };
  };

  config.system.build.toplevel =
    if failed != [ ] then
      throw "Failed assertions:${lib.concatMapStrings (one: "\n- ${one.message}") failed}"
    else
      pkgs.runCommand "nixos-system-stub" {
        bootspec = builtins.toJSON config.system.build.bootspec;
        installBootLoader = config.system.build.installBootLoader;
        packages = config.environment.systemPackages;
        units = builtins.toJSON (
          lib.mapAttrs (_: unit: unit.text) (config.systemd.units // config.boot.initrd.systemd.units)
        );
      } "";
}
