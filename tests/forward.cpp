// Whole tiny models on every table: logits against an independent implementation (tests/truth), and what must not
// change them.
#include <cmath>
#include <random>

#include "engine/runner.h"
#include "kernels/cpu/isa.h"
#include "tests/support.h"

using namespace alia;

namespace {

const std::string models = TEST_DATA "/models/";
// The reference and every table that this processor runs.
const std::vector<std::string> devices = [] {
    std::vector<std::string> names = {"ref"};
    for (const Kernels* k : cpu::tables()) names.push_back("cpu:" + std::string(k->name).substr(4));
    return names;
}();

struct Case {
    std::string name, path;
    double tolerance;
};

std::vector<Case> cases() {
    std::istringstream lines(read_file(models + "manifest.txt"));
    std::vector<Case> all;
    for (std::string line; std::getline(lines, line);) {
        if (line.empty() || line[0] == '#') continue;
        Case c;
        std::istringstream(line) >> c.name >> c.path >> c.tolerance;
        all.push_back(c);
    }
    return all;
}

// The largest difference over the largest number.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
    if (a.size() != b.size() || a.empty()) return INFINITY;
    double difference = 0, size = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        if (!std::isfinite(a[i])) return INFINITY;
        difference = std::max(difference, double(std::fabs(a[i] - b[i])));
        size = std::max(size, double(std::fabs(b[i])));
    }
    return difference / size;
}

std::shared_ptr<const Model> load(const std::string& path, const std::string& device, int threads = 2) {
    return load_model(models + path, {.device = device, .threads = threads});
}

