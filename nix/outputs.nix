# The flake's outputs: names, and the files that they come from.
{ self, nixpkgs }:

let
  inherit (nixpkgs) lib;

  hosts = [
    "x86_64-linux"
    "aarch64-linux"
  ];
  # flash.bin holds NXP's training firmware: to name it here is to ask for it. Nothing else unfree is let in.
  pkgsFor =
    system:
    import nixpkgs {
      inherit system;
      config.allowUnfreePredicate =
        package:
        lib.elem (lib.getName package) [
          "firmware-imx"
          "flash-image-imx8mp-evk"
        ];
    };
  perHost = output: lib.genAttrs hosts (system: output (pkgsFor system));

  # The host that the template has, built on the board's own kind of machine or cross-built on another one.
  example =
    platform:
    lib.nixosSystem {
      modules = [
        self.nixosModules.default
        ./templates/host/configuration.nix
        { nixpkgs = platform; }
      ];
    };
in
{
  overlays.default = import ./overlay.nix;

  nixosModules = {
    default = self.nixosModules.firn;
    # By its path, so that it counts once where both names are imported.
    firn.imports = [ ./nixos.nix ];
    # Beside nixpkgs' own modules of these names.
    sd-image.imports = [ ./image/sd-image.nix ];
    repart.imports = [ ./image/repart.nix ];
  };

  lib.diskoLayout = import ./image/disko.nix;

  nixosConfigurations = {
    imx8mp-evk = example { hostPlatform = "aarch64-linux"; };
    "x64:imx8mp-evk" = example {
      hostPlatform = "aarch64-linux";
      buildPlatform = "x86_64-linux";
    };
  };

  templates.default = {
    path = ./templates/host;
    description = "A host with Firn: NixOS on an i.MX 8M Plus EVK";
  };

  packages = perHost (
    pkgs:
    let
      packages = import ./packages { inherit pkgs; };
    in
    packages // { default = packages.firn-cli; }
  );

  apps = perHost (pkgs: import ./apps { inherit pkgs; });

  devShells = perHost (pkgs: {
    default = import ./shell.nix { inherit pkgs; };
  });

  checks = perHost (
    pkgs:
    import ./checks.nix {
      inherit pkgs nixpkgs;
      packages = self.packages.${pkgs.stdenv.hostPlatform.system};
    }
  );

  formatter = perHost (pkgs: pkgs.nixfmt-tree);
}
