// Memory of the backends that run on the host.
#include "kernels/host.h"

#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

#include "kernels/error.h"

namespace alia::host {

// Weights and caches are read in long streams: few large pages spare the processor most of its address translation.
void* allocate(Stream*, int64_t bytes) {
    constexpr size_t line = 64, huge_page = 2 << 20;
    const size_t unit = bytes >= int64_t(huge_page) ? huge_page : line, size = (size_t(bytes) / unit + 1) * unit;
    void* memory = bytes >= 0 ? std::aligned_alloc(unit, size) : nullptr;
    if (!memory) fail(Status::out_of_memory, "the system has no %lld bytes of memory to give", (long long)bytes);
    if (unit == huge_page) madvise(memory, size, MADV_HUGEPAGE);  // a wish: small pages serve as well
    return memory;
}

void release(Stream*, void* memory) { std::free(memory); }

void copy(Stream*, void* to, const void* from, int64_t bytes) {
    if (bytes > 0) std::memcpy(to, from, size_t(bytes));
}

}  // namespace alia::host
