// What attention for generated tokens and for prompts share: tiles of query rows, pieces of cache pages in shared
// memory, fragments and the running softmax.
//
// A query row is a token and a query head of one KV head: row r is token r / group and head r % group of the group, so
// that all heads which read the same K and V stand side by side in a tile, whatever the group's size. Scores are in
// base 2: q is multiplied by log2(e) / sqrt(head_dim) when it becomes BF16.
#pragma once
#include <alia/ptx.h>

#include "kernels/cuda/cache.h"
#include "kernels/cuda/launch.h"

namespace alia::cuda {

// Shared memory of a block on the cards that have least of it, 8.6, 8.9 and 12.0.
constexpr int least_shared_bytes = 99 << 10;

// Addresses and shapes; what varies from step to step is read from the arrays.
struct Attention {
    const float* q;  // [n][group * kv_heads * dim]
    uint16_t* y;     // the same in BF16
    const uint8_t *k, *v;
    const int32_t *position, *sequence, *pages;
    int64_t q_stride, y_stride;  // in numbers
    int64_t page_bytes;
    int page_stride, n, dim, group, kv_heads;
    float scale;
};

// Neighbouring rows of one sequence. In a list of tiles the first entry is its head: `rows` tiles, `before` items.
struct Tile {
    int first, rows;
    int limit;   // positions that some row reads: [0, limit)
    int before;  // items of work of the tiles before
};

// Rows of a tile for 16-row fragments: what attention.cu and attention_prompt.cu ask of list_tiles.
constexpr int generated_rows = 16;

// The k-th tile of the segment of tokens that begins at `start`.
__device__ inline Tile query_tile(const Attention& a, int start, int k, int tile_rows) {
    const int first = k * tile_rows, last = start + (first + tile_rows - 1) / a.group;
    int limit = 0, token = start + first / a.group;
    for (; token <= last && token < a.n && a.sequence[token] == a.sequence[start]; ++token)
        limit = max(limit, a.position[token] + 1);
    return {start * a.group + first, min(tile_rows, (token - start) * a.group - first), limit, 0};
}

// One warp cuts each run of tokens of one sequence into tiles; items(limit) is a tile's work. A token owns the tiles
// whose first row is one of its own.
template <class Items>
__device__ void list_tiles(const Attention& a, int tile_rows, Tile* list, Items items) {
    const int lane = int(threadIdx.x) % warp_size;
    int segment = 0, tiles = 0, work = 0;
    for (int base = 0; base < a.n; base += warp_size) {
        const int token = base + lane;
        const bool begins = token < a.n && (token == 0 || a.sequence[token] != a.sequence[token - 1]);
        const unsigned starts = __ballot_sync(0xFFFFFFFFu, begins), mine = starts << (warp_size - 1 - lane);
        const int start = mine ? token - __clz(int(mine)) : segment, row = (token - start) * a.group;
        const int k = (row + tile_rows - 1) / tile_rows;
        const int count = token < a.n ? (row + a.group + tile_rows - 1) / tile_rows - k : 0;
        int own = 0;
        for (int i = 0; i < count; ++i) own += items(query_tile(a, start, k + i, tile_rows).limit);
        int counts = count, works = own;
        for (int step = 1; step < warp_size; step *= 2) {
            const int c = __shfl_up_sync(0xFFFFFFFFu, counts, step), w = __shfl_up_sync(0xFFFFFFFFu, works, step);
            if (lane >= step) counts += c, works += w;
        }
        int before = work + works - own;
        for (int i = 0; i < count; ++i) {
            Tile tile = query_tile(a, start, k + i, tile_rows);
            tile.before = before;
            before += items(tile.limit);
            list[1 + tiles + counts - count + i] = tile;
        }
        if (starts) segment = base + warp_size - 1 - __clz(int(starts));
        tiles += __shfl_sync(0xFFFFFFFFu, counts, warp_size - 1);
        work += __shfl_sync(0xFFFFFFFFu, works, warp_size - 1);
    }
    if (lane == 0) list[0] = {0, tiles, 0, work};
}

// The tile that item `item` of a list belongs to.
__device__ inline Tile find_tile(const Tile* list, int item) {
    int low = 1, high = list[0].rows;  // the last tile that begins at or before the item
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (list[middle].before <= item)
            low = middle;
        else
            high = middle - 1;
    }
    return list[low];
}

