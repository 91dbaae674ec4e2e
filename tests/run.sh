#!/bin/sh
# All checks: formatting, lints, documentation, tests in release on this machine's adapter, and some fuzzing.
#   sh tests/run.sh
# LAPIDARY_FIXTURES names a folder with more golden checkpoints; ../shared/fixtures is taken where it is.
set -eu
cd "$(dirname "$0")/.."
. examples/setup.sh

if [ -z "${LAPIDARY_FIXTURES:-}" ] && [ -d ../shared/fixtures ]; then
    LAPIDARY_FIXTURES=$(cd ../shared/fixtures && pwd)
fi
[ -n "${LAPIDARY_FIXTURES:-}" ] && export LAPIDARY_FIXTURES
if [ -n "${LAPIDARY_FIXTURES:-}" ] && [ ! -d "$LAPIDARY_FIXTURES" ]; then
    say "LAPIDARY_FIXTURES is \"$LAPIDARY_FIXTURES\", expected a folder"
    exit 1
fi

# What tests say that they did not run, once more at the end.
LAPIDARY_NOT_RUN=$(mktemp)
export LAPIDARY_NOT_RUN

# Mesa's device-select layer writes to stderr where there is no desktop.
export NODEVICE_SELECT=1
for tool in fmt clippy; do
    cargo $tool --version >/dev/null 2>&1 || { say "cargo $tool is needed: rustup component add rustfmt clippy"; exit 1; }
done

# With it tests watch which files are opened.
command -v strace >/dev/null 2>&1 || { apt_works && install strace; } || say "strace is not there: what it watches is skipped"

step() { say ""; say "== $*"; "$@"; }
step cargo fmt --check
step cargo fmt --check --manifest-path fuzz/Cargo.toml
step cargo clippy --release --locked --all-targets --quiet -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc --release --locked --no-deps --document-private-items --quiet
step cargo test --release --locked --no-fail-fast
oracle=../shared/oracle/make_gptq.py
if [ -n "${LAPIDARY_FIXTURES:-}" ] && [ -f "$oracle" ] && python3 -c "import numpy" 2>/dev/null; then
    step sh tests/oracle.sh "$oracle"
else
    say ""
    say "== not run: tests/oracle.sh, which needs python3 with numpy, LAPIDARY_FIXTURES and $oracle"
fi
step sh tests/tokenizer.sh
step sh tests/jinja.sh
step sh tests/adapters.sh
step sh tests/tint.sh
step sh tests/msl.sh
step sh tests/hlsl.sh
step sh tests/fleet.sh
step sh fuzz/run.sh
step cargo run --release --locked --quiet -- devices
say ""
if [ -n "${LAPIDARY_FIXTURES:-}" ]; then sets=$LAPIDARY_FIXTURES; else sets=tests/golden; fi
say "golden checkpoints: $(ls "$sets"/*/golden.safetensors | wc -l) in $sets"
[ -n "${LAPIDARY_FIXTURES:-}" ] || say "not run without LAPIDARY_FIXTURES: the other golden checkpoints, the full vocabulary's cases"
sort -u "$LAPIDARY_NOT_RUN" | while read -r line; do say "$line"; done
rm -f "$LAPIDARY_NOT_RUN"
[ -z "${LAPIDARY_SKIP_ADAPTERS:-}" ] || say "skipped by LAPIDARY_SKIP_ADAPTERS: $LAPIDARY_SKIP_ADAPTERS"
