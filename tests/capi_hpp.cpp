// capi/alia.hpp: errors as values and as exceptions, owners, ranges, and functions of the caller that throw.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "capi/alia.hpp"
#include "tests/capi_hpp_plain.h"
#include "tests/catch.h"

using namespace std::chrono_literals;

namespace {

const std::string path = TINY_CHAT;

static_assert(std::input_iterator<alia::event_stream::iterator>);
static_assert(std::sentinel_for<std::default_sentinel_t, alia::text_stream::iterator>);
static_assert(!std::is_copy_constructible_v<alia::model> && std::is_nothrow_move_constructible_v<alia::model>);
static_assert(!std::is_copy_constructible_v<alia::engine> && std::is_nothrow_move_constructible_v<alia::engine>);
static_assert(!std::is_copy_constructible_v<alia::sequence> && std::is_nothrow_move_assignable_v<alia::sequence>);
static_assert(!std::is_copy_constructible_v<alia::event_stream>);

alia::model open_model() { return alia::model::open(path); }
alia::engine open_engine() { return alia::engine::open(open_model(), {.context = 256, .chunk = 8}); }

std::string read(const std::string& name) {
    std::ifstream file(path + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// The ids that the request generates, by the C interface alone.
std::vector<int32_t> generated(alia_engine* engine, const std::vector<int32_t>& ids, int64_t tokens) {
    alia_request_options options = ALIA_REQUEST_OPTIONS_INIT;
    options.max_tokens = tokens;
    options.flags = ALIA_REQUEST_IGNORE_EOS;
    uint64_t request = 0;
    REQUIRE(alia_engine_submit(engine, ids.data(), ids.size(), &options, &request) == ALIA_OK);
    std::vector<int32_t> out;
    for (;;) {
        alia_event event = ALIA_EVENT_INIT;
        uint32_t count = 0;
        REQUIRE(alia_engine_step(engine, &event, 1, &count) == ALIA_OK);
        if (count && event.kind == ALIA_EVENT_TOKEN) out.push_back(event.token);
        if (count && event.kind == ALIA_EVENT_FINISHED) return out;
    }
}

std::vector<int32_t> tokens_of(alia::event_stream stream) {
    std::vector<int32_t> out;
    for (const alia::event& e : stream)
        if (e.kind == ALIA_EVENT_TOKEN) out.push_back(e.token);
    return out;
}

}  // namespace

TEST_CASE("options without a word are alia.h's") {
    alia::model_options model;
    alia::detail::callables calls{model.progress};
    alia_model_options m = alia::detail::raw(model, calls), m0 = ALIA_MODEL_OPTIONS_INIT;
    m.device = nullptr;
    CHECK(std::memcmp(&m, &m0, sizeof m) == 0);
    const alia_engine_options e = alia::detail::raw(alia::engine_options{}), e0 = ALIA_ENGINE_OPTIONS_INIT;
    CHECK(std::memcmp(&e, &e0, sizeof e) == 0);
    alia_chat_options h = alia::detail::raw(alia::chat_options{}), h0 = ALIA_CHAT_OPTIONS_INIT;
    h.tools = h.variables = h.template_name = nullptr;
    CHECK(std::memcmp(&h, &h0, sizeof h) == 0);
    alia_request_options r = alia::detail::raw_request({}).c, r0 = ALIA_REQUEST_OPTIONS_INIT;
    r.salt = nullptr;
    CHECK(std::memcmp(&r, &r0, sizeof r) == 0);
}

TEST_CASE("every option arrives") {
    using namespace std::string_literals;
    const alia::request_options o{.max_tokens = 1,
                                  .temperature = 2,
                                  .top_p = 3,
                                  .min_p = 4,
                                  .repetition_penalty = 5,
                                  .frequency_penalty = 6,
                                  .presence_penalty = 7,
                                  .top_k = 8,
                                  .stop = {9, 10},
                                  .bias = {{11, 12.f}},
                                  .seed = 13,
                                  .min_tokens = 14,
                                  .stop_text = {"a\0b"s, "c"},
                                  .completions = 15,
                                  .priority = 16,
                                  .top_tokens = 17,
                                  .pooling = 18,
                                  .deadline = 19s,
                                  .context_first = 20,
                                  .context_last = 21,
                                  .sequence = 22,
                                  .salt = "salt",
                                  .ignore_eos = true,
                                  .prompt_scores = true,
                                  .share = false};
    const alia::detail::raw_request raw(o);
    const alia_request_options& c = raw.c;
    CHECK((c.size == sizeof c && c.max_tokens == 1 && c.temperature == 2 && c.top_p == 3 && c.min_p == 4));
    CHECK((c.repetition_penalty == 5 && c.frequency_penalty == 6 && c.presence_penalty == 7 && c.top_k == 8));
    CHECK((c.stop_count == 2 && c.stop[1] == 10 && c.bias_count == 1 && c.bias_token[0] == 11 && c.bias[0] == 12));
    CHECK((c.seed == 13 && c.min_tokens == 14 && c.completions == 15 && c.priority == 16 && c.top_tokens == 17));
    CHECK((c.stop_text_count == 2 && c.stop_text_length[0] == 3 && std::memcmp(c.stop_text[0], "a\0b", 3) == 0));
    CHECK((c.pooling == 18 && c.deadline == 19000 && c.context_first == 20 && c.context_last == 21));
    CHECK((c.sequence == 22 && std::string_view(c.salt, c.salt_length) == "salt"));
    CHECK(c.flags == (ALIA_REQUEST_IGNORE_EOS | ALIA_REQUEST_PROMPT_SCORES | ALIA_REQUEST_DO_NOT_SHARE));
    const alia::detail::raw_request others({.prompt_logits = true, .normalise = true, .choose = true});
    CHECK(others.c.flags == (ALIA_REQUEST_PROMPT_LOGITS | ALIA_REQUEST_NORMALISE | ALIA_REQUEST_CHOOSE));

    const alia_engine_options e = alia::detail::raw(alia::engine_options{1, 2, 3, 4, 5, 6, 7, 8});
    CHECK((e.cache == 1 && e.context == 2 && e.chunk == 3 && e.logit_rows == 4 && e.threads == 5));
    CHECK((e.sequences == 6 && e.positions == 7 && e.queue == 8));
    const alia::chat_options chat{1, "[2]", "{}", "four", 5};
    const alia_chat_options h = alia::detail::raw(chat);
    CHECK((h.end == 1 && std::string_view(h.tools, h.tools_length) == "[2]" && h.now == 5));
    CHECK(std::string_view(h.variables, h.variables_length) == "{}");
    CHECK(std::string_view(h.template_name, h.template_name_length) == "four");
    const alia::model_options given{1, "cpu", 2, true, 3, [](const alia_progress&) { return true; }};
    alia::detail::callables calls{given.progress};
    const alia_model_options m = alia::detail::raw(given, calls);
    CHECK((m.load == 1 && std::string_view(m.device, m.device_length) == "cpu" && m.threads == 2));
    CHECK((m.flags == ALIA_MODEL_PIN_THREADS && m.json_bytes == 3 && m.progress && m.user == &calls));
}

TEST_CASE("a failure is a value, or an exception") {
    auto none = alia::model::open("/none.gguf");
    REQUIRE(!none);
    CHECK((!none.has_value() && none.error().status == ALIA_NOT_FOUND && none.error().handle_usable));
    CHECK(none.error().message.find("/none.gguf") != std::string::npos);
    CHECK_THROWS_AS(none.value(), alia::error);
    CHECK_THROWS_AS(std::as_const(none).value(), alia::error);
    try {
        const alia::model m = alia::model::open(path, {.threads = -1});
        FAIL();
    } catch (const alia::error& e) {
        CHECK((e.status == ALIA_INVALID_ARGUMENT && e.item == "options.threads" && e.what() == e.message));
    }
    alia::engine engine = open_engine();
    auto unknown = engine.cancel(77);
    CHECK((!unknown && unknown.error().status == ALIA_NOT_FOUND && unknown.error().item == "request"));
    CHECK_THROWS_AS(engine.cancel(77).value(), alia::error);
    // The error is its own copy: the next failure does not change it.
    CHECK(!alia::model::open("/other.gguf"));
    CHECK(unknown.error().item == "request");
}

TEST_CASE("an error names the item and the byte") {
    const std::string config = read("config.json"), weights = read("model.safetensors");
    const alia::memory_file files[] = {
        {"config.json", std::as_bytes(std::span(config))},
        {"model.safetensors", std::as_bytes(std::span(weights)).first(weights.size() - 10)}};
    auto model = alia::model::open_memory(files);
    REQUIRE(!model);
    CHECK((model.error().status == ALIA_TRUNCATED && model.error().item == "lm_head.weight"));
    CHECK(model.error().offset > 600000);
}

TEST_CASE("results hold, lend and give") {
    alia::result<std::string> text = std::string("abc");
    REQUIRE(text);
    CHECK((*text == "abc" && text->size() == 3 && text.value() == "abc" && std::as_const(text)->size() == 3));
    const std::string taken = std::move(text);
    CHECK(taken == "abc");
    std::string again;
    again = alia::result<std::string>(std::string("def"));
    CHECK(again == "def");
    CHECK(alia::result<void>());
    CHECK(!alia::result<void>(alia::error(ALIA_BUSY)));
    auto owner = alia::result<std::unique_ptr<int>>(std::make_unique<int>(5));
    CHECK(*std::move(owner).value() == 5);
}

TEST_CASE("text and tokens") {
    const alia::model model = open_model();
    const std::vector<int32_t> ids = model.encode("hola");
    CHECK((ids.size() == 6 && ids[0] == 1));
    CHECK(model.encode("hola", false).value() == std::vector<int32_t>(ids.begin() + 1, ids.end()));
    CHECK(model.decode(ids).value() == "hola");
    CHECK(model.decode(ids, true).value() == "<s> hola");
    const int32_t end = model.token_find("<|im_end|>");
    CHECK(end == 5);
    CHECK(model.encode({{"<|im_end|>", ALIA_PART_TRUSTED}}, false).value() == std::vector{end});
    CHECK(model.encode({{"<|im_end|>"}}, false)->size() > 5);
    CHECK(model.encode(std::vector<alia::text_part>{{"ho"}, {"la"}}).value() == ids);
    CHECK(model.encode("", false)->empty());
    CHECK(model.token_bytes(ids[2]).value() == "h");
    CHECK((model.bos().value() == 1 && model.vocabulary().value() > 60));
    const std::span<const int32_t> eos = model.eos();
    CHECK(std::vector(eos.begin(), eos.end()) == std::vector<int32_t>{2, 5});
    CHECK(model.token_find("nothing").error().status == ALIA_NOT_FOUND);
    CHECK(model.decode(std::vector{-1}).error().item == "ids[0]");
    CHECK(model.info()->find("\"vocabulary\"") != std::string::npos);
    CHECK(alia::plan(path, {}, {.context = 64})->find("\"fits\"") != std::string::npos);
    CHECK(alia::plan("/none").error().status == ALIA_NOT_FOUND);
}

TEST_CASE("handles free what they own, when the last owner goes") {
    std::optional<alia::model> model = open_model();
    alia::model moved = *std::move(model);
    CHECK((model->get() == nullptr && moved.get() != nullptr));
    model.reset();
    alia_model* const m = moved.get();
    std::optional<alia::engine> engine = alia::engine::open(moved).value();
    moved = open_model();  // the engine still has the first one, whose texts it needs
    const std::string answer = engine->ask("hola", {.max_tokens = 4}).text();
    CHECK(!answer.empty());

    alia_engine* const e = engine->get();
    std::optional<alia::sequence> kept = engine->new_sequence().value();
    std::optional<alia::event_stream> stream = engine->stream("hola", {.max_tokens = 4});
    engine.reset();
    CHECK(tokens_of(*std::exchange(stream, std::nullopt)).size() == 4);
    CHECK(kept->tokens()->empty());
    int32_t idle = 0, bos = 0;
    CHECK((alia_engine_idle(e, &idle) == ALIA_OK && alia_model_bos(m, &bos) == ALIA_OK));
    kept.reset();
    CHECK((alia_engine_idle(e, &idle) == ALIA_BAD_HANDLE && alia_model_bos(m, &bos) == ALIA_BAD_HANDLE));
}

TEST_CASE("a stream's events are the C interface's") {
    alia::engine engine = open_engine();
    const std::vector<int32_t> ids = open_model().encode("The capital");
    const std::vector<int32_t> expected = generated(engine.get(), ids, 20);
    REQUIRE(expected.size() == 20);

    std::vector<int32_t> tokens;
    std::string text;
    std::optional<alia::event> end;
    auto stream = engine.stream(ids, {.max_tokens = 20, .top_tokens = 3, .ignore_eos = true});
    CHECK(stream.request() == 2);
    for (const alia::event& e : stream) {
        CHECK((!end && e.request == 2 && e.completion == 0));
        text += e.text;
        if (e.kind == ALIA_EVENT_FINISHED) end = e;
        if (e.kind != ALIA_EVENT_TOKEN) continue;
        tokens.push_back(e.token);
        CHECK((e.top.size() == 3 && e.top[0].logprob >= e.top[1].logprob && e.logprob <= 0));
        CHECK(e.alia_event::text == nullptr);
    }
    CHECK(tokens == expected);
    REQUIRE(end);
    CHECK((end->finish == ALIA_FINISH_LENGTH && end->generated_tokens == 20));
    CHECK(end->prompt_tokens == int64_t(ids.size()));
    CHECK(engine.idle());

    auto answer = engine.ask(ids, {.max_tokens = 20, .ignore_eos = true});
    std::string pieces;
    for (std::string_view piece : answer) {
        CHECK(!piece.empty());
        pieces += piece;
    }
    CHECK((pieces == text && answer.last().finish == ALIA_FINISH_LENGTH && answer.last().generated_tokens == 20));
    CHECK(engine.ask("The capital", {.max_tokens = 20, .ignore_eos = true}).text().value() == text);
    CHECK(plain_answer(path.c_str(), "The capital") == engine.ask(ids, {.max_tokens = 12}).text().value());
    CHECK(plain_answer("/none", "a").find("/none") != std::string::npos);

    std::vector<float> logits;
    for (const alia::event& e : engine.stream(ids, {.max_tokens = 0, .prompt_logits = true})) {
        if (e.kind != ALIA_EVENT_LOGITS) continue;
        CHECK(e.values.size() == size_t(e.rows) * size_t(e.columns));
        logits.insert(logits.end(), e.values.begin(), e.values.end());
    }
    CHECK(logits.size() == ids.size() * 96);
}

TEST_CASE("a refused prompt is a stream of one error") {
    alia::engine engine = open_engine();
    int elements = 0;
    for (const auto& e : engine.stream(std::span<const int32_t>())) {
        ++elements;
        REQUIRE(!e);
        CHECK((e.error().status == ALIA_INVALID_ARGUMENT && e.error().item == "prompt"));
    }
    CHECK(elements == 1);
    const auto read_all = [&] {
        for (const alia::event& e : engine.stream("hola", {.completions = 1000})) CHECK(e.request);
    };
    CHECK_THROWS_AS(read_all(), alia::error);
    CHECK(engine.ask("hola", {.top_p = 7}).text().error().item == "top_p");
    alia::engine silent = alia::engine::open(alia::model::open(TEST_DATA "/models/alia").value());
    CHECK(silent.ask("hola").text().error().status == ALIA_NO_TOKENIZER);
    CHECK(engine.idle());
}

TEST_CASE("a request that fails alone ends its text with the error") {
    alia::engine engine = open_engine();
    alia::request_options nothing{.max_tokens = 3};
    for (int32_t token = 0; token < 96; ++token) nothing.bias.push_back({token, -INFINITY});
    auto answer = engine.ask("hola", nothing);
    auto beside = engine.ask("hola", {.max_tokens = 3, .ignore_eos = true});
    auto text = answer.text();
    REQUIRE(!text);
    CHECK((text.error().status == ALIA_MALFORMED && !text.error().message.empty()));
    CHECK(answer.last().finish == ALIA_FINISH_ERROR);
    CHECK(beside.text().value() == engine.ask("hola", {.max_tokens = 3, .ignore_eos = true}).text().value());
    const auto use = [&] {
        for (std::string_view piece : engine.ask("hola", nothing)) CHECK(piece.empty());
    };
    CHECK_THROWS_AS(use(), alia::error);
}

TEST_CASE("streams of one engine are read in any order") {
    alia::engine engine = open_engine();
    const alia::model model = open_model();
    const std::vector<int32_t> a = model.encode("hola"), b = model.encode("Bon dia"), c = model.encode("uno dos tres");
    const auto one = tokens_of(engine.stream(a, {.max_tokens = 30})),
               two = tokens_of(engine.stream(b, {.max_tokens = 9}));
    const auto three = tokens_of(engine.stream(c, {.max_tokens = 12}));

    auto first = engine.stream(a, {.max_tokens = 30});
    auto abandoned = std::optional(engine.stream(c, {.max_tokens = 200, .ignore_eos = true}));
    const uint64_t by_number = engine.submit(c, {.max_tokens = 12}).value();
    auto second = engine.stream(b, {.max_tokens = 9});
    CHECK(abandoned->begin()->has_value());
    CHECK(tokens_of(std::move(second)) == two);
    abandoned.reset();
    CHECK(tokens_of(std::move(first)) == one);
    std::vector<int32_t> rest;
    for (const alia::event& e : engine.events()) {
        CHECK(e.request == by_number);
        if (e.kind == ALIA_EVENT_TOKEN) rest.push_back(e.token);
    }
    CHECK((rest == three && engine.idle()));

    // Stepped by hand; what was not asked for by number does not come.
    auto unread = engine.stream(b, {.max_tokens = 9});
    const uint64_t number = engine.submit(c, {.max_tokens = 12}).value();
    rest.clear();
    for (bool over = false; !over;)
        for (const alia::event& e : engine.step().value()) {
            CHECK(e.request == number);
            if (e.kind == ALIA_EVENT_TOKEN) rest.push_back(e.token);
            over = over || e.kind == ALIA_EVENT_FINISHED;
        }
    CHECK((rest == three && tokens_of(std::move(unread)) == two));
    CHECK(engine.counters()->find("\"steps\"") != std::string::npos);
}

TEST_CASE("a forked child is told that the engine is not its own") {
    alia::engine engine = open_engine();
    const std::vector<int32_t> ids = open_model().encode("hola");
    auto begun = engine.stream(ids, {.max_tokens = 50, .ignore_eos = true});
    begun.begin();
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        int bad_handles = 0;
        for (const auto& e : begun) bad_handles += !e && e.error().status == ALIA_BAD_HANDLE;
        for (const auto& e : engine.stream(ids)) bad_handles += !e && e.error().status == ALIA_BAD_HANDLE;
        _exit(engine.idle() && bad_handles == 2 ? 0 : 1);
    }
    int status = -1;
    CHECK((waitpid(child, &status, 0) == child && status == 0));
    CHECK(tokens_of(std::move(begun)).size() >= 49);
}

TEST_CASE("completions of one stream") {
    alia::engine engine = open_engine();
    std::map<int32_t, int> tokens;
    int finished = 0;
    for (const alia::event& e :
         engine.stream("hola", {.max_tokens = 5, .temperature = 1, .completions = 3, .ignore_eos = true})) {
        tokens[e.completion] += e.kind == ALIA_EVENT_TOKEN;
        finished += e.kind == ALIA_EVENT_FINISHED;
    }
    CHECK((finished == 3 && tokens == std::map<int32_t, int>{{0, 5}, {1, 5}, {2, 5}}));
}

TEST_CASE("threads read a stream each, pulling or in the background") {
    alia::engine engine = open_engine();
    std::vector<std::vector<int32_t>> prompts, expected;
    for (const char* text : {"hola", "Bon dia", "uno", "dos tres"}) {
        prompts.push_back(open_model().encode(text));
        expected.push_back(tokens_of(engine.stream(prompts.back(), {.max_tokens = 25})));
    }
    for (bool background : {false, true}) {
        if (background) engine.start().value();
        std::vector<std::vector<int32_t>> got(prompts.size());
        std::vector<std::thread> threads;
        for (size_t i = 0; i < prompts.size(); ++i)
            threads.emplace_back([&, i] {
                for (int round = 0; round < 3; ++round) {
                    got[i] = tokens_of(engine.stream(prompts[i], {.max_tokens = 25}));
                    auto unread = engine.stream(prompts[i], {.max_tokens = 25});
                    if (round == 1) unread.begin();
                }
            });
        for (std::thread& t : threads) t.join();
        CHECK(got == expected);
    }

    CHECK(engine.start().error().status == ALIA_BUSY);
    CHECK(engine.step().error().status == ALIA_BUSY);
    CHECK(engine.next(0ms)->empty());
    const auto before = std::chrono::steady_clock::now();
    CHECK(engine.next(20ms)->empty());
    CHECK(std::chrono::steady_clock::now() - before >= 20ms);
    const uint64_t number = engine.submit(prompts[0], {.max_tokens = 25}).value();
    std::vector<int32_t> tokens;
    for (bool over = false; !over;)
        for (const alia::event& e : engine.next(-1ms).value()) {
            CHECK(e.request == number);
            if (e.kind == ALIA_EVENT_TOKEN) tokens.push_back(e.token);
            over = over || e.kind == ALIA_EVENT_FINISHED;
        }
    CHECK(tokens == expected[0]);

    // One that waits by number does not keep a stream from its events, nor the other way round.
    std::thread waits([&] { CHECK(engine.next(10s)->size() >= 1); });
    CHECK(tokens_of(engine.stream(prompts[1], {.max_tokens = 25})) == expected[1]);
    engine.submit(prompts[0], {.max_tokens = 1}).value();
    waits.join();
    engine.stop().value();
    for (const alia::event& e : engine.events()) CHECK(e.request > number);
    CHECK(engine.next(0ms).error().status == ALIA_BUSY);
    CHECK(tokens_of(engine.stream(prompts[2], {.max_tokens = 25})) == expected[2]);
}

TEST_CASE("a caller chooses from the logits") {
    alia::engine engine = open_engine();
    const std::vector<int32_t> script{20, 30, 40};
    std::vector<int32_t> tokens;
    for (const alia::event& e : engine.stream("hola", {.max_tokens = 3, .temperature = 0, .choose = true})) {
        if (e.kind == ALIA_EVENT_TOKEN) tokens.push_back(e.token);
        if (e.kind != ALIA_EVENT_CHOICE) continue;
        std::vector<float> logits(size_t(e.columns), -10.f);
        logits[size_t(script[tokens.size()])] = 10.f;
        CHECK(!engine.choose(e.request, 1, logits));
        engine.choose(e.request, e.completion, logits).value();
    }
    CHECK(tokens == script);
    // Without an answer there is nothing to wait for.
    int elements = 0;
    for (const auto& e : engine.stream("hola", {.max_tokens = 3, .choose = true})) {
        ++elements;
        if (!e) CHECK(e.error().status == ALIA_BUSY);
        if (e) CHECK(e->kind == ALIA_EVENT_CHOICE);
    }
    CHECK(elements == 2);
}

TEST_CASE("a stream splits no character, wherever it ends") {
    const alia::model model = alia::model::open(TINY_BYTES);
    alia::engine engine = alia::engine::open(model, {.context = 256});
    const std::string whole = "ola 👩‍👩‍👧 e\u0301\u0323n\u0303 🏳️‍🌈 𝒜 ñ€x";
    const std::vector<int32_t> ids = model.encode(whole, false);
    const auto starts_character = [](char c) { return (uint8_t(c) & 0xC0) != 0x80; };
    for (size_t cut = 1; cut <= ids.size(); ++cut) {
        std::string text;
        size_t pieces = 0, tokens = 0;
        for (const alia::event& e :
             engine.stream("a", {.max_tokens = int64_t(cut), .ignore_eos = true, .choose = true})) {
            if (e.kind == ALIA_EVENT_CHOICE) {
                std::vector<float> logits(size_t(e.columns), -1e9f);
                logits[size_t(ids[tokens++])] = 0;
                engine.choose(e.request, e.completion, logits).value();
            }
            if (e.text.empty()) continue;
            CHECK(starts_character(e.text[0]));
            text += e.text;
            ++pieces;
        }
        CHECK(text == model.decode(std::span(ids).first(cut)).value());
        if (cut < ids.size()) continue;
        CHECK(text == whole);
        CHECK((pieces > 2 && pieces < ids.size()));
    }
}

TEST_CASE("resident sequences") {
    alia::engine engine = open_engine();
    const std::vector<int32_t> start = open_model().encode("Bon dia"), more = open_model().encode("hola", false);
    alia::sequence a = engine.new_sequence();
    const alia::request_options on_a{.max_tokens = 10, .sequence = a.number(), .ignore_eos = true};
    const auto said = tokens_of(engine.stream(start, on_a));
    CHECK(a.tokens()->size() == start.size() + 10);

    alia::sequence b = a.fork();
    const std::vector<std::byte> saved = a.save();
    const std::string file = path + ".state";
    a.save_file(file).value();
    const auto expected = tokens_of(engine.stream(more, on_a));
    alia::sequence c = engine.restore(saved), d = engine.restore_file(file);
    std::filesystem::remove(file);
    for (alia::sequence* s : {&b, &c, &d})
        CHECK(tokens_of(engine.stream(more, {.max_tokens = 10, .sequence = s->number(), .ignore_eos = true})) ==
              expected);
    b.truncate(3).value();
    CHECK(b.tokens()->size() == 3);
    CHECK(b.truncate(4).error().status == ALIA_INVALID_ARGUMENT);
    CHECK(engine.restore(std::span(saved).first(20)).error().status == ALIA_TRUNCATED);
    CHECK(engine.restore_file(file).error().status == ALIA_NOT_FOUND);

    const uint64_t ended = b.number();
    b = std::move(c);
    { const alia::sequence old = std::move(c); }
    CHECK(engine.submit(more, {.sequence = ended}).error().status == ALIA_NOT_FOUND);
    CHECK(!said.empty());
}

TEST_CASE("conversations, of which what has not changed is kept") {
    const alia::model model = open_model();
    const std::string asked = R"([{"role": "user", "content": "hola"})";
    const std::string turn = "<|im_start|>user\nhola<|im_end|>\n<|im_start|>assistant\n";
    CHECK(model.render_chat(asked + "]").value() == turn);
    CHECK(model.render_chat(asked + "]", {.end = ALIA_CHAT_CONTINUE}).value() == "<|im_start|>user\nhola");
    CHECK(model.render_chat(asked + "]", {.tools = R"([{"name": "f"}])"})->find("'name': 'f'") != std::string::npos);
    CHECK(model.chat_stops().value() == std::vector<int32_t>{5});
    const std::vector<int32_t> ids = model.encode_chat(asked + "]");
    CHECK((ids[0] == 1 && std::count(ids.begin(), ids.end(), 5) == 1));
    CHECK(model.encode_chat(asked).error().status == ALIA_MALFORMED);
    CHECK(model.encode_chat(asked + "]", {.end = 9}).error().item == "options.end");
    CHECK(model.encode_chat(asked + "]", {.template_name = "none"}).error().status == ALIA_NOT_FOUND);
    CHECK(model.encode_chat(asked + "]", {.variables = "[]"}).error().item == "variables");

    alia::engine engine = alia::engine::open(model, {.context = 256});
    alia::sequence talk = engine.new_sequence();
    CHECK(talk.keep(ids).value() == 0);
    const std::string answer = engine.ask(ids, {.max_tokens = 8, .sequence = talk.number(), .ignore_eos = true}).text();
    const std::vector<int32_t> next = model.encode_chat(asked + R"(, {"role": "user", "content": "uno"}])");
    const uint64_t kept = talk.keep(next);
    CHECK((kept > 5 && kept < ids.size() && talk.tokens()->size() == kept));
    const auto rest = std::span(next).subspan(kept);
    const auto said = tokens_of(engine.stream(rest, {.max_tokens = 8, .sequence = talk.number(), .ignore_eos = true}));
    CHECK(said == tokens_of(engine.stream(next, {.max_tokens = 8, .ignore_eos = true})));
    CHECK(talk.keep({}).value() == 0);
}

TEST_CASE("what a progress function throws comes out of the call") {
    struct Stop {
        int number;
    };
    int calls = 0;
    const alia::model_options throwing{.progress = [&](const alia_progress& p) -> bool {
        CHECK((std::string_view(p.phase) == "files" && p.done <= p.total));
        ++calls;
        throw Stop{7};
    }};
    try {
        const alia::model model = alia::model::open(path, throwing);
        FAIL();
    } catch (const Stop& s) {
        CHECK(s.number == 7);
    }
    CHECK(calls == 1);
    auto as_value = alia::model::open(path, throwing);
    CHECK((!as_value && as_value.error().status == ALIA_CANCELLED && as_value.error().cause));
    auto stopped = alia::model::open(path, {.progress = [](const alia_progress&) { return false; }});
    CHECK((!stopped && stopped.error().status == ALIA_CANCELLED && !stopped.error().cause));
    CHECK_THROWS_AS(stopped.value(), alia::error);

    const std::string target = path + ".gguf";
    const auto quantize = [&](std::function<bool(const alia_progress&)> progress) {
        return alia::quantize(path, target, "Q8_0", {.progress = std::move(progress)});
    };
    CHECK_THROWS_AS(quantize([](const alia_progress&) -> bool { throw Stop{1}; }).value(), Stop);
    CHECK(!std::filesystem::exists(target));
    CHECK(quantize([](const alia_progress&) { return true; })->find("\"file_bytes\"") != std::string::npos);
    std::filesystem::remove(target);
}

TEST_CASE("models from memory and from readers") {
    std::map<std::string, std::string, std::less<>> files;
    for (const char* name : {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"})
        files[name] = read(name);
    std::vector<alia::memory_file> memory;
    for (const auto& [name, bytes] : files) memory.push_back({name, std::as_bytes(std::span(bytes))});
    const std::string expected = open_engine().ask("hola", {.max_tokens = 8}).text();
    CHECK(alia::engine::open(alia::model::open_memory(memory).value())->ask("hola", {.max_tokens = 8}).text().value() ==
          expected);

    alia::reader reader;
    CHECK(alia::model::open_reader(reader).error().item == "reader");
    reader.file_size = [&](std::string_view name) -> std::optional<int64_t> {
        const auto found = files.find(name);
        if (found == files.end()) return {};
        return int64_t(found->second.size());
    };
    reader.read = [&](std::string_view name, int64_t offset, std::span<std::byte> to) {
        std::memcpy(to.data(), files.find(name)->second.data() + offset, to.size());
        return true;
    };
    CHECK(alia::engine::open(alia::model::open_reader(reader).value())->ask("hola", {.max_tokens = 8}).text().value() ==
          expected);
    CHECK(alia::model::open_reader(reader, "none.gguf").error().status == ALIA_NOT_FOUND);

    alia::reader failing = reader;
    failing.read = [](std::string_view, int64_t, std::span<std::byte>) { return false; };
    CHECK(alia::model::open_reader(failing).error().status == ALIA_IO);
    failing.read = [](std::string_view, int64_t, std::span<std::byte>) -> bool { throw std::runtime_error("disk"); };
    CHECK_THROWS_AS(alia::model::open_reader(failing).value(), std::runtime_error);
    // Even where the library would do without the file.
    alia::reader unsure = reader;
    unsure.file_size = [&](std::string_view name) -> std::optional<int64_t> {
        if (name == "generation_config.json") throw std::runtime_error("network");
        return reader.file_size(name);
    };
    CHECK_THROWS_AS(alia::model::open_reader(unsure).value(), std::runtime_error);
}
