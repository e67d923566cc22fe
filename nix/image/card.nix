# The image: a root that `firn install` populates, and card-image.sh, which makes a card of it.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.boot.loader.firn;
  inherit (cfg) image;
  inherit (config.system.build) toplevel;

  builder = pkgs.buildPackages;
  file = "${image.name}.img${lib.optionalString image.compress ".zst"}";
  arguments = [
    "--firn ${cfg.buildPackage}/bin/firn"
    "--flash ${cfg.firmware.package}/flash.bin"
    "--table ${image.table}"
    "--label ${image.label}"
    "--uuid ${image.uuid}"
    "--slack ${toString image.slack}"
  ]
  ++ lib.optionals image.bootPartition.enable [
    "--boot-dir boot"
    "--boot-size ${toString image.bootPartition.size}"
    "--boot-format ${image.bootPartition.format}"
    "--boot-label ${image.bootPartition.label}"
  ]
  ++ lib.optional image.compress "--compress";

  build = builder.writeShellScript "make-firn-image" ''
    set -eu
    mkdir -p files
    ${cfg.populateCmd} ./files ${toplevel}
    ${image.populateCommands}
    ${lib.optionalString image.bootPartition.enable ''
      mkdir -p boot files/boot
      find files/boot -mindepth 1 -maxdepth 1 -exec mv -t boot {} +
    ''}
    ${builder.runtimeShell} ${./card-image.sh} --root files --closure "$closure" \
      ${lib.concatStringsSep " " arguments} "$out/${image.name}.img"
  '';
in
{
  config = lib.mkIf cfg.enable {
    system.build.firnImage =
      builder.runCommand file
        {
          nativeBuildInputs = [
            builder.dosfstools
            builder.e2fsprogs
            builder.fakeroot
            builder.mtools
            builder.util-linux
            builder.zstd
          ];
          closure = builder.closureInfo { rootPaths = [ toplevel ] ++ image.storePaths; };
          passthru = { inherit build; };
        }
        ''
          mkdir -p "$out/nix-support"
          # For whom what the build user makes belongs to root.
          fakeroot ${build}
          echo "file sd-image $out/${file}" >"$out/nix-support/hydra-build-products"
        '';
  };
}
