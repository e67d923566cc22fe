# TF-A's BL31 for the i.MX 8M Plus, NXP's fork, release lf-6.12.20-2.0.0. Revision and digest as in nixos-hardware (nxp/imx8mp-evk/bsp).
{
  arm-trusted-firmware-imx8mp,
  fetchFromGitHub,

  withOptee ? false,
}:

(arm-trusted-firmware-imx8mp.override { inherit withOptee; }).overrideAttrs (_: {
  pname = "arm-trusted-firmware-imx8mp-nxp";
  version = "lf-6.12.20-2.0.0";

  src = fetchFromGitHub {
    owner = "nxp-imx";
    repo = "imx-atf";
    rev = "6ddd57019494cabfca5065368349109c37f2cc9f";
    hash = "sha256-8+5kV6wHhwMYVA9aqn4fNRhvgOLsU9RlX3UL7edMM+A=";
  };

  # nixpkgs' are for mainline, about a blob of another platform.
  patches = [ ];
  postPatch = "";
})
