{
  description = "Stands in for nixpkgs where there is no network: nix flake check --override-input nixpkgs path:nix/stub";

  outputs =
    { self }:
    let
      lib = import ./lib // {
        nixosSystem = import ./nixos/lib/eval-config.nix;
      };
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs lib.platforms.linux (system: import ./. { inherit system; });
    };
}
