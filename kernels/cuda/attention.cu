// Attention of generated tokens: bound by reading K and V once. Positions are cut into chunks at fixed places; a block
// takes a chunk of a KV head for up to 16 query rows, and a second kernel merges the chunks from left to right.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/table.h"

namespace alia::cuda {
namespace {

constexpr int warps = 4, threads = warps * warp_size, strip = page_positions / warps;
constexpr int listed_here = 128;  // tiles that each block lists for itself; more are listed by a kernel of their own

using Chunks = Cut<16, 256, 1024>;
static_assert(Chunks::longest / page_positions <= warp_size);

template <int D, bool e4m3>
struct Shared {
    static constexpr int slots = D <= 128 ? 6 : 3;
    static constexpr int pitch = D + 8;  // floats from row to row of a warp's sums, which take the place of its strips
    struct Strips {
        uint8_t ring[slots][strip_bytes(e4m3, D, strip)];
        uint8_t decoded[e4m3 ? strip_bytes(false, D, strip) : piece_bytes];
    };
    Strips warp[warps];
    float2 state[warps][generated_rows];
    Tile list[listed_here + 1];

    __device__ float* sums(int w) { return reinterpret_cast<float*>(&warp[w]); }
    static_assert(sizeof(Strips) >= generated_rows * pitch * sizeof(float));
};
static_assert(sizeof(Shared<128, false>) <= least_shared_bytes && sizeof(Shared<256, false>) <= least_shared_bytes &&
              sizeof(Shared<256, true>) <= least_shared_bytes);

__device__ int items_of(const Attention& a, int limit) { return Chunks::count(limit) * a.kv_heads; }

// q as A fragments: rows `first` + g and g + 8, zeros beyond `rows` and from column a.dim on.
template <int D>
__device__ void query_fragments(uint32_t (&q)[D / 16][4], const Attention& a, const Tile& tile, int kv, int lane) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int r = lane / 4 + 8 * h, row = tile.first + r, column = lane % 4 * 2;
        const float* p = a.q + row / a.group * a.q_stride + (kv * a.group + row % a.group) * a.dim + column;
#pragma unroll
        for (int i = 0; i < D / 8; ++i) {
            const bool there = r < tile.rows && 8 * i < a.dim;
            const float2 v = there ? *reinterpret_cast<const float2*>(p + 8 * i) : float2{};
            q[i / 2][i % 2 * 2 + h] = pack_bf16(v.x * a.scale, v.y * a.scale);
        }
    }
}

// A warp's quarter of every page of a chunk, 16 positions, with no other warp: K and V strips pass through a ring.
template <int D, bool e4m3>
__device__ void attend_strips(const Attention& a, Shared<D, e4m3>& s, const Tile& tile, int kv, int begin, int end) {
    using S = Shared<D, e4m3>;
    const int warp = int(threadIdx.x) / warp_size, lane = int(threadIdx.x) % warp_size;
    const int pages = (end - begin + page_positions - 1) / page_positions, token = tile.first / a.group;
    const int32_t* table = a.pages + int64_t(a.sequence[token]) * a.page_stride + begin / page_positions;
    const int held = lane < pages ? table[lane] : 0;
    const int64_t head = kv * head_bytes(e4m3, a.dim);
    auto valid = [&](int page) { return end - begin - page * page_positions - warp * strip; };
    auto load = [&](int step) {
        const int page = step / 2, number = __shfl_sync(whole_warp, held, min(page, warp_size - 1));
        if (page < pages)
            load_strip<D, e4m3, strip, warp_size>(s.warp[warp].ring[step % S::slots],
                                                  (step % 2 ? a.v : a.k) + number * a.page_bytes + head, a.dim,
                                                  warp * strip, valid(page), lane);
        cp_async_commit();
    };
    // Strip `step`, once it is there, as BF16.
    auto arrived = [&](int step) -> const uint8_t* {
        cp_async_wait<S::slots - 2>();
        __syncwarp();  // the strip's other lanes' copies; and the slot that is loaded next, read in the step before
        load(step + S::slots - 1);
        if (!e4m3) return s.warp[warp].ring[step % S::slots];
        decode_strip<D, strip, warp_size>(s.warp[warp].decoded, s.warp[warp].ring[step % S::slots], valid(step / 2),
                                          lane);
        __syncwarp();  // decoded above, read by all lanes below
        return s.warp[warp].decoded;
    };
    for (int step = 0; step < S::slots - 1; ++step) load(step);

    uint32_t q[D / 16][4];
    query_fragments<D>(q, a, tile, kv, lane);
    int position[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int r = lane / 4 + 8 * h;
        position[h] = r < tile.rows ? a.position[(tile.first + r) / a.group] : -1;
    }
    Running running;
    float out[D / 8][4] = {};
    for (int page = 0; page < pages; ++page) {
        const uint8_t* keys = arrived(2 * page);
        float score[2][4] = {};
#pragma unroll
        for (int k = 0; k < D / 16; ++k) {
            uint32_t b[4];
            key_fragments<strip>(b, keys, 0, k, lane);
            mma_pair(score[0], score[1], q[k], b);
        }
        const int first = begin + page * page_positions + warp * strip + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (first + i / 4 * 8 + i % 2 > position[i / 2 % 2]) score[i / 4][i % 4] = -INFINITY;
        float fade[2];
        running.take(score, fade);
        uint32_t p[4];
        weight_fragment(p, score[0], score[1]);
        const uint8_t* values = arrived(2 * page + 1);
#pragma unroll
        for (int d = 0; d < D / 16; ++d) {
#pragma unroll
            for (int i = 0; i < 8; ++i) out[2 * d + i / 4][i % 4] *= fade[i / 2 % 2];
            uint32_t b[4];
            value_fragments<strip>(b, values, 0, d, lane);
            mma_pair(out[2 * d], out[2 * d + 1], p, b);
        }
    }
    __syncwarp();  // the last strip read above by all lanes, its ring overwritten below
    float* sums = s.sums(warp);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int r = lane / 4 + 8 * h;
        const float sum = row_sum(running.sum[h]);
        if (lane % 4 == 0) s.state[warp][r] = {running.most[h], sum};
#pragma unroll
        for (int d = 0; d < D / 8; ++d)
            *reinterpret_cast<float2*>(sums + r * S::pitch + 8 * d + lane % 4 * 2) = {out[d][2 * h], out[d][2 * h + 1]};
    }
}

