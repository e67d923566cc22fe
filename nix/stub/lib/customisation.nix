# Functions that are called with packages, and can be overridden.
{ lib }:

rec {
  makeOverridable =
    f: arguments:
    let
      result = f arguments;
      override =
        new: makeOverridable f (arguments // (if builtins.isFunction new then new arguments else new));
    in
    if builtins.isAttrs result then
      result
      // {
        inherit override;
      }
    else
      result;

  callPackageWith =
    packages: function: arguments:
    let
      f = if builtins.isFunction function then function else import function;
      wanted = builtins.functionArgs f;
      given = builtins.intersectAttrs wanted packages // arguments;
      missing = builtins.filter (name: !wanted.${name} && !(given ? ${name})) (builtins.attrNames wanted);
    in
    if missing == [ ] then
      makeOverridable f given
    else
      throw "callPackage: there is no package ${lib.concatStringsSep ", " missing}, which ${
        if builtins.isFunction function then "a function" else toString function
      } wants";

  # A set of packages that see each other before those outside.
  makeScope =
    newScope: f:
    let
      scope = f scope // {
        newScope = extra: newScope (scope // extra);
        callPackage = scope.newScope { };
        overrideScope = overlay: makeScope newScope (lib.extends overlay f);
        packages = f;
      };
    in
    scope;
}
