# `nix run .#emulate -- result/nixos.img`: boots exactly that file in the emulated board; what the board writes to it is dropped.
{
  writeShellApplication,
  firn-cli,
  qemu,
}:

writeShellApplication {
  name = "firn-emulate";
  meta.description = "Boot a card image in the emulated EVK";
  runtimeInputs = [
    firn-cli
    qemu # 10.0 or later, for the machine imx8mp-evk
  ];
  text = ''
    case "''${1-}" in
      "")
        echo "usage: nix run .#emulate -- CARD.img [option of firn emulate]..." >&2
        exit 2
        ;;
      -*) exec firn emulate "$@" ;;
      *)
        card=$1
        shift
        exec firn emulate --card "$card" "$@"
        ;;
    esac
  '';
}
