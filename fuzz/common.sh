# What the scripts here share; they read it with the project's root as the working folder.

targets="header config tokenizer template messages cache stream"
say() { printf '%s\n' "$*"; }

# libFuzzer is C++.
if ! command -v c++ >/dev/null 2>&1; then
    [ "$(id -u)" = 0 ] && apt-get update -qq >/dev/null 2>&1 && apt-get install -y -qq g++ >/dev/null 2>&1 ||
        { say "== not run: fuzz/, which needs a C++ compiler (c++)"; exit 0; }
fi

# What rustc.sh adds for the crates that read files: the stable compiler has LLVM's coverage for fuzzers, without
# sanitizers, which safe Rust has little need of.
sancov="-C passes=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    sancov="$sancov -C llvm-args=-sanitizer-coverage-$option"
done

# build FLAGS FOLDER [ARGUMENTS]: the targets with FLAGS, in FOLDER.
build() {
    flags=$1 folder=$2
    shift 2
    RUSTC_WRAPPER=$PWD/fuzz/rustc.sh LAPIDARY_FUZZ_FLAGS=$flags CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$folder \
        cargo build --release --locked --quiet --manifest-path fuzz/Cargo.toml "$@"
}

# longest TARGET: bytes of its inputs at most. Size alone is a matter of tests/hostile.
longest() {
    case $1 in
    header | template) say 65536 ;;
    tokenizer) say 32768 ;;
    stream) say 2048 ;;
    *) say 16384 ;;
    esac
}

# Folders for files that targets write, in memory where there is such a place; gone at the end.
[ -d /dev/shm ] && [ -w /dev/shm ] && TMPDIR=/dev/shm
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/lapidary-fuzz.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT TERM

# number LOG NAME: the sum of a figure that libFuzzer prints at the end of each run.
number() { sed -n "s/^stat::$2: *//p" "$1" | awk '{ sum += $1 } END { print sum + 0 }'; }

# table FOLDER: what the logs in FOLDER say, a line for each target.
table() {
    printf '%-10s %12s %9s %9s %9s %9s\n' target executions edges inputs "MiB peak" findings
    for target in $targets; do
        log=$1/$target.log
        [ -f "$log" ] || continue
        runs=$(number "$log" number_of_executed_units)
        edges=$(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$log" | sort -n | tail -n 1)
        inputs=$(sed -n 's/^#.* corp: \([0-9]*\)\/.*/\1/p' "$log" | tail -n 1)
        peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log" | sort -n | tail -n 1)
        found=$(find "$1" -name "$target-crash-*" -o -name "$target-timeout-*" -o -name "$target-oom-*" | wc -l)
        printf '%-10s %12s %9s %9s %9s %9s\n' "$target" "$runs" "${edges:-0}" "${inputs:-0}" "${peak:-0}" "$found"
        all=$((${all:-0} + runs)) finds=$((${finds:-0} + found))
    done
    printf '%-10s %12s %39s\n' total "${all:-0}" "${finds:-0}"
    [ "${finds:-0}" -eq 0 ]
}
