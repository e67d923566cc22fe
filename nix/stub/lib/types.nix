# Types of options: what a value must be, and how several definitions become one.
{ lib }:

let
  inherit (builtins)
    all

    elem
    head
    isAttrs
    isBool
    isFunction
    isInt
    isList
    isPath
    isString
    length
    match
    ;

  isStringLike = value: isString value || isPath value || value ? outPath;

  # Only one definition counts, or several that say the same.
  equal =
    loc: definitions:
    # One is not compared with itself: what it is need not be known.
    if
      length definitions == 1
      || all (definition: definition.value == (head definitions).value) definitions
    then
      (head definitions).value
    else
      throw "The option `${lib.showOption loc}' has conflicting definition values:${showFiles definitions}";

  unique =
    loc: definitions:
    if length definitions == 1 then
      (head definitions).value
    else
      throw "The option `${lib.showOption loc}' is defined multiple times while it's expected to be unique:${showFiles definitions}";

  showFiles = lib.concatMapStrings (definition: "\n- in ${toString definition.file}");

  # What `element` makes of one definition's element at `loc`.
  mergeElement =
    element: loc: definitions:
    lib.modules.mergeDefinitions loc element definitions;

  attrsOfWith =
    defined: type:
    types.mkOptionType {
      name = "attrsOf";
      description = "attribute set of ${type.description}";
      check = isAttrs;
      merge =
        loc: definitions:
        builtins.mapAttrs (_: found: found.value) (
          defined (
            lib.zipAttrsWith (name: mergeElement type (loc ++ [ name ])) (
              map (
                definition:
                builtins.mapAttrs (_: value: {
                  inherit (definition) file;
                  inherit value;
                }) definition.value
              ) definitions
            )
          )
        );
      emptyValue.value = { };
    };

  types = {
    mergeEqual = equal;
    mkOptionType =
      {
        name,
        description ? name,
        check ? (_: true),
        merge ? equal,
        ...
      }@type:
      type
      // {
        _type = "option-type";
        inherit
          name
          description
          check
          merge
          ;
      };

    raw = types.mkOptionType {
      name = "raw";
      description = "raw value";
      merge = unique;
    };
    anything = types.mkOptionType {
      name = "anything";
      merge =
        loc: definitions:
        if all (definition: isAttrs definition.value && !lib.isDerivation definition.value) definitions then
          (types.attrsOf types.anything).merge loc definitions
        else
          equal loc definitions;
    };
    unspecified = types.mkOptionType {
      name = "unspecified";
      description = "unspecified value";
      merge =
        loc: definitions:
        if length definitions == 1 then (head definitions).value else types.anything.merge loc definitions;
    };
    attrs = types.mkOptionType {
      name = "attrs";
      description = "attribute set";
      check = isAttrs;
      merge = _: builtins.foldl' (all: definition: all // definition.value) { };
    };
    bool = types.mkOptionType {
      name = "bool";
      description = "boolean";
      check = isBool;
    };
    int = types.mkOptionType {
      name = "int";
      description = "signed integer";
      check = isInt;
    };
    ints = {
      unsigned = types.addCheck types.int (value: value >= 0) // {
        description = "unsigned integer, meaning >=0";
      };
      positive = types.addCheck types.int (value: value > 0) // {
        description = "positive integer, meaning >0";
      };
      between =
        lowest: highest:
        types.addCheck types.int (value: value >= lowest && value <= highest)
        // {
          description = "integer between ${toString lowest} and ${toString highest} (both inclusive)";
        };
    };
    str = types.mkOptionType {
      name = "str";
      description = "string";
      check = isString;
    };
    singleLineStr = types.addCheck types.str (value: match "[^\n\r]*" value != null) // {
      description = "(optionally newline-terminated) single-line string";
    };
    nonEmptyStr = types.addCheck types.str (value: match "[ \t\n]*" value == null) // {
      description = "non-empty string";
    };
    strMatching =
      pattern:
      types.addCheck types.str (value: match pattern value != null)
      // {
        description = "string matching the pattern ${pattern}";
      };
    separatedString =
      separator:
      types.mkOptionType {
        name = "separatedString";
        description = "strings concatenated with ${builtins.toJSON separator}";
        check = isString;
        merge =
          _: definitions: lib.concatStringsSep separator (map (definition: definition.value) definitions);
      };
    lines = types.separatedString "\n";
    commas = types.separatedString ",";
    path = types.mkOptionType {
      name = "path";
      description = "absolute path";
      check = value: isStringLike value && builtins.substring 0 1 (toString value) == "/";
    };
    pathInStore =
      types.addCheck types.path (value: lib.hasPrefix builtins.storeDir (toString value))
      // {
        description = "path in the Nix store";
      };
    package = types.mkOptionType {
      name = "package";
      check = value: lib.isDerivation value || (isStringLike value && lib.isStorePath value);
    };
    shellPackage = types.package;
    enum =
      values:
      types.mkOptionType {
        name = "enum";
        description = "one of ${lib.concatMapStringsSep ", " builtins.toJSON values}";
        check = value: elem value values;
      };
    addCheck = type: check: type // { check = value: type.check value && check value; };
    uniq = type: type // { merge = unique; };
    unique = _: types.uniq;
    nullOr =
      type:
      types.mkOptionType {
        name = "nullOr";
        description = "null or ${type.description}";
        check = value: value == null || type.check value;
        merge =
          loc: definitions:
          if all (definition: definition.value == null) definitions then
            null
          else if builtins.any (definition: definition.value == null) definitions then
            throw "The option `${lib.showOption loc}' is both null and not null:${showFiles definitions}"
          else
            type.merge loc definitions;
      };
    either =
      first: second:
      types.mkOptionType {
        name = "either";
        description = "${first.description} or ${second.description}";
        check = value: first.check value || second.check value;
        merge =
          loc: definitions:
          if all (definition: first.check definition.value) definitions then
            first.merge loc definitions
          else if all (definition: second.check definition.value) definitions then
            second.merge loc definitions
          else
            equal loc definitions;
      };
    oneOf = alternatives: builtins.foldl' types.either (head alternatives) (builtins.tail alternatives);
    coercedTo =
      from: coerce: to:
      types.mkOptionType {
        name = "coercedTo";
        description = "${to.description} or ${from.description} convertible to it";
        check = value: (from.check value && to.check (coerce value)) || to.check value;
        merge =
          loc: definitions:
          to.merge loc (
            map (
              definition:
              definition
              // {
                value = if from.check definition.value then coerce definition.value else definition.value;
              }
            ) definitions
          );
      };
    listOf =
      type:
      types.mkOptionType {
        name = "listOf";
        description = "list of ${type.description}";
        check = isList;
        merge =
          loc: definitions:
          map (found: found.value) (
            builtins.filter (found: found.isDefined) (
              lib.concatMap (
                definition:
                lib.imap1 (
                  index: value:
                  mergeElement type (loc ++ [ "[definition ${toString index}]" ]) [
                    {
                      inherit (definition) file;
                      inherit value;
                    }
                  ]
                ) definition.value
              ) definitions
            )
          );
        emptyValue.value = [ ];
      };
    nonEmptyListOf = type: types.addCheck (types.listOf type) (list: list != [ ]);
    attrsOf = attrsOfWith (lib.filterAttrs (_: found: found.isDefined));
    # An attribute is not looked at until somebody asks for it, not even whether it is defined.
    lazyAttrsOf = attrsOfWith lib.id;
    submodule = modules: types.submoduleWith { modules = lib.toList modules; };
    submoduleWith =
      {
        modules,
        specialArgs ? { },
        ...
      }:
      let
        evaluate =
          loc: definitions:
          lib.modules.evalModules {
            modules =
              modules
              ++ map (
                definition:
                if isFunction definition.value then
                  definition.value
                else if isPath definition.value then
                  definition.value
                else
                  {
                    _file = definition.file;
                    config = definition.value;
                  }
              ) definitions;
            specialArgs = {
              name = lib.last loc;
            }
            // specialArgs;
            prefix = loc;
          };
      in
      types.mkOptionType {
        name = "submodule";
        check = value: isAttrs value || isFunction value || isPath value;
        merge = loc: definitions: builtins.removeAttrs (evaluate loc definitions).config [ "_module" ];
        emptyValue.value = { };
      };
    optionType = types.raw;
    functionTo = _: types.raw;
  };

in
types
