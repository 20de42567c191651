// Memory of the backends that run on the host.
#pragma once
#include "kernels/ops.h"

namespace alia::host {

void* allocate(Stream*, int64_t bytes, Home);  // 64-byte aligned; fails with out_of_memory
void release(Stream*, void* memory, Home);
int64_t free_bytes(Stream*);
int64_t sample_bytes(int64_t rows, int64_t columns);
void reserve(Stream*, int64_t rows, int64_t columns);
// `draw` in memory of the host, through the table's own `pack` where w is packed.
void draw(Stream*, Tensor w, uint64_t seed, decltype(Kernels::pack) pack);
void end_packing(Stream*);
void copy(Stream*, void* to, const void* from, int64_t bytes);
void run(Stream*, uint64_t key, void (*pass)(void*), void* context);

}  // namespace alia::host
