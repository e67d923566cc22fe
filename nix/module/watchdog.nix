# The watchdog, handed on from the loader: it starts it for a try, the driver in the initrd takes it over, and systemd serves it.
{
  config,
  lib,
  options,
  ...
}:

let
  cfg = config.boot.loader.firn;
  seconds = "${toString cfg.watchdog.runtimeTime}s";
in
{
  config = lib.mkIf (cfg.enable && cfg.watchdog.enable) (
    lib.mkMerge [
      {
        boot.initrd.kernelModules = [ "imx2_wdt" ];
        # Nobody opens it in a scripted initrd, where the driver serves it for as long as the loader says, 300 s.
        boot.kernelParams = lib.mkIf (
          cfg.bootCounting.enable && cfg.bless.deadline != null && cfg.bless.deadline < 300
        ) [ "watchdog.open_timeout=${toString cfg.bless.deadline}" ];
      }
      # NixOS 25.11 has the manager's settings by their own names; before, it had options of its own.
      (
        if options.systemd ? settings then
          { systemd.settings.Manager.RuntimeWatchdogSec = lib.mkDefault seconds; }
        else
          { systemd.watchdog.runtimeTime = lib.mkDefault seconds; }
      )
      (
        if options.boot.initrd.systemd ? settings then
          { boot.initrd.systemd.settings.Manager.RuntimeWatchdogSec = lib.mkDefault seconds; }
        else
          { boot.initrd.systemd.extraConfig = "RuntimeWatchdogSec=${seconds}"; }
      )
    ]
  );
}
