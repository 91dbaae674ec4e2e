// A Vulkan layer that asks the driver what became of each compute pipeline (VK_KHR_pipeline_executable_properties), and
// appends one line of JSON for each to the file that $FLEET_STATISTICS names.
//
// It also stands in for what drivers without a GPU lack. RADV's null device has no memory types, no semaphores and no command
// buffers; stand-ins for kernel drivers run nothing. So nothing is recorded or submitted, and all of it is done at once.
//   gcc -shared -fPIC -O1 -I HEADERS -o liblayer.so layer.c
#define VK_NO_PROTOTYPES
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#define CALL static VKAPI_ATTR VkResult VKAPI_CALL
#define CALL_VOID static VKAPI_ATTR void VKAPI_CALL

// The driver's functions: this program has one instance and one device at a time.
static PFN_vkGetInstanceProcAddr instance_function;
static PFN_vkGetDeviceProcAddr device_function;
static PFN_vkEnumerateDeviceExtensionProperties extensions_of;
static PFN_vkGetPhysicalDeviceMemoryProperties memory_of;
static PFN_vkGetPhysicalDeviceMemoryProperties2 memory2_of;
static PFN_vkGetBufferMemoryRequirements requirements_of;
static PFN_vkGetBufferMemoryRequirements2 requirements2_of;
static PFN_vkCreateComputePipelines create_pipelines;
static PFN_vkGetPipelineExecutablePropertiesKHR executables_of;
static PFN_vkGetPipelineExecutableStatisticsKHR statistics_of;

// The layer's entry in the list that the loader passes down.
static void *link_of(const void *first, VkStructureType type) {
    for (const VkBaseInStructure *one = first; one; one = one->pNext)
        // Both lists have the same beginning.
        if (one->sType == type && ((const VkLayerInstanceCreateInfo *)one)->function == VK_LAYER_LINK_INFO) return (void *)one;
    return NULL;
}

CALL create_instance(const VkInstanceCreateInfo *info, const VkAllocationCallbacks *a, VkInstance *instance) {
    VkLayerInstanceCreateInfo *link = link_of(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
    if (!link) return VK_ERROR_INITIALIZATION_FAILED;
    instance_function = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkResult result = ((PFN_vkCreateInstance)instance_function(NULL, "vkCreateInstance"))(info, a, instance);
    if (result != VK_SUCCESS) return result;
    extensions_of = (void *)instance_function(*instance, "vkEnumerateDeviceExtensionProperties");
    memory_of = (void *)instance_function(*instance, "vkGetPhysicalDeviceMemoryProperties");
    memory2_of = (void *)instance_function(*instance, "vkGetPhysicalDeviceMemoryProperties2");
    return result;
}

static int has_statistics(VkPhysicalDevice device) {
    uint32_t count = 0, found = 0;
    extensions_of(device, NULL, &count, NULL);
    VkExtensionProperties *all = calloc(count, sizeof *all);
    extensions_of(device, NULL, &count, all);
    for (uint32_t i = 0; i < count; i++)
        found |= !strcmp(all[i].extensionName, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME);
    free(all);
    return found;
}

CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info, const VkAllocationCallbacks *a, VkDevice *device) {
    VkLayerDeviceCreateInfo *link = link_of(info->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
    if (!link || !has_statistics(physical)) return VK_ERROR_INITIALIZATION_FAILED;
    PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    device_function = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR feature = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pNext = (void *)info->pNext,
        .pipelineExecutableInfo = VK_TRUE};
    const char **names = calloc(info->enabledExtensionCount + 1, sizeof *names);
    memcpy(names, info->ppEnabledExtensionNames, info->enabledExtensionCount * sizeof *names);
    names[info->enabledExtensionCount] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
    VkDeviceCreateInfo more = *info;
    more.pNext = &feature;
    more.ppEnabledExtensionNames = names;
    more.enabledExtensionCount++;
    VkResult result = ((PFN_vkCreateDevice)next(NULL, "vkCreateDevice"))(physical, &more, a, device);
    free(names);
    if (result != VK_SUCCESS) return result;
    requirements_of = (void *)device_function(*device, "vkGetBufferMemoryRequirements");
    requirements2_of = (void *)device_function(*device, "vkGetBufferMemoryRequirements2");
    create_pipelines = (void *)device_function(*device, "vkCreateComputePipelines");
    executables_of = (void *)device_function(*device, "vkGetPipelineExecutablePropertiesKHR");
    statistics_of = (void *)device_function(*device, "vkGetPipelineExecutableStatisticsKHR");
    return result;
}

// Names of statistics are the drivers': plain letters.
static void write_statistic(FILE *file, const VkPipelineExecutableStatisticKHR *s) {
    fprintf(file, ",\"%s\":", s->name);
    switch (s->format) {
        case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR: fprintf(file, "%u", s->value.b32); break;
        case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR: fprintf(file, "%lld", (long long)s->value.i64); break;
        case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR: fprintf(file, "%llu", (unsigned long long)s->value.u64); break;
        default: fprintf(file, "%f", s->value.f64);
    }
}

