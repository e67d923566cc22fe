# The installer's call and its file.
{
  all,
  contains,
  equal,
  evaluate,
  firn,
  installConfig,
  lib,
  withoutHashes,
  ...
}:

let
  config = evaluate { };
  hook = config: withoutHashes config.system.build.installBootLoader.text;
  allowed.nixpkgs.config.allowUnfreePredicate = _: true;
  plain = {
    board = "imx8mp-evk";
    boot = "/boot";
    configurationLimit = 20;
    editor = true;
    extraEntries = { };
    firmware = null;
    nixPrefix = "";
    passwordHash = null;
    source = "profiles";
    timeout = 5;
  };
  becomes = change: module: equal (plain // change) (installConfig (evaluate module));
  withFirmware = settings: {
    imports = [
      allowed
      (firn {
        firmware = {
          enable = true;
        }
        // settings;
      })
    ];
  };
  firmware = {
    autoUpdate = false;
    device = null;
    emmcBoot = false;
    image = "/nix/store/flash-image-imx8mp-evk/flash.bin";
  };
in
{
  "the hook calls the installer with its file and the toplevel" =
    contains "exec /nix/store/firn-cli/bin/firn install --config /nix/store/firn-install.json \"$@\"\n" (
      hook config
    );
  "the hook can ask an eMMC what it starts" =
    contains "export PATH=/nix/store/mmc-utils-0/bin:$PATH\nexec /nix/store/firn-cli/bin/firn install"
      (hook (evaluate (withFirmware { })));
  "the loader's name" = equal "firn" config.system.boot.loader.id;
  "the command for images is the build host's" =
    equal "/nix/store/firn-cli-of-build/bin/firn install --config /nix/store/firn-install.json --populate --root" (
      withoutHashes config.boot.loader.firn.populateCmd
    );
  "the command is in the system" = equal true (
    lib.elem "firn-cli" (map lib.getName config.environment.systemPackages)
  );
  "initrd secrets are supported" = equal true config.boot.loader.supportsInitrdSecrets;
  "other loaders are off, and one that is a module's default too" =
    let
      others = [
        "grub"
        "systemd-boot"
        "generic-extlinux-compatible"
      ];
      config = evaluate {
        boot.loader = lib.genAttrs others (_: {
          enable = lib.mkDefault true;
        });
      };
    in
    all (map (name: equal false config.boot.loader.${name}.enable) others);

  "the file of a plain system" = becomes { } { };
  "source" = becomes { source = "extlinux"; } (firn {
    source = "extlinux";
  });
  "nixPrefix" = becomes { nixPrefix = "/system"; } (firn {
    nixPrefix = "/system";
  });
  "configurationLimit" = becomes { configurationLimit = 7; } (firn {
    configurationLimit = 7;
  });
  "no configurationLimit" = becomes { configurationLimit = null; } (firn {
    configurationLimit = null;
  });
  "timeout" = becomes { timeout = 0; } { boot.loader.timeout = 0; };
  "no timeout" = becomes { timeout = null; } { boot.loader.timeout = null; };
  "editor" = becomes { editor = false; } (firn {
    editor = false;
  });
  "extraEntries" = becomes { extraEntries.debian = "title Debian\nlinux /debian/vmlinuz\n"; } (firn {
    extraEntries.debian = ''
      title Debian
      linux /debian/vmlinuz
    '';
  });
  "firmware" = becomes { inherit firmware; } (withFirmware { });
  "firmware that is updated by itself, in the boot partitions of an eMMC" =
    becomes
      {
        firmware = firmware // {
          autoUpdate = true;
          device = "/dev/mmcblk2";
          emmcBoot = true;
        };
      }
      (withFirmware {
        autoUpdate = true;
        device = "/dev/mmcblk2";
        emmcBoot = true;
      });
}
