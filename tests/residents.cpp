// Sequences that outlive requests: forks, cuts, saved state and what is refused of it.
#include <cstring>
#include <map>
#include <random>

#include "engine/state.h"
#include "tests/support.h"

using namespace alia;

namespace {

const std::string models = TEST_DATA "/models/";

std::shared_ptr<const Model> model() {
    static const auto m = load_model(models + "alia", {.device = "cpu:base", .threads = 1});
    return m;
}

std::vector<int32_t> counting(int count) {
    std::vector<int32_t> ids;
    for (int i = 0; i < count; ++i) ids.push_back(i * 11 % 90);
    return ids;
}

Request ask(std::vector<int32_t> prompt, uint64_t sequence, int64_t tokens = 8) {
    return {.prompt = std::move(prompt),
            .sampling = {.temperature = 1, .frequency = 0.3, .seed = 5},
            .max_tokens = tokens,
            .ignore_eos = true,
            .sequence = sequence};
}

Status refusal(Engine& engine, std::span<const std::byte> state, std::string* item = nullptr) {
    try {
        engine.restore(state);
    } catch (const Error& e) {
        if (item) *item = e.item;
        return e.status;
    }
    return Status::ok;
}

// With a checksum that is right.
std::vector<std::byte> sealed(std::vector<std::byte> state) {
    const size_t end = state.size() - sizeof(Hash128);
    const Hash128 sum = siphash({}, std::span(state).first(end));
    std::memcpy(&state[end], &sum, sizeof sum);
    return state;
}

}  // namespace

TEST_CASE("a conversation goes on where it was, whether it stayed, was forked, or was saved and restored elsewhere") {
    Engine engine(model(), {.context = 512, .positions = 2048});
    const uint64_t a = engine.make_sequence();
    generate(engine, ask(counting(100), a));
    CHECK(engine.tokens(a).size() == 108);
    const uint64_t b = engine.fork(a);
    const auto state = engine.save(a);
    Engine other(model(), {.context = 512, .chunk = 7, .threads = 2});
    const uint64_t c = other.restore(state);
    CHECK(other.tokens(c) == engine.tokens(a));

    const auto expected = generate(engine, ask(counting(30), a));
    const int64_t before = other.counters().prompt_tokens + other.counters().generated_tokens;
    CHECK(generate(engine, ask(counting(30), b)) == expected);
    CHECK(generate(other, ask(counting(30), c)) == expected);
    // One page came with the state; the 44 tokens behind it, the new ones and the drawn ones but for the last did not.
    const int64_t processed = other.counters().prompt_tokens + other.counters().generated_tokens - before;
    CHECK(processed == 44 + 30 + 7);
}

TEST_CASE("a request that was cut off, saved and restored draws what it would have drawn") {
    Engine engine(model(), {.context = 256});
    const auto whole = generate(engine, ask(counting(80), engine.make_sequence(), 20));
    const uint64_t a = engine.make_sequence();
    const uint64_t id = engine.submit(ask(counting(80), a, 20));
    std::vector<int32_t> tokens;
    while (!engine.idle())
        for (const Event& e : engine.step()) {
            if (e.kind != Event::Kind::token) continue;
            tokens.push_back(e.token);
            if (tokens.size() == 9) engine.cancel(id);
        }
    Engine other(model(), {.context = 256});
    for (int32_t t : generate(other, ask({}, other.restore(engine.save(a)), 20 - int64_t(tokens.size()))))
        tokens.push_back(t);
    CHECK(tokens == whole);
}

TEST_CASE("truncating takes back an answer") {
    Engine engine(model(), {.context = 256});
    const uint64_t a = engine.make_sequence();
    const auto first = generate(engine, ask(counting(70), a));
    for (int64_t cut : {78, 70}) {
        engine.truncate(a, cut);
        CHECK(int64_t(engine.tokens(a).size()) == cut);
    }
    CHECK(generate(engine, ask({}, a)) == first);
    CHECK_THROWS_AS(engine.truncate(a, 1000), Error);
    CHECK_THROWS_AS(engine.truncate(a, -1), Error);
    engine.truncate(a, 0);
    CHECK(generate(engine, ask(counting(70), a)) == first);
}

