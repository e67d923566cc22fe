# Whether the loader can read /boot: { readable = true | false | null, why }; null: it cannot be told.
{ config, lib }:

let
  fileSystems = import ./file-systems.nix { inherit config lib; };
  boot = fileSystems.locate "/boot";
in
if boot == null then
  {
    readable = null;
    why = "no file system in fileSystems holds /boot";
  }
else if boot.path != "" && boot.path != "/boot" then
  {
    readable = false;
    why = "/boot is ${boot.path} on ${boot.fileSystem.mountPoint}, and the loader looks in the root of a file system and in its directory boot";
  }
else
  fileSystems.judge boot.fileSystem [
    "ext4"
    "vfat"
  ]
