# The boards, by the names that `boot.loader.firn.board` and `firn image build --board` take. `lacks` is what stands between a board and
# its support; an empty list means that it is supported.
{
  imx8mp-evk = {
    description = "NXP i.MX 8M Plus EVK";
    soc = "imx8mp";
    deviceTree = "freescale/imx8mp-evk.dtb";
    console = "ttymxc1,115200";
    initrdModules = [
      "sdhci_esdhc_imx"
      "mmc_block"
    ];
    armTrustedFirmware = "arm-trusted-firmware-imx8mp";
    optee = "optee-os-imx8mp";
    lacks = [ ];
  };

  imx8mm-evk = {
    description = "NXP i.MX 8M Mini EVK";
    soc = "imx8mm";
    deviceTree = "freescale/imx8mm-evk.dtb";
    console = "ttymxc1,115200";
    lacks = [
      "board data below board/: memory map, pads, PMIC (BD71847 or PCA9450A) table, boot devices"
      "LPDDR4 timing: NXP's DDR tool output through `firn ddr import`"
      "the SoC's clock roots and fuse map where they differ from the i.MX 8M Plus"
      "a boot ROM whose services are the older HAB ones, so that the first stage must load by itself"
      "TF-A for imx8mm, which loads at 0x920000"
    ];
  };

  imx8mn-evk = {
    description = "NXP i.MX 8M Nano EVK";
    soc = "imx8mn";
    deviceTree = "freescale/imx8mn-evk.dtb";
    console = "ttymxc1,115200";
    lacks = [
      "board data below board/: memory map, pads, PMIC (PCA9450B) table, boot devices"
      "LPDDR4 timing: NXP's DDR tool output through `firn ddr import`"
      "the SoC's clock roots and fuse map where they differ from the i.MX 8M Plus"
      "TF-A for imx8mn, which loads at 0x960000"
    ];
  };

  imx8mq-evk = {
    description = "NXP i.MX 8M Quad EVK";
    soc = "imx8mq";
    deviceTree = "freescale/imx8mq-evk.dtb";
    console = "ttymxc0,115200";
    lacks = [
      "board data below board/: memory map, pads, PMIC (PF4210) table, boot devices"
      "LPDDR4 timing: NXP's DDR tool output through `firn ddr import`"
      "the SoC's clock controller, PLLs and fuse map, which are of an older generation"
      "a boot ROM whose services are the older HAB ones, so that the first stage must load by itself"
      "TF-A for imx8mq, which loads at 0x910000"
    ];
  };
}
