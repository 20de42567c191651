// Requests through the engine: what ends them, their events, cancellation, refusals, and the memory plan.
#include "engine/engine.h"

#include <cmath>
#include <filesystem>
#include <thread>

#include "engine/plan.h"
#include "tests/files.h"
#include "tests/support.h"

using namespace alia;

namespace {

const std::string path = TEST_DATA "/models/alia";

std::shared_ptr<const Model> model() {
    static const auto m = load_model(path, {.device = "cpu:base", .threads = 2});
    return m;
}

std::vector<Event> run(Engine& engine) {
    std::vector<Event> all;
    while (!engine.idle())
        for (const Event& e : engine.step()) all.push_back(e);
    return all;
}

Status refusal(Engine& engine, Request r) {
    try {
        engine.submit(std::move(r));
    } catch (const Error& e) {
        return e.status;
    }
    return Status::ok;
}

}  // namespace

TEST_CASE("a request gives its tokens and then says why it ended") {
    Engine engine(model(), {.context = 64});
    const auto id = engine.submit({.prompt = {1, 2, 3}, .max_tokens = 5, .ignore_eos = true});
    const auto events = run(engine);
    REQUIRE(events.size() == 6);
    for (int i = 0; i < 5; ++i) {
        CHECK(events[size_t(i)].kind == Event::Kind::token);
        CHECK(events[size_t(i)].request == id);
        CHECK(events[size_t(i)].position == 3 + i);
    }
    CHECK(events[5].kind == Event::Kind::finished);
    CHECK(events[5].finish == Finish::length);
    CHECK(events[5].prompt_tokens == 3);
    CHECK(events[5].generated_tokens == 5);
}

TEST_CASE("the context's end, a stop token and no tokens at all end a request") {
    Engine engine(model(), {.context = 16});
    engine.submit({.prompt = {1, 2, 3, 4}, .ignore_eos = true});
    auto events = run(engine);
    CHECK(events.back().finish == Finish::context);
    CHECK(events.back().generated_tokens == 12);

    const int32_t second = events[1].token;
    engine.submit({.prompt = {1, 2, 3, 4}, .ignore_eos = true, .stop = {second}});
    events = run(engine);
    CHECK(events.back().finish == Finish::stop);
    CHECK(events.back().generated_tokens == (events[0].token == second ? 1 : 2));

    engine.submit({.prompt = {1, 2, 3, 4}, .max_tokens = 0});
    events = run(engine);
    REQUIRE(events.size() == 1);
    CHECK(events[0].finish == Finish::length);
}

TEST_CASE("the model's own end tokens count unless they are ignored") {
    REQUIRE(model()->config.eos == std::vector<int>{2, 5});
    Engine engine(model(), {.context = 64});
    Request r{.prompt = {9, 8, 7}, .sampling = {.bias = {{5, 1000}}}, .max_tokens = 4};
    engine.submit(r);
    auto events = run(engine);
    CHECK(events.back().finish == Finish::stop);
    CHECK(events.back().generated_tokens == 1);
    r.ignore_eos = true;
    CHECK(generate(engine, r) == std::vector<int32_t>{5, 5, 5, 5});
}

TEST_CASE("requests run beside one another, each as if alone") {
    Engine engine(model(), {.context = 64, .chunk = 2});
    const Request a{
        .prompt = {5, 6, 7, 8, 9}, .sampling = {.temperature = 1, .seed = 3}, .max_tokens = 9, .ignore_eos = true};
    const Request b{.prompt = {50, 60}, .max_tokens = 9, .ignore_eos = true};
    const auto alone_a = generate(engine, a), alone_b = generate(engine, b);
    const auto first = engine.submit(a), second = engine.submit(b);
    std::vector<int32_t> tokens_a, tokens_b;
    for (const Event& e : run(engine)) {
        if (e.kind != Event::Kind::token) continue;
        CHECK((e.request == first || e.request == second));
        (e.request == second ? tokens_b : tokens_a).push_back(e.token);
    }
    CHECK(tokens_a == alone_a);
    CHECK(tokens_b == alone_b);
    CHECK(alone_a != alone_b);
}

TEST_CASE("prompt logits come once for every position and do not disturb what is generated") {
    Engine engine(model(), {.context = 64, .logit_rows = 3});
    const std::vector<int32_t> prompt = {5, 6, 7, 8, 9, 10, 11};
    const auto plain = generate(engine, {.prompt = prompt, .max_tokens = 4, .ignore_eos = true});
    engine.submit({.prompt = prompt, .max_tokens = 4, .ignore_eos = true, .prompt_logits = true});
    int64_t position = 0;
    std::vector<int32_t> tokens;
    while (!engine.idle())
        for (const Event& e : engine.step()) {
            if (e.kind == Event::Kind::token) tokens.push_back(e.token);
            if (e.kind != Event::Kind::logits) continue;
            CHECK(e.position == position);
            CHECK(int64_t(e.values.size()) == e.rows * model()->config.vocabulary);
            position += e.rows;
        }
    CHECK(position == 7);
    CHECK(tokens == plain);
}

