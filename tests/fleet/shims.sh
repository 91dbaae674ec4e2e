# Sourced by tests/fleet.sh all. Stand-ins for the kernel drivers of GPUs that are not there, which Mesa's developers use to
# compile shaders: built from Debian's source package of Mesa with gcc alone. Each is a library that answers what a driver
# asks of the kernel.

# shims: builds what is not there yet, into $fleet/shims.
shims() {
    shims="$fleet/shims"
    [ ! -f "$shims/complete" ] || return 0
    source="$fleet/mesa-source"
    headers="$fleet/headers-newest"
    rm -rf "$shims"
    mkdir -p "$shims/objects" "$shims/generated/dev" "$shims/generated/intel"
    mesa_source || return 1
    unpack sid "$headers" libdrm-dev linux-libc-dev || return 1
    # The kernel's headers of sid need its C library too; of these only the driver's is wanted.
    mkdir -p "$shims/headers/libdrm"
    cp -r "$headers"/usr/include/libdrm/* "$shims/headers/libdrm/"
    cp "$headers"/usr/include/xf86drm*.h "$shims/headers/"
    cp "$headers/usr/include/drm/asahi_drm.h" "$shims/headers/libdrm/"
    intel_headers || return 1
    flags="-O1 -w -fPIC -std=gnu11 -DNDEBUG -D_GNU_SOURCE -ffunction-sections -fdata-sections -DDETECT_OS_LINUX=1
        -DPACKAGE_VERSION=\"0\" -DUSE_GCC_ATOMIC_BUILTINS"
    for what in PTHREAD STRUCT_TIMESPEC ENDIAN_H __BUILTIN_EXPECT __BUILTIN_FFS __BUILTIN_FFSLL __BUILTIN_POPCOUNT \
        __BUILTIN_POPCOUNTLL __BUILTIN_CLZ __BUILTIN_CLZLL __BUILTIN_CTZ __BUILTIN_UNREACHABLE FUNC_ATTRIBUTE_PACKED \
        PROGRAM_INVOCATION_NAME SECURE_GETENV GNU_QSORT_R FLOCK STRTOF MKOSTEMP MEMFD_CREATE TIMESPEC_GET OPEN_MEMSTREAM \
        DL_ITERATE_PHDR; do
        flags="$flags -DHAVE_$what"
    done
    for folder in "$source/include" "$source/src" "$source/src/util" "$source/src/amd" "$source/src/amd/common" \
        "$source/src/asahi/drm-shim" "$source/include/drm-uapi" "$shims/headers" "$shims/headers/libdrm" \
        "$shims/generated" "$shims/generated/dev" "$source/src/intel" "$source/src/intel/common" "$source/src/intel/dev"; do
        flags="$flags -I$folder"
    done
    common=
    for file in drm-shim/drm_shim drm-shim/device util/hash_table util/ralloc util/set util/vma util/os_misc util/os_file \
        util/u_debug util/log util/simple_mtx util/rb_tree util/strtod util/u_call_once util/futex util/anon_file \
        c11/impl/threads_posix c11/impl/time util/memstream util/u_process util/string_buffer; do
        object "$source/src/$file.c" && common="$common $object"
    done
    # Of printf's format it wants the length alone.
    printf '%s\n' '#include <stdarg.h>' '#include <stdio.h>' \
        'size_t u_printf_length(const char *f, va_list a) { return vsnprintf(NULL, 0, f, a) + 1; }' >"$shims/length.c"
    object "$shims/length.c" && common="$common $object"
    shim amdgpu "$source/src/amd/drm-shim/amdgpu_noop_drm_shim.c" "$source/src/amd/drm-shim/amdgpu_devices.c" || return 1
    shim freedreno "$source/src/freedreno/drm-shim/freedreno_noop.c" || return 1
    shim asahi tests/fleet/asahi.c || return 1
    intel="$source/src/intel"
    shim intel "$intel/tools/intel_noop_drm_shim.c" "$intel"/dev/i915/intel_device_info.c \
        "$intel"/dev/xe/intel_device_info.c "$intel"/dev/intel_debug.c "$intel"/dev/intel_device_info.c \
        "$intel"/dev/intel_hwconfig.c "$intel"/dev/intel_kmd.c \
        "$shims"/generated/dev/intel_wa.c "$shims"/generated/dev/intel_device_info_serialize_gen.c \
        "$intel"/common/i915/intel_engine.c "$intel"/common/i915/intel_gem.c "$intel"/common/intel_gem.c \
        "$intel"/common/xe/intel_gem.c "$intel"/common/intel_engine.c "$intel"/common/xe/intel_engine.c \
        "$intel"/common/xe/intel_device_query.c "$source"/src/util/parson.c "$source"/src/util/mesa-sha1.c \
        "$source"/src/util/sha1/sha1.c "$source"/src/util/u_math.c "$source"/src/util/u_cpu_detect.c \
        "$source"/src/util/bitscan.c "$source"/src/util/blob.c "$source"/src/util/os_time.c "$source"/src/util/u_thread.c \
        || return 1
    : >"$shims/complete"
}

# object FILE: compiles it; `object` names the result.
object() {
    object="$shims/objects/$(echo "$1" | tr / _).o"
    [ -f "$object" ] || gcc $flags -c "$1" -o "$object"
}

# shim NAME FILE…: links a stand-in.
shim() {
    shim_name=$1 own=
    shift
    for file in "$@"; do object "$file" || return 1; own="$own $object"; done
    gcc -shared -Wl,--gc-sections -Wl,-z,defs -o "$shims/lib${shim_name}_shim.so" $own $common \
        /usr/lib/x86_64-linux-gnu/libdrm.so.2 -lpthread -ldl -lm
}

# Mesa's source, with what newer drivers ask for: AMD's wants a later version of the kernel's interface, and Adreno's must be
# told that there is no binding of memory by itself.
mesa_source() {
    [ ! -f "$source/complete" ] || return 0
    rm -rf "$source"
    mkdir -p "$source/package"
    with_sources=true
    private_apt trixie update >/dev/null 2>&1 || return 1
    (cd "$source/package" && private_apt trixie --download-only source mesa >/dev/null 2>&1) || return 1
    with_sources=false
    tar -xf "$source"/package/mesa_*.orig.tar.xz -C "$source" --strip-components=1 || return 1
    rm -rf "$source/package"
    sed -i 's/version_minor = 49;/version_minor = 61;/' "$source/src/amd/drm-shim/amdgpu_noop_drm_shim.c"
    sed -i -e 's/\[DRM_MSM_SET_PARAM\] = msm_ioctl_noop/[DRM_MSM_SET_PARAM] = set_param/' \
        -e 's/^static ioctl_fn_t driver_ioctls/static int set_param(int fd, unsigned long request, void *arg)\n{\n   return ((struct drm_msm_param *)arg)->param > 15 ? -EINVAL : 0;\n}\n\n&/' \
        "$source/src/freedreno/drm-shim/freedreno_noop.c"
    : >"$source/complete"
}

# What Mesa's build makes with python and mako out of tables of Intel's devices.
intel_headers() {
    command -v python3 >/dev/null 2>&1 || { say "Intel's stand-in needs python3"; return 1; }
    unpack bookworm "$fleet/mako" python3-mako python3-markupsafe || return 1
    made="$shims/generated/dev"
    (
        export PYTHONPATH="$fleet/mako/usr/lib/python3/dist-packages" PYTHONDONTWRITEBYTECODE=1
        cd "$source/src/intel/dev"
        python3 gen_wa_helpers.py mesa_defs.json "$made/intel_wa.h" "$made/intel_wa.c" \
            && python3 intel_device_info_gen_h.py "$made/intel_device_info_gen.h" \
            && python3 intel_device_info_serialize_gen_c.py "$made/intel_device_info_serialize_gen.c"
    ) || return 1
    ln -sfn "$made" "$shims/generated/intel/dev"
}
