// Memory of the backends that run on the host.
#pragma once
#include <cstdint>

namespace alia {

struct Stream;

namespace host {

void* allocate(Stream*, int64_t bytes);  // 64-byte aligned; fails with out_of_memory
void release(Stream*, void* memory);
void copy(Stream*, void* to, const void* from, int64_t bytes);

}  // namespace host
}  // namespace alia
