# Nix itself.
{ lib, pkgs, ... }:

{
  options.nix.package = lib.mkOption {
    type = lib.types.package;
    default = pkgs.nix;
  };
}
