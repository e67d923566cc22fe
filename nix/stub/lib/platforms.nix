# Names of platforms.
rec {
  linux = [
    "aarch64-linux"
    "x86_64-linux"
  ];
  all = linux ++ [
    "aarch64-none"
    "aarch64-darwin"
  ];
  unix = linux ++ [ "aarch64-darwin" ];
}
