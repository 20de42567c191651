// Whole tiny models on the CUDA device: logits against the independent implementation, the same bits whatever runs
// beside a request, replayed passes, and calls of the runtime that fail.
#include <cmath>
#include <filesystem>
#include <map>
#include <random>
#include <regex>
#include <thread>

#include "tests/files.h"
#include "tests/support.h"
#ifndef ALIA_CARD
#include <cuda_runtime.h>

#include "tests/emulated/emulated.h"
#endif

using namespace alia;

namespace {

const std::string models = TEST_DATA "/models/";

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

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::shared_ptr<const Model> load(const std::string& path) {
    const auto model = load_model(models + path, {.device = "cuda:0", .threads = 2});
    REQUIRE(model->device->kernels.name == std::string("cuda"));
    return model;
}

std::vector<int32_t> ids_of(const std::string& name, size_t most) {
    auto ids = read_ids(models + name + ".ids.txt");
    ids.resize(std::min(ids.size(), most));
    return ids;
}

// Tokens of many requests by request, stepped together.
std::vector<std::vector<int32_t>> together(Engine& engine, const std::vector<Request>& requests) {
    std::vector<std::vector<int32_t>> tokens(requests.size());
    std::vector<uint64_t> numbers;
    for (const Request& r : requests) numbers.push_back(engine.submit(r));
    while (!engine.idle())
        for (const Event& e : engine.step())
            if (e.kind == Event::Kind::token)
                tokens[size_t(std::find(numbers.begin(), numbers.end(), e.request) - numbers.begin())].push_back(
                    e.token);
    return tokens;
}

}  // namespace

TEST_CASE("CUDA: logits of tiny models agree with the independent implementation") {
    std::istringstream lines(read_file(models + "manifest.txt"));
    int compared = 0;
    for (std::string line; std::getline(lines, line);) {
        if (line.empty() || line[0] == '#') continue;
        std::string name, path;
        double tolerance = 0;
        std::istringstream(line) >> name >> path >> tolerance;
        INFO(name);
        const auto model = load(path);
        if (!model->device->kernels.caches(Format::BF16, model->config.head_dim)) continue;
        ++compared;
        const auto ids = ids_of(name, 24);
        Engine engine(model, {.context = 256});
        auto expected = read_npy(models + name + ".logits.npy");
        expected.resize(ids.size() * size_t(model->config.vocabulary));
        // Operands and cache are bf16: eight bits of each number.
        CHECK(distance(teacher_forced(engine, ids), expected) < 0.05);
    }
    CHECK(compared >= 10);
}

// Logits in one chunk and in chunks of 5 are the same bits.
std::vector<float> fp8_logits(const std::string& path, const std::string& device) {
    const auto model = load_model(path, {.device = device, .threads = 1});
    const std::vector<int32_t> ids = {1, 7, 3, 22, 39, 4, 11, 8, 30, 2, 19, 5};
    Engine whole(model, {.context = 64, .chunk = 64, .logit_rows = 64});
    Engine cut(model, {.context = 64, .chunk = 5, .logit_rows = 5});
    const auto logits = teacher_forced(whole, ids);
    CHECK(same_bits(teacher_forced(cut, ids), logits));
    return logits;
}

TEST_CASE("CUDA: an FP8 checkpoint that rounds activations to E4M3 a token has prompts do so, and no other") {
    const std::string source = TEST_DATA "/quantised/fp8-channel";
    const Folder folder;
    for (const auto& entry : std::filesystem::directory_iterator(source))
        std::filesystem::copy(entry.path(), folder.path);
    std::string config = read_file(source + "/config.json");
    const std::string none = R"("input_activations": null)";
    config.replace(config.find(none), none.size(),
                   R"("input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": true})");
    folder.write("config.json", config);
    const auto exact = fp8_logits(source, "ref"), plain = fp8_logits(source, "cuda:0"),
               rounded = fp8_logits(folder.path, "cuda:0");
    CHECK(distance(plain, exact) < 0.05);
    CHECK(distance(rounded, exact) < 0.2);
    CHECK(same_bits(fp8_logits(folder.path, "ref"), exact));
#ifdef ALIA_CARD  // one older than 8.9 takes activations as they are
    if (same_bits(rounded, plain)) return;
#endif
    CHECK(distance(rounded, plain) > distance(plain, exact) / 2);
}

