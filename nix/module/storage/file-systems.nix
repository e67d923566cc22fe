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

  # A name that is the file system's own may lead to a volume within LUKS, LVM or a RAID, if the initrd opens any.
  hiding =
    lib.optional (config.boot.initrd.luks.devices != { }) "boot.initrd.luks.devices"
    ++ lib.optional (config.boot.swraid.enable or false) "boot.swraid.enable"
    ++ lib.optional (lib.elem "dm-snapshot" config.boot.initrd.kernelModules) "LVM's dm-snapshot in boot.initrd.kernelModules";

  # Names of devices, the first that fits counts: what is behind it, and whether the loader can read a file system there; null: it
  # cannot be told.
  kinds = [
    {
      names = "/dev/mmcblk.*|/dev/disk/by-id/mmc-.*|/dev/disk/by-part(uuid|label)/.*|PART(UUID|LABEL)=.*";
      what = "a partition";
      readable = true;
    }
    {
      names = "/dev/disk/by-(uuid|label)/.*|(UUID|LABEL)=.*";
      what = "maybe a volume that the initrd opens (${lib.concatStringsSep ", " hiding})";
      readable = if hiding == [ ] then true else null;
    }
    {
      names = "/dev/mapper/.*|/dev/dm-[0-9]+|/dev/disk/by-id/dm-.*";
      what = "a device mapper volume (LUKS or LVM)";
      readable = false;
    }
    {
      names = "/dev/md[0-9].*|/dev/md/.*|/dev/disk/by-id/md-.*";
      what = "a RAID of md";
      readable = false;
    }
    {
      names = "/dev/(bcache|drbd|loop|nbd|ram|zd|zram)[0-9].*|/dev/zvol/.*";
      what = "not a partition";
      readable = false;
    }
    {
      names = "/dev/([hsv]d[a-z]|nvme|sr|ubi|mtd|pmem).*|/dev/disk/by-(id|path)/.*(ata|nvme|scsi|usb|virtio|wwn)-.*";
      what = "neither an SD card nor an eMMC";
      readable = false;
    }
    {
      names = "/dev/disk/by-path/.*[.]mmc(-.*)?";
      what = "a partition";
      readable = true;
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
      what = "of a name that tells nothing";
      readable = null;
    } kinds;
in
{
  inherit locate;

  # Whether the loader can read `fileSystem`, which must be of one of `types`, and why (not):
  # { readable = true | false | null, why }; null: it cannot be told.
  judge =
    fileSystem: types:
    let
      device = if fileSystem.device == null then "an unknown device" else fileSystem.device;
      kind = kindOf device;
      where = "${fileSystem.mountPoint} is ${fileSystem.fsType} on ${device}";
      isFile = lib.any (option: option == "loop" || hasPrefix "loop=" option) fileSystem.options;
    in
    if fileSystem.fsType != "auto" && !(lib.elem fileSystem.fsType types) then
      {
        readable = false;
        why = "${where}, and the loader reads ${lib.concatStringsSep " and " types} there";
      }
    else if isFile || fileSystem.encrypted.enable or false then
      {
        readable = false;
        why = "${where}, which is ${if isFile then "a file" else "encrypted"}";
      }
    else if kind.readable != true then
      {
        inherit (kind) readable;
        why = "${where}, which is ${kind.what}";
      }
    else if fileSystem.fsType == "auto" then
      {
        readable = null;
        why = "the type of the file system at ${fileSystem.mountPoint} is not given";
      }
    else
      {
        readable = true;
        why = where;
      };
}
