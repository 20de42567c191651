// Memory of the backends that run on the host.
#include "kernels/host.h"

#include <cstdlib>
#include <cstring>

#include "kernels/error.h"

namespace alia::host {

void* allocate(Stream*, int64_t bytes) {
    void* memory = bytes >= 0 ? std::aligned_alloc(64, size_t(bytes + 63) / 64 * 64 + 64) : nullptr;
    if (!memory) fail(Status::out_of_memory, "the system has no %lld bytes of memory to give", (long long)bytes);
    return memory;
}

void release(Stream*, void* memory) { std::free(memory); }

void copy(Stream*, void* to, const void* from, int64_t bytes) {
    if (bytes > 0) std::memcpy(to, from, size_t(bytes));
}

}  // namespace alia::host
