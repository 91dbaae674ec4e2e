#!/bin/sh
# One target for some seconds: sh fuzz/one.sh TARGET SECONDS FOLDER. Inputs that reach something new go to
# FOLDER/corpus, findings and the log to FOLDER. A finding does not end it, another run takes up the rest of the time,
# unless LAPIDARY_FUZZ_FIRST is set.
set -u
cd "$(dirname "$0")/.."
. fuzz/common.sh
target=$1 seconds=$2 out=$3
mkdir -p "$out/corpus/$target" "fuzz/findings/$target"
: >"$out/$target.log"
export LAPIDARY_FUZZ_CURRENT="$TMPDIR/current"
ulimit -s 2048
end=$(($(date +%s) + seconds))
while left=$((end - $(date +%s))) && [ "$left" -gt 0 ]; do
    # A wait of a minute is a hang; what takes long is counted in processor time by the targets themselves. The stack is
    # that of a thread rather than a program's.
    fuzz/target/release/"$target" -max_total_time="$left" -timeout=60 -rss_limit_mb=1024 -max_len="$(longest "$target")" \
        -print_final_stats=1 -artifact_prefix="$out/$target-" \
        "$out/corpus/$target" "fuzz/corpus/$target" "fuzz/findings/$target" >>"$out/$target.log" 2>&1 && break
    # An overflow of the stack leaves no room to write the input, which stands here all the same.
    if tail -n 20 "$out/$target.log" | grep -a -q 'has overflowed its stack'; then
        cp "$LAPIDARY_FUZZ_CURRENT" "$out/$target-crash-$(cksum <"$LAPIDARY_FUZZ_CURRENT" | tr -d ' ')"
    fi
    [ -z "${LAPIDARY_FUZZ_FIRST:-}" ] || break
    # A target that does not even start shall not do so forever.
    sleep 1
done
exit 0
