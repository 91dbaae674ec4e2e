#!/bin/sh
# What is handed out for a target: the program with what a user has to have beside it, in a folder and packed, in target/package.
#   sh tests/package.sh TARGET     after cargo build --release --bin lapidary --target TARGET
# For Windows that is also Microsoft's dxcompiler.dll with its licence. There is no package for musl: a static program cannot load
# a driver, and drivers for glibc do not go into one that is linked dynamically (docs/targets.md).
set -eu
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }
[ $# = 1 ] || { say "expected a target"; exit 1; }
target=$1 name=lapidary-$1
case $target in *windows*) program=lapidary.exe ;; *) program=lapidary ;; esac
built=${CARGO_TARGET_DIR:-target}/$target/release/$program
[ -f "$built" ] || { say "$built is not there: cargo build --release --bin lapidary --target $target"; exit 1; }

packages=target/package
rm -rf "$packages/$name"
mkdir -p "$packages/$name"
cp "$built" LICENSE-APACHE LICENSE-MIT README.md "$packages/$name/"
[ ! -f CHANGELOG.md ] || cp CHANGELOG.md "$packages/$name/"
case $target in
    *windows*)
        sh tests/dxc.sh "$packages/$name"
        archive=$name.zip
        rm -f "$packages/$archive"
        # Windows' runners have no zip, and Debian no 7z.
        if command -v 7z >/dev/null 2>&1; then
            (cd "$packages" && 7z a -bso0 -bsp0 "$archive" "$name")
        else
            (cd "$packages" && zip -q -r "$archive" "$name")
        fi
        ;;
    *)
        archive=$name.tar.gz
        tar -czf "$packages/$archive" -C "$packages" "$name"
        ;;
esac
say "$packages/$archive: $(wc -c <"$packages/$archive") bytes"
