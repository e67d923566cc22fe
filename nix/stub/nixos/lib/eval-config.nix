# `nixosSystem` of the stub: options that NixOS declares and this repository's modules define or read, and nothing else.
{
  modules,
  system ? null,
  specialArgs ? { },
  lib ? import ../../lib,
  ...
}:

lib.evalModules {
  specialArgs = {
    modulesPath = toString ../modules;
  }
  // specialArgs;
  modules = [
    ../modules
    (lib.optionalAttrs (system != null) { nixpkgs.hostPlatform = lib.mkDefault system; })
  ]
  ++ modules;
}
