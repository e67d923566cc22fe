# TF-A's BL31 for the i.MX 8M Plus, mainline: bl31.bin, which runs at 0x970000 and logs to UART2, as the EVK's console.
{
  lib,
  buildArmTrustedFirmware,

  # Whether it starts OP-TEE, at 0x56000000.
  withOptee ? false,
}:

let
  platform = "imx8mp";
in
(buildArmTrustedFirmware {
  inherit platform;
  filesToInstall = [ "build/${platform}/release/bl31.bin" ];
}).overrideAttrs
  (old: {
    makeFlags = old.makeFlags ++ lib.optional withOptee "SPD=opteed";
    # The platform's default is the whole chain, of which Firn is the rest.
    buildFlags = [ "bl31" ];
    meta = old.meta // {
      platforms = [ "aarch64-linux" ];
    };
  })
