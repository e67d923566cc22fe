{
  description = "NixOS on an NXP i.MX 8M Plus EVK, started by Firn";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    firn.url = "github:OWNER/firn"; # where you have it from
    firn.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    { nixpkgs, firn, ... }:
    let
      host =
        platform:
        nixpkgs.lib.nixosSystem {
          modules = [
            firn.nixosModules.default
            ./configuration.nix
            { nixpkgs = platform; }
          ];
        };
    in
    {
      nixosConfigurations = {
        board = host { hostPlatform = "aarch64-linux"; };
        # The same system, built on a PC without emulation.
        "x64:board" = host {
          hostPlatform = "aarch64-linux";
          buildPlatform = "x86_64-linux";
        };
      };
    };
}
