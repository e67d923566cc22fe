# A system with everything set, of which the loader and the installer must understand what it says: both are written down in
# expected/, where tests of theirs read them.
{
  all,
  equal,
  evaluate,
  installConfig,
  lib,
  withoutHashes,
  ...
}:

let
  inStore = name: "${builtins.storeDir}/${lib.concatStrings (lib.genList (_: "0") 32)}-${name}";
  config = evaluate {
    nixpkgs.config.allowUnfreePredicate = _: true;
    hardware.deviceTree.package = lib.mkForce (inStore "device-trees");
    boot.loader.timeout = 7;
    boot.loader.firn = {
      source = "extlinux";
      nixPrefix = "/system";
      configurationLimit = 9;
      bootCounting = {
        enable = true;
        tries = 4;
      };
      editor = false;
      passwordHash = "$6$saltsalt$hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0";
      extraEntries.debian = ''
        title Debian
        linux /debian/vmlinuz
      '';
      deviceTree.overlays = [
        (inStore "touch.dtbo")
        (inStore "can.dtbo")
      ];
      ethernetAddresses = [
        ""
        "00:04:9f:01:02:03"
      ];
      firmware = {
        enable = true;
        device = "/dev/mmcblk2";
        emmcBoot = true;
        autoUpdate = true;
      };
    };
  };
  expected = file: builtins.fromJSON (builtins.readFile (./expected + "/${file}"));
in
{
  "the loader's settings" = equal (expected "boot.json")."org.firn.v1" (
    builtins.fromJSON (withoutHashes (builtins.toJSON config.boot.bootspec.extensions."org.firn.v1"))
  );
  "the installer's file" = equal (expected "firn-install.json") (installConfig config);
  "none of it is wrong" = all (
    map (one: if one.assertion then null else one.message) config.assertions
  );
}
