# What is documented is what there is.
{ ... }:

{
  "docs/options.md is made of the options" =
    if builtins.readFile ../../docs/options.md == import ../options-doc.nix then
      null
    else
      "expected what nix/options-doc.nix makes, found another text; that file says how to make it anew";
}
