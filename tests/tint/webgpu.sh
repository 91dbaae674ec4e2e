# Sourced by what needs a part of the npm package "webgpu" (Dawn for node): Tint, Microsoft's shader compilers.
webgpu_version=0.6.2
dxc_sum=04cf618004bf19f789f54e8931c7f7106223bccd354b093c4ff725c748512602
fxc_sum=289767b49dc8525bce262ea06fee4ef9fced2e131a55b25654ce871c1f0498b2

# Sets `webgpu` to the package's folder; fails, and says why, where it cannot be had.
fetch_webgpu() {
    command -v npm >/dev/null 2>&1 || { say "npm is not there (Debian, Ubuntu: apt install npm)"; return 1; }
    webgpu_home="${CARGO_TARGET_DIR:-target}/tint"
    mkdir -p "$webgpu_home"
    webgpu_home=$(cd "$webgpu_home" && pwd)
    webgpu=$webgpu_home/node_modules/webgpu
    grep -qs "\"version\": \"$webgpu_version\"" "$webgpu/package.json" ||
        npm install --prefix "$webgpu_home" --no-audit --no-fund --no-save --ignore-scripts --silent "webgpu@$webgpu_version" >&2 ||
        { say "npm could not install webgpu@$webgpu_version"; return 1; }
}

# The same, with Microsoft's libraries in it: `dlls` is their folder. Both are what they were when this was written.
fetch_compilers() {
    fetch_webgpu || return 1
    dlls=$webgpu/dist/win32-x64
    for pair in dxcompiler.dll=$dxc_sum d3dcompiler_47.dll=$fxc_sum; do
        found=$(sha256sum <"$dlls/${pair%%=*}" | cut -d ' ' -f 1)
        [ "$found" = "${pair#*=}" ] || { say "webgpu@$webgpu_version: ${pair%%=*} has the checksum $found, expected ${pair#*=}"; return 1; }
    done
}
