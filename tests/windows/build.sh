# Sourced by tests/windows.sh, which sets `windows` to an absolute path: lapidary.exe with this machine's rustc.

target=x86_64-pc-windows-gnu

# A rustc that finds the standard library's source, and with it the two objects that each program for Windows begins and ends with.
toolchain() {
    command -v x86_64-w64-mingw32-gcc >/dev/null 2>&1 || { apt_works && install gcc-mingw-w64-x86-64-win32; } \
        || skip "it needs mingw (gcc-mingw-w64-x86-64-win32)"
    rustc_with_source || skip "it needs rust-src (rustup component add rust-src)"
    objects=$windows/sysroot/lib/rustlib/$target/lib
    mkdir -p "$objects"
    for object in rsbegin rsend; do
        RUSTC_BOOTSTRAP=1 "$windows/rustc" --target $target --crate-type lib --emit obj -O -C panic=abort \
            -o "$objects/$object.o" "$source/library/rtstartup/$object.rs"
    done
}

# d3dcompiler_47.dll, and dxcompiler.dll beside it.
libraries() {
    fetch_compilers || skip "Microsoft's compilers come from npm's webgpu@$webgpu_version, which cannot be had"
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
    cp "$exe" "$windows/run/"
    say "lapidary.exe: $(($(stat -c %s "$exe") >> 20)) MiB, $(($(date +%s) - begun)) s"
}
