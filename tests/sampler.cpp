// The sampler on made-up rows: which tokens stay, penalties, and that draws repeat.
#include "engine/sampler.h"

#include <cmath>
#include <map>
#include <string>

#include "kernels/device.h"
#include "tests/catch.h"

using namespace alia;

namespace {

struct Draws {
    Sampling sampling;
    std::vector<float> logits;
    std::vector<int32_t> prompt = {};
    int fetched = 0;

    int32_t pick(Sampler& sampler, uint64_t position) {
        std::vector<float> row = logits;
        SampleResult result;
        const SampleRow record = sampler.row(position);
        ref_kernels.sample(nullptr, &result, Tensor{row.data(), 1, int64_t(row.size()), 0}, &record);
        return sampler.pick(result, position, [&] { return ++fetched, std::span<const float>(row); });
    }
    std::map<int32_t, double> shares(int n = 4000) {
        Sampler sampler(sampling, prompt);
        std::map<int32_t, double> seen;
        for (int i = 0; i < n; ++i) seen[pick(sampler, uint64_t(i))] += 1.0 / n;
        return seen;
    }
};

std::vector<float> logs(std::vector<double> p) {
    std::vector<float> l;
    for (double x : p) l.push_back(float(std::log(x)));
    return l;
}

std::string refusal(const Sampling& s) {
    try {
        check(s, 100);
    } catch (const Error& e) {
        REQUIRE(e.status == Status::invalid_argument);
        return e.item;
    }
    return "";
}

}  // namespace

TEST_CASE("greedy takes the best token, and the smaller one of two") {
    Draws d{{}, {1, 3, 3, 2}};
    CHECK(d.shares(3) == std::map<int32_t, double>{{1, 1.0 / 3 + 1.0 / 3 + 1.0 / 3}});
}

TEST_CASE("temperature sharpens and flattens") {
    Draws d{{.temperature = 0.5}, logs({0.2, 0.8})};
    CHECK(d.shares()[1] == Approx(0.64 / 0.68).margin(0.02));
    d.sampling.temperature = 2;
    CHECK(d.shares()[1] == Approx(std::sqrt(0.8) / (std::sqrt(0.8) + std::sqrt(0.2))).margin(0.03));
}

TEST_CASE("top-k, top-p and min-p keep the tokens that they say, and keep their proportions") {
    const auto l = logs({0.4, 0.1, 0.3, 0.15, 0.05});
    auto k = Draws{{.temperature = 1, .top_k = 2}, l}.shares();
    CHECK(k.size() == 2);
    CHECK(k[0] == Approx(4.0 / 7).margin(0.03));
    auto p = Draws{{.temperature = 1, .top_p = 0.69}, l}.shares();
    CHECK(p.size() == 2);
    CHECK(Draws{{.temperature = 1, .top_p = 0.71}, l}.shares().size() == 3);
    CHECK(Draws{{.temperature = 1, .top_p = 0}, l}.shares().size() == 1);
    auto m = Draws{{.temperature = 1, .min_p = 0.3}, l}.shares();
    CHECK(m.size() == 3);
    CHECK(m.contains(3));
    // top-p counts among what top-k left: 0.4 of 0.7 is more than half.
    CHECK(Draws{{.temperature = 1, .top_k = 2, .top_p = 0.5}, l}.shares().size() == 1);
}

TEST_CASE("a nucleus wider than the candidates reads the whole row") {
    std::vector<float> flat(1000, 0.f);
    Draws d{{.temperature = 1, .top_p = 0.5}, flat};
    const auto shares = d.shares(2000);
    CHECK(d.fetched == 2000);
    CHECK(shares.rbegin()->first >= 256);
    CHECK(shares.rbegin()->first < 502);
    Draws k{{.temperature = 1, .top_k = 300}, flat};
    CHECK(k.shares(2000).rbegin()->first < 300);
    CHECK(k.fetched == 2000);
    Draws narrow{{.temperature = 1, .top_k = 40}, flat};
    narrow.shares(100);
    CHECK(narrow.fetched == 0);
}

TEST_CASE("penalties and bias change the logits of the tokens they name") {
    Draws d{{.repetition = 2}, {3, 2, -1}, {0}};
    Sampler sampler(d.sampling, d.prompt);
    CHECK(d.pick(sampler, 1) == 1);  // 3 / 2 < 2
    sampler.accept(1);
    CHECK(d.pick(sampler, 2) == 0);  // 1.5 > 1
    Draws f{{.frequency = 0.4, .presence = 0.3}, {1, 0.5f}};
    Sampler counting(f.sampling, {});
    CHECK(f.pick(counting, 0) == 0);
    counting.accept(0);
    CHECK(f.pick(counting, 1) == 1);  // 1 - 0.7 < 0.5
    counting.accept(1);
    CHECK(f.pick(counting, 2) == 0);  // 0.3 > -0.2
    Draws b{{.bias = {{2, 5}, {0, -INFINITY}}}, {3, 2, -1}};
    CHECK(b.shares(2).begin()->first == 2);
}

TEST_CASE("a seed and a position give the same token again, others differ") {
    Draws d{{.temperature = 1, .seed = 1}, std::vector<float>(50, 0.f)};
    Sampler a(d.sampling, {}), b(d.sampling, {});
    d.sampling.seed = 2;
    Sampler c(d.sampling, {});
    int same = 0;
    for (uint64_t i = 0; i < 100; ++i) {
        const int32_t token = d.pick(a, 99 - i);
        CHECK(token == d.pick(b, 99 - i));
        same += token == d.pick(c, 99 - i);
    }
    CHECK(same < 15);
}

TEST_CASE("logits that are no numbers are an error, not a token") {
    Draws d{{}, std::vector<float>(5, NAN)};
    Sampler s({}, {});
    CHECK_THROWS_AS(d.pick(s, 0), Error);
}

TEST_CASE("numbers out of range are refused by name") {
    CHECK(refusal({}) == "");
    CHECK(refusal({.temperature = -1}) == "temperature");
    CHECK(refusal({.temperature = NAN}) == "temperature");
    CHECK(refusal({.top_k = -1}) == "top_k");
    CHECK(refusal({.top_p = 1.5}) == "top_p");
    CHECK(refusal({.min_p = NAN}) == "min_p");
    CHECK(refusal({.repetition = 0}) == "repetition penalty");
    CHECK(refusal({.frequency = INFINITY}) == "frequency penalty");
    CHECK(refusal({.bias = {{100, 1}}}) == "token of the logit bias");
    CHECK(refusal({.bias = {{1, NAN}}}) == "logit bias");
}

TEST_CASE("defaults come from generation_config.json, and are greedy without it") {
    CHECK(default_sampling({}).greedy());
    GenerationConfig g;
    g.temperature = 0.7;
    CHECK(default_sampling(g).greedy());
    g.sample = true;
    g.top_k = 20;
    CHECK(default_sampling(g).temperature == 0.7);
    CHECK(default_sampling(g).top_k == 20);
}