// What a table's products may lose, whose inputs it keeps in 8 bits for quantised weights and in bf16 where the
// processor multiplies those; a tiny random model shows it more than a trained one.
double tolerance(const Case& c, const Model& m) {
    const std::string table = m.device->kernels.name;
    double most = c.tolerance;
    for (auto [format, bytes] : m.weights)
        if (table != "ref" && info(format).n > 1)
            most = std::max(most, 0.1);
        else if (table == "cpu_avx512bf16" && format == Format::BF16)
            most = std::max(most, 0.01);
    return most;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("logits of every model agree with the independent implementation") {
    const auto all = cases();
    REQUIRE(all.size() >= 20);
    for (const Case& c : all)
        for (const std::string& device : devices) {
            INFO(c.name << " on " << device);
            const auto model = load(c.path, device);
            Engine engine(model, {.context = 256, .cache = Format::F32});
            const auto expected = read_npy(models + c.name + ".logits.npy");
            REQUIRE(distance(teacher_forced(engine, read_ids(models + c.name + ".ids.txt")), expected) <
                    tolerance(c, *model));
        }
}

TEST_CASE("chunks, threads and cache pages do not change a bit") {
    const Case c = cases()[0];
    const auto ids = read_ids(models + c.name + ".ids.txt");
    for (const std::string& device : devices) {
        const auto model = load(c.path, device);
        Engine whole(model, {.context = 256, .chunk = 256, .logit_rows = 256, .threads = 1});
        const auto expected = teacher_forced(whole, ids);
        for (int chunk : {1, 2, 3, 7, 16, 33})
            for (int threads : {1, 2, 3, 8}) {
                Engine engine(model, {.context = 256, .chunk = chunk, .logit_rows = chunk, .threads = threads});
                INFO(device << " chunk " << chunk << " threads " << threads);
                REQUIRE(same_bits(teacher_forced(engine, ids), expected));
            }
        Engine other(load(c.path, device, 3), {.context = 256, .chunk = 5, .logit_rows = 5});
        CHECK(same_bits(teacher_forced(other, ids), expected));
        auto changed = ids;
        changed[0] ^= 1;
        CHECK(!same_bits(teacher_forced(other, changed), expected));  // the comparison can fail
    }
}

TEST_CASE("truncating and doing it again equals never having done it") {
    const Case c = cases()[0];
    const auto ids = read_ids(models + c.name + ".ids.txt");
    for (const std::string& name : devices) {
        const auto model = load(c.path, name);
        Device device(model->device->kernels, {.threads = 2});
        const PassLimits limits{.tokens = 64, .outputs = 64, .sequences = 2, .context = 256};
        Cache cache(device, model->config, 512, Format::F32);
        Runner runner(device, *model, limits);
        const int64_t vocabulary = model->config.vocabulary;
        auto extend = [&](Sequence& s, std::span<const int32_t> tokens) {
            s.append(tokens, Role::prompt);
            REQUIRE(s.take_pages(int64_t(tokens.size())));
            const Work work{&s, int(tokens.size()), int(tokens.size())};
            Tensor t = runner.run(cache, Role::prompt, {&work, 1}).logits;
            s.advance(int64_t(tokens.size()));
            return std::vector<float>(t.row(0), t.row(0) + t.rows * vocabulary);
        };
        std::mt19937 rng(7);
        Sequence steady(cache), restless(cache);
        const auto expected = extend(steady, ids);
        for (int round = 0; round < 20; ++round) {
            const int64_t n = restless.length();
            const int64_t count = std::min<int64_t>(1 + int64_t(rng() % 9), int64_t(ids.size()) - n);
            const auto rows = extend(restless, std::span(ids).subspan(size_t(n), size_t(count)));
            REQUIRE(same_bits(rows, {expected.begin() + n * vocabulary, expected.begin() + (n + count) * vocabulary}));
            std::vector<int32_t> wrong(size_t(rng() % 70 % (64 - 1) + 1), int32_t(rng() % uint64_t(vocabulary)));
            const int64_t keep = int64_t(rng() % uint64_t(restless.length() + 1));
            if (restless.length() + int64_t(wrong.size()) <= limits.context) extend(restless, wrong);
            restless.truncate(keep);
        }
    }
}

TEST_CASE("two sequences in one pass have the bits of each alone") {
    const Case c = cases()[0];
    const auto ids = read_ids(models + c.name + ".ids.txt");
    for (const std::string& name : devices) {
        const auto model = load(c.path, name);
        Device device(model->device->kernels, {.threads = 2});
        Cache cache(device, model->config, 512, Format::F32);
        Runner runner(device, *model, {.tokens = 128, .outputs = 4, .sequences = 2, .context = 256});
        const int64_t vocabulary = model->config.vocabulary;
        Sequence a(cache), b(cache);
        a.append(ids, Role::prompt);
        b.append(std::span(ids).first(ids.size() / 2), Role::prompt);
        REQUIRE(a.take_pages(a.length()));
        REQUIRE(b.take_pages(b.length()));
        auto run = [&](std::vector<Work> work) {
            Tensor t = runner.run(cache, Role::prompt, work).logits;
            return std::vector<float>(t.row(0), t.row(0) + t.rows * vocabulary);
        };
        auto first = run({{&a, int(a.length()), 1}}), second = run({{&b, int(b.length()), 2}});
        first.insert(first.end(), second.begin(), second.end());
        CHECK(same_bits(run({{&a, int(a.length()), 1}, {&b, int(b.length()), 2}}), first));
    }
}

TEST_CASE("a cache without room refuses and changes nothing") {
    const auto model = load(cases()[0].path, "ref");
    Cache cache(*model->device, model->config, 100, Format::F16);
    CHECK(cache.pages.free() == 2);
    Sequence s(cache);
    s.append(std::vector<int32_t>(129, 1), Role::prompt);
    CHECK(s.take_pages(65));
    CHECK(cache.pages.free() == 0);
    s.advance(65);
    CHECK(!s.take_pages(64));
    CHECK(s.computed() == 65);
    CHECK(s.take_pages(63));
    s.truncate(64);
    CHECK(cache.pages.free() == 1);
    s.truncate(0);
    CHECK(cache.pages.free() == 2);
}

TEST_CASE("the arena holds exactly what a pass takes") {
    const auto model = load(cases()[0].path, "ref");
    const PassLimits limits{.tokens = 9, .outputs = 3, .sequences = 1, .context = 64};
    Device device(ref_kernels, {});
    Cache cache(device, model->config, 64, Format::F32);
    Runner runner(device, *model, limits);
    Sequence s(cache);
    s.append(std::vector<int32_t>(9, 1), Role::prompt);
    REQUIRE(s.take_pages(9));
    const Work fits{&s, 9, 3}, beyond{&s, 9, 4};
    CHECK_NOTHROW(runner.run(cache, Role::prompt, {&fits, 1}));
    CHECK_THROWS_AS(runner.run(cache, Role::prompt, {&beyond, 1}), Error);
}

TEST_CASE("transformers gives the same logits for every RoPE kind and head layout") {
    int compared = 0;
    for (const Case& c : cases()) {
        if (!std::ifstream(models + c.name + ".transformers.npy")) continue;
        ++compared;
        for (const std::string& device : devices) {
            INFO(c.name << " on " << device);
            const auto model = load(c.path, device);
            Engine engine(model, {.context = 256, .cache = Format::F32});
            const auto expected = read_npy(models + c.name + ".transformers.npy");
            REQUIRE(distance(teacher_forced(engine, read_ids(models + c.name + ".ids.txt")), expected) <
                    tolerance(c, *model));
        }
    }
    CHECK(compared >= 12);
}
