#!/bin/sh
# Every pipeline that presets make, through the compilers of GPUs that are not there: no pipeline may be rejected, and none may
# spill more, hold fewer subgroups or be narrower than tests/fleet/expected.json records. Nothing is computed.
#   sh tests/fleet.sh                 AMD's, by RADV of bookworm-backports: no download but the first, about two CPU minutes
#   sh tests/fleet.sh all             also the newest Mesa's for AMD, Intel, Adreno and Apple
#   sh tests/fleet.sh [all] record    takes what it finds as what is expected
#   sh tests/fleet.sh all page        writes docs/fleet.md's tables; `all record page` does both
#   sh tests/fleet.sh only NAME…      these GPUs, without a comparison of the others
# It runs on Debian 12, for whose packages it unpacks others under target/fleet; elsewhere, and where a package cannot be had,
# it says so and does nothing. LAPIDARY_SKIP_ADAPTERS=fleet skips it.
set -eu
cd "$(dirname "$0")/.."
. examples/setup.sh
. tests/not_run.sh

skip() { not_run "the fleet: $1"; exit 0; }
case ",${LAPIDARY_SKIP_ADAPTERS:-}," in
    *,fleet,*) say "skipped by LAPIDARY_SKIP_ADAPTERS: fleet"; exit 0 ;;
esac
grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || skip "it takes packages for Debian 12"
[ "$(uname -m)" = x86_64 ] || skip "its packages are for x86_64"
command -v gcc >/dev/null 2>&1 || skip "its layer needs gcc"

mkdir -p "${CARGO_TARGET_DIR:-target}/fleet"
fleet=$(cd "${CARGO_TARGET_DIR:-target}/fleet" && pwd)
expected=tests/fleet/expected.json
. tests/fleet/packages.sh
. tests/fleet/shims.sh

# What RADV's null device has, by the name that RADV_FORCE_FAMILY takes.
null="gfx803=polaris10 gfx906=vega20 gfx90a=mi200 gfx1030=navi21 gfx1100=navi31 gfx1151=gfx1151 gfx1201=gfx1201"
newest="gfx1030-newest=navi21 gfx1100-newest=navi31 gfx1150-newest=gfx1150 skl tgl dg2 bmg a630 a740 a750 m1 m2"

wanted=null record= page= only= named=
for word in "$@"; do
    case $named$word in
        all) wanted="null newest" ;;
        record) record=1 ;;
        page) page=1 ;;
        only) named=: wanted="null newest" ;;
        :*) only="$only $word" ;;
        *) say "\"$word\": expected all, record, page, or only and names"; exit 1 ;;
    esac
done

# The layer, and the descriptions that the loader reads.
layer() {
    unpack bookworm "$fleet/headers" libvulkan-dev || skip "libvulkan-dev cannot be had"
    mkdir -p "$fleet/layer"
    gcc -shared -fPIC -O1 -I "$fleet/headers/usr/include" -o "$fleet/layer/liblayer.so" tests/fleet/layer.c
    cp tests/fleet/layer.json "$fleet/layer/"
}

# compile NAME [FAMILY]: everything for one GPU, in the background.
compile() (
    name=$1 family=${2:-$1} command=${3:-compile}
    export FLEET_STATISTICS="$fleet/results/$name.statistics"
    export VK_LAYER_PATH="$fleet/layer" VK_INSTANCE_LAYERS=VK_LAYER_lapidary_fleet
    # Neither a cache of the driver's, nor a display.
    export MESA_SHADER_CACHE_DISABLE=1 XDG_CACHE_HOME="$fleet/cache" EGL_PLATFORM=surfaceless NODEVICE_SELECT=1
    set -- "$program" "$command" "$name" "$fleet/results/$name.$command.json"
    case $name in
        gfx*-newest) export AMDGPU_GPU_ID="$family"; driver=radeon shim=amdgpu ;;
        gfx*) export RADV_FORCE_FAMILY="$family" LD_LIBRARY_PATH="$mesa_null/usr/lib/x86_64-linux-gnu"
            export VK_DRIVER_FILES="$mesa_null/icd/radeon.json"; driver= ;;
        skl | tgl | dg2 | bmg) export INTEL_STUB_GPU_PLATFORM="$family"; driver=intel shim=intel ;;
        a*) export FD_GPU_ID="${family#a}"; driver=freedreno shim=freedreno ;;
        m*) export ASAHI_GPU="$family"; driver=asahi shim=asahi ;;
    esac
    if [ -n "$driver" ]; then
        export VK_DRIVER_FILES="$mesa_newest/icd/$driver.json"
        libraries="$mesa_newest/usr/lib/x86_64-linux-gnu"
        set -- "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" --preload "$fleet/shims/lib${shim}_shim.so" "$@"
    fi
    "$@" >"$fleet/results/$name.log" 2>&1 || { cat "$fleet/results/$name.log" >&2; say "FAILED $name"; exit 1; }
)

