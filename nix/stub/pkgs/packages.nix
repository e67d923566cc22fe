# The packages of nixpkgs that this repository names, and the functions that make some.
{
  lib,
  pkgs,
  build,
  host,
  config,
}:

let
  inherit (pkgs) stdenv;
  tool =
    name:
    stdenv.mkDerivation {
      pname = name;
      version = "0";
      meta.mainProgram = name;
    };
  text =
    {
      name,
      text,
      executable ? false,
      destination ? "",
      ...
    }:
    stdenv.mkDerivation {
      inherit name text;
      inherit executable destination;
      # For tests to read: the real function keeps it too.
      passthru = { inherit text; };
      meta.mainProgram = name;
    };
  fetch =
    {
      name ? "source",
      hash ? args.sha256,
      ...
    }@args:
    stdenv.mkDerivation (
      removeAttrs args [ "hash" ]
      // {
        inherit name;
        outputHashMode = "recursive";
        outputHash = hash;
      }
    );
in
lib.genAttrs [
  "bash"
  "bison"
  "cargo"
  "coreutils"
  "deadnix"
  "dosfstools"
  "dtc"
  "e2fsprogs"
  "fakeroot"
  "flex"
  "gnused"
  "gnutls"
  "gzip"
  "jq"
  "libfaketime"
  "lz4"
  "lzop"
  "mmc-utils"
  "mtools"
  "nix"
  "nixfmt"
  "nixfmt-rfc-style"
  "nixfmt-tree"
  "nixpkgs-fmt"
  "openssl"
  "python3"
  "qemu"
  "rustc"
  "rustfmt"
  "clippy"
  "rustup"
  "statix"
  "systemd"
  "util-linux"
  "xz"
  "zstd"
  "perl"
  "swig"
  "which"
  "lld"
  "llvm"
] tool
// {
  runtimeShell = "/bin/sh";
  runCommand =
    name: environment: command:
    stdenv.mkDerivation ({ buildCommand = command; } // environment // { inherit name; });
  runCommandLocal = pkgs.runCommand;
  writeTextFile = text;
  writeText =
    name: content:
    text {
      inherit name;
      text = content;
    };
  writeScript =
    name: content:
    text {
      inherit name;
      text = content;
      executable = true;
    };
  writeShellScript =
    name: content:
    text {
      inherit name;
      text = "#!${pkgs.runtimeShell}\n${content}\n";
      executable = true;
    };
  writeShellScriptBin =
    name: content:
    text {
      inherit name;
      text = "#!${pkgs.runtimeShell}\n${content}\n";
      executable = true;
      destination = "/bin/${name}";
    };
  writeShellApplication =
    {
      name,
      text,
      runtimeInputs ? [ ],
      ...
    }@args:
    stdenv.mkDerivation {
      inherit name runtimeInputs;
      inherit text;
      passthru = { inherit text; };
      meta = {
        mainProgram = name;
      }
      // args.meta or { };
    };
  symlinkJoin = { name, paths, ... }@args: stdenv.mkDerivation args;
  linkFarm =
    name: entries:
    stdenv.mkDerivation {
      inherit name;
      entries = builtins.toJSON entries;
    };
  closureInfo =
    { rootPaths }:
    stdenv.mkDerivation {
      name = "closure-info";
      # A set, which the environment of this derivation cannot hold.
      passthru.exportReferencesGraph.closure = rootPaths;
      inherit rootPaths;
    };
  fetchurl =
    {
      url ? null,
      urls ? [ url ],
      ...
    }@args:
    fetch ({ name = baseNameOf (lib.head urls); } // args);
  fetchzip = fetch;
  fetchgit = fetch;
  fetchFromGitHub = fetch;
  fetchpatch = fetch;
  mkShell = args: stdenv.mkDerivation ({ name = "nix-shell"; } // args);
  mkShellNoCC = pkgs.mkShell;
  rustPlatform = {
    buildRustPackage = args: stdenv.mkDerivation args;
    importCargoLock = _: stdenv.mkDerivation { name = "cargo-vendor-dir"; };
    fetchCargoVendor = _: stdenv.mkDerivation { name = "cargo-vendor-dir"; };
    cargoSetupHook = tool "cargo-setup-hook";
    rustLibSrc = tool "rust-lib-src";
  };
  makeRustPlatform = _: pkgs.rustPlatform;
  buildArmTrustedFirmware = lib.makeOverridable (
    {
      filesToInstall,
      platform ? null,
      extraMeta ? { },
      ...
    }@args:
    stdenv.mkDerivation (
      {
        pname = "arm-trusted-firmware${lib.optionalString (platform != null) "-${platform}"}";
        version = "2.13";
        makeFlags = [ "PLAT=${toString platform}" ];
      }
      // removeAttrs args [ "extraMeta" ]
      // {
        meta = {
          license = lib.licenses.bsd3;
        }
        // extraMeta;
      }
    )
  );
  armTrustedFirmwareTools = tool "arm-trusted-firmware-tools";
  buildOptee = lib.makeOverridable (
    args:
    stdenv.mkDerivation (
      {
        pname = "optee-os";
        version = "4.0";
      }
      // removeAttrs args [ "extraMeta" ]
    )
  );
  buildLinux = lib.makeOverridable (
    args: stdenv.mkDerivation ({ pname = "linux"; } // removeAttrs args [ "extraMeta" ])
  );
  kernelPatches = lib.genAttrs [ "bridge_stp_helper" "request_key_helper" ] (name: {
    inherit name;
    patch = tool name;
  });
  linuxKernel.manualConfig = pkgs.buildLinux;
  linuxPackagesFor = kernel: { inherit kernel; };
  linux = stdenv.mkDerivation {
    pname = "linux";
    version = "6.12.107";
    passthru.modDirVersion = "6.12.107";
  };
  linux_latest = pkgs.linux;
  linuxPackages = pkgs.linuxPackagesFor pkgs.linux;
  linuxPackages_latest = pkgs.linuxPackages;
  makeInitrd = args: stdenv.mkDerivation ({ name = "initrd"; } // args);
  nixosOptionsDoc = throw "nixosOptionsDoc is not part of the stub";
}
