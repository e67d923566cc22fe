# Declarations of options.
{ lib }:

rec {
  mkOption = declaration: declaration // { _type = "option"; };
  isOption = value: (value._type or null) == "option";
  mkEnableOption =
    name:
    mkOption {
      type = lib.types.bool;
      default = false;
      example = true;
      description = "Whether to enable ${name}.";
    };
  mkPackageOption =
    pkgs: name: extra:
    mkOption {
      type = lib.types.package;
      default = pkgs.${name};
      defaultText = literalExpression "pkgs.${name}";
      description = "The ${name} package to use.";
    }
    // builtins.removeAttrs extra [ "extraDescription" ];
  literalExpression = text: {
    _type = "literalExpression";
    inherit text;
  };
  literalMD = text: {
    _type = "literalMD";
    inherit text;
  };
  mkOptionType = lib.types.mkOptionType;
  mergeEqualOption = lib.types.mergeEqual;
  showOption = lib.concatStringsSep ".";
}
