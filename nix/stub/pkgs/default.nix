# A set of packages as `import <nixpkgs>` makes it: for one system, or built on one for another, with overlays.
{
  localSystem ? {
    system = args.system or builtins.currentSystem;
  },
  crossSystem ? null,
  overlays ? [ ],
  config ? { },
  ...
}@args:

let
  lib = import ../lib;
  elaborate = import ./platform.nix { inherit lib; };
  build = elaborate localSystem;
  host = if crossSystem == null then build else elaborate crossSystem;

  # Packages that run on `build` and make things for `target`.
  packagesFor =
    build: host:
    lib.fix (
      lib.extends (lib.composeManyExtensions overlays) (
        pkgs:
        import ./packages.nix {
          inherit
            lib
            pkgs
            build
            host
            config
            ;
        }
        // {
          inherit lib overlays config;
          stdenv = import ./stdenv.nix {
            inherit
              lib
              build
              host
              config
              ;
          };
          stdenvNoCC = pkgs.stdenv;
          buildPackages = if build == host then pkgs else packagesFor build build;
          pkgsBuildBuild = pkgs.buildPackages;
          pkgsCross = lib.mapAttrs (_: target: packagesFor build (elaborate target)) {
            aarch64-embedded = "aarch64-none-elf";
            aarch64-multiplatform = "aarch64-linux";
          };
          callPackage = pkgs.newScope { };
          newScope = extra: lib.callPackageWith (pkgs // pkgs.xorg or { } // extra);
          extend = overlay: import ./. (args // { overlays = overlays ++ [ overlay ]; });
          appendOverlays = more: import ./. (args // { overlays = overlays ++ more; });
        }
      )
    );
in
packagesFor build host
