# The module system: declarations and definitions of many files become one configuration. What is not declared, is of another
# type, or is defined twice is an error, so that a test of a module can fail.
{ lib }:

let
  inherit (builtins)
    attrNames
    concatMap
    elem
    filter
    foldl'
    functionArgs
    head
    isAttrs
    isFunction
    isPath
    isString
    length
    map
    mapAttrs
    ;
  inherit (lib) isOption showOption types;

  wrapped = kind: value: isAttrs value && (value._type or null) == kind;

  priorities = {
    default = 100;
    mkDefault = 1000;
    option = 1500;
    force = 50;
  };
  normalOrder = 1000;

  # What a module is, in one form: { key, file, imports, options, config }. `arguments` are those of a module that is a function.
  normalise =
    arguments: fallback: module:
    if isPath module || isString module then
      normalise arguments {
        key = toString module;
        file = toString module;
      } (import module)
      // {
        key = toString module;
      }
    else if isFunction module then
      normalise arguments fallback (
        module (
          mapAttrs (name: _: arguments.special.${name} or (arguments.fromConfig name)) (functionArgs module)
          // arguments.special
        )
      )
    else
      let
        file = module._file or fallback.file;
        isLong = module ? options || module ? config;
        meta = [
          "_file"
          "key"
          "imports"
          "options"
          "config"
          "disabledModules"
          "freeformType"
          "_class"
          "meta"
        ];
        unknown = attrNames (builtins.removeAttrs module meta);
      in
      if isLong && unknown != [ ] then
        throw "Module `${file}' has an unsupported attribute `${head unknown}'; beside `config' or `options' it must not have it"
      else
        {
          key = module.key or fallback.key;
          inherit file;
          imports = module.imports or [ ];
          options = module.options or { };
          freeformType = module.freeformType or null;
          config =
            if isLong then
              module.config or { }
            else
              builtins.removeAttrs module [
                "_file"
                "key"
                "imports"
                "disabledModules"
                "freeformType"
                "_class"
              ];
        };

  # All modules, imports first, each path once.
  collect =
    arguments: modules:
    let
      go =
        state: key: module:
        let
          found = normalise arguments {
            inherit key;
            file = "<unknown-file>";
          } module;
          inner =
            foldl'
              (
                { state, index }:
                import_: {
                  state = go state "${found.key}:${toString index}" import_;
                  index = index + 1;
                }
              )
              {
                state = state // {
                  keys = state.keys ++ [ found.key ];
                };
                index = 0;
              }
              found.imports;
        in
        if elem found.key state.keys then
          state
        else
          inner.state // { modules = inner.state.modules ++ [ found ]; };
    in
    (foldl'
      (
        { state, index }:
        module: {
          state = go state ":${toString index}" module;
          index = index + 1;
        }
      )
      {
        state = {
          keys = [ ];
          modules = [ ];
        };
        index = 0;
      }
      modules
    ).state.modules;

  # The definitions that a value holds when its conditions are looked at: [ { file, value, priority, order } ].
  discharge =
    { file, value }@definition:
    if wrapped "merge" value then
      concatMap (value: discharge { inherit file value; }) value.contents
    else if wrapped "if" value then
      if !builtins.isBool value.condition then
        throw "mkIf's condition in ${file} is not a boolean"
      else if value.condition then
        discharge {
          inherit file;
          value = value.content;
        }
      else
        [ ]
    else if wrapped "override" value then
      map (inner: inner // { inherit (value) priority; }) (discharge {
        inherit file;
        value = value.content;
      })
    else if wrapped "order" value then
      map (inner: inner // { order = value.priority; }) (discharge {
        inherit file;
        value = value.content;
      })
    else
      [
        (
          definition
          // {
            priority = priorities.default;
            order = normalOrder;
          }
        )
      ];

  # Sets of definitions with their wrappers pushed to their attributes, so that a condition is not looked at before its value is.
  pushDown =
    value:
    if wrapped "merge" value then
      concatMap pushDown value.contents
    else if wrapped "if" value then
      map (mapAttrs (_: lib.mkIf value.condition)) (pushDown value.content)
    else if wrapped "override" value then
      map (mapAttrs (_: lib.mkOverride value.priority)) (pushDown value.content)
    else if isAttrs value then
      [ value ]
    else
      throw "a set of definitions is expected where there is ${builtins.typeOf value}";

  # One option's value of its definitions: { isDefined, value, priority, definitions }.
  mergeDefinitions =
    loc: type: definitions:
    let
      all = concatMap discharge definitions;
      highest = foldl' (best: one: if one.priority < best then one.priority else best) 9999 all;
      counted = builtins.sort (a: b: a.order < b.order) (filter (one: one.priority == highest) all);
      wrong = filter (one: !(type.check one.value)) counted;
    in
    {
      isDefined = all != [ ];
      definitions = counted;
      priority = highest;
      value =
        if all == [ ] then
          throw "The option `${showOption loc}' was accessed but has no value defined. Try setting the option."
        else if wrong != [ ] then
          throw "A definition for option `${showOption loc}' is not of type `${type.description}'. Definition values:${
            lib.concatMapStrings (
              one:
              "\n- In `${toString one.file}': ${
                if builtins.isFunction one.value || isAttrs one.value then
                  "<${builtins.typeOf one.value}>"
                else
                  builtins.toJSON one.value
              }"
            ) wrong
          }"
        else
          type.merge loc counted;
    };

  evalOption =
    loc: declaration: definitions:
    let
      type = declaration.type or types.unspecified;
      withDefault =
        definitions
        ++ lib.optional (declaration ? default) {
          file = "the default";
          value = lib.mkOptionDefault declaration.default;
        };
      merged = mergeDefinitions loc type withDefault;
      isReadOnly = declaration.readOnly or false;
      own = concatMap discharge definitions;
      value =
        if isReadOnly && length own + (if declaration ? default then 1 else 0) > 1 then
          throw "The option `${showOption loc}' is read-only, but it's set multiple times."
        else if !merged.isDefined && type ? emptyValue.value then
          type.emptyValue.value
        else
          merged.value;
    in
    declaration
    // {
      inherit loc type;
      isDefined = merged.isDefined;
      highestPrio = merged.priority;
      definitions = map (one: one.value) merged.definitions;
      definitionsWithLocations = map (one: { inherit (one) file value; }) merged.definitions;
      files = map (one: one.file) merged.definitions;
      value = (declaration.apply or lib.id) value;
    };

  # One level of the tree: its options' and definitions' names, each with what is below it.
  evalTree =
    {
      loc,
      declarations,
      definitions,
      freeformType ? null,
    }:
    let
      declared = lib.zipAttrsWith (_: found: found) (
        map (
          declaration:
          mapAttrs (_: options: {
            inherit (declaration) file;
            inherit options;
          }) declaration.options
        ) declarations
      );
      defined = lib.zipAttrsWith (_: found: found) (
        concatMap (
          definition:
          map (mapAttrs (
            _: value: {
              inherit (definition) file;
              inherit value;
            }
          )) (pushDown definition.value)
        ) definitions
      );
      below = mapAttrs (
        name: found:
        let
          options = filter (one: isOption one.options) found;
          path = loc ++ [ name ];
        in
        if options == [ ] then
          {
            isOption = false;
            tree = evalTree {
              loc = path;
              declarations = found;
              definitions = defined.${name} or [ ];
            };
          }
        else if length found > 1 then
          throw "The option `${showOption path}' is declared more than once: in ${
            lib.concatMapStringsSep " and in " (one: one.file) found
          }"
        else
          {
            isOption = true;
            option = evalOption path ((head options).options // { declarations = [ (head options).file ]; }) (
              defined.${name} or [ ]
            );
          }
      ) declared;
      undeclared = builtins.removeAttrs defined (attrNames declared);
      reject =
        name:
        let
          found = defined.${name};
        in
        "The option `${showOption (loc ++ [ name ])}' does not exist. Definition values:${
          lib.concatMapStrings (one: "\n- In `${toString one.file}'") found
        }";
    in
    {
      options = mapAttrs (_: one: if one.isOption then one.option else one.tree.options) below;
      config =
        (
          if freeformType == null then
            { }
          else
            freeformType.merge loc (
              lib.mapAttrsToList (name: found: {
                inherit (head found) file;
                value = {
                  ${name} = lib.mkMerge (map (one: one.value) found);
                };
              }) undeclared
            )
        )
        // mapAttrs (_: one: if one.isOption then one.option.value else one.tree.config) below;
      errors =
        (if freeformType == null then map reject (attrNames undeclared) else [ ])
        ++ concatMap (one: if one.isOption then [ ] else one.tree.errors) (builtins.attrValues below);
    };

  internal = {
    key = "lib/modules.nix";
    file = "lib/modules.nix";
    imports = [ ];
    config = { };
    freeformType = null;
    options._module = {
      args = lib.mkOption {
        type = types.attrsOf types.raw;
        default = { };
        internal = true;
      };
      check = lib.mkOption {
        type = types.bool;
        default = true;
        internal = true;
      };
    };
  };

  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
      ...
    }:
    let
      arguments = {
        special = {
          inherit lib config options;
        }
        // specialArgs;
        fromConfig =
          name:
          config._module.args.${name} or (throw "a module wants the argument `${name}', which nobody gives");
      };
      all = [ internal ] ++ collect arguments modules;
      freeform = filter (one: one.freeformType != null) all;
      tree = evalTree {
        loc = prefix;
        declarations = all;
        definitions = map (module: {
          inherit (module) file;
          value = module.config;
        }) all;
        freeformType = if freeform == [ ] then null else (head freeform).freeformType;
      };
      inherit (tree) options;
      config =
        if tree.config._module.check && tree.errors != [ ] then throw (head tree.errors) else tree.config;
    in
    {
      inherit options;
      config = builtins.removeAttrs config [ "_module" ];
      _module = tree.config._module;
      type = types.submoduleWith { inherit modules specialArgs; };
    };
in
rec {
  inherit evalModules mergeDefinitions;
  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };
  mkOptionDefault = mkOverride priorities.option;
  mkDefault = mkOverride priorities.mkDefault;
  mkForce = mkOverride priorities.force;
  mkOrder = priority: content: {
    _type = "order";
    inherit priority content;
  };
  mkBefore = mkOrder 500;
  mkAfter = mkOrder 1500;
  mkAliasDefinitions = throw "mkAliasDefinitions is not part of the stub";
  doRename = throw "doRename is not part of the stub";
}
