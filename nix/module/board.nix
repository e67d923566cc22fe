# What a board needs of the kernel, as far as its owner has not said otherwise: device tree, console, the driver of its cards.
{ config, lib, ... }:

let
  cfg = config.boot.loader.firn;
  board = (import ../boards.nix).${cfg.board};
in
{
  config = lib.mkIf cfg.enable {
    hardware.deviceTree.name = lib.mkDefault (board.deviceTree or null);
    boot.initrd.availableKernelModules = board.initrdModules or [ ];
    # The last one is /dev/console.
    boot.kernelParams = lib.mkIf (cfg.console != null) (lib.mkAfter [ "console=${cfg.console}" ]);
  };
}
