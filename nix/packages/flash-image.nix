# flash.bin: everything that the boot ROM loads, in one file.
{
  lib,
  stdenvNoCC,

  # As `firn image build --board` names it.
  board,
  # The command of the build host.
  firn-cli,
  firn,
  firn-spl,
  # NXP's training firmware for the DRAM.
  ddrFirmware,
  # TF-A, for its BL31.
  armTrustedFirmware,
  # OP-TEE, for a BL31 that starts it.
  optee ? null,
}:

stdenvNoCC.mkDerivation {
  pname = "flash-image-${board}";
  inherit (firn) version;

  nativeBuildInputs = [ firn-cli ];

  dontUnpack = true;

  buildPhase = ''
    runHook preBuild
    firn image build --board ${board} \
      --spl ${firn-spl}/firn-spl.bin \
      --ddr-firmware ${ddrFirmware} \
      --bl31 ${armTrustedFirmware}/bl31.bin \
      ${lib.optionalString (optee != null) "--tee ${optee}/tee-raw.bin"} \
      --loader ${firn}/firn.bin \
      --output flash.bin
    runHook postBuild
  '';

  installPhase = ''
    runHook preInstall
    install -D --mode=644 --target-directory="$out" flash.bin
    runHook postInstall
  '';

  dontFixup = true;

  meta = {
    description = "Boot image of Firn for the board ${board}";
    # Firn's own, and what NXP's training firmware in it allows.
    license = [
      lib.licenses.lgpl3Plus
      lib.licenses.bsd3
      lib.licenses.unfree
    ];
    platforms = lib.platforms.linux;
  };
}
