# Configurations that would not boot, or not as they say, each with what to do.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  inherit (lib) concatStringsSep hasPrefix;
  cfg = config.boot.loader.firn;
  board = (import ../boards.nix).${cfg.board};
  nix = import ./storage/nix.nix { inherit config lib; };
  boot = import ./storage/boot.nix { inherit config lib; };

  # Options of former names have the value of the present one, and are not shown.
  others = lib.filter (
    name:
    let
      option = options.boot.loader.${name}.enable or { };
    in
    name != "firn"
    && lib.isOption option
    && (option.visible or true) != false
    && config.boot.loader.${name}.enable == true
  ) (lib.attrNames options.boot.loader);

  # What counts as the root of a file system's path: "" or "/a/b".
  isPrefix =
    text:
    builtins.match "(/[^/[:space:][:cntrl:]]+)*" text != null
    && builtins.match ".*/[.][.]?(/.*)?" text == null;

  rounds = builtins.match "[$][56][$]rounds=0*([0-9]+)[$].*" (toString cfg.passwordHash);
  maxRounds = 1000000;

  badNames = lib.filter (name: builtins.match "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}" name == null) (
    lib.attrNames cfg.extraEntries
  );
  outside = lib.filter (overlay: !(hasPrefix "${builtins.storeDir}/" overlay)) (
    map (overlay: "${overlay}") cfg.deviceTree.overlays
  );
  groups = lib.filter (
    address:
    lib.elem (lib.substring 1 1 address) (lib.stringToCharacters "13579bdfBDF")
    || address == "00:00:00:00:00:00"
  ) cfg.ethernetAddresses;

  # nixpkgs says so itself, but not what for.
  refused = map lib.getName (
    lib.filter (package: package.meta.unfree or false && !(package.meta.available or true)) [
      cfg.ddrFirmware
      cfg.firmware.package
    ]
  );
in
{
  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = pkgs.stdenv.hostPlatform.isAarch64;
        message = ''
          boot.loader.firn starts arm64 kernels, but this system is for ${pkgs.stdenv.hostPlatform.system}. Set
          nixpkgs.hostPlatform = "aarch64-linux".
        '';
      }
      {
        assertion = board.lacks == [ ];
        message = ''
          boot.loader.firn.board: ${cfg.board} is not supported yet. It lacks: ${concatStringsSep "; " board.lacks}.
        '';
      }
      {
        assertion = others == [ ];
        message = ''
          boot.loader.firn and boot.loader.${concatStringsSep ", boot.loader." others} are both enabled, but one loader alone can be
          installed. Set boot.loader.${concatStringsSep ".enable = lib.mkForce false, boot.loader." others}.enable = lib.mkForce false.
        '';
      }
      {
        assertion = config.hardware.deviceTree.enable && config.hardware.deviceTree.name != null;
        message = ''
          boot.loader.firn needs to know which device tree the kernel is started with. Set hardware.deviceTree.enable = true and
          hardware.deviceTree.name, for example to "freescale/imx8mp-evk.dtb".
        '';
      }
      {
        assertion = config.boot.loader.timeout == null || config.boot.loader.timeout >= 0;
        message = ''
          boot.loader.timeout is ${toString config.boot.loader.timeout}. The menu waits for a number of seconds, with 0 not at all, and
          with null until a key is pressed.
        '';
      }
      {
        assertion = cfg.resolved.source == "profiles" -> nix.readable != false;
        message = ''
          boot.loader.firn.source is "profiles", but the loader cannot read /nix: ${nix.why}. Set
          boot.loader.firn.source = "extlinux" and have a FAT or ext4 partition at /boot.
        '';
      }
      {
        assertion = cfg.resolved.source == "extlinux" -> boot.readable != false;
        message = ''
          boot.loader.firn copies kernels to /boot (${cfg.resolved.reason}), but the loader cannot read it: ${boot.why}. Give the
          SD card or eMMC a FAT or ext4 partition, mounted at /boot.
        '';
      }
      {
        assertion = isPrefix cfg.nixPrefix;
        message = ''
          boot.loader.firn.nixPrefix is "${cfg.nixPrefix}". It must be "" or a directory from the root of the file system on, without a
          slash at its end, blanks, "." or "..": "/persist" if /nix is /persist/nix there.
        '';
      }
      {
        assertion = cfg.bootCounting.enable -> cfg.watchdog.enable;
        message = ''
          boot.loader.firn.bootCounting needs the watchdog: without it, a generation that hangs is never tried again nor given up. Remove
          boot.loader.firn.watchdog.enable = false.
        '';
      }
      {
        assertion =
          rounds == null
          || (lib.stringLength (lib.head rounds) <= 7 && lib.toInt (lib.head rounds) <= maxRounds);
        message = ''
          boot.loader.firn.passwordHash has more than ${toString maxRounds} rounds, which the loader refuses because the menu would stand
          still for too long. Make another one with mkpasswd -m sha-512.
        '';
      }
      {
        assertion = cfg.extraEntries != { } -> boot.readable != false;
        message = ''
          boot.loader.firn.extraEntries are written to /boot, but the loader cannot read it: ${boot.why}. Give the SD card or eMMC a FAT
          or ext4 partition, mounted at /boot.
        '';
      }
      {
        assertion = badNames == [ ];
        message = ''
          boot.loader.firn.extraEntries: ${concatStringsSep ", " badNames}: names become names of files. They have at
          most 64 letters, digits, ".", "_" and "-", the first a letter or digit.
        '';
      }
      {
        assertion = lib.length cfg.deviceTree.overlays <= 32;
        message = ''
          boot.loader.firn.deviceTree.overlays has ${toString (lib.length cfg.deviceTree.overlays)} overlays, of which the loader applies at
          most 32. Merge some with hardware.deviceTree.overlays.
        '';
      }
      {
        assertion = outside == [ ];
        message = ''
          boot.loader.firn.deviceTree.overlays: ${concatStringsSep ", " outside} is not in the store, where the loader reads it. Write it as a
          path, without quotes, or name a package.
        '';
      }
      {
        assertion = lib.length cfg.ethernetAddresses <= 16;
        message = ''
          boot.loader.firn.ethernetAddresses has more than 16 addresses, but no board has so many interfaces.
        '';
      }
      {
        assertion = groups == [ ];
        message = ''
          boot.loader.firn.ethernetAddresses: ${concatStringsSep ", " groups} is not an address of one interface: it is blank, or the lowest bit
          of its first byte makes it a group's.
        '';
      }
      {
        # A board that is not supported has no packages to look at.
        assertion = cfg.firmware.enable && board.lacks == [ ] -> refused == [ ];
        message = ''
          boot.loader.firn.firmware has NXP's training firmware for the DRAM in it, which is unfree. Read its licence, and allow it with
          nixpkgs.config.allowUnfreePredicate = package: lib.elem (lib.getName package) [ ${
            lib.concatMapStringsSep " " (name: "\"${name}\"") refused
          } ].
        '';
      }
      {
        assertion = cfg.optee.enable -> cfg.firmware.enable;
        message = ''
          boot.loader.firn.optee is a part of flash.bin. Set boot.loader.firn.firmware.enable = true as well.
        '';
      }
    ];
  };
}
