// Collecting rows on several threads: reading the file's pages is what takes time.
#include "kernels/cuda/gather.h"

#include <algorithm>
#include <cstring>

namespace alia::cuda {

void gather(Stream* pool, void* to, const void* const* rows, int64_t count, int64_t bytes) {
    constexpr int64_t least = 1 << 20;  // bytes that are worth a turn
    const int64_t parts = std::clamp<int64_t>(count * bytes / least, 1, std::max<int64_t>(count, 1));
    parallel(pool, parts, [&](int64_t part) {
        for (int64_t i = count * part / parts; i < count * (part + 1) / parts; ++i)
            std::memcpy(static_cast<char*>(to) + i * bytes, rows[i], size_t(bytes));
    });
}

}  // namespace alia::cuda
