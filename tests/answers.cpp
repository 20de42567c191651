// What a request can be told besides its tokens, and what ends it.
#include <cmath>

#include "tests/support.h"

using namespace alia;

namespace {

const std::string path = TEST_DATA "/models/alia";

std::shared_ptr<const Model> model() {
    static const auto m = [] {
        auto loaded = load_model(path, {.device = "cpu:base", .threads = 1});
        // The tiny model came without one; the first tokens of this one are letters.
        std::const_pointer_cast<Model>(loaded)->tokenizer = open_tokenizer(TEST_DATA "/tokenizer/gpt2.json");
        return loaded;
    }();
    return m;
}

// Events with what they point to.
struct Told : Event {
    std::vector<float> numbers;
    std::vector<TopToken> best;
    std::string words, reason;
    explicit Told(const Event& e)
        : Event(e),
          numbers(e.values.begin(), e.values.end()),
          best(e.top.begin(), e.top.end()),
          words(e.text),
          reason(e.message) {}
};

std::vector<Told> run(Engine& engine) {
    std::vector<Told> all;
    while (!engine.idle())
        for (const Event& e : engine.step()) all.emplace_back(e);
    return all;
}

std::vector<Told> answer(Engine& engine, Request r) {
    engine.submit(std::move(r));
    return run(engine);
}

std::vector<Told> only(std::vector<Told> all, Event::Kind kind) {
    std::erase_if(all, [&](const Told& e) { return e.kind != kind; });
    return all;
}

double log_probability(std::span<const float> row, int32_t token) {
    double sum = 0, best = *std::max_element(row.begin(), row.end());
    for (float x : row) sum += std::exp(double(x) - best);
    return row[size_t(token)] - best - std::log(sum);
}

const std::vector<int32_t> prompt = {4, 8, 15, 16, 23, 42, 7, 9};

}  // namespace

TEST_CASE("scores are the log-probabilities of the prompt's tokens, however it is cut") {
    const size_t columns = size_t(model()->config.vocabulary);
    Engine engine(model(), {.context = 64});
    const auto logits = teacher_forced(engine, prompt);
    for (int rows : {1, 3, 32}) {
        Engine other(model(), {.context = 64, .logit_rows = rows});
        std::vector<float> scores;
        for (const Told& e : answer(other, {.prompt = prompt, .max_tokens = 0, .prompt_scores = true})) {
            if (e.kind != Event::Kind::scores) continue;
            CHECK(e.position == int64_t(scores.size()) + 1);
            scores.insert(scores.end(), e.numbers.begin(), e.numbers.end());
        }
        REQUIRE(scores.size() == prompt.size() - 1);
        for (size_t i = 0; i < scores.size(); ++i)
            CHECK(scores[i] ==
                  Approx(log_probability(std::span(logits).subspan(i * columns, columns), prompt[i + 1])).margin(1e-5));
    }
}

TEST_CASE("log-probabilities of the chosen and the best tokens") {
    Engine engine(model(), {.context = 64});
    const auto logits = teacher_forced(engine, prompt);
    const auto row = std::span(logits).last(size_t(model()->config.vocabulary));
    const auto tokens = only(answer(engine, {.prompt = prompt,
                                             .sampling = {.temperature = 1.5, .seed = 4},
                                             .max_tokens = 1,
                                             .ignore_eos = true,
                                             .top_tokens = 3}),
                             Event::Kind::token);
    REQUIRE(tokens.size() == 1);
    CHECK(tokens[0].logprob == Approx(log_probability(row, tokens[0].token)).margin(1e-5));
    REQUIRE(tokens[0].best.size() == 3);
    CHECK(tokens[0].best[0].token == std::max_element(row.begin(), row.end()) - row.begin());
    for (const TopToken& t : tokens[0].best) CHECK(t.logprob == Approx(log_probability(row, t.token)).margin(1e-5));
    CHECK(tokens[0].best[0].logprob >= tokens[0].best[1].logprob);
}

