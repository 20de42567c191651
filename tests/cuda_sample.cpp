// The CUDA table's sampling against the reference.
#include <algorithm>

#include "tests/catch.h"
#include "tests/on_device.h"

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
