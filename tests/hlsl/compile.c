// compile.exe COMPILER PROFILE SECONDS LIST: compiles the HLSL files that LIST names, one a line, with Microsoft's compiler as
// wgpu calls it: "fxc" is d3dcompiler_47.dll, "dxc" is dxcompiler.dll, both beside this program. tests/hlsl.sh runs it under Wine.
// Prints a line for each file: whether it passed, seconds of processor time, its name, and what the compiler says against it. A file that takes
// more than SECONDS is "slow", and the program ends there with exit code 3: there is no way to stop the compiler otherwise.
#define COBJMACROS
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

// COM objects by the places of their functions: mingw has no header of DXC.
typedef struct Object {
    void **functions;
} Object;
#define FUNCTION(object, place, type) ((type)((object)->functions[place]))
typedef HRESULT(WINAPI *Create)(const GUID *, const GUID *, void **);
typedef ULONG(WINAPI *Release)(void *);
// ID3DBlob and IDxcBlob both have the bytes and their number behind IUnknown's three.
typedef char *(WINAPI *Bytes)(void *);
typedef SIZE_T(WINAPI *Length)(void *);

typedef HRESULT(WINAPI *FxcCompile)(const void *source, SIZE_T length, const char *name, const void *defines, void *include,
                                    const char *entry, const char *profile, UINT flags, UINT effect_flags, Object **code,
                                    Object **messages);
#define ENABLE_STRICTNESS 0x800

typedef struct {
    const void *text;
    SIZE_T length;
    UINT encoding;
} DxcBuffer;
static const GUID COMPILER = {0x73e22d93, 0xe6ce, 0x47f3, {0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0}};
static const GUID COMPILER_3 = {0x228b4687, 0x5a6a, 0x4730, {0x90, 0x0c, 0x97, 0x02, 0xb2, 0x20, 0x3f, 0x54}};
static const GUID RESULT = {0x58346cda, 0xdde7, 0x4497, {0x94, 0x61, 0x6f, 0x87, 0xaf, 0x5e, 0x06, 0x59}};
// IDxcCompiler3::Compile, and of IDxcOperationResult: GetStatus, GetResult, GetErrorBuffer.
typedef HRESULT(WINAPI *DxcCompile)(void *, const DxcBuffer *, const wchar_t **, UINT32, void *, const GUID *, Object **);
typedef HRESULT(WINAPI *Status)(void *, HRESULT *);
typedef HRESULT(WINAPI *Part)(void *, Object **);

static int is_dxc;
static FxcCompile fxc;
static Object *dxc;
static const char *profile;

// The file that is being compiled, the processor time when that began, and how much it may take.
static char current[MAX_PATH];
static volatile LONG64 since = -1;
static int patience;

// Milliseconds of processor time that this process has had.
static LONG64 spent(void) {
    FILETIME created, ended;
    ULARGE_INTEGER kernel, user;
    FILETIME in_kernel, in_user;
    GetProcessTimes(GetCurrentProcess(), &created, &ended, &in_kernel, &in_user);
    kernel.LowPart = in_kernel.dwLowDateTime, kernel.HighPart = in_kernel.dwHighDateTime;
    user.LowPart = in_user.dwLowDateTime, user.HighPart = in_user.dwHighDateTime;
    return (kernel.QuadPart + user.QuadPart) / 10000;
}

static double seconds(LONG64 from) { return (spent() - from) / 1e3; }

static DWORD WINAPI watch(void *unused) {
    (void)unused;
    for (;;) {
        Sleep(200);
        LONG64 from = InterlockedCompareExchange64(&since, -1, -1);
        if (from >= 0 && spent() - from > patience * 1000ll) {
            printf("slow %.1f %s: not done\n", seconds(from), current);
            fflush(stdout);
            TerminateProcess(GetCurrentProcess(), 3);
        }
    }
    return 0;
}

static char *contents(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    long end = ftell(file);
    rewind(file);
    char *text = malloc(end + 1);
    *length = fread(text, 1, end, file);
    text[*length] = 0;
    fclose(file);
    return text;
}

