// Products for generated tokens. Up to 32 rows of x: a block takes one tile of 16 rows of w (one of gate and one of up
// in the fused form), each of its warps one part of K, and the parts are added in order through shared memory. Weights
// are read once from memory, by copies that a warp makes for itself several chunks ahead; x comes from the first-level
// cache, where the blocks of a multiprocessor share it. More rows of x take the block form of tile.h, with the same
// parts in the same order: a row's bits do not depend on how many there are.
#include <algorithm>

#include "kernels/cuda/by_format.h"
#include "kernels/cuda/table.h"
#include "kernels/cuda/tile.h"

namespace alia::cuda {
namespace {

constexpr int threads = k_parts * warp_size;

template <class F, int R>
struct Narrow {
    static constexpr int slot = R * Packed<F>::record;  // bytes of a chunk
    static constexpr int fitting = 8192 / slot;
    static constexpr int stages = fitting < 3 ? 3 : fitting > 12 ? 12 : fitting;
};

// B fragments of chunk c: eight bytes of a row of x for each 16 numbers.
template <int C>
__device__ void load_x(uint32_t (&b)[4][C][2], const Product& p, int first_row, int c, int lane) {
#pragma unroll
    for (int i = 0; i < C; ++i) {
        const int n = first_row + 8 * i + lane / 4;
        const uint16_t* row = p.x + (n < p.n ? n : 0) * p.x_stride;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int k = c * chunk + 16 * j + lane % 4 * 4;
            uint2 v = {};
            if (p.aligned) {
                if (n < p.n && k < p.k) v = *reinterpret_cast<const uint2*>(row + k);
            } else if (n < p.n) {
                auto number = [&](int e) { return k + e < p.k ? uint32_t(row[k + e]) : 0u; };
                v = {number(0) | number(1) << 16, number(2) | number(3) << 16};
            }
            b[j][i][0] = v.x, b[j][i][1] = v.y;
        }
    }
}

template <class F, int C, bool glu>
__global__ void __launch_bounds__(threads) narrow_kernel(Product p) {
    using P = Packed<F>;
    constexpr int R = glu ? 2 : 1;
    using N = Narrow<F, R>;
    const int lane = int(threadIdx.x) % warp_size, part = int(threadIdx.x) / warp_size;
    const int first_tile = int(blockIdx.x) * R, first_row = int(blockIdx.y) * 8 * C;
    const int begin = part_begin(p.chunks, part), end = part_begin(p.chunks, part + 1);
    uint8_t* const mine = &shared<uint8_t>() + part * N::stages * N::slot;

    auto stage = [&](int c) {
        if (c < end)
            for (int r = 0; r < R; ++r)
                copy_record<F, warp_size>(mine + (c - begin) % N::stages * N::slot + r * P::record, p,
                                          tile_of<glu>(p, first_tile + r), c, lane, true);
        cp_async_commit();
    };
    for (int i = 0; i < N::stages - 1; ++i) stage(begin + i);
    grid_wait();  // weights do not change: their first chunks are on the way
    grid_launch_next();

    float acc[R][C][4] = {};
    for (int c = begin; c < end; ++c) {
        uint32_t b[4][C][2];
        load_x(b, p, first_row, c, lane);
        cp_async_wait<N::stages - 2>();
        __syncwarp();  // chunk c is there for all lanes, and all are done with chunk c - 1, whose place is filled next
        stage(c + N::stages - 1);
        float sums[P::groups][C][2];
        group_sums<F>(sums, b);
        const uint8_t* from = mine + (c - begin) % N::stages * N::slot;
#pragma unroll
        for (int r = 0; r < R; ++r) multiply<F>(acc[r], from + r * P::record, c, b, sums, lane);
    }

    // [part][row of the tiles][row of x]
    float* const sums = &shared<float>();
    constexpr int columns = 8 * C, size = R * tile_rows * columns;
    __syncthreads();  // all are done with the weights, which the sums overwrite
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
        for (int i = 0; i < C; ++i)
#pragma unroll
            for (int e = 0; e < 4; ++e)
                sums[part * size + (r * tile_rows + lane / 4 + e / 2 * 8) * columns + 8 * i + lane % 4 * 2 + e % 2] =
                    acc[r][i][e];
    __syncthreads();  // sums written above, read by others below
    auto total = [&](int i) {
        float s = sums[i];
        for (int q = 1; q < k_parts; ++q) s += sums[q * size + i];
        return s;
    };
    for (int i = int(threadIdx.x); i < tile_rows * columns; i += threads) {
        const int row = i % tile_rows, n = i / tile_rows, at = row * columns + n;
        if constexpr (glu)
            store_glu(p, first_row + n, int(blockIdx.x) * tile_rows + row, total(at), total(at + tile_rows * columns));
        else
            store(p, first_row + n, first_tile * tile_rows + row, total(at));
    }
}

template <class F, int R, int C, bool glu>
__global__ void __launch_bounds__(wide_threads) wide_kernel(Product p, int w_blocks, int x_blocks) {
    wide_product<F, R, C, k_parts, glu>(p, w_blocks, x_blocks);
}

template <class F, int C, bool glu>
void narrow(Queue& q, const Product& p) {
    constexpr int R = glu ? 2 : 1, staged = k_parts * Narrow<F, R>::stages * Narrow<F, R>::slot,
                  summed = k_parts * R * tile_rows * 8 * C * 4;
    settle(q);
    launch(q, narrow_kernel<F, C, glu>,
           {dim3(unsigned(p.tiles / R), unsigned(divide_up(p.n, 8 * C))), threads, std::max(staged, summed)}, p);
}

template <class F, int C, bool glu>
void wide(Queue& q, const Product& p) {
    using W = Wide<F, 2, C>;
    const int w_blocks = int(divide_up(p.tiles, W::tiles)), x_blocks = int(divide_up(p.n, W::columns));
    launch(q, wide_kernel<F, 2, C, glu>, {dim3(unsigned(w_blocks * x_blocks)), wide_threads, wide_stages * W::stage}, p,
           w_blocks, x_blocks);
}

// The same bits for all: only how often weights are read and x is padded differs.
template <class F, bool glu>
void generated(Queue& q, const Product& p) {
    if (p.n <= 8) return narrow<F, 1, glu>(q, p);
    if constexpr (tuned<F>) {
        if (p.n <= 16) return narrow<F, 2, glu>(q, p);
        if (p.n <= 32) return narrow<F, 4, glu>(q, p);
        if (p.n > 64) return wide<F, 4, glu>(q, p);
    }
    wide<F, 2, glu>(q, p);
}

template <class F>
void linear(Queue& q, Tensor y, Tensor x, Tensor w) {
    generated<F, false>(q, product<F>(y, x, w));
}

template <class F>
void linear_glu(Queue& q, Tensor y, Tensor x, Tensor w, Tensor both) {
    if constexpr (tuned<F>)
        if (pairs(w)) return generated<F, true>(q, product<F>(y, x, w));
    linear<F>(q, both, x, w);
    glu(reinterpret_cast<Stream*>(&q), y, both);
}

}  // namespace

void linear_generated(Queue& q, Tensor y, Tensor x, Tensor w) {
    by_format(w.format, [&]<class F>(List<F>) { linear<F>(q, y, x, w); });
}

void linear_glu_generated(Queue& q, Tensor y, Tensor x, Tensor w, Tensor both) {
    by_format(w.format, [&]<class F>(List<F>) { linear_glu<F>(q, y, x, w, both); });
}

}  // namespace alia::cuda
