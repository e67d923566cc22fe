# nixpkgs' image.repart with Firn: import this beside nixos/modules/image/repart.nix, and build `config.system.build.firnRepartImage`.
#
# systemd-repart places nothing in front of 1 MiB, where flash.bin begins (32 KiB), so it is told to keep everything up to 8 MiB in one
# partition, and own-gap.sh puts Firn's own in its place. Contents of other partitions are not touched.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.boot.loader.firn;
  layout = import ./layout.nix;
  builder = pkgs.buildPackages;
  gap = "7M"; # from the 1 MiB of systemd-repart to 8 MiB
  lines = map (
    partition:
    "start=${toString partition.start}, size=${
      toString (partition.end - partition.start + 1)
    }, type=${partition.type}, name=${partition.name}"
  ) layout.partitions;
in
{
  config = lib.mkIf cfg.enable {
    image.repart.partitions = {
      "00-firn-gap".repartConfig = {
        Type = "8da63339-0007-60c0-c436-083ac8230908"; # "Linux reserved"
        Label = "firn-gap";
        SizeMinBytes = gap;
        SizeMaxBytes = gap;
      };
      "50-root" = {
        storePaths = [ config.system.build.toplevel ];
        contents."/".source = config.system.build.firnRoot;
        repartConfig = {
          Type = "root-arm64";
          Format = "ext4";
          Label = lib.mkDefault cfg.image.label;
          Minimize = "guess";
        };
      };
    };

    system.build.firnRoot =
      let
        closure = builder.closureInfo { rootPaths = [ config.system.build.toplevel ]; };
      in
      builder.runCommand "firn-root" { } ''
        mkdir -p "$out"
        ${cfg.populateCmd} "$out" ${config.system.build.toplevel}
        cp ${closure}/registration "$out/nix-path-registration"
      '';

    system.build.firnRepartImage =
      builder.runCommand "${cfg.image.name}.img" { nativeBuildInputs = [ builder.util-linux ]; }
        ''
          mkdir -p "$out"
          image=$out/${cfg.image.name}.img
          cp --sparse=always ${config.system.build.image}/${config.image.repart.imageFile} "$image"
          chmod u+w "$image"
          ${builder.runtimeShell} ${./own-gap.sh} "$image" ${builder.writeText "firn-partitions" (lib.concatLines lines)}
          ${cfg.buildPackage}/bin/firn write ${cfg.firmware.package}/flash.bin "$image" --copy both
        '';
  };
}
