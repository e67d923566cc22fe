# The part of nixpkgs' library that this repository's Nix files use, written anew so that the checks need no network. Names and
# meanings are nixpkgs'; what is not here is not used, and using it fails.
let
  parts = {
    attrsets = import ./attrsets.nix { inherit lib; };
    lists = import ./lists.nix { inherit lib; };
    strings = import ./strings.nix { inherit lib; };
    trivial = import ./trivial.nix { inherit lib; };
    meta = import ./meta.nix { inherit lib; };
    customisation = import ./customisation.nix { inherit lib; };
    options = import ./options.nix { inherit lib; };
    types = import ./types.nix { inherit lib; };
    modules = import ./modules.nix { inherit lib; };
    fileset = import ./fileset.nix { inherit lib; };
    kernel = import ./kernel.nix;
    platforms = import ./platforms.nix;
    licenses = import ./licenses.nix;
    maintainers = { };
  };

  lib =
    parts
    // parts.attrsets
    // parts.lists
    // parts.strings
    // parts.trivial
    // parts.meta
    // parts.customisation
    // parts.options
    // parts.modules;
in
lib
