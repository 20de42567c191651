// What the device reaches in kernels that do nothing else.
#include <algorithm>
#include <alia/ptx.h>
#include <cstring>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"

namespace alia::cuda {
namespace {

constexpr int threads = 256, loads = 8, products = 4096, chains = 8;

// Every thread reads 16 bytes at a time, `loads` of them in flight; the sum is written where it hardly can be.
__global__ void __launch_bounds__(threads) read_kernel(const uint4* from, int64_t n, uint32_t* never) {
    grid_wait();
    uint32_t sum = 0;
    const int64_t stride = int64_t(gridDim.x) * threads;
    for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < n; i += loads * stride) {
        uint4 v[loads];
#pragma unroll
        for (int j = 0; j < loads; ++j) v[j] = i + j * stride < n ? load_once(from + i + j * stride) : uint4{};
#pragma unroll
        for (int j = 0; j < loads; ++j) sum |= v[j].x | v[j].y | v[j].z | v[j].w;
    }
    if (sum == 0xDEADBEEF) *never = sum;
}

__global__ void __launch_bounds__(threads) float_kernel(float* never, int steps) {
    grid_wait();
    float sum[chains];
    for (int c = 0; c < chains; ++c) sum[c] = float(threadIdx.x);
    for (int i = 0; i < steps; ++i)
#pragma unroll
        for (int c = 0; c < chains; ++c) sum[c] = fmaf(sum[c], 0.5f, 1e-9f);
    float all = 0;
    for (int c = 0; c < chains; ++c) all += sum[c];
    if (all < 0) *never = all;
}

template <bool e4m3>
__global__ void __launch_bounds__(threads) tensor_kernel(float* never, int steps) {
    grid_wait();
    float sum[chains][4] = {};
    const uint32_t some = 0x3F803F80, a[4] = {some, some, some, some}, b[2] = {some, some};
    for (int i = 0; i < steps; ++i)
#pragma unroll
        for (int c = 0; c < chains; ++c) {
            if constexpr (e4m3)
                mma_e4m3(sum[c], a, b);
            else
                mma_bf16(sum[c], a, b);
        }
    float all = 0;
    for (int c = 0; c < chains; ++c) all += sum[c][0];
    if (all < 0) *never = all;
}

struct Event {
    explicit Event(Queue& q) { check(q, cudaEventCreate(&event), "cudaEventCreate"); }
    ~Event() { cudaEventDestroy(event); }
    Event(const Event&) = delete;
    operator cudaEvent_t() const { return event; }
    cudaEvent_t event = nullptr;
};

struct Watch {
    explicit Watch(Queue& q) : q(q), begin(q), end(q) {}
    // The median rate of a few runs after one that does not count.
    template <class F>
    double rate(double units, F&& work) {
        constexpr int runs = 7;
        double seconds[runs];
        work();
        for (double& s : seconds) {
            check(q, cudaEventRecord(begin, q.stream), "cudaEventRecord");
            work();
            check(q, cudaEventRecord(end, q.stream), "cudaEventRecord");
            check(q, cudaEventSynchronize(end), "cudaEventSynchronize");
            float milliseconds = 0;
            check(q, cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
            s = double(milliseconds) * 1e-3;
        }
        std::sort(seconds, seconds + runs);
        return units / seconds[runs / 2];
    }
    Queue& q;
    const Event begin, end;
};

struct Memory {
    Memory(Stream* s, int64_t bytes, Home home = Home::device)
        : s(s), home(home), data(static_cast<char*>(allocate(s, bytes, home))) {}
    ~Memory() { release(s, data, home); }
    Stream* s;
    Home home;
    char* data;
};

double read_rate(Watch& watch, const void* from, int64_t bytes, void* never) {
    return watch.rate(double(bytes), [&] {
        launch(watch.q, read_kernel, {dim3(unsigned(watch.q.multiprocessors) * 8), threads},
               static_cast<const uint4*>(from), bytes / 16, static_cast<uint32_t*>(never));
    });
}

}  // namespace

double read_rate(Stream* s, const void* from, int64_t bytes) {
    Queue& q = queue(s);
    const Current current(q);
    const Memory never(s, 4);
    Watch watch(q);
    return read_rate(watch, from, bytes, never.data);
}

Roofs measure(Stream* s) {
    Queue& q = queue(s);
    const Current current(q);
    // Far beyond the caches; a device of few multiprocessors gets less to do.
    const int64_t bytes = q.multiprocessors >= 16 ? 512 << 20 : 1 << 20, host_bytes = bytes / 8;
    const int steps = q.multiprocessors >= 16 ? products : 4;
    const Memory from(s, bytes), to(s, bytes), host(s, host_bytes, Home::host);
    Watch watch(q);
    check(q, cudaMemsetAsync(from.data, 1, size_t(bytes), q.stream), "cudaMemsetAsync");
    auto* never = reinterpret_cast<float*>(to.data);
    const unsigned blocks = unsigned(q.multiprocessors) * 8;
    Roofs r;
    r.read = read_rate(watch, from.data, bytes, to.data);
    r.copy = watch.rate(double(bytes), [&] {
        check(q, cudaMemcpyAsync(to.data, from.data, size_t(bytes), cudaMemcpyDeviceToDevice, q.stream),
              "cudaMemcpyAsync");
    });
    std::memset(host.data, 1, size_t(host_bytes));
    r.upload = watch.rate(double(host_bytes), [&] {
        check(q, cudaMemcpyAsync(to.data, host.data, size_t(host_bytes), cudaMemcpyHostToDevice, q.stream),
              "cudaMemcpyAsync");
    });
    r.f32 = watch.rate(double(blocks) * threads * chains * steps, [&] {
        launch(q, float_kernel, {dim3(blocks), threads}, never, steps);
    });
    const double tiles = double(blocks) * threads / warp_size * chains * steps;  // of 16 by 8 sums
    r.bf16 = watch.rate(tiles * 16 * 8 * 16, [&] {
        launch(q, tensor_kernel<false>, {dim3(blocks), threads}, never, steps);
    });
    if (q.code >= 89)
        r.e4m3 = watch.rate(tiles * 16 * 8 * 32, [&] {
            launch(q, tensor_kernel<true>, {dim3(blocks), threads}, never, steps);
        });
    return r;
}

}  // namespace alia::cuda
