#!/bin/sh
# Type checks for targets that this machine is not: no linker, no SDK and no GPU. Each has to pass without a warning.
#   sh tests/targets.sh             all of them: one CPU minute for the first, less for each further one
#   sh tests/targets.sh TARGET…     these
# A target's standard library is taken where rustup has installed it; else it is checked too, from the source of this rustc's
# version, which is rustup's component rust-src or Debian's package, unpacked in target/targets. Where that cannot be had, it
# is said and nothing is checked.
set -eu
cd "$(dirname "$0")/.."
. examples/setup.sh
. tests/not_run.sh
. tests/fleet/packages.sh
. tests/targets/std.sh

# wasm32 is the library alone; elsewhere the program is checked too.
all="wasm32-unknown-unknown x86_64-pc-windows-gnu x86_64-pc-windows-msvc aarch64-apple-darwin x86_64-apple-darwin
    aarch64-unknown-linux-gnu x86_64-unknown-linux-musl aarch64-linux-android"
of_target() {
    case $1 in
        wasm32-*) echo "--lib --no-default-features" ;;
        # The tests of one more system: only there do they run elsewhere than here.
        x86_64-pc-windows-gnu) echo "--lib --bins --tests" ;;
        *) echo "--lib --bins" ;;
    esac
}

for target in "$@"; do
    case " $(echo $all) " in
        *" $target "*) ;;
        *) say "\"$target\": expected of" $all; exit 1 ;;
    esac
done
mkdir -p "${CARGO_TARGET_DIR:-target}/targets"
fleet=$(cd "${CARGO_TARGET_DIR:-target}/targets" && pwd)

# Nothing of this is run: proc macros and build scripts, which are, are soon through.
check() {
    CARGO_INCREMENTAL=0 cargo check --locked --message-format short --target "$1" --target-dir "$fleet/check" \
        --config 'profile.dev.package."*".opt-level=0' --config profile.dev.debug=false $(of_target "$1") ${build_std:-} \
        >"$fleet/$1.log" 2>&1
}
# The seconds of processor time that `times` has written of what has ended: "1m2.34s 0m5.67s" in its second line.
seconds() { sed -n '2s/[ms]/ /gp' "$fleet/times" | awk '{ printf "%d", $1 * 60 + $2 + $3 * 60 + $4 }'; }

failed=
for target in ${*:-$all}; do
    build_std=
    if ! has_std "$target"; then
        rustc_with_source || { not_run "the type check for $target"; continue; }
        export RUSTC="$fleet/rustc" RUSTC_BOOTSTRAP=1
        build_std=-Zbuild-std=std,panic_abort
    fi
    (code=0; check "$target" || code=$?; times >"$fleet/times"; exit $code) && code=0 || code=$?
    unset RUSTC RUSTC_BOOTSTRAP
    fault=$(grep -m 1 -E '(^|: )(error|warning)(\[|:)' "$fleet/$target.log" || true)
    if [ $code = 0 ] && [ -z "$fault" ]; then
        result=passes
    else
        failed=1
        # The crate that cargo gave up at.
        crate=$(sed -n 's/^error: could not compile `\([^`]*\)`.*/ (\1)/p' "$fleet/$target.log" | head -n 1)
        result="FAILED$crate: ${fault:-see $fleet/$target.log}"
    fi
    printf '%-28s %4s s CPU  %s\n' "$target" "$(seconds)" "$result"
done
[ -z "$failed" ]
