# org.firn.v1 of boot.json, as the loader reads it (src/nixos/bootspec.rs).
{
  equal,
  evaluate,
  firn,
  lib,
  ...
}:

let
  found = module: (evaluate module).boot.bootspec.extensions."org.firn.v1";
  plain = {
    bootTries = 0;
    configurationLimit = 20;
    deviceTreeOverlays = [ ];
    editor = true;
    ethernetAddresses = [ ];
    timeout = 5;
  };
  becomes = change: module: equal (plain // change) (removeAttrs (found module) [ "deviceTree" ]);
  hash = "$6$saltsalt$hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0";
in
{
  "of a plain system" = becomes { } { };
  "boot.json is written" =
    equal true
      (evaluate {
        boot.bootspec.enable = lib.mkDefault false;
      }).boot.bootspec.enable;
  "timeout" = becomes { timeout = 1; } { boot.loader.timeout = 1; };
  "a menu that waits" = becomes { timeout = null; } { boot.loader.timeout = null; };
  "editor" = becomes { editor = false; } (firn {
    editor = false;
  });
  "passwordHash" = becomes { passwordHash = hash; } (firn {
    passwordHash = hash;
  });
  "configurationLimit" = becomes { configurationLimit = null; } (firn {
    configurationLimit = null;
  });
  "boot counting" = becomes { bootTries = 3; } (firn {
    bootCounting.enable = true;
  });
  "boot counting with another number of tries" = becomes { bootTries = 5; } (firn {
    bootCounting = {
      enable = true;
      tries = 5;
    };
  });
  "tries alone count nothing" = becomes { } (firn {
    bootCounting.tries = 5;
  });
  "overlays in their order" =
    becomes
      {
        deviceTreeOverlays = [
          "${builtins.storeDir}/b.dtbo"
          "${builtins.storeDir}/a.dtbo"
        ];
      }
      (firn {
        deviceTree.overlays = [
          "${builtins.storeDir}/b.dtbo"
          "${builtins.storeDir}/a.dtbo"
        ];
      });
  "Ethernet addresses by the interfaces' numbers" =
    becomes
      {
        ethernetAddresses = [
          ""
          "00:04:9f:01:02:03"
        ];
      }
      (firn {
        ethernetAddresses = [
          ""
          "00:04:9f:01:02:03"
        ];
      });
  "the device tree is a file of the system" =
    let
      config = evaluate { };
    in
    equal "${config.hardware.deviceTree.package}/freescale/imx8mp-evk.dtb"
      config.boot.bootspec.extensions."org.firn.v1".deviceTree;
  "the device tree that the user names" = equal true (
    lib.hasSuffix "/freescale/imx8mp-evk-mine.dtb"
      (found { hardware.deviceTree.name = "freescale/imx8mp-evk-mine.dtb"; }).deviceTree
  );
}
