# What an image leaves for its first boot: the rest of the card, and the store's database. Until all of it is done, the file that
# tells about the store stays, and the next boot does it again: each step may be done twice.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.boot.loader.firn;
  grow = ''
    root=$(findmnt --noheadings --nofsroot --output SOURCE /)
    entry=/sys/class/block/''${root##*/}
    if [ -e "$entry/partition" ] && [ "$(findmnt --noheadings --output FSTYPE /)" = ext4 ]; then
      disk=/dev/$(basename "$(readlink --canonicalize "$entry/..")")
      # A card without room for more boots as well.
      ${pkgs.runtimeShell} ${./grow-root.sh} "$disk" "$(cat "$entry/partition")" || echo "the root file system keeps its size"
    fi
  '';
in
{
  config = lib.mkIf cfg.enable {
    systemd.services.firn-first-boot = {
      description = "First Boot of a Card Image";
      wantedBy = [ "multi-user.target" ];
      before = [ "nix-daemon.service" ];
      restartIfChanged = false;
      path = [
        pkgs.coreutils
        pkgs.e2fsprogs
        pkgs.gnused
        pkgs.util-linux
      ];
      unitConfig = {
        ConditionPathExists = "/nix-path-registration";
        RequiresMountsFor = "/nix";
      };
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
      script = ''
        ${lib.optionalString cfg.image.growRoot grow}
        ${config.nix.package}/bin/nix-store --load-db </nix-path-registration
        sync --file-system /nix
        rm /nix-path-registration
      '';
    };
  };
}
