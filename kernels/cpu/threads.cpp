// The pool: workers spin for a while after an operation, since the next one is near, then sleep.
#include "kernels/cpu/threads.h"

#include <atomic>
#include <chrono>
#include <pthread.h>
#include <sched.h>
#include <thread>
#include <vector>

#include "kernels/error.h"
#include "kernels/processors.h"
#include "kernels/signals.h"

namespace alia {
namespace {

constexpr auto spin_time = std::chrono::microseconds(100);

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// Spins until the value leaves `old`, then sleeps for it. What else is to run on this processor meanwhile, maybe the
// very thread that is waited for, need not wait for that.
uint32_t wait_change(const std::atomic<uint32_t>& value, uint32_t old) {
    auto until = std::chrono::steady_clock::now() + spin_time;
    for (int i = 0;; ++i) {
        uint32_t now = value.load(std::memory_order_acquire);
        if (now != old) return now;
        relax();
        if (i % 64 != 63) continue;
        if (std::chrono::steady_clock::now() > until) break;
        sched_yield();
    }
    value.wait(old, std::memory_order_acquire);
    return value.load(std::memory_order_acquire);
}

void keep_to(std::thread& thread, int processor) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    pthread_setaffinity_np(thread.native_handle(), sizeof one, &one);
}

}  // namespace

namespace {
// A thread's numbers of an operation.
struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
};
}  // namespace

struct cpu::Part {
    Share* shares;
    size_t count, self;
    size_t done = 0;  // shares without a number left, from its own on
};

struct Stream {
    std::vector<std::thread> workers;
    std::vector<Share> shares;         // of the caller and the workers
    std::atomic<uint32_t> epoch{0};    // counts operations
    std::atomic<uint32_t> running{0};  // workers that have yet to finish this epoch
    std::atomic<bool> stop{false};
    void (*work)(void*, cpu::Part&) = nullptr;
    void* context = nullptr;

    void take_part(size_t self) {
        cpu::Part part{shares.data(), shares.size(), self};
        work(context, part);
    }
    void serve(size_t self) {
        for (uint32_t seen = 0;;) {
            seen = wait_change(epoch, seen);
            if (stop.load(std::memory_order_relaxed)) return;
            take_part(self);
            if (running.fetch_sub(1, std::memory_order_acq_rel) == 1) running.notify_one();
        }
    }
};

namespace cpu {

Stream* open_pool(int threads, bool pin) {
    if (threads < 0 || threads > 1024)
        fail(Status::invalid_argument, "%d threads: it must be 0 (automatic) to 1024", threads);
    const auto count = size_t(thread_count(threads));
    const std::vector<int> processors = pin ? read_processors().allowed : std::vector<int>();
    const NoSignals inherited;
    auto s = new Stream;
    try {
        s->shares = std::vector<Share>(count);
        s->workers.reserve(count);
        for (size_t i = 1; i < count; ++i) {
            s->workers.emplace_back([s, i] { s->serve(i); });
            if (!processors.empty()) keep_to(s->workers.back(), processors[i % processors.size()]);
        }
    } catch (...) {
        close_pool(s);
        fail(Status::out_of_memory, "the system gives no more threads (%d wanted)", int(count));
    }
    return s;
}

void close_pool(Stream* s) {
    s->stop = true;
    ++s->epoch;
    s->epoch.notify_all();
    for (auto& w : s->workers) w.join();
    delete s;
}

int threads(const Stream* s) { return int(s->workers.size()) + 1; }

int64_t next(Part& p) {
    for (; p.done < p.count; ++p.done) {
        Share& share = p.shares[(p.self + p.done) % p.count];
        if (const int64_t n = share.next.fetch_add(1, std::memory_order_relaxed); n < share.end) return n;
    }
    return -1;
}

void parallel(Stream* s, int64_t n, void (*work)(void*, Part&), void* context) {
    if (s->workers.empty() || n <= 1) {
        Share all;
        all.end = n;
        Part part{&all, 1, 0};
        return work(context, part);
    }
    s->work = work;
    s->context = context;
    const auto count = int64_t(s->shares.size());
    for (int64_t i = 0; i < count; ++i) {
        s->shares[size_t(i)].next.store(n / count * i + n % count * i / count, std::memory_order_relaxed);
        s->shares[size_t(i)].end = n / count * (i + 1) + n % count * (i + 1) / count;
    }
    s->running.store(uint32_t(s->workers.size()), std::memory_order_relaxed);
    s->epoch.fetch_add(1, std::memory_order_release);
    s->epoch.notify_all();
    s->take_part(0);
    for (uint32_t left; (left = s->running.load(std::memory_order_acquire)) != 0;) wait_change(s->running, left);
}

}  // namespace cpu
}  // namespace alia
