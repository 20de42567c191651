// Threads that share work: every part once, and what a part throws.
#include "engine/workers.h"

#include "kernels/error.h"
#include "tests/catch.h"

using namespace alia;

TEST_CASE("every part is done once by any number of threads") {
    for (int threads : {0, 1, 2, 7})
        for (int64_t n : {0, 1, 2, 5, 1000}) {
            std::vector<std::atomic<int>> done(static_cast<size_t>(n));
            run_workers(threads, n, [&](int64_t i) { ++done[size_t(i)]; });
            CHECK(std::all_of(done.begin(), done.end(), [](const std::atomic<int>& d) { return d == 1; }));
        }
}

TEST_CASE("what a part throws ends the work and arrives, from any thread") {
    for (int threads : {1, 2, 7})
        for (int64_t bad : {0, 1, 500, 999}) {
            std::atomic<int64_t> done{0};
            try {
                run_workers(threads, 1000, [&](int64_t i) {
                    if (i == bad) fail(Status::malformed, "part %lld", (long long)i);
                    std::this_thread::yield();
                    ++done;
                });
                FAIL("nothing was thrown");
            } catch (const Error& e) {
                CHECK(e.status == Status::malformed);
                CHECK(done <= 999);
                if (threads == 1) CHECK(done == bad);
            }
        }
}

TEST_CASE("as many threads as this process may use") {
    CHECK(worker_count(3) == 3);
    cpu_set_t before, one;
    REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
    CHECK(worker_count(0) == CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (size_t i = 0; CPU_COUNT(&one) == 0; ++i)
        if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK(worker_count(0) == 1);
    REQUIRE(sched_setaffinity(0, sizeof before, &before) == 0);
}
