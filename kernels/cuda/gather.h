// Rows from all over the host's memory, collected by several threads.
#pragma once
#include "kernels/cpu/threads.h"

namespace alia::cuda {

// Copies `count` rows of `bytes` each one behind another to `to`, on the threads of `pool`.
void gather(Stream* pool, void* to, const void* const* rows, int64_t count, int64_t bytes);

}  // namespace alia::cuda
