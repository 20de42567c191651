// Work on the host divided among threads.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <future>
#include <vector>

#include "engine/attempt.h"
#include "kernels/processors.h"
#include "kernels/signals.h"

namespace alia {

// Calls f(i) once for every i in [0, n), on the caller and up to thread_count(threads) - 1 more, and returns when all
// are done. The order and the thread of an i are not fixed. Once a call throws, no more are begun, and what one of them
// threw is thrown here. Threads are started for each use: an f(i) should take milliseconds.
template <class F>
void run_workers(int threads, int64_t n, F&& f) {
    std::atomic<int64_t> next{0};
    auto serve = [&] {
        struct Stop {
            std::atomic<int64_t>& next;
            int64_t n;
            ~Stop() { next.store(n, std::memory_order_relaxed); }
        } stop{next, n};
        for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) f(i);
    };
    std::vector<std::future<void>> others;  // whose destruction waits for them
    const int64_t count = std::min<int64_t>(thread_count(threads), n);
    others.reserve(size_t(std::max<int64_t>(count, 1)));
    {
        const NoSignals inherited;
        // Where the system gives no more of them, those there are do every part.
        attempt([&] {
            for (int64_t t = 1; t < count; ++t) others.push_back(std::async(std::launch::async, serve));
        });
    }
    serve();
    for (auto& other : others) other.get();
}

}  // namespace alia
