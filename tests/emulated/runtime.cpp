// The emulated runtime: streams as queues of work, done when something waits for it.
#include <algorithm>
#include <cuda_runtime.h>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "tests/emulated/memory.h"

namespace emulated {

Machine machine;
void forget_reports();

}  // namespace emulated

using emulated::Kind;
using emulated::machine;

// A piece of work. `kernel`: the one behind it may begin before it has ended.
struct Work {
    std::function<cudaError_t()> act;
    bool kernel = false;
};
struct EmulatedStream {
    int device = 0;
    std::deque<Work> queue;
    int64_t queued = 0, done = 0;
    uint32_t after_kernel = 0;  // the number of the last work done, where that was a kernel
    bool capturing = false, capture_failed = false;
    std::thread::id capturer;
    std::vector<Work> captured;
};
struct EmulatedEvent {
    int device = 0;
    EmulatedStream* stream = nullptr;
    int64_t after = 0;  // pieces of work of the stream
};
struct EmulatedGraph {
    std::vector<Work> work;
};
struct EmulatedGraphExec {
    std::vector<Work> work;
};

namespace {

std::recursive_mutex mutex;
std::map<EmulatedStream*, EmulatedStream*> streams;
std::map<const void*, int> shared_limits;
emulated::Alive living;
std::map<const void*, int> owners;  // devices of allocations
std::map<int, size_t> bytes_used;   // of devices
int64_t made = 0, failing = -1, allocated = 0;
cudaError_t failure = cudaSuccess;
bool failure_sticks = false;
cudaError_t lost = cudaSuccess;  // what every call returns
thread_local int device = 0;
thread_local cudaError_t last = cudaSuccess;

cudaError_t tell(cudaError_t e) {
    if (e != cudaSuccess) last = e;
    return e;
}
// Whether the call may go on; `frees` calls do their work whatever they return.
cudaError_t begin() {
    const int64_t number = made++;
    if (number == failing) {
        if (failure_sticks) lost = failure;
        return failure;
    }
    return lost;
}

cudaError_t run_one(EmulatedStream* s) {
    Work w = std::move(s->queue.front());
    s->queue.pop_front();
    ++s->done;
    const cudaError_t e = lost != cudaSuccess ? lost : w.act();
    if (!w.kernel) s->after_kernel = 0;
    if (e != cudaSuccess) lost = e;
    return e;
}
cudaError_t run_until(EmulatedStream* s, int64_t done) {
    cudaError_t e = lost;
    while (s->done < done && !s->queue.empty()) e = run_one(s);
    return e;
}
cudaError_t run_all() {
    cudaError_t e = lost;
    for (auto& [s, _] : streams) e = run_until(s, s->queued);
    return e;
}

cudaError_t queue(EmulatedStream* s, std::function<cudaError_t()> act, bool kernel = false) {
    if (!streams.contains(s)) return cudaErrorInvalidResourceHandle;
    if (s->capturing) {
        s->captured.push_back({std::move(act), kernel});
    } else {
        s->queue.push_back({std::move(act), kernel});
        ++s->queued;
    }
    return cudaSuccess;
}
// A call that waits, which a capture cannot hold: one of the thread that captures, or one that waits for all streams.
bool breaks_capture(bool waits_for_all = false) {
    bool any = false;
    for (auto& [s, _] : streams)
        if (s->capturing && (waits_for_all || s->capturer == std::this_thread::get_id()))
            any = s->capture_failed = true;
    return any;
}

cudaError_t copy(void* to, const void* from, size_t bytes) {
    const bool to_us = emulated::inside(to), from_us = emulated::inside(from);
    if ((to_us && !emulated::is_device(to, bytes) && !emulated::is_pinned(to)) ||
        (from_us && !emulated::is_device(from, bytes) && !emulated::is_pinned(from)))
        return cudaErrorInvalidValue;
    std::memcpy(to, from, bytes);
    if (to_us && from_us && emulated::is_device(from, bytes) && emulated::is_device(to, bytes))
        emulated::copy_written(to, from, bytes);
    else
        emulated::mark_written(to, bytes);
    return cudaSuccess;
}

}  // namespace

