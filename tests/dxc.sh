#!/bin/sh
# Microsoft's dxcompiler.dll with its licence into folders that hold a lapidary.exe: wgpu's DX12 compiles with it, and without it
# with Windows' own FXC, which has neither f16 nor subgroups nor integer dot products.
#   sh tests/dxc.sh FOLDER…
# It is that of npm's package "webgpu": a build by Microsoft (1.9.0.5517), small, with the same checksum for everybody; the one
# of the Windows SDK differs from machine to machine. tests/hlsl.sh and tests/windows.sh take it from there too.
set -eu
package=webgpu@0.6.2
dll=04cf618004bf19f789f54e8931c7f7106223bccd354b093c4ff725c748512602
say() { printf '%s\n' "$*" >&2; }
[ $# -gt 0 ] || { say "expected folders"; exit 1; }
command -v npm >/dev/null 2>&1 || { say "npm is needed (Debian, Ubuntu: apt install npm)"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent --ignore-scripts "$package" >/dev/null)
files=package/dist/win32-x64
tar -xzf "$work"/webgpu-*.tgz -C "$work" "$files/dxcompiler.dll" "$files/dxcompiler-LICENSE.TXT" \
    "$files/dxcompiler-ThirdPartyNotices.txt"
found=$(sha256sum <"$work/$files/dxcompiler.dll" | cut -d ' ' -f 1)
[ "$found" = "$dll" ] || { say "$package: dxcompiler.dll has the checksum $found, expected $dll"; exit 1; }
for folder in "$@"; do
    mkdir -p "$folder"
    cp "$work/$files"/dxcompiler* "$folder/"
    say "dxcompiler.dll and its licence: $folder"
done
