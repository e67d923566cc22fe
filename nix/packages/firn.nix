# The second stage, firn.bin.
{ callPackage }:

callPackage ./firmware.nix {
  pname = "firn";
  binary = "firn-loader";
  description = "Second-stage bootloader for NixOS on NXP i.MX 8M boards";
}
