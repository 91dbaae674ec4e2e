#!/bin/sh
# Which lines of the parsed modules the corpora run, and with --tests also those that the tests of files and texts run:
#   sh fuzz/coverage.sh [--tests]
# Takes minutes to build. LAPIDARY_FUZZ_LINES=1 lists the lines that nothing runs.
set -eu
cd "$(dirname "$0")/.."
. fuzz/common.sh
covered="-C instrument-coverage"
build "$covered" fuzz/target/coverage --features coverage
pairs=
for target in $targets; do
    profiles=$TMPDIR/$target.profiles
    mkdir "$profiles"
    for folder in fuzz/corpus fuzz/findings fuzz/out/corpus; do
        [ -d "$folder/$target" ] || continue
        find "$folder/$target" -type f -print0 |
            LLVM_PROFILE_FILE=$profiles/%p.profraw xargs -0 -r -n 200 "fuzz/target/coverage/release/$target" >"$TMPDIR/log" 2>&1 ||
            { say "coverage: an input in $folder/$target fails"; tail -n 30 "$TMPDIR/log"; exit 1; }
    done
    pairs="$pairs fuzz/target/coverage/release/$target $profiles"
done
if [ "${1:-}" = --tests ]; then
    RUSTC_WRAPPER=$PWD/fuzz/rustc.sh LAPIDARY_FUZZ_FLAGS=$covered CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=fuzz/target/coverage \
        cargo test --locked --no-run --lib --test hostile --test text --test formats --message-format=json 2>/dev/null |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' >"$TMPDIR/tests"
    while read -r test; do
        name=test-$(basename "$test")
        mkdir "$TMPDIR/$name.profiles"
        ln -s "$test" "$TMPDIR/$name"
        filter=
        case $name in test-lapidary-*) filter="checkpoint:: text:: record error:: decode strict kept mask pipeline_cache" ;; esac
        # shellcheck disable=SC2086
        LLVM_PROFILE_FILE=$TMPDIR/$name.profiles/%p.profraw "$test" --quiet $filter >"$TMPDIR/log" 2>&1 ||
            { say "coverage: $name failed:"; grep -a -A 5 -e panicked -e FAILED "$TMPDIR/log" | head -n 20; }
        pairs="$pairs $TMPDIR/$name $TMPDIR/$name.profiles"
    done <"$TMPDIR/tests"
fi
# shellcheck disable=SC2086
fuzz/target/coverage/release/coverage "$PWD" $pairs
