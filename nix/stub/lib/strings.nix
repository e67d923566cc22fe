# Texts.
{ lib }:

rec {
  inherit (builtins)
    concatStringsSep
    isString
    match
    replaceStrings
    stringLength
    substring
    toJSON
    ;
  concatStrings = concatStringsSep "";
  concatMapStrings = f: list: concatStrings (map f list);
  concatMapStringsSep =
    separator: f: list:
    concatStringsSep separator (map f list);
  concatMapAttrsStringSep =
    separator: f: set:
    concatStringsSep separator (lib.mapAttrsToList f set);
  concatLines = concatMapStrings (line: line + "\n");
  optionalString = condition: text: if condition then text else "";
  hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
  hasSuffix =
    suffix: text:
    let
      start = stringLength text - stringLength suffix;
    in
    start >= 0 && substring start (stringLength suffix) text == suffix;
  hasInfix =
    infix: text:
    builtins.length (builtins.split (escapeRegex infix) (builtins.unsafeDiscardStringContext text)) > 1;
  removePrefix =
    prefix: text:
    if hasPrefix prefix text then
      substring (stringLength prefix) (stringLength text - stringLength prefix) text
    else
      text;
  removeSuffix =
    suffix: text:
    if hasSuffix suffix text then substring 0 (stringLength text - stringLength suffix) text else text;
  splitString =
    separator: text:
    builtins.filter builtins.isString (builtins.split (escapeRegex separator) (toString text));
  stringToCharacters = text: builtins.genList (index: substring index 1 text) (stringLength text);
  escape = characters: replaceStrings characters (map (character: "\\" + character) characters);
  escapeRegex = escape (stringToCharacters "\\[{()^$?*+|.");
  escapeShellArg =
    value:
    let
      text = toString value;
    in
    if match "[[:alnum:],._+:@%/-]+" text != null then
      text
    else
      "'" + replaceStrings [ "'" ] [ "'\\''" ] text + "'";
  escapeShellArgs = concatMapStringsSep " " escapeShellArg;
  lowerChars = stringToCharacters "abcdefghijklmnopqrstuvwxyz";
  upperChars = stringToCharacters "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  toLower = replaceStrings upperChars lowerChars;
  toUpper = replaceStrings lowerChars upperChars;
  trim =
    text:
    let
      found = match "[ \t\r\n]*(.*[^ \t\r\n])[ \t\r\n]*" text;
    in
    if found == null then "" else builtins.head found;
  versionOlder = a: b: builtins.compareVersions b a == 1;
  versionAtLeast = a: b: !(versionOlder a b);
  getName =
    value:
    if isString value then
      (builtins.parseDrvName value).name
    else
      value.pname or (builtins.parseDrvName value.name).name;
  getVersion =
    value:
    if isString value then
      (builtins.parseDrvName value).version
    else
      value.version or (builtins.parseDrvName value.name).version;
  makeBinPath = concatMapStringsSep ":" (package: "${lib.getBin package}/bin");
  fileContents = path: removeSuffix "\n" (builtins.readFile path);
  toInt = text: builtins.fromJSON text;
  hasContext = builtins.hasContext;
  isStringLike =
    value: isString value || builtins.isPath value || value ? outPath || value ? __toString;
  isStorePath = value: isStringLike value && hasPrefix (builtins.storeDir + "/") (toString value);
}