TEST_CASE("CUDA: random weights made on the device are those that the host makes") {
    const std::vector<int32_t> ids = {1, 500, 3, 77, 256};
    for (const std::string type : {"bf16", "q4_0", "q6_k"}) {
        auto logits = [&](const char* device) {
            const auto model = load_model("synthetic:tiny:" + type, {.device = device, .threads = 1});
            Engine engine(model, {.context = 64, .logit_rows = 8});
            return teacher_forced(engine, ids);
        };
        INFO(type);
        CHECK(distance(logits("cuda:0"), logits("ref")) < 0.05);
    }
}

TEST_CASE("CUDA: chunks of a prompt do not change a bit") {
    const auto model = load("alia");
    const auto ids = ids_of("alia", 40);
    Engine whole(model, {.context = 256, .chunk = 64, .logit_rows = 64});
    const auto expected = teacher_forced(whole, ids);
    for (int chunk : {1, 7, 16, 33}) {
        INFO("chunk " << chunk);
        Engine engine(model, {.context = 256, .chunk = chunk, .logit_rows = chunk});
        CHECK(same_bits(teacher_forced(engine, ids), expected));
    }
    auto changed = ids;
    changed[0] ^= 1;
    CHECK(!same_bits(teacher_forced(whole, changed), expected));  // the comparison can fail
}

TEST_CASE("CUDA: a cache in E4M3 keeps close to the reference, chunk by chunk to the bit") {
    const std::vector<int32_t> ids = {1, 500, 3, 77, 256, 9, 401};
    auto logits = [&](const char* device, std::optional<Format> cache, int chunk) {
        const auto model = load_model("synthetic:tiny:bf16", {.device = device, .threads = 1});
        Engine engine(model, {.context = 64, .chunk = chunk, .logit_rows = chunk, .cache = cache});
        return teacher_forced(engine, ids);
    };
    const auto whole = logits("cuda:0", Format::E4M3, 7);
    CHECK(distance(whole, logits("ref", {}, 7)) < 0.1);
    CHECK(!same_bits(whole, logits("cuda:0", Format::BF16, 7)));
    CHECK(same_bits(logits("cuda:0", Format::E4M3, 3), whole));
}

TEST_CASE("CUDA: requests give the same tokens beside others as alone, by replayed passes as by the first") {
    const auto model = load("alia");
    std::mt19937 rng(5);
    std::vector<Request> requests;
    for (int i = 0; i < 5; ++i) {
        Request r;
        for (int j = 0; j < 3 + 7 * i; ++j) r.prompt.push_back(int32_t(rng() % uint64_t(model->config.vocabulary)));
        r.max_tokens = 8;
        r.ignore_eos = true;
        r.sampling.temperature = i % 2 ? 1 : 0;
        r.sampling.seed = uint64_t(i);
        requests.push_back(r);
    }
    Engine engine(model, {.context = 128, .positions = 1024, .sequences = 8});
    const auto beside = together(engine, requests);
    for (size_t i = 0; i < requests.size(); ++i) {
        Engine alone(model, {.context = 128});
        INFO("request " << i);
        CHECK(beside[i].size() == 8);
        CHECK(together(alone, {requests[i]})[0] == beside[i]);
    }
}

namespace {

std::vector<int32_t> counting(int count, int first = 0) {
    std::vector<int32_t> ids;
    for (int i = 0; i < count; ++i) ids.push_back((first + i * 11) % 90);
    return ids;
}

Request ask(std::vector<int32_t> prompt, uint64_t sequence = 0, int64_t tokens = 6) {
    return {.prompt = std::move(prompt),
            .sampling = {.temperature = 1, .frequency = 0.3, .seed = 5},
            .max_tokens = tokens,
            .ignore_eos = true,
            .sequence = sequence};
}

}  // namespace

