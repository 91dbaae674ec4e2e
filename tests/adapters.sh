#!/bin/sh
# The golden sets on other adapters than the default: the same greedy ids, and every inner tensor within the same bounds.
#   sh tests/adapters.sh
# swiftshader  Google's Vulkan on the CPU, out of Debian's chromium-common: no f16, subgroups of 4, 256 threads, 10 buffers
# gl           wgpu's OpenGL backend: naga's GLSL, neither f16 nor subgroups nor immediates
# weak         the default adapter without all that kernels can do without
# One that is missing is a failure, unless LAPIDARY_SKIP_ADAPTERS names it: swiftshader,gl,weak.
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

# Runs the golden sets; fails where the adapter is not one whose line has $1.
golden() {
    log=$(mktemp)
    if ! cargo test --release --locked --quiet --test model golden_sets_on_the_device -- --nocapture >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        exit 1
    fi
    if ! grep -q "^adapter: .*$1" "$log"; then
        say "expected an adapter with \"$1\", found: $(grep '^adapter: ' "$log" || echo none)"
        rm -f "$log"
        exit 1
    fi
    grep -E "^adapter: |^test result" "$log" >&2
    rm -f "$log"
}

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
    (export VK_DRIVER_FILES="$icd" && golden SwiftShader)
fi
if ! skips gl; then
    say "== gl"
    if ! PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep -q 'libEGL\.so\.1'; then
        apt_works && install libegl1 || { say "OpenGL needs libEGL (Debian, Ubuntu: apt install libegl1)"; exit 1; }
    fi
    # Without any Vulkan driver, OpenGL is what is left.
    (export VK_DRIVER_FILES=/nonexistent && golden "Core Profile")
fi
if ! skips weak; then
    say "== weak"
    weak=f16,subgroups,dot,timestamps,immediates,buffers=8,binding=64M,buffer=256M,threads=256,workgroup=16K
    (export LAPIDARY_TEST_WITHOUT="$weak" && golden 'without "f16,subgroups,dot')
fi
[ -z "$skipped" ] || say "adapters skipped by LAPIDARY_SKIP_ADAPTERS:$skipped"
