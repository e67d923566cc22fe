# What a user can set about the image of a card.
{
  config,
  lib,
  ...
}:

let
  inherit (lib)
    literalExpression
    literalMD
    mkOption
    types
    ;
  cfg = config.boot.loader.firn;
  root = config.fileSystems."/" or { };
  label = lib.removePrefix "/dev/disk/by-label/" (toString (root.device or ""));
in
{
  options.boot.loader.firn.image = {
    name = mkOption {
      type = types.strMatching "[A-Za-z0-9][A-Za-z0-9+._-]*";
      default = "nixos-${cfg.board}-${config.system.nixos.label}";
      defaultText = literalExpression ''"nixos-''${config.boot.loader.firn.board}-''${config.system.nixos.label}"'';
      example = "gateway";
      description = ''
        Name of the image, without `.img`.
      '';
    };

    table = mkOption {
      type = types.enum [
        "gpt"
        "mbr"
      ];
      default = "gpt";
      example = "mbr";
      description = ''
        The partition table. With `gpt`, the places of both copies of flash.bin and of the state record are partitions, so that
        no tool takes them for free space. With `mbr` they lie in front of the first partition, as in nixpkgs' sd-image.
      '';
    };

    label = mkOption {
      type = types.strMatching "[A-Za-z0-9._-]{1,16}";
      default = if builtins.match "[A-Za-z0-9._-]{1,16}" label != null then label else "NIXOS_SD";
      defaultText = literalMD "what {option}`fileSystems.\"/\".device` says, else `NIXOS_SD`";
      example = "NIXOS_SD";
      description = ''
        Label of the root file system.
      '';
    };

    uuid = mkOption {
      type = types.strMatching "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
      default = "44444444-4444-4444-8888-888888888888";
      example = "14e19a7b-0ae0-484d-9d54-43bd6fdc20c7";
      description = ''
        UUID of the root file system. What identifies the partitions is made from it.
      '';
    };

    slack = mkOption {
      type = types.ints.between 16 1048576;
      default = 256;
      example = 1024;
      description = ''
        MiB of free space besides what the system takes. The first boot adds what the card has.
      '';
    };

    compress = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether the image is compressed with zstd. `firn write` and `firn emulate` take images that are not.
      '';
    };

    growRoot = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether the first boot gives the root file system all of the card.
      '';
    };

    bootPartition = {
      enable = mkOption {
        type = types.bool;
        default = config.fileSystems ? "/boot";
        defaultText = literalExpression ''config.fileSystems ? "/boot"'';
        example = true;
        description = ''
          Whether `/boot` is a partition of its own, in front of the root.
        '';
      };

      size = mkOption {
        type = types.ints.between 64 65536;
        default = 512;
        example = 1024;
        description = ''
          MiB of the boot partition.
        '';
      };

      format = mkOption {
        type = types.enum [
          "vfat"
          "ext4"
        ];
        default = if (config.fileSystems."/boot".fsType or "vfat") == "ext4" then "ext4" else "vfat";
        defaultText = literalMD "what {option}`fileSystems.\"/boot\".fsType` says, else `vfat`";
        example = "ext4";
        description = ''
          File system of the boot partition.
        '';
      };

      label = mkOption {
        type = types.strMatching "[A-Za-z0-9._-]{1,11}";
        default = "FIRN_BOOT";
        example = "BOOT";
        description = ''
          Label of the boot partition's file system.
        '';
      };
    };

    storePaths = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = literalExpression "[ pkgs.stdenv ]";
      description = ''
        Packages in the image's store besides those of the system.
      '';
    };

    populateCommands = mkOption {
      type = types.lines;
      default = "";
      example = literalExpression ''"install -D -m 0600 ''${./wpa_supplicant.conf} files/etc/wpa_supplicant.conf"'';
      description = ''
        Shell commands that put further files below `./files`, which becomes the root file system. They run as a build user
        for whom everything belongs to root, by fakeroot, so that `chown` works.
      '';
    };
  };
}
