// Threads that share work: every part once, and what a part throws.
#include "engine/workers.h"

#include <pthread.h>
#include <sched.h>

#include "kernels/cpu/threads.h"
#include "kernels/error.h"
#include "tests/catch.h"
#include "tests/files.h"

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

TEST_CASE("where the system gives no more threads, those there are do every part") {
    pthread_attr_t before, huge;
    REQUIRE(pthread_getattr_default_np(&before) == 0);
    REQUIRE(pthread_attr_init(&huge) == 0);
    REQUIRE(pthread_attr_setstacksize(&huge, size_t(1) << 46) == 0);
    REQUIRE(pthread_setattr_default_np(&huge) == 0);
    std::atomic<int64_t> done{0};
    std::string failure;
    try {
        run_workers(4, 1000, [&](int64_t) { ++done; });
    } catch (const std::exception& e) {
        failure = e.what();
    }
    REQUIRE(pthread_setattr_default_np(&before) == 0);
    CHECK(failure == "");
    CHECK(done == 1000);
}

TEST_CASE("as many threads as the affinity mask allows") {
    CHECK(thread_count(3) == 3);
    cpu_set_t before, one;
    REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
    const Folder unlimited;
    CHECK(read_processors(unlimited.path).usable() == CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (size_t i = 0; CPU_COUNT(&one) == 0; ++i)
        if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK(thread_count(0) == 1);
    Stream* pool = cpu::open_pool(0, false);
    CHECK(cpu::threads(pool) == 1);
    cpu::close_pool(pool);
    REQUIRE(sched_setaffinity(0, sizeof before, &before) == 0);
}

TEST_CASE("as many threads as the control group's quota is worth, rounded up") {
    CHECK(Processors{.online = 8, .allowed = {}, .quota = 0}.usable() == 8);
    CHECK(Processors{.online = 8, .allowed = {1, 3, 5}, .quota = 0}.usable() == 3);
    CHECK(Processors{.online = 8, .allowed = {1, 3, 5}, .quota = 1.5}.usable() == 2);
    CHECK(Processors{.online = 8, .allowed = {1, 3, 5}, .quota = 2}.usable() == 2);
    CHECK(Processors{.online = 8, .allowed = {1, 3, 5}, .quota = 0.01}.usable() == 1);
    CHECK(Processors{.online = 8, .allowed = {1, 3, 5}, .quota = 1e300}.usable() == 3);
}

TEST_CASE("a quota is the least of a control group's and of those that it lies in, in both versions") {
    using Files = std::vector<std::pair<std::string, std::string>>;
    auto quota = [](const std::string& groups, const Files& files) {
        const Folder root;
        auto write = [&](const std::string& name, const std::string& text) {
            std::filesystem::create_directories(std::filesystem::path(root.path + "/" + name).parent_path());
            root.write(name, text);
        };
        write("proc/self/cgroup", groups);
        for (const auto& [name, text] : files) write("sys/fs/cgroup/" + name, text + "\n");
        return read_processors(root.path).quota;
    };
    CHECK(quota("", {{"cpu.max", "50000 100000"}}) == 0);  // nothing says that this process is in it
    CHECK(quota("0::/\n", {}) == 0);
    CHECK(quota("0::/\n", {{"cpu.max", "max 100000"}}) == 0);
    CHECK(quota("0::/\n", {{"cpu.max", "150000 100000"}}) == 1.5);
    CHECK(quota("0::/a/b\n", {{"a/b/cpu.max", "max 100000"}, {"a/cpu.max", "50000 100000"}, {"b/cpu.max", "1 100"}}) ==
          0.5);
    CHECK(quota("0::/a/b\n", {{"a/b/cpu.max", "300000 100000"}, {"a/cpu.max", "400000 100000"}}) == 3);
    CHECK(quota("0::/not/here\n", {{"cpu.max", "200000 100000"}}) == 2);

    const Files first = {{"cpu/a/cpu.cfs_quota_us", "250000"},
                         {"cpu/a/cpu.cfs_period_us", "100000"},
                         {"cpu/cpu.cfs_quota_us", "-1"},
                         {"cpu/cpu.cfs_period_us", "100000"}};
    CHECK(quota("5:memory:/a\n4:cpu,cpuacct:/a\n0::/\n", first) == 2.5);
    CHECK(quota("4:cpuacct,cpu:/a/gone\n", first) == 2.5);
    CHECK(quota("4:cpu:/\n", first) == 0);
    CHECK(quota("4:cpuset:/a\n", first) == 0);

    for (const char* odd : {"", "0 100000", "-5 100000", "100000 0", "nan nan", "much", "1e400 1"})
        CHECK(quota("0::/\n", {{"cpu.max", odd}}) == 0);
    for (const char* odd : {"0", "0:", "::::", ":,cpu", "\n\n", "0::", "0::x/../../"}) CHECK(quota(odd, {}) == 0);
}
