# Sourced by tests/fleet.sh, which sets `fleet` to an absolute path. Debian's packages, unpacked beside the system: lists and
# cache are private, Debian's own keys check them, and nothing is installed.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# private_apt SUITES COMMAND…: apt-get with the lists of these suites (separated by blanks).
private_apt() {
    suites=$1
    shift
    apt_root="$fleet/apt/$(echo "$suites" | tr ' ' '+')"
    mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
    mkdir -p "$apt_root/lists/partial" "$apt_root/cache/archives/partial"
    : >"$apt_root/status"
    for suite in $suites; do
        for kind in deb deb-src; do
            echo "$kind [signed-by=$keyring] ${mirror:-http://deb.debian.org/debian} $suite main"
        done
    done >"$apt_root/sources.list"
    apt-get -qq -y -o Dir::Etc::SourceList="$apt_root/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$apt_root/lists" -o Dir::Cache="$apt_root/cache" -o Dir::State::Status="$apt_root/status" \
        -o APT::Sandbox::User=root -o Acquire::Languages=none -o APT::Install-Recommends=false \
        -o Acquire::IndexTargets::deb-src::Sources::DefaultEnabled="${with_sources:-false}" "$@"
}

# unpack SUITES FOLDER PACKAGE…: once; fails where a package cannot be had.
unpack() {
    unpack_suites=$1 folder=$2
    shift 2
    [ ! -f "$folder/complete" ] || return 0
    rm -rf "$folder"
    mkdir -p "$folder/debs"
    private_apt "$unpack_suites" update >/dev/null 2>&1 || return 1
    (cd "$folder/debs" && private_apt "$unpack_suites" download "$@" >/dev/null 2>&1) || return 1
    for deb in "$folder"/debs/*.deb; do dpkg -x "$deb" "$folder" || return 1; done
    rm -rf "$folder/debs"
    : >"$folder/complete"
}

# closure SUITE PACKAGE…: all that a package needs, as if nothing were installed, glibc too.
closure() {
    closure_suite=$1
    shift
    private_apt "$closure_suite" update >/dev/null 2>&1 || return 1
    # -qq of private_apt hides what a simulation would do, one -q does not.
    private_apt "$closure_suite" -q=1 -s install "$@" | sed -n 's/^Inst \([^ ]*\) .*/\1/p'
}

# drivers FOLDER: descriptions of its Vulkan drivers that name them by whole paths.
drivers() {
    mkdir -p "$1/icd"
    for json in "$1"/usr/share/vulkan/icd.d/*.json; do
        name=$(basename "$json" .json)
        sed -E "s#\"library_path\": *\"([^\"]*/)?([^/\"]+)\"#\"library_path\": \"$1/usr/lib/x86_64-linux-gnu/\2\"#" \
            "$json" >"$1/icd/${name%%_icd*}.json"
    done
}