TEST_CASE("CUDA: an embedding table on the host has the file's rows, whichever thread copied them") {
    constexpr int64_t vocabulary = 9001, hidden = 128, kv = 64;  // 4.6 MB in F32
    const Folder folder;
    folder.write("config.json",
                 R"({"architectures":["LlamaForCausalLM"],"hidden_size":128,"intermediate_size":128,"vocab_size":9001,)"
                 R"("num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"rms_norm_eps":1e-05,)"
                 R"("max_position_embeddings":64,"rope_theta":10000.0,"eos_token_id":2,"tie_word_embeddings":false})");
    std::string header = "{", data;
    auto add = [&](const std::string& name, const char* type, std::vector<int64_t> shape, int64_t bytes) {
        const std::string start = std::to_string(data.size());
        data.resize(data.size() + size_t(bytes));
        header += (header.size() > 1 ? ",\"" : "\"") + name + R"(":{"dtype":")" + type + R"(","shape":[)" +
                  std::to_string(shape[0]) + (shape.size() > 1 ? "," + std::to_string(shape[1]) : "") +
                  R"(],"data_offsets":[)" + start + "," + std::to_string(data.size()) + "]}";
    };
    add("model.embed_tokens.weight", "F32", {vocabulary, hidden}, vocabulary * hidden * 4);
    for (int64_t i = 0; i < vocabulary; ++i) {
        const float number = float(i);
        std::memcpy(&data[size_t(i * hidden * 4)], &number, sizeof number);
    }
    for (auto [name, rows] : std::map<std::string, int64_t>{{"self_attn.q_proj", hidden},
                                                            {"self_attn.k_proj", kv},
                                                            {"self_attn.v_proj", kv},
                                                            {"self_attn.o_proj", hidden},
                                                            {"mlp.gate_proj", hidden},
                                                            {"mlp.up_proj", hidden},
                                                            {"mlp.down_proj", hidden}})
        add("model.layers.0." + name + ".weight", "BF16", {rows, hidden}, 2 * rows * hidden);
    for (const char* name : {"model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm", "model.norm"})
        add(name + std::string(".weight"), "BF16", {hidden}, 2 * hidden);
    add("lm_head.weight", "BF16", {vocabulary, hidden}, 2 * vocabulary * hidden);
    folder.write("model.safetensors", safetensors(header + "}", data));
    const auto model = load_model(folder.path, {.device = "cuda:0", .threads = 3});
    CHECK(model->host_bytes == vocabulary * hidden * 4);
    int64_t same = 0;
    for (int64_t i = 0; i < vocabulary; ++i) same += *model->embed.row(i) == float(i) && model->embed.row(i)[1] == 0;
    CHECK(same == vocabulary);
}

TEST_CASE("CUDA: pages that are shared and sequences that are preempted change no token") {
    const auto model = load("alia");
    const Request a = ask(counting(61)), b = ask(counting(61, 1)), c = ask(counting(66), 0, 2);
    auto alone = [&](const Request& r) {
        Engine engine(model, {.context = 128});
        return generate(engine, r);
    };
    const auto right = alone(c);
    Engine few(model, {.context = 128, .positions = 192, .sequences = 2});  // a and b want four pages together
    CHECK(together(few, {a, b}) == std::vector{alone(a), alone(b)});
    CHECK(few.counters().preemptions > 0);
    Engine sharing(model, {.context = 128});
    for (bool again : {false, true}) {
        CHECK(generate(sharing, c) == right);
        CHECK(sharing.counters().cached_tokens == (again ? page_positions : 0));
    }
}

TEST_CASE("CUDA: a conversation goes on where it was, whether it stayed, was forked, cut, or saved and restored") {
    const auto model = load("alia");
    Engine engine(model, {.context = 128, .positions = 512}), other(model, {.context = 128, .chunk = 7});
    const uint64_t a = engine.make_sequence();
    const auto first = generate(engine, ask(counting(62), a));
    const uint64_t b = engine.fork(a), c = other.restore(engine.save(a));
    const auto expected = generate(engine, ask(counting(9, 3), a));
    CHECK(generate(engine, ask(counting(9, 3), b)) == expected);
    CHECK(generate(other, ask(counting(9, 3), c)) == expected);
    CHECK(other.counters().prompt_tokens < 62);  // a page came with the state
    engine.truncate(b, 62);
    CHECK(generate(engine, ask({}, b)) == first);
}

