# Sourced by what needs a part of the npm package "webgpu" (Dawn for node): Tint, Microsoft's shader compilers. Sets `webgpu` to its
# folder; fails where it cannot be had.
webgpu_version=0.6.2
fetch_webgpu() {
    command -v npm >/dev/null 2>&1 || { say "npm is not there"; return 1; }
    webgpu_home="${CARGO_TARGET_DIR:-target}/tint"
    mkdir -p "$webgpu_home"
    webgpu="$(cd "$webgpu_home" && pwd)/node_modules/webgpu"
    grep -qs "\"version\": \"$webgpu_version\"" "$webgpu/package.json" ||
        npm install --prefix "$webgpu_home" --no-audit --no-fund --no-save --ignore-scripts --silent "webgpu@$webgpu_version" >&2
}
