// Attention of prompt tokens: bound by the tensor cores. A block takes a tile of query rows through the positions that
// they see, a page at a time and with a running maximum that begins anew at each chunk of positions; chunks are added
// up from left to right. Every row meets the same pages in the same order, whatever rows share its tile and wherever
// the prompt is cut. Few new tokens that meet many positions would leave most multiprocessors idle: then each chunk has
// a block of its own, and a kernel adds them up in the same way, to the same bits.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/table.h"

namespace alia::cuda {
namespace {

using Chunks = Cut<4, 2048, 4096>;
constexpr int split_tokens = 64;  // up to so many have their chunks apart

// Two chunks' results as one: the weights of the left one and the right one, by their largest scores.
struct Weights {
    float most, left, right;
    __device__ Weights(float l, float r) {
        most = fmaxf(l, r);
        const float base = most == -INFINITY ? 0 : most;
        left = exp2_fast(l - base), right = exp2_fast(r - base);
    }
    // Said as a fused product, so that all kernels round alike.
    __device__ float sum(float l, float r) const { return fmaf(r, right, l * left); }
};

// A chunk of a tile for a KV head, and the item of the list that it is of.
struct Work {
    Tile tile;
    int kv, chunk, item;
};

// Two 16-row fragments a warp, so that each fragment of K and V read from shared memory feeds two products; one where
// twice the head dimension would not fit the registers. Two blocks a multiprocessor, those of capability 8.0 included.
template <int D, bool e4m3>
struct Shared {
    static constexpr int warps = D > 128 && e4m3 ? 2 : 4, threads = warps * warp_size, fragments = D > 128 ? 1 : 2;
    static constexpr int rows = warps * fragments * 16, slots = D > 128 ? 2 : D > 64 ? 3 : 4;
    uint8_t query[D / 8][rows][piece_bytes];
    uint8_t ring[slots][strip_bytes(e4m3, D, page_positions)];
    uint8_t decoded[e4m3 ? strip_bytes(false, D, page_positions) : piece_bytes];
    Work work;  // for the end of a chunk, so that its loop need not keep it
};
static_assert(sizeof(Shared<128, false>) <= least_shared_bytes && sizeof(Shared<256, false>) <= least_shared_bytes);

// q of a tile as BF16, zeros beyond the tile's rows and from column a.dim on.
template <int D, bool e4m3>
__device__ void stage_query(const Attention& a, Shared<D, e4m3>& s, const Tile& tile, int kv) {
    using S = Shared<D, e4m3>;
    for (int i = int(threadIdx.x); i < S::rows * D / 8; i += S::threads) {
        const int r = i / (D / 8), piece = i % (D / 8), row = tile.first + r;
        uint4 v = {};
        if (r < tile.rows && 8 * piece < a.dim) {
            const float* p = a.q + row / a.group * a.q_stride + (kv * a.group + row % a.group) * a.dim + 8 * piece;
            const float4 low = *reinterpret_cast<const float4*>(p), high = *reinterpret_cast<const float4*>(p + 4);
            v = {pack_bf16(low.x * a.scale, low.y * a.scale), pack_bf16(low.z * a.scale, low.w * a.scale),
                 pack_bf16(high.x * a.scale, high.y * a.scale), pack_bf16(high.z * a.scale, high.w * a.scale)};
        }
        *reinterpret_cast<uint4*>(s.query[piece][r]) = v;
    }
}

// A fragment of rows `first`..`first` + 15 and columns 16 k..16 k + 15.
template <int D, bool e4m3>
__device__ void query_fragment(uint32_t (&q)[4], const Shared<D, e4m3>& s, int first, int k, int lane) {
    const int matrix = lane / 8;
    ldmatrix(q, s.query[2 * k + matrix / 2][first + matrix % 2 * 8 + lane % 8]);
}

// A chunk of a tile. Split, its results are left in `parts` by the chunk; else they are added to those of the chunks
// before it, and the last chunk writes y.
template <int D, bool e4m3>
__device__ void attend_chunk(const Attention& a, Shared<D, e4m3>& s, const Work& now, bool split,
                             const Partials& parts) {
    using S = Shared<D, e4m3>;
    const Tile& tile = now.tile;
    const int kv = now.kv, chunk = now.chunk;
    static_assert(Chunks::near % (warp_size * page_positions) == 0);  // `held` begins where chunks do
    constexpr int fragments = S::fragments, tiles = page_positions / 8;
    const int thread = int(threadIdx.x), lane = thread % warp_size, first = thread / warp_size * fragments * 16;
    const int limit = min(tile.limit, Chunks::begin(chunk + 1)), begin = Chunks::begin(chunk) / page_positions,
              pages = (limit + page_positions - 1) / page_positions;
    const int32_t* table = a.pages + int64_t(a.sequence[tile.first / a.group]) * a.page_stride;
    const int64_t head = kv * head_bytes(e4m3, a.dim);
    int held = 0;
    auto load = [&](int step) {
        const int page = step / 2;
        if (page < pages) {
            if (step % (2 * warp_size) == 0) held = page + lane < pages ? table[page + lane] : 0;
            const int number = __shfl_sync(whole_warp, held, page % warp_size);
            load_strip<D, e4m3, page_positions, S::threads>(s.ring[step % S::slots],
                                                            (step % 2 ? a.v : a.k) + number * a.page_bytes + head,
                                                            a.dim, 0, limit - page * page_positions, thread);
        }
        cp_async_commit();
    };
    // Tile `step` of K or V, once it is there, as BF16.
    auto arrived = [&](int step) -> const uint8_t* {
        cp_async_wait<S::slots - 2>();
        __syncthreads();  // others' copies (and q at first); the slot loaded next and `decoded`, read in the step
                          // before
        load(step + S::slots - 1);
        if (!e4m3) return s.ring[step % S::slots];
        decode_strip<D, page_positions, S::threads>(s.decoded, s.ring[step % S::slots],
                                                    limit - step / 2 * page_positions, thread);
        __syncthreads();  // decoded above, read by all below
        return s.decoded;
    };
    for (int step = 0; step < S::slots - 1; ++step) load(2 * begin + step);
    if (split || chunk == 0) stage_query(a, s, tile, kv);
    if (thread == 0) s.work = now;

    // The last position that row r sees. Rows beyond the tile see everything; they are not written.
    auto position = [&](int r) { return r < tile.rows ? a.position[(tile.first + r) / a.group] : 0x7FFFFFFF; };
    int lowest = 0x7FFFFFFF;  // of the warp's rows
    for (int r = lane; r < fragments * 16; r += warp_size) lowest = min(lowest, position(first + r));
    lowest = -warp_max(-lowest);
    Running running[fragments];
    float out[fragments][D / 8][4] = {};
    for (int page = begin; page < pages; ++page) {
        const uint8_t* keys = arrived(2 * page);
        float score[fragments][tiles][4] = {};
#pragma unroll 1  // more takes registers that there are not
        for (int k = 0; k < D / 16; ++k) {
            uint32_t q[fragments][4];
#pragma unroll
            for (int f = 0; f < fragments; ++f) query_fragment(q[f], s, first + 16 * f, k, lane);
#pragma unroll
            for (int i = 0; i < tiles / 2; ++i) {
                uint32_t b[4];
                key_fragments<page_positions>(b, keys, 16 * i, k, lane);
#pragma unroll
                for (int f = 0; f < fragments; ++f) mma_pair(score[f][2 * i], score[f][2 * i + 1], q[f], b);
            }
        }
        if ((page + 1) * page_positions - 1 > lowest) {
            const int from = page * page_positions + lane % 4 * 2;
#pragma unroll
            for (int f = 0; f < 2 * fragments; ++f) {
                const int last = position(first + f * 8 + lane / 4) - from;
#pragma unroll
                for (int i = 0; i < 2 * tiles; ++i)
                    if (i / 2 * 8 + i % 2 > last) score[f / 2][i / 2][f % 2 * 2 + i % 2] = -INFINITY;
            }
        }
        uint32_t p[fragments][tiles / 2][4];
#pragma unroll
        for (int f = 0; f < fragments; ++f) {
            float fade[2];
            running[f].take(score[f], fade);
#pragma unroll
            for (int i = 0; i < D / 2; ++i) out[f][i / 4][i % 4] *= fade[i / 2 % 2];
#pragma unroll
            for (int i = 0; i < tiles / 2; ++i) weight_fragment(p[f][i], score[f][2 * i], score[f][2 * i + 1]);
        }
        const uint8_t* values = arrived(2 * page + 1);
#pragma unroll
        for (int i = 0; i < tiles / 2; ++i)
#pragma unroll
            for (int d = 0; d < D / 16; ++d) {
                uint32_t b[4];
                value_fragments<page_positions>(b, values, 16 * i, d, lane);
#pragma unroll
                for (int f = 0; f < fragments; ++f) mma_pair(out[f][2 * d], out[f][2 * d + 1], p[f][i], b);
            }
    }
    // Rows of this lane's fragments. What the chunks before left is read by four lanes before one overwrites it;
    // barriers of the pages lie between its writing and this.
    const Work w = s.work;
    const bool adds = !split && w.chunk > 0, stays = split || Chunks::begin(w.chunk + 1) < w.tile.limit;
    auto row_of = [&](int i) { return first + i / 2 * 16 + i % 2 * 8 + lane / 4; };
    auto slot = [&](int i) {
        const int row = w.tile.first + row_of(i);
        return parts.at(a, row / a.group, w.kv * a.group + row % a.group, split ? w.chunk : 0);
    };
    float2 before[2 * fragments];
#pragma unroll
    for (int i = 0; i < 2 * fragments; ++i)
        before[i] = adds && row_of(i) < w.tile.rows ? parts.state[slot(i)] : float2{-INFINITY, 0};
    __syncwarp();  // states read above by four lanes, overwritten below by one
#pragma unroll
    for (int i = 0; i < 2 * fragments; ++i) {
        const int f = i / 2, h = i % 2, row = w.tile.first + row_of(i);
        const float own = row_sum(running[f].sum[h]);
        if (row_of(i) >= w.tile.rows) continue;
        const Weights both(before[i].x, running[f].most[h]);
        const float sum = both.sum(before[i].y, own);
        const int64_t at = slot(i);
        if (stays && lane % 4 == 0) parts.state[at] = {both.most, sum};
        float* values = parts.sum + at * a.dim + lane % 4 * 2;
        uint16_t* y = a.y + row / a.group * a.y_stride + (w.kv * a.group + row % a.group) * a.dim + lane % 4 * 2;
#pragma unroll
        for (int d = 0; d < D / 8; ++d) {
            if (8 * d >= a.dim) continue;
            float2 v = {out[f][d][2 * h], out[f][d][2 * h + 1]};
            if (adds) {
                const float2 left = *reinterpret_cast<const float2*>(values + 8 * d);
                v = {both.sum(left.x, v.x), both.sum(left.y, v.y)};
            }
            if (stays)
                *reinterpret_cast<float2*>(values + 8 * d) = v;
            else
                *reinterpret_cast<uint32_t*>(y + 8 * d) = pack_bf16(v.x / sum, v.y / sum);
        }
    }
}

// A fixed grid walks the tiles of one KV head after the other, each head's from the last, which sees most positions.
template <int D, bool e4m3>
__global__ void __launch_bounds__(Shared<D, e4m3>::threads)
    prompt_kernel(Attention a, const Tile* list, bool split, Partials parts) {
    grid_wait();
    grid_launch_next();
    auto& s = shared<Shared<D, e4m3>>();
    for (int item = int(blockIdx.x), chunk = 0;;) {
        const int tiles = list[0].rows;
        if (item >= (split ? list[0].before : tiles * a.kv_heads)) return;
        const Tile tile = split ? find_tile(list, item) : list[tiles - item % tiles];
        const int chunks = Chunks::count(tile.limit), i = item - tile.before;
        attend_chunk(a, s, {tile, split ? i / chunks : item / tiles, split ? chunks - 1 - i % chunks : chunk, item},
                     split, parts);
        item = s.work.item, chunk = s.work.chunk + 1;
        if (split || Chunks::begin(chunk) >= s.work.tile.limit) item += int(gridDim.x), chunk = 0;
        __syncthreads();  // q, the last tile of V and `work`, read above, overwritten by the next chunk or item
    }
}

__global__ void __launch_bounds__(warp_size) list_kernel(Attention a, int rows, bool split, Tile* list) {
    grid_wait();
    grid_launch_next();
    list_tiles(a, rows, list, [&](int limit) { return split ? Chunks::count(limit) * a.kv_heads : 1; });
}

// A warp adds up a query head's chunks, each lane its two columns at a time.
constexpr int merge_warps = 4;
__global__ void __launch_bounds__(merge_warps* warp_size) merge_kernel(Attention a, Partials in) {
    grid_wait();
    grid_launch_next();
    const int heads = a.group * a.kv_heads, row = int(blockIdx.x) * merge_warps + int(threadIdx.x) / warp_size;
    if (row >= a.n * heads) return;
    const int token = row / heads, head = row % heads, chunks = Chunks::count(a.position[token] + 1);
    const int64_t at = in.at(a, token, head, 0);
    for (int column = int(threadIdx.x) % warp_size * 2; column < a.dim; column += 2 * warp_size) {
        float2 state = in.state[at], total = *reinterpret_cast<const float2*>(in.sum + at * a.dim + column);
        for (int c = 1; c < chunks; ++c) {
            const float2 next = in.state[at + c],
                         v = *reinterpret_cast<const float2*>(in.sum + (at + c) * a.dim + column);
            const Weights w(state.x, next.x);
            state = {w.most, w.sum(state.y, next.y)};
            total = {w.sum(total.x, v.x), w.sum(total.y, v.y)};
        }
        *reinterpret_cast<uint32_t*>(a.y + token * a.y_stride + head * a.dim + column) =
            pack_bf16(total.x / state.y, total.y / state.y);
    }
}

template <int D, bool e4m3>
void attend_as(Queue& queue, const Attention& a, Tile* list, void* memory) {
    using S = Shared<D, e4m3>;
    const int64_t chunks = Chunks::count(a.page_stride * page_positions);
    const bool split = chunks > 1 && a.n <= split_tokens;
    const Partials parts = partials_at(memory, a, split ? chunks : 1);
    launch(queue, list_kernel, {dim3(1), warp_size}, a, int(S::rows), split, list);
    const int64_t items = int64_t(a.n) * ((a.group + S::rows - 1) / S::rows) * a.kv_heads * (split ? chunks : 1);
    const int64_t resident = queue.multiprocessors * 2;
    launch(queue, prompt_kernel<D, e4m3>,
           {dim3(unsigned(items < resident ? items : resident)), S::threads, int(sizeof(S))}, a, list, split, parts);
    const int64_t rows = int64_t(a.n) * a.group * a.kv_heads;
    if (split)
        launch(queue, merge_kernel, {dim3(unsigned((rows + merge_warps - 1) / merge_warps)), merge_warps * warp_size},
               a, parts);
}

}  // namespace

int64_t prompt_partial_bytes(int64_t n, int64_t heads, int64_t positions, int64_t dim) {
    const int64_t chunks = Chunks::count(int(positions)), apart = n < split_tokens ? n : split_tokens;
    if (chunks <= 1) return 0;
    return partial_bytes(heads * (n > apart * chunks ? n : apart * chunks), 1, dim);
}

void attend_prompt(Queue& queue, const Attention& a, bool e4m3, Tile* list, void* partials) {
    decltype(&attend_as<64, false>) by_size[][2] = {{attend_as<64, false>, attend_as<64, true>},
                                                    {attend_as<128, false>, attend_as<128, true>},
                                                    {attend_as<256, false>, attend_as<256, true>}};
    by_size[a.dim <= 64 ? 0 : a.dim <= 128 ? 1 : 2][e4m3](queue, a, list, partials);
}

}  // namespace alia::cuda
