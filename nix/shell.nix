# What `cargo test`, `cargo xtask build` and the host side of `cargo xtask setup` look for, for those who develop on NixOS:
#
#     nix develop, or nix-shell nix/shell.nix
#
# The kernel, BL31 and busybox of the emulated boots come from Debian's archive, so `cargo xtask demo` and `cargo xtask test`
# need a Debian container for now.
{
  pkgs ? import <nixpkgs> { },
}:

pkgs.mkShell {
  packages = with pkgs; [
    deadnix
    nixfmt
    rustup # the bare-metal target is added by `cargo xtask setup`
    qemu # 10.0 or later, for the machine imx8mp-evk
    dtc
    gzip
    dosfstools
    e2fsprogs
    lz4
    lzop
    mtools
    util-linux # sfdisk
    xz
    zstd
  ];
}
