# mkDerivation: a derivation with the attributes that it is given, refused like nixpkgs' where its licence is not allowed.
{
  lib,
  build,
  host,
  config,
}:

let
  # What a derivation's environment can hold. Sources are named, not copied: a working tree with all that was built in it is large.
  environment =
    value:
    if builtins.isPath value then
      builtins.unsafeDiscardStringContext (toString value)
    else if builtins.isList value then
      map environment (lib.filter isPlain value)
    else
      value;
  isPlain =
    value:
    !(builtins.isFunction value)
    && (!(builtins.isAttrs value) || value ? outPath || value ? __toString);

  isFree = license: license.free or true;
  mkDerivation =
    argument:
    let
      arguments =
        if builtins.isFunction argument then
          lib.fix (self: argument (self // { finalPackage = package; }))
        else
          argument;
      name = arguments.name or "${arguments.pname}-${arguments.version or "0"}";
      outputs = arguments.outputs or [ "out" ];
      meta = arguments.meta or { };
      unfree = !(lib.all isFree (lib.toList (meta.license or [ ])));
      allowed =
        !unfree
        || (config.allowUnfree or false)
        || (config.allowUnfreePredicate or (_: false)) {
          inherit name meta;
          pname = lib.getName arguments;
        };
      plain = lib.mapAttrs (_: environment) (
        lib.filterAttrs (_: isPlain) (
          removeAttrs (arguments // arguments.env or { }) [
            "meta"
            "passthru"
            "outputs"
            "env"
          ]
        )
      );
      bare = derivation (
        plain
        // {
          inherit name outputs;
          inherit (build) system;
          builder = "/bin/sh";
          args = [
            "-c"
            "echo the stub builds nothing; exit 1"
          ];
        }
      );
      refuse =
        if allowed then lib.id else throw "Package ‘${name}’ has an unfree license, refusing to evaluate.";
      outputOf = output: {
        inherit (bare.${output}) type outputName;
        outPath = refuse bare.${output}.outPath;
        drvPath = refuse bare.${output}.drvPath;
      };
      package =
        arguments
        // arguments.passthru or { }
        // bare
        // lib.genAttrs outputs (output: bare.${output} // outputOf output)
        // outputOf (lib.head outputs)
        // {
          inherit name;
          system = host.system;
          stdenv = stdenv;
          meta = meta // {
            inherit name unfree;
            available = allowed;
            position = "the stub";
          };
          passthru = arguments.passthru or { };
          overrideAttrs =
            change:
            mkDerivation (
              arguments
              // (
                if builtins.isFunction change then
                  let
                    given = change arguments;
                  in
                  if builtins.isFunction given then change package arguments else given
                else
                  change
              )
            );
        };
    in
    package;

  stdenv = {
    inherit mkDerivation;
    buildPlatform = build;
    hostPlatform = host;
    targetPlatform = host;
    inherit (host) isAarch64 isLinux;
    cc =
      mkDerivation {
        name = "cc-wrapper";
        passthru.targetPrefix = if build == host then "" else "${host.config}-";
      }
      // {
        targetPrefix = if build == host then "" else "${host.config}-";
      };
    system = host.system;
  };
in
stdenv
