// Products of packed weights with rows of x, by the chunk of 64 numbers: what the kernels of both roles share, so that
// they add in the same order.
#pragma once
#include "kernels/cuda/launch.h"
#include "kernels/cuda/packed.h"
#include "kernels/cuda/silu.h"

namespace alia::cuda {

// y = x w^T, as kernels take it. Strides in numbers.
struct Product {
    void* y;  // float, or bf16 where gate and up are multiplied
    int64_t y_stride;
    const uint16_t* x;  // bf16
    int64_t x_stride;
    bool aligned;  // rows of x are 16-byte aligned and of whole eights
    int n;         // rows of x
    int k;         // its columns
    const uint8_t* w;
    int64_t tile_bytes;
    int tiles, rows, chunks;  // of w
};

template <class F>
Product product(Tensor y, Tensor x, Tensor w) {
    using P = Packed<F>;
    const int64_t spans = divide_up(w.columns, P::span), item = y.format == Format::F32 ? 4 : 2;
    return {.y = y.data,
            .y_stride = y.stride / item,
            .x = static_cast<const uint16_t*>(x.data),
            .x_stride = x.stride / 2,
            .aligned = reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && x.stride % 16 == 0 && x.columns % 8 == 0,
            .n = int(x.rows),
            .k = int(x.columns),
            .w = static_cast<const uint8_t*>(w.data),
            .tile_bytes = spans * P::bytes,
            .tiles = int(divide_up(w.rows, tile_rows)),
            .rows = int(w.rows),
            .chunks = int(spans * P::chunks)};
}

// Weights of gate and up alternate in a block by the tile, so that a lane has both sums of a row. Needs whole tiles.
inline bool pairs(Tensor w) { return w.rows % (2 * tile_rows) == 0; }
template <bool glu>
__device__ int tile_of(const Product& p, int i) {
    return glu ? i % 2 * (p.tiles / 2) + i / 2 : i;
}

// Generated tokens: K is split in `k_parts` parts, each summed alone, then added in order. Part i begins at this chunk.
constexpr int k_parts = 8;
__device__ inline int part_begin(int chunks, int i) { return int(int64_t(chunks) * i / k_parts); }

// Threads `thread`, `thread` + `threads` .. copy what chunk c of a tile's product reads to `to`: P::record bytes, the
// head of its span before the chunk. Zeros where not `valid`.
template <class F, int threads>
__device__ void copy_record(uint8_t* to, const Product& p, int tile, int c, int thread, bool valid) {
    using P = Packed<F>;
    const uint8_t* head = p.w + (valid ? tile : 0) * p.tile_bytes + int64_t(c / P::chunks) * P::bytes;
    const uint8_t* own = head + c % P::chunks * P::chunk_bytes;
    for (int v = thread * 16; v < P::record; v += threads * 16)
        cp_async16(to + v, (v < P::head ? head : own) + v, valid);
}

// acc += the product of a tile's chunk with 8 C rows of x, whose B fragments are b: the fragment of the chunk's numbers
// [16 j, ..) and rows [8 c, ..) is b[j][c]. `sums` are those of x over each group of numbers, from group_sums. A
// group's products are added up alone, exact but for the sum's rounding, then scaled.
template <class F, int C>
__device__ void multiply(float (&acc)[C][4], const uint8_t* record, int c, const uint32_t (&b)[4][C][2],
                         const float (&sums)[Packed<F>::groups][C][2], int lane) {
    using P = Packed<F>;
    const uint8_t* own = record + P::head;
    Words<F> words;
    words.load(own + P::small_bytes, lane);
    constexpr int steps = 4 / P::groups;
#pragma unroll
    for (int i = 0; i < P::groups; ++i) {
        float group[P::scaled ? C : 1][4] = {};
#pragma unroll
        for (int j = i * steps; j < (i + 1) * steps; ++j) {
            uint32_t a[P::parts][4];
            words.fragments(a, j);
#pragma unroll
            for (int part = 0; part < P::parts; ++part)
#pragma unroll
                for (int t = 0; t < C; ++t) mma_bf16(P::scaled ? group[P::scaled ? t : 0] : acc[t], a[part], b[j][t]);
        }
        if constexpr (P::scaled) {
            float2 scale, least;
            scales<F>(scale, least, record, own, c % P::chunks, i, lane / 4);
            if constexpr (P::number == Number::byte && P::least)  // of few, it is in the fragment
                least = {least.x - P::offset * scale.x, least.y - P::offset * scale.y};
#pragma unroll
            for (int t = 0; t < C; ++t)
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    acc[t][e] = fmaf(e < 2 ? scale.x : scale.y, group[t][e], acc[t][e]);
                    if constexpr (P::least) acc[t][e] = fmaf(e < 2 ? least.x : least.y, sums[i][t][e % 2], acc[t][e]);
                }
        }
    }
}

