// The operations of the CUDA table, each with its meaning in kernels/ops.h, by the file that defines them.
#pragma once
#include "kernels/ops.h"

namespace alia::cuda {

struct Queue;

// device.cu
Stream* open(const DeviceOptions&);
void close(Stream*);
int64_t free_bytes(Stream*);
void* allocate(Stream*, int64_t bytes, Home);
void release(Stream*, void*, Home);
void write(Stream*, void* to, const void* host, int64_t bytes);
void read(Stream*, void* host, const void* from, int64_t bytes);
// replay.cu
void run(Stream*, uint64_t key, void (*pass)(void*), void* context);
void forget_replays(Queue&);  // never fails

// upload.cu
constexpr int64_t slot_bytes = 16 << 20, staging_bytes = 4 * slot_bytes;  // of a queue while it packs
void pack(Stream*, Tensor w, int64_t first, int64_t count, const void* const* rows);
void end_packing(Stream*);
void draw(Stream*, Tensor w, uint64_t seed);

// pack.cu
int64_t packed_bytes(Format, int64_t rows, int64_t columns);
// Lays rows [first, first + count) of w out; `raw` is device memory, 64-byte aligned, with those rows one behind
// another in the format's own layout, and may be overwritten by work that is queued later.
void repack(Queue&, Tensor w, int64_t first, int64_t count, const void* raw);
// For kernels that read weights before they wait for the kernel in front of them: where that one lays weights out, puts
// one between that has waited. Weights from another queue are there when that queue has been waited for.
void settle(Queue&);
// Rows of w as `draw` has them, in the format's own layout; whole pack_rows of them or all.
void draw_rows(Queue&, Tensor w, uint64_t seed, int64_t count, void* raw);
void embed_packed(Queue&, Tensor y, Tensor w, const int32_t* token);  // w.stride is 0

// embed.cu: packed tables, and those in host memory in the format's own layout
void embed(Stream*, Tensor y, Tensor w, const int32_t* token);

// linear.cu: by role, format and capability
void linear(Stream*, Role, Tensor y, Tensor x, Tensor w, void* scratch);
void linear_glu(Stream*, Role, Tensor y, Tensor x, Tensor w, Tensor both, void* scratch);
int64_t scratch_bytes(Format, int64_t rows, int64_t columns);

// generated.cu and prompt.cu: w is packed, x in BF16, y in F32; of the fused form y is in BF16.
void linear_generated(Queue&, Tensor y, Tensor x, Tensor w);
void linear_glu_generated(Queue&, Tensor y, Tensor x, Tensor w, Tensor both);
void linear_prompt(Queue&, Tensor y, Tensor x, Tensor w);
void linear_glu_prompt(Queue&, Tensor y, Tensor x, Tensor w, Tensor both);

// prompt_e4m3.cu: the same with rows of x rounded to E4M3 (ops.h), where the code is for 8.9 or newer; w is in E4M3.
int64_t e4m3_bytes(int64_t rows, int64_t columns);  // of `scratch`
void linear_e4m3(Queue&, Tensor y, Tensor x, Tensor w, void* scratch);
void linear_glu_e4m3(Queue&, Tensor y, Tensor x, Tensor w, Tensor both, void* scratch);

// cache.cu
bool caches(Format, int64_t head_dim);
void rotate_store(Stream*, Tensor q, Tensor k, Tensor v, Tensor angles, Tensor k_cache, Tensor v_cache,
                  const int32_t* slot);
// attention.cu
void attend(Stream*, Tensor y, Tensor q, Tensor k_cache, Tensor v_cache, const Batch&, int head_dim, void* scratch);
int64_t attend_bytes(const Batch&, int64_t q_columns, int head_dim);

// pointwise.cu
void norm(Stream*, Tensor y, Tensor x, const float* w, float eps);
void add_norm(Stream*, Tensor y, Tensor x, Tensor a, const float* w, float eps);
void angles(Stream*, Tensor y, const int32_t* position, Rope);
void glu(Stream*, Tensor y, Tensor x);
void rows(Stream*, Tensor y, Tensor x, const int32_t* index);
void columns(Stream*, Tensor y, Tensor x, const int32_t* index);

// sample.cu
int64_t sample_bytes(int64_t rows, int64_t columns);
void reserve(Stream*, int64_t rows, int64_t columns);
void sample(Stream*, SampleResult* results, Tensor logits, const SampleRow*);

// roofs.cu
double read_rate(Stream*, const void* from, int64_t bytes);
Roofs measure(Stream*);

}  // namespace alia::cuda
