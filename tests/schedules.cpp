// The same bits, always: logits of sequences that run beside one another by random schedules, against each alone.
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <random>

#include "engine/runner.h"
#include "kernels/cpu/isa.h"
#include "tests/support.h"

using namespace alia;

namespace {

const std::string models = std::string(TEST_DATA) + "/models/";

// One row of logits for each position of `ids`, which come in the given counts.
using LogitRows = std::vector<std::vector<float>>;

LogitRows rows_of(Tensor t) {
    LogitRows rows;
    for (int64_t i = 0; i < t.rows; ++i) rows.emplace_back(t.row(i), t.row(i) + t.columns);
    return rows;
}

struct Setting {
    const Kernels* kernels;
    std::shared_ptr<const Model> model;
    Format cache;
};

// Token by token, alone, on one thread.
LogitRows alone(const Setting& s, std::span<const int32_t> ids) {
    Device device(s.model->device->kernels, {.threads = 1});
    Cache cache(device, s.model->config, 256, s.cache);
    Runner runner(device, *s.model, {.tokens = 1, .outputs = 1, .sequences = 1, .context = 256});
    Sequence sequence(cache);
    LogitRows rows;
    for (int32_t id : ids) {
        sequence.append({&id, 1}, Role::prompt);
        REQUIRE(sequence.take_pages(1));
        const Work work{&sequence, 1, 1};
        rows.push_back(rows_of(runner.run(cache, Role::prompt, {&work, 1}).logits)[0]);
        sequence.advance(1);
    }
    return rows;
}

// Runs the texts beside one another: each pass takes some of them, each with a chunk of its own, and now and then one
// is cut back. False where a row's bits differ from `expected`.
bool run_schedule(const Setting& s, const std::vector<std::vector<int32_t>>& texts,
                  const std::vector<LogitRows>& expected, std::mt19937& rng) {
    Device device(*s.kernels, {.threads = 1 + int(rng() % 8)});
    Cache cache(device, s.model->config, int64_t(256 * texts.size()), s.cache);
    Runner runner(device, *s.model, {.tokens = 512, .outputs = 512, .sequences = int(texts.size()), .context = 256});
    std::vector<std::unique_ptr<Sequence>> sequences;
    for (size_t i = 0; i < texts.size(); ++i) sequences.push_back(std::make_unique<Sequence>(cache));
    for (int pass = 0; pass < 12; ++pass) {
        std::vector<Work> work;
        std::vector<Sequence*> advanced;
        std::vector<std::pair<size_t, int64_t>> wanted;  // text and position of each row
        for (size_t i = 0; i < texts.size(); ++i) {
            Sequence& q = *sequences[i];
            if (rng() % 8 == 0) q.truncate(int64_t(rng() % uint64_t(q.length() + 1)));
            const int64_t left = int64_t(texts[i].size()) - q.length();
            if (left == 0 || rng() % 4 == 0) continue;
            const int64_t most = rng() % 3 == 0 ? 1 : rng() % 2 ? 7 : left;
            const int64_t count = 1 + int64_t(rng() % uint64_t(std::min(left, most)));
            for (int64_t p = q.length(); p < q.length() + count; ++p) wanted.push_back({i, p});
            q.append(std::span(texts[i]).subspan(size_t(q.length()), size_t(count)), Role::prompt);
            REQUIRE(q.take_pages(count));
            work.push_back({&q, int(count), int(count)});
            advanced.push_back(&q);
        }
        if (work.empty()) continue;
        const LogitRows rows = rows_of(runner.run(cache, Role::prompt, work).logits);
        for (size_t i = 0; i < work.size(); ++i) advanced[i]->advance(work[i].count);
        for (size_t i = 0; i < rows.size(); ++i) {
            const auto& right = expected[wanted[i].first][size_t(wanted[i].second)];
            if (std::memcmp(rows[i].data(), right.data(), right.size() * sizeof(float)) != 0) return false;
        }
    }
    return true;
}

std::vector<std::vector<int32_t>> random_texts(const Model& m, std::mt19937& rng) {
    std::vector<std::vector<int32_t>> texts(3);
    for (auto& text : texts) {
        text.resize(1 + rng() % 150);
        for (int32_t& id : text) id = int32_t(rng() % uint64_t(m.config.vocabulary));
    }
    return texts;
}

// A table that lets the number of rows show in the last bit of one number.
template <int which>
const Kernels& with_a_fault() {
    static const Kernels& sound = *cpu::tables().front();
    static const Kernels faulty = [] {
        Kernels k = sound;
        k.linear = [](Stream* s, Role r, Tensor y, Tensor x, Tensor w, void* scratch) {
            sound.linear(s, r, y, x, w, scratch);
            if (x.rows > 2 && y.columns > 7) y.row(1)[7] = std::nextafter(y.row(1)[7], INFINITY);
        };
        if (which == 1) {
            k.linear = sound.linear;
            k.attend = [](Stream* s, Tensor y, Tensor q, Tensor keys, Tensor values, const Batch& b, int dim,
                          void* scratch) {
                sound.attend(s, y, q, keys, values, b, dim, scratch);
                for (int i = 1; i < b.n; ++i)
                    if (b.sequence[i] != b.sequence[0]) y.row(i)[0] = std::nextafter(y.row(i)[0], INFINITY);
            };
        }
        return k;
    }();
    return faulty;
}

}  // namespace

TEST_CASE("random schedules do not change a bit") {
    const long seed = from_environment("ALIA_TEST_SEED", 1);
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::seconds(from_environment("ALIA_SCHEDULE_SECONDS", 5));
    std::mt19937 rng(static_cast<uint32_t>(seed));
    const Format caches[] = {Format::F16, Format::F32, Format::BF16};
    const char* const files[] = {"alia",           "formats-0.gguf", "formats-3.gguf",
                                 "formats-6.gguf", "formats-9.gguf", "formats-12.gguf"};
    int schedules = 0;
    // Every model on every table once, whatever the time.
    for (int round = 0; round == 0 || std::chrono::steady_clock::now() < end; ++round)
        for (const char* file : files)
            for (const Kernels* table : cpu::tables()) {
                const std::string device = "cpu:" + std::string(table->name).substr(4);
                const Setting s{table, load_model(models + file, {.device = device, .threads = 1}), caches[rng() % 3]};
                const auto texts = random_texts(*s.model, rng);
                std::vector<LogitRows> expected;
                for (const auto& text : texts) expected.push_back(alone(s, text));
                INFO(file << " on " << table->name << ", cache " << info(s.cache).name << ", seed " << seed
                          << ", round " << round);
                for (int i = 0; i < 3; ++i, ++schedules) REQUIRE(run_schedule(s, texts, expected, rng));
            }
    CHECK(schedules >= 18);
}

TEST_CASE("a kernel that sees its neighbours is found") {
    std::mt19937 rng(5);
    const auto model = load_model(models + "alia", {.device = "cpu", .threads = 1});
    for (const Kernels* faulty : {&with_a_fault<0>(), &with_a_fault<1>()}) {
        const Setting s{faulty, model, Format::F16};
        const auto texts = random_texts(*model, rng);
        std::vector<LogitRows> expected;
        for (const auto& text : texts) expected.push_back(alone(s, text));
        bool same = true;
        for (int i = 0; i < 8; ++i) same = same && run_schedule(s, texts, expected, rng);
        CHECK(!same);
    }
}
