# What packages say of themselves.
{ lib }:

{
  getExe = package: "${lib.getBin package}/bin/${package.meta.mainProgram or (lib.getName package)}";
  getExe' = package: name: "${lib.getBin package}/bin/${name}";
  licensesOf = package: lib.toList (package.meta.license or [ ]);
  setPrio =
    priority: package:
    package
    // {
      meta = package.meta or { } // {
        inherit priority;
      };
    };
  lowPrio = package: package;
  sourceTypes = {
    binaryFirmware.isSource = false;
    fromSource.isSource = true;
  };
}
