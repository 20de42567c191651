// Whole tiny models on the CUDA device: logits against the independent implementation, the same bits whatever runs
// beside a request, replayed passes, and calls of the runtime that fail.
#include <cmath>
#include <filesystem>
#include <random>

#include "tests/files.h"
#include "tests/support.h"
#ifndef ALIA_CARD
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

#ifndef ALIA_CARD
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

TEST_CASE("CUDA: machines that cannot run it are told so in a sentence") {
    const emulated::Machine sound = emulated::machine;
    auto why = [](const char* name) -> std::string {
        try {
            Device::open(name);
        } catch (const Error& e) {
            CHECK(e.status == Status::device_unavailable);
            return e.message;
        }
        return "";
    };
    emulated::machine.driver = 0;
    CHECK(why("cuda").find("no NVIDIA driver") != std::string::npos);
    emulated::machine.driver = 11040;
    CHECK(why("cuda").find("update the driver") != std::string::npos);
    emulated::machine = sound;
    emulated::machine.devices = 0;
    CHECK(why("cuda").find("no NVIDIA card") != std::string::npos);
    CHECK(Device::open("auto")->kernels.name != std::string("cuda"));
    emulated::machine = sound;
    emulated::machine.capability = 75;
    CHECK(why("cuda").find("8.0 (Ampere) or newer") != std::string::npos);
    CHECK(why("cuda:0").find("7.5") != std::string::npos);
    emulated::machine = sound;
    CHECK(why("cuda:1").find("cuda:0") != std::string::npos);
    CHECK(why("cuda:x").find("is no card") != std::string::npos);
    emulated::machine.devices = 2;
    CHECK(Device::open("cuda:1")->options.ordinal == 1);
    emulated::machine.memory = 100000;
    try {
        load_model(models + "alia", {.device = "cuda:0"});
        CHECK(false);
    } catch (const Error& e) {
        CHECK(e.status == Status::out_of_memory);
    }
    emulated::machine = sound;
}
#endif
