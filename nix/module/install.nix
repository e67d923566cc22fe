# The hook that makes a system the default: `firn install`, with a file of what this configuration says.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.boot.loader.firn;
  configFile = pkgs.writeText "firn-install.json" (
    builtins.toJSON {
      inherit (cfg)
        board
        configurationLimit
        editor
        extraEntries
        nixPrefix
        passwordHash
        ;
      inherit (cfg.resolved) source;
      inherit (config.boot.loader) timeout;
      boot = "/boot";
      firmware =
        if cfg.firmware.enable then
          {
            image = "${cfg.firmware.package}/flash.bin";
            inherit (cfg.firmware) autoUpdate device emmcBoot;
          }
        else
          null;
    }
  );
in
{
  config = lib.mkIf cfg.enable {
    system.boot.loader.id = "firn";
    system.build.installBootLoader = pkgs.writeShellScript "firn-install" ''
      ${lib.optionalString cfg.firmware.enable ''
        # Which part of an eMMC the board starts.
        export PATH=${lib.makeBinPath [ pkgs.mmc-utils ]}:$PATH
      ''}exec ${cfg.package}/bin/firn install --config ${configFile} "$@"
    '';

    boot.loader = {
      # Also where a module for the board makes another one its default; what somebody has switched on, an assertion explains.
      generic-extlinux-compatible.enable = lib.mkOverride 900 false;
      grub.enable = lib.mkOverride 900 false;
      systemd-boot.enable = lib.mkOverride 900 false;

      # `firn install` has the secrets of each system appended to an empty archive, which the loader loads as the last initrd.
      supportsInitrdSecrets = true;

      firn = {
        inherit configFile;
        populateCmd = "${cfg.buildPackage}/bin/firn install --config ${configFile} --populate --root";
      };
    };

    environment.systemPackages = [ cfg.package ] ++ lib.optional cfg.firmware.enable pkgs.mmc-utils;
  };
}
