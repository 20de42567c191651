// Memory of the backends that run on the host.
#include "kernels/host.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <vector>

#include "kernels/draw.h"
#include "kernels/error.h"

namespace alia::host {

// Weights and caches are read in long streams: few large pages spare the processor most of its address translation.
// What is left of a large page at the end stays small ones.
void* allocate(Stream*, int64_t bytes, Home) {
    constexpr size_t line = 64, huge_page = 2 << 20;
    const size_t size = (size_t(bytes) / line + 1) * line;
    void* memory = nullptr;
    if (bytes < 0 || posix_memalign(&memory, size < huge_page ? line : huge_page, size) != 0)
        fail(Status::out_of_memory, "the system has no %lld bytes of memory to give", (long long)bytes);
    if (size >= huge_page) madvise(memory, size / huge_page * huge_page, MADV_HUGEPAGE);  // a wish
    return memory;
}

void release(Stream*, void* memory, Home) { std::free(memory); }

int64_t free_bytes(Stream*) { return -1; }
int64_t sample_bytes(int64_t, int64_t) { return 0; }
void reserve(Stream*, int64_t, int64_t) {}
void end_packing(Stream*) {}

void copy(Stream*, void* to, const void* from, int64_t bytes) {
    if (bytes > 0) std::memcpy(to, from, size_t(bytes));
}

void draw(Stream* s, Tensor w, uint64_t seed, decltype(Kernels::pack) pack) {
    const DrawnBlock block = drawn_block(w.format);
    const int64_t bytes = row_bytes(w.format, w.columns), count = std::min<int64_t>(pack_rows, w.rows);
    std::vector<uint8_t> drawn(size_t(count * bytes));
    for (int64_t i = 0; i < count * bytes / block.bytes; ++i)
        draw_block(block, seed, uint64_t(i), &drawn[size_t(i * block.bytes)]);
    std::vector<const void*> rows(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) rows[size_t(i)] = &drawn[size_t(i * bytes)];
    for (int64_t first = 0; first < w.rows; first += count) {
        const int64_t n = std::min(count, w.rows - first);
        if (w.stride == 0)
            pack(s, w, first, n, rows.data());
        else
            for (int64_t i = 0; i < n; ++i) std::memcpy(w.row<uint8_t>(first + i), rows[size_t(i)], size_t(bytes));
    }
}

void run(Stream*, uint64_t, void (*pass)(void*), void* context) { pass(context); }

}  // namespace alia::host
