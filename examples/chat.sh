#!/bin/sh
# Builds lapidary and starts a chat; with no --model it is the demo model that is part of the binary.
#   sh examples/chat.sh [--model DIR] [--adapter NAME] ...
set -eu
cd "$(dirname "$0")/.."
. examples/setup.sh
say "building (a few minutes the first time)"
cargo build --release --locked --quiet --bin lapidary
exec "${CARGO_TARGET_DIR:-target}/release/lapidary" chat "$@"