// Sums of x over each group of a chunk's numbers, as products with ones; only for formats that have a least.
template <class F, int C>
__device__ void group_sums(float (&sums)[Packed<F>::groups][C][2], const uint32_t (&b)[4][C][2]) {
    using P = Packed<F>;
    if constexpr (P::least) {
        const uint32_t ones[4] = {0x3F803F80, 0x3F803F80, 0x3F803F80, 0x3F803F80};
        constexpr int steps = 4 / P::groups;
#pragma unroll
        for (int i = 0; i < P::groups; ++i)
#pragma unroll
            for (int t = 0; t < C; ++t) {
                float s[4] = {};
#pragma unroll
                for (int j = i * steps; j < (i + 1) * steps; ++j) mma_bf16(s, ones, b[j][t]);
                sums[i][t][0] = s[0], sums[i][t][1] = s[1];
            }
    }
}

// Row `row` of w and row `n` of x: one number of y, or of silu(gate) up, where they exist.
__device__ inline void store(const Product& p, int n, int row, float sum) {
    if (n < p.n && row < p.rows) static_cast<float*>(p.y)[n * p.y_stride + row] = sum;
}
__device__ inline void store_glu(const Product& p, int n, int row, float gate, float up) {
    if (n < p.n && row < p.rows / 2) static_cast<uint16_t*>(p.y)[n * p.y_stride + row] = to_bf16(silu(gate) * up).bits;
}

// ---- Blocks of many rows of both. Warps stand side by side: two over the rows of w, four over those of x; a warp has
// R tiles and 8 C rows of x. `parts` is k_parts or, for prompts, 1.

constexpr int wide_threads = 256, wide_stages = 3;
template <class F, int R, int C>
struct Wide {
    static constexpr int tiles = 2 * R, columns = 4 * 8 * C;
    static constexpr int x_bytes = columns * chunk * 2, stage = x_bytes + tiles * Packed<F>::record;
};

// Where a block stands. Up to four blocks of x (256 rows at least): those that share weights are neighbours, so that
// they run at the same time and memory gives the weights once. More of them: bands of eight blocks of w, within which
// those of x are the outer loop, so that blocks that run together share what the second-level cache holds.
struct Place {
    int w, x;
};
__device__ inline Place place(int i, int w_blocks, int x_blocks) {
    const int band = x_blocks <= 4 ? 1 : 8;
    const int first = i / (band * x_blocks) * band, width = min(band, w_blocks - first);
    const int inside = i - first * x_blocks;
    return {first + inside % width, inside / width};
}

// Eight numbers of x from number k on of row n, to shared memory; zeros where there are none.
__device__ inline void copy_x(uint8_t* to, const Product& p, int n, int k) {
    const uint16_t* from = p.x + (n < p.n ? n : 0) * p.x_stride;
    if (p.aligned) {
        const bool valid = n < p.n && k < p.k;
        cp_async16(to, from + (valid ? k : 0), valid);
        return;
    }
    for (int i = 0; i < 8; ++i) reinterpret_cast<uint16_t*>(to)[i] = n < p.n && k + i < p.k ? from[k + i] : uint16_t(0);
}

