# flash.bin as part of the system.
{ config, lib, ... }:

let
  cfg = config.boot.loader.firn;
in
{
  config = lib.mkIf (cfg.enable && cfg.firmware.enable) {
    # For images and for people: the flash.bin that the system comes with.
    system.build.firnFirmware = cfg.firmware.package;
  };
}
