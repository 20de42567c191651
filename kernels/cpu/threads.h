// A pool of threads that share the outputs of an operation.
#pragma once
#include <cstdint>

namespace alia {

struct Stream;

namespace cpu {

// Threads as thread_count takes them. Pinned, each thread but the caller's
// keeps to one processor of the mask.
Stream* open_pool(int threads, bool pin);
void close_pool(Stream*);
int threads(const Stream*);
// Calls work(context, i) once for every i in [0, n), on the caller and the pool's threads, and returns when all are
// done. The order and the thread of an i are not fixed; a thread that is not late takes the same part of n every time.
void parallel(Stream*, int64_t n, void (*work)(void* context, int64_t i), void* context);

}  // namespace cpu

namespace {
template <class F>
void parallel(Stream* s, int64_t n, F&& f) {
    cpu::parallel(
        s, n, [](void* context, int64_t i) { (*static_cast<F*>(context))(i); }, &f);
}
}  // namespace

}  // namespace alia