// The errors among the messages, which are mostly warnings, in one line.
static void print_errors(char *text) {
    for (char *line = strtok(text, "\r\n"); line; line = strtok(NULL, "\r\n")) {
        char *error = strstr(line, "error");
        if (error) printf(" %.200s;", error);
    }
}

static HRESULT compile(const char *text, size_t length, Object **code, Object **messages) {
    if (!is_dxc) return fxc(text, length, current, NULL, NULL, "main", profile, ENABLE_STRICTNESS, 0, code, messages);
    wchar_t wide[16];
    MultiByteToWideChar(CP_UTF8, 0, profile, -1, wide, 16);
    const wchar_t *arguments[] = {L"-E", L"main", L"-T", wide, L"-HV", L"2018", L"-no-warnings", L"-Ges", L"-enable-16bit-types"};
    DxcBuffer buffer = {text, length, CP_UTF8};
    Object *result = NULL;
    // As wgpu does where a device has f16, which is from shader model 6.2 on.
    int has_16_bits = strstr(text, "half") || strstr(text, "float16_t");
    UINT32 count = strcmp(profile, "cs_6_2") >= 0 && has_16_bits ? 9 : 8;
    HRESULT status = FUNCTION(dxc, 3, DxcCompile)(dxc, &buffer, arguments, count, NULL, &RESULT, &result);
    if (FAILED(status)) return status;
    FUNCTION(result, 3, Status)(result, &status);
    FUNCTION(result, 4, Part)(result, code);
    FUNCTION(result, 5, Part)(result, messages);
    FUNCTION(result, 2, Release)(result);
    return status;
}

int main(int count, char **arguments) {
    if (count != 5) {
        fprintf(stderr, "expected fxc or dxc, a profile, seconds and a list of files\n");
        return 2;
    }
    is_dxc = !strcmp(arguments[1], "dxc");
    profile = arguments[2];
    patience = atoi(arguments[3]);
    HMODULE library = LoadLibraryA(is_dxc ? "dxcompiler.dll" : "d3dcompiler_47.dll");
    FARPROC entry = library ? GetProcAddress(library, is_dxc ? "DxcCreateInstance" : "D3DCompile") : NULL;
    if (!entry) {
        fprintf(stderr, "no compiler: Windows error %lu\n", GetLastError());
        return 2;
    }
    fxc = (FxcCompile)(void *)entry;
    if (is_dxc && FAILED(((Create)(void *)entry)(&COMPILER, &COMPILER_3, (void **)&dxc))) {
        fprintf(stderr, "dxcompiler.dll makes no compiler\n");
        return 2;
    }
    FILE *list = fopen(arguments[4], "r");
    if (!list) {
        fprintf(stderr, "%s: cannot be read\n", arguments[4]);
        return 2;
    }
    CreateThread(NULL, 0, watch, NULL, 0, NULL);
    int failed = 0;
    while (fgets(current, sizeof current, list)) {
        current[strcspn(current, "\r\n")] = 0;
        size_t length;
        char *text = contents(current, &length);
        if (!text) {
            fprintf(stderr, "%s: cannot be read\n", current);
            return 2;
        }
        Object *code = NULL, *messages = NULL;
        LONG64 from = spent();
        InterlockedExchange64(&since, from);
        HRESULT status = compile(text, length, &code, &messages);
        InterlockedExchange64(&since, -1);
        // A compiler that gives no code has not passed.
        int passed = SUCCEEDED(status) && code && FUNCTION(code, 4, Length)(code) > 0;
        printf("%s %.1f %s", passed ? "ok" : "failed", seconds(from), current);
        if (!passed) {
            failed = 1;
            printf(": %08lx", status);
            if (messages) print_errors(FUNCTION(messages, 3, Bytes)(messages));
        }
        putchar('\n');
        fflush(stdout);
        if (code) FUNCTION(code, 2, Release)(code);
        if (messages) FUNCTION(messages, 2, Release)(messages);
        free(text);
    }
    return failed;
}
