# The flake's module: the module with the flake's packages.
{
  all,
  contains,
  equal,
  evaluateFlake,
  failures,
  lib,
  ...
}:

let
  allowed.nixpkgs.config.allowUnfreePredicate = _: true;
  flashOf =
    settings:
    (evaluateFlake {
      imports = [ allowed ];
      boot.loader.firn = {
        firmware.enable = true;
      }
      // settings;
    }).boot.loader.firn.firmware.package;
  firnOf = config: config.boot.loader.firn.package;
in
{
  "the hook has the flake's command" = contains "${firnOf (evaluateFlake { })}/bin/firn install" (
    (evaluateFlake { }).system.build.installBootLoader.text
  );
  "images are made by the build host's command" =
    let
      config = evaluateFlake { nixpkgs.buildPlatform = "x86_64-linux"; };
    in
    all [
      (equal "x86_64-linux" config.boot.loader.firn.buildPackage.stdenv.hostPlatform.system)
      (equal "aarch64-linux" (firnOf config).stdenv.hostPlatform.system)
    ];
  "a board that is not supported says so, also if flash.bin is wanted" =
    let
      found = failures (evaluateFlake {
        imports = [ allowed ];
        boot.loader.firn = {
          board = "imx8mq-evk";
          firmware.enable = true;
        };
      });
    in
    all [
      (equal 1 (lib.length found))
      (contains "imx8mq-evk is not supported yet" (lib.head found))
    ];
  "flash.bin has the board's parts" =
    contains "--bl31 ${(evaluateFlake allowed).boot.loader.firn.armTrustedFirmware.package}/bl31.bin"
      (flashOf { }).buildPhase;
  "flash.bin has OP-TEE if that is enabled" = all [
    (contains "--tee " (flashOf { optee.enable = true; }).buildPhase)
    (equal false (lib.hasInfix "--tee " (flashOf { }).buildPhase))
  ];
}
