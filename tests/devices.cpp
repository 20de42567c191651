// Devices by name, and the CPU's pool of threads.
#include <algorithm>
#include <atomic>
#include <sched.h>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/threads.h"
#include "kernels/device.h"
#include "tests/catch.h"

using namespace alia;

TEST_CASE("a device opened by name runs the table it was asked for") {
    for (const Kernels* k : cpu::tables()) {
        const std::string name = "cpu:" + std::string(k->name).substr(4);
        CHECK(&Device::open(name)->kernels == k);
    }
    CHECK(&Device::open("ref")->kernels == &ref_kernels);
    CHECK(&Device::open("cpu")->kernels == cpu::tables().front());
    setenv("ALIA_DEVICE", "ref", 1);
    CHECK(&Device::open()->kernels == &ref_kernels);
    setenv("ALIA_DEVICE", "cpu:pentium", 1);
    CHECK_THROWS_AS(Device::open(), Error);
    unsetenv("ALIA_DEVICE");
    CHECK_THROWS_AS(Device::open("cuda:99"), Error);
}

TEST_CASE("a pool does each piece of work once, on the threads it was asked for, pinned where asked") {
    for (bool pin : {false, true})
        for (int threads : {1, 2, 5}) {
            Stream* pool = cpu::open_pool(threads, pin);
            CHECK(cpu::threads(pool) == threads);
            for (int64_t n : {0, 1, 2, 3, 64, 1000}) {
                std::vector<std::atomic<int>> done(static_cast<size_t>(n));
                parallel(pool, n, [&](int64_t i) { ++done[size_t(i)]; });
                CHECK(std::all_of(done.begin(), done.end(), [](const auto& d) { return d == 1; }));
            }
            const auto caller = std::this_thread::get_id();
            std::atomic<bool> right = true;
            for (int round = 0; round < 100; ++round)
                parallel(pool, 16, [&](int64_t) {
                    cpu_set_t set;
                    sched_getaffinity(0, sizeof set, &set);
                    if (pin && std::this_thread::get_id() != caller && CPU_COUNT(&set) != 1) right = false;
                });
            CHECK(right);
            cpu::close_pool(pool);
        }
}
