// Collecting rows on several threads: reading the file's pages is what takes time.
#include "kernels/cuda/gather.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include "kernels/signals.h"

namespace alia::cuda {
namespace {

void copy_rows(char* to, const void* const* rows, int64_t first, int64_t last, int64_t bytes) {
    for (int64_t i = first; i < last; ++i) std::memcpy(to + i * bytes, rows[i], size_t(bytes));
}

}  // namespace

void gather(void* to, const void* const* rows, int64_t count, int64_t bytes, int threads) {
    constexpr int64_t least = 1 << 20;  // bytes that are worth a thread
    const int64_t parts = std::clamp<int64_t>(count * bytes / least, 1, std::max(threads, 1));
    auto part = [&](int64_t i) {
        copy_rows(static_cast<char*>(to), rows, count * i / parts, count * (i + 1) / parts, bytes);
    };
    std::vector<std::jthread> others;
    others.reserve(size_t(parts - 1));
    {
        const NoSignals inherited;
        for (int64_t i = 1; i < parts; ++i) others.emplace_back(part, i);
    }
    part(0);
}

}  // namespace alia::cuda
