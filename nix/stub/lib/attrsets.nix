# Attribute sets.
{ lib }:

rec {
  inherit (builtins)
    attrNames
    attrValues
    catAttrs
    getAttr
    hasAttr
    isAttrs
    listToAttrs
    mapAttrs
    removeAttrs
    intersectAttrs
    ;
  nameValuePair = name: value: { inherit name value; };
  genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
  mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
  mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
  attrsToList = mapAttrsToList nameValuePair;
  filterAttrs =
    predicate: set:
    listToAttrs (
      map (name: nameValuePair name set.${name}) (
        builtins.filter (name: predicate name set.${name}) (attrNames set)
      )
    );
  concatMapAttrs = f: set: builtins.foldl' (all: one: all // one) { } (mapAttrsToList f set);
  mergeAttrsList = builtins.foldl' (all: one: all // one) { };
  optionalAttrs = condition: set: if condition then set else { };
  isDerivation = value: (value.type or null) == "derivation";
  attrByPath =
    path: default: set:
    if path == [ ] then
      set
    else if isAttrs set && set ? ${builtins.head path} then
      attrByPath (builtins.tail path) default set.${builtins.head path}
    else
      default;
  hasAttrByPath =
    path: set:
    path == [ ]
    || (set ? ${builtins.head path} && hasAttrByPath (builtins.tail path) set.${builtins.head path});
  getAttrFromPath =
    path: set: attrByPath path (throw "there is no attribute ${lib.concatStringsSep "." path}") set;
  setAttrByPath =
    path: value:
    if path == [ ] then
      value
    else
      { ${builtins.head path} = setAttrByPath (builtins.tail path) value; };
  recursiveUpdate =
    old: new:
    old
    // mapAttrs (
      name: value:
      if isAttrs value && isAttrs (old.${name} or null) then recursiveUpdate old.${name} value else value
    ) new;
  foldlAttrs =
    f: start: set:
    builtins.foldl' (so_far: name: f so_far name set.${name}) start (attrNames set);
  # Values below sets for which `descend` holds, by their paths.
  mapAttrsRecursiveCond =
    descend: f: set:
    let
      go =
        path:
        mapAttrs (
          name: value:
          if isAttrs value && descend value then go (path ++ [ name ]) value else f (path ++ [ name ]) value
        );
    in
    go [ ] set;
  # All names' values, by name.
  zipAttrsWith =
    f: sets:
    listToAttrs (
      map (name: nameValuePair name (f name (catAttrs name sets))) (
        attrNames (builtins.foldl' (all: one: all // one) { } sets)
      )
    );
  getOutput = output: package: package.${output} or package.out or package;
  getBin = getOutput "bin";
  getLib = getOutput "lib";
  getDev = getOutput "dev";
  recurseIntoAttrs = set: set // { recurseForDerivations = true; };
}
