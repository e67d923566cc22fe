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

    # Whoever wanted the profiles would not notice.
    warnings = lib.optional (cfg.source == "auto" && nix.readable == null) ''
      boot.loader.firn copies kernels and initrds to /boot, because it cannot tell whether the loader can read /nix: ${nix.why}. Set
      boot.loader.firn.source to "profiles" if /nix is ext4 directly on a partition of the SD card or eMMC, else to "extlinux".
    '';
  };
}