#ifndef ALIA_CARD
// Of the card's memory and of pinned memory; what the driver takes for a pass that is kept is its own.
TEST_CASE("CUDA: no step takes memory, whatever its requests ask of sampling and however many pages there are") {
    const auto model = load("alia");
    Engine engine(model, {.context = 163840, .sequences = 8, .chunk = 16});
    const int64_t before = emulated::allocations();
    for (int i = 0; i < 8; ++i) {
        Request r{.prompt = std::vector<int32_t>(size_t(1 + i), 7), .max_tokens = 4, .ignore_eos = true};
        r.sampling = {.temperature = 1, .top_p = 0.99, .repetition = 1.2, .frequency = 0.2, .presence = 0.1};
        for (int32_t t = 0; t < 60; ++t) r.sampling.bias.push_back({t, 0.5f});
        r.min_tokens = 2;
        r.stop = {1, 2, 3};
        r.choose = i == 2;
        engine.submit(r);
    }
    const std::vector<float> logits(size_t(model->config.vocabulary));
    int tokens = 0, choices = 0;
    while (!engine.idle())
        for (const Event& e : engine.step()) {
            tokens += e.kind == Event::Kind::token;
            if (e.kind != Event::Kind::choice) continue;
            ++choices;
            engine.choose(e.request, e.completion, logits);
        }
    CHECK(tokens >= 6);
    CHECK(choices >= 2);
    CHECK(emulated::allocations() == before);
}

// Calls of prompts, of passes that are called, kept (by an engine that is new) and replayed, and of sampling.
TEST_CASE(
    "CUDA: a call that fails in the middle of a step: a typed error, and the next step goes on to the same answer") {
    const auto model = load("alia");
    const Request request{.prompt = {1, 2, 3},
                          .sampling = {.temperature = 1, .repetition = 1.2, .seed = 4},
                          .max_tokens = 3,
                          .ignore_eos = true};
    auto open = [&] { return std::make_unique<Engine>(model, EngineOptions{.context = 64}); };
    emulated::reset();
    const emulated::Alive none = emulated::alive();
    auto engine = open();
    const int64_t before = emulated::calls();
    const auto expected = generate(*engine, request);
    const int64_t calls = emulated::calls() - before;
    // Steps grow by 2 for so many calls; 0 fails each one in turn.
    const long growth = from_environment("ALIA_FAULT_STEP", 8);
    int64_t rounds = 0, failed = 0;
    for (int64_t n = 0; n < calls; n += growth ? 1 + 2 * n / growth : 1, ++rounds) {
        if (rounds % 2 == 0) engine = open();
        const bool memory = rounds / 2 % 2;
        INFO("call " << n << " of " << calls);
        engine->submit(request);
        emulated::fail_call(n, memory ? 2 : 701, false);  // no memory; a launch without resources
        std::vector<int32_t> tokens;
        std::vector<Error> errors;
        while (!engine->idle() && errors.size() < 2) {
            try {
                for (const Event& e : engine->step())
                    if (e.kind == Event::Kind::token) tokens.push_back(e.token);
            } catch (const Error& e) {
                errors.push_back(e);
            }
        }
        emulated::reset();
        REQUIRE(errors.size() <= 1);
        for (const Error& e : errors) CHECK(e.status == (memory ? Status::out_of_memory : Status::internal));
        failed += int64_t(errors.size());
        CHECK(tokens == expected);
    }
    CHECK(failed > rounds / 2);
    engine.reset();
    CHECK(emulated::alive() == none);
}

TEST_CASE(
    "CUDA: where a driver captures no launch that may begin early, passes are called: no error, the same answer") {
    emulated::reset();
    const auto model = load("alia");
    const Request request{.prompt = {1, 2, 3}, .max_tokens = 5, .ignore_eos = true};
    const auto expected = generate(*std::make_unique<Engine>(model, EngineOptions{.context = 64}), request);
    const emulated::Machine newer = emulated::machine;
    using emulated::Early;
    for (Early early : {Early::refused, Early::ends_capture, Early::kept}) {
        emulated::machine.captured = early;
        Engine engine(model, {.context = 64});
        const int64_t graphs = emulated::alive().graphs;
        CHECK(generate(engine, request) == expected);
        CHECK((emulated::alive().graphs > graphs) == (early == Early::kept));
    }
    emulated::machine = newer;
}

