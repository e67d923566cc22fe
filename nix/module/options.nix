# What a user can set.
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
  boards = import ../boards.nix;

  # As the loader checks it (crypt(5)); yescrypt, what mkpasswd makes without -m, is not among what it knows.
  passwordHash = lib.mkOptionType {
    name = "passwordHash";
    description = "SHA-512 or SHA-256 crypt hash, as `mkpasswd -m sha-512` makes it";
    descriptionClass = "noun";
    check =
      value:
      lib.isString value
      && (
        builtins.match "[$]6[$](rounds=[0-9]+[$])?[^$:[:cntrl:]]{0,16}[$][./A-Za-z0-9]{86}" value != null
        || builtins.match "[$]5[$](rounds=[0-9]+[$])?[^$:[:cntrl:]]{0,16}[$][./A-Za-z0-9]{43}" value != null
      );
    merge = lib.options.mergeEqualOption;
  };

  ethernetAddress = types.strMatching "([0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5})?";
in
{
  options.boot.loader.firn = {
    enable = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether the system is started by Firn. Installations are made by `firn install`, and other loaders are off unless
        somebody has switched them on.
      '';
    };

    board = mkOption {
      type = types.enum (lib.attrNames boards);
      default = "imx8mp-evk";
      example = "imx8mp-evk";
      description = ''
        The board that the system is for. Boards that are listed but not supported yet are refused with what they lack.
      '';
    };

    package = mkOption {
      type = types.package;
      defaultText = literalMD "the flake's `firn-cli`, without what only a build host uses";
      example = literalExpression "firn.packages.aarch64-linux.firn-cli";
      description = ''
        The package with the `firn` command that the system is installed, blessed and updated with.
      '';
    };

    buildPackage = mkOption {
      type = types.package;
      defaultText = literalMD "the flake's `firn-cli` for the machine that builds";
      example = literalExpression "firn.packages.x86_64-linux.firn-cli";
      description = ''
        The same command for the machine that builds images; see {option}`boot.loader.firn.populateCmd`.
      '';
    };

    source = mkOption {
      type = types.enum [
        "auto"
        "profiles"
        "extlinux"
      ];
      default = "auto";
      example = "extlinux";
      description = ''
        Where the loader finds the generations.

        `profiles`: in the Nix profiles themselves. Kernels and initrds are loaded from the store, and nothing is copied to
        `/boot`, which therefore cannot fill up. The file system that holds `/nix` must be ext4, directly on a partition of the
        SD card or eMMC.

        `extlinux`: in `/boot/extlinux/extlinux.conf`, with kernels and initrds copied to `/boot/nixos`, as
        `boot.loader.generic-extlinux-compatible` does it. `/boot` must be FAT or ext4.

        `auto`: `profiles` where {option}`fileSystems` shows that the loader can read `/nix`, else `extlinux`. LUKS, LVM, md,
        btrfs, zfs, bcachefs, f2fs, xfs, overlays and tmpfs get `extlinux`, as does what cannot be told.
        {option}`boot.loader.firn.resolved.reason` tells why: `nix eval .#nixosConfigurations.HOST.config.boot.loader.firn.resolved`.
      '';
    };

    nixPrefix = mkOption {
      type = types.str;
      default = cfg.resolved.nixPrefix;
      defaultText = literalMD "what {option}`fileSystems` says of a bind-mounted `/nix`, else `\"\"`";
      example = "/persist";
      description = ''
        The directory, as the file system that holds `/nix` names it, in which its `nix` lies: `/persist` if
        `/persist/nix` of that file system is bind-mounted at `/nix`. An installation makes a link `nix` to it in the root of
        that file system, where the loader looks.
      '';
    };

    configurationLimit = mkOption {
      type = types.nullOr types.ints.positive;
      default = 20;
      example = 10;
      description = ''
        How many generations the menu lists at most, besides those that are the default, were booted last or are being tried;
        `null`: all. With `source = "extlinux"`, also how many are copied to `/boot`.
      '';
    };

    bootCounting = {
      enable = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = ''
          Whether a new generation has to prove itself: it gets some tries, and if none of them is blessed, the last good one
          boots again. {file}`firn-bless.service` does that once {file}`boot-complete.target` is reached.
        '';
      };

      tries = mkOption {
        type = types.ints.between 1 255;
        default = 3;
        example = 1;
        description = ''
          How often a new generation is tried before the last good one boots again.
        '';
      };
    };

    bless = {
      deadline = mkOption {
        type = types.nullOr types.ints.positive;
        default = 600;
        example = 1800;
        description = ''
          Seconds after the kernel's start at which a boot that is a try and has not proved to be good is ended by a reboot,
          in the initrd as well as behind it; `null`: never, so that only the watchdog ends it.
        '';
      };

      requires = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [
          "sshd.service"
          "network-online.target"
        ];
        description = ''
          Units without which a boot is not a good one. It is good when {file}`boot-complete.target` is reached: these units
          are added to what it requires, and `requiredBy = [ "boot-complete.target" ]` of a unit does the same.
        '';
      };
    };

    watchdog = {
      enable = mkOption {
        type = types.bool;
        default = cfg.bootCounting.enable;
        defaultText = literalExpression "config.boot.loader.firn.bootCounting.enable";
        example = true;
        description = ''
          Whether the system takes over the watchdog that the loader starts for a try: with its driver in the initrd, and
          systemd serving it.
        '';
      };

      runtimeTime = mkOption {
        type = types.ints.between 1 128;
        default = 60;
        example = 30;
        description = ''
          Seconds without a sign of life after which the watchdog resets the board; 128 is the most that it can count.
        '';
      };
    };

    console = mkOption {
      type = types.nullOr (types.strMatching "[A-Za-z][A-Za-z0-9]*(,[0-9a-z]+)?");
      default = boards.${cfg.board}.console or null;
      defaultText = literalMD "the board's serial console";
      example = "ttymxc1,115200n8";
      description = ''
        The kernel's main console, which is put last on its command line; `null`: none is put there. The loader's own is the
        board's, always.
      '';
    };

    editor = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether somebody at the serial line may edit command lines and use the rescue prompt, which is as good as root's
        password; `false`: nobody, whatever {option}`boot.loader.firn.passwordHash` is.
      '';
    };

    passwordHash = mkOption {
      type = types.nullOr passwordHash;
      default = null;
      example = "$6$saltsalt$hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0";
      description = ''
        Salted hash of the password that the menu asks for before somebody may edit or use the prompt, made with
        `mkpasswd -m sha-512`; `null`: none. Yescrypt hashes, what `mkpasswd` makes by itself, cannot be checked by the loader.

        There is no option for a file with the hash: the loader reads it from the card, as everybody can who holds it, and so
        it is in the store, which every user may read. Take a password that is not used elsewhere.
      '';
    };

    extraEntries = mkOption {
      type = types.attrsOf types.lines;
      default = { };
      example = literalExpression ''
        {
          debian = '''
            title Debian
            linux /debian/vmlinuz
            initrd /debian/initrd.img
            options root=LABEL=debian
          ''';
        }
      '';
      description = ''
        Further entries of the menu, each a text as the Boot Loader Specification describes it, with paths on the file system
        of `/boot`. They are written to {file}`/boot/loader/entries/firn-extra-NAME.conf`, whatever the source is.
      '';
    };

    deviceTree.overlays = mkOption {
      type = types.listOf types.path;
      default = [ ];
      example = literalExpression "[ ./touchscreen.dtbo ]";
      description = ''
        Compiled device tree overlays that the loader applies at each boot, in this order. The device tree must have its
        symbols if an overlay refers to labels. {option}`hardware.deviceTree.overlays` are merged when the system is
        built instead, and need nothing of the loader.
      '';
    };

    ethernetAddresses = mkOption {
      type = types.listOf ethernetAddress;
      default = [ ];
      example = [
        "00:04:9f:01:02:03"
        ""
      ];
      description = ''
        Addresses of the Ethernet interfaces that have none in the fuses, by their numbers; an empty text leaves one out. An
        interface without any gets one that is derived from the SoC's unique number. These are the same on every
        board that boots the system: for a fleet, leave this alone.
      '';
    };

    firmware = {
      enable = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = ''
          Whether Firn's flash.bin is a part of the system: built with it, compared with what the card has at each installation,
          and put into images. It contains NXP's training firmware for the DRAM, which is unfree.
        '';
      };

      device = mkOption {
        type = types.nullOr (types.strMatching "/dev/.+");
        default = null;
        example = "/dev/mmcblk2";
        description = ''
          The card or eMMC that holds flash.bin; `null`: the one that the board was started from.
        '';
      };

      emmcBoot = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = ''
          Whether flash.bin belongs into the boot partitions of the eMMC, not in front of the first partition.
        '';
      };

      autoUpdate = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = ''
          Whether an installation writes a newer flash.bin: the copy that is not in use first, which is read back, and then
          the other one. Without it, an installation says that there is a newer one, and how to write it.
        '';
      };

      package = mkOption {
        type = types.package;
        defaultText = literalMD "the flake's `flash-image-BOARD` with what the other options say";
        example = literalExpression "firn.packages.x86_64-linux.flash-image-imx8mp-evk";
        description = ''
          The package whose {file}`flash.bin` is meant.
        '';
      };
    };

    ddrFirmware = mkOption {
      type = types.package;
      defaultText = literalMD "the flake's `firmware-imx`";
      example = literalExpression "firn.packages.x86_64-linux.firmware-imx";
      description = ''
        NXP's training firmware for the DRAM, as the package firmware-imx has it. It is unfree, and is needed for flash.bin only.
      '';
    };

    armTrustedFirmware.package = mkOption {
      type = types.package;
      defaultText = literalMD "mainline's for the board, the flake's `arm-trusted-firmware-imx8mp`";
      example = literalExpression "firn.packages.x86_64-linux.arm-trusted-firmware-imx8mp-nxp";
      description = ''
        Trusted Firmware-A, whose BL31 stays behind the kernel: mainline's or NXP's.
      '';
    };

    optee = {
      enable = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = ''
          Whether flash.bin has OP-TEE in it.
        '';
      };

      package = mkOption {
        type = types.package;
        defaultText = literalMD "the flake's `optee-os-imx8mp`";
        example = literalExpression "firn.packages.x86_64-linux.optee-os-imx8mp";
        description = ''
          OP-TEE. BL31 must have been built with `SPD=opteed`, as the flake's is where this is enabled.
        '';
      };
    };

    populateCmd = mkOption {
      type = types.str;
      readOnly = true;
      defaultText = literalMD "the `firn install` of the build host";
      example = literalExpression ''"''${config.boot.loader.firn.populateCmd} ./files ''${config.system.build.toplevel}"'';
      description = ''
        The command that makes a directory with the system's store bootable, for those who build images: two more arguments
        are the directory that becomes the root file system and the toplevel. It runs on the build host and needs no root.
      '';
    };

    resolved = {
      source = mkOption {
        type = types.enum [
          "profiles"
          "extlinux"
        ];
        readOnly = true;
        internal = true;
        example = "profiles";
        description = "The source, with `auto` decided.";
      };
      reason = mkOption {
        type = types.str;
        readOnly = true;
        internal = true;
        example = "/nix is on /dev/mmcblk1p2, which is ext4";
        description = "Why it is this source.";
      };
      nixPrefix = mkOption {
        type = types.str;
        readOnly = true;
        internal = true;
        example = "/persist";
        description = "The prefix of /nix that the mounts tell.";
      };
    };

    configFile = mkOption {
      type = types.package;
      readOnly = true;
      internal = true;
      example = "/nix/store/…-firn-install.json";
      description = "What `firn install --config` reads.";
    };
  };
}
