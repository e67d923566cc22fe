# systemd, of the system and of its initrd: units and the manager's settings, and the text of unit files.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;

  names = mkOption {
    type = types.listOf types.str;
    default = [ ];
  };
  section = mkOption {
    type = types.attrsOf types.anything;
    default = { };
  };

  common = {
    description = mkOption {
      type = types.singleLineStr;
      default = "";
    };
    enable = mkOption {
      type = types.bool;
      default = true;
    };
    documentation = names;
    wantedBy = names;
    requiredBy = names;
    requires = names;
    wants = names;
    after = names;
    before = names;
    conflicts = names;
    unitConfig = section;
  };
  service.options = common // {
    serviceConfig = section;
    environment = section;
    path = mkOption {
      type = types.listOf types.package;
      default = [ ];
    };
    script = mkOption {
      type = types.lines;
      default = "";
    };
    restartIfChanged = mkOption {
      type = types.bool;
      default = true;
    };
    stopIfChanged = mkOption {
      type = types.bool;
      default = true;
    };
  };
  timer.options = common // {
    timerConfig = section;
  };
  target.options = common;

  unitsOf =
    options:
    mkOption {
      type = types.attrsOf (types.submodule options);
      default = { };
    };

  value = value: if builtins.isBool value then lib.boolToString value else toString value;
  lines =
    name: set:
    if set == { } then
      [ ]
    else
      [ "[${name}]" ]
      ++ lib.concatLists (
        lib.mapAttrsToList (key: values: map (one: "${key}=${value one}") (lib.toList values)) set
      );
  relations =
    unit:
    lib.filterAttrs (_: found: found != "" && found != [ ]) {
      Description = unit.description;
      Documentation = toString unit.documentation;
      Requires = toString unit.requires;
      Wants = toString unit.wants;
      After = toString unit.after;
      Before = toString unit.before;
      Conflicts = toString unit.conflicts;
    }
    // unit.unitConfig;
  render = unit: own: {
    inherit (unit) wantedBy requiredBy;
    text = lib.concatMapStrings (line: line + "\n") (
      lines "Unit" (relations unit)
      ++ own
      ++ lines "Install" (
        lib.filterAttrs (_: found: found != "") {
          WantedBy = toString unit.wantedBy;
          RequiredBy = toString unit.requiredBy;
        }
      )
    );
  };
  renderAll =
    cfg:
    lib.mapAttrs' (
      name: unit:
      lib.nameValuePair "${name}.service" (
        render unit (
          lines "Service" (
            unit.serviceConfig // lib.optionalAttrs (!unit.restartIfChanged) { X-RestartIfChanged = false; }
          )
        )
      )
    ) cfg.services
    // lib.mapAttrs' (
      name: unit: lib.nameValuePair "${name}.timer" (render unit (lines "Timer" unit.timerConfig))
    ) cfg.timers
    // lib.mapAttrs' (name: unit: lib.nameValuePair "${name}.target" (render unit [ ])) cfg.targets;

  manager = mkOption {
    default = { };
    type = types.submodule { freeformType = types.attrsOf types.anything; };
  };
  units = mkOption {
    type = types.attrsOf types.attrs;
    default = { };
  };
in
{
  options.systemd = {
    package = mkOption {
      type = types.package;
      default = pkgs.systemd;
    };
    services = unitsOf service;
    timers = unitsOf timer;
    targets = unitsOf target;
    inherit units;
    settings.Manager = manager;
  };
  options.boot.initrd.systemd = {
    enable = mkOption {
      type = types.bool;
      default = true;
    };
    services = unitsOf service;
    timers = unitsOf timer;
    targets = unitsOf target;
    inherit units;
    settings.Manager = manager;
    storePaths = mkOption {
      type = types.listOf types.anything;
      default = [ ];
    };
  };
  config = {
    systemd.units = renderAll config.systemd;
    boot.initrd.systemd.units = renderAll config.boot.initrd.systemd;
  };
}
