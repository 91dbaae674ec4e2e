#!/bin/sh
# The portable shader texts through Tint, the compiler that Chromium has for WebGPU: naga accepts what Tint does not.
#   sh tests/tint.sh
# It comes with the npm package "webgpu" (Dawn for node), which goes into target/. Needs node and npm; what is not at hand is
# said, and LAPIDARY_SKIP_ADAPTERS=tint skips it.
set -eu
cd "$(dirname "$0")/.."
. examples/setup.sh
. tests/not_run.sh
. tests/tint/webgpu.sh

case ",${LAPIDARY_SKIP_ADAPTERS:-}," in
    *,tint,*) say "skipped by LAPIDARY_SKIP_ADAPTERS: tint"; exit 0 ;;
esac
if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    not_run "Tint, which needs node and npm"
    exit 0
fi

fetch_webgpu || { say "LAPIDARY_SKIP_ADAPTERS=tint skips it"; exit 1; }
folder=$webgpu_home
cargo run --release --locked --quiet --example wgsl >"$folder/wgsl.json"
# Also for Vulkan, with the driver that tests/adapters.sh has unpacked: Dawn refuses lavapipe of Mesa 22.
icd="${CARGO_TARGET_DIR:-target}/swiftshader/usr/lib/chromium/vk_swiftshader_icd.json"
[ ! -f "$icd" ] || export VK_DRIVER_FILES="$(cd "$(dirname "$icd")" && pwd)/vk_swiftshader_icd.json"
node tests/tint/compile.mjs "$folder" "$folder/wgsl.json"
