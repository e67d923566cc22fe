# Sets of files: named, not copied, as nothing is built of them; but what is named must be there.
{ lib }:

let
  there =
    path: if builtins.pathExists path then path else throw "fileset: ${toString path} does not exist";
in
{
  toSource = { root, fileset }: builtins.deepSeq (map there (lib.flatten fileset)) (there root);
  unions = filesets: filesets;
  union = first: second: [
    first
    second
  ];
  maybeMissing = path: if builtins.pathExists path then path else [ ];
  fileFilter = _: path: path;
  difference = first: _: first;
  intersection = first: _: first;
  gitTracked = path: path;
}
