# A small host on the i.MX 8M Plus EVK, on an SD card: an example, and what the flake's checks evaluate.
{ lib, ... }:

{
  networking.hostName = "imx8mp-evk";
  system.stateVersion = "26.05";

  boot.loader.firn = {
    enable = true;
    board = "imx8mp-evk";
    bootCounting.enable = true;
    firmware.enable = true;
  };
  # The image has flash.bin, and in it NXP's training firmware.
  nixpkgs.config.allowUnfreePredicate =
    package:
    lib.elem (lib.getName package) [
      "firmware-imx"
      "flash-image-imx8mp-evk"
    ];

  fileSystems."/" = {
    device = "/dev/disk/by-label/NIXOS_SD";
    fsType = "ext4";
  };

  services.openssh.enable = true;
  users.users.root.openssh.authorizedKeys.keys = [
    # "ssh-ed25519 AAAA… you@your-machine"
  ];
}
