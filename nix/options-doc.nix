# docs/options.md, made of the options that the module declares; a test compares the two.
#
#     nix-instantiate --eval --json --expr 'import nix/options-doc.nix' | jq --raw-output . | head --bytes=-1 > docs/options.md
let
  lib = import ./stub/lib;
  inherit (lib) concatStringsSep;

  declared =
    (lib.evalModules {
      modules = [
        ./module/options.nix
        ./image/options.nix
      ];
    }).options;

  # The options below `tree`, a set's own switch first.
  optionsOf =
    tree:
    if lib.isOption tree then
      lib.optional (!(tree.internal or false)) tree
    else
      lib.concatMap (name: optionsOf tree.${name}) (
        lib.optional (tree ? enable) "enable" ++ lib.remove "enable" (lib.attrNames tree)
      );

  # A value as somebody would write it.
  expression =
    value:
    if builtins.isString value then
      builtins.toJSON value
    else if builtins.isList value then
      if value == [ ] then "[ ]" else "[ ${concatStringsSep " " (map expression value)} ]"
    else if builtins.isAttrs value then
      if value == { } then
        "{ }"
      else
        "{ ${concatStringsSep " " (lib.mapAttrsToList (name: one: "${name} = ${expression one};") value)} }"
    else
      builtins.toJSON value;

  told =
    value:
    let
      kind = value._type or null;
      text = lib.removeSuffix "\n" value.text;
    in
    if kind == "literalMD" then
      " ${withoutRoles text}"
    else if kind == "literalExpression" then
      if lib.hasInfix "\n" text then
        "\n\n${lib.concatMapStringsSep "\n" (line: "      ${line}") (lib.splitString "\n" text)}"
      else
        " `${text}`"
    else
      " `${expression value}`";

  # nixpkgs' Markdown names what a text is, which others do not know.
  withoutRoles =
    builtins.replaceStrings
      [
        "{option}"
        "{file}"
      ]
      [
        ""
        ""
      ];

  entry =
    option:
    concatStringsSep "\n" (
      [
        "## `${lib.showOption option.loc}`"
        ""
        (withoutRoles option.description)
        "* Type: ${option.type.description}"
      ]
      ++ lib.optional (option.readOnly or false) "* Read-only"
      ++
        lib.optional (option ? defaultText || option ? default)
          "* Default:${told (option.defaultText or option.default)}"
      ++ [ "* Example:${told option.example}" ]
    );
in
''
  # Options of `boot.loader.firn`

  Made by `nix/options-doc.nix` of what `nix/module/options.nix` declares. The menu's timeout is NixOS's own
  `boot.loader.timeout`, the device tree's name `hardware.deviceTree.name`.

  ${lib.concatMapStringsSep "\n\n" entry (optionsOf declared.boot.loader.firn)}
''
