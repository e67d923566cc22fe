# What a platform's name says.
{ lib }:

platform:
let
  given = if builtins.isAttrs platform then platform else { system = platform; };
  system = given.system or (aliases.${given.config} or given.config);
  aliases = {
    aarch64-unknown-linux-gnu = "aarch64-linux";
    x86_64-unknown-linux-gnu = "x86_64-linux";
    aarch64-none-elf = "aarch64-none";
    aarch64-unknown-none = "aarch64-none";
  };
  name = aliases.${system} or system;
  parts = lib.splitString "-" name;
  cpu = builtins.head parts;
  kernel = lib.last parts;
in
{
  system = name;
  config = if kernel == "none" then "${cpu}-none-elf" else "${cpu}-unknown-linux-gnu";
  isAarch64 = cpu == "aarch64";
  isx86_64 = cpu == "x86_64";
  isLinux = kernel == "linux";
  isNone = kernel == "none";
  isStatic = false;
  linuxArch = if cpu == "aarch64" then "arm64" else cpu;
  linux-kernel = {
    DTB = cpu == "aarch64";
    target = "Image";
    baseConfig = "defconfig";
  };
  parsed = {
    cpu.name = cpu;
    kernel.name = kernel;
  };
  rust = rec {
    rustcTarget = if kernel == "none" then "${cpu}-unknown-none" else "${cpu}-unknown-linux-gnu";
    rustcTargetSpec = rustcTarget;
    cargoShortTarget = rustcTarget;
    cargoEnvVarTarget = lib.toUpper (builtins.replaceStrings [ "-" ] [ "_" ] rustcTarget);
  };
  emulatorAvailable = _: true;
  emulator = _: "qemu";
  canExecute = other: other.system or null == name;
}