static void write_executables(FILE *file, VkDevice device, VkPipeline pipeline) {
    VkPipelineInfoKHR of = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, .pipeline = pipeline};
    uint32_t count = 0;
    executables_of(device, &of, &count, NULL);
    VkPipelineExecutablePropertiesKHR *all = calloc(count, sizeof *all);
    for (uint32_t i = 0; i < count; i++) all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR;
    executables_of(device, &of, &count, all);
    for (uint32_t i = 0; i < count; i++) {
        VkPipelineExecutableInfoKHR which = {
            .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, .pipeline = pipeline, .executableIndex = i};
        uint32_t n = 0;
        statistics_of(device, &which, &n, NULL);
        VkPipelineExecutableStatisticKHR *statistics = calloc(n, sizeof *statistics);
        for (uint32_t k = 0; k < n; k++) statistics[k].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
        statistics_of(device, &which, &n, statistics);
        fprintf(file, "%s{\"Subgroup size\":%u", i ? "," : "", all[i].subgroupSize);
        for (uint32_t k = 0; k < n; k++) write_statistic(file, &statistics[k]);
        fprintf(file, "}");
        free(statistics);
    }
    free(all);
}

CALL create_compute_pipelines(VkDevice device, VkPipelineCache cache, uint32_t count, const VkComputePipelineCreateInfo *infos,
                              const VkAllocationCallbacks *a, VkPipeline *pipelines) {
    VkComputePipelineCreateInfo *more = calloc(count, sizeof *more);
    memcpy(more, infos, count * sizeof *more);
    for (uint32_t i = 0; i < count; i++) more[i].flags |= VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR;
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    VkResult result = create_pipelines(device, cache, count, more, a, pipelines);
    clock_gettime(CLOCK_MONOTONIC, &end);
    free(more);
    const char *path = getenv("FLEET_STATISTICS");
    FILE *file = path && result == VK_SUCCESS ? fopen(path, "a") : NULL;
    for (uint32_t i = 0; file && i < count; i++) {
        double ms = (end.tv_sec - start.tv_sec) * 1e3 + (end.tv_nsec - start.tv_nsec) / 1e6;
        fprintf(file, "{\"ms\":%.2f,\"executables\":[", ms / count);
        write_executables(file, device, pipelines[i]);
        fprintf(file, "]}\n");
    }
    if (file) fclose(file);
    return result;
}

// Semaphores and fences are numbers, which reach the value that is asked for when it is asked for.
struct counter {
    uint64_t value;
};
static struct counter *counter(uint64_t handle) { return (struct counter *)(uintptr_t)handle; }
static uint64_t new_counter(uint64_t value) {
    struct counter *made = calloc(1, sizeof *made);
    made->value = value;
    return (uint64_t)(uintptr_t)made;
}
CALL create_semaphore(VkDevice d, const VkSemaphoreCreateInfo *info, const VkAllocationCallbacks *a, VkSemaphore *out) {
    uint64_t value = 0;
    for (const VkBaseInStructure *one = info->pNext; one; one = one->pNext)
        if (one->sType == VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO) value = ((const VkSemaphoreTypeCreateInfo *)one)->initialValue;
    *out = (VkSemaphore)new_counter(value);
    return VK_SUCCESS;
}
CALL create_fence(VkDevice d, const VkFenceCreateInfo *info, const VkAllocationCallbacks *a, VkFence *out) {
    *out = (VkFence)new_counter(0);
    return VK_SUCCESS;
}
CALL_VOID destroy_counter(VkDevice d, uint64_t handle, const VkAllocationCallbacks *a) { free(counter(handle)); }
CALL semaphore_value(VkDevice d, VkSemaphore semaphore, uint64_t *value) {
    *value = counter((uint64_t)semaphore)->value;
    return VK_SUCCESS;
}
CALL signal_semaphore(VkDevice d, const VkSemaphoreSignalInfo *info) {
    counter((uint64_t)info->semaphore)->value = info->value;
    return VK_SUCCESS;
}
CALL submit(VkQueue q, uint32_t count, const VkSubmitInfo *infos, VkFence fence) {
    for (uint32_t i = 0; i < count; i++)
        for (const VkBaseInStructure *one = infos[i].pNext; one; one = one->pNext) {
            if (one->sType != VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO) continue;
            const VkTimelineSemaphoreSubmitInfo *values = (const void *)one;
            for (uint32_t k = 0; k < infos[i].signalSemaphoreCount && k < values->signalSemaphoreValueCount; k++)
                counter((uint64_t)infos[i].pSignalSemaphores[k])->value = values->pSignalSemaphoreValues[k];
        }
    return VK_SUCCESS;
}
CALL submit2(VkQueue q, uint32_t count, const VkSubmitInfo2 *infos, VkFence fence) {
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < infos[i].signalSemaphoreInfoCount; k++)
            counter((uint64_t)infos[i].pSignalSemaphoreInfos[k].semaphore)->value = infos[i].pSignalSemaphoreInfos[k].value;
    return VK_SUCCESS;
}
// For whatever is recorded or waited for. Callers clean up the stack on all systems that this runs on, so that one function
// takes the place of all.
static VkResult nothing(void) { return VK_SUCCESS; }

