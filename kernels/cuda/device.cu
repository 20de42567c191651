// The CUDA device: finding cards, memory, copies, the runtime's errors, and the table.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"
#include "kernels/processors.h"

namespace alia::cuda {
namespace {

constexpr int least_capability = 80;  // mma of bf16 and asynchronous copies

// After these the runtime gives the same error to every later call of the process's context.
bool sticky(cudaError_t e) {
    for (cudaError_t s : {cudaErrorIllegalAddress, cudaErrorLaunchTimeout, cudaErrorAssert, cudaErrorHardwareStackError,
                          cudaErrorIllegalInstruction, cudaErrorMisalignedAddress, cudaErrorInvalidAddressSpace,
                          cudaErrorInvalidPc, cudaErrorLaunchFailure, cudaErrorECCUncorrectable,
                          cudaErrorNvlinkUncorrectable, cudaErrorContextIsDestroyed, cudaErrorUnknown})
        if (e == s) return true;
    return false;
}

// How many cards there are; a sentence in `why` where that is none.
int count_cards(char (&why)[300]) {
    int cards = 0, driver = 0, runtime = 0;
    const cudaError_t e = cudaGetDeviceCount(&cards);
    if (e == cudaSuccess && cards > 0) return cards;
    cudaGetLastError();
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
        std::snprintf(why, sizeof why,
                      "there is no NVIDIA driver here: install one for CUDA %d or newer, or use \"cpu\"",
                      runtime / 1000);
    else if (e == cudaErrorInsufficientDriver)
        std::snprintf(
            why, sizeof why,
            "the NVIDIA driver is made for CUDA %d.%d and this library needs %d.%d: update the driver, or use "
            "\"cpu\"",
            driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    else if (e == cudaSuccess || e == cudaErrorNoDevice)
        std::snprintf(why, sizeof why, "there is no NVIDIA card here, or CUDA_VISIBLE_DEVICES hides it; use \"cpu\"");
    else
        std::snprintf(why, sizeof why, "CUDA does not start (%s: %s); use \"cpu\"", cudaGetErrorName(e),
                      cudaGetErrorString(e));
    return 0;
}

// 10 * major + minor of a card, 0 where that cannot be asked.
int capability_of(int ordinal) {
    int major = 0, minor = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ordinal) != cudaSuccess ||
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, ordinal) != cudaSuccess) {
        cudaGetLastError();
        return 0;
    }
    return 10 * major + minor;
}

// Why the kernels do not run on a card; "" where they do.
std::string refusal(int ordinal, int capability) {
    if (capability >= least_capability) return {};
    char why[200];
    std::snprintf(why, sizeof why,
                  "cuda:%d has compute capability %d.%d and the kernels need 8.0 (Ampere) or newer: use \"cpu\"",
                  ordinal, capability / 10, capability % 10);
    return why;
}

int attribute(Queue& q, cudaDeviceAttr a) {
    int value = 0;
    check(q, cudaDeviceGetAttribute(&value, a, q.ordinal), "cudaDeviceGetAttribute");
    return value;
}

void destroy(Queue* q) {
    int before = -1;
    cudaGetDevice(&before);
    cudaSetDevice(q->ordinal);
    if (q->stream) cudaStreamSynchronize(q->stream);
    forget_replays(*q);
    sample_release(*q);
    for (Slot& s : q->slots) {
        if (s.done) cudaEventDestroy(s.done);
        if (s.host) cudaFreeHost(s.host);
        if (s.device) cudaFree(s.device);
    }
    if (q->stream) cudaStreamDestroy(q->stream);
    if (before >= 0) cudaSetDevice(before);
    cudaGetLastError();
    delete q;
}

// Grows a slot's two rooms; what it held is over.
void grow(Queue& q, Slot& s, int64_t host_bytes, int64_t device_bytes) {
    if (s.host_bytes < host_bytes) {
        if (s.host) check(q, cudaFreeHost(s.host), "cudaFreeHost");
        s.host = nullptr, s.host_bytes = 0;
        check(q, cudaHostAlloc(&s.host, size_t(host_bytes), cudaHostAllocDefault), "cudaHostAlloc");
        s.host_bytes = host_bytes;
    }
    if (s.device_bytes < device_bytes) {
        if (s.device) check(q, cudaFree(s.device), "cudaFree");
        s.device = nullptr, s.device_bytes = 0;
        check(q, cudaMalloc(&s.device, size_t(device_bytes)), "cudaMalloc");
        s.device_bytes = device_bytes;
    }
}

}  // namespace

extern const Kernels table;