TEST_CASE("a sequence that was emptied shares its pages no more than the request says that begins it again") {
    Engine engine(model(), {.context = 256});
    const uint64_t a = engine.make_sequence();
    generate(engine, ask({1, 2, 3}, a));
    engine.truncate(a, 0);
    Request secret = ask(counting(130), a);
    secret.share = false;
    const auto answer = generate(engine, std::move(secret));
    CHECK(generate(engine, ask(counting(130), 0)) == answer);
    CHECK(engine.counters().cached_tokens == 0);
}

TEST_CASE("a sequence that a request runs on, and one that is not there") {
    Engine engine(model(), {.context = 64});
    const uint64_t a = engine.make_sequence();
    const uint64_t id = engine.submit(ask({1, 2, 3}, a));
    auto status = [](auto f) {
        try {
            f();
        } catch (const Error& e) {
            return e.status;
        }
        return Status::ok;
    };
    for (bool stepped : {false, true}) {
        if (stepped) engine.step();
        CHECK(status([&] { engine.submit(ask({1}, a)); }) == Status::busy);
        CHECK(status([&] { engine.fork(a); }) == Status::busy);
        CHECK(status([&] { engine.truncate(a, 0); }) == Status::busy);
        CHECK(status([&] { engine.save(a); }) == Status::busy);
        CHECK(status([&] { engine.free_sequence(a); }) == Status::busy);
    }
    engine.cancel(id);
    engine.step();
    CHECK(engine.idle());
    engine.free_sequence(a);
    CHECK(status([&] { engine.tokens(a); }) == Status::not_found);
    CHECK(status([&] { engine.submit(ask({1}, a)); }) == Status::not_found);
    CHECK(status([&] { engine.submit(ask({}, engine.make_sequence())); }) == Status::invalid_argument);
}

TEST_CASE("altered state is refused by its checksum, wherever a bit was changed or the end cut off") {
    Engine engine(model(), {.context = 256});
    const uint64_t a = engine.make_sequence();
    generate(engine, ask(counting(70), a));
    const auto state = engine.save(a);
    CHECK(refusal(engine, state) == Status::ok);
    std::mt19937 rng(3);
    for (int i = 0; i < 400; ++i) {
        auto bad = state;
        const size_t at = i < 200 ? size_t(i) : rng() % bad.size();
        bad[at] ^= std::byte(1 << rng() % 8);
        const Status s = refusal(engine, bad);
        CHECK((s == Status::malformed || s == Status::unsupported || s == Status::truncated));
        const Status cut = refusal(engine, std::span(state).first(i < 200 ? size_t(i) : rng() % state.size()));
        CHECK((cut == Status::malformed || cut == Status::truncated));
    }
}

TEST_CASE("hostile state with a right checksum does no harm and reaches no other request") {
    Engine engine(model(), {.context = 256});
    const uint64_t a = engine.make_sequence();
    const auto expected = generate(engine, ask(counting(70), a));
    const auto state = engine.save(a);
    std::mt19937 rng(4);
    int restored = 0;
    for (int i = 0; i < 300; ++i) {
        auto bad = state;
        for (int n = 1 + int(rng() % 4); n > 0; --n) {
            const size_t header = 64 + rng() % (sizeof(StateHeader) + 400 - 64);
            bad[rng() % 2 ? header : rng() % bad.size()] = std::byte(rng());
        }
        bad = sealed(std::move(bad));
        try {
            const uint64_t b = engine.restore(bad);
            ++restored;
            engine.submit(ask({3}, b, 2));
            while (!engine.idle()) engine.step();
            engine.free_sequence(b);
        } catch (const Error& e) {
            CHECK((e.status == Status::malformed || e.status == Status::unsupported || e.status == Status::truncated ||
                   e.status == Status::context_full));
        }
    }
    CHECK(restored > 0);
    CHECK(generate(engine, ask(counting(70), engine.make_sequence())) == expected);
}

