// The operations of the forward pass: one table of function pointers is the whole contract of a backend.
//
// Every pointer is to the backend's own memory unless its comment says host. Shapes are checked by the caller
// (engine/expr.h); kernels never fail. Sums run in an order fixed by the weights' shape and the positions alone, so a
// row's bits depend neither on the other rows of a call nor on the number of threads.
#pragma once
#include "kernels/tensor.h"

namespace alia {

// Prompt tokens and generated tokens may take different kernels, chosen by this and never by the number of rows.
enum class Role : uint8_t { generated, prompt };

constexpr int pack_rows = 64;       // no backend interleaves more rows than these
constexpr int page_positions = 64;  // positions in a page of the KV cache

// n new tokens of several sequences side by side. All arrays are on the device.
struct Batch {
    Role role = Role::prompt;
    int n = 0;                          // tokens
    int outputs = 0;                    // rows that want logits
    int page_stride = 0;                // pages a sequence's row of `pages` can hold
    const int32_t* token = nullptr;     // [n]
    const int32_t* position = nullptr;  // [n] in its sequence, from 0
    const int32_t* slot = nullptr;      // [n] row of the cache that takes its K and V: page * page_positions + offset
    const int32_t* sequence = nullptr;  // [n] row of `pages`
    const int32_t* pages = nullptr;     // [sequences][page_stride] page numbers, in order of position
    const int32_t* output = nullptr;    // [outputs] indices into the n tokens
};

// Rotary embedding of a head's two halves: pair i is columns i and i + head_dim / 2.
struct Rope {
    const double* frequency = nullptr;  // [head_dim / 2] on the device, radians a position
    int pairs = 0;                      // head_dim / 2
    float scale = 1;                    // of cosine and sine (YaRN's attention factor)
    // Dynamic scaling: from position `original` on, frequency i is divided by
    // (factor (position + 1) / original - factor + 1)^(2 i / (head_dim - 2)). Off where factor is 0.
    double factor = 0;
    int original = 0;
};

// What a row of logits is turned into before tokens are drawn from it.
struct LogitChange {
    int32_t token;
    float divide;  // a positive logit is divided by it, a negative one multiplied (repetition penalty); 1: neither
    float add;     // then added
};
struct SampleRow {
    const LogitChange* changes = nullptr;  // host; no token twice
    int change_count = 0;
    const uint32_t* mask = nullptr;  // host; bit t of word t / 32 allows token t; null allows all
    float inverse_temperature = 1;   // for `log_sum` and `draw`; 0 or less is greedy: draw is the best candidate
    uint64_t seed = 0;
    uint64_t position = 0;
};

constexpr int max_candidates = 256;
struct Candidate {
    int32_t token;
    float logit;  // changed, at temperature 1
};
// NaN logits count as minus infinity. Ties go to the smaller token.
struct SampleResult {
    int count;                             // min(max_candidates, allowed tokens above minus infinity)
    Candidate candidates[max_candidates];  // from the highest logit down
    double log_sum_1;                      // log of the sum of exp(logit), changed and masked, temperature 1
    double log_sum;                        // the same of logit * inverse_temperature
    int32_t draw;                          // argmax of logit * inverse_temperature + gumbel(seed, position, token);
                                           // -1 where no token is allowed
};

struct Stream;  // a backend's queue of work and what it needs to run it

// Where memory lies: on the device, or on the host where the device's `embed` and `write` reach it.
enum class Home : uint8_t { device, host };

struct DeviceOptions {
    int ordinal = 0;   // which of a backend's devices
    int threads = 0;   // CPU backends: 0 takes what the machine and the control group allow
    bool pin = false;  // each of the device's own threads keeps to one processor
};

// What the machine reaches in loops that do nothing else, with all of the stream's threads. 0: no such instruction.
struct Roofs {
    double read = 0, copy = 0;  // bytes a second of memory far larger than the caches; copy counts each byte once
    double upload = 0;          // likewise, of pinned host memory to a device that has memory of its own
    double f32 = 0, int8 = 0, bf16 = 0, e4m3 = 0;  // multiply-adds a second
};

struct Kernels {
    const char* name;
    Format cache_format;    // what K and V are best kept in
    Format operand_format;  // of what `linear` and `linear_glu` read and `norm`, `add_norm`, `attend` and `glu` write
    bool host_embeddings;   // rows of an embedding table are best left in host memory, in the format's own layout
    bool replays;  // `run` repeats passes of one key without a call: batches are worth rounding up to few sizes
    int64_t staging_bytes;  // of Home::device that `pack` and `draw` take by themselves, until `end_packing`

    Stream* (*open)(const DeviceOptions&);
    void (*close)(Stream*);
    int64_t (*free_bytes)(Stream*);  // that Home::device has; -1 where it is the host's memory
    // Of Home::device that a stream takes by itself for calls of `sample` with at most so many rows and columns, and
    // taking it: from then on `sample`, `write` and `read` take no memory. Fails with out_of_memory.
    int64_t (*sample_bytes)(int64_t rows, int64_t columns);
    void (*reserve)(Stream*, int64_t rows, int64_t columns);
    void* (*allocate)(Stream*, int64_t bytes, Home);  // 64-byte aligned; fails with out_of_memory
    void (*release)(Stream*, void*, Home);
    void (*write)(Stream*, void* to, const void* host, int64_t bytes);
    void (*read)(Stream*, void* host, const void* from, int64_t bytes);  // after all earlier work
    // Calls pass(context), which only queues operations. Calls with one key other than 0 must queue the same operations
    // with the same arguments: a backend may then repeat them without a call.
    void (*run)(Stream*, uint64_t key, void (*pass)(void*), void* context);

