# Which file system holds a path, and whether the loader can read it, as far as a configuration's `fileSystems` tell: the loader
# reads FAT and ext4 directly on partitions of an SD card or eMMC, and nothing else.
{ config, lib }:

let
  inherit (lib) hasPrefix removePrefix removeSuffix;

  fileSystems = lib.attrValues config.fileSystems;
  isBind = fileSystem: lib.any (option: option == "bind" || option == "rbind") fileSystem.options;

  withSlash = path: removeSuffix "/" path + "/";
  isBelow = mountPoint: path: hasPrefix (withSlash mountPoint) (withSlash path);

  # The mount that `path` is on: the one with the longest mount point.
  mountOf =
    path:
    lib.foldl' (
      best: one:
      if
        isBelow one.mountPoint path
        && (
          best == null
          || lib.stringLength (withSlash one.mountPoint) > lib.stringLength (withSlash best.mountPoint)
        )
      then
        one
      else
        best
    ) null fileSystems;

  # Where a path really is: { fileSystem, path } with the path as that file system names it; null if no mount holds it or bind
  # mounts go round in circles.
  locate = locateWithin (lib.length fileSystems);
  locateWithin =
    bindsLeft: path:
    let
      mount = mountOf path;
      inside = "/" + removePrefix (withSlash mount.mountPoint) (withSlash path);
    in
    if mount == null then
      null
    else if !isBind mount then
      {
        fileSystem = mount;
        path = removeSuffix "/" inside;
      }
    else if bindsLeft == 0 || mount.device == null then
      null
    else
      # An initrd mounts below /sysroot, and some write so.
      locateWithin (bindsLeft - 1) (removeSuffix "/" (removePrefix "/sysroot" mount.device + inside));

  # Names of devices, the first that fits counts: what is behind it, and whether the loader can read a file system there; null: it
  # cannot be told from the name.
  kinds = [
    {
      names = "/dev/mapper/.*|/dev/dm-[0-9]+|/dev/disk/by-id/dm-.*";
      what = "a device mapper volume (LUKS or LVM)";
      readable = false;
    }
    {
      names = "/dev/md.*|/dev/disk/by-id/md-.*";
      what = "a RAID of md";
      readable = false;
    }
    {
      names = "/dev/bcache.*|/dev/zvol/.*|/dev/zd[0-9].*|/dev/loop.*|/dev/nbd.*|/dev/drbd.*|/dev/z?ram.*";
      what = "not a partition";
      readable = false;
    }
    {
      names = "/dev/(sd|hd|vd|nvme|sr|ubi|mtd|pmem).*|/dev/disk/by-(id|path)/.*(usb|nvme|ata|scsi|nvme|virtio|wwn).*";
      what = "neither an SD card nor an eMMC";
      readable = false;
    }
    {
      names = "/dev/mmcblk.*|/dev/disk/by-id/mmc-.*|/dev/disk/by-path/.*mmc.*|/dev/disk/by-part(uuid|label)/.*|PART(UUID|LABEL)=.*";
      what = "a partition";
      readable = true;
    }
    {
      names = "/dev/disk/by-(uuid|label)/.*|(UUID|LABEL)=.*";
      what = "named by what is on it";
      readable = null;
    }
    {
      names = "/dev/[^/]+/[^/]+";
      what = "an LVM volume";
      readable = false;
    }
  ];
  kindOf =
    device:
    lib.findFirst (kind: builtins.match kind.names device != null) {
      what = "no name of a partition";
      readable = false;
    } kinds;

  # A name that is the file system's own may lead to a volume within LUKS, LVM or a RAID, if the initrd opens any.
  hiding =
    lib.optional (config.boot.initrd.luks.devices != { }) "boot.initrd.luks.devices"
    ++ lib.optional (config.boot.swraid.enable or false) "boot.swraid.enable"
    ++ lib.optional (lib.elem "dm-snapshot" config.boot.initrd.kernelModules) "LVM's dm-snapshot in boot.initrd.kernelModules";
in
{
  inherit locate mountOf;

  # Whether the loader can read `fileSystem`, and why (not): { readable = true | false | null, why }; null: it cannot be told.
  judge =
    fileSystem: types:
    let
      device = if fileSystem.device == null then "an unknown device" else fileSystem.device;
      kind = kindOf device;
      where = "${fileSystem.mountPoint} is ${fileSystem.fsType} on ${device}";
    in
    if fileSystem.fsType == "auto" && (kind.readable != false) then
      {
        readable = null;
        why = "the type of the file system at ${fileSystem.mountPoint} is not given";
      }
    else if fileSystem.fsType != "auto" && !(lib.elem fileSystem.fsType types) then
      {
        readable = false;
        why = "${where}, and the loader reads ${lib.concatStringsSep " and " types} there";
      }
    else if fileSystem.encrypted.enable or false then
      {
        readable = false;
        why = "${where}, which is encrypted";
      }
    else if lib.any (option: option == "loop" || hasPrefix "loop=" option) fileSystem.options then
      {
        readable = false;
        why = "${where}, which is a file";
      }
    else if kind.readable == null && hiding != [ ] then
      {
        readable = null;
        why = "${where}, which may be a volume that the initrd opens (${lib.concatStringsSep ", " hiding})";
      }
    else if kind.readable == false then
      {
        readable = false;
        why = "${where}, which is ${kind.what}";
      }
    else
      {
        readable = true;
        why = where;
      };
}
