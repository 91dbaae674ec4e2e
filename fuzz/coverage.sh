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
# One test binary, and the program that it starts: by the first level of the profiles' folder, which is the binary's own.
run_test() {
    profiles=$TMPDIR/$1.profiles
    LLVM_PROFILE_FILE=$profiles/%m/%p.profraw "$2" --list >/dev/null
    own=$(ls "$profiles")
    shift
    LLVM_PROFILE_FILE=$profiles/%m/%p.profraw "$@" --quiet >"$TMPDIR/log" 2>&1 ||
        { say "coverage: $1 failed:"; grep -a -A 5 -e panicked -e FAILED "$TMPDIR/log" | head -n 20; } >&2
    for folder in "$profiles"/*; do
        case $folder in */"$own") object=$1 ;; *) object=$program ;; esac
        link=$TMPDIR/test-$(basename "$profiles")-$(basename "$folder")
        ln -s "$object" "$link"
        pairs="$pairs $link $folder"
    done
}
if [ "${1:-}" = --tests ]; then
    program=$PWD/fuzz/target/coverage/debug/lapidary
    RUSTC_WRAPPER=$PWD/fuzz/rustc.sh LAPIDARY_FUZZ_FLAGS=$covered CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$PWD/fuzz/target/coverage \
        cargo test --locked --quiet --no-run --lib --test hostile --test text --test formats --message-format=json \
        --config 'profile.dev.package."*".opt-level=1' >"$TMPDIR/built"
    for test in $(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$TMPDIR/built"); do
        name=$(basename "$test")
        case $name in
        lapidary) ;;
        lapidary-*) run_test "$name" "$test" checkpoint:: gemma4:: text:: record error:: decode strict kept mask pipeline_cache ;;
        *) run_test "$name" "$test" ;;
        esac
    done
fi
# shellcheck disable=SC2086
fuzz/target/coverage/release/coverage "$PWD" $pairs