// The warps' results, first to last, as the chunk's.
template <int D, bool e4m3>
__device__ void merge_warps(const Attention& a, Shared<D, e4m3>& s, const Tile& tile, int kv, int chunk, Partials out) {
    const int fours = a.dim / 4;
    for (int i = int(threadIdx.x); i < tile.rows * fours; i += threads) {
        const int r = i / fours, column = i % fours * 4, row = tile.first + r, token = row / a.group;
        if (a.position[token] < Chunks::begin(chunk)) continue;
        float most = -INFINITY, sum = 0;
        for (int w = 0; w < warps; ++w) most = fmaxf(most, s.state[w][r].x);
        const float base = most == -INFINITY ? 0 : most;
        float4 total = {};
        for (int w = 0; w < warps; ++w) {
            const float weight = exp2_fast(s.state[w][r].x - base);
            const float* part = s.sums(w) + r * Shared<D, e4m3>::pitch + column;
            const float4 v = *reinterpret_cast<const float4*>(part);
            sum += weight * s.state[w][r].y;
            total = {total.x + weight * v.x, total.y + weight * v.y, total.z + weight * v.z, total.w + weight * v.w};
        }
        const int64_t at = out.at(a, token, kv * a.group + row % a.group, chunk);
        if (column == 0) out.state[at] = {most, sum};
        *reinterpret_cast<float4*>(out.sum + at * a.dim + column) = total;
    }
}

// A fixed grid walks the list's items: a tile's KV heads, and each one's chunks from the last, which may be long.
template <int D, bool e4m3>
__global__ void __launch_bounds__(threads) generated_kernel(Attention a, const Tile* listed, Partials out) {
    grid_wait();
    grid_launch_next();
    auto& s = shared<Shared<D, e4m3>>();
    if (!listed) {
        if (threadIdx.x < warp_size)
            list_tiles(a, generated_rows, s.list, [&](int limit) { return items_of(a, limit); });
        __syncthreads();  // the list, written by the first warp, read by all
    }
    const Tile* list = listed ? listed : s.list;
    for (int item = int(blockIdx.x); item < list[0].before; item += int(gridDim.x)) {
        const Tile tile = find_tile(list, item);
        const int chunks = Chunks::count(tile.limit), kv = (item - tile.before) / chunks;
        const int chunk = chunks - 1 - (item - tile.before) % chunks;
        attend_strips<D, e4m3>(a, s, tile, kv, Chunks::begin(chunk), min(Chunks::begin(chunk + 1), tile.limit));
        __syncthreads();  // the warps' sums, written above, merged below
        merge_warps<D, e4m3>(a, s, tile, kv, chunk, out);
        __syncthreads();  // the sums, read above, overwritten by the next item's strips
    }
}

__global__ void __launch_bounds__(warp_size) list_kernel(Attention a, Tile* list) {
    grid_wait();
    grid_launch_next();
    list_tiles(a, generated_rows, list, [&](int limit) { return items_of(a, limit); });
}

