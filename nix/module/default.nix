# `boot.loader.firn`: NixOS on i.MX 8M boards, started by Firn. The options are in options.nix; each of the other files says what
# comes of them.
{
  imports = [
    ./assertions.nix
    ./bless.nix
    ./board.nix
    ./install.nix
    ./options.nix
    ./settings.nix
    ./source.nix
    ./watchdog.nix
  ];
}
