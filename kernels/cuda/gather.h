// Rows from all over the host's memory, collected by several threads.
#pragma once
#include <cstdint>

namespace alia::cuda {

// Copies `count` rows of `bytes` each one behind another to `to`.
void gather(void* to, const void* const* rows, int64_t count, int64_t bytes, int threads);

}  // namespace alia::cuda
