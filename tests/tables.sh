#!/bin/sh
# All golden sets under every table of shapes, on the default adapter: the same greedy ids, every inner tensor within the same
# bounds, the fast path within what rounding may do. Then every kernel under every table in subgroups of 16, where the processor
# has vectors of 512 bits for lavapipe; and those of cooperative matrices on the newest Mesa's lavapipe, which emulates them, where
# tests/fleet.sh has put that Mesa into target/fleet.
#   sh tests/tables.sh [KIND...]
# LAPIDARY_FIXTURES names a folder with more golden checkpoints; ../shared/fixtures is taken where it is.
# Half an hour on two cores: it is run before a change of tables or shaders is done with, and not on each change.
set -eu
cd "$(dirname "$0")/.."
. examples/setup.sh

if [ -z "${LAPIDARY_FIXTURES:-}" ] && [ -d ../shared/fixtures ]; then
    LAPIDARY_FIXTURES=$(cd ../shared/fixtures && pwd)
    export LAPIDARY_FIXTURES
fi
export NODEVICE_SELECT=1
all="nvidia rdna gcn intel apple adreno cpu unknown"
fleet=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/fleet

# Runs the tests named behind $1 of the binary $1, which must run on a device with $2 in its line where $2 is not empty.
tests() {
    binary=$1 wanted=$2
    shift 2
    log=$(mktemp)
    if ! cargo test --release --locked --quiet --test "$binary" -- --nocapture "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        exit 1
    fi
    if [ -n "$wanted" ] && ! grep -q "^adapter: .*$wanted" "$log"; then
        say "expected a device with \"$wanted\", found: $(grep '^adapter: ' "$log" || echo none)"
        rm -f "$log"
        exit 1
    fi
    grep -E "^adapter: |^golden sets|NOT RUN|^test result" "$log" | sort -u >&2
    rm -f "$log"
}

for kind in ${*:-$all}; do
    say "== table $kind"
    (export LAPIDARY_TEST_TUNING="$kind" && tests model "table $kind" golden_sets_on_the_device golden_sets_in_fast_precision)
done

if grep -qs avx512 /proc/cpuinfo; then
    say "== every table in subgroups of 16"
    (export LP_NATIVE_VECTOR_WIDTH=512 && tests doctor "" under_every_table)
else
    say "not run: kernels in subgroups of 16, for which lavapipe needs AVX-512"
fi

# That Mesa comes with all libraries under it, so that its own loader starts the tests.
mesa="$fleet/mesa-newest"
libraries="$mesa/usr/lib/x86_64-linux-gnu"
if [ ! -f "$mesa/icd/lvp.json" ]; then
    say "not run: kernels of cooperative matrices under every table, which need the newest Mesa; sh tests/fleet.sh all fetches it"
    exit 0
fi
say "== kernels of cooperative matrices under every table, lavapipe of the newest Mesa"
for binary in doctor kernels; do
    program=$(cargo test --release --locked --test "$binary" --no-run 2>&1 | sed -n 's/.*(\(.*\))$/\1/p' | tail -n 1)
    log=$(mktemp)
    if ! VK_DRIVER_FILES="$mesa/icd/lvp.json" "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$program" \
        --nocapture matri rounded_tiles bugs_of_rounded >"$log" 2>&1 || grep -q "NOT RUN" "$log"; then
        cat "$log" >&2
        rm -f "$log"
        exit 1
    fi
    grep "^test result" "$log" >&2
    rm -f "$log"
done
