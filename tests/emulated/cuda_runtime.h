// The part of the CUDA runtime's interface that kernels/cuda uses, for the emulated device.
// https://docs.nvidia.com/cuda/cuda-runtime-api/ says what each does. Work on a stream is done as late as its meaning
// allows, at a synchronisation: a host buffer that is used too early shows.
#pragma once
#include <cmath>
#include <cstring>
#include <memory>
#include <tuple>

#include "tests/emulated/block.h"

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

// ---- Vectors

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// ---- In kernels

namespace emulated {
template <Index (*which)(), unsigned Index::*part>
struct Part {
    operator unsigned() const { return which().*part; }
};
template <Index (*which)()>
struct Parts {
    Part<which, &Index::x> x;
    Part<which, &Index::y> y;
    Part<which, &Index::z> z;
};
}  // namespace emulated
constexpr emulated::Parts<emulated::thread_index> threadIdx{};
constexpr emulated::Parts<emulated::block_index> blockIdx{};
constexpr emulated::Parts<emulated::block_size> blockDim{};
constexpr emulated::Parts<emulated::grid_size> gridDim{};

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    emulated::barrier({file, line});
}
inline void __syncwarp(unsigned mask = ~0u, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    emulated::order_warp(mask, {file, line});
}

namespace emulated {

// A value of up to 8 bytes and the lane it is wanted from; the lane's own where that one is out of range.
struct Shuffle {
    uint64_t value, result;
    int from;
};
inline void shuffle_lanes(void* const (&lane)[32]) {
    for (void* p : lane)
        if (auto* s = static_cast<Shuffle*>(p)) {
            const auto* other = static_cast<const Shuffle*>(lane[s->from]);
            s->result = other ? other->value : 0xABADCAFEABADCAFE;
        }
}
template <class T>
T shuffle(unsigned mask, T v, int from, Site site) {
    static_assert(sizeof(T) <= 8);
    Shuffle s{0, 0, from};
    std::memcpy(&s.value, &v, sizeof v);
    meet(shuffle_lanes, mask, &s, site);
    std::memcpy(&v, &s.result, sizeof v);
    return v;
}
inline int own_lane() {
    const Index t = thread_index(), size = block_size();
    return int((t.x + size.x * (t.y + size.y * t.z)) % 32);
}
// The source lane, kept within the group of `width` lanes that the caller's belongs to.
inline int within(int from, int width) {
    const int lane = own_lane();
    return from < lane / width * width || from >= lane / width * width + width ? lane : from;
}

struct Vote {
    bool yes;
    unsigned result;
};
inline void count_votes(void* const (&lane)[32]) {
    unsigned all = 0;
    for (int i = 0; i < 32; ++i)
        if (lane[i] && static_cast<Vote*>(lane[i])->yes) all |= 1u << i;
    for (void* p : lane)
        if (p) static_cast<Vote*>(p)->result = all;
}
inline unsigned vote(unsigned mask, bool yes, Site site) {
    Vote v{yes, 0};
    meet(count_votes, mask, &v, site);
    return v.result;
}

}  // namespace emulated

