#!/bin/sh
# Token ids of random texts, beside those of the Python package `tokenizers`, for the demo's vocabulary and, where
# LAPIDARY_FIXTURES is set, for Gemma 4's.
#   sh tests/tokenizer.sh [COUNT] [SEED]     30,000 texts for each by default, a fresh seed
# The package goes into a virtual environment in target/; what is not at hand is said.
set -eu
cd "$(dirname "$0")/.."
. examples/setup.sh
count=${1:-30000}
seed=${2:-${LAPIDARY_SEED:-$(date +%s)}}
version=0.23.3

target="${CARGO_TARGET_DIR:-target}"
python="$target/tokenizer/bin/python3"
if ! "$python" -c "import tokenizers; assert tokenizers.__version__ == '$version'" 2>/dev/null; then
    { python3 -m venv "$target/tokenizer" && "$python" -m pip install --quiet "tokenizers==$version"; } >/dev/null 2>&1 \
        || { say "not run: tests/tokenizer.sh, which needs python3 with venv, and the package tokenizers $version"; exit 0; }
fi
cargo build --release --locked --quiet --example encode
set -- examples/demo-model/tokenizer.json
gemma="${LAPIDARY_FIXTURES:-}/../gemma-4-tokenizer/tokenizer.json"
if [ -f "$gemma" ]; then set -- "$@" "$gemma"; else say "not run without LAPIDARY_FIXTURES: the full vocabulary's ids"; fi
for file; do
    "$python" tests/tokenizer/compare.py "$target/release/examples/encode" "$file" "$count" "$seed"
done
