# Sourced by chat.sh and tests/run.sh: makes sure that there is a recent Rust and a Vulkan adapter.
# Where something is missing and apt works it is installed; else it is said what to install.

say() { printf '%s\n' "$*" >&2; }

apt_works() { command -v apt-get >/dev/null 2>&1 && { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null 2>&1; }; }
install() {
    say "installing: $*"
    if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi
    { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "$@"; } >/dev/null 2>&1
}

# Rust: the version that Cargo.toml asks for, or later.
needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
[ -x "$HOME/.cargo/bin/cargo" ] && PATH="$HOME/.cargo/bin:$PATH"
found=$(cargo --version 2>/dev/null | sed 's/^cargo \([0-9.]*\).*/\1/')
if [ -z "$found" ] || [ "$(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -n 1)" != "$needed" ]; then
    say "Rust $needed or later is needed, found ${found:-none}. Install it from https://rustup.rs, then run this again."
    exit 1
fi
# Some dependencies' build scripts need a linker.
if ! command -v cc >/dev/null 2>&1; then
    if apt_works && install gcc libc6-dev; then :; else
        say "A C linker (cc) is needed. Install gcc or clang, then run this again."
        exit 1
    fi
fi

# Vulkan on Linux: a loader and a driver. macOS has Metal, and Windows has DX12, without any of this.
has_vulkan_driver() {
    for folder in /usr/share/vulkan/icd.d /etc/vulkan/icd.d /usr/local/share/vulkan/icd.d "$HOME/.local/share/vulkan/icd.d"; do
        ls "$folder"/*.json >/dev/null 2>&1 && return 0
    done
    [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ]
}
has_vulkan_loader() {
    PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1'
}
if [ "$(uname -s)" = Linux ] && ! { has_vulkan_driver && has_vulkan_loader; }; then
    if apt_works && install libvulkan1 mesa-vulkan-drivers; then
        say "installed Mesa's Vulkan drivers, the software adapter lavapipe among them"
    else
        say "No Vulkan driver was found. Install your GPU's, or Mesa's:"
        say "  Debian, Ubuntu: apt install libvulkan1 mesa-vulkan-drivers"
        say "  Fedora:         dnf install vulkan-loader mesa-vulkan-drivers"
        say "  Arch:           pacman -S vulkan-icd-loader vulkan-swrast (or vulkan-radeon, vulkan-intel)"
        exit 1
    fi
fi
