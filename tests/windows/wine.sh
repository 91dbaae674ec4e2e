# Sourced by tests/windows.sh: a Wine folder of its own, a display that nobody sees, and lavapipe as the only Vulkan driver.

wine_ready() {
    command -v wine >/dev/null 2>&1 && command -v Xvfb >/dev/null 2>&1 || { apt_works && install wine wine64 xvfb; } \
        || not_run "Windows: it needs wine and Xvfb"
    native=${CARGO_TARGET_DIR:-target}/release/lapidary
    VK_DRIVER_FILES=$(ls /usr/share/vulkan/icd.d/lvp_icd*.json 2>/dev/null | head -n 1)
    [ -n "$VK_DRIVER_FILES" ] || not_run "Windows: it needs Mesa's lavapipe (mesa-vulkan-drivers)"
    export VK_DRIVER_FILES NODEVICE_SELECT=1 WINEPREFIX="$windows/wine" WINEARCH=win64 WINEDEBUG=-all
    # Neither .NET nor a browser is offered for download, and the compilers are those beside the program.
    export WINEDLLOVERRIDES="mscoree=;mshtml=;d3dcompiler_47=n;dxcompiler=n"
    for number in 77 78 79 80 81 82 83 84; do
        [ ! -e "/tmp/.X11-unix/X$number" ] || continue
        Xvfb ":$number" -screen 0 640x480x24 >/dev/null 2>&1 &
        display=$!
        export DISPLAY=":$number"
        break
    done
    trap 'wineserver_ends; kill "$display" 2>/dev/null || true' EXIT
    # No cache of an earlier run.
    rm -rf "$windows/wine"
    wine wineboot -i >/dev/null 2>&1
    random_numbers
}

# The server of this folder alone ends.
wineserver_ends() {
    for server in /usr/lib/wine/wineserver64 /usr/lib/wine/wineserver "$(command -v wineserver || true)"; do
        if [ -x "$server" ]; then "$server" -k >/dev/null 2>&1 || true; return 0; fi
    done
}

# Wine 8 lacks the library that Rust's programs have random numbers of, which each Windows has.
random_numbers() {
    rm -f "$windows/run/bcryptprimitives.dll"
    [ ! -f "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" ] || return 0
    x86_64-w64-mingw32-gcc -shared -O1 -o "$windows/run/bcryptprimitives.dll" tests/windows/random.c -ladvapi32
}

# The program, with a time limit: what waits for ever is a fault.
lapidary() { timeout "${limit:-900}" wine "$windows/run/lapidary.exe" "$@"; }

versions() {
    echo "$(wine --version 2>/dev/null | head -n 1) over $(sed -n 's/.*| \(llvmpipe [^|]*\) |.*/\1/p' "$windows/vulkan" | head -n 1)"
}