TEST_CASE("embeddings: the mean and the last hidden state, however the prompt is cut") {
    const size_t hidden = size_t(model()->config.hidden);
    auto embed = [&](Pooling pooling, bool normalise, size_t count, int chunk) {
        Engine engine(model(), {.context = 64, .chunk = chunk});
        const auto all = answer(engine, {.prompt = {prompt.begin(), prompt.begin() + int64_t(count)},
                                         .max_tokens = 0,
                                         .pooling = pooling,
                                         .normalise = normalise});
        REQUIRE(all.size() == 2);
        REQUIRE(all[0].kind == Event::Kind::embedding);
        REQUIRE(all[0].numbers.size() == hidden);
        return all[0].numbers;
    };
    std::vector<double> sum(hidden, 0);
    for (size_t n = 1; n <= prompt.size(); ++n) {
        const auto last = embed(Pooling::last, false, n, 64);
        for (size_t i = 0; i < hidden; ++i) sum[i] += last[i];
    }
    const auto mean = embed(Pooling::mean, false, prompt.size(), 3);
    for (size_t i = 0; i < hidden; ++i) CHECK(mean[i] == Approx(sum[i] / double(prompt.size())).margin(1e-6));
    CHECK(mean == embed(Pooling::mean, false, prompt.size(), 64));
    double squares = 0;
    for (float x : embed(Pooling::mean, true, prompt.size(), 64)) squares += double(x) * x;
    CHECK(squares == Approx(1));
}

TEST_CASE("several completions are those of their seeds and share the prompt's pages") {
    std::vector<int32_t> long_prompt;
    for (int i = 0; i < 200; ++i) long_prompt.push_back(i % 90);
    Engine engine(model(), {.context = 256, .positions = 512});
    Request r{.prompt = long_prompt,
              .sampling = {.temperature = 1, .seed = 10},
              .max_tokens = 6,
              .ignore_eos = true,
              .completions = 3,
              .share = false};
    std::vector<std::vector<int32_t>> tokens(3);
    int64_t cached = 0;
    for (const Told& e : answer(engine, r)) {
        if (e.kind == Event::Kind::token) tokens.at(size_t(e.completion)).push_back(e.token);
        cached += e.cached_tokens;
    }
    CHECK(cached == 2 * 199);
    CHECK(engine.counters().prompt_tokens == 200 + 2);
    r.completions = 1;
    for (uint64_t i = 0; i < 3; ++i, ++r.sampling.seed) CHECK(generate(engine, r) == tokens[i]);
    CHECK(tokens[0] != tokens[1]);
}

TEST_CASE("a stop text ends a request and is not shown, nor is anything behind it") {
    Engine engine(model(), {.context = 128});
    const Request r{.prompt = prompt, .sampling = {.temperature = 1, .seed = 2}, .max_tokens = 60, .ignore_eos = true};
    std::string whole;
    for (const Told& e : answer(engine, r)) whole += e.words;
    REQUIRE(whole.size() > 20);
    for (size_t start : {size_t(3), size_t(9), whole.size() / 2}) {
        size_t end = start;
        while (end < whole.size() && (end < start + 3 || (uint8_t(whole[end]) & 0xC0) == 0x80)) ++end;
        while ((uint8_t(whole[start]) & 0xC0) == 0x80) ++start;
        Request stopped = r;
        stopped.stop_texts = {"never there", whole.substr(start, end - start)};
        std::string shown;
        const auto all = answer(engine, stopped);
        for (const Told& e : all) shown += e.words;
        CHECK(shown == whole.substr(0, whole.find(stopped.stop_texts[1])));
        CHECK(all.back().finish == Finish::stop);
    }
}

TEST_CASE("before the least number of tokens nothing that would end a request is drawn") {
    Engine engine(model(), {.context = 64});
    Request r{.prompt = prompt, .sampling = {.bias = {{5, 1000}}}, .max_tokens = 20, .min_tokens = 4};
    const auto all = answer(engine, r);
    CHECK(all.back().generated_tokens == 5);
    CHECK(all.back().finish == Finish::stop);
}

