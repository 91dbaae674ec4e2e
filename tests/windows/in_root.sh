#!/bin/sh
# Runs a program in a folder as its root, in which this system's devices, /tmp and one more folder have their usual places:
#   in_root.sh ROOT FOLDER PROGRAM ARGUMENT…
set -eu
if [ "${IN_NAMESPACE:-}" != 1 ]; then IN_NAMESPACE=1 exec unshare -m sh "$0" "$@"; fi
unset IN_NAMESPACE
root=$1 folder=$2
shift 2
for place in /proc /sys /dev /tmp "$folder"; do
    mkdir -p "$root$place"
    mount --rbind "$place" "$root$place"
done
case $PWD in "$folder"*) here=$PWD ;; *) here=/ ;; esac
exec chroot "$root" /usr/bin/env -C "$here" "$@"