namespace emulated {

void reset() {
    std::lock_guard lock(mutex);
    failing = -1;
    lost = cudaSuccess;
    last = cudaSuccess;
    forget_reports();
}
void fail_call(int64_t n, int error, bool sticky) {
    std::lock_guard lock(mutex);
    failing = made + n;
    failure = cudaError_t(error);
    failure_sticks = sticky;
}
int64_t calls() { return made; }
int64_t waiting() {
    std::lock_guard lock(mutex);
    int64_t all = 0;
    for (auto& [s, _] : streams) all += s->queued - s->done;
    return all;
}

// Of a block, by capability: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
size_t shared_limit() {
    const int c = machine.capability;
    return size_t(c == 80 || c == 87 ? 163 : c >= 90 && c < 120 ? 227 : 99) << 10;
}
Alive alive() { return living; }
int64_t allocations() { return allocated; }
size_t used(int device) { return bytes_used[device]; }

std::vector<Launched> kernels;
const std::vector<Launched>& launched() { return kernels; }
void note_launch(const void* kernel, int threads, int shared) {
    for (Launched& l : kernels)
        if (l.kernel == kernel) {
            l.threads = std::max(l.threads, threads), l.shared = std::max(l.shared, shared);
            return;
        }
    kernels.push_back({kernel, threads, shared});
}

cudaError_t queue_kernel(const void* kernel, const cudaLaunchConfig_t& c, void (*call)(const void*),
                         std::shared_ptr<const void> arguments, size_t argument_bytes) {
    std::lock_guard lock(mutex);
    if (cudaError_t e = begin()) return tell(e);
    const auto limit = shared_limits.find(kernel);
    const size_t most = limit == shared_limits.end() ? 48 << 10 : size_t(limit->second);
    const uint64_t threads = uint64_t(c.blockDim.x) * c.blockDim.y * c.blockDim.z;
    if (threads == 0 || threads > 1024 || c.gridDim.x == 0 || c.gridDim.y == 0 || c.gridDim.z == 0 ||
        c.gridDim.y > 65535 || c.gridDim.z > 65535 || c.gridDim.x > 0x7FFFFFFF || c.dynamicSmemBytes > most)
        return tell(cudaErrorInvalidValue);
    const bool overlaps = c.numAttrs > 0 && c.attrs->val.programmaticStreamSerializationAllowed;
    if (overlaps && code_capability() < 90) return tell(cudaErrorInvalidValue);  // its grid_wait() would not wait
    note_launch(kernel, int(threads), int(c.dynamicSmemBytes));
    EmulatedStream* stream = c.stream;
    if (!streams.contains(stream) || stream->device != device) return tell(cudaErrorInvalidResourceHandle);
    if (overlaps && stream->capturing && machine.captured != Early::kept) {
        stream->capture_failed |= machine.captured == Early::ends_capture;
        return tell(cudaErrorStreamCaptureUnsupported);
    }
    const Launch launch = {call,
                           arguments.get(),
                           argument_bytes,
                           {c.gridDim.x, c.gridDim.y, c.gridDim.z},
                           {c.blockDim.x, c.blockDim.y, c.blockDim.z},
                           c.dynamicSmemBytes,
                           stream->device,
                           0};
    return tell(queue(
        stream,
        [launch, overlaps, arguments = std::move(arguments), stream] {
            Launch now = launch;
            if (overlaps) now.previous = stream->after_kernel;
            stream->after_kernel = run(now);
            return stream->after_kernel ? cudaSuccess : cudaErrorLaunchFailure;
        },
        true));
}

}  // namespace emulated

#define ALIA_CALL                \
    std::lock_guard lock(mutex); \
    if (cudaError_t e = begin()) return tell(e)

const char* cudaGetErrorName(cudaError_t e) {
    switch (e) {
        case cudaSuccess:
            return "cudaSuccess";
        case cudaErrorMemoryAllocation:
            return "cudaErrorMemoryAllocation";
        case cudaErrorInvalidValue:
            return "cudaErrorInvalidValue";
        case cudaErrorLaunchFailure:
            return "cudaErrorLaunchFailure";
        case cudaErrorIllegalAddress:
            return "cudaErrorIllegalAddress";
        case cudaErrorNoDevice:
            return "cudaErrorNoDevice";
        case cudaErrorInsufficientDriver:
            return "cudaErrorInsufficientDriver";
        default:
            return "cudaError";
    }
}
const char* cudaGetErrorString(cudaError_t e) {
    return e == cudaErrorLaunchFailure && !emulated::reports().empty() ? emulated::reports().back().c_str()
                                                                       : cudaGetErrorName(e);
}
cudaError_t cudaGetLastError() {
    const cudaError_t e = last;
    last = cudaSuccess;
    return e;
}

