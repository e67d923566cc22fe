{
  description = "Firn, a bootloader for NixOS on NXP i.MX 8M boards: NixOS module, packages, card images";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs = inputs: import ./nix/outputs.nix inputs;
}