TEST_CASE("what a restored sequence held is not read by those that get its pages") {
    for (const char* device : {"cpu:base", "cpu"}) {
        const auto m = load_model(models + "alia", {.device = device, .threads = 1});
        for (const Format format : {Format::F32, Format::F16, Format::BF16}) {
            CAPTURE(device, info(format).name);
            Engine engine(m, {.context = 256, .cache = format});
            const auto expected = generate(engine, ask(counting(10), 0, 70));
            const uint64_t a = engine.make_sequence();
            generate(engine, ask(counting(240), a));
            auto state = engine.save(a);
            engine.free_sequence(a);
            const size_t pages_at = sizeof(StateHeader) + 248 * (sizeof(int32_t) + 1);
            std::fill(state.begin() + int64_t(pages_at), state.end(), std::byte(0xFF));  // not a number, in each format
            engine.free_sequence(engine.restore(sealed(std::move(state))));
            Request same = ask(counting(10), 0, 70);
            same.share = false;
            CHECK(generate(engine, same) == expected);
            CHECK(engine.counters().evictions > 0);
        }
    }
}

TEST_CASE("state belongs to a model, a table, a format and a length") {
    Engine engine(model(), {.context = 256});
    const uint64_t a = engine.make_sequence();
    generate(engine, ask(counting(70), a));
    const auto state = engine.save(a);
    std::string item;
    Engine small(model(), {.context = 64}), format(model(), {.context = 256, .cache = Format::F32});
    CHECK(refusal(small, state, &item) == Status::context_full);
    CHECK(item == "tokens");
    CHECK(refusal(format, state, &item) == Status::unsupported);
    CHECK(item == "cache");
    Engine table(load_model(models + "alia", {.device = "ref"}), {.context = 256, .cache = engine.options().cache});
    CHECK(refusal(table, state, &item) == Status::unsupported);
    CHECK(item == "table");
    const auto other = load_model(models + "yarn-full", {.device = "cpu:base"});
    Engine model_engine(other, {.context = 256});
    CHECK(refusal(model_engine, state, &item) == Status::unsupported);
    CHECK((item == "model" || item == "shape"));
    // One weight of the same shape.
    const auto changed = std::const_pointer_cast<Model>(load_model(models + "alia", {.device = "cpu:base"}));
    *static_cast<float*>(const_cast<void*>(static_cast<const void*>(changed->norm))) += 1;
    Engine changed_engine(changed, {.context = 256});
    CHECK(refusal(changed_engine, state, &item) == Status::unsupported);
    CHECK(item == "model");
}

TEST_CASE("pages of sequences that nothing runs on give way, and their tokens stay") {
    Engine engine(model(), {.context = 128, .positions = 256});
    std::vector<uint64_t> all;
    std::vector<std::vector<int32_t>> next;
    for (int i = 0; i < 6; ++i) {
        all.push_back(engine.make_sequence());
        auto ids = counting(90);
        ids[0] = i;
        generate(engine, ask(ids, all.back()));
    }
    Engine alone(model(), {.context = 128});
    for (int i = 0; i < 6; ++i) {
        const uint64_t twin = alone.make_sequence();
        auto ids = counting(90);
        ids[0] = i;
        generate(alone, ask(ids, twin));
        CHECK(generate(engine, ask({4}, all[size_t(i)])) == generate(alone, ask({4}, twin)));
        alone.free_sequence(twin);
    }
}

TEST_CASE("pages of a sequence whose request still waits give way too") {
    Engine engine(model(), {.context = 256, .sequences = 1}), alone(model(), {.context = 256, .positions = 1024});
    const uint64_t a = engine.make_sequence(), twin = alone.make_sequence();
    generate(engine, ask(counting(120), a));
    generate(alone, ask(counting(120), twin));
    const std::vector<int32_t> other(200, 3);
    const uint64_t first = engine.submit(ask(other, 0)), second = engine.submit(ask({7}, a));
    std::map<uint64_t, std::vector<int32_t>> told;
    for (int steps = 0; !engine.idle() && steps < 100; ++steps)
        for (const Event& e : engine.step())
            if (e.kind == Event::Kind::token) told[e.request].push_back(e.token);
    CHECK(engine.idle());
    CHECK(told[first] == generate(alone, ask(other, 0)));
    CHECK(told[second] == generate(alone, ask({7}, twin)));
}
