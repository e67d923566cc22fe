#!/bin/sh
# Makes the image of a card from a populated root directory: partition table, flash.bin in front of the partitions, the places of
# the state record kept, an ext4 root. Needs no rights, no loop device and no mount. The same arguments give the same bytes.
#
# Run by nix/image/default.nix in a derivation and by the tests of tools/evk, with the same arguments. Needs coreutils, findutils,
# e2fsprogs, util-linux (sfdisk), `firn`, and fakeroot where a build user's files are to belong to root; for --boot-dir dosfstools and
# mtools; for --compress zstd.
set -eu
umask 022

usage() {
    cat <<'END'
Usage: card-image.sh --root DIR --flash FLASH.bin [OPTION]... OUT.img

  --root DIR            what the root file system holds; the store paths are copied into it
  --closure DIR         what closureInfo of nixpkgs makes: `store-paths` are copied, `registration` becomes
                        /nix-path-registration, which the first boot loads into the database
  --store DIR           the root whose /nix/store has the store paths, if it is not this machine's
  --flash FLASH.bin     boot image, written to both places in which the boot ROM looks
  --dummy-ddr-firmware  take one with dummies of the training firmware
  --firn PROGRAM        the command that writes it [default: firn]
  --table gpt|mbr       [default: gpt]
  --label LABEL         of the root file system [default: NIXOS_SD]
  --uuid UUID           of the root file system; the table's identifiers are made from it
  --slack MIB           free space for users and for the first update [default: 256]
  --boot-dir DIR        what a boot partition in front of the root holds; without it, there is none
  --boot-size MIB       [default: 512]
  --boot-format FS      vfat or ext4 [default: vfat]
  --boot-label LABEL    [default: FIRN_BOOT]
  --compress            make OUT.img.zst

Times of files are $SOURCE_DATE_EPOCH, seconds since 1970 [default: 1].
Example: card-image.sh --root ./files --closure "$closure" --flash flash.bin nixos.img
END
}

die() {
    echo "card-image.sh: $*" >&2
    exit 1
}

wrong() {
    echo "card-image.sh: $*; see --help" >&2
    exit 2
}

mib=$((1024 * 1024))
# The layout of docs/state-record.md and docs/flash-image.md, in blocks of 512 bytes.
primary_start=64          # 0x00008000
first_record=7936         # 0x003e0000
secondary_start=8256      # 0x00408000
second_record=16128       # 0x007e0000
first_partition=16384     # 0x00800000
record_blocks=8
record_type=249297D9-ABE6-4CC2-B2DB-30DFEDD28F6B
# Type codes: UEFI specification, 5.3.3; Discoverable Partitions Specification; "Linux reserved" of util-linux.
reserved_type=8DA63339-0007-60C0-C436-083AC8230908
root_type=B921B045-1DF0-41C3-AF44-4C6F280D3FAE
esp_type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
linux_type=0FC63DAF-8483-4772-8E79-3D69D8477DE4

root='' closure='' store='' flash='' dummies='' firn=firn table=gpt label=NIXOS_SD slack=256
uuid=44444444-4444-4444-8888-888888888888
boot_dir='' boot_size=512 boot_format=vfat boot_label=FIRN_BOOT compress='' output=''

is_number() {
    case $1 in '' | *[!0-9]* | ?????????*) return 1 ;; esac
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
        --help) usage; exit 0 ;;
        --dummy-ddr-firmware) dummies=$1; shift; continue ;;
        --compress) compress=yes; shift; continue ;;
        --*) [ $# -ge 2 ] || wrong "$1 wants a value" ;;
        *)
            [ -z "$output" ] || wrong "two images are named: $output and $1"
            output=$1; shift; continue ;;
        esac
        case $1 in
        --root) root=$2 ;;
        --closure) closure=$2 ;;
        --store) store=$2 ;;
        --flash) flash=$2 ;;
        --firn) firn=$2 ;;
        --table) table=$2 ;;
        --label) label=$2 ;;
        --uuid) uuid=$2 ;;
        --slack) slack=$2 ;;
        --boot-dir) boot_dir=$2 ;;
        --boot-size) boot_size=$2 ;;
        --boot-format) boot_format=$2 ;;
        --boot-label) boot_label=$2 ;;
        *) wrong "$1 is unknown" ;;
        esac
        shift 2
    done
}

