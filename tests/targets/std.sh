# Sourced by tests/targets.sh and tests/windows.sh, which set `fleet` to an absolute path: the standard library of targets that
# rustup has not installed, built or checked from its source by `-Zbuild-std`.

# is_library FOLDER: whether it holds the standard library's source.
is_library() { [ -f "$1/library/std/Cargo.toml" ]; }

# has_std TARGET: whether its standard library is installed.
has_std() {
    for file in "$(rustc --print target-libdir --target "$1" 2>/dev/null)"/libstd-*.rlib; do [ -f "$file" ] && return 0; done
    return 1
}

# Sets `source` to the standard library's source, of exactly this rustc's version: rustup's, else Debian's. Fails, and says so,
# where there is none.
library_source() {
    version=$(rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
    source=$(rustc --print sysroot)/lib/rustlib/src/rust
    ! is_library "$source" || return 0
    source=$fleet/rust-src-$version/usr/src/rustc-$version
    # A folder without the mark was never unpacked to its end.
    ! { is_library "$source" && [ -f "$fleet/rust-src-$version/complete" ]; } || return 0
    if [ -f "$keyring" ] && command -v apt-get >/dev/null 2>&1; then
        for suite in trixie-backports sid trixie bookworm; do
            if unpack "$suite" "$fleet/rust-src-$version" "rust-src=$version*" && is_library "$source"; then return 0; fi
        done
    fi
    say "the source of rustc $version's standard library cannot be had: neither of rustup nor of Debian"
    return 1
}

# Makes $fleet/rustc, which finds that source in a folder like its own: nothing is written into the toolchain.
rustc_with_source() {
    library_source || return 1
    own=$(rustc --print sysroot) host=$(rustc -vV | sed -n 's/^host: //p')
    mkdir -p "$fleet/sysroot/lib/rustlib/src"
    ln -sfn "$own/lib/rustlib/$host" "$fleet/sysroot/lib/rustlib/$host"
    ln -sfn "$source" "$fleet/sysroot/lib/rustlib/src/rust"
    printf '#!/bin/sh\nexec "%s/bin/rustc" --sysroot "%s/sysroot" "$@"\n' "$own" "$fleet" >"$fleet/rustc.new"
    chmod +x "$fleet/rustc.new"
    # Were it newer, cargo would build everything anew.
    cmp -s "$fleet/rustc.new" "$fleet/rustc" || mv "$fleet/rustc.new" "$fleet/rustc"
}