cudaError_t cudaDriverGetVersion(int* version) {
    ALIA_CALL;
    *version = machine.driver;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
    ALIA_CALL;
    *version = 13000;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
    ALIA_CALL;
    *count = 0;
    if (machine.driver < 13000) return tell(cudaErrorInsufficientDriver);
    if (machine.devices == 0) return tell(cudaErrorNoDevice);
    *count = machine.devices;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int* d) {
    ALIA_CALL;
    *d = device;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int d) {
    ALIA_CALL;
    if (d < 0 || d >= machine.devices) return tell(cudaErrorInvalidDevice);
    device = d;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int d) {
    ALIA_CALL;
    if (d < 0 || d >= machine.devices) return tell(cudaErrorInvalidDevice);
    *p = {"Emulated device", machine.memory};
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr a, int d) {
    ALIA_CALL;
    if (d < 0 || d >= machine.devices) return tell(cudaErrorInvalidDevice);
    switch (a) {
        case cudaDevAttrMultiProcessorCount:
            *value = machine.multiprocessors;
            break;
        case cudaDevAttrComputeCapabilityMajor:
            *value = machine.capability / 10;
            break;
        case cudaDevAttrComputeCapabilityMinor:
            *value = machine.capability % 10;
            break;
    }
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
    ALIA_CALL;
    if (breaks_capture(true)) return tell(cudaErrorStreamCaptureUnsupported);
    return tell(run_all());
}
cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
    ALIA_CALL;
    *total = machine.memory;
    *available = machine.memory - bytes_used[device];
    return cudaSuccess;
}

