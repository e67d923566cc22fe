# Packages and files of a system.
{ lib, ... }:

let
  inherit (lib) mkOption types;
in
{
  options.environment = {
    systemPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
    };
    etc = mkOption {
      type = types.attrsOf types.attrs;
      default = { };
    };
  };
}
