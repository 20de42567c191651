// RoPE fused with the cache write: q is turned in place, k is turned and stored, v is stored.
#include "kernels/cuda/cache.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/table.h"

namespace alia::cuda {
namespace {

constexpr int threads = 128;

struct Rotation {
    float *q, *k, *v;
    const float* angles;  // [n][dim]: cosines, then sines
    uint8_t *k_cache, *v_cache;
    const int32_t* slot;
    int64_t q_stride, k_stride, v_stride, angle_stride;  // in floats
    int64_t page_bytes;
    int dim, q_items, kv_items;  // items of a token: fours of q's pairs; eights of K's columns, as many of V's
};

__device__ float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }

// q's columns j..j + 3 of a head and those half a head further on.
__device__ void rotate_q(const Rotation& r, int token, int item) {
    const int half = r.dim / 2, i = 4 * item % half;
    float* low = r.q + token * r.q_stride + 4 * item / half * r.dim + i;
    const float* angle = r.angles + token * r.angle_stride + i;
    const float4 c = load4(angle), s = load4(angle + half), a = load4(low), b = load4(low + half);
    *reinterpret_cast<float4*>(low) = {a.x * c.x - b.x * s.x, a.y * c.y - b.y * s.y, a.z * c.z - b.z * s.z,
                                       a.w * c.w - b.w * s.w};
    *reinterpret_cast<float4*>(low + half) = {b.x * c.x + a.x * s.x, b.y * c.y + a.y * s.y, b.z * c.z + a.z * s.z,
                                              b.w * c.w + a.w * s.w};
}

// Four turned columns from j on of a head.
__device__ float4 rotated4(const float* head, const float* angles, int j, int dim) {
    const int half = dim / 2, i = j % half;
    const float4 c = load4(angles + i), s = load4(angles + i + half), a = load4(head + i), b = load4(head + i + half);
    if (j < half) return {a.x * c.x - b.x * s.x, a.y * c.y - b.y * s.y, a.z * c.z - b.z * s.z, a.w * c.w - b.w * s.w};
    return {b.x * c.x + a.x * s.x, b.y * c.y + a.y * s.y, b.z * c.z + a.z * s.z, b.w * c.w + a.w * s.w};
}

// Eight columns from j on into a head's piece of a page.
__device__ void store_bf16(uint8_t* head, int position, int j, const float (&x)[8]) {
    *reinterpret_cast<uint4*>(head + piece_offset(j / 8, position)) = {pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]),
                                                                       pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7])};
}
// Four neighbouring lanes hold a block of 32. One NaN makes the block's scale NaN, and so all of the block.
__device__ void store_e4m3(uint8_t* head, int position, int j, int dim, const float (&x)[8], bool write) {
    float largest = 0;
    for (float f : x) largest = fabsf(f) > largest || f != f ? fabsf(f) : largest;
    for (int step = 1; step < 4; step *= 2) {
        const float other = __shfl_xor_sync(whole_warp, largest, step);
        largest = other > largest || other != other ? other : largest;
    }
    const float scale = e4m3_scale(largest);
    uint32_t bytes[2] = {};
    for (int i = 0; i < 8; ++i) bytes[i / 4] |= uint32_t(to_e4m3(x[i] / scale)) << i % 4 * 8;
    if (!write) return;
    *reinterpret_cast<uint2*>(head + piece_offset(j / 16, position) + j % 16) = {bytes[0], bytes[1]};
    if (j % 32 == 0)
        reinterpret_cast<float*>(head + piece_offset(dim / 16, 0))[j / 32 * page_positions + position] =
            largest != largest ? largest : scale;
}

template <bool e4m3>
__global__ void __launch_bounds__(threads) rotate_store_kernel(Rotation r, int q_blocks) {
    grid_wait();
    grid_launch_next();
    const int token = int(blockIdx.x);
    if (int(blockIdx.y) < q_blocks) {
        const int item = int(blockIdx.y) * threads + int(threadIdx.x);
        if (item < r.q_items) rotate_q(r, token, item);
        return;
    }
    const int item = (int(blockIdx.y) - q_blocks) * threads + int(threadIdx.x);
    const bool write = item < 2 * r.kv_items, of_k = item < r.kv_items;
    const int column = write ? 8 * (of_k ? item : item - r.kv_items) : 0, j = column % r.dim;
    const int slot = r.slot[token], position = slot % page_positions;
    float4 low, high;
    if (of_k) {
        const float *head = r.k + token * r.k_stride + (column - j), *angles = r.angles + token * r.angle_stride;
        low = rotated4(head, angles, j, r.dim), high = rotated4(head, angles, j + 4, r.dim);
    } else {
        const float* v = r.v + token * r.v_stride + column;
        low = load4(v), high = load4(v + 4);
    }
    const float x[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    uint8_t* head = (of_k ? r.k_cache : r.v_cache) + slot / page_positions * r.page_bytes +
                    column / r.dim * head_bytes(e4m3, r.dim);
    if (e4m3)
        store_e4m3(head, position, j, r.dim, x, write);
    else if (write)
        store_bf16(head, position, j, x);
}

int64_t floats(Tensor t) { return t.stride / int64_t(sizeof(float)); }

}  // namespace

// Pieces of a page are 16 bytes, and rotation pairs come in fours.
bool caches(Format f, int64_t head_dim) {
    return head_dim <= 256 && ((f == Format::BF16 && head_dim % 8 == 0) || (f == Format::E4M3 && head_dim % 32 == 0));
}

void rotate_store(Stream* s, Tensor q, Tensor k, Tensor v, Tensor angles, Tensor k_cache, Tensor v_cache,
                  const int32_t* slot) {
    const Rotation r = {.q = static_cast<float*>(q.data),
                        .k = static_cast<float*>(k.data),
                        .v = static_cast<float*>(v.data),
                        .angles = static_cast<const float*>(angles.data),
                        .k_cache = static_cast<uint8_t*>(k_cache.data),
                        .v_cache = static_cast<uint8_t*>(v_cache.data),
                        .slot = slot,
                        .q_stride = floats(q),
                        .k_stride = floats(k),
                        .v_stride = floats(v),
                        .angle_stride = floats(angles),
                        .page_bytes = page_positions * k_cache.stride,
                        .dim = int(angles.columns),
                        .q_items = int(q.columns / 8),
                        .kv_items = int(k.columns / 8)};
    const int q_blocks = (r.q_items + threads - 1) / threads, kv_blocks = (2 * r.kv_items + threads - 1) / threads;
    launch(queue(s), k_cache.format == Format::E4M3 ? rotate_store_kernel<true> : rotate_store_kernel<false>,
           {dim3(unsigned(q.rows), unsigned(q_blocks + kv_blocks)), threads}, r, q_blocks);
}

}  // namespace alia::cuda
