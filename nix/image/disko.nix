# A layout for disko: the places of flash.bin and of the state record as partitions, and behind them an ext4 root. As a function of the
# disk, because a disk is never guessed:
#
#     { imports = [ disko.nixosModules.disko (firn.lib.diskoLayout "/dev/mmcblk2") ]; }
#
# disko, nixos-install and nixos-anywhere run on some machine, which need not be the board: they partition the disk that they are told,
# and none of them writes flash.bin to it. That is done where somebody names the card, or the board is known:
#
# * disko's image builder: this layout writes it into the image file;
# * a card in a reader: `firn write flash.bin /dev/sdX --copy both`;
# * on the board, which has booted from another medium or an older flash.bin: `firn firmware update`.
device:
{ config, lib, ... }:

let
  cfg = config.boot.loader.firn;
  layout = import ./layout.nix;
  # disko sorts by priority, then numbers.
  place = index: partition: {
    inherit (partition) name;
    value = {
      inherit (partition) type;
      priority = index;
      label = partition.name;
      start = "${toString partition.start}s";
      end = "${toString partition.end}s";
    };
  };
  disk = config.disko.devices.disk.firn;
in
{
  disko.devices.disk.firn = {
    type = "disk";
    inherit device;
    content = {
      type = "gpt";
      partitions = lib.listToAttrs (lib.imap1 place layout.partitions) // {
        root = {
          priority = 9001;
          label = "NIXOS_SD";
          start = "${toString layout.firstPartition}s";
          size = "100%";
          content = {
            type = "filesystem";
            format = "ext4";
            mountpoint = "/";
            extraArgs = [
              "-L"
              "NIXOS_SD"
            ];
          };
        };
      };
    };
  };

  disko.imageBuilder.extraPostVM = lib.mkIf (cfg.enable && cfg.firmware.enable) (
    lib.mkBefore ''
      ${cfg.buildPackage}/bin/firn write ${cfg.firmware.package}/flash.bin \
        "$out/${disk.imageName}.${config.disko.imageBuilder.imageFormat}" --copy both
    ''
  );
}
