# The first stage, firn-spl.bin.
{ callPackage }:

callPackage ./firmware.nix {
  pname = "firn-spl";
  binary = "firn-spl";
  description = "First stage of Firn: clocks, power, memory training, loading";
}
