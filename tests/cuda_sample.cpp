// The CUDA table's sampling against the reference.
#include <algorithm>

#include "tests/catch.h"
#include "tests/on_device.h"
#ifndef ALIA_CARD
#include "tests/emulated/emulated.h"
#endif

using namespace alia;
using namespace alia::test;

namespace {

std::mt19937 rng(20261125);

void check_result(const SampleResult& y, const SampleResult& x) {
    REQUIRE(y.count == x.count);
    for (int c = 0; c < x.count; ++c) {
        REQUIRE(y.candidates[c].token == x.candidates[c].token);
        REQUIRE(y.candidates[c].logit == x.candidates[c].logit);
    }
    REQUIRE(y.draw == x.draw);
    if (x.count == 0) return;
    REQUIRE(y.log_sum_1 == Approx(x.log_sum_1).margin(1e-6));
    REQUIRE(y.log_sum == Approx(x.log_sum).margin(1e-6));
}

}  // namespace

TEST_CASE("CUDA: candidates, log-sums and draws are the reference's") {
    auto ref = Device::open("ref"), cuda = open_cuda();
    for (int64_t n : {1, 31, 33, 255, 256, 257, 1009, 8193})
        for (int round = 0; round < 2; ++round) {
            INFO(n << " logits, round " << round);
            HostRows logits(4, n);
            randomise(logits, rng);
            for (float& l : logits.numbers) l = std::round(l * 30) / 10;  // ties, zeros of both signs
            if (n > 100) logits.t.row(1)[17] = NAN, logits.t.row(1)[18] = -INFINITY;
            std::fill_n(logits.t.row(2), n, round % 2 ? -INFINITY : 1.5f);  // nothing; all the same
            std::vector<uint32_t> mask(size_t((n + 31) / 32));
            for (uint32_t& word : mask) word = uint32_t(rng());
            const std::vector<LogitChange> changes = {{int32_t(n / 2), 1.7f, -1.1f}, {0, 1, 3}, {int32_t(n - 1), 2, 0}};
            const std::vector<SampleRow> records = {
                {.changes = changes.data(), .change_count = n > 2 ? 3 : 1, .inverse_temperature = 0.7f, .seed = rng()},
                {.mask = n > 1 ? mask.data() : nullptr, .inverse_temperature = round % 2 ? 1.f : 0.f, .seed = rng()},
                {.inverse_temperature = 1.3f, .seed = rng(), .position = 7},
                {.changes = changes.data(), .change_count = 1, .mask = mask.data(), .seed = rng(), .position = 1}};
            const DeviceRows same(*cuda, logits);
            std::vector<SampleResult> x(4), y(4), alone(1);
            cuda->kernels.sample(cuda->stream, alone.data(), row_of(DeviceRows(*cuda, logits), 3), &records[3]);
            ref->kernels.sample(nullptr, x.data(), logits, records.data());
            cuda->kernels.sample(cuda->stream, y.data(), same, records.data());
            for (size_t i = 0; i < 4; ++i) check_result(y[i], x[i]);
            check_result(alone[0], y[3]);
            CHECK(std::memcmp(&alone[0].log_sum_1, &y[3].log_sum_1, 2 * sizeof(double)) == 0);
            // Whoever reads the whole row finds what was sampled from.
            const std::vector<float> after = same.floats();
            for (int64_t t = 0; t < n; ++t)
                REQUIRE((mask[size_t(t / 32)] >> t % 32 & 1 || after[size_t(n + t)] < -1e30 || n == 1));
        }
}

#ifndef ALIA_CARD
TEST_CASE("CUDA: room that was reserved is enough for every row with a mask and all of its logits changed") {
    auto ref = Device::open("ref"), cuda = open_cuda();
    constexpr int64_t rows = 5, columns = 300;
    HostRows logits(rows, columns);
    randomise(logits, rng);
    const DeviceRows same(*cuda, logits);
    std::vector<LogitChange> changes;
    for (int32_t t = 0; t < columns; ++t) changes.push_back({t, 1.5f, float(t % 7) / 8});
    const std::vector<uint32_t> mask((columns + 31) / 32, 0x7FFFFFFE);
    std::vector<SampleRow> records;
    for (int i = 0; i < rows; ++i)
        records.push_back({.changes = changes.data(),
                           .change_count = i == 2 ? 3 : int(columns) - i % 2,
                           .mask = mask.data(),
                           .seed = rng(),
                           .position = uint64_t(i)});
    std::vector<SampleResult> x(rows), y(rows);
    ref->kernels.sample(nullptr, x.data(), logits, records.data());
    cuda->kernels.reserve(cuda->stream, rows, columns);
    const int64_t before = emulated::allocations();
    cuda->kernels.sample(cuda->stream, y.data(), same, records.data());
    CHECK(emulated::allocations() == before);
    for (size_t i = 0; i < rows; ++i) check_result(y[i], x[i]);
}
#endif

TEST_CASE("CUDA: a vocabulary of 256,000") {
    auto ref = Device::open("ref"), cuda = open_cuda();
    HostRows logits(1, 256000);
    randomise(logits, rng);
    const DeviceRows same(*cuda, logits);
    const SampleRow record = {.inverse_temperature = 0.9f, .seed = 3, .position = 5};
    SampleResult x, y;
    ref->kernels.sample(nullptr, &x, logits, &record);
    cuda->kernels.sample(cuda->stream, &y, same, &record);
    check_result(y, x);
}
