# What `nix run` starts: the emulated board, and writing to a card.
{ pkgs }:

let
  packages = import ../packages { inherit pkgs; };
  app = program: {
    type = "app";
    program = pkgs.lib.getExe program;
    meta = { inherit (program.meta) description; };
  };
in
{
  emulate = app (pkgs.callPackage ./emulate.nix { inherit (packages) firn-cli; });
  write = app (pkgs.callPackage ./write.nix { inherit (packages) firn-cli; });
}
