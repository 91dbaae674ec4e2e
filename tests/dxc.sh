#!/bin/sh
# Microsoft's dxcompiler.dll with its licence into folders that hold a lapidary.exe: wgpu's DX12 compiles with it, and without it
# with Windows' own FXC, which has neither f16 nor subgroups nor integer dot products.
#   sh tests/dxc.sh FOLDER…
# It is that of npm's package "webgpu": a build by Microsoft (1.9.0.5517), small, with the same checksum for everybody; the one
# of the Windows SDK differs from machine to machine. tests/hlsl.sh and tests/windows.sh take it from there too.
set -eu
say() { printf '%s\n' "$*" >&2; }
[ $# -gt 0 ] || { say "expected folders"; exit 1; }
. "$(dirname "$0")/tint/webgpu.sh"
fetch_compilers || exit 1
for folder in "$@"; do
    mkdir -p "$folder"
    cp "$dlls"/dxcompiler* "$folder/"
    say "dxcompiler.dll and its licence: $folder"
done