#define ALIA_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
template <class T>
T __shfl_sync(unsigned mask, T v, int lane, int width = 32, ALIA_SITE) {
    return emulated::shuffle(mask, v, emulated::own_lane() / width * width + (lane & (width - 1)), {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, ALIA_SITE) {
    return emulated::shuffle(mask, v, emulated::within(emulated::own_lane() ^ bits, width), {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, ALIA_SITE) {
    return emulated::shuffle(mask, v, emulated::within(emulated::own_lane() - int(by), width), {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int yes, ALIA_SITE) {
    return emulated::vote(mask, yes != 0, {file, line});
}

inline int __clz(int v) { return v ? __builtin_clz(unsigned(v)) : 32; }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline unsigned __float_as_uint(float f) {
    unsigned u;
    std::memcpy(&u, &f, 4);
    return u;
}
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }

// ---- On the host

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInsufficientDriver = 35,
    cudaErrorDevicesUnavailable = 46,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorECCUncorrectable = 214,
    cudaErrorNvlinkUncorrectable = 220,
    cudaErrorUnsupportedPtxVersion = 222,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchTimeout = 702,
    cudaErrorContextIsDestroyed = 709,
    cudaErrorAssert = 710,
    cudaErrorHardwareStackError = 714,
    cudaErrorIllegalInstruction = 715,
    cudaErrorMisalignedAddress = 716,
    cudaErrorInvalidAddressSpace = 717,
    cudaErrorInvalidPc = 718,
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorUnknown = 999
};
const char* cudaGetErrorName(cudaError_t);
const char* cudaGetErrorString(cudaError_t);
cudaError_t cudaGetLastError();

using cudaStream_t = struct EmulatedStream*;
using cudaEvent_t = struct EmulatedEvent*;
using cudaGraph_t = struct EmulatedGraph*;
using cudaGraphExec_t = struct EmulatedGraphExec*;

enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr {
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76
};
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;
constexpr unsigned cudaHostAllocDefault = 0, cudaHostAllocPortable = 1, cudaHostAllocMapped = 2;

enum cudaLaunchAttributeID { cudaLaunchAttributeProgrammaticStreamSerialization = 6 };
struct cudaLaunchAttribute {
    cudaLaunchAttributeID id;
    struct {
        int programmaticStreamSerializationAllowed;
    } val;
};
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
    cudaLaunchAttribute* attrs;
    unsigned numAttrs;
};
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
};

cudaError_t cudaDriverGetVersion(int*);
cudaError_t cudaRuntimeGetVersion(int*);
cudaError_t cudaGetDeviceCount(int*);
cudaError_t cudaGetDevice(int*);
cudaError_t cudaSetDevice(int);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp*, int);
cudaError_t cudaDeviceGetAttribute(int*, cudaDeviceAttr, int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaMemGetInfo(size_t* available, size_t* total);

cudaError_t cudaMallocBytes(void**, size_t);
template <class T>
cudaError_t cudaMalloc(T** p, size_t bytes) {
    return cudaMallocBytes(reinterpret_cast<void**>(p), bytes);
}
cudaError_t cudaFree(void*);
cudaError_t cudaHostAllocBytes(void**, size_t, unsigned flags);
template <class T>
cudaError_t cudaHostAlloc(T** p, size_t bytes, unsigned flags) {
    return cudaHostAllocBytes(reinterpret_cast<void**>(p), bytes, flags);
}
template <class T>
cudaError_t cudaMallocHost(T** p, size_t bytes) {
    return cudaHostAlloc(p, bytes, cudaHostAllocDefault);
}
cudaError_t cudaFreeHost(void*);
cudaError_t cudaMemcpy(void* to, const void* from, size_t, cudaMemcpyKind);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t, cudaMemcpyKind, cudaStream_t = nullptr);
cudaError_t cudaMemsetAsync(void*, int value, size_t, cudaStream_t = nullptr);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t*, unsigned);
cudaError_t cudaStreamDestroy(cudaStream_t);
cudaError_t cudaStreamSynchronize(cudaStream_t);
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned flags = 0);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t*, unsigned);
inline cudaError_t cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t);
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t);

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode);
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t*, cudaGraph_t, unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t);
cudaError_t cudaGraphDestroy(cudaGraph_t);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t);

cudaError_t cudaFuncSetAttributeOf(const void* kernel, cudaFuncAttribute, int);
template <class F>
cudaError_t cudaFuncSetAttribute(F* kernel, cudaFuncAttribute a, int value) {
    return cudaFuncSetAttributeOf(reinterpret_cast<const void*>(kernel), a, value);
}
// What of a kernel's code the library asks: the virtual architecture that it was compiled for.
struct cudaFuncAttributes {
    int ptxVersion;
};
cudaError_t cudaFuncGetAttributesOf(cudaFuncAttributes*);
template <class F>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, F*) {
    return cudaFuncGetAttributesOf(attributes);
}
namespace emulated {

cudaError_t queue_kernel(const void* kernel, const cudaLaunchConfig_t&, void (*call)(const void*),
                         std::shared_ptr<const void> arguments, size_t argument_bytes);

// A kernel and its arguments: all that a launch lets it read of the host's memory.
template <class... Parameters>
struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
    static void now(const void* p) {
        const auto* call = static_cast<const Call*>(p);
        std::apply(call->kernel, call->arguments);
    }
};

}  // namespace emulated
template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), Arguments&&... given) {
    using Call = emulated::Call<Parameters...>;
    return emulated::queue_kernel(reinterpret_cast<const void*>(kernel), *config, Call::now,
                                  std::make_shared<const Call>(Call{kernel, {given...}}), sizeof(Call));
}
