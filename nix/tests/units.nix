# The units, as the files that systemd reads, and the watchdog.
{
  all,
  equal,
  evaluate,
  firn,
  lib,
  withoutHashes,
  ...
}:

let
  counting = settings: firn ({ bootCounting.enable = true; } // settings);
  config = evaluate (counting {
    bless.requires = [ "sshd.service" ];
  });

  # Lines that NixOS adds to every unit are not of interest, nor is the order.
  lines =
    text:
    lib.filter (line: line != "" && !(lib.hasPrefix "Environment=" line)) (
      lib.splitString "\n" (withoutHashes text)
    );
  sections =
    text:
    (lib.foldl'
      (
        { section, found }:
        line:
        if lib.hasPrefix "[" line then
          {
            section = line;
            inherit found;
          }
        else
          {
            inherit section;
            found = found ++ [ "${section} ${line}" ];
          }
      )
      {
        section = "";
        found = [ ];
      }
      (lines text)
    ).found;
  sorted = builtins.sort builtins.lessThan;
  unit =
    units: name: file:
    equal (sorted (sections (expected file))) (sorted (sections units.${name}.text));
  expected =
    file:
    builtins.replaceStrings
      [
        "@firn@"
        "@systemd@"
      ]
      [
        "${config.boot.loader.firn.package}"
        "${config.systemd.package}"
      ]
      (builtins.readFile (./expected + "/${file}"));
  stage2 = unit config.systemd.units;
  initrd = {
    boot.initrd.systemd.enable = true;
  };
  withInitrd = evaluate {
    imports = [
      (counting { })
      initrd
    ];
  };
  scripted = evaluate {
    imports = [ (counting { }) ];
    boot.initrd.systemd.enable = false;
  };
  none = evaluate { };
  has = config: name: config.systemd.units ? ${name};
  openTimeouts =
    module: lib.filter (lib.hasPrefix "watchdog.open_timeout") (evaluate module).boot.kernelParams;
  manager =
    config:
    config.systemd.settings.Manager.RuntimeWatchdogSec or config.systemd.watchdog.runtimeTime or null;
  initrdManager =
    config:
    let
      inherit (config.boot.initrd) systemd;
    in
    systemd.settings.Manager.RuntimeWatchdogSec
      or (lib.removePrefix "RuntimeWatchdogSec=" (lib.removeSuffix "\n" systemd.extraConfig));
in
{
  "firn-bless.service" = stage2 "firn-bless.service" "firn-bless.service";
  "firn-bless.service is wanted by a boot, and not started anew by a switch" = all [
    (equal [ "multi-user.target" ] config.systemd.services.firn-bless.wantedBy)
    (equal false config.systemd.services.firn-bless.restartIfChanged)
  ];
  "boot-complete.target with what a user requires of a boot" =
    stage2 "boot-complete.target" "boot-complete.target";
  "firn-deadline.timer" = stage2 "firn-deadline.timer" "firn-deadline.timer";
  "firn-deadline.service" = stage2 "firn-deadline.service" "firn-deadline.service";
  "firn-deadline.timer of the initrd" =
    unit withInitrd.boot.initrd.systemd.units "firn-deadline.timer"
      "firn-deadline.timer";
  "firn-deadline.service of the initrd" =
    unit withInitrd.boot.initrd.systemd.units "firn-deadline.service"
      "initrd-firn-deadline.service";
  "the deadline begins with the first units" = all [
    (equal [ "sysinit.target" ] withInitrd.systemd.timers.firn-deadline.wantedBy)
    (equal [ "sysinit.target" ] withInitrd.boot.initrd.systemd.timers.firn-deadline.wantedBy)
  ];
  "another deadline" =
    equal 42
      (evaluate (counting {
        bless.deadline = 42;
      })).systemd.timers.firn-deadline.timerConfig.OnBootSec;
  "no deadline" = all (
    map
      (
        name:
        equal false (
          has (evaluate (counting {
            bless.deadline = null;
          })) name
        )
      )
      [
        "firn-deadline.timer"
        "firn-deadline.service"
      ]
  );
  "a scripted initrd has no units" = equal { } scripted.boot.initrd.systemd.timers;
  "without boot counting there are no units" = all (
    map (name: equal false (has none name)) [
      "firn-bless.service"
      "firn-deadline.timer"
      "firn-deadline.service"
    ]
  );

  "the watchdog is served by systemd, with its driver in the initrd" = all [
    (equal "60s" (manager config))
    (equal "60s" (initrdManager withInitrd))
    (equal true (lib.elem "imx2_wdt" config.boot.initrd.kernelModules))
  ];
  "the driver serves the watchdog as long as the loader says, unless the deadline is earlier" = all [
    (equal [ ] (openTimeouts (counting { })))
    (equal [ "watchdog.open_timeout=120" ] (
      openTimeouts (counting {
        bless.deadline = 120;
      })
    ))
  ];
  "another time for the watchdog" = equal "30s" (
    manager (
      evaluate (counting {
        watchdog.runtimeTime = 30;
      })
    )
  );
  "the watchdog without boot counting" = all [
    (equal "60s" (
      manager (
        evaluate (firn {
          watchdog.enable = true;
        })
      )
    ))
    (equal [ ] (
      openTimeouts (firn {
        watchdog.enable = true;
        bless.deadline = 120;
      })
    ))
  ];
  "no watchdog unless somebody wants it" = all [
    (equal null (manager none))
    (equal false (lib.elem "imx2_wdt" none.boot.initrd.kernelModules))
  ];
}
