// A pool of threads that share the outputs of an operation.
#pragma once
#include <cstdint>
#include <type_traits>

namespace alia {

struct Stream;

namespace cpu {

// Threads as thread_count takes them. Pinned, each thread but the caller's
// keeps to one processor of the mask.
Stream* open_pool(int threads, bool pin);
void close_pool(Stream*);
int threads(const Stream*);
// The part that a thread has in one operation. It first takes its own share of the numbers, the same for every
// operation of as many, so that it meets the memory it has met before; then what others have left.
struct Part;
int64_t next(Part&);  // -1: none is left
// Calls work(context, part) on the caller and on each of the pool's threads, whose parts together have every number of
// [0, n) once, and returns when all are done.
void parallel(Stream*, int64_t n, void (*work)(void* context, Part&), void* context);

}  // namespace cpu

namespace {
// Calls f(each) on every thread; each(g) calls g(i) for the numbers that the thread takes.
template <class F>
void parallel_threads(Stream* s, int64_t n, F&& f) {
    cpu::parallel(
        s, n,
        [](void* context, cpu::Part& part) {
            (*static_cast<std::remove_reference_t<F>*>(context))([&](auto&& g) {
                for (int64_t i; (i = cpu::next(part)) >= 0;) g(i);
            });
        },
        &f);
}
template <class F>
void parallel(Stream* s, int64_t n, F&& f) {
    parallel_threads(s, n, [&](auto&& each) { each(f); });
}
}  // namespace

}  // namespace alia