cudaError_t cudaMallocBytes(void** p, size_t bytes) {
    ALIA_CALL;
    if (breaks_capture()) return tell(cudaErrorStreamCaptureUnsupported);
    if (bytes > machine.memory - bytes_used[device]) return tell(cudaErrorMemoryAllocation);
    *p = bytes ? emulated::allocate(Kind::device, bytes, device) : nullptr;
    if (bytes == 0) return cudaSuccess;
    if (!*p) return tell(cudaErrorMemoryAllocation);
    owners[*p] = device;
    bytes_used[device] += bytes;
    ++living.device, ++allocated;
    return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
    std::lock_guard lock(mutex);
    const cudaError_t e = begin();
    if (!p) return tell(e);
    const int64_t bytes = emulated::size_of(p, Kind::device);
    if (bytes < 0) return tell(cudaErrorInvalidValue);
    run_all();
    bytes_used[owners[p]] -= size_t(bytes);
    owners.erase(p);
    emulated::release(p);
    --living.device;
    return tell(e);
}
cudaError_t cudaHostAllocBytes(void** p, size_t bytes, unsigned) {
    ALIA_CALL;
    if (breaks_capture()) return tell(cudaErrorStreamCaptureUnsupported);
    *p = emulated::allocate(Kind::pinned, bytes ? bytes : 1, device);
    if (!*p) return tell(cudaErrorMemoryAllocation);
    ++living.pinned, ++allocated;
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
    std::lock_guard lock(mutex);
    const cudaError_t e = begin();
    if (!p) return tell(e);
    if (emulated::size_of(p, Kind::pinned) < 0) return tell(cudaErrorInvalidValue);
    run_all();
    emulated::release(p);
    --living.pinned;
    return tell(e);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
    ALIA_CALL;
    if (breaks_capture()) return tell(cudaErrorStreamCaptureUnsupported);
    if (cudaError_t e = run_all()) return tell(e);
    return tell(copy(to, from, bytes));
}
// Pinned memory of the host is read and written when the stream comes to it. When the runtime reads other memory is not
// promised, so that is refused as a source; as a target it is written now.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t s) {
    ALIA_CALL;
    if (bytes == 0) return cudaSuccess;
    if (!emulated::inside(from)) return tell(cudaErrorInvalidValue);
    if (emulated::inside(to)) return tell(queue(s, [=] { return copy(to, from, bytes); }));
    if (breaks_capture()) return tell(cudaErrorStreamCaptureUnsupported);
    if (!streams.contains(s)) return tell(cudaErrorInvalidResourceHandle);
    if (cudaError_t e = run_until(s, s->queued)) return tell(e);
    return tell(copy(to, from, bytes));
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t s) {
    ALIA_CALL;
    return tell(queue(s, [=] {
        if (!emulated::is_device(p, bytes)) return cudaErrorInvalidValue;
        std::memset(p, value, bytes);
        emulated::mark_written(p, bytes);
        return cudaSuccess;
    }));
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
    ALIA_CALL;
    *s = new EmulatedStream;
    (*s)->device = device;
    streams[*s] = *s;
    ++living.streams;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
    std::lock_guard lock(mutex);
    const cudaError_t e = begin();
    if (!streams.contains(s)) return tell(cudaErrorInvalidResourceHandle);
    run_until(s, s->queued);
    streams.erase(s);
    delete s;
    --living.streams;
    return tell(e);
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    ALIA_CALL;
    if (breaks_capture()) return tell(cudaErrorStreamCaptureUnsupported);
    if (!s) return tell(run_all());
    if (!streams.contains(s)) return tell(cudaErrorInvalidResourceHandle);
    return tell(run_until(s, s->queued));
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t event, unsigned) {
    ALIA_CALL;
    if (!emulated::options.stream_waits) return cudaSuccess;
    EmulatedStream* other = event->stream;
    const int64_t after = event->after;
    return tell(queue(s, [=] { return other && streams.contains(other) ? run_until(other, after) : cudaSuccess; }));
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    ALIA_CALL;
    *event = new EmulatedEvent{.device = device};
    ++living.events;
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    std::lock_guard lock(mutex);
    const cudaError_t e = begin();
    delete event;
    --living.events;
    return tell(e);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t s) {
    ALIA_CALL;
    if (!streams.contains(s) || s->device != event->device) return tell(cudaErrorInvalidResourceHandle);
    event->stream = s, event->after = s->queued;
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    ALIA_CALL;
    if (breaks_capture()) return tell(cudaErrorStreamCaptureUnsupported);
    return tell(event->stream && streams.contains(event->stream) ? run_until(event->stream, event->after) : lost);
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
    ALIA_CALL;
    *milliseconds = 1;
    return tell(run_all());
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
    ALIA_CALL;
    if (!streams.contains(s)) return tell(cudaErrorInvalidResourceHandle);
    if (s->capturing) return tell(cudaErrorInvalidValue);
    s->capturing = true;
    s->capture_failed = false;
    s->capturer = std::this_thread::get_id();
    s->captured.clear();
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph) {
    std::lock_guard lock(mutex);
    const cudaError_t e = begin();
    *graph = nullptr;
    if (!streams.contains(s) || !s->capturing) return tell(cudaErrorInvalidValue);
    s->capturing = false;
    if (e) return tell(e);
    if (s->capture_failed) return tell(cudaErrorStreamCaptureInvalidated);
    *graph = new EmulatedGraph{std::move(s->captured)};
    ++living.graphs;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    ALIA_CALL;
    *exec = new EmulatedGraphExec{graph->work};
    ++living.graphs;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s) {
    ALIA_CALL;
    for (const Work& w : exec->work)
        if (cudaError_t e = queue(s, w.act, w.kernel)) return tell(e);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    std::lock_guard lock(mutex);
    const cudaError_t e = begin();
    delete graph;
    --living.graphs;
    return tell(e);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    std::lock_guard lock(mutex);
    const cudaError_t e = begin();
    run_all();
    delete exec;
    --living.graphs;
    return tell(e);
}

cudaError_t cudaFuncSetAttributeOf(const void* kernel, cudaFuncAttribute, int value) {
    ALIA_CALL;
    if (value < 0 || size_t(value) > emulated::shared_limit()) return tell(cudaErrorInvalidValue);
    shared_limits[kernel] = value;
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributesOf(cudaFuncAttributes* attributes) {
    ALIA_CALL;
    attributes->ptxVersion = emulated::code_capability();
    return cudaSuccess;
}
