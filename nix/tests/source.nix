# Where the generations are read, by what holds /nix.
{
  all,
  contains,
  equal,
  evaluateOn,
  lib,
  ...
}:

let
  mount = fsType: device: { inherit fsType device; };
  bind = device: {
    inherit device;
    fsType = "none";
    options = [ "bind" ];
  };
  boot."/boot" = mount "vfat" "/dev/mmcblk1p1";
  luks = {
    boot.initrd.luks.devices.root.device = "/dev/disk/by-partlabel/crypt";
  };

  case =
    {
      mounts,
      source,
      reason,
      prefix ? "",
      config ? { },
    }:
    let
      evaluated = evaluateOn (boot // mounts) config;
      inherit (evaluated.boot.loader.firn) nixPrefix resolved;
    in
    all [
      (equal source resolved.source)
      (equal prefix nixPrefix)
      (contains reason resolved.reason)
    ];
  profiles = mounts: reason: {
    inherit mounts reason;
    source = "profiles";
  };
  extlinux = mounts: reason: {
    inherit mounts reason;
    source = "extlinux";
  };
  root = fsType: device: { "/" = mount fsType device; };
  ext4 = root "ext4";
  warnings =
    mounts:
    lib.length (
      lib.filter (lib.hasPrefix "boot.loader.firn copies kernels")
        (evaluateOn (boot // mounts) { }).warnings
    );
in
lib.mapAttrs (_: case) {
  "ext4 on a partition of the card: profiles" =
    profiles (ext4 "/dev/mmcblk1p2") "/ is ext4 on /dev/mmcblk1p2";
  "ext4 by its UUID: profiles" = profiles (ext4 "/dev/disk/by-uuid/1") "/ is ext4";
  "ext4 by its label: profiles" = profiles (ext4 "/dev/disk/by-label/NIXOS_SD") "/ is ext4";
  "ext4 by a tag: profiles" = profiles (ext4 "UUID=1") "/ is ext4";
  "ext4 by its partition's name: profiles" =
    profiles (ext4 "/dev/disk/by-partlabel/root") "/ is ext4";
  "ext4 by its partition's UUID beside a LUKS volume: profiles" =
    profiles (ext4 "/dev/disk/by-partuuid/1") "/ is ext4"
    // {
      config = luks;
    };

  "ext4 by its UUID beside a LUKS volume: extlinux, as it may be inside" =
    extlinux (ext4 "/dev/disk/by-uuid/1") "boot.initrd.luks.devices"
    // {
      config = luks;
    };
  "ext4 by its label beside a RAID: extlinux" =
    extlinux (ext4 "/dev/disk/by-label/root") "boot.swraid.enable"
    // {
      config.boot.swraid.enable = true;
    };
  "ext4 by its label beside LVM: extlinux" = extlinux (ext4 "LABEL=root") "dm-snapshot" // {
    config.boot.initrd.kernelModules = [ "dm-snapshot" ];
  };
  "LUKS: extlinux" = extlinux (ext4 "/dev/mapper/root") "a device mapper volume";
  "LVM by its group: extlinux" = extlinux (ext4 "/dev/pool/root") "an LVM volume";
  "LVM by the device mapper: extlinux" =
    extlinux (ext4 "/dev/mapper/pool-root") "a device mapper volume";
  "md: extlinux" = extlinux (ext4 "/dev/md0") "a RAID of md";
  "a zvol: extlinux" = extlinux (ext4 "/dev/zvol/pool/root") "not a partition";
  "md by its name: extlinux" = extlinux (ext4 "/dev/md/root") "a RAID of md";
  "btrfs: extlinux" = extlinux (root "btrfs" "/dev/mmcblk1p2") "/ is btrfs on /dev/mmcblk1p2";
  "zfs: extlinux" = extlinux (root "zfs" "pool/root") "/ is zfs on pool/root";
  "bcachefs: extlinux" = extlinux (root "bcachefs" "/dev/mmcblk1p2") "/ is bcachefs";
  "f2fs: extlinux" = extlinux (root "f2fs" "/dev/mmcblk1p2") "/ is f2fs";
  "xfs: extlinux" = extlinux (root "xfs" "/dev/mmcblk1p2") "/ is xfs";
  "an overlay over the store: extlinux" = extlinux (
    ext4 "/dev/mmcblk1p2" // { "/nix/store" = mount "overlay" "overlay"; }
  ) "the store is on /nix/store, but its profiles are on /";
  "a disk at USB: extlinux" = extlinux (ext4 "/dev/sda2") "neither an SD card nor an eMMC";
  "an NVMe disk: extlinux" = extlinux (ext4 "/dev/nvme0n1p2") "neither an SD card nor an eMMC";
  "a device of a name that tells nothing: extlinux" =
    extlinux (ext4 "/dev/root") "of a name that tells nothing";
  "an encrypted file system: extlinux" = extlinux {
    "/" = mount "ext4" "/dev/mmcblk1p2" // {
      encrypted = {
        enable = true;
        label = "crypt";
        blkDev = "/dev/mmcblk1p2";
      };
    };
  } "which is encrypted";
  "a card's partition by its path: profiles" =
    profiles (ext4 "/dev/disk/by-path/platform-30b50000.mmc-part2") "/ is ext4";
  "a disk at USB by its id: extlinux" =
    extlinux (ext4 "/dev/disk/by-id/usb-Disk_0-part2") "neither an SD card nor an eMMC";
  "a file system of an unknown type: extlinux" =
    extlinux (root "auto" "/dev/mmcblk1p2") "the type of the file system at / is not given";
  "ext4 in a file: extlinux" = extlinux {
    "/" = mount "ext4" "/dev/mmcblk1p2";
    "/nix" = mount "ext4" "/dev/mmcblk1p3" // {
      options = [ "loop" ];
    };
  } "/nix is ext4 on /dev/mmcblk1p3, which is a file";
  "tmpfs with nothing behind it: extlinux" = extlinux (root "tmpfs" "tmpfs") "/ is tmpfs";

  "tmpfs with ext4 at /nix: profiles, and the partition is /nix" = profiles {
    "/" = mount "tmpfs" "tmpfs";
    "/nix" = mount "ext4" "/dev/mmcblk1p2";
  } "/nix is ext4 on /dev/mmcblk1p2";
  "btrfs with ext4 at /nix: profiles" = profiles {
    "/" = mount "btrfs" "/dev/mmcblk1p3";
    "/nix" = mount "ext4" "/dev/disk/by-partlabel/nix";
  } "/nix is ext4";
  "ext4 with btrfs at /nix: extlinux" = extlinux (
    ext4 "/dev/mmcblk1p2" // { "/nix" = mount "btrfs" "/dev/mmcblk1p3"; }
  ) "/nix is btrfs";
  "ext4 with a partition for the store alone: extlinux" = extlinux (
    ext4 "/dev/mmcblk1p2" // { "/nix/store" = mount "ext4" "/dev/mmcblk1p3"; }
  ) "the store is on /nix/store, but its profiles are on /";
  "a mount whose name only begins like /nix holds nothing of it: profiles" = profiles (
    ext4 "/dev/mmcblk1p2" // { "/nixos" = mount "btrfs" "/dev/mmcblk1p3"; }
  ) "/ is ext4";

  "a directory of ext4, bind-mounted: profiles with a prefix" =
    profiles {
      "/" = mount "tmpfs" "tmpfs";
      "/persist" = mount "ext4" "/dev/mmcblk1p2";
      "/nix" = bind "/persist/system/nix";
    } "/persist is ext4 on /dev/mmcblk1p2"
    // {
      prefix = "/system";
    };
  "a bind mount of a bind mount: profiles with a prefix" =
    profiles {
      "/" = mount "tmpfs" "tmpfs";
      "/data" = mount "ext4" "/dev/mmcblk1p2";
      "/persist" = bind "/data/keep";
      "/nix" = bind "/persist/nix";
    } "/data is ext4"
    // {
      prefix = "/keep";
    };
  "a bind mount as an initrd sees it: profiles with a prefix" =
    profiles {
      "/" = mount "tmpfs" "tmpfs";
      "/persist" = mount "ext4" "/dev/mmcblk1p2";
      "/nix" = bind "/sysroot/persist/a/nix";
    } "/persist is ext4"
    // {
      prefix = "/a";
    };
  "a directory of btrfs, bind-mounted: extlinux, and the prefix says where it is" = extlinux {
    "/" = mount "tmpfs" "tmpfs";
    "/persist" = mount "btrfs" "/dev/mmcblk1p2";
    "/nix" = bind "/persist/nix";
  } "/persist is btrfs";
  "a bind mount of a directory of another name: extlinux" = extlinux {
    "/" = mount "tmpfs" "tmpfs";
    "/persist" = mount "ext4" "/dev/mmcblk1p2";
    "/nix" = bind "/persist/store-and-more";
  } "looks for a directory called nix";
  "bind mounts in a circle: extlinux" = extlinux {
    "/" = mount "tmpfs" "tmpfs";
    "/a" = bind "/nix";
    "/nix" = bind "/a";
  } "no file system in fileSystems holds /nix";

  "a source that is set is not questioned" =
    extlinux (ext4 "/dev/mmcblk1p2") "boot.loader.firn.source says so"
    // {
      config.boot.loader.firn.source = "extlinux";
    };
  "a prefix that is set goes before the mounts'" = profiles (ext4 "/dev/mmcblk1p2") "/ is ext4" // {
    prefix = "/elsewhere";
    config.boot.loader.firn.nixPrefix = "/elsewhere";
  };
}
// {
  "what cannot be told is said" = all (
    map ({ mounts, warned }: equal warned (warnings mounts)) [
      {
        mounts = ext4 "/dev/mmcblk1p2";
        warned = 0;
      }
      {
        mounts = root "btrfs" "/dev/mmcblk1p2";
        warned = 0;
      }
      {
        mounts = ext4 "/dev/root";
        warned = 1;
      }
    ]
  );
}