template <class F, int R, int C, int parts, bool glu>
__device__ void wide_product(const Product& p, int w_blocks, int x_blocks) {
    using P = Packed<F>;
    using W = Wide<F, R, C>;
    const int thread = int(threadIdx.x), lane = thread % warp_size, warp = thread / warp_size, g = lane / 4,
              t = lane % 4;
    const Place at = place(int(blockIdx.x), w_blocks, x_blocks);
    const int first_tile = at.w * W::tiles, first_row = at.x * W::columns;
    uint8_t* const memory = &shared<uint8_t>();

    // x: 128 bytes a row, of which 16-byte unit u lies at u ^ 2 (row % 4): the eight-byte reads of sixteen lanes, four
    // rows by two units, meet no bank twice.
    auto stage = [&](int c) {
        if (c < p.chunks) {
            uint8_t* to = memory + c % wide_stages * W::stage;
            for (int i = thread; i < W::columns * 8; i += wide_threads)
                copy_x(to + i / 8 * 128 + (i % 8 ^ i / 8 % 4 * 2) * 16, p, first_row + i / 8, c * chunk + i % 8 * 8);
            for (int i = warp; i < W::tiles; i += wide_threads / warp_size)
                copy_record<F, warp_size>(to + W::x_bytes + i * P::record, p, tile_of<glu>(p, first_tile + i), c, lane,
                                          first_tile + i < p.tiles);
        }
        cp_async_commit();
    };
    grid_wait();
    grid_launch_next();
    for (int c = 0; c < wide_stages - 1; ++c) stage(c);

    float acc[R][C][4] = {}, total[parts > 1 ? R : 1][C][4] = {};
    int part = 0;
    auto end_part = [&] {
        if constexpr (parts > 1) {
#pragma unroll
            for (int r = 0; r < R; ++r)
#pragma unroll
                for (int i = 0; i < C; ++i)
#pragma unroll
                    for (int e = 0; e < 4; ++e) {
                        total[r][i][e] = part ? total[r][i][e] + acc[r][i][e] : acc[r][i][e];
                        acc[r][i][e] = 0;
                    }
            ++part;
        }
    };
    for (int c = 0; c < p.chunks; ++c) {
        while (parts > 1 && c == part_begin(p.chunks, part + 1)) end_part();
        cp_async_wait<wide_stages - 2>();
        __syncthreads();  // chunk c is there for all, and all are done with chunk c - 1, whose place is filled next
        stage(c + wide_stages - 1);
        const uint8_t* from = memory + c % wide_stages * W::stage;
        uint32_t b[4][C][2];
#pragma unroll
        for (int i = 0; i < C; ++i) {
            const int row = (warp / 2 * C + i) * 8 + g;
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int unit = (2 * j + t / 2) ^ row % 4 * 2;
                const uint2 v = *reinterpret_cast<const uint2*>(from + row * 128 + unit * 16 + t % 2 * 8);
                b[j][i][0] = v.x, b[j][i][1] = v.y;
            }
        }
        float sums[P::groups][C][2];
        group_sums<F>(sums, b);
#pragma unroll
        for (int r = 0; r < R; ++r)
            multiply<F>(acc[r], from + W::x_bytes + (warp % 2 * R + r) * P::record, c, b, sums, lane);
    }
    while (parts > 1 && part < parts) end_part();

    auto sum = [&](int r, int i, int e) { return parts > 1 ? total[parts > 1 ? r : 0][i][e] : acc[r][i][e]; };
#pragma unroll
    for (int r = 0; r < R; r += glu ? 2 : 1)
#pragma unroll
        for (int i = 0; i < C; ++i)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int n = first_row + (warp / 2 * C + i) * 8 + 2 * t + e % 2;
                const int tile = first_tile + warp % 2 * R + r,
                          row = (glu ? tile / 2 : tile) * tile_rows + g + e / 2 * 8;
                if constexpr (glu)
                    store_glu(p, n, row, sum(r, i, e), sum(r + 1, i, e));
                else
                    store(p, n, row, sum(r, i, e));
            }
}

}  // namespace alia::cuda