TEST_CASE("CUDA: models on several cards of a process, by one thread and by several: the answers of one alone") {
    emulated::reset();
    const emulated::Machine one = emulated::machine;
    const emulated::Alive none = emulated::alive();
    emulated::machine.devices = 2;
    {
        std::vector<std::shared_ptr<const Model>> loaded;
        for (const char* device : {"cuda:0", "cuda:1"})
            loaded.push_back(load_model(models + "alia", {.device = device, .threads = 1}));
        std::vector<std::unique_ptr<Engine>> engines;
        CHECK(emulated::used(0) == emulated::used(1));
        for (size_t card : {0, 1, 1})
            engines.push_back(std::make_unique<Engine>(loaded[card], EngineOptions{.context = 64}));
        const Request request = ask(counting(5), 0, 4);
        const auto expected = generate(*engines[0], request);
        std::vector<std::vector<int32_t>> turns(3), threads(3);
        for (auto& engine : engines) engine->submit(request);
        while (!engines[0]->idle() || !engines[1]->idle() || !engines[2]->idle())
            for (size_t i = 0; i < 3; ++i)
                for (const Event& e : engines[i]->step())
                    if (e.kind == Event::Kind::token) turns[i].push_back(e.token);
        std::vector<std::thread> running;
        for (size_t i = 0; i < 3; ++i) running.emplace_back([&, i] { threads[i] = generate(*engines[i], request); });
        for (std::thread& t : running) t.join();
        for (size_t i = 0; i < 3; ++i) {
            CHECK(turns[i] == expected);
            CHECK(threads[i] == expected);
        }
        int card = -1;
        CHECK(cudaGetDevice(&card) == cudaSuccess);
        CHECK(card == 0);  // the thread's own, as before
    }
    CHECK(emulated::alive() == none);
    emulated::machine = one;
}

TEST_CASE("CUDA: a card that is lost in a step: every later call says so, and everything can be freed") {
    emulated::reset();
    const emulated::Alive none = emulated::alive();
    auto model = load("alia");
    auto engine = std::make_unique<Engine>(model, EngineOptions{.context = 64}),
         other = std::make_unique<Engine>(model, EngineOptions{.context = 64});
    const Request request{.prompt = {1, 2, 3}, .max_tokens = 3, .ignore_eos = true};
    const uint64_t sequence = engine->make_sequence();
    const auto saved = engine->save(sequence);
    other->submit(request);
    engine->submit(request);
    engine->step();
    emulated::fail_call(20, 700, true);
    auto lost = [](auto&& f) {
        const Error e = error_of(f);
        CHECK(e.status == Status::device_lost);
        CHECK(std::string(e.message).find("in a new process") != std::string::npos);
    };
    for (int i = 0; i < 2; ++i) {
        lost([&] { engine->step(); });
        lost([&] { engine->submit(request); });
        lost([&] { engine->make_sequence(); });
        lost([&] { engine->fork(sequence); });
        lost([&] { engine->save(sequence); });
        lost([&] { engine->restore(saved); });
        lost([&] { other->step(); });
        lost([&] { model->device->kernels.free_bytes(model->device->stream); });
        lost([&] { Engine(model, {.context = 64}); });
        lost([&] { load("alia"); });
        lost([&] { Device::open("cuda"); });
    }
    CHECK(!engine->idle());
    CHECK(engine->tokens(sequence).empty());
    engine.reset(), other.reset(), model.reset();
    CHECK(emulated::alive() == none);
    emulated::reset();
}

