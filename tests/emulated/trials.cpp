// Small kernels, right and wrong. Compiled as kernels/cuda is.
#include "tests/emulated/trials.h"

#include <alia/ptx.h>

namespace emulated {
namespace {

using alia::cp_async16, alia::cp_async_commit, alia::cp_async_wait, alia::ldmatrix, alia::shared;

constexpr int threads = 64;

enum class Fault {
    none,
    no_barrier,
    early_barrier,
    no_warp_barrier,
    divergent,
    beyond,
    before,
    unwritten,
    unaligned,
    no_copy_wait,
    no_copy_barrier,
    copies_elsewhere,
    rows_elsewhere,
    no_grid_wait,
    never_waits,
    early_next,
    other_half,
    absent_lane,
    across_blocks,
    freed,
    much_shared,
    spins,
    meets_for_ever,
    host
};

struct Room {
    alignas(16) float numbers[threads];
    float sums[threads / 32];
};

// The sums of blocks of 64 numbers, thread by thread through shared memory.
template <Fault fault>
__global__ void sum_kernel(const float* x, float* sums, int n) {
    if (fault != Fault::no_grid_wait) alia::grid_wait();
    auto& s = shared<Room>();
    const int thread = int(threadIdx.x), at = int(blockIdx.x) * threads + thread;
    s.numbers[thread] = at < n || fault == Fault::beyond ? x[at] : fault == Fault::before ? x[-1 - at] : 0;
    if (fault != Fault::no_barrier) __syncthreads();
    for (int step = threads / 2; step >= 32; step /= 2) {
        if (thread < step) s.numbers[thread] += s.numbers[thread + step];
        if (fault != Fault::early_barrier) __syncthreads();
    }
    if (thread < 32)
        for (int step = 16; step > 0; step /= 2) {
            if (thread < step) s.numbers[thread] += s.numbers[thread + step];
            if (fault != Fault::no_warp_barrier) __syncwarp();
        }
    if (thread == 0) sums[fault == Fault::across_blocks ? 0 : blockIdx.x] = s.numbers[0];
}

template <Fault fault>
__global__ void other_kernel(const float* x, float* y) {
    alia::grid_wait();
    auto& s = shared<Room>();
    const int thread = int(threadIdx.x);
    if (fault == Fault::divergent) {
        if (thread < 32)
            __syncthreads();
        else
            __syncthreads();
    }
    if (fault == Fault::unwritten) y[thread] = s.sums[0];
    if (fault == Fault::unaligned) *reinterpret_cast<float2*>(y + 1) = {0, 0};
    if (fault == Fault::absent_lane && thread % 32 < 31) y[thread] = __shfl_sync(~0u, x[thread], 31);
    if (fault == Fault::spins)
        while (reinterpret_cast<const volatile float*>(x)[thread] >= 0) {}
    if (fault == Fault::meets_for_ever)
        for (volatile bool ever = true; ever;) __syncthreads();
    if (fault == Fault::much_shared) reinterpret_cast<volatile float*>(&s)[sizeof(Room) / 4] = 1;
    if (fault == Fault::none) {
        uint32_t bits = 0;
        bits |= __shfl_xor_sync(~0u, thread % 32, 1) == (thread % 32 ^ 1) ? 1 : 0;
        bits |= __ballot_sync(~0u, thread % 2) == 0xAAAAAAAAu ? 2 : 0;
        bits |= __shfl_up_sync(~0u, thread % 32, 1) == (thread % 32 ? thread % 32 - 1 : 0) ? 4 : 0;
        y[thread] = float(bits);
    }
}

template <Fault fault>
__global__ void copy_kernel(const float* x, float* y) {
    alia::grid_wait();
    auto& s = shared<Room>();
    const int thread = int(threadIdx.x);
    float* to = fault == Fault::copies_elsewhere ? y : s.numbers;
    if (thread < threads / 4) cp_async16(to + 4 * thread, x + 4 * thread);
    cp_async_commit();
    if (fault != Fault::no_copy_wait) cp_async_wait<0>();
    if (fault != Fault::no_copy_barrier) __syncthreads();
    y[thread] = s.numbers[threads - 1 - thread];
    uint32_t matrices[4];
    if (fault == Fault::rows_elsewhere) ldmatrix(matrices, x + thread % 32 / 8 * 4);
}

// Numbers of two bytes doubled in place, by blocks of an odd number of them, so that words are shared by threads and
// blocks.
template <Fault fault>
__global__ void halves_kernel(uint16_t* x) {
    if (fault == Fault::early_next) alia::grid_launch_next();
    if (fault != Fault::never_waits) alia::grid_wait();
    const int at = int(blockIdx.x) * (threads - 1) + int(threadIdx.x);
    if (int(threadIdx.x) < threads - 1) x[at] = uint16_t(x[at] + x[fault == Fault::other_half ? at ^ 1 : at]);
}

// Memory and a stream for a launch or two.
struct Bench {
    cudaStream_t stream = nullptr;
    float *x = nullptr, *y = nullptr;
    static constexpr int n = 3 * threads - 5;
    Bench() {
        cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
        cudaMalloc(&x, n * sizeof(float));
        cudaMalloc(&y, threads * sizeof(float));
        float numbers[n];
        for (int i = 0; i < n; ++i) numbers[i] = float(i);
        cudaMemcpy(x, numbers, sizeof numbers, cudaMemcpyHostToDevice);
    }
    ~Bench() {
        cudaStreamSynchronize(stream);
        cudaStreamDestroy(stream);
        cudaFree(x);
        cudaFree(y);
    }
    template <class... P, class... A>
    void run(void (*kernel)(P...), unsigned blocks, A... arguments) {
        cudaLaunchAttribute overlap = {cudaLaunchAttributeProgrammaticStreamSerialization, {1}};
        const cudaLaunchConfig_t config = {dim3(blocks), dim3(threads), sizeof(Room), stream, &overlap, 1};
        cudaLaunchKernelEx(&config, kernel, P(arguments)...);
    }
};

template <Fault fault>
void sum() {
    Bench b;
    b.run(sum_kernel<fault>, 3, b.x, b.y, Bench::n);
}
template <Fault fault>
void other() {
    Bench b;
    b.run(other_kernel<fault>, 1, b.x, b.y);
}
template <Fault fault>
void copy() {
    Bench b;
    b.run(copy_kernel<fault>, 1, b.x, b.y);
}
void two_kernels() {
    Bench b;
    b.run(sum_kernel<Fault::none>, 3, b.x, b.y, Bench::n);
    b.run(sum_kernel<Fault::none>, 1, b.y, b.x, 3);
}
void no_grid_wait() {
    Bench b;
    b.run(sum_kernel<Fault::none>, 3, b.x, b.y, Bench::n);
    b.run(sum_kernel<Fault::no_grid_wait>, 1, b.y, b.x, 3);
}
template <Fault fault>
void halves() {
    Bench b;
    const Bench other;
    b.run(sum_kernel<Fault::none>, 1, other.x, b.y, Bench::n);
    b.run(halves_kernel<fault>, 3, reinterpret_cast<uint16_t*>(b.x));
}
void freed() {
    Bench b;
    float* gone;
    cudaMalloc(&gone, sizeof(float) * threads);
    cudaFree(gone);
    b.run(sum_kernel<Fault::none>, 1, b.x, gone, Bench::n);
}
void host() {
    Bench b;
    static float numbers[threads];
    b.run(sum_kernel<Fault::none>, 1, b.x, numbers, Bench::n);
}

void other_device() {
    Bench b;
    float* foreign;
    machine.devices = 2;
    cudaSetDevice(1);
    cudaMalloc(&foreign, sizeof(float) * threads);
    cudaSetDevice(0);
    b.run(sum_kernel<Fault::none>, 1, b.x, foreign, Bench::n);
    cudaFree(foreign);
    machine.devices = 1;
}

constexpr Trial all[] = {
    {"right sums", nullptr, sum<Fault::none>},
    {"right warp operations", nullptr, other<Fault::none>},
    {"right copies", nullptr, copy<Fault::none>},
    {"right kernels one after the other", nullptr, two_kernels},
    {"right halves of words", nullptr, halves<Fault::none>},
    {"no barrier after writing", "no barrier between", sum<Fault::no_barrier>, "never written"},
    {"no barrier in the loop", "no barrier between", sum<Fault::early_barrier>},
    {"no barrier of the warp", "no barrier between", sum<Fault::no_warp_barrier>},
    {"two barriers", "waits at the barrier", other<Fault::divergent>},
    {"one number too far", "not allocated", sum<Fault::beyond>},
    {"one number too early", "not allocated", sum<Fault::before>},
    {"shared memory never written", "never written", other<Fault::unwritten>},
    {"eight bytes at four", "not aligned", other<Fault::unaligned>},
    {"no wait for copies", "asynchronous copy", copy<Fault::no_copy_wait>, "never written"},
    {"no barrier after copies", "no barrier between", copy<Fault::no_copy_barrier>, "never written"},
    {"copies that leave for a device's memory", "not shared", copy<Fault::copies_elsewhere>},
    {"a matrix's row in a device's memory", "not shared", copy<Fault::rows_elsewhere>},
    {"no wait for the kernel before", "another thread", no_grid_wait},
    {"a kernel that never waits for the one before", "has not waited", halves<Fault::never_waits>},
    {"the next kernel begins before this one has waited", "has not waited", halves<Fault::early_next>},
    {"the other half of a word", "no barrier between", halves<Fault::other_half>},
    {"a lane that has ended", "a lane that is not there", other<Fault::absent_lane>},
    {"blocks that write one number", "no barrier between", sum<Fault::across_blocks>},
    {"memory that was freed", "not allocated", freed},
    {"more shared memory than was asked for", "not allocated", other<Fault::much_shared>},
    {"a flag that nobody sets", "has no end", other<Fault::spins>},
    {"barriers without end", "has no end", other<Fault::meets_for_ever>},
    {"memory of the host", "memory of the host", host},
    {"memory of another device", "memory of another device", other_device},
};

}  // namespace

std::span<const Trial> trials() { return all; }

void sum_copied() {
    Bench b;
    cudaStream_t copies;
    cudaEvent_t copied;
    float *host, *x;
    cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking);
    cudaEventCreate(&copied);
    cudaMallocHost(&host, Bench::n * sizeof(float));
    cudaMalloc(&x, Bench::n * sizeof(float));
    std::memset(host, 0, Bench::n * sizeof(float));
    cudaMemcpyAsync(x, host, Bench::n * sizeof(float), cudaMemcpyHostToDevice, copies);
    cudaEventRecord(copied, copies);
    cudaStreamWaitEvent(b.stream, copied);
    b.run(sum_kernel<Fault::none>, 3, x, b.y, Bench::n);
    cudaStreamSynchronize(b.stream);
    cudaStreamSynchronize(copies);
    cudaFreeHost(host);
    cudaFree(x);
    cudaEventDestroy(copied);
    cudaStreamDestroy(copies);
}

}  // namespace emulated
