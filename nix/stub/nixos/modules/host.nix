# What a host says of itself and of who may log in: nothing is made of it here.
{ lib, ... }:

let
  inherit (lib) mkOption types;
in
{
  options = {
    networking.hostName = mkOption { type = types.str; };
    services.openssh.enable = mkOption {
      type = types.bool;
      default = false;
    };
    users.users = mkOption {
      type = types.attrsOf types.attrs;
      default = { };
    };
  };
}