// A warp merges a query head's chunks, each lane its four columns.
__global__ void __launch_bounds__(threads) merge_kernel(Attention a, Partials in) {
    grid_wait();
    grid_launch_next();
    const int heads = a.group * a.kv_heads, row = int(blockIdx.x) * warps + int(threadIdx.x) / warp_size;
    if (row >= a.n * heads) return;
    const int lane = int(threadIdx.x) % warp_size, token = row / heads, head = row % heads;
    const int chunks = Chunks::count(a.position[token] + 1);
    const int64_t at = in.at(a, token, head, 0);
    float most = -INFINITY;
    for (int c = lane; c < chunks; c += warp_size) most = fmaxf(most, in.state[at + c].x);
    most = warp_max(most);
    const float base = most == -INFINITY ? 0 : most;
    for (int column = 4 * lane; column < a.dim; column += 4 * warp_size) {
        float4 total = {};
        float sum = 0;
#pragma unroll 4
        for (int c = 0; c < chunks; ++c) {
            const float2 state = in.state[at + c];
            const float4 v = *reinterpret_cast<const float4*>(in.sum + (at + c) * a.dim + column);
            const float weight = exp2_fast(state.x - base);
            sum += weight * state.y;
            total = {total.x + weight * v.x, total.y + weight * v.y, total.z + weight * v.z, total.w + weight * v.w};
        }
        *reinterpret_cast<uint2*>(a.y + token * a.y_stride + head * a.dim + column) = {
            pack_bf16(total.x / sum, total.y / sum), pack_bf16(total.z / sum, total.w / sum)};
    }
}

// The most tiles that n tokens make: each has at least a token's first row.
int64_t most_tiles(int64_t n, int64_t heads) { return n * ((heads + generated_rows - 1) / generated_rows); }
int64_t most_chunks(const Batch& b) { return Chunks::count(b.page_stride * page_positions); }

template <int D, bool e4m3>
void attend_generated(Queue& queue, const Attention& a, const Batch& b, void* scratch) {
    const int64_t heads = a.group * a.kv_heads, tiles = most_tiles(a.n, heads), chunks = most_chunks(b);
    Tile* list = static_cast<Tile*>(scratch);
    const Partials out = partials_at(list + tiles + 1, a, chunks);
    const bool here = most_tiles(a.n, a.group) <= listed_here;
    if (!here) launch(queue, list_kernel, {dim3(1), warp_size}, a, list);
    const int64_t items = most_tiles(a.n, a.group) * a.kv_heads * chunks, resident = queue.multiprocessors * 2;
    launch(queue, generated_kernel<D, e4m3>,
           {dim3(unsigned(items < resident ? items : resident)), threads, int(sizeof(Shared<D, e4m3>))}, a,
           here ? nullptr : list, out);
    launch(queue, merge_kernel, {dim3(unsigned((a.n * heads + warps - 1) / warps)), threads}, a, out);
}

}  // namespace

int64_t attend_bytes(const Batch& b, int64_t q_columns, int head_dim) {
    const int64_t heads = q_columns / head_dim, list = (most_tiles(b.n, heads) + 1) * int64_t(sizeof(Tile));
    if (b.role == Role::prompt)
        return list + prompt_partial_bytes(b.n, heads, int64_t(b.page_stride) * page_positions, head_dim);
    return list + partial_bytes(b.n * heads, most_chunks(b), head_dim);
}

void attend(Stream* s, Tensor y, Tensor q, Tensor k, Tensor v, const Batch& b, int dim, void* scratch) {
    const Attention a = {.q = static_cast<const float*>(q.data),
                         .y = static_cast<uint16_t*>(y.data),
                         .k = static_cast<const uint8_t*>(k.data),
                         .v = static_cast<const uint8_t*>(v.data),
                         .position = b.position,
                         .sequence = b.sequence,
                         .pages = b.pages,
                         .q_stride = q.stride / int64_t(sizeof(float)),
                         .y_stride = y.stride / int64_t(sizeof(uint16_t)),
                         .page_bytes = page_positions * k.stride,
                         .page_stride = b.page_stride,
                         .n = int(q.rows),
                         .dim = dim,
                         .group = int(q.columns / k.columns),
                         .kv_heads = int(k.columns / dim),
                         .scale = float(1.4426950408889634 / sqrt(double(dim)))};
    const bool e4m3 = k.format == Format::E4M3;
    if (b.role == Role::prompt) {
        Tile* list = static_cast<Tile*>(scratch);
        return attend_prompt(queue(s), a, e4m3, list, list + most_tiles(a.n, a.group * a.kv_heads) + 1);
    }
    decltype(&attend_generated<64, false>) by_size[][2] = {{attend_generated<64, false>, attend_generated<64, true>},
                                                           {attend_generated<128, false>, attend_generated<128, true>},
                                                           {attend_generated<256, false>, attend_generated<256, true>}};
    by_size[dim <= 64 ? 0 : dim <= 128 ? 1 : 2][e4m3](queue(s), a, b, scratch);
}

}  // namespace alia::cuda
