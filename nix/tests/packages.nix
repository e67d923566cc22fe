# The packages and the list of boards.
{
  all,
  contains,
  equal,
  evaluateFlake,
  lib,
  ...
}:

let
  # As they are for the board in a configuration that is built on `system`.
  on =
    system:
    let
      config = evaluateFlake (
        { pkgs, ... }:
        {
          nixpkgs.buildPlatform = system;
          nixpkgs.config.allowUnfreePredicate = _: true;
          system.build = { inherit pkgs; };
        }
      );
    in
    import ../packages { inherit (config.system.build) pkgs; };
  native = on "aarch64-linux";
  crossBuilt = on "x86_64-linux";
  boards = import ../boards.nix;
  supported = lib.filterAttrs (_: board: board.lacks == [ ]) boards;
in
{
  "everything that the flake promises is there" = equal [ ] (
    lib.filter (name: !(native ? ${name})) [
      "arm-trusted-firmware-imx8mp"
      "arm-trusted-firmware-imx8mp-nxp"
      "firmware-imx"
      "firn"
      "firn-cli"
      "firn-spl"
      "flash-image-imx8mp-evk"
      "linux-imx"
      "optee-os-imx8mp"
    ]
  );
  "each supported board has its boot image, TF-A and OP-TEE" = equal [ ] (
    lib.concatLists (
      lib.mapAttrsToList (
        name: board:
        lib.filter (package: !(native ? ${package})) [
          "flash-image-${name}"
          board.armTrustedFirmware
          board.optee
        ]
      ) supported
    )
  );
  "each other board says what it lacks" = equal [ ] (
    lib.filter (name: lib.any (what: what == "") boards.${name}.lacks) (lib.attrNames boards)
  );
  "firmware is for bare metal, whatever builds it" = all (
    lib.concatMap
      (packages: [
        (equal "aarch64-unknown-none" packages.firn.stdenv.hostPlatform.rust.rustcTarget)
        (contains "--target aarch64-unknown-none" packages.firn-spl.buildPhase)
      ])
      [
        native
        crossBuilt
      ]
  );
  "the command for the board is made for the board, the one for images for the build host" = all [
    (equal "aarch64-linux" crossBuilt.firn-cli.stdenv.hostPlatform.system)
    (equal [ "x86_64-linux" ] (
      map (
        package: package.stdenv.hostPlatform.system
      ) crossBuilt.flash-image-imx8mp-evk.nativeBuildInputs
    ))
  ];
  "only the training firmware and what holds it are unfree" =
    equal
      [
        "firmware-imx"
        "flash-image-imx8mp-evk"
      ]
      (
        lib.attrNames (
          lib.filterAttrs (
            _: package: lib.any (license: !(license.free or true)) (lib.toList (package.meta.license or [ ]))
          ) native
        )
      );
  "BL31 starts OP-TEE only if it is told to" = all [
    (equal false (lib.elem "SPD=opteed" native.arm-trusted-firmware-imx8mp.makeFlags))
    (equal true (
      lib.elem "SPD=opteed"
        (native.arm-trusted-firmware-imx8mp-nxp.override { withOptee = true; }).makeFlags
    ))
  ];
  # Any derivation will do for a patch.
  "patches of a configuration reach NXP's kernel" = equal [ native.firn.name ] (
    map (patch: patch.name)
      (native.linux-imx.override { kernelPatches = [ native.firn ]; }).kernelPatches
  );
}
