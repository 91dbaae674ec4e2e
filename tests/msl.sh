#!/bin/sh
# naga's MSL for every shader through a C++ compiler with a stand-in for Metal's library: names, types and conversions, not
# Metal's own rules.
#   sh tests/msl.sh          of the sets of constants those that bring something new: seconds
#   sh tests/msl.sh all      all sets
# Needs g++; LAPIDARY_SKIP_ADAPTERS=msl skips it.
set -eu
cd "$(dirname "$0")/.."
. examples/setup.sh
. tests/not_run.sh

case ",${LAPIDARY_SKIP_ADAPTERS:-}," in
    *,msl,*) say "skipped by LAPIDARY_SKIP_ADAPTERS: msl"; exit 0 ;;
esac
case "${1:-}" in '' | all) ;; *) say "\"$1\": expected all, or nothing"; exit 1 ;; esac
command -v g++ >/dev/null 2>&1 || { apt_works && install g++; } || {
    not_run "the type check of MSL, which needs g++"
    exit 0
}

mkdir -p "${CARGO_TARGET_DIR:-target}/msl"
folder=$(cd "${CARGO_TARGET_DIR:-target}/msl" && pwd)
rm -rf "$folder/texts" "$folder/batches"
mkdir "$folder/batches"
cargo run --release --locked --quiet --example translations -- msl "$folder/texts" ${1:-}
# Functions that differ in an address space alone are the same to C++.
find "$folder/texts" -name '*.metal' -exec sed -i 's/NagaCooperativeLoad(const device /NagaCooperativeLoadFromDevice(const device /' {} +

# Metal has no double: literals without a suffix are floats.
check() { g++ -std=c++17 -fsyntax-only -fsingle-precision-constant -w -include tests/msl/metal_stdlib -I tests/msl -x c++ "$1"; }

# Kernels of one batch stand in a namespace each.
(cd "$folder/batches" && ls "$folder/texts" | grep '\.metal$' | split -l 200 - names.)
for names in "$folder"/batches/names.*; do
    sed "s#\(.*\)\.metal#namespace k\1 {\n\#include \"$folder/texts/\1.metal\"\n}#" "$names" >"$names.cc"
done
failed=0
for batch in "$folder"/batches/*.cc; do
    check "$batch" >"$batch.log" 2>&1 || { failed=1; grep -m 10 'error' "$batch.log" >&2; }
done

# What must be refused: a wrong name, a wrong type, a cast to another size, a variable that is declared twice.
for wrong in 's/metal::float4(/metal::float5(/' 's/^    uint /    nothing /' 's/as_type<float>(/as_type<metal::float2>(/' \
    's/^\( *uint _e[0-9]* = .*\)/\1 \1/'; do
    for text in "$folder"/texts/*.metal; do
        sed "$wrong" "$text" >"$folder/wrong.metal"
        cmp -s "$text" "$folder/wrong.metal" || break
    done
    if check "$folder/wrong.metal" >/dev/null 2>&1; then
        say "$text is not refused when it is changed by $wrong"
        failed=1
    fi
done
[ "$failed" = 0 ] || { say "FAILED: MSL that is wrong; $folder/texts/index tells which pipelines the numbers are"; exit 1; }
say "MSL: all pass"
