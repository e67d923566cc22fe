# Firn's packages among those of nixpkgs.
final: _: import ./packages { pkgs = final; }