const Kernels& find(std::string_view name, int& ordinal) {
    char why[300];
    const int cards = count_cards(why);
    if (cards == 0) fail(Status::device_unavailable, "%s", why);
    if (name == "cuda") {
        for (int i = 0; i < cards; ++i)
            if (capability_of(i) >= least_capability) {
                ordinal = i;
                return table;
            }
        fail(Status::device_unavailable,
             "the kernels need compute capability 8.0 (Ampere) or newer, and no card here has it: use \"cpu\"");
    }
    const std::string_view number = name.substr(5);
    int wanted = -1;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), wanted);
    if (error != std::errc() || end != number.data() + number.size() || wanted < 0)
        fail(Status::device_unavailable, "\"%.*s\" is no card: they are \"cuda:0\" to \"cuda:%d\"", int(name.size()),
             name.data(), cards - 1);
    if (wanted >= cards)
        fail(Status::device_unavailable, "there is no \"%.*s\": the cards here are \"cuda:0\" to \"cuda:%d\"",
             int(name.size()), name.data(), cards - 1);
    if (const std::string why_not = refusal(wanted, capability_of(wanted)); !why_not.empty())
        fail(Status::device_unavailable, "%s", why_not.c_str());
    ordinal = wanted;
    return table;
}

int devices() {
    char why[300];
    int usable = 0;
    for (int i = count_cards(why); i-- > 0;) usable += capability_of(i) >= least_capability;
    return usable;
}

Report report() {
    Report r;
    r.built = true;
    char why[300] = "";
    const int cards = count_cards(why);
    r.reason = why;
    cudaDriverGetVersion(&r.driver);
    cudaRuntimeGetVersion(&r.runtime);
    for (int i = 0; i < cards; ++i) {
        Card card;
        card.name = "cuda:" + std::to_string(i);
        card.capability = capability_of(i);
        card.reason = refusal(i, card.capability);
        cudaDeviceProp properties;
        if (cudaGetDeviceProperties(&properties, i) == cudaSuccess) {
            card.title = properties.name;
            card.memory = int64_t(properties.totalGlobalMem);
        }
        r.cards.push_back(std::move(card));
    }
    cudaGetLastError();
    return r;
}

void check(Queue& q, cudaError_t e, const char* what) {
    if (e == cudaSuccess) return;
    cudaGetLastError();
    if (sticky(e)) {
        q.lost = true;
        q.loss = cudaGetErrorName(e);
        fail(Status::device_lost, "cuda:%d is lost: %s (%s) in %s; open it again in a new process", q.ordinal, q.loss,
             cudaGetErrorString(e), what);
    }
    if (e == cudaErrorNoKernelImageForDevice)
        fail(Status::device_unavailable,
             "this build has no code for cuda:%d, of compute capability %d.%d: build it with -DALIA_CUDA_ARCHS=%d, or "
             "use "
             "\"cpu\"",
             q.ordinal, q.capability / 10, q.capability % 10, q.capability);
    const Status status = e == cudaErrorMemoryAllocation                                    ? Status::out_of_memory
                          : e == cudaErrorNoDevice || e == cudaErrorDevicesUnavailable      ? Status::device_unavailable
                          : e == cudaErrorInsufficientDriver || e == cudaErrorInvalidDevice ? Status::device_unavailable
                                                                                            : Status::internal;
    fail(status, "cuda:%d: %s (%s) in %s", q.ordinal, cudaGetErrorName(e), cudaGetErrorString(e), what);
}

Current::Current(Queue& q) {
    if (q.lost) fail(Status::device_lost, "cuda:%d was lost earlier (%s)", q.ordinal, q.loss);
    int now = 0;
    check(q, cudaGetDevice(&now), "cudaGetDevice");
    if (now == q.ordinal) return;
    check(q, cudaSetDevice(q.ordinal), "cudaSetDevice");
    before = now;
}
Current::~Current() {
    if (before >= 0) cudaSetDevice(before);
}

