# A whole system has a derivation, and one that contradicts itself has none.
{
  equal,
  evaluate,
  firn,
  refused,
  ...
}:

{
  "a plain system" = equal "derivation" (evaluate { }).system.build.toplevel.type;
  "a system with everything" =
    equal "derivation"
      (evaluate {
        nixpkgs.config.allowUnfreePredicate = _: true;
        boot.initrd.systemd.enable = true;
        boot.loader.firn = {
          bootCounting.enable = true;
          firmware.enable = true;
          optee.enable = true;
          source = "extlinux";
          extraEntries.other = "title other";
        };
      }).system.build.toplevel.type;
  "a system with an assertion that fails" =
    refused
      (evaluate (firn {
        bootCounting.enable = true;
        watchdog.enable = false;
      })).system.build.toplevel.drvPath;
}