# run_all NAME[=FAMILY]…: as many at a time as there are processors.
run_all() {
    running=0
    for one in "$@"; do
        compile "${one%%=*}" "${one#*=}" &
        running=$((running + 1))
        if [ $running -ge "$(nproc)" ]; then wait; running=0; fi
    done
    wait
    for one in "$@"; do [ -f "$fleet/results/${one%%=*}.compile.json" ] || exit 1; done
}

layer
gpus=
mesa_null="$fleet/mesa-backports"
unpack "bookworm-backports" "$mesa_null" mesa-vulkan-drivers libdrm2 libdrm-amdgpu1 libdrm-intel1 libdrm-radeon1 \
    libdrm-nouveau2 || skip "Mesa of bookworm-backports cannot be had"
drivers "$mesa_null"
! LD_LIBRARY_PATH="$mesa_null/usr/lib/x86_64-linux-gnu" ldd "$mesa_null/usr/lib/x86_64-linux-gnu/libvulkan_radeon.so" \
    | grep 'not found' >&2 || skip "RADV of bookworm-backports lacks these libraries"
gpus="$null"
mesa_newest="$fleet/mesa-newest"
case $wanted in
    *newest*)
        if [ -f "$mesa_newest/complete" ] || { packages=$(closure sid mesa-vulkan-drivers) && [ -n "$packages" ] \
            && unpack sid "$mesa_newest" $packages; }; then
            drivers "$mesa_newest"
            if shims; then gpus="$null $newest"; else not_run "stand-ins for kernel drivers could not be built"; fi
        else
            not_run "the newest Mesa, which cannot be had of Debian's sid"
        fi
        ;;
esac
if [ -n "$only" ]; then
    some=
    for one in $gpus; do
        for name in $only; do [ "${one%%=*}" != "$name" ] || some="$some $one"; done
    done
    gpus=$some
    [ -n "$gpus" ] || { say "none of$only is in the fleet"; exit 1; }
fi

cargo build --release --locked --quiet --example fleet
program="${CARGO_TARGET_DIR:-target}/release/examples/fleet"
mkdir -p "$fleet/results"
rm -f "$fleet"/results/*
# shellcheck disable=SC2086
run_all $gpus
[ -z "$record" ] || "$program" record $expected "$fleet"/results/*.compile.json
if [ -n "$page" ]; then
    sed '/^<!-- tables -->/q' docs/fleet.md >"$fleet/page.md"
    "$program" markdown "$(date -u +%Y-%m-%d)" "$fleet"/results/*.compile.json >>"$fleet/page.md"
    cp "$fleet/page.md" docs/fleet.md
fi
failed=
"$program" report $expected "$fleet"/results/*.compile.json || failed=1
# A kernel that is made to spill must be caught, by a comparison with what it is without that.
if [ -f "$fleet/results/gfx1100.compile.json" ]; then
    compile gfx1100 navi31 spill
    rm -f "$fleet/unspoilt.json"
    "$program" record "$fleet/unspoilt.json" "$fleet/results/gfx1100.compile.json"
    "$program" report "$fleet/unspoilt.json" "$fleet/results/gfx1100.spill.json" 2>&1 \
        | grep -q 'FAILED.*gelu_mul: [0-9]* spills, recorded 0' || { say "FAILED: a kernel that spills was not caught"; exit 1; }
fi
[ -z "$failed" ]
