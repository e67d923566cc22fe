# The packages that a configuration is made of.
{
  config,
  lib,
  ...
}:

let
  inherit (lib) mkOption types;
  cfg = config.nixpkgs;
  platform = mkOption {
    type = types.either types.str types.attrs;
  };
  systemOf = value: if builtins.isAttrs value then value.system else value;
in
{
  options.nixpkgs = {
    hostPlatform = platform;
    buildPlatform = platform // {
      default = cfg.hostPlatform;
    };
    overlays = mkOption {
      type = types.listOf types.raw;
      default = [ ];
    };
    config = mkOption {
      type = types.attrsOf types.raw;
      default = { };
    };
    pkgs = mkOption { type = types.raw; };
  };

  config = {
    nixpkgs.pkgs = lib.mkDefault (
      import ../.. {
        localSystem.system = systemOf cfg.buildPlatform;
        crossSystem =
          if systemOf cfg.buildPlatform == systemOf cfg.hostPlatform then
            null
          else
            { system = systemOf cfg.hostPlatform; };
        inherit (cfg) overlays config;
      }
    );
    _module.args.pkgs = cfg.pkgs;
  };
}
