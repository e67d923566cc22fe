#!/bin/sh
# Puts partitions in the place of the one called firn-gap, in the image of a GPT card: own-gap.sh IMAGE LINES, where LINES has them as
# sfdisk takes them. Others keep their numbers' order, identifiers and contents. Needs util-linux, sed and grep.
set -eu

if [ $# -ne 2 ]; then
    echo "Usage: own-gap.sh IMAGE LINES" >&2
    exit 2
fi
table=$(sfdisk --dump "$1")
if [ "$(printf '%s\n' "$table" | grep -c 'name="firn-gap"')" != 1 ]; then
    echo "own-gap.sh: $1 has no partition called firn-gap" >&2
    exit 1
fi
{
    # Partitions in front of 1 MiB are allowed from now on.
    printf '%s\n' "$table" | sed -n '/^label: /p; /^label-id: /p'
    echo "first-lba: 34"
    echo
    cat "$2"
    # Without their devices' names, they follow in order.
    printf '%s\n' "$table" | grep ' : ' | grep -v 'name="firn-gap"' | sed 's/^[^ ]* : //'
} | sfdisk --quiet --no-reread --no-tell-kernel --wipe never "$1"