// Memory of two kinds of heap where the driver names none.
static void with_memory(VkPhysicalDeviceMemoryProperties *m) {
    if (m->memoryTypeCount) return;
    const VkMemoryPropertyFlags own = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    const VkMemoryPropertyFlags host = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    *m = (VkPhysicalDeviceMemoryProperties){.memoryTypeCount = 3, .memoryHeapCount = 2};
    m->memoryHeaps[0] = (VkMemoryHeap){16ull << 30, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
    m->memoryHeaps[1] = (VkMemoryHeap){16ull << 30, 0};
    m->memoryTypes[0] = (VkMemoryType){own, 0};
    m->memoryTypes[1] = (VkMemoryType){host, 1};
    m->memoryTypes[2] = (VkMemoryType){host | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, 1};
}
CALL_VOID memory(VkPhysicalDevice d, VkPhysicalDeviceMemoryProperties *m) {
    memory_of(d, m);
    with_memory(m);
}
CALL_VOID memory2(VkPhysicalDevice d, VkPhysicalDeviceMemoryProperties2 *m) {
    memory2_of(d, m);
    with_memory(&m->memoryProperties);
}
CALL_VOID requirements(VkDevice d, VkBuffer b, VkMemoryRequirements *m) {
    requirements_of(d, b, m);
    if (!m->memoryTypeBits) m->memoryTypeBits = 7;
}
CALL_VOID requirements2(VkDevice d, const VkBufferMemoryRequirementsInfo2 *info, VkMemoryRequirements2 *m) {
    requirements2_of(d, info, m);
    if (!m->memoryRequirements.memoryTypeBits) m->memoryRequirements.memoryTypeBits = 7;
}

static PFN_vkVoidFunction VKAPI_CALL device_address(VkDevice device, const char *name);
static PFN_vkVoidFunction VKAPI_CALL instance_address(VkInstance instance, const char *name);

static PFN_vkVoidFunction own(const char *name) {
    static const struct {
        const char *name;
        void *function;
    } all[] = {
        {"vkGetInstanceProcAddr", instance_address},
        {"vkGetDeviceProcAddr", device_address},
        {"vkCreateInstance", create_instance},
        {"vkCreateDevice", create_device},
        {"vkCreateComputePipelines", create_compute_pipelines},
        {"vkCreateSemaphore", create_semaphore},
        {"vkDestroySemaphore", destroy_counter},
        {"vkGetSemaphoreCounterValue", semaphore_value},
        {"vkWaitSemaphores", nothing},
        {"vkSignalSemaphore", signal_semaphore},
        {"vkCreateFence", create_fence},
        {"vkDestroyFence", destroy_counter},
        {"vkGetFenceStatus", nothing},
        {"vkWaitForFences", nothing},
        {"vkResetFences", nothing},
        {"vkQueueWaitIdle", nothing},
        {"vkDeviceWaitIdle", nothing},
        {"vkQueueSubmit", submit},
        {"vkQueueSubmit2", submit2},
        {"vkBeginCommandBuffer", nothing},
        {"vkEndCommandBuffer", nothing},
        {"vkResetCommandBuffer", nothing},
        {"vkResetCommandPool", nothing},
        {"vkGetPhysicalDeviceMemoryProperties", memory},
        {"vkGetPhysicalDeviceMemoryProperties2", memory2},
        {"vkGetBufferMemoryRequirements", requirements},
        {"vkGetBufferMemoryRequirements2", requirements2},
    };
    if (!strncmp(name, "vkCmd", 5)) return (PFN_vkVoidFunction)nothing;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        size_t length = strlen(all[i].name);
        // Functions of an extension that became part of Vulkan end in KHR.
        if (!strncmp(name, all[i].name, length) && (!name[length] || !strcmp(name + length, "KHR"))) return all[i].function;
    }
    return NULL;
}
static PFN_vkVoidFunction VKAPI_CALL device_address(VkDevice device, const char *name) {
    PFN_vkVoidFunction found = own(name);
    return found ? found : device_function(device, name);
}
static PFN_vkVoidFunction VKAPI_CALL instance_address(VkInstance instance, const char *name) {
    PFN_vkVoidFunction found = own(name);
    return found ? found : instance_function(instance, name);
}
__attribute__((visibility("default"))) VKAPI_ATTR VkResult VKAPI_CALL
vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *interface) {
    interface->loaderLayerInterfaceVersion = 2;
    interface->pfnGetInstanceProcAddr = instance_address;
    interface->pfnGetDeviceProcAddr = device_address;
    interface->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}
