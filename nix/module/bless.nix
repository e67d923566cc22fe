# Who says that a boot was a good one, and who ends one that is not: with boot counting, the last good generation boots again
# unless the booted one is blessed. What was booted is what the loader says in /chosen, not /run/current-system, which a switch changes.
{
  config,
  lib,
  ...
}:

let
  cfg = config.boot.loader.firn;

  bootedByFirn = "/proc/device-tree/chosen/firn,version";
  isTry = "/proc/device-tree/chosen/firn,try";

  # Started with the first units, and left alone by whatever else happens, an emergency shell included.
  alone = {
    DefaultDependencies = false;
    ConditionPathExists = isTry;
    IgnoreOnIsolate = true;
  };
  timer = {
    description = "Deadline of a Boot That Is on Trial";
    wantedBy = [ "sysinit.target" ];
    before = [ "shutdown.target" ];
    conflicts = [ "shutdown.target" ];
    unitConfig = alone;
    timerConfig = {
      OnBootSec = cfg.bless.deadline;
      AccuracySec = "1s";
    };
  };
  service = {
    description = "Reboot out of a Failed Trial";
    unitConfig = alone;
    serviceConfig = {
      Type = "oneshot";
      # Units are not asked to stop: one that does not is why a boot may come to its deadline.
      ExecStart = "${config.systemd.package}/bin/systemctl reboot --force";
    };
  };
in
{
  config = lib.mkIf (cfg.enable && cfg.bootCounting.enable) (
    lib.mkMerge [
      {
        # systemd's own is not among the units that NixOS installs.
        systemd.targets.boot-complete = {
          description = "Boot Completion Check";
          requires = [ "sysinit.target" ] ++ cfg.bless.requires;
          after = [ "sysinit.target" ] ++ cfg.bless.requires;
          # A switch does not ask anew whether the boot was a good one.
          unitConfig.X-OnlyManualStart = true;
        };

        systemd.services.firn-bless = {
          description = "Mark the Booted Generation as Good";
          wantedBy = [ "multi-user.target" ];
          requires = [ "boot-complete.target" ];
          after = [
            "boot-complete.target"
            "multi-user.target"
          ];
          restartIfChanged = false;
          unitConfig.ConditionPathExists = bootedByFirn;
          serviceConfig = {
            Type = "oneshot";
            RemainAfterExit = true;
            ExecStart = "${cfg.package}/bin/firn state bless";
          };
        };
      }
      (lib.mkIf (cfg.bless.deadline != null) {
        systemd.timers.firn-deadline = timer;
        systemd.services.firn-deadline = lib.recursiveUpdate service {
          restartIfChanged = false;
          # Fails where the boot has been blessed, by whomever.
          serviceConfig.ExecCondition = "${cfg.package}/bin/firn state pending";
        };

        # Nobody blesses in the initrd.
        boot.initrd.systemd = lib.mkIf config.boot.initrd.systemd.enable {
          timers.firn-deadline = timer;
          services.firn-deadline = lib.recursiveUpdate service {
            serviceConfig.ExecStart = "/bin/systemctl reboot --force";
          };
        };
      })
    ]
  );
}
