# What the tests have in common: a system that is complete but for what a test is about, and comparisons that say what differs.
{ nixpkgs }:

let
  lib = import (nixpkgs + "/lib");
  isWhole = builtins.pathExists (nixpkgs + "/nixos/lib/eval-config.nix");

  # Packages of the names that the flake's overlay has, so that these tests are about the module alone.
  packages = final: _: {
    firn-cli = package final "firn-cli" { };
    arm-trusted-firmware-imx8mp = package final "arm-trusted-firmware-imx8mp" { };
    optee-os-imx8mp = package final "optee-os-imx8mp" { };
    firmware-imx = final.stdenv.mkDerivation {
      pname = "firmware-imx";
      version = "8";
      meta.license = lib.licenses.unfree;
    };
    flash-image-imx8mp-evk =
      lib.makeOverridable
        (
          {
            ddrFirmware,
            armTrustedFirmware,
            optee,
          }:
          package final "flash-image" { inherit ddrFirmware armTrustedFirmware optee; }
        )
        {
          ddrFirmware = final.firmware-imx;
          armTrustedFirmware = final.arm-trusted-firmware-imx8mp;
          optee = null;
        };
  };
  package =
    pkgs: name: environment:
    pkgs.runCommand name environment "exit 1";

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
    imports = [ ../module ];
    nixpkgs = {
      hostPlatform = lib.mkDefault "aarch64-linux";
      overlays = [ packages ];
    };
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
      base
      { fileSystems = mounts; }
      module
    ]).config;
  evaluate = evaluateOn card;
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
    if lib.hasInfix part text then
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
