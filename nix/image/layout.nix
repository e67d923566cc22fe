# The first 8 MiB of a GPT card, in blocks of 512 bytes, as docs/flash-image.md and docs/state-record.md have them. card-image.sh has
# the same numbers; a test compares them.
let
  reserved = "8DA63339-0007-60C0-C436-083AC8230908"; # "Linux reserved"
  record = "249297D9-ABE6-4CC2-B2DB-30DFEDD28F6B"; # Firn's own: src/state/place.rs
in
{
  firstPartition = 16384;

  partitions = [
    {
      name = "firn-flash-a";
      type = reserved;
      start = 64;
      end = 7935;
    }
    {
      name = "firn-state-a";
      type = record;
      start = 7936;
      end = 7943;
    }
    {
      name = "firn-flash-b";
      type = reserved;
      start = 8256;
      end = 16127;
    }
    {
      name = "firn-state-b";
      type = record;
      start = 16128;
      end = 16135;
    }
  ];
}
