# Sourced by tests/windows.sh, which sets `windows` to an absolute path: lapidary.exe with this machine's rustc.

target=x86_64-pc-windows-gnu

# library_of FOLDER: whether it holds the standard library's source.
library_of() { [ -f "$1/library/std/Cargo.toml" ]; }

# The standard library's source, of exactly this rustc's version: rustup's, or Debian's.
rust_src() {
    version=$(rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
    source=$(rustc --print sysroot)/lib/rustlib/src/rust
    ! library_of "$source" || return 0
    source=$windows/rust-src-$version/usr/src/rustc-$version
    ! library_of "$source" || return 0
    [ -f "$keyring" ] || not_run "Windows: it needs rust-src (rustup component add rust-src)"
    for suite in trixie-backports sid trixie bookworm; do
        if unpack "$suite" "$windows/rust-src-$version" "rust-src=$version*" && library_of "$source"; then return 0; fi
    done
    not_run "Windows: it needs rust-src $version (rustup component add rust-src), which Debian does not have either"
}

# A folder like rustc's own, with the source, and with the two objects that each program for Windows begins and ends with; and a
# rustc that looks there.
toolchain() {
    command -v x86_64-w64-mingw32-gcc >/dev/null 2>&1 || { apt_works && install gcc-mingw-w64-x86-64-win32; } \
        || not_run "Windows: it needs mingw (gcc-mingw-w64-x86-64-win32)"
    rust_src
    real=$(rustc --print sysroot) host=$(rustc -vV | sed -n 's/^host: //p')
    sysroot=$windows/sysroot
    mkdir -p "$sysroot/lib/rustlib/src" "$sysroot/lib/rustlib/$target/lib"
    ln -sfn "$real/lib/rustlib/$host" "$sysroot/lib/rustlib/$host"
    ln -sfn "$source" "$sysroot/lib/rustlib/src/rust"
    program=$real/bin/rustc
    printf '#!/bin/sh\nexec "%s" --sysroot "%s" "$@"\n' "$program" "$sysroot" >"$windows/rustc.new"
    chmod +x "$windows/rustc.new"
    # cargo builds all anew when this file is newer.
    cmp -s "$windows/rustc.new" "$windows/rustc" || mv "$windows/rustc.new" "$windows/rustc"
    for object in rsbegin rsend; do
        RUSTC_BOOTSTRAP=1 "$windows/rustc" --target $target --crate-type lib --emit obj -O -C panic=abort \
            -o "$sysroot/lib/rustlib/$target/lib/$object.o" "$source/library/rtstartup/$object.rs"
    done
}

# d3dcompiler_47.dll, and dxcompiler.dll beside it.
libraries() {
    fetch_webgpu || not_run "Windows: Microsoft's compilers come from npm's webgpu@$webgpu_version, which cannot be had"
    dlls=$webgpu/dist/win32-x64
}

# cargo_windows COMMAND…: cargo for Windows, optimized as far as costs little time.
cargo_windows() {
    command=$1
    shift
    RUSTC_BOOTSTRAP=1 RUSTC="$windows/rustc" CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc \
        cargo "$command" --locked -Zbuild-std=std,panic_unwind --target $target --target-dir "$windows/build" \
        --profile windows --config 'profile.windows.inherits="release"' --config profile.windows.opt-level=1 \
        --config profile.windows.debug=false --config profile.windows.strip=true "$@"
}

build() {
    begun=$(date +%s)
    RUSTFLAGS="-D warnings" cargo_windows build --bin lapidary --quiet
    exe=$windows/build/$target/windows/lapidary.exe
    cp "$exe" "$dlls/d3dcompiler_47.dll" "$windows/run/"
    say "lapidary.exe: $(($(stat -c %s "$exe") >> 20)) MiB, $(($(date +%s) - begun)) s"
}
