# What boot.json holds.
{
  config,
  lib,
  pkgs,
  ...
}:

{
  options.boot.bootspec = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = true;
    };
    extensions = lib.mkOption {
      type = lib.types.attrsOf lib.types.anything;
      default = { };
    };
  };

  # boot.json without what a toplevel writes of itself.
  config.system.build.bootspec = {
    "org.nixos.bootspec.v1" = {
      kernel = "${config.boot.kernelPackages.kernel}/Image";
      kernelParams = config.boot.kernelParams;
      initrd = "${config.system.build.initialRamdisk}/initrd";
      label = "NixOS stub";
      system = pkgs.stdenv.hostPlatform.system;
    };
  }
  // config.boot.bootspec.extensions;
}
