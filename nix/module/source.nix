# Where the loader is to find the generations, if the user leaves it to the module: in the profiles themselves wherever the loader
# can read the file system that holds them, because nothing has to be copied then.
{ config, lib, ... }:

let
  cfg = config.boot.loader.firn;
  nix = import ./storage/nix.nix { inherit config lib; };
  automatic = if nix.readable == true then "profiles" else "extlinux";
in
{
  config = lib.mkIf cfg.enable {
    boot.loader.firn.resolved = {
      source = if cfg.source == "auto" then automatic else cfg.source;
      reason = if cfg.source == "auto" then nix.why else "boot.loader.firn.source says so";
      nixPrefix = nix.prefix;
    };
  };
}
