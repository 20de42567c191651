// Rows of logits to candidates, log-sums and a draw: the host sends a record a row and gets a SampleResult a row.
//
// A row is cut into pieces of 8192 logits. A block finds a piece's best 256, sums and draw; one block a row merges
// them. A logit and its token are one 64-bit key, in the order of candidates and never twice the same, so that the best
// 256 are those from a threshold on, found bit by bit with counts alone.
#include <algorithm>
#include <cstring>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/table.h"

namespace alia::cuda {
namespace {

constexpr int threads = 256, held = 32, piece = threads * held;
constexpr int merge_threads = 1024, merge_held = 8;
static_assert(threads >= max_candidates && merge_threads >= max_candidates);

// A record as the device reads it, with offsets into the staged bytes.
struct Record {
    int64_t changes, mask;  // mask: -1 allows all
    int change_count;
    float inverse_temperature;
    uint64_t seed, position;
};

struct Part {
    double sum_1, sum, score;  // of exp(logit - most) at temperature 1 and T; of the draw
    float most;
    int32_t draw;  // -1: none allowed
};

// Logits in the order of unsigned numbers; 0 where the token is out of the question.
__device__ uint32_t order_of(float logit) {
    if (!(logit > -INFINITY)) return 0;
    const uint32_t bits = as_bits(logit + 0.f);  // -0 as 0: they tie
    return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}
__device__ float logit_of(uint32_t order) { return as_float(order & 0x80000000 ? order & 0x7FFFFFFF : ~order); }
__device__ uint64_t key_of(uint32_t order, uint32_t token) { return order ? uint64_t(order) << 32 | ~token : 0; }
__device__ int32_t token_of(uint64_t key) { return int32_t(~uint32_t(key)); }

// The key from which on there are max_candidates, or 1 where there are no more than those. count(k) is the thread's
// number of keys from k on.
template <class Count>
__device__ uint64_t threshold(Count count, int* partial) {
    if (block_sum(count(uint64_t(1)), partial) <= max_candidates) return 1;
    uint64_t least = 0;
    for (int bit = 63; bit >= 0; --bit) {
        const uint64_t k = least | uint64_t(1) << bit;
        const int n = block_sum(count(k), partial);
        if (n >= max_candidates) least = k;
        if (n == max_candidates) break;
    }
    return least;
}

// The sum of v over the threads before this one.
__device__ int sum_before(int v, int* partial) {
    const int lane = int(threadIdx.x) % warp_size, warp = int(threadIdx.x) / warp_size;
    int sum = v;
    for (int step = 1; step < warp_size; step *= 2) {
        const int other = __shfl_up_sync(whole_warp, sum, step);
        if (lane >= step) sum += other;
    }
    if (lane == warp_size - 1) partial[warp] = sum;
    __syncthreads();  // the warps' sums written above, read by all below
    int before = sum - v;
    for (int w = 0; w < warp; ++w) before += partial[w];
    __syncthreads();  // the warps' sums read above, overwritten by the next call
    return before;
}

__device__ void take_better(double& score, int32_t& draw, double other_score, int32_t other) {
    if (other >= 0 && (draw < 0 || other_score > score || (other_score == score && other < draw)))
        score = other_score, draw = other;
}
__device__ void warp_best(double& score, int32_t& draw) {
    for (int step = warp_size / 2; step > 0; step /= 2) {
        const double other_score = __shfl_xor_sync(whole_warp, score, step);
        const int32_t other = __shfl_xor_sync(whole_warp, draw, step);
        take_better(score, draw, other_score, other);
    }
}

// Gumbel noise within 1e-5: -log(u) is taken of the distance to the nearer end of (0, 1), which a float can hold.
__device__ float rough_noise(double u) { return -logf(u < 0.5 ? -logf(float(u)) : -log1pf(-float(1 - u))); }

__global__ void __launch_bounds__(threads)
    change_kernel(float* logits, int64_t stride, const uint8_t* staged, const Record* records) {
    grid_wait();
    grid_launch_next();
    const Record& record = records[blockIdx.x];
    const auto* changes = reinterpret_cast<const LogitChange*>(staged + record.changes);
    for (int i = int(threadIdx.x); i < record.change_count; i += threads) {
        float& logit = logits[blockIdx.x * stride + changes[i].token];
        logit = __fadd_rn(logit > 0 ? logit / changes[i].divide : logit * changes[i].divide, changes[i].add);
    }
}

// Mask and NaN become minus infinity in place; the thread's keys.
__device__ void read_logits(uint32_t (&order)[held], float* logits, int first, int columns, const uint32_t* mask) {
#pragma unroll
    for (int i = 0; i < held; ++i) {
        const int token = first + i * threads + int(threadIdx.x);
        order[i] = 0;
        if (token >= columns) continue;
        float logit = logits[token];
        if (!(logit >= -INFINITY) || (mask && !(mask[token / 32] >> token % 32 & 1))) logits[token] = logit = -INFINITY;
        order[i] = order_of(logit);
    }
}

// Sums in double of exponentials in float: of the thread's logits, then over the block.
__device__ double sum_of(const uint32_t (&order)[held], float most, float by, double* partial) {
    double sum = 0;
#pragma unroll
    for (int i = 0; i < held; ++i)
        if (order[i]) sum += double(expf((logit_of(order[i]) - most) * by));
    return block_sum(sum, partial);
}

// The draw of a piece: a rough score finds the few tokens whose exact score, in double as in the reference, can win.
__device__ void draw_of(Part& part, const uint32_t (&order)[held], int first, const Record& record, float* partial) {
    const float by = record.inverse_temperature;
    float rough[held], most = -INFINITY;
#pragma unroll
    for (int i = 0; i < held; ++i) {
        const int token = first + i * threads + int(threadIdx.x);
        rough[i] = -INFINITY;
        if (order[i])
            rough[i] = logit_of(order[i]) * by + rough_noise(uniform(record.seed, record.position, uint64_t(token)));
        most = fmaxf(most, rough[i]);
    }
    most = block_max(most, partial);
    const float least = most - (1e-4f + 1e-6f * fabsf(most));
    uint32_t near = 0;  // bit i: logit i of the thread can win
#pragma unroll
    for (int i = 0; i < held; ++i) near |= uint32_t(order[i] && !(rough[i] < least)) << i;
    double score = 0;
    int32_t draw = -1;
    for (; near; near &= near - 1) {
        const int i = __ffs(int(near)) - 1, token = first + i * threads + int(threadIdx.x);
        uint32_t mine = 0;
#pragma unroll
        for (int j = 0; j < held; ++j) mine = j == i ? order[j] : mine;
        const double noise = -log(-log(uniform(record.seed, record.position, uint64_t(token))));
        take_better(score, draw, double(logit_of(mine)) * double(by) + noise, token);
    }
    part.score = score, part.draw = draw;
}

struct PieceShared {
    double sums[threads / warp_size], scores[threads / warp_size];
    float floats[threads / warp_size];
    int counts[threads / warp_size], draws[threads / warp_size];
};

// A block a piece of a row: its best keys, in no order and with zeros after them, and its part.
__global__ void __launch_bounds__(threads)
    piece_kernel(float* logits, int64_t stride, int columns, const uint8_t* staged, const Record* records, Part* parts,
                 uint64_t* keys) {
    grid_wait();
    grid_launch_next();
    auto& s = shared<PieceShared>();
    const Record& record = records[blockIdx.y];
    const int first = int(blockIdx.x) * piece;
    uint32_t order[held];
    read_logits(order, logits + blockIdx.y * stride, first, columns,
                record.mask >= 0 ? reinterpret_cast<const uint32_t*>(staged + record.mask) : nullptr);
    auto token = [&](int i) { return uint32_t(first + i * threads + int(threadIdx.x)); };

    uint32_t best = 0;
    for (uint32_t k : order) best = k > best ? k : best;
    best = block_max(best, reinterpret_cast<uint32_t*>(s.counts));
    Part part = {.sum_1 = 0, .sum = 0, .score = 0, .most = best ? logit_of(best) : -INFINITY, .draw = -1};
    part.sum_1 = part.sum = sum_of(order, part.most, 1, s.sums);
    const float by = record.inverse_temperature;
    if (by > 0) {
        if (by != 1) part.sum = sum_of(order, part.most, by, s.sums);
        draw_of(part, order, first, record, s.floats);
        warp_best(part.score, part.draw);
        if (threadIdx.x % warp_size == 0)
            s.scores[threadIdx.x / warp_size] = part.score, s.draws[threadIdx.x / warp_size] = part.draw;
        __syncthreads();  // the warps' draws written above, compared below
        for (int w = 0; w < threads / warp_size; ++w) take_better(part.score, part.draw, s.scores[w], s.draws[w]);
    }
    const int64_t at = int64_t(blockIdx.y) * gridDim.x + blockIdx.x;
    if (threadIdx.x == 0) parts[at] = part;

    auto count = [&](uint64_t least) {
        int n = 0;
#pragma unroll
        for (int i = 0; i < held; ++i) n += key_of(order[i], token(i)) >= least;
        return n;
    };
    const uint64_t least = threshold(count, s.counts);
    int mine = count(least), next = sum_before(mine, s.counts);
    uint64_t* out = keys + at * max_candidates;
#pragma unroll
    for (int i = 0; i < held; ++i)
        if (const uint64_t key = key_of(order[i], token(i)); key >= least) out[next++] = key;
    const int found = block_sum(mine, s.counts);
    if (int(threadIdx.x) >= found && threadIdx.x < max_candidates) out[threadIdx.x] = 0;
}

struct MergeShared {
    uint64_t keys[max_candidates];
    int counts[merge_threads / warp_size];
};

// One warp: the log-sums and the draw of a row's parts.
__device__ void merge_parts(SampleResult& result, const Part* parts, int pieces, float by) {
    const int lane = int(threadIdx.x) % warp_size;
    float most = -INFINITY;
    for (int i = lane; i < pieces; i += warp_size) most = fmaxf(most, parts[i].most);
    most = warp_max(most);
    double sum_1 = 0, sum = 0, score = 0;
    int32_t draw = -1;
    for (int i = lane; i < pieces; i += warp_size) {
        if (parts[i].most == -INFINITY) continue;
        const double apart = double(parts[i].most) - double(most);
        sum_1 += parts[i].sum_1 * exp(apart);
        sum += parts[i].sum * exp(by > 0 ? apart * double(by) : apart);
        take_better(score, draw, parts[i].score, parts[i].draw);
    }
    sum_1 = warp_sum(sum_1), sum = warp_sum(sum);
    warp_best(score, draw);
    if (lane != 0) return;
    const bool any = most > -INFINITY;
    result.log_sum_1 = any ? log(sum_1) + double(most) : -INFINITY;
    result.log_sum = !any ? -INFINITY : by > 0 ? log(sum) + double(most) * double(by) : result.log_sum_1;
    if (by > 0 || !any) result.draw = draw;
}

// A block a row. Keys in sorted order by counting, for each, those above it.
__global__ void __launch_bounds__(merge_threads)
    merge_kernel(SampleResult* results, const Record* records, const Part* parts, const uint64_t* keys, int pieces) {
    grid_wait();
    grid_launch_next();
    auto& s = shared<MergeShared>();
    SampleResult& result = results[blockIdx.x];
    const int thread = int(threadIdx.x), total = pieces * max_candidates;
    const float by = records[blockIdx.x].inverse_temperature;
    const uint64_t* all = keys + int64_t(blockIdx.x) * total;
    if (thread < warp_size) merge_parts(result, parts + int64_t(blockIdx.x) * pieces, pieces, by);

    uint64_t first[merge_held];
#pragma unroll
    for (int i = 0; i < merge_held; ++i) {
        const int at = i * merge_threads + thread;
        first[i] = at < total ? all[at] : 0;
    }
    auto for_each = [&](auto&& f) {
#pragma unroll
        for (int i = 0; i < merge_held; ++i) f(first[i]);
        for (int at = merge_held * merge_threads + thread; at < total; at += merge_threads) f(all[at]);
    };
    auto count = [&](uint64_t least) {
        int n = 0;
        for_each([&](uint64_t key) { n += key >= least; });
        return n;
    };
    const uint64_t least = threshold(count, s.counts);
    const int mine = count(least), found = block_sum(mine, s.counts);
    int next = sum_before(mine, s.counts);
    for_each([&](uint64_t key) {
        if (key >= least) s.keys[next++] = key;
    });
    __syncthreads();  // the best keys written above, compared below
    if (thread < max_candidates) {
        int rank = thread;
        Candidate candidate = {0, 0};
        if (thread < found) {
            const uint64_t key = s.keys[thread];
            rank = 0;
            for (int i = 0; i < found; ++i) rank += s.keys[i] > key;
            candidate = {token_of(key), logit_of(uint32_t(key >> 32))};
            if (rank == 0 && !(by > 0)) result.draw = candidate.token;
        }
        result.candidates[rank] = candidate;
    }
    if (thread == 0) result.count = found;
}

constexpr int64_t align(int64_t bytes) { return (bytes + 63) / 64 * 64; }
int64_t pieces_of(int64_t columns) { return (columns + piece - 1) / piece; }
int64_t part_bytes(int64_t rows, int64_t columns) { return align(rows * pieces_of(columns) * int64_t(sizeof(Part))); }
int64_t key_bytes(int64_t rows, int64_t columns) {
    return align(rows * pieces_of(columns) * max_candidates * int64_t(sizeof(uint64_t)));
}
int64_t result_bytes(int64_t rows) { return align(rows * int64_t(sizeof(SampleResult))); }
int64_t mask_bytes(int64_t columns) { return align((columns + 31) / 32 * 4); }

int64_t record_bytes(int64_t rows) { return align(rows * int64_t(sizeof(Record))); }
int64_t change_bytes(int64_t count) { return align(count * int64_t(sizeof(LogitChange))); }
// Records, masks, and changes of as many logits as a row has: where rows have more together, they go in turns.
int64_t staged_bytes(int64_t rows, int64_t columns) {
    return record_bytes(rows) + rows * (mask_bytes(columns) + align(1)) + change_bytes(columns);
}

// Where a call fails, what it has queued ends before the next one uses the room.
struct Rest {
    ~Rest() {
        if (!ended) cudaStreamSynchronize(q.stream);
    }
    Queue& q;
    bool ended = false;
};

// Rows whose changes together are no more than `columns`.
void sample_rows(Queue& q, SampleResult* results, Tensor logits, const SampleRow* rows) {
    const int64_t n = logits.rows, columns = logits.columns;
    int64_t staged = record_bytes(n), changes = 0;
    for (int64_t i = 0; i < n; ++i) {
        changes += rows[i].change_count;
        staged += change_bytes(rows[i].change_count);
        if (rows[i].mask) staged += mask_bytes(columns);
    }
    const int64_t parts_at = staged, keys_at = parts_at + part_bytes(n, columns);
    const int64_t results_at = keys_at + key_bytes(n, columns);

    Rest rest{q};
    auto* host = static_cast<uint8_t*>(q.sample_room.host);
    auto* device = static_cast<uint8_t*>(q.sample_room.device);
    int64_t at = record_bytes(n);
    auto stage = [&](const void* from, int64_t bytes) {
        std::memcpy(host + at, from, size_t(bytes));
        const int64_t here = at;
        at += align(bytes);
        return here;
    };
    for (int64_t i = 0; i < n; ++i) {
        Record record = {.changes = 0,
                         .mask = -1,
                         .change_count = rows[i].change_count,
                         .inverse_temperature = rows[i].inverse_temperature,
                         .seed = rows[i].seed,
                         .position = rows[i].position};
        if (record.change_count > 0)
            record.changes = stage(rows[i].changes, record.change_count * int64_t(sizeof(LogitChange)));
        if (rows[i].mask) record.mask = stage(rows[i].mask, (columns + 31) / 32 * 4);
        reinterpret_cast<Record*>(host)[i] = record;
    }
    check(q, cudaMemcpyAsync(device, host, size_t(staged), cudaMemcpyHostToDevice, q.stream), "cudaMemcpyAsync");

    const auto* records = reinterpret_cast<const Record*>(device);
    auto* numbers = static_cast<float*>(logits.data);
    const int64_t stride = logits.stride / int64_t(sizeof(float));
    auto* parts = reinterpret_cast<Part*>(device + parts_at);
    auto* keys = reinterpret_cast<uint64_t*>(device + keys_at);
    auto* out = reinterpret_cast<SampleResult*>(device + results_at);
    const unsigned pieces = unsigned(pieces_of(columns));
    if (changes > 0)
        launch(q, change_kernel, {dim3(unsigned(n)), threads}, numbers, stride, static_cast<const uint8_t*>(device),
               records);
    launch(q, piece_kernel, {dim3(pieces, unsigned(n)), threads, int(sizeof(PieceShared))}, numbers, stride,
           int(columns), static_cast<const uint8_t*>(device), records, parts, keys);
    launch(q, merge_kernel, {dim3(unsigned(n)), merge_threads, int(sizeof(MergeShared))}, out, records,
           static_cast<const Part*>(parts), static_cast<const uint64_t*>(keys), int(pieces));
    check(q, cudaMemcpyAsync(host, out, size_t(n) * sizeof(SampleResult), cudaMemcpyDeviceToHost, q.stream),
          "cudaMemcpyAsync");
    check(q, cudaStreamSynchronize(q.stream), "cudaStreamSynchronize");
    rest.ended = true;
    std::memcpy(results, host, size_t(n) * sizeof(SampleResult));
}

void take_room(Queue& q, int64_t rows, int64_t columns) {
    grow(q, q.sample_room, std::max(staged_bytes(rows, columns), result_bytes(rows)), sample_bytes(rows, columns));
}

}  // namespace

int64_t sample_bytes(int64_t rows, int64_t columns) {
    return staged_bytes(rows, columns) + part_bytes(rows, columns) + key_bytes(rows, columns) + result_bytes(rows);
}

void reserve(Stream* s, int64_t rows, int64_t columns) {
    Queue& q = queue(s);
    const Current current(q);
    take_room(q, rows, columns);
}

void sample(Stream* s, SampleResult* results, Tensor logits, const SampleRow* rows) {
    Queue& q = queue(s);
    const Current current(q);
    take_room(q, logits.rows, logits.columns);
    for (int64_t first = 0, end; first < logits.rows; first = end) {
        int64_t changes = rows[first].change_count;
        for (end = first + 1; end < logits.rows && changes + rows[end].change_count <= logits.columns; ++end)
            changes += rows[end].change_count;
        Tensor some = logits;
        some.data = logits.row(first);
        some.rows = end - first;
        sample_rows(q, results + first, some, rows + first);
    }
}

}  // namespace alia::cuda
