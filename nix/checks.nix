# What `nix flake check` builds: the programs, the form of the Nix files, the tests of module and packages.
{
  pkgs,
  nixpkgs,
  packages,
}:

let
  inherit (pkgs) lib;
  nixFiles = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.fileFilter (file: file.hasExt "nix") ../.;
  };

  outcomes = import ./tests { inherit nixpkgs; };
  failures = lib.filterAttrs (_: outcome: outcome != null) outcomes;
  told = lib.mapAttrsToList (name: outcome: "${name}: ${outcome}") failures;
in
{
  inherit (packages) firn firn-spl firn-cli;

  format = pkgs.runCommand "nix-format" { nativeBuildInputs = [ pkgs.nixfmt ]; } ''
    find ${nixFiles} -name '*.nix' -exec nixfmt --check {} +
    touch "$out"
  '';

  lint = pkgs.runCommand "nix-lint" { nativeBuildInputs = [ pkgs.deadnix ]; } ''
    deadnix --fail --no-lambda-pattern-names ${nixFiles}
    touch "$out"
  '';

  tests =
    if failures == { } then
      pkgs.writeText "nix-tests" (lib.concatLines (lib.attrNames outcomes))
    else
      throw (lib.concatStringsSep "\n" told);
}
