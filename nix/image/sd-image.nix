# nixpkgs' own sd-image with Firn: import this beside nixos/modules/installer/sd-card/sd-image.nix. It has an MBR and a gap of 8 MiB, as
# Firn's layout wants it; the FAT partition of a Raspberry Pi's firmware stays empty. sd-image's own first boot grows the root and
# fills the database.
{ config, lib, ... }:

let
  cfg = config.boot.loader.firn;
  minimum = 8;
in
{
  config = lib.mkIf cfg.enable {
    sdImage = {
      firmwarePartitionOffset = lib.mkDefault minimum;
      populateFirmwareCommands = lib.mkDefault "";
      populateRootCommands = ''
        ${cfg.populateCmd} ./files ${config.system.build.toplevel}
      '';
      # Into the image alone: nothing is written to a device of the build host.
      postBuildCommands = ''
        ${cfg.buildPackage}/bin/firn write ${cfg.firmware.package}/flash.bin "$img" --copy both
      '';
    };

    assertions = [
      {
        assertion = config.sdImage.firmwarePartitionOffset >= minimum;
        message = ''
          sdImage.firmwarePartitionOffset is ${toString config.sdImage.firmwarePartitionOffset}, but both copies of flash.bin and the state record take the first
          ${toString minimum} MiB of a card. Remove the setting, or make it ${toString minimum} or more.
        '';
      }
    ];
  };
}
