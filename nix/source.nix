# What cargo builds from, and nothing else: a change of documents or Nix files builds nothing anew.
{ lib }:

lib.fileset.toSource {
  root = ../.;
  fileset = lib.fileset.unions [
    ../.cargo
    ../Cargo.lock
    ../Cargo.toml
    ../board
    ../build.rs
    ../linker
    ../src
    ../tests/guest
    ../tools
  ];
}
