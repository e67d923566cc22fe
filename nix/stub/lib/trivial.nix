# What is neither about lists nor sets nor texts.
{ lib }:

rec {
  inherit (builtins)
    bitAnd
    functionArgs
    fromJSON
    isBool
    isFunction
    isInt
    isPath
    pathExists
    readFile
    seq
    deepSeq
    ;
  id = value: value;
  const = value: _: value;
  flip =
    f: a: b:
    f b a;
  pipe = builtins.foldl' (value: f: f value);
  min = a: b: if a < b then a else b;
  max = a: b: if a > b then a else b;
  mod = a: b: a - b * (a / b);
  boolToString = value: if value then "true" else "false";
  importJSON = path: builtins.fromJSON (builtins.readFile path);
  importTOML = path: builtins.fromTOML (builtins.readFile path);
  warn = message: builtins.trace "warning: ${message}";
  warnIf = condition: message: if condition then warn message else id;
  throwIf = condition: message: if condition then throw message else id;
  throwIfNot = condition: throwIf (!condition);
  assertMsg = condition: message: condition || throw message;
  isAttrsOrFunction = value: builtins.isAttrs value || isFunction value;
  toFunction = value: if isFunction value then value else _: value;
  fix =
    f:
    let
      value = f value;
    in
    value;
  extends =
    overlay: f: final:
    let
      prev = f final;
    in
    prev // overlay final prev;
  composeExtensions =
    first: second: final: prev:
    let
      once = first final prev;
    in
    once // second final (prev // once);
  composeManyExtensions = builtins.foldl' composeExtensions (_: _: { });
  cleanSource = source: source;
  cleanSourceWith = { src, ... }: src;
  sourceByRegex = source: _: source;
  release = "stub";
  version = "stub";
}
