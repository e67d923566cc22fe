# The `firn` command, of the build host and of the running board.
{
  lib,
  rustPlatform,

  # Whether what only a build host has a use for is in it: the emulated board, DRAM data.
  withHostTools ? true,
}:

rustPlatform.buildRustPackage {
  pname = "firn-cli";
  inherit ((lib.importTOML ../../Cargo.toml).workspace.package) version;

  src = import ../source.nix { inherit lib; };
  cargoLock.lockFile = ../../Cargo.lock;

  cargoBuildFlags = [
    "--package"
    "firn-cli"
  ];
  buildNoDefaultFeatures = !withHostTools;

  # `cargo xtask test` runs its tests: they want an emulator, a kernel and file-system tools.
  doCheck = false;

  meta = {
    description = "Boot images, cards, generations and firmware updates of Firn";
    license = lib.licenses.lgpl3Plus;
    mainProgram = "firn";
    platforms = lib.platforms.linux;
  };
}