TEST_CASE("the caller may change a row before a token is drawn from it") {
    Engine engine(model(), {.context = 64});
    const auto plain = generate(engine, {.prompt = prompt, .max_tokens = 4, .ignore_eos = true});
    for (bool change : {false, true}) {
        const auto id = engine.submit({.prompt = prompt, .max_tokens = 4, .ignore_eos = true, .choose = true});
        std::vector<int32_t> tokens;
        while (!engine.idle())
            for (const Told& e : [&] {
                     std::vector<Told> all;
                     for (const Event& e : engine.step()) all.emplace_back(e);
                     return all;
                 }()) {
                if (e.kind == Event::Kind::token) tokens.push_back(e.token);
                if (e.kind != Event::Kind::choice) continue;
                CHECK(engine.due() == Clock::time_point::max());
                CHECK(engine.step().empty());
                auto row = e.numbers;
                if (change) row[33] = 1000;
                CHECK_THROWS_AS(engine.choose(id, 0, std::span(row).first(3)), Error);
                engine.choose(id, 0, row);
                CHECK_THROWS_AS(engine.choose(id, 0, row), Error);
                CHECK(engine.due() == Clock::time_point::min());
            }
        CHECK(tokens == (change ? std::vector<int32_t>(4, 33) : plain));
    }
}

TEST_CASE("a deadline, a full queue and an order of priorities") {
    Engine engine(model(), {.context = 64, .sequences = 1, .queue = 3});
    const auto late = engine.submit({.prompt = prompt, .deadline = Clock::now()});
    const auto low = engine.submit({.prompt = prompt, .max_tokens = 2, .ignore_eos = true});
    const auto high = engine.submit({.prompt = prompt, .max_tokens = 2, .ignore_eos = true, .priority = 1});
    try {
        engine.submit({.prompt = prompt});
        FAIL("the queue took one too many");
    } catch (const Error& e) {
        CHECK(e.status == Status::limit);
    }
    std::vector<uint64_t> order;
    for (const Told& e : only(run(engine), Event::Kind::finished)) {
        order.push_back(e.request);
        CHECK(e.finish == (e.request == late ? Finish::deadline : Finish::length));
    }
    CHECK(order == std::vector<uint64_t>{late, high, low});
}

TEST_CASE("a request of higher priority takes the place of a lower one, whose answer stays the same") {
    Engine engine(model(), {.context = 128, .sequences = 1, .chunk = 4});
    const Request low{
        .prompt = prompt, .sampling = {.temperature = 1, .seed = 3}, .max_tokens = 12, .ignore_eos = true};
    const auto alone = generate(engine, low);
    const auto first = engine.submit(low);
    for (int i = 0; i < 5; ++i) engine.step();
    const auto second = engine.submit({.prompt = prompt, .max_tokens = 1, .ignore_eos = true, .priority = 1});
    const auto rest = run(engine);
    std::vector<int32_t> tokens;
    for (const Told& e : rest)
        if (e.kind == Event::Kind::token && e.request == first) tokens.push_back(e.token);
    CHECK(only(rest, Event::Kind::finished)[0].request == second);
    CHECK(engine.counters().preemptions == 1);
    CHECK(std::equal(tokens.begin(), tokens.end(), alone.end() - int64_t(tokens.size())));
}

TEST_CASE("a context that slides goes on with its ends") {
    Engine engine(model(), {.context = 24});
    const auto all = answer(engine, {.prompt = prompt, .max_tokens = 60, .ignore_eos = true, .context = {3, 8}});
    CHECK(all.back().finish == Finish::length);
    CHECK(all.back().position == 68);
    const auto tokens = only(all, Event::Kind::token);
    REQUIRE(tokens.size() == 60);
    // What follows the first slide is what follows the same tokens, given as the sequence they have become.
    std::vector<int32_t> kept(prompt.begin(), prompt.begin() + 3);
    for (int i = 8; i < 16; ++i) kept.push_back(tokens[size_t(i)].token);
    CHECK(generate(engine, {.prompt = kept, .max_tokens = 1, .ignore_eos = true})[0] == tokens[16].token);
}

TEST_CASE("a prefix that is cached is not processed again") {
    std::vector<int32_t> ids;
    for (int i = 0; i < 200; ++i) ids.push_back(i * 7 % 90);
    Engine engine(model(), {.context = 256});
    const Request r{.prompt = ids, .max_tokens = 3, .ignore_eos = true};
    const auto first = generate(engine, r);
    const int64_t before = engine.counters().prompt_tokens;
    const auto second = answer(engine, r);
    CHECK(second.back().cached_tokens == 192);
    CHECK(engine.counters().prompt_tokens == before + 8);
    CHECK(second[2].token == first[2]);
    Request other = r;
    other.salt = "another tenant";
    CHECK(answer(engine, other).back().cached_tokens == 0);
}
