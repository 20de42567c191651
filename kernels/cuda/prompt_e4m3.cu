// Products for prompts of weights in E4M3 with rows of x that are rounded to E4M3 too, by the tensor cores' own product
// of such numbers (capability 8.9 and up). A group's 32 products are one `mma`, whose sum starts from zero: whatever
// the tensor core's sums keep, groups are scaled and added in f32.
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/table.h"
#include "kernels/cuda/tile.h"

namespace alia::cuda {
namespace {

// As the blocks of prompt.cu stand: eight warps, each of R tiles of w and 8 C rows of x.
constexpr int R = 4, C = 4, tiles = 2 * R, columns = 4 * 8 * C, stages = 4, round_threads = 256;
constexpr int x_bytes = columns * chunk, record = Packed<E4M3>::record, stage_bytes = x_bytes + tiles * record;

// Rows of x as E4M3 times a scale. Of a chunk's 64 numbers, lane (g, t) multiplies the four neighbours 16 j + 4 t for
// each j: they are bytes 16 t + 4 j.., in the order 0, 2, 1, 3, as those of w are.
struct Rounded {
    uint8_t* q;  // [n][chunks * 64], zeros beyond x's columns
    float* scale;
    int64_t stride;
};

// A block rounds a row.
__global__ void __launch_bounds__(round_threads) round_kernel(Product p, Rounded to) {
    grid_wait();
    grid_launch_next();
    const uint16_t* row = p.x + blockIdx.x * p.x_stride;
    auto numbers = [&](int k) -> float4 {
        if (k >= p.k) return {};  // whole fours: blocks of w are 32 long
        uint32_t low, high;
        if (p.aligned) {
            const uint2 v = *reinterpret_cast<const uint2*>(row + k);
            low = v.x, high = v.y;
        } else {
            low = row[k] | uint32_t(row[k + 1]) << 16, high = row[k + 2] | uint32_t(row[k + 3]) << 16;
        }
        return {as_float(low << 16), as_float(low & 0xFFFF0000), as_float(high << 16), as_float(high & 0xFFFF0000)};
    };
    float most = 0;
    for (int k = int(threadIdx.x) * 4; k < p.k; k += round_threads * 4) {
        const float4 v = numbers(k);
        most = fmaxf(most, fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))));
    }
    const float scale = block_max(most, &shared<float>()) / 448, by = scale > 0 ? scale : 1;
    for (int k = int(threadIdx.x) * 4; k < p.chunks * chunk; k += round_threads * 4) {
        const float4 v = numbers(k);
        auto byte = [&](float x) { return uint32_t(to_e4m3(x / by)); };
        *reinterpret_cast<uint32_t*>(to.q + blockIdx.x * to.stride + k / chunk * chunk + k % 16 * 4 +
                                     k % chunk / 16 * 4) =
            byte(v.x) | byte(v.z) << 8 | byte(v.y) << 16 | byte(v.w) << 24;
    }
    if (threadIdx.x == 0) to.scale[blockIdx.x] = scale;
}

