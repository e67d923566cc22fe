# `config.system.build.firnImage`: the image of a card that boots this system, made without rights or a virtual machine.
{
  imports = [
    ./card.nix
    ./first-boot.nix
    ./options.nix
  ];
}