// Positions are cut into chunks at fixed places: short ones near the start, so that few positions still occupy many
// multiprocessors; long ones further on, so that partial results take little memory. All begin where a page does.
template <int near_chunks, int near_chunk, int far_chunk>
struct Cut {
    static_assert(near_chunk % page_positions == 0 && far_chunk % page_positions == 0);
    static constexpr int near = near_chunk, longest = near_chunk > far_chunk ? near_chunk : far_chunk;
    ALIA_HD static constexpr int begin(int c) {
        return c < near_chunks ? c * near_chunk : near_chunks * near_chunk + (c - near_chunks) * far_chunk;
    }
    ALIA_HD static constexpr int count(int positions) {
        const int far = positions - near_chunks * near_chunk;
        return far > 0 ? near_chunks + (far + far_chunk - 1) / far_chunk : (positions + near_chunk - 1) / near_chunk;
    }
};

// Of every token and query head: [n][heads][chunks].
struct Partials {
    float2* state;  // the largest score and the sum relative to it
    float* sum;     // [..][dim] of values, relative to the same
    int chunks;

    __device__ int64_t at(const Attention& a, int token, int head, int chunk) const {
        return (int64_t(token) * a.group * a.kv_heads + head) * chunks + chunk;
    }
};
inline Partials partials_at(void* memory, const Attention& a, int64_t chunks) {
    Partials p;
    p.sum = static_cast<float*>(memory);
    p.state = reinterpret_cast<float2*>(p.sum + int64_t(a.n) * a.group * a.kv_heads * chunks * a.dim);
    p.chunks = int(chunks);
    return p;
}
constexpr int64_t partial_bytes(int64_t rows, int64_t chunks, int64_t dim) {
    return rows * chunks * int64_t(sizeof(float2) + sizeof(float) * size_t(dim));
}

// Pieces of a strip that a thread has in hand at once: where a block shares strips, it has no registers for two.
constexpr int pieces_at_once(int threads) { return threads > warp_size ? 1 : 2; }

// Bytes of `positions` rows of K or V in shared memory, for head dimensions up to D.
ALIA_HD constexpr int strip_bytes(bool e4m3, int D, int positions) { return positions * (e4m3 ? D / 32 * 36 : 2 * D); }

// Positions [first, first + positions) of a head's page to shared memory as [pieces][positions][16 bytes], then the
// scales; zeros from position `valid` of them on and for columns from a.dim on. Thread `thread` of `threads` does its
// part and closes no group.
template <int D, bool e4m3, int positions, int threads>
__device__ void load_strip(uint8_t* to, const uint8_t* head, int dim, int first, int valid, int thread) {
    constexpr int columns = e4m3 ? 16 : 8, pieces = D / columns * positions;
#pragma unroll pieces_at_once(threads)
    for (int i = thread; i < pieces; i += threads) {
        const int piece = i / positions, r = i % positions;
        cp_async16(to + i * piece_bytes, head + piece_offset(piece, first + r), piece < dim / columns && r < valid);
    }
    if (!e4m3) return;
    const uint8_t* scales = head + piece_offset(dim / 16, 0);
    for (int i = thread; i < D / 32 * positions / 4; i += threads) {
        const int block = i / (positions / 4), r = i % (positions / 4) * 4;
        cp_async16_part(to + (pieces + i) * piece_bytes, scales + (block * page_positions + first + r) * 4,
                        block < dim / 32 ? min(max(valid - r, 0), 4) * 4 : 0);
    }
}

// Two E4M3 numbers in the upper bytes of a register's halves, times `scale` twice as BF16: exact. Exponent and fraction
// in BF16's place leave the value 2^-120 too small, subnormals included.
__device__ inline uint32_t e4m3_to_bf16(uint32_t v, uint32_t scale) {
    constexpr uint32_t up = 0x7B807B80;  // 2^120
    return fma_bf16x2(fma_bf16x2((v & 0x80008000) | (v & 0x7F007F00) >> 4, up, 0), scale, 0);
}

