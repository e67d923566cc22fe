# What is no value of an option is refused, and what an option takes beside the common.
{
  all,
  equal,
  evaluate,
  firn,
  lib,
  refused,
  ...
}:

let
  value = path: settings: lib.attrByPath path null (evaluate (firn settings)).boot.loader.firn;
  refuses = path: wrong: refused (value path (lib.setAttrByPath path wrong));
  takes = path: right: equal right (value path (lib.setAttrByPath path right));

  sha512 = "hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0";
  sha256 = "R6e4P8ccT9iMqkYg7Z8YtpId/lfsIfnuPkp8WXposU8";
  password = [ "passwordHash" ];
  params = module: (evaluate module).boot.kernelParams;
in
{
  "an option that there is not" =
    refused
      (evaluate (firn {
        tries = 3;
      })).boot.loader.timeout;
  "board: one that is not listed" = refuses [ "board" ] "raspberry-pi";
  "source: another word" = refuses [ "source" ] "grub";
  "configurationLimit: none at all" = refuses [ "configurationLimit" ] 0;
  "bootCounting.tries: none" = refuses [ "bootCounting" "tries" ] 0;
  "bootCounting.tries: more than the record counts" = refuses [ "bootCounting" "tries" ] 256;
  "watchdog.runtimeTime: longer than it counts" = refuses [ "watchdog" "runtimeTime" ] 129;
  "bless.deadline: at once" = refuses [ "bless" "deadline" ] 0;
  "ethernetAddresses: no address" = refuses [ "ethernetAddresses" ] [ "00:04:9f:01:02" ];
  "populateCmd: is not set" = refuses [ "populateCmd" ] "true";

  "passwordHash: SHA-512" = takes password ("$6$saltsalt$" + sha512);
  "passwordHash: SHA-512 with its rounds" = takes password ("$6$rounds=1000$saltsalt$" + sha512);
  "passwordHash: SHA-256" = takes password ("$5$saltsalt$" + sha256);
  "passwordHash: yescrypt, which the loader does not know" =
    refuses password "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7";
  "passwordHash: a password" = refuses password "secret";
  "passwordHash: a hash that is cut off" = refuses password (
    "$6$saltsalt$" + lib.substring 0 80 sha512
  );
  "passwordHash: a hash with a line's end" = refuses password ("$6$saltsalt$" + sha512 + "\n");
  "passwordHash: a longer salt than there is" = refuses password ("$6$saltsaltsaltsalt1$" + sha512);

  "console: the board's comes last" = equal "console=ttymxc1,115200" (
    lib.last (
      lib.filter (lib.hasPrefix "console=") (params {
        boot.kernelParams = [ "console=tty0" ];
      })
    )
  );
  "console: another" = equal true (
    lib.elem "console=ttymxc0,9600n8" (
      params (firn {
        console = "ttymxc0,9600n8";
      })
    )
  );
  "console: none" = equal false (
    lib.any (lib.hasPrefix "console=") (
      params (firn {
        console = null;
      })
    )
  );
  "console: more than one word" = refuses [ "console" ] "ttymxc1 init=/bin/sh";

  "board: device tree and drivers come with it" = all [
    (equal "freescale/imx8mp-evk.dtb" (evaluate { }).hardware.deviceTree.name)
    (equal true (lib.elem "sdhci_esdhc_imx" (evaluate { }).boot.initrd.availableKernelModules))
  ];
}
