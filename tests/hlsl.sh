#!/bin/sh
# naga's HLSL for every shader through Microsoft's compilers, which run under Wine: FXC, which Windows has of its own, gets the
# pipelines of devices without subgroups and integer dot products, DXC all but cooperative matrices.
#   sh tests/hlsl.sh          of the sets of constants those that bring something new to their shader; of the older models of DXC
#                             one for each shader
#   sh tests/hlsl.sh all      all sets: an hour of CPU time
# The compilers come with the npm package "webgpu". Needs npm, Wine and mingw on x86_64, which are installed where apt works;
# what is not at hand is said, and LAPIDARY_SKIP_ADAPTERS=hlsl skips it.
set -eu
cd "$(dirname "$0")/.."
. examples/setup.sh
. tests/not_run.sh
. tests/tint/webgpu.sh

case ",${LAPIDARY_SKIP_ADAPTERS:-}," in
    *,hlsl,*) say "skipped by LAPIDARY_SKIP_ADAPTERS: hlsl"; exit 0 ;;
esac
case "${1:-}" in '' | all) ;; *) say "\"$1\": expected all, or nothing"; exit 1 ;; esac
skip() { not_run "Microsoft's shader compilers: $1"; exit 0; }
[ "$(uname -sm)" = "Linux x86_64" ] || skip "they run under Wine on x86_64"
mingw=x86_64-w64-mingw32-gcc
has() { command -v "$1" >/dev/null 2>&1; }
{ has wine && has $mingw; } || { apt_works && install wine wine64 gcc-mingw-w64-x86-64-win32; } || skip "Wine and mingw cannot be had"
fetch_compilers || skip "webgpu@$webgpu_version cannot be had"

mkdir -p "${CARGO_TARGET_DIR:-target}/hlsl"
folder=$(cd "${CARGO_TARGET_DIR:-target}/hlsl" && pwd)
export WINEPREFIX="$folder/prefix" WINEDEBUG=-all WINEDLLOVERRIDES="d3dcompiler_47,dxcompiler=n;mscoree,mshtml=" LC_ALL=C
# The licences stay beside the libraries.
cp "$dlls"/*.dll "$dlls"/*.[Tt][Xx][Tt] "$folder/"
$mingw -O1 -Wall -Wextra -Werror -o "$folder/compile.exe" tests/hlsl/compile.c
wineboot -i >/dev/null 2>&1 || true

most=60 # seconds of processor time for one shader, beyond which it has failed

# compile COMPILER PROFILE LIST: into LIST.out, a line a file, on both sides of one that takes too long.
compile() (
    : >"$3.out"
    cp "$3" "$3.left"
    while [ -s "$3.left" ]; do
        before=$(wc -l <"$3.out")
        (cd "$folder/$1" && wine ../compile.exe "$1" "$2" $most "$3.left") >>"$3.out" 2>>"$3.errors" || true
        after=$(wc -l <"$3.out")
        # What ends without a word would be begun for ever.
        [ "$after" -gt "$before" ] || { echo "failed 0 none: the compiler ended: $(tail -n 1 "$3.errors")" >>"$3.out"; break; }
        tail -n "+$((after + 1))" "$3" >"$3.left"
    done
)

failed=0
# try COMPILER PROFILE END EACH LEAST: all files with that end, in two halves at once; with EACH=each one for each shader. There
# have to be so many at least.
try() {
    out="$folder/$1/$2"
    sed 's/^\([0-9]*\) \(.*\) \[.*/\1 \2/' "$folder/$1/index" |
        awk -v each="$4" '{ n = $1; $1 = ""; if (!each || !($0 in met)) print n; met[$0] }' |
        # f16 has no text in models that do not know it.
        while read -r number; do [ ! -f "$folder/$1/$number.$3" ] || echo "$number.$3"; done >"$out.list"
    split -n r/2 "$out.list" "$out.half."
    for half in "$out".half.a?; do compile "$1" "$2" "$half" & done
    wait
    cat "$out".half.a?.out | tr -d '\r' >"$out.out"
    passed=$(grep -c '^ok ' "$out.out" || true)
    say "$1 $2: $passed of $(wc -l <"$out.list") pass, $(awk '{ sum += $2 } END { printf "%.0f", sum }' "$out.out") s; the slowest:"
    sort -k 2 -rn "$out.out" | head -n 3 | while read -r _ seconds file _; do say "  $seconds s $(what "$1" "$file")"; done
    grep -v '^ok ' "$out.out" | while read -r verdict seconds file message; do
        say "$verdict: $(what "$1" "$file"), $seconds s: $message"
    done
    [ "$passed" = "$(wc -l <"$out.list")" ] || failed=1
    # Fewer texts than shaders would mean that nothing was written.
    [ "$passed" -ge "$5" ] || { say "FAILED: $passed texts, expected $5 at least"; failed=1; }
}
# The pipeline that a file is of.
what() { sed -n "s/^${2%%.*} //p" "$folder/$1/index" | tr -d '()"[]' | sed 's/, \([0-9]\)/=\1/g'; }

for compiler in fxc dxc; do
    rm -rf "${folder:?}/$compiler"
    cargo run --release --locked --quiet --example translations -- $compiler "$folder/$compiler" ${1:-}
done
try fxc cs_5_1 hlsl "" 200
try dxc cs_6_6 66.hlsl "" 400
each=each
[ -z "${1:-}" ] || each=
try dxc cs_6_2 62.hlsl "$each" 50
try dxc cs_6_0 60.hlsl "$each" 50

# What must be refused: FXC knows no sums of subgroups, and neither a name that is none.
mkdir -p "$folder/wrong"
cd "$folder/wrong"
first=$(ls ../fxc/*.hlsl | head -n 1)
sed 's/GroupMemoryBarrierWithGroupSync()/GroupMemoryBarrierWithGroupSink()/; s/asuint/asunit/' "$first" >name.hlsl
printf 'RWByteAddressBuffer y : register(u0);\n[numthreads(32, 1, 1)] void main(uint i : SV_GroupIndex) { y.Store(4 * i, WaveActiveSum(i)); }\n' >wave.hlsl
for case in "fxc cs_5_1 name" "fxc cs_5_1 wave" "dxc cs_6_6 name"; do
    # shellcheck disable=SC2086
    set -- $case
    echo "$3.hlsl" >list
    if wine ../compile.exe "$1" "$2" $most list >out 2>&1 || ! grep -q "^failed .*error" out; then
        say "$1 does not refuse $folder/wrong/$3.hlsl: $(cat out)"
        failed=1
    fi
done
[ "$failed" = 0 ] || { say "FAILED: HLSL that Microsoft's compilers refuse; the texts are in $folder"; exit 1; }