template <bool glu>
__global__ void __launch_bounds__(wide_threads) product_kernel(Product p, Rounded x, int w_blocks, int x_blocks) {
    const int thread = int(threadIdx.x), lane = thread % warp_size, warp = thread / warp_size, g = lane / 4,
              t = lane % 4;
    const Place at = place(int(blockIdx.x), w_blocks, x_blocks);
    const int first_tile = at.w * tiles, first_row = at.x * columns;
    uint8_t* const memory = &shared<uint8_t>();

    // A warp's reads of x are eight rows of 64 bytes, one behind the other: no bank twice.
    auto stage = [&](int c) {
        if (c < p.chunks) {
            uint8_t* to = memory + c % stages * stage_bytes;
            for (int i = thread; i < x_bytes / 16; i += wide_threads) {
                const int n = first_row + i / 4;
                cp_async16(to + i * 16, x.q + (n < p.n ? n : 0) * x.stride + c * chunk + i % 4 * 16, n < p.n);
            }
            for (int i = warp; i < tiles; i += wide_threads / warp_size)
                copy_record<E4M3, warp_size>(to + x_bytes + i * record, p, tile_of<glu>(p, first_tile + i), c, lane,
                                             first_tile + i < p.tiles);
        }
        cp_async_commit();
    };
    grid_wait();
    grid_launch_next();
    for (int c = 0; c < stages - 1; ++c) stage(c);

    float acc[R][C][4] = {};
    for (int c = 0; c < p.chunks; ++c) {
        cp_async_wait<stages - 2>();
        __syncthreads();  // chunk c is there for all, and all are done with chunk c - 1, whose place is filled next
        stage(c + stages - 1);
        const uint8_t* from = memory + c % stages * stage_bytes;
        uint32_t b[2][C][2];
#pragma unroll
        for (int i = 0; i < C; ++i) {
            const uint4 v = *reinterpret_cast<const uint4*>(from + ((warp / 2 * C + i) * 8 + g) * chunk + t * 16);
            b[0][i][0] = v.x, b[0][i][1] = v.y, b[1][i][0] = v.z, b[1][i][1] = v.w;
        }
#pragma unroll
        for (int r = 0; r < R; ++r) {
            const uint8_t *head = from + x_bytes + (warp % 2 * R + r) * record, *own = head + Packed<E4M3>::head;
            Words<E4M3> words;
            words.load(own, lane);
#pragma unroll
            for (int group = 0; group < 2; ++group) {
                float2 scale, least;
                scales<E4M3>(scale, least, head, own, 0, group, g);
                const uint32_t* low = words.low + 4 * group;
                const uint32_t a[4] = {low[0], low[1], low[2], low[3]};
#pragma unroll
                for (int i = 0; i < C; ++i) {
                    float sum[4] = {};
                    mma_e4m3(sum, a, b[group][i]);
#pragma unroll
                    for (int e = 0; e < 4; ++e) acc[r][i][e] = fmaf(e < 2 ? scale.x : scale.y, sum[e], acc[r][i][e]);
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < C; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int n = first_row + (warp / 2 * C + i) * 8 + 2 * t + e % 2;
            const float scale = n < p.n ? x.scale[n] : 0;
#pragma unroll
            for (int r = 0; r < R; r += glu ? 2 : 1) {
                const int tile = first_tile + warp % 2 * R + r,
                          row = (glu ? tile / 2 : tile) * tile_rows + g + e / 2 * 8;
                if constexpr (glu)
                    store_glu(p, n, row, scale * acc[r][i][e], scale * acc[r + 1][i][e]);
                else
                    store(p, n, row, scale * acc[r][i][e]);
            }
        }
}

template <bool glu>
void multiply_rounded(Queue& q, const Product& p, void* scratch) {
    const int64_t stride = int64_t(p.chunks) * chunk;
    Rounded x;
    x.q = static_cast<uint8_t*>(scratch), x.stride = stride;
    x.scale = reinterpret_cast<float*>(x.q + p.n * stride);
    launch(q, round_kernel, {dim3(unsigned(p.n)), round_threads, round_threads / warp_size * int(sizeof(float))}, p, x);
    const int w_blocks = int(divide_up(p.tiles, tiles)), x_blocks = int(divide_up(p.n, columns));
    launch(q, product_kernel<glu>, {dim3(unsigned(w_blocks * x_blocks)), wide_threads, stages * stage_bytes}, p, x,
           w_blocks, x_blocks);
}

}  // namespace

int code_capability(Queue& q) {
    cudaFuncAttributes code;
    check(q, cudaFuncGetAttributes(&code, product_kernel<false>), "cudaFuncGetAttributes");
    return code.ptxVersion;
}

int64_t e4m3_bytes(int64_t rows, int64_t columns) {
    return rows * (divide_up(columns, chunk) * chunk + int64_t(sizeof(float)));
}

void linear_e4m3(Queue& q, Tensor y, Tensor x, Tensor w, void* scratch) {
    multiply_rounded<false>(q, product<E4M3>(y, x, w), scratch);
}

void linear_glu_e4m3(Queue& q, Tensor y, Tensor x, Tensor w, Tensor both, void* scratch) {
    if (pairs(w)) return multiply_rounded<true>(q, product<E4M3>(y, x, w), scratch);
    linear_e4m3(q, both, x, w, scratch);
    glu(reinterpret_cast<Stream*>(&q), y, both);
}

}  // namespace alia::cuda
