#!/bin/sh
# Lets the last partition of a card, and the file system on it, have all of the card. Run on a system's first boot by
# nix/image/first-boot.nix, and on image files by the tests of tools/evk. Needs util-linux and, for a device, e2fsprogs.
set -eu

if [ $# -ne 2 ]; then
    echo "Usage: grow-root.sh DISK NUMBER     for example: grow-root.sh /dev/mmcblk1 5" >&2
    exit 2
fi
disk=$1 number=$2

# While a GPT's second copy moves to the card's end, the first one stays what it is.
if [ "$(sfdisk --dump "$disk" | sed -n 's/^label: //p')" = gpt ]; then
    sfdisk --quiet --no-reread --no-tell-kernel --relocate gpt-bak-std "$disk"
fi
echo ", +" | sfdisk --quiet --no-reread --no-tell-kernel --wipe never --partno "$number" "$disk"

if [ -b "$disk" ]; then
    partx --update --nr "$number" "$disk"
    case $disk in
    *[0-9]) resize2fs "${disk}p$number" ;;
    *) resize2fs "$disk$number" ;;
    esac
fi
