// Counts the heap. Included by one source of an executable: it replaces operator new.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <malloc.h>
#include <new>

namespace alia {

inline std::atomic<int64_t> heap_now{0}, heap_peak{0};

// The most bytes that `f` held at once.
template <class F>
int64_t heap_of(F&& f) {
    int64_t before = heap_now;
    heap_peak = before;
    f();
    return heap_peak - before;
}

}  // namespace alia

void* operator new(size_t size, const std::nothrow_t&) noexcept {
    void* p = std::malloc(size);
    if (p) alia::heap_now += int64_t(malloc_usable_size(p));
    alia::heap_peak = std::max<int64_t>(alia::heap_peak, alia::heap_now);
    return p;
}
void operator delete(void* p) noexcept {
    if (p) alia::heap_now -= int64_t(malloc_usable_size(p));
    std::free(p);
}
// The other forms by name: sanitizers bring their own of each.
void* operator new(size_t size) {
    if (void* p = operator new(size, std::nothrow)) return p;
    throw std::bad_alloc();
}
void* operator new[](size_t size) { return operator new(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return operator new(size, std::nothrow); }
void operator delete(void* p, size_t) noexcept { operator delete(p); }
void operator delete[](void* p) noexcept { operator delete(p); }
void operator delete[](void* p, size_t) noexcept { operator delete(p); }
