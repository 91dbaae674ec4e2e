# Sourced by tests/windows.sh: a Wine folder of its own, a display that nobody sees, and lavapipe as the only Vulkan driver.
# Wine 8 of Debian 12 binds no buffers on DX12 ("Invalid heap for base descriptor"), so that every kernel writes nothing; Wine 10
# of Debian 13 is taken instead, unpacked in a folder that is its root.

debian=trixie
# The program and the driver; OpenGL, which DXGI asks for a card; what a shell would have; and the locale of UTF-8.
packages="wine wine64 mesa-vulkan-drivers libgl1 libglx-mesa0 libgl1-mesa-dri coreutils libc-bin"
root=

# Debian 13's Wine and Mesa with all that they need, glibc too.
unpack_wine() {
    root=$windows/$debian
    [ "$(id -u)" = 0 ] && [ -f "$keyring" ] && unshare -m true 2>/dev/null || return 1
    [ -f "$root/complete" ] || { needed=$(closure $debian $packages) && [ -n "$needed" ] \
        && unpack $debian "$root" $needed; } || return 1
    for link in bin lib lib64 sbin; do [ -e "$root/$link" ] || ln -s "usr/$link" "$root/$link"; done
    mkdir -p "$root/root"
    cp /etc/passwd "$root/etc/passwd"
}

# The programs $windows/wine and $windows/wineserver: this system's own, or those of Debian 13.
choose_wine() {
    found=$(wine --version 2>/dev/null | sed -n 's/^wine-\([0-9]*\).*/\1/p')
    mkdir -p "$WINEPREFIX/drive_c/windows/system32"
    if [ "${found:-0}" -ge 10 ]; then
        icds=/usr/share/vulkan/icd.d
        for name in wine wineserver; do
            printf '#!/bin/sh\nexec %s "$@"\n' "$(command -v $name || echo /usr/lib/wine/wineserver)" >"$windows/$name"
        done
    else
        unpack_wine || skip "Wine 10 is needed, or root on Debian with the packages of $debian"
        icds=$root/usr/share/vulkan/icd.d
        export WINELOADER=/usr/lib/wine/wine64 WINESERVER=/usr/lib/wine/wineserver64
        for name in wine wineserver; do
            printf '#!/bin/sh\nexec sh "%s" "%s" "%s" /usr/lib/wine/%s64 "$@"\n' \
                "$PWD/tests/windows/in_root.sh" "$root" "$windows" $name >"$windows/$name"
        done
        # What installing the package would have linked.
        cp "$root/usr/x86_64-w64-mingw32/lib/zlib1.dll" "$WINEPREFIX/drive_c/windows/system32/"
    fi
    chmod +x "$windows/wine" "$windows/wineserver"
}

wine_ready() {
    command -v Xvfb >/dev/null 2>&1 || { apt_works && install xvfb; } || skip "Wine needs Xvfb"
    native=${CARGO_TARGET_DIR:-target}/release/lapidary
    export LC_ALL=C.UTF-8 NODEVICE_SELECT=1 WINEPREFIX="$windows/prefix" WINEARCH=win64 WINEDEBUG=-all
    # Neither .NET nor a browser is offered for download, and the compilers are those beside the program.
    export WINEDLLOVERRIDES="mscoree=;mshtml=;d3dcompiler_47=n;dxcompiler=n"
    # No cache of an earlier run.
    rm -rf "$WINEPREFIX"
    choose_wine
    icd=$(ls "$icds"/lvp_icd*.json 2>/dev/null | head -n 1)
    [ -n "$icd" ] || skip "it needs Mesa's lavapipe (mesa-vulkan-drivers)"
    number=77
    while [ -e "/tmp/.X11-unix/X$number" ]; do number=$((number + 1)); done
    Xvfb ":$number" -screen 0 640x480x24 >/dev/null 2>&1 &
    display=$!
    trap '"$windows/wineserver" -k >/dev/null 2>&1 || true; kill "$display" 2>/dev/null || true' EXIT
    export DISPLAY=":$number"
    tries=0
    while [ ! -e "/tmp/.X11-unix/X$number" ] && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    [ -e "/tmp/.X11-unix/X$number" ] || { say "Xvfb does not start"; exit 1; }
    on_windows 120 wineboot -i >"$windows/wineboot" 2>&1 || { cat "$windows/wineboot" >&2; say "Wine does not start"; exit 1; }
}

# on_windows SECONDS PROGRAM ARGUMENT…: with a time limit, since what waits for ever is a fault. Only these programs get the
# driver: the native one finds its own.
on_windows() (
    seconds=$1
    shift
    export VK_DRIVER_FILES="${icd#"$root"}"
    exec timeout "$seconds" "$windows/wine" "$@"
)
lapidary() { on_windows "${limit:-1200}" "$windows/run/lapidary.exe" "$@"; }

versions() { on_windows 20 --version; }
