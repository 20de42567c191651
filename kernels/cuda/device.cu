// The CUDA device: finding cards, memory, copies, the runtime's errors, and the table.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <utility>

#include "kernels/cpu/threads.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"
#include "kernels/processors.h"

namespace alia::cuda {
namespace {

constexpr int least_capability = 80;        // mma of bf16 and asynchronous copies
constexpr int64_t write_bytes = 256 << 10;  // that `write` copies at once

// After these the runtime gives the same error to every later call of the process's context.
bool sticky(cudaError_t e) {
    for (cudaError_t s : {cudaErrorIllegalAddress, cudaErrorLaunchTimeout, cudaErrorAssert, cudaErrorHardwareStackError,
                          cudaErrorIllegalInstruction, cudaErrorMisalignedAddress, cudaErrorInvalidAddressSpace,
                          cudaErrorInvalidPc, cudaErrorLaunchFailure, cudaErrorECCUncorrectable,
                          cudaErrorNvlinkUncorrectable, cudaErrorContextIsDestroyed, cudaErrorUnknown})
        if (e == s) return true;
    return false;
}

// How many cards there are, -1 after a fault lost them; a sentence in `why` where there is none to use.
int count_cards(char (&why)[300]) {
    int cards = 0, driver = 0, runtime = 0;
    const cudaError_t e = cudaGetDeviceCount(&cards);
    if (e == cudaSuccess && cards > 0) return cards;
    cudaGetLastError();
    if (sticky(e)) {
        std::snprintf(why, sizeof why,
                      "an earlier fault lost the cards of this process (%s): open it in a new process, or use \"cpu\"",
                      cudaGetErrorName(e));
        return -1;
    }
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
    for (cudaStream_t s : {q->copies, q->stream})
        if (s) cudaStreamSynchronize(s);
    forget_replays(*q);
    auto free_room = [](const Room& r) {
        if (r.host) cudaFreeHost(r.host);
        if (r.device) cudaFree(r.device);
    };
    free_room(q->sample_room);
    for (const Slot& s : q->slots) {
        for (cudaEvent_t e : {s.done, s.copied})
            if (e) cudaEventDestroy(e);
        free_room(s);
    }
    for (cudaStream_t s : {q->copies, q->stream})
        if (s) cudaStreamDestroy(s);
    if (before >= 0) cudaSetDevice(before);
    cudaGetLastError();
    if (q->pool) cpu::close_pool(q->pool);
    delete q;
}

}  // namespace

extern const Kernels table;

const Kernels& find(std::string_view name, int& ordinal) {
    char why[300];
    const int cards = count_cards(why);
    if (cards <= 0) fail(cards < 0 ? Status::device_lost : Status::device_unavailable, "%s", why);
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
    if (q.capturing) {
        q.uncaptured = true;
        return;
    }
    if (e == cudaErrorNoKernelImageForDevice)
        fail(Status::device_unavailable,
             "this build has no code for cuda:%d, of compute capability %d.%d: build it with -DALIA_CUDA_ARCHS=%d, or "
             "use \"cpu\"",
             q.ordinal, q.capability / 10, q.capability % 10, q.capability);
    if (e == cudaErrorUnsupportedPtxVersion)
        fail(Status::device_unavailable,
             "this build has only PTX for cuda:%d, of compute capability %d.%d, and the driver is too old to compile "
             "it: update the driver, build with -DALIA_CUDA_ARCHS=%d, or use \"cpu\"",
             q.ordinal, q.capability / 10, q.capability % 10, q.capability);
    const Status status = e == cudaErrorMemoryAllocation                                    ? Status::out_of_memory
                          : e == cudaErrorNoDevice || e == cudaErrorDevicesUnavailable      ? Status::device_unavailable
                          : e == cudaErrorInsufficientDriver || e == cudaErrorInvalidDevice ? Status::device_unavailable
                                                                                            : Status::internal;
    fail(status, "cuda:%d: %s (%s) in %s", q.ordinal, cudaGetErrorName(e), cudaGetErrorString(e), what);
}

Current::Current(Queue& q) {
    if (q.lost)
        fail(Status::device_lost, "cuda:%d was lost earlier (%s): open it again in a new process", q.ordinal, q.loss);
    int now = 0;
    check(q, cudaGetDevice(&now), "cudaGetDevice");
    if (now == q.ordinal) return;
    check(q, cudaSetDevice(q.ordinal), "cudaSetDevice");
    before = now;
}
Current::~Current() {
    if (before >= 0) cudaSetDevice(before);
}

void grow(Queue& q, Room& r, int64_t host_bytes, int64_t device_bytes) {
    if (r.host_bytes < host_bytes) {
        void* old = std::exchange(r.host, nullptr);
        r.host_bytes = 0;
        if (old) check(q, cudaFreeHost(old), "cudaFreeHost");
        check(q, cudaHostAlloc(&r.host, size_t(host_bytes), cudaHostAllocDefault), "cudaHostAlloc");
        r.host_bytes = host_bytes;
    }
    if (r.device_bytes < device_bytes) {
        void* old = std::exchange(r.device, nullptr);
        r.device_bytes = 0;
        if (old) check(q, cudaFree(old), "cudaFree");
        check(q, cudaMalloc(&r.device, size_t(device_bytes)), "cudaMalloc");
        r.device_bytes = device_bytes;
    }
}

void empty(Queue& q, Room& r) {
    const cudaError_t host = r.host ? cudaFreeHost(r.host) : cudaSuccess;
    const cudaError_t device = r.device ? cudaFree(r.device) : cudaSuccess;
    r = {};
    check(q, host, "cudaFreeHost");
    check(q, device, "cudaFree");
}

Slot& take_slot(Queue& q, int64_t host_bytes, int64_t device_bytes) {
    Slot& s = q.slots[q.next_slot];
    q.next_slot = (q.next_slot + 1) % int(std::size(q.slots));
    check(q, cudaEventSynchronize(s.done), "cudaEventSynchronize");
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
    q->code = code_capability(*q);
    check(*q, cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    for (Slot& slot : q->slots) {
        check(*q, cudaEventCreateWithFlags(&slot.done, cudaEventDisableTiming), "cudaEventCreateWithFlags");
        grow(*q, slot, write_bytes, 0);
    }
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
    Queue& q = queue(s);
    const Current current(q);
    for (int64_t at = 0; at < bytes; at += write_bytes) {
        const int64_t count = std::min(bytes - at, write_bytes);
        Slot& slot = take_slot(q, write_bytes, 0);
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
    .staging_bytes = staging_bytes,
    .open = open,
    .close = close,
    .free_bytes = free_bytes,
    .sample_bytes = sample_bytes,
    .reserve = reserve,
    .allocate = allocate,
    .release = release,
    .write = write,
    .read = read,
    .run = run,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .end_packing = end_packing,
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
    .read_rate = read_rate,
    .measure = measure,
    .draw = draw,
};

}  // namespace alia::cuda
