// Rows of an embedding table that lies in host memory, in the format's own layout; packed tables are pack.cu's.
#include <alia/ptx.h>

#include "kernels/cuda/by_format.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"

namespace alia::cuda {
namespace {

constexpr int threads = 256, slice = 2048;  // numbers of a row that a block gathers: whole blocks of every format

// Host memory is read once, 16 bytes at a time where the row allows it (every format's block has an even number of
// bytes), and decoded from shared memory.
template <class F>
__global__ void __launch_bounds__(threads) embed_kernel(float* y, int64_t y_stride, const uint8_t* w, int64_t w_stride,
                                                        const int32_t* token, int64_t columns) {
    grid_wait();
    grid_launch_next();
    uint8_t* staged = &shared<uint8_t>();
    const int64_t first = int64_t(blockIdx.y) * slice;
    const int count = int(columns - first < slice ? columns - first : slice), bytes = count / F::n * F::bytes;
    const uint8_t* from = w + token[blockIdx.x] * w_stride + first / F::n * F::bytes;
    const int words = uintptr_t(from) % 16 == 0 ? bytes / 16 : 0;
    for (int i = int(threadIdx.x); i < words; i += threads)
        reinterpret_cast<uint4*>(staged)[i] = reinterpret_cast<const uint4*>(from)[i];
    for (int i = 8 * words + int(threadIdx.x); i < bytes / 2; i += threads)
        reinterpret_cast<uint16_t*>(staged)[i] = reinterpret_cast<const uint16_t*>(from)[i];
    __syncthreads();  // the slice's bytes written above, decoded by other threads below
    float* out = y + blockIdx.x * y_stride + first;
    for (int b = int(threadIdx.x); b < count / F::n; b += threads)
        F::decode(One{staged + b * F::bytes}, [=](int k, float value) { out[b * F::n + k] = value; });
}

template <class F>
void embed_as(Queue& q, Tensor y, Tensor w, const int32_t* token) {
    const dim3 blocks(unsigned(y.rows), unsigned((y.columns + slice - 1) / slice));
    launch(q, embed_kernel<F>, {blocks, threads, slice / F::n * F::bytes}, static_cast<float*>(y.data),
           y.stride / int64_t(sizeof(float)), static_cast<const uint8_t*>(w.data), w.stride, token, y.columns);
}

}  // namespace

void embed(Stream* s, Tensor y, Tensor w, const int32_t* token) {
    if (w.stride == 0)
        embed_packed(queue(s), y, w, token);
    else
        by_format(w.format, [&]<class F>(List<F>) { embed_as<F>(queue(s), y, w, token); });
}

}  // namespace alia::cuda
