#!/bin/sh
# Fuzzes for long, two targets at a time: sh fuzz/night.sh HOURS. What is found and learnt stays in fuzz/out.
set -eu
cd "$(dirname "$0")/.."
. fuzz/common.sh
hours=${1:?usage: sh fuzz/night.sh HOURS}
count=$(say "$targets" | wc -w)
seconds=$(awk "BEGIN { print int($hours * 3600 * 2 / $count) }")
[ "$seconds" -gt 0 ] || { say "night.sh: $hours hours, expected a number above 0"; exit 2; }
build "$sancov" fuzz/target
say "fuzz: $count targets, $seconds s each"
# shellcheck disable=SC2086
printf '%s\n' $targets | xargs -P 2 -I TARGET sh fuzz/one.sh TARGET "$seconds" fuzz/out
say "$((seconds * count)) s of fuzzing"
if ! table fuzz/out; then
    say "fuzz: findings in fuzz/out, and what was said of them:"
    grep -a -h -A 1 -e 'panicked at' -e 'overflowed its stack' -e 'memory allocation' -e 'timeout after' fuzz/out/*.log |
        sed 's/ ([0-9]*) / /' | cut -c 1-300 | sort | uniq -c | sort -rn | head -n 60
    exit 1
fi
