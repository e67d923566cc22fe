# What the tests have in common: a system that is complete but for what a test is about, and comparisons that say what differs.
{ nixpkgs }:

let
  lib = import (nixpkgs + "/lib");
  isWhole = builtins.pathExists (nixpkgs + "/nixos/lib/eval-config.nix");

  # Packages in the place of the flake's, so that these tests are about the module alone.
  packages =
    { pkgs, ... }:
    let
      package = name: pkgs.runCommand name { } "exit 1";
    in
    {
      boot.loader.firn = lib.mapAttrsRecursiveCond (value: !lib.isDerivation value) (_: lib.mkDefault) {
        package = package "firn-cli";
        buildPackage = pkgs.buildPackages.runCommand "firn-cli-of-build" { } "exit 1";
        armTrustedFirmware.package = package "arm-trusted-firmware-imx8mp";
        optee.package = package "optee-os-imx8mp";
        firmware.package = package "flash-image-imx8mp-evk";
        ddrFirmware = pkgs.stdenv.mkDerivation {
          pname = "firmware-imx";
          version = "8";
          meta.license = lib.licenses.unfree;
        };
      };
    };

  card = {
    "/" = {
      device = "/dev/mmcblk1p2";
      fsType = "ext4";
    };
  };

  evaluateAll =
    modules:
    if isWhole then
      import (nixpkgs + "/nixos/lib/eval-config.nix") {
        system = null;
        inherit modules;
      }
    else
      lib.evalModules { modules = [ ../stub/nixos/modules ] ++ modules; };

  base = {
    nixpkgs.hostPlatform = lib.mkDefault "aarch64-linux";
    boot.loader.firn.enable = true;
    system.stateVersion = lib.mkDefault "24.05";
  };
in
rec {
  inherit lib;

  # The configuration of a system with `module`; `mounts` replace its only file system.
  evaluateOn =
    mounts: module:
    (evaluateAll [
      ../module
      packages
      base
      { fileSystems = mounts; }
      module
    ]).config;
  evaluate = evaluateOn card;

  # The same with the flake's module and packages.
  evaluateFlake =
    module:
    (evaluateAll [
      ../nixos.nix
      base
      { fileSystems = card; }
      module
    ]).config;
  firn = settings: { boot.loader.firn = settings; };

  # What Nix says without where things are in the store.
  withoutHashes =
    text:
    lib.concatStrings (
      map (part: if builtins.isList part then "/nix/store/" else part) (
        builtins.split "${builtins.storeDir}/[0-9a-z]{32}-" (builtins.unsafeDiscardStringContext text)
      )
    );
  installConfig = config: builtins.fromJSON (withoutHashes config.boot.loader.firn.configFile.text);

  equal =
    expected: found:
    if expected == found then
      null
    else
      "expected ${builtins.toJSON expected}, found ${builtins.toJSON found}";
  contains =
    part: text:
    if
      lib.hasInfix (builtins.unsafeDiscardStringContext part) (builtins.unsafeDiscardStringContext text)
    then
      null
    else
      "expected a text with ${builtins.toJSON part}, found ${builtins.toJSON text}";
  all =
    results:
    let
      failed = builtins.filter (result: result != null) results;
    in
    if failed == [ ] then null else lib.concatStringsSep "; " failed;

  # Whether the value cannot be had, which is how the module system refuses a definition.
  refused =
    value:
    if (builtins.tryEval (builtins.deepSeq value value)).success then
      "expected an error, found ${builtins.toJSON value}"
    else
      null;

  # Messages of the assertions that fail, without line ends.
  failures =
    config:
    map (one: builtins.replaceStrings [ "\n" ] [ " " ] one.message) (
      builtins.filter (one: !one.assertion) config.assertions
    );
}
