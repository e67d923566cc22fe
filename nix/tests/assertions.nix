# Every assertion, and that none fails without a reason.
{
  all,
  contains,
  equal,
  evaluate,
  evaluateOn,
  failures,
  firn,
  lib,
  ...
}:

let
  mount = fsType: device: { inherit fsType device; };
  only =
    part: config:
    let
      found = failures config;
    in
    if lib.length found == 1 then
      contains part (lib.head found)
    else
      "expected one assertion to fail with ${builtins.toJSON part}, found ${builtins.toJSON found}";
  fires = part: module: only part (evaluate module);
  firesOn =
    mounts: part: module:
    only part (evaluateOn mounts module);
  silent = module: equal [ ] (failures (evaluate module));
  silentOn = mounts: module: equal [ ] (failures (evaluateOn mounts module));

  hash = "hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0";
  flash = {
    firmware.enable = true;
  };
in
{
  "a plain system has nothing to complain about" = silent { };
  "without Firn nothing is asserted" = silentOn { "/" = mount "btrfs" "/dev/sda1"; } {
    boot.loader.firn.enable = lib.mkForce false;
    boot.loader.grub.enable = false;
  };

  "another processor's system" = fires "starts arm64 kernels, but this system is for x86_64-linux" {
    nixpkgs.hostPlatform = "x86_64-linux";
    hardware.deviceTree.enable = true;
  };
  "a board that is not supported says what it lacks" =
    fires "imx8mm-evk is not supported yet. It lacks: "
      {
        boot.loader.firn.board = "imx8mm-evk";
        hardware.deviceTree.name = "freescale/imx8mm-evk.dtb";
      };
  "a second loader" = fires "Set boot.loader.generic-extlinux-compatible.enable = lib.mkForce false" {
    boot.loader.generic-extlinux-compatible.enable = true;
  };
  "a second loader, and what to do about it" = fires "boot.loader.systemd-boot are both enabled" {
    boot.loader.systemd-boot.enable = true;
  };
  "no device tree's name" = fires "hardware.deviceTree.name, for example" {
    hardware.deviceTree.name = null;
  };
  "no device trees" = fires "Set hardware.deviceTree.enable = true" {
    hardware.deviceTree.enable = false;
  };
  "a negative timeout" = fires "boot.loader.timeout is -1" { boot.loader.timeout = -1; };
  "a timeout of zero and one of null are fine" = silent { boot.loader.timeout = lib.mkForce null; };

  "profiles on a file system that the loader cannot read" =
    firesOn { "/" = mount "btrfs" "/dev/mmcblk1p2"; }
      "boot.loader.firn.source is \"profiles\", but the loader cannot read /nix: / is btrfs on /dev/mmcblk1p2"
      (firn {
        source = "profiles";
      });
  "profiles in LUKS" =
    firesOn
      {
        "/" = mount "ext4" "/dev/mapper/root";
      }
      "a device mapper volume (LUKS or LVM)"
      (firn {
        source = "profiles";
      });
  "profiles where the loader reads nothing" = all (
    map
      (
        {
          device,
          options ? [ "defaults" ],
        }:
        firesOn
          {
            "/" = mount "ext4" device // {
              inherit options;
            };
          }
          "the loader cannot read /nix"
          (firn {
            source = "profiles";
          })
      )
      [
        { device = "/dev/md127"; }
        { device = "/dev/loop0"; }
        { device = "/dev/zvol/pool/root"; }
        { device = "/dev/sda1"; }
        { device = "/dev/pool/root"; }
        {
          device = "/dev/mmcblk1p2";
          options = [ "loop" ];
        }
      ]
  );
  "profiles on a file system whose type is not given are the user's word" =
    silentOn
      {
        "/" = mount "auto" "/dev/mmcblk1p2";
      }
      (firn {
        source = "profiles";
      });
  "profiles where it cannot be told are the user's word" = silentOn {
    "/" = mount "ext4" "/dev/disk/by-uuid/1";
  } ((firn { source = "profiles"; }) // { boot.initrd.luks.devices.data.device = "/dev/mmcblk1p3"; });
  "copies to a /boot that the loader cannot read" =
    firesOn { "/" = mount "btrfs" "/dev/mmcblk1p2"; }
      "copies kernels to /boot (/ is btrfs on /dev/mmcblk1p2, and the loader reads ext4 there), but the loader cannot read it"
      { };
  "copies to a /boot in a directory where the loader does not look" =
    firesOn
      {
        "/" = mount "tmpfs" "tmpfs";
        "/data" = mount "ext4" "/dev/mmcblk1p2";
        "/boot" = {
          device = "/data/b";
          fsType = "none";
          options = [ "bind" ];
        };
      }
      "/boot is /b on /data, and the loader looks in the root of a file system and in its directory boot"
      { };
  "copies to a FAT /boot" = silentOn {
    "/" = mount "btrfs" "/dev/mmcblk1p2";
    "/boot" = mount "vfat" "/dev/mmcblk1p1";
  } { };

  "a prefix that does not begin at the root" = fires "nixPrefix is \"persist\"" (firn {
    nixPrefix = "persist";
  });
  "a prefix with a slash at its end" = fires "nixPrefix is \"/persist/\"" (firn {
    nixPrefix = "/persist/";
  });
  "a prefix that leads out of the file system" = fires "nixPrefix is \"/a/../b\"" (firn {
    nixPrefix = "/a/../b";
  });
  "a prefix with a blank" = fires "nixPrefix is \"/a b\"" (firn {
    nixPrefix = "/a b";
  });
  "a prefix of two directories" = silent (firn {
    nixPrefix = "/a/.b";
  });

  "boot counting without the watchdog" = fires "bootCounting needs the watchdog" (firn {
    bootCounting.enable = true;
    watchdog.enable = false;
  });
  "a hash of more rounds than the loader computes" = fires "more than 1000000 rounds" (firn {
    passwordHash = ("$6$rounds=1000001$saltsalt$" + hash);
  });
  "a hash of as many rounds as the loader computes" = silent (firn {
    passwordHash = ("$6$rounds=1000000$saltsalt$" + hash);
  });
  "entries in a /boot that the loader cannot read" =
    firesOn
      {
        "/" = mount "ext4" "/dev/mmcblk1p2";
        "/boot" = mount "btrfs" "/dev/mmcblk1p1";
      }
      "extraEntries are written to /boot, but the loader cannot read it: /boot is btrfs"
      (firn {
        extraEntries.debian = "title Debian";
      });
  "an entry whose name is no name of a file" =
    fires "extraEntries: a/b: names become names of files"
      (firn {
        extraEntries."a/b" = "title x";
      });
  "an entry whose name would be counted down" = fires "extraEntries: a+3:" (firn {
    extraEntries."a+3" = "title x";
  });
  "more overlays than the loader applies" = fires "has 33 overlays" (firn {
    deviceTree.overlays = lib.genList (number: "${builtins.storeDir}/${toString number}.dtbo") 33;
  });
  "an overlay outside the store" = fires "/etc/touch.dtbo is not in the store" (firn {
    deviceTree.overlays = [ "/etc/touch.dtbo" ];
  });
  "more addresses than interfaces" = fires "more than 16 addresses" (firn {
    ethernetAddresses = lib.genList (_: "") 17;
  });
  "a group's address" = fires "01:00:5e:00:00:01 is not an address of one interface" (firn {
    ethernetAddresses = [ "01:00:5e:00:00:01" ];
  });
  "a blank address" = fires "00:00:00:00:00:00 is not an address" (firn {
    ethernetAddresses = [ "00:00:00:00:00:00" ];
  });

  "unfree firmware that is not allowed" =
    fires "allowUnfreePredicate = package: lib.elem (lib.getName package) [ \"firmware-imx\" ]." (
      firn flash
    );
  "unfree firmware that is allowed" = silent (
    firn flash
    // {
      nixpkgs.config.allowUnfreePredicate = package: lib.getName package == "firmware-imx";
    }
  );
  "unfree firmware is of no interest where there is no flash.bin" = silent (firn { });
  "OP-TEE without flash.bin" = fires "optee is a part of flash.bin" (firn {
    optee.enable = true;
  });
}
