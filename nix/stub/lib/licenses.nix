# Licences that packages here have.
{
  lgpl3Plus = {
    spdxId = "LGPL-3.0-or-later";
    free = true;
  };
  bsd3 = {
    spdxId = "BSD-3-Clause";
    free = true;
  };
  bsd2 = {
    spdxId = "BSD-2-Clause";
    free = true;
  };
  gpl2Only = {
    spdxId = "GPL-2.0-only";
    free = true;
  };
  mit = {
    spdxId = "MIT";
    free = true;
  };
  unfree = {
    shortName = "unfree";
    free = false;
  };
  unfreeRedistributable = {
    shortName = "unfreeRedistributable";
    free = false;
  };
  unfreeRedistributableFirmware = {
    shortName = "unfreeRedistributableFirmware";
    free = false;
  };
}
