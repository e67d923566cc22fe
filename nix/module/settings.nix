# What travels with a generation: `org.firn.v1` of its boot.json, which the loader reads (docs/generations.md). A key that is absent
# leaves the matter to the loader, so that no key is null but those for which null says something.
{ config, lib, ... }:

let
  cfg = config.boot.loader.firn;
  deviceTree = config.hardware.deviceTree;
in
{
  config = lib.mkIf cfg.enable {
    boot.bootspec.enable = true;
    boot.bootspec.extensions."org.firn.v1" = {
      inherit (config.boot.loader) timeout;
      inherit (cfg) configurationLimit editor ethernetAddresses;
      bootTries = if cfg.bootCounting.enable then cfg.bootCounting.tries else 0;
      deviceTreeOverlays = map (overlay: "${overlay}") cfg.deviceTree.overlays;
    }
    // lib.optionalAttrs (cfg.passwordHash != null) { inherit (cfg) passwordHash; }
    // lib.optionalAttrs (deviceTree.enable && deviceTree.name != null) {
      deviceTree = "${deviceTree.package}/${deviceTree.name}";
    };
  };
}