    // Weights: `pack` lays rows [first, first + count) of w out as this backend's linear and embed want them; `rows`
    // [count] are host pointers, each to a row in the format's own layout. w.data has packed_bytes(...) bytes; calls
    // come in order of `first`, from 0: a multiple of pack_rows, and so is `count` except where w ends.
    int64_t (*packed_bytes)(Format, int64_t rows, int64_t columns);
    void (*pack)(Stream*, Tensor w, int64_t first, int64_t count, const void* const* rows);
    // Returns when all earlier work is done, so that other streams may read what it wrote, and gives back what `pack`
    // and `draw` took by themselves.
    void (*end_packing)(Stream*);

    void (*embed)(Stream*, Tensor y, Tensor w, const int32_t* token);  // y[i] = w[token[i]]; w packed or in host memory
    void (*norm)(Stream*, Tensor y, Tensor x, const float* w, float eps);  // y = x / sqrt(mean(x^2) + eps) * w, a row
    void (*add_norm)(Stream*, Tensor y, Tensor x, Tensor a, const float* w, float eps);  // x += a, then y = norm(x)
    // y = x w^T; w packed. `scratch` has scratch_bytes(w.format, x.rows, x.columns) bytes, 64-byte aligned. Where
    // w.e4m3_inputs, rows of x may be rounded to E4M3 first, as quantised checkpoints state it of activations: in f32,
    // d = max |x| / 448 of the row and q = to_e4m3(x / d); then y = d (q w^T).
    void (*linear)(Stream*, Role, Tensor y, Tensor x, Tensor w, void* scratch);
    int64_t (*scratch_bytes)(Format, int64_t rows, int64_t columns);
    // y = silu(x g^T) * (x u^T), where w is the rows of g and then those of u. `both` [x.rows][w.rows] is room for the
    // two products, where the table does not keep them in registers.
    void (*linear_glu)(Stream*, Role, Tensor y, Tensor x, Tensor w, Tensor both, void* scratch);
    void (*glu)(Stream*, Tensor y, Tensor x);                          // y = silu(x[:, :c]) * x[:, c:], c = y.columns
    void (*angles)(Stream*, Tensor y, const int32_t* position, Rope);  // y[i] = scale (cos.., sin..), [n][2 pairs]
    // Every head of q and k is turned by its row's angles (k may stay as it is); then row slot[i] of k_cache = k[i], of
    // v_cache = v[i]. Caches are [slots][kv heads * head_dim] in a format that `caches` allows; how the page_positions
    // rows of a page lie in the page's bytes is the table's own.
    void (*rotate_store)(Stream*, Tensor q, Tensor k, Tensor v, Tensor angles, Tensor k_cache, Tensor v_cache,
                         const int32_t* slot);
    bool (*caches)(Format, int64_t head_dim);
    // y = softmax(q k^T / sqrt(head_dim)) v over positions 0..position of the caches; query head h reads KV head
    // h / (query heads / KV heads). `scratch` has attend_bytes(batch, q.columns, head_dim) bytes, 64-byte aligned.
    void (*attend)(Stream*, Tensor y, Tensor q, Tensor k_cache, Tensor v_cache, const Batch&, int head_dim,
                   void* scratch);
    int64_t (*attend_bytes)(const Batch&, int64_t q_columns, int head_dim);  // of n, page_stride and role alone
    void (*rows)(Stream*, Tensor y, Tensor x, const int32_t* index);         // y[i] = x[index[i]]
    void (*columns)(Stream*, Tensor y, Tensor x, const int32_t* index);      // y[i][j] = x[i][index[j]]
    void (*sample)(Stream*, SampleResult* results, Tensor logits, const SampleRow*);  // host results, a record a row
    // Reads memory of the device, in a loop that does nothing else: bytes a second.
    double (*read_rate)(Stream*, const void* from, int64_t bytes);
    // Takes about a second, and 256 MiB or, of a card, 1 GiB and 64 MiB of the host. Fails with out_of_memory.
    Roofs (*measure)(Stream*);
    // Small random weights instead: each pack_rows rows are those that follow from `seed` (draw.h), row by row and
    // block by block. w is packed or, with a stride, in memory that the host reaches.
    void (*draw)(Stream*, Tensor w, uint64_t seed);
};

extern const Kernels ref_kernels, cpu_base;
extern const Kernels cpu_avx2, cpu_avx512, cpu_avx512bf16;  // where the library is built for x86-64

// Gumbel noise of the draw: -log(-log(u)), u in (0, 1) from a counter-based generator (splitmix64's finaliser over
// seed, position and token), so that a draw depends on nothing else.
ALIA_HD static inline uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
ALIA_HD static inline double uniform(uint64_t seed, uint64_t position, uint64_t token) {
    uint64_t bits = mix(mix(mix(seed + 0x9E3779B97F4A7C15u) + position) + token);
    return (double(bits >> 12) + 0.5) * 0x1p-52;
}

}  // namespace alia
