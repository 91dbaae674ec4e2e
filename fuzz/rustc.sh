#!/bin/sh
# Cargo calls it in place of rustc, with rustc's path in front: crates that read what files hold are instrumented by
# LAPIDARY_FUZZ_FLAGS, all others (wgpu and its like) are built as they are.
case "${CARGO_PKG_NAME:-} $*" in
*"--crate-name build_script_"* | *"--crate-type proc-macro"* | *"--crate-name coverage "*) ;;
lapidary\ * | lapidary-fuzz\ * | safetensors\ * | serde_json\ * | tokenizers\ *)
    # shellcheck disable=SC2086
    set -- "$@" ${LAPIDARY_FUZZ_FLAGS:-}
    ;;
esac
exec "$@"