check() {
    [ -n "$output" ] || wrong "no image is named"
    [ -d "$root" ] || wrong "--root '$root' is no directory"
    [ -f "$flash" ] || wrong "--flash '$flash' is no file"
    [ -z "$closure" ] || [ -f "$closure/store-paths" ] || wrong "--closure $closure has no store-paths"
    [ -z "$boot_dir" ] || [ -d "$boot_dir" ] || wrong "--boot-dir $boot_dir is no directory"
    case $table in gpt | mbr) ;; *) wrong "--table is gpt or mbr, not '$table'" ;; esac
    case $boot_format in vfat | ext4) ;; *) wrong "--boot-format is vfat or ext4, not '$boot_format'" ;; esac
    is_number "$slack" || wrong "--slack takes MiB, not '$slack'"
    is_number "$boot_size" || wrong "--boot-size takes MiB, not '$boot_size'"
    case $uuid in
    *[!0-9a-fA-F-]*) wrong "--uuid '$uuid' is no UUID" ;;
    ????????-????-????-????-????????????) ;;
    *) wrong "--uuid '$uuid' is no UUID" ;;
    esac
    is_number "${time#-}" || [ ${#time} -le 11 ] || wrong "SOURCE_DATE_EPOCH '$time' is no number of seconds"
}

# Store paths belong to root and were never changed, whoever builds the image.
complete_root() {
    # A folder that mktemp made is its maker's alone.
    chmod 755 "$root"
    [ -n "$closure" ] || return 0
    mkdir -p "$root/nix/store"
    while IFS= read -r path; do
        source=$store$path
        [ -e "$source" ] || [ -L "$source" ] || die "$closure/store-paths names $path, which is not at $source"
        [ -e "$root$path" ] || [ -L "$root$path" ] || cp -a --no-preserve=ownership --reflink=auto "$source" "$root$path"
    done <"$closure/store-paths"
    if [ -f "$closure/registration" ]; then
        cp "$closure/registration" "$root/nix-path-registration"
    fi
}

# A file system that holds $1 and $2 MiB more: what files take in blocks of 4 KiB, an inode and a name each, 1.6 % of tables for every
# block and inode, and the journal, which mke2fs makes the larger the more there is.
needed_mib() {
    find "$1" -printf '%y %s\n' | awk -v slack="$2" '
        { inodes++; if ($1 != "l" || $2 >= 60) bytes += int(($2 + 4095) / 4096) * 4096 }
        END {
            bytes = (bytes + inodes * 320) * 1.03 + slack * 1048576
            journal = bytes < 512 * 1048576 ? 16 : bytes < 1024 * 1048576 ? 32 : bytes < 4096 * 1048576 ? 64 : 128
            printf "%d\n", bytes / 1048576 + journal + 8
        }'
}

# What mke2fs 1.47 as released makes; distributions change it. Source: e2fsprogs 1.47, misc/mke2fs.conf.
write_mke2fs_configuration() {
    cat >"$work/mke2fs.conf" <<'END'
[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
enable_periodic_fsck = 0
blocksize = 4096
inode_size = 256
inode_ratio = 16384
[fs_types]
small = {
inode_ratio = 16384
}
ext4 = {
features = has_journal,extent,huge_file,flex_bg,metadata_csum,metadata_csum_seed,64bit,dir_nlink,extra_isize,orphan_file
}
END
}

# make_ext4 FILE DIR MIB LABEL UUID
make_ext4() {
    truncate -s "$3M" "$1"
    write_mke2fs_configuration
    inodes=$(find "$2" | wc -l)
    # As many as users expect, and those of a store of small files.
    by_size=$(($3 * mib / 16384))
    [ "$inodes" -lt $((by_size * 3 / 4)) ] || by_size=$((inodes * 2))
    find "$2" -exec touch --no-dereference --date="@$time" {} +
    MKE2FS_CONFIG=$work/mke2fs.conf E2FSPROGS_FAKE_TIME=$time mke2fs -q -F -t ext4 -L "$4" -U "$5" -N "$by_size" \
        -E "root_owner=0:0,hash_seed=$5,nodiscard" -d "$2" "$1" >"$work/mke2fs.log" 2>&1 || {
        cat "$work/mke2fs.log" >&2
        die "mke2fs cannot make a file system of $3 MiB of $2"
    }
    # Indexed directories: without one each look into a large store reads all of its names, and Linux never adds it.
    E2FSCK_TIME=$time e2fsck -f -y -D "$1" >"$work/e2fsck.log" 2>&1 || [ $? -le 1 ] || {
        cat "$work/e2fsck.log" >&2
        die "e2fsck cannot index the file system of $2"
    }
    set_times "$1"
}

# mke2fs takes times of change and access from the build. Inodes are numbered without gaps from 11, lost+found, on.
set_times() {
    counts=$(debugfs -R "show_super_stats -h" "$1" 2>/dev/null | awk -F: '/^(Inode count|Free inodes)/ { print $2 + 0 }')
    used=$(($(echo "$counts" | head -n 1) - $(echo "$counts" | tail -n 1)))
    {
        echo "set_current_time @$time"
        for inode in 2 8 $(seq 11 "$used"); do
            for field in ctime atime mtime crtime; do
                echo "set_inode_field <$inode> $field @$time"
            done
        done
        # The other fields of a time are parts of a second.
        echo "set_super_value mkfs_time @$time"
        echo "set_super_value lastcheck @$time"
        echo "set_super_value wtime @$time"
        echo "set_super_value kbytes_written 0"
    } >"$work/times"
    debugfs -w -f "$work/times" "$1" >"$work/debugfs.log" 2>&1 || die "debugfs cannot set times: $(tail -n 1 "$work/debugfs.log")"
}

# make_fat FILE DIR MIB LABEL
make_fat() {
    truncate -s "$3M" "$1"
    find "$2" -exec touch --no-dereference --date="@$fat_time" {} +
    mkfs.fat --invariant -F 32 -n "$4" "$1" >/dev/null
    find "$2" -mindepth 1 -maxdepth 1 | LC_ALL=C sort | while IFS= read -r entry; do
        SOURCE_DATE_EPOCH=$fat_time mcopy -s -m -Q -i "$1" "$entry" ::/ || die "$entry does not fit on a boot partition of $3 MiB"
    done
}

# A UUID of its own for each partition: the root's, with other last digits.
derived() {
    printf '%s%02X' "${uuid%??}" "$(((0x${uuid##"${uuid%??}"} + $1) % 256))"
}

write_table() {
    if [ "$table" = gpt ]; then
        echo "label: gpt"
        echo "label-id: $(derived 16)"
        echo "first-lba: 34"
        echo "start=$primary_start, size=$((first_record - primary_start)), type=$reserved_type, uuid=$(derived 17), name=firn-flash-a"
        echo "start=$first_record, size=$record_blocks, type=$record_type, uuid=$(derived 18), name=firn-state-a"
        echo "start=$secondary_start, size=$((second_record - secondary_start)), type=$reserved_type, uuid=$(derived 19), name=firn-flash-b"
        echo "start=$second_record, size=$record_blocks, type=$record_type, uuid=$(derived 20), name=firn-state-b"
        if [ -n "$boot_dir" ]; then
            type=$esp_type
            [ "$boot_format" = vfat ] || type=$linux_type
            echo "start=$boot_start, size=$boot_blocks, type=$type, uuid=$(derived 21), name=$boot_label"
        fi
        echo "start=$root_start, size=$root_blocks, type=$root_type, uuid=$(derived 22), name=$label"
    else
        echo "label: dos"
        echo "label-id: 0x${uuid%%-*}"
        if [ -n "$boot_dir" ]; then
            type=c
            [ "$boot_format" = vfat ] || type=83
            echo "start=$boot_start, size=$boot_blocks, type=$type, bootable"
            echo "start=$root_start, size=$root_blocks, type=83"
        else
            echo "start=$root_start, size=$root_blocks, type=83, bootable"
        fi
    fi
}

# Holes stay holes.
place() {
    dd if="$1" of="$image" bs=1M seek=$(($2 / 2048)) conv=notrunc,sparse status=none
}

write_flash() {
    # shellcheck disable=SC2086 # one word or none
    "$firn" write "$flash" "$image" --copy both $dummies || die "$flash is not on the image"
}

time=${SOURCE_DATE_EPOCH:-1}
parse "$@"
check
# FAT knows no time before 1980.
fat_time=$time
[ "$time" -ge 315619200 ] || fat_time=315619200
if [ "$(id -u)" != 0 ]; then
    # What the build user owns belongs to root on the card.
    command -v fakeroot >/dev/null || die "not run by root: fakeroot is needed, so that files belong to root on the card"
    exec fakeroot "$0" "$@"
fi

# Beside the image: renaming it is then the last step.
work=$(mktemp -d "$(dirname "$output")/card-image.XXXXXX")
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
image=$work/card.img

complete_root
root_mib=$(needed_mib "$root" "$slack")
make_ext4 "$work/root.img" "$root" "$root_mib" "$label" "$uuid"
boot_start=$first_partition boot_blocks=0
if [ -n "$boot_dir" ]; then
    boot_blocks=$((boot_size * 2048))
    case $boot_format in
    vfat) make_fat "$work/boot.img" "$boot_dir" "$boot_size" "$boot_label" ;;
    ext4) make_ext4 "$work/boot.img" "$boot_dir" "$boot_size" "$boot_label" "$(derived 32)" ;;
    esac
fi
root_start=$((boot_start + boot_blocks)) root_blocks=$((root_mib * 2048))

# The last MiB has the GPT's second copy.
truncate -s $(((root_start + root_blocks + 2048) * 512)) "$image"
write_table | sfdisk --quiet --no-reread --no-tell-kernel "$image" || die "sfdisk cannot write the partition table"
[ -z "$boot_dir" ] || place "$work/boot.img" "$boot_start"
place "$work/root.img" "$root_start"
write_flash
if [ -n "$compress" ]; then
    zstd -q -T0 --rm "$image" -o "$image.zst"
    mv "$image.zst" "$output.zst"
else
    mv "$image" "$output"
fi
