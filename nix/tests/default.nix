# Tests of the module: { NAME = null | "what was expected and what was found"; }, null for one that passed. They run on the stub,
# on a library of nixpkgs alone (a directory with lib/), and on a whole nixpkgs:
#
#     nix-instantiate --eval --strict --json nix/tests [--arg nixpkgs /path/to/nixpkgs]
{
  nixpkgs ? ../stub,
}:

let
  tools = import ./tools.nix { inherit nixpkgs; };
  groups = {
    assertions = import ./assertions.nix tools;
    docs = import ./docs.nix tools;
    everything = import ./everything.nix tools;
    flake = import ./flake.nix tools;
    image = import ./image.nix tools;
    install = import ./install.nix tools;
    options = import ./options.nix tools;
    packages = import ./packages.nix tools;
    settings = import ./settings.nix tools;
    source = import ./source.nix tools;
    system = import ./system.nix tools;
    units = import ./units.nix tools;
  };
  named =
    group: tests:
    builtins.listToAttrs (
      map (name: {
        name = "${group}: ${name}";
        value = tests.${name};
      }) (builtins.attrNames tests)
    );
in
builtins.foldl' (all: group: all // named group groups.${group}) { } (builtins.attrNames groups)
