# `nix run .#write -- result/nixos.img /dev/sdX`: `firn write`, which refuses a mounted device and reads back what it wrote.
{ writeShellApplication, firn-cli }:

writeShellApplication {
  name = "firn-write";
  meta.description = "Write a card image or a flash.bin to a card";
  runtimeInputs = [ firn-cli ];
  text = ''
    exec firn write "$@"
  '';
}