TEST_CASE("CUDA: every call of the runtime fails once: a typed error, no leak, and the same answer afterwards") {
    Request request;
    request.prompt = {1, 2, 3, 4, 5};
    request.max_tokens = 4;
    request.ignore_eos = true;
    auto answer = [&] {
        const auto model = load_model(models + "alia", {.device = "cuda:0", .threads = 1});
        Engine engine(model, {.context = 64});
        return generate(engine, request);
    };
    emulated::reset();
    const int64_t before = emulated::calls();
    const auto expected = answer();
    const int64_t calls = emulated::calls() - before;
    REQUIRE(expected.size() == 4);
    REQUIRE(calls > 100);
    const emulated::Alive none = emulated::alive();
    std::mt19937 rng(9);
    int failed = 0;
    for (int round = 0; round < 60; ++round) {
        const int64_t n = round < 30 ? round : int64_t(rng() % uint64_t(calls));
        const bool sticky = round % 2;
        INFO("call " << n << (sticky ? ", sticky" : ""));
        emulated::reset();
        emulated::fail_call(n, sticky ? 700 : 2, sticky);  // an illegal address; out of memory
        try {
            const auto tokens = answer();  // where the call's failure does not matter
            CHECK(tokens == expected);
        } catch (const Error& e) {
            ++failed;
            CHECK(e.status != Status::ok);
            CHECK(e.message[0] != 0);
        }
        emulated::reset();
        CHECK(emulated::alive() == none);
    }
    CHECK(failed > 30);
    CHECK(answer() == expected);
}

// Whether the tables of docs/cuda.md have what a message begins with, behind a file's name, whatever the numbers in it.
bool documented(std::string why) {
    const std::regex number("[0-9]+");
    why = std::regex_replace(why, number, "0");
    std::istringstream lines(std::regex_replace(read_file(TEST_DATA "/../../docs/cuda.md"), number, "0"));
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with("| ")) continue;
        const size_t at = why.find(line.substr(2, line.find(" |") - 2));
        if (at == 0 || (at != std::string::npos && at > 2 && why.substr(at - 2, 2) == ": ")) return true;
    }
    return false;
}

TEST_CASE(
    "CUDA: machines that cannot run it, and code that a card or its driver does not take, are told so in a sentence") {
    emulated::reset();
    const emulated::Machine sound = emulated::machine;
    Status expected = Status::device_unavailable;
    auto why = [&](auto&& f) -> std::string {
        const Error e = error_of(f);
        CHECK(e.status == expected);
        INFO(e.message);
        CHECK(documented(e.message));
        return e.message;
    };
    auto open = [&](const char* name) { return why([&] { Device::open(name); }); };
    emulated::machine.driver = 0;
    CHECK(open("cuda").find("no NVIDIA driver") != std::string::npos);
    emulated::machine.driver = 11040;
    CHECK(open("cuda").find("made for CUDA 11.4 and this library needs 13.0: update") != std::string::npos);
    emulated::machine = sound;
    emulated::machine.devices = 0;
    CHECK(open("cuda").find("no NVIDIA card") != std::string::npos);
    CHECK(Device::open("auto")->kernels.name != std::string("cuda"));
    emulated::machine = sound;
    emulated::fail_call(0, 803, false);  // a driver that is not the kernel module's
    CHECK(open("cuda").find("CUDA does not start") != std::string::npos);
    emulated::machine.capability = 75;
    CHECK(open("cuda").find("8.0 (Ampere) or newer") != std::string::npos);
    CHECK(open("cuda:0").find("7.5") != std::string::npos);
    emulated::machine = sound;
    CHECK(open("cuda:1").find("cuda:0") != std::string::npos);
    CHECK(open("cuda:x").find("is no card") != std::string::npos);
    const auto device = Device::open("cuda:0");
    auto free_bytes = [&] { return device->kernels.free_bytes(device->stream); };
    emulated::fail_call(1, 209, false);  // the call after asking for the thread's card
    CHECK(why(free_bytes).find("-DALIA_CUDA_ARCHS=90") != std::string::npos);
    emulated::fail_call(1, 222, false);
    CHECK(why(free_bytes).find("update the driver") != std::string::npos);
    CHECK(free_bytes() > 0);
    expected = Status::out_of_memory;
    const auto model = load("alia");
    CHECK(why([&] { Engine(model, {.context = 1 << 24}); }).find("ask for a smaller one") != std::string::npos);
    CHECK(why([&] { Buffer(*device, int64_t(1) << 40); }).find("smaller context") != std::string::npos);
    emulated::machine.memory = emulated::used(0) + 100000;
    CHECK(why([] { load("alia"); }).find("fewer bits a weight") != std::string::npos);
    emulated::machine = sound;
}
#endif
