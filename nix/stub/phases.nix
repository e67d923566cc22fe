# What the packages' derivations run, for `cargo xtask nix --build`, which runs it without Nix: phases, and the paths that stand in them
# for other packages.
let
  pkgs = import ./. {
    system = builtins.currentSystem;
    config.allowUnfree = true;
  };
  packages = import ../packages { inherit pkgs; };

  # nixpkgs' hooks for cargo, in the words of a shell (pkgs/build-support/rust/hooks).
  cargoPhases =
    package:
    let
      target = package.stdenv.hostPlatform.rust.rustcTarget;
      features = pkgs.lib.optionalString package.buildNoDefaultFeatures "--no-default-features";
    in
    {
      buildPhase = ''
        cargo build -j "$NIX_BUILD_CORES" --target ${target} --offline --profile release ${features} \
          ${pkgs.lib.concatStringsSep " " package.cargoBuildFlags}
      '';
      installPhase = ''
        mkdir -p "$out/bin"
        cp target/${target}/release/${package.meta.mainProgram} "$out/bin"
      '';
    };

  phases =
    package:
    {
      output = package.outPath;
      unpackPhase = package.unpackPhase or "";
    }
    // (if package ? buildNoDefaultFeatures then cargoPhases package else { })
    // pkgs.lib.filterAttrs (name: _: name == "buildPhase" || name == "installPhase") package;
in
{
  packages = pkgs.lib.mapAttrs (_: phases) {
    inherit (packages)
      firn
      firn-spl
      firn-cli
      firmware-imx
      flash-image-imx8mp-evk
      arm-trusted-firmware-imx8mp
      ;
  };
  # What cargo's packages are built from.
  source = map toString (
    import ../source.nix {
      lib.fileset = {
        unions = files: files;
        toSource = { fileset, ... }: fileset;
      };
    }
  );
  firmwareRelease = packages.firmware-imx.version;
}
