# Values of a kernel's configuration.
{
  yes.tristate = "y";
  no.tristate = "n";
  module.tristate = "m";
  freeform = value: { freeform = value; };
  option = value: value // { optional = true; };
}
