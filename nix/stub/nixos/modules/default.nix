# NixOS's options, as far as they are used here. These files take any library: they are evaluated with nixpkgs' real one as well.
{
  imports = [
    ./assertions.nix
    ./boot.nix
    ./bootspec.nix
    ./device-tree.nix
    ./environment.nix
    ./file-systems.nix
    ./host.nix
    ./loaders.nix
    ./nix.nix
    ./nixpkgs.nix
    ./system.nix
    ./systemd.nix
  ];
}
