#!/bin/sh
# The golden sets on other adapters than the default: the same greedy ids, and every inner tensor within the same bounds; the
# fast path within what rounding may do; and `lapidary doctor`, which runs every kernel, and finds nothing wrong.
#   sh tests/adapters.sh
# swiftshader  Google's Vulkan on the CPU, out of Debian's chromium-common: no f16, subgroups of 4, 256 threads, 10 buffers
# gl           wgpu's OpenGL backend: naga's GLSL, neither f16 nor subgroups nor immediates
# weak         the default adapter without all that kernels can do without
# lanes        the default adapter with subgroups of more lanes than kernels are told: as on Adreno, which has two sizes
# One that is missing is a failure, unless LAPIDARY_SKIP_ADAPTERS names it: swiftshader,gl,weak,lanes.
set -eu
cd "$(dirname "$0")/.."
. examples/setup.sh
# The sets of every clone: software adapters take half a minute for each.
unset LAPIDARY_FIXTURES
skipped=

# Whether $1 is to be skipped, which is said again at the end.
skips() {
    case ",${LAPIDARY_SKIP_ADAPTERS:-}," in
        *",$1,"*) skipped="$skipped $1"; return 0 ;;
        *) return 1 ;;
    esac
}

# Runs the tests behind $1; fails where the adapter is not one whose line has $1.
golden() {
    wanted=$1
    shift
    log=$(mktemp)
    if ! cargo test --release --locked --quiet --test model -- --nocapture "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        exit 1
    fi
    if ! grep -q "^adapter: .*$wanted" "$log"; then
        say "expected an adapter with \"$wanted\", found: $(grep '^adapter: ' "$log" || echo none)"
        rm -f "$log"
        exit 1
    fi
    grep -E "^adapter: |^test result" "$log" >&2
    rm -f "$log"
}

# Examines the adapter, with the options given; prints the block for bug reports.
doctor() {
    report=$(mktemp)
    if ! cargo run --release --locked --quiet -- doctor --no-cache "$@" >"$report" 2>&1; then
        cat "$report" >&2
        rm -f "$report"
        exit 1
    fi
    # What could be left unused is no failure to the doctor, but it is here.
    if grep -qE 'FAILED|must do without' "$report"; then
        cat "$report" >&2
        rm -f "$report"
        exit 1
    fi
    tail -n 12 "$report" >&2
    rm -f "$report"
}
exact=golden_sets_on_the_device
fast=golden_sets_in_fast_precision

# Prints the path of SwiftShader's description, unpacked where nothing is installed.
swiftshader() {
    folder="${CARGO_TARGET_DIR:-target}/swiftshader"
    icd=usr/lib/chromium/vk_swiftshader_icd.json
    if [ ! -f "$folder/$icd" ]; then
        mkdir -p "$folder"
        # Where the lists of packages are missing or old, after an update.
        (cd "$folder" && { apt-get download -qq chromium-common >/dev/null 2>&1 \
            || { apt-get update -qq && apt-get download -qq chromium-common; } >/dev/null 2>&1; } \
            && dpkg-deb --fsys-tarfile chromium-common_*.deb | tar -x --wildcards '*vk_swiftshader*' \
            && rm -f chromium-common_*.deb) || true
    fi
    [ -f "$folder/$icd" ] && (cd "$folder" && printf '%s/%s\n' "$(pwd)" "$icd")
}

if skips swiftshader; then :
elif ! grep -qs '^ID=debian' /etc/os-release; then
    say "not run: swiftshader, which comes out of a package of Debian"
else
    say "== swiftshader"
    icd=$(swiftshader) || { say "SwiftShader could not be unpacked from chromium-common"; exit 1; }
    (export VK_DRIVER_FILES="$icd" && golden SwiftShader $exact $fast && doctor)
fi
if ! skips gl; then
    say "== gl"
    if ! PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep -q 'libEGL\.so\.1'; then
        apt_works && install libegl1 || { say "OpenGL needs libEGL (Debian, Ubuntu: apt install libegl1)"; exit 1; }
    fi
    # Without any Vulkan driver, OpenGL is what is left.
    (export VK_DRIVER_FILES=/nonexistent && golden "Core Profile" $exact)
fi
if ! skips weak; then
    say "== weak"
    weak=f16,subgroups,dot,timestamps,immediates,buffers=8,binding=64M,buffer=256M,threads=256,workgroup=16K
    (export LAPIDARY_TEST_WITHOUT="$weak" && golden 'without "f16,subgroups,dot' $exact $fast)
    doctor --disable "$weak"
fi
if ! skips lanes; then
    say "== lanes"
    # lavapipe's subgroups are as wide as its vectors: 16 lanes, of which kernels know 8.
    export LP_NATIVE_VECTOR_WIDTH=512 LAPIDARY_TEST_WITHOUT=cpu-kernels,lanes=8
    golden "without \"$LAPIDARY_TEST_WITHOUT" $fast
    unset LP_NATIVE_VECTOR_WIDTH LAPIDARY_TEST_WITHOUT
fi
[ -z "$skipped" ] || say "adapters skipped by LAPIDARY_SKIP_ADAPTERS:$skipped"
