#!/usr/bin/env bash
# Makes a real disk and its upgraded version, for the benchmarks: make-disk.sh FOLDER
#   v1.raw   a Debian system with services and tools in ext4, sparse: 8 GiB, about 2.5 GiB of it data
#   v2.raw   the same disk after changes in place: packages installed, pages of a database, a grown log, a file replaced
# Needs root, debootstrap, e2fsprogs, loop devices and a Debian mirror. What is there already is kept.
# DISK_SIZE, DISK_PACKAGES, DISK_UPGRADE, DISK_SUITE and DISK_MIRROR change what is made.
set -euo pipefail

folder=${1:?usage: make-disk.sh FOLDER}
size=${DISK_SIZE:-8G}
suite=${DISK_SUITE:-bookworm}
packages=${DISK_PACKAGES:-openssh-server nginx postgresql python3 python3-numpy build-essential git vim curl ca-certificates gdb cmake golang nodejs linux-image-amd64 man-db less perl-doc clang default-jdk-headless}
upgrade=${DISK_UPGRADE:-redis-server mariadb-client php-cli haproxy}
# The mirror this machine uses is near.
mirror=${DISK_MIRROR:-$(awk '/^deb /{print $2; exit} /^URIs:/{print $2; exit}' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true)}
mirror=${mirror:-http://deb.debian.org/debian}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
node=${NODE:-node}

export DEBIAN_FRONTEND=noninteractive LC_ALL=C SOURCE_DATE_EPOCH=1700000000
PATH=$PATH:/usr/sbin:/sbin

[ "$(id -u)" -eq 0 ] || { echo 'make-disk.sh: it mounts and runs chroot: run it as root' >&2; exit 1; }
for command in debootstrap mkfs.ext4 losetup fallocate "$node"; do
  command -v "$command" >/dev/null || { echo "make-disk.sh: $command is not installed" >&2; exit 1; }
done

mkdir -p "$folder"
cd "$folder"
root=$PWD/root
mounted=$PWD/mounted

unmount() {
  local where
  for where in "$root/proc" "$mounted/proc" "$mounted"; do
    if mountpoint -q "$where"; then umount "$where"; fi
  done
}
trap unmount EXIT

# The packages' services must not start in here, nor reach the machine's own.
in_root() {
  local where=$1
  shift
  printf '#!/bin/sh\nexit 101\n' >"$where/usr/sbin/policy-rc.d"
  chmod +x "$where/usr/sbin/policy-rc.d"
  cp /etc/resolv.conf "$where/etc/resolv.conf"
  chroot "$where" "$@"
}

make_root() {
  unmount
  rm -rf "$root"
  debootstrap --variant=minbase "$suite" "$root" "$mirror"
  # Java's packages do not configure without it.
  mount -t proc proc "$root/proc"
  in_root "$root" apt-get -qq update
  # shellcheck disable=SC2086 # a list of names
  in_root "$root" apt-get -qq install -y --no-install-recommends $packages
  rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/archives/*.deb
  mkdir -p "$root/var/lib/bench"
  "$node" "$here/disk-files.ts" database "$root/var/lib/bench/table.db"
  "$node" "$here/disk-files.ts" log "$root/var/log/bench.log"
  unmount
}

make_first() {
  if [ ! -e root/var/log/bench.log ]; then make_root; fi
  rm -f v1.part
  truncate -s "$size" v1.part
  mkfs.ext4 -q -F -U 11111111-2222-3333-4444-555555555555 \
    -E hash_seed=11111111-2222-3333-4444-555555555555,lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0 -d root v1.part
  # mkfs wrote zeros; a disk that is trimmed has holes there.
  fallocate --dig-holes v1.part
  mv v1.part v1.raw
  rm -rf "$root"
}

make_second() {
  cp --sparse=always v1.raw v2.part
  mkdir -p "$mounted"
  mount -o loop,discard v2.part "$mounted"
  "$node" "$here/disk-files.ts" pages "$mounted/var/lib/bench/table.db"
  "$node" "$here/disk-files.ts" more-log "$mounted/var/log/bench.log"
  mount -t proc proc "$mounted/proc"
  in_root "$mounted" apt-get -qq update
  # shellcheck disable=SC2086 # a list of names
  in_root "$mounted" apt-get -qq install -y --no-install-recommends $upgrade
  cp "$mounted/usr/bin/perl" "$mounted/root/perl.bak"
  unmount
  mv v2.part v2.raw
}

# No `||`: inside it a failure would not end the script.
if [ ! -e v1.raw ]; then make_first; fi
if [ ! -e v2.raw ]; then make_second; fi
ls -lsh v1.raw v2.raw
