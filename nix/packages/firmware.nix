# One stage of the firmware: its flat binary, and the ELF file with its symbols. `cargo xtask build` makes the same files.
{
  lib,
  stdenv,
  rustPlatform,
  cargo,
  rustc,
  lld,
  buildPackages,

  # The stage as a package.
  pname,
  # As cargo names it.
  binary,
  description,
}:

let
  manifest = lib.importTOML ../../Cargo.toml;
  target = stdenv.hostPlatform.rust.rustcTarget;
in
stdenv.mkDerivation {
  inherit pname;
  inherit (manifest.workspace.package) version;

  src = import ../source.nix { inherit lib; };
  cargoDeps = rustPlatform.importCargoLock { lockFile = ../../Cargo.lock; };

  strictDeps = true;
  # Cargo compiles build scripts, which run here.
  depsBuildBuild = [ buildPackages.stdenv.cc ];
  nativeBuildInputs = [
    rustPlatform.cargoSetupHook
    cargo
    rustc
    lld
  ];

  # The compiler's own choice of a linker; nixpkgs' would be the C compiler. Paths of the build stay out of the binary.
  buildPhase = ''
    runHook preBuild
    cargo build --offline --locked --jobs "$NIX_BUILD_CORES" \
      --package firn --bin ${binary} --features firmware --release --target ${target} \
      --config 'target.${target}.linker="ld.lld"' \
      --config "target.${target}.rustflags=[\"--remap-path-prefix=$PWD/=\", \"--remap-path-prefix=$NIX_BUILD_TOP/cargo-vendor-dir/=\"]"
    runHook postBuild
  '';

  installPhase = ''
    runHook preInstall
    mkdir -p "$out"
    cp target/${target}/release/${binary} "$out/${pname}.elf"
    "$OBJCOPY" --output-target=binary "$out/${pname}.elf" "$out/${pname}.bin"
    runHook postInstall
  '';

  # The flat binary is what it is, and the ELF file is there for its symbols.
  dontFixup = true;

  meta = {
    inherit description;
    license = lib.licenses.lgpl3Plus;
    platforms = [ "aarch64-none" ];
  };
}
