#!/bin/sh
# lapidary.exe, built here and run under Wine, where Vulkan and DX12 both end at lavapipe: what a Windows user types first, the
# demo model's golden answer on both, word for word as this machine's own program gives it, and `doctor` on DX12 with FXC.
#   sh tests/windows.sh          all of it: the first build takes five CPU minutes, what runs afterwards another ten
#   sh tests/windows.sh build    lapidary.exe alone, in target/windows/run
# It installs mingw and Xvfb where apt can, and takes the system's Wine where that is Wine 10 or later, else that of Debian 13,
# which is unpacked and needs root; rust-src of this rustc's version is taken from rustup or from Debian, and
# Microsoft's d3dcompiler_47.dll from npm's package "webgpu". What cannot be had is said, and then nothing is run.
set -eu
cd "$(dirname "$0")/.."
. examples/setup.sh
. tests/not_run.sh
skip() { not_run "Windows: $1"; exit 0; }

[ "$(uname -sm)" = "Linux x86_64" ] || skip "it is built and run on x86_64 Linux"
case ${1:-} in '' | build) ;; *) say "\"$1\": expected build, or nothing"; exit 1 ;; esac

mkdir -p "${CARGO_TARGET_DIR:-target}/windows/run"
windows=$(cd "${CARGO_TARGET_DIR:-target}/windows" && pwd)
fleet=$windows
. tests/fleet/packages.sh
. tests/tint/webgpu.sh
. tests/targets/std.sh
. tests/windows/build.sh
. tests/windows/wine.sh

toolchain
build
[ "${1:-}" != build ] || exit 0
libraries
cp "$dlls/d3dcompiler_47.dll" "$windows/run/"
cargo build --release --locked --quiet --bin lapidary
wine_ready

# What a reader sees: the command, what it says, how it ended and how long it took.
failed=
out=$windows/out err=$windows/err
run() {
    printf '\n> lapidary %s\n' "$*"
    begun=$(date +%s)
    code=0
    lapidary "$@" >"$out" 2>"$err" </dev/null || code=$?
    ended=$(date +%s)
    cat "$out" "$err"
    printf '(exit code %s, %s s)\n' "$code" "$((ended - begun))"
}
fail() { say "FAILED: $1"; failed=1; }
# expect CODE TEXT…: how the last command ended, and lines or parts of lines that it said.
expect() {
    [ "$code" = "$1" ] || fail "exit code $code, expected $1"
    shift
    for text in "$@"; do grep -qF -- "$text" "$out" "$err" || fail "expected \"$text\""; done
}

run --version
expect 0 "lapidary $(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
run devices
expect 0 "Vulkan" "DX12" "FXC, which is part of Windows" "put dxcompiler.dll into Z:\\"
run inspect
expect 0 "demo model (built in)"
printf '[{"role": "user", "content": "Grüße, 日本\\r\\nб"}]\r\n' >"$WINEPREFIX/drive_c/Grüße.json"
run prompt --messages 'C:\Grüße.json'
expect 0 'Grüße, 日本'
"$native" prompt --messages "$WINEPREFIX/drive_c/Grüße.json" | cmp - "$out" || fail "prompt: not what the native program says"

say_text='What does Vec::push do?'
"$native" generate --prompt "$say_text" --temperature 0 --no-cache >"$windows/native" 2>/dev/null
same() { cmp "$out" "$windows/native" || fail "$1: not the native program's answer"; }
run generate --adapter vulkan --prompt "$say_text" --temperature 0
expect 0 "| Vulkan |" "first start on"
same Vulkan
# The second start finds what the first one kept, and the compiled pipelines.
run generate --adapter vulkan --prompt "$say_text" --temperature 0
! grep -qF "first start on" "$err" || fail "what the first start found was not kept"
same Vulkan

run doctor --adapter dx12
expect 0 "passed in" "tier plain" "compiler FXC" "kept in C:\\users\\"
run generate --adapter dx12 --prompt "$say_text" --temperature 0
expect 0 "| DX12 |"
same DX12
. tests/windows/habits.sh
[ -z "$failed" ] || exit 1
printf '\nall of it as expected, with %s\n' "$(versions)"