TEST_CASE("a cancelled request ends within one step, whether it runs or waits") {
    Engine engine(model(), {.context = 64, .chunk = 1});
    const auto a = engine.submit({.prompt = {1, 2, 3, 4, 5, 6}});
    const auto b = engine.submit({.prompt = {1}});
    const auto c = engine.submit({.prompt = {1, 2}, .max_tokens = 1, .ignore_eos = true});
    engine.step();
    CHECK(engine.cancel(a));
    CHECK(engine.cancel(b));
    CHECK(!engine.cancel(99));
    std::vector<uint64_t> cancelled;
    for (const Event& e : engine.step())
        if (e.finish == Finish::cancelled) cancelled.push_back(e.request);
    CHECK(cancelled == std::vector<uint64_t>{a, b});
    const auto rest = run(engine);
    CHECK(rest.back().request == c);
    CHECK(rest.back().finish == Finish::length);
    CHECK(!engine.cancel(a));
    CHECK(!engine.cancel(c));
}

TEST_CASE("cancel may come from another thread during a step") {
    Engine engine(model(), {.context = 64});
    const auto id = engine.submit({.prompt = {1, 2, 3}, .ignore_eos = true, .context = {.first = 4, .last = 20}});
    std::thread other([&] {
        while (engine.counters().steps < 10) std::this_thread::yield();
        engine.cancel(id);
    });
    const auto events = run(engine);
    other.join();
    CHECK(events.back().finish == Finish::cancelled);
}

TEST_CASE("an engine takes as many threads as its model unless it is told otherwise") {
    const auto tasks = [] {
        const std::filesystem::directory_iterator all("/proc/self/task");
        return std::distance(begin(all), end(all));
    };
    const auto one = load_model(path, {.device = "cpu:base", .threads = 1});
    const auto before = tasks();
    Engine same(one, {.context = 64});
    CHECK(tasks() == before);
    Engine more(one, {.context = 64, .threads = 4});
    CHECK(tasks() == before + 3);
}

TEST_CASE("what a request asks for is checked before anything runs") {
    Engine engine(model(), {.context = 8});
    CHECK(refusal(engine, {}) == Status::invalid_argument);
    CHECK(refusal(engine, {.prompt = {96}}) == Status::invalid_argument);
    CHECK(refusal(engine, {.prompt = {-1}}) == Status::invalid_argument);
    CHECK(refusal(engine, {.prompt = {1}, .sampling = {.top_p = 2}}) == Status::invalid_argument);
    CHECK(refusal(engine, {.prompt = {1}, .max_tokens = -2}) == Status::invalid_argument);
    CHECK(refusal(engine, {.prompt = std::vector<int32_t>(9, 1)}) == Status::context_full);
    CHECK(refusal(engine, {.prompt = std::vector<int32_t>(8, 1)}) == Status::context_full);
    CHECK(refusal(engine, {.prompt = std::vector<int32_t>(8, 1), .max_tokens = 0}) == Status::ok);
    CHECK(run(engine).back().finish == Finish::length);
    CHECK_THROWS_AS(Engine(model(), {.context = 0}), Error);
    CHECK_THROWS_AS(Engine(model(), {.chunk = 0}), Error);
    CHECK_THROWS_AS(Engine(model(), {.cache = Format::Q4_0}), Error);
}

TEST_CASE("a 16-bit cache changes logits a little and halves its memory") {
    const std::vector<int32_t> ids = {4, 8, 15, 16, 23, 42};
    Engine exact(model(), {.context = 64, .cache = Format::F32}), half(model(), {.context = 64, .cache = Format::F16});
    const auto a = teacher_forced(exact, ids), b = teacher_forced(half, ids);
    double most = 0;
    for (size_t i = 0; i < a.size(); ++i) most = std::max(most, double(std::fabs(a[i] - b[i])));
    CHECK(most > 0);
    CHECK(most < 0.02);
    const Config& c = model()->config;
    CHECK(Cache::bytes(ref_kernels, c, 64, Format::F32) == 2 * Cache::bytes(ref_kernels, c, 64, Format::F16));
    CHECK(Cache::bytes(ref_kernels, c, 65, Format::F16) == 2 * c.layers * 128 * c.kv_dim() * 2);
}

TEST_CASE("the plan counts what loading and an engine take") {
    const EngineOptions options{.context = 1000, .chunk = 32};
    const MemoryPlan plan = plan_memory(path, {.device = "cpu:base"}, options);
    int64_t weights = 0, rest = 0;
    for (const PlanItem& item : plan.items) (item.name.starts_with("weights") ? weights : rest) += item.bytes;
    CHECK(plan.device == "cpu_base");
    CHECK(plan.total == weights + rest);
    CHECK(weights == model()->weight_bytes());
    CHECK(weights == model()->memory.size());
    CHECK(rest == engine_bytes(*model(), model()->device->kernels, options));
    CHECK(plan.fits());
}

TEST_CASE("loading tells its progress and stops when it is told to") {
    std::vector<std::string> phases;
    int64_t last = 0, total = 0;
    load_model(path, {.device = "cpu:base", .progress = [&](const Progress& p) {
                          if (phases.empty() || phases.back() != p.phase) {
                              phases.push_back(p.phase);
                              CHECK(p.done == 0);
                          } else {
                              CHECK(p.done > last);
                              CHECK(p.total == total);
                          }
                          last = p.done, total = p.total;
                          return true;
                      }});
    CHECK(phases == std::vector<std::string>{"files", "device", "tokenizer", "weights"});
    CHECK(last == total);
    CHECK(total == model()->weight_bytes());
    for (const std::string& phase : phases) {
        const auto stop = [&](const Progress& p) { return p.phase != phase; };
        CHECK(error_of([&] { load_model(path, {.device = "cpu:base", .progress = stop}); }).status ==
              Status::cancelled);
    }
}