Slot& take_slot(Queue& q, int64_t host_bytes, int64_t device_bytes) {
    Slot& s = q.slots[q.next_slot];
    q.next_slot = (q.next_slot + 1) % int(std::size(q.slots));
    if (s.done)
        check(q, cudaEventSynchronize(s.done), "cudaEventSynchronize");
    else
        check(q, cudaEventCreateWithFlags(&s.done, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    grow(q, s, host_bytes, device_bytes);
    return s;
}

Stream* open(const DeviceOptions& o) {
    Queue* q = new Queue;
    struct Undo {
        Queue* q;
        ~Undo() {
            if (q) destroy(q);
        }
    } undo{q};
    q->ordinal = o.ordinal;
    q->threads = thread_count(o.threads);
    const Current current(*q);
    q->capability =
        10 * attribute(*q, cudaDevAttrComputeCapabilityMajor) + attribute(*q, cudaDevAttrComputeCapabilityMinor);
    q->multiprocessors = attribute(*q, cudaDevAttrMultiProcessorCount);
    q->shared_bytes = attribute(*q, cudaDevAttrMaxSharedMemoryPerBlockOptin);
    q->code = code_capability(*q);
    check(*q, cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    undo.q = nullptr;
    return reinterpret_cast<Stream*>(q);
}

void close(Stream* s) { destroy(&queue(s)); }

int64_t free_bytes(Stream* s) {
    Queue& q = queue(s);
    const Current current(q);
    size_t available = 0, total = 0;
    check(q, cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
    return int64_t(available);
}

void* allocate(Stream* s, int64_t bytes, Home home) {
    Queue& q = queue(s);
    const Current current(q);
    void* memory = nullptr;
    const size_t size = size_t(bytes > 0 ? bytes : 1);
    if (home == Home::host) {
        check(q, cudaHostAlloc(&memory, size, cudaHostAllocPortable | cudaHostAllocMapped), "cudaHostAlloc");
        return memory;
    }
    const cudaError_t e = cudaMalloc(&memory, size);
    if (e == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        size_t available = 0, total = 0;
        cudaMemGetInfo(&available, &total);
        fail(Status::out_of_memory,
             "cuda:%d has no %.2f GiB to give: %.2f of %.2f GiB are free. Fewer bits a weight, a smaller context or "
             "another card would help",
             q.ordinal, double(bytes) / (1 << 30), double(available) / (1 << 30), double(total) / (1 << 30));
    }
    check(q, e, "cudaMalloc");
    return memory;
}

void release(Stream* s, void* memory, Home home) {
    Queue& q = queue(s);
    int before = -1;
    cudaGetDevice(&before);
    cudaSetDevice(q.ordinal);
    if (home == Home::host) cudaStreamSynchronize(q.stream);  // cudaFree waits for those who use the memory by itself
    home == Home::host ? cudaFreeHost(memory) : cudaFree(memory);
    if (before >= 0) cudaSetDevice(before);
    cudaGetLastError();
}

// Through pinned memory, so that the caller may change its own as soon as this returns: whether the runtime would have
// read it by then is not promised, and where the card reaches all host memory it need not have.
void write(Stream* s, void* to, const void* host, int64_t bytes) {
    constexpr int64_t least = 64 << 10, most = 4 << 20;  // of a slot
    Queue& q = queue(s);
    const Current current(q);
    for (int64_t at = 0; at < bytes; at += most) {
        const int64_t count = std::min(bytes - at, most);
        Slot& slot = take_slot(q, std::max(count, least), 0);
        std::memcpy(slot.host, static_cast<const char*>(host) + at, size_t(count));
        check(q, cudaMemcpyAsync(static_cast<char*>(to) + at, slot.host, size_t(count), cudaMemcpyDefault, q.stream),
              "cudaMemcpyAsync");
        check(q, cudaEventRecord(slot.done, q.stream), "cudaEventRecord");
    }
}

void read(Stream* s, void* host, const void* from, int64_t bytes) {
    Queue& q = queue(s);
    const Current current(q);
    if (bytes > 0) check(q, cudaMemcpyAsync(host, from, size_t(bytes), cudaMemcpyDefault, q.stream), "cudaMemcpyAsync");
    check(q, cudaStreamSynchronize(q.stream), "cudaStreamSynchronize");
}

const Kernels table = {
    .name = "cuda",
    .cache_format = Format::BF16,
    .operand_format = Format::BF16,
    .host_embeddings = true,
    .replays = true,
    .open = open,
    .close = close,
    .free_bytes = free_bytes,
    .overhead_bytes = overhead_bytes,
    .allocate = allocate,
    .release = release,
    .write = write,
    .read = read,
    .run = run,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .embed = embed,
    .norm = norm,
    .add_norm = add_norm,
    .linear = linear,
    .scratch_bytes = scratch_bytes,
    .linear_glu = linear_glu,
    .glu = glu,
    .angles = angles,
    .rotate_store = rotate_store,
    .caches = caches,
    .attend = attend,
    .attend_bytes = attend_bytes,
    .rows = rows,
    .columns = columns,
    .sample = sample,
    .measure = measure,
    .draw = draw,
};

}  // namespace alia::cuda