// A strip of E4M3 to the layout of BF16 strips.
template <int D, int positions, int threads>
__device__ void decode_strip(uint8_t* to, const uint8_t* from, int valid, int thread) {
    const float* scales = reinterpret_cast<const float*>(from + D / 16 * positions * piece_bytes);
#pragma unroll pieces_at_once(threads)
    for (int i = thread; i < D / 16 * positions; i += threads) {
        const int piece = i / positions, r = i % positions;
        uint4 low = {}, high = {};
        if (r < valid) {
            const uint32_t bits = as_bits(scales[piece / 2 * positions + r]), scale = (bits & 0xFFFF0000) | bits >> 16;
            const uint4 v = *reinterpret_cast<const uint4*>(from + i * piece_bytes);
            auto first = [=](uint32_t w) { return e4m3_to_bf16((w & 0xFF) << 8 | (w & 0xFF00) << 16, scale); };
            auto second = [=](uint32_t w) { return e4m3_to_bf16((w & 0xFF0000) >> 8 | (w & 0xFF000000), scale); };
            low = {first(v.x), second(v.x), first(v.y), second(v.y)};
            high = {first(v.z), second(v.z), first(v.w), second(v.w)};
        }
        *reinterpret_cast<uint4*>(to + (2 * piece * positions + r) * piece_bytes) = low;
        *reinterpret_cast<uint4*>(to + ((2 * piece + 1) * positions + r) * piece_bytes) = high;
    }
}

// B fragments of q k^T for 16 positions from `first` and columns 16 k..16 k + 15: b[0..1] of the first eight positions.
template <int positions>
__device__ void key_fragments(uint32_t (&b)[4], const uint8_t* strip, int first, int k, int lane) {
    const int matrix = lane / 8;
    ldmatrix(b, strip + ((2 * k + matrix % 2) * positions + first + matrix / 2 * 8 + lane % 8) * piece_bytes);
}
// B fragments of p v for 16 positions from `first` and columns 16 d..16 d + 15: b[0..1] of the first eight columns.
template <int positions>
__device__ void value_fragments(uint32_t (&b)[4], const uint8_t* strip, int first, int d, int lane) {
    const int matrix = lane / 8;
    ldmatrix_transposed(b,
                        strip + ((2 * d + matrix / 2) * positions + first + matrix % 2 * 8 + lane % 8) * piece_bytes);
}
__device__ inline void mma_pair(float (&low)[4], float (&high)[4], const uint32_t (&a)[4], const uint32_t (&b)[4]) {
    mma_bf16(low, a, {b[0], b[1]});
    mma_bf16(high, a, {b[2], b[3]});
}

// The largest and the sum over the four lanes that hold a row of a C fragment.
__device__ inline float row_max(float v) {
    v = fmaxf(v, __shfl_xor_sync(0xFFFFFFFFu, v, 1));
    return fmaxf(v, __shfl_xor_sync(0xFFFFFFFFu, v, 2));
}
__device__ inline float row_sum(float v) {
    v += __shfl_xor_sync(0xFFFFFFFFu, v, 1);
    return v + __shfl_xor_sync(0xFFFFFFFFu, v, 2);
}

// Rows g and g + 8 of a fragment: where softmax stands. The sum is this lane's part of the row.
struct Running {
    float most[2] = {-INFINITY, -INFINITY}, sum[2] = {};

    // Scores to powers of two relative to the largest so far; returns in `fade` what earlier results are worth. A row
    // that sees none of these positions stays as it is, bit for bit.
    template <int tiles>
    __device__ void take(float (&score)[tiles][4], float (&fade)[2]) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float largest = -INFINITY;
#pragma unroll
            for (int i = 0; i < tiles; ++i) largest = fmaxf(largest, fmaxf(score[i][2 * h], score[i][2 * h + 1]));
            const float now = fmaxf(most[h], row_max(largest)), base = now == -INFINITY ? 0 : now;
            fade[h] = exp2_fast(most[h] - base);
            most[h] = now;
            float part = 0;
#pragma unroll
            for (int i = 0; i < tiles; ++i) {
                score[i][2 * h] = exp2_fast(score[i][2 * h] - base);
                score[i][2 * h + 1] = exp2_fast(score[i][2 * h + 1] - base);
                part += score[i][2 * h] + score[i][2 * h + 1];
            }
            sum[h] = sum[h] * fade[h] + part;
        }
    }
};

// An A fragment of p from the C fragments of two neighbouring tiles of eight positions.
__device__ inline void weight_fragment(uint32_t (&a)[4], const float (&low)[4], const float (&high)[4]) {
    a[0] = pack_bf16(low[0], low[1]), a[1] = pack_bf16(low[2], low[3]);
    a[2] = pack_bf16(high[0], high[1]), a[3] = pack_bf16(high[2], high[3]);
}

// attention_prompt.cu. `list` has room for a tile of each 16 rows and its head; `partials` is behind it, of
// prompt_partial_bytes(tokens, query heads, ...), which do not fall with more tokens.
int64_t prompt_partial_bytes(int64_t n, int64_t heads, int64_t positions, int64_t dim);
void attend_prompt(Queue&, const Attention&, bool e4m3, Tile* list, void* partials);

}  // namespace alia::cuda
