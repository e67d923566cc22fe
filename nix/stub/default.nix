# `import <nixpkgs> { … }` of the stub: packages whose derivations can be evaluated and have the names and dependencies that this
# repository gives them, but build nothing.
import ./pkgs
