#!/bin/sh
# Fuzzes every target for some seconds, two at a time, from the corpus in fuzz/corpus and all earlier findings:
#   sh fuzz/run.sh [SECONDS]
set -eu
cd "$(dirname "$0")/.."
. fuzz/common.sh
seconds=${1:-20}
out=$TMPDIR/out
mkdir -p "$out"
say "fuzz: building"
build "$sancov" fuzz/target
say "fuzz: ${seconds} s a target"
export LAPIDARY_FUZZ_FIRST=1
# shellcheck disable=SC2086
printf '%s\n' $targets | xargs -P 2 -I TARGET sh fuzz/one.sh TARGET "$seconds" "$out"
for target in $targets; do
    [ "$(number "$out/$target.log" number_of_executed_units)" -gt 0 ] || { cat "$out/$target.log"; say "fuzz: $target did not run"; exit 1; }
done
if ! table "$out"; then
    mkdir -p fuzz/out
    for input in $(find "$out" -maxdepth 1 -name '*-crash-*' -o -maxdepth 1 -name '*-timeout-*' -o -maxdepth 1 -name '*-oom-*'); do
        cp "$input" fuzz/out/
        name=$(basename "$input")
        say ""
        say "== fuzz/out/$name (fuzz/target/release/${name%%-*} runs it again), in base64:"
        base64 "$input" | head -c 20000
        grep -a -A 30 -e 'panicked at' -e 'ERROR: libFuzzer' -e 'memory allocation' "$out/${name%%-*}.log" | cut -c 1-500 | head -n 60
    done
    say "fuzz: findings, expected none"
    exit 1
fi
