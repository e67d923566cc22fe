# Whether the loader can read the profiles and the store, and where on their file system they lie:
# { readable = true | false | null, why, prefix }; null: it cannot be told.
{ config, lib }:

let
  fileSystems = import ./file-systems.nix { inherit config lib; };
  store = fileSystems.locate "/nix/store";
  profiles = fileSystems.locate "/nix/var/nix/profiles";

  # The directory that is mounted as /nix, as its file system names it: "" for a file system that is /nix itself.
  directory =
    if
      lib.hasSuffix "/store" store.path
      && lib.removeSuffix "/store" store.path + "/var/nix/profiles" == profiles.path
    then
      lib.removeSuffix "/store" store.path
    else
      null;
in
if store == null || profiles == null then
  {
    readable = null;
    why = "no file system in fileSystems holds /nix";
    prefix = "";
  }
else if store.fileSystem.mountPoint != profiles.fileSystem.mountPoint then
  {
    readable = false;
    why = "the store is on ${store.fileSystem.mountPoint}, but its profiles are on ${profiles.fileSystem.mountPoint}";
    prefix = "";
  }
else if directory == null || (directory != "" && !(lib.hasSuffix "/nix" directory)) then
  {
    readable = false;
    why = "the store is ${store.path} on ${store.fileSystem.mountPoint}, and the loader looks for a directory called nix with store and var/nix/profiles in it";
    prefix = "";
  }
else
  fileSystems.judge store.fileSystem [ "ext4" ] // { prefix = lib.removeSuffix "/nix" directory; }
