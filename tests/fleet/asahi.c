// A stand-in for the kernel driver of Apple's GPUs, in its form of Linux 6.16 and later: it answers what Mesa's driver asks
// when it opens a device and takes memory, and runs nothing. $ASAHI_GPU is m1 or m2.
#include <stdlib.h>
#include <string.h>
#include "asahi_drm.h"
#include "drm-shim/drm_shim.h"

bool drm_shim_driver_prefers_first_render_node = true;

static int nothing(int fd, unsigned long request, void *arg) { return 0; }

static int get_params(int fd, unsigned long request, void *arg) {
    struct drm_asahi_get_params *asked = arg;
    if (asked->param_group != 0) return -EINVAL;
    const char *gpu = getenv("ASAHI_GPU");
    const bool m2 = gpu && !strcmp(gpu, "m2");
    struct drm_asahi_params_global said = {
        .gpu_generation = m2 ? 14 : 13,
        .gpu_variant = 'G',
        .gpu_revision = 0x10,
        .chip_id = m2 ? 0x8112 : 0x8103,
        .num_dies = 1,
        .num_clusters_total = 1,
        .num_cores_per_cluster = 8,
        .max_frequency_khz = 1278000,
        .core_masks = {0xff},
        .vm_start = 0x4000,
        .vm_end = 0x7fffffc000ull,
        .vm_kernel_min_size = 0x2000000000ull,
        .max_commands_per_submission = 64,
        .max_attachments = 16,
        .command_timestamp_frequency_hz = 24000000,
    };
    memcpy((void *)(uintptr_t)asked->pointer, &said, asked->size < sizeof said ? asked->size : sizeof said);
    return 0;
}

static int create_memory(int fd, unsigned long request, void *arg) {
    struct drm_asahi_gem_create *create = arg;
    struct shim_bo *memory = calloc(1, sizeof *memory);
    drm_shim_bo_init(memory, create->size);
    create->handle = drm_shim_bo_get_handle(drm_shim_fd_lookup(fd), memory);
    drm_shim_bo_put(memory);
    return 0;
}

static int place_memory(int fd, unsigned long request, void *arg) {
    struct drm_asahi_gem_mmap_offset *map = arg;
    struct shim_fd *shim = drm_shim_fd_lookup(fd);
    struct shim_bo *memory = drm_shim_bo_lookup(shim, map->handle);
    map->offset = drm_shim_bo_get_mmap_offset(shim, memory);
    drm_shim_bo_put(memory);
    return 0;
}

static int create_vm(int fd, unsigned long request, void *arg) {
    ((struct drm_asahi_vm_create *)arg)->vm_id = 1;
    return 0;
}

static int create_queue(int fd, unsigned long request, void *arg) {
    ((struct drm_asahi_queue_create *)arg)->queue_id = 1;
    return 0;
}

static int bind_object(int fd, unsigned long request, void *arg) {
    ((struct drm_asahi_gem_bind_object *)arg)->object_handle = 1;
    return 0;
}

static ioctl_fn_t answers[] = {
    [DRM_ASAHI_GET_PARAMS] = get_params,
    [DRM_ASAHI_GET_TIME] = nothing,
    [DRM_ASAHI_VM_CREATE] = create_vm,
    [DRM_ASAHI_VM_DESTROY] = nothing,
    [DRM_ASAHI_VM_BIND] = nothing,
    [DRM_ASAHI_GEM_CREATE] = create_memory,
    [DRM_ASAHI_GEM_MMAP_OFFSET] = place_memory,
    [DRM_ASAHI_GEM_BIND_OBJECT] = bind_object,
    [DRM_ASAHI_QUEUE_CREATE] = create_queue,
    [DRM_ASAHI_QUEUE_DESTROY] = nothing,
    [DRM_ASAHI_SUBMIT] = nothing,
};

void drm_shim_driver_init(void) {
    shim_device.bus_type = DRM_BUS_PLATFORM;
    shim_device.driver_name = "asahi";
    shim_device.driver_ioctls = answers;
    shim_device.driver_ioctl_count = ARRAY_SIZE(answers);
    shim_device.version_major = 1;
    drm_shim_override_file("DRIVER=asahi\nOF_FULLNAME=/soc/agx\nOF_COMPATIBLE_0=apple,gpu-g13g\nOF_COMPATIBLE_N=1\n",
                           "/sys/dev/char/%d:%d/device/uevent", DRM_MAJOR, render_node_minor);
}
