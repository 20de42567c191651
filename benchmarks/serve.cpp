// Many requests on one engine: alia_bench_serve MODEL [--threads N] [--repeat N]. JSON lines:
//   "batch":    so many requests at once: seconds to each one's first token, tokens a second, and what a step of
//   generated
//               tokens costs beside the model's passes;
//   "prefix":   seconds to the first token of a long prompt, then of one that begins alike.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "capi/alia.h"

namespace {

using Clock = std::chrono::steady_clock;

void check(alia_status status) {
    if (status == ALIA_OK) return;
    std::fprintf(stderr, "alia_bench_serve: %s\n", alia_error_message());
    std::exit(1);
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0 : values[values.size() / 2];
}

// The number behind "name": in a flat JSON object of the library.
double number_in(const std::string& json, const char* name) {
    const size_t at = json.find('"' + std::string(name) + "\":");
    return at == json.npos ? 0 : std::strtod(json.c_str() + json.find(':', at) + 1, nullptr);
}

class Engine {
  public:
    Engine(alia_model* model, int64_t context, int32_t sequences, int64_t positions, int32_t threads) {
        alia_engine_options options = ALIA_ENGINE_OPTIONS_INIT;
        options.context = context, options.sequences = sequences, options.threads = threads;
        options.positions = std::max(positions, context);
        check(alia_engine_open(model, &options, &engine));
        check(alia_model_vocabulary(model, &vocabulary));
        events.assign(size_t(2 * sequences), ALIA_EVENT_INIT);
    }
    Engine(const Engine&) = delete;
    ~Engine() { alia_engine_free(engine); }

    // A prompt that nobody else has but for its first `shared` tokens; `tokens` are generated.
    uint64_t submit(int64_t length, int64_t tokens, int64_t shared = 0) {
        std::vector<int32_t> ids;
        for (int64_t i = 0; i < length; ++i) {
            uint64_t& state = i < shared ? common : own;
            if (i == 0) common = 1;
            state = state * 6364136223846793005 + 1442695040888963407;
            ids.push_back(int32_t((state >> 33) % uint64_t(vocabulary)));
        }
        alia_request_options options = ALIA_REQUEST_OPTIONS_INIT;
        options.flags = ALIA_REQUEST_IGNORE_EOS, options.max_tokens = tokens, options.temperature = 0;
        uint64_t request = 0;
        check(alia_engine_submit(engine, ids.data(), ids.size(), &options, &request));
        begun[request] = Clock::now();
        return request;
    }

    // One step; notes when first tokens come. How many tokens there were.
    int step() {
        uint32_t count = 0;
        int tokens = 0;
        const Clock::time_point start = Clock::now();
        check(alia_engine_step(engine, events.data(), uint32_t(events.size()), &count));
        step_seconds = seconds_since(start);
        for (uint32_t i = 0; i < count; ++i) {
            const alia_event& e = events[i];
            if (e.kind == ALIA_EVENT_TOKEN) {
                ++tokens;
                if (begun.contains(e.request)) {
                    first.push_back(seconds_since(begun.at(e.request)));
                    begun.erase(e.request);
                }
            }
            if (e.kind != ALIA_EVENT_FINISHED) continue;
            ++finished;
            if (e.finish == ALIA_FINISH_ERROR) {
                std::fprintf(stderr, "alia_bench_serve: %.*s\n", int(e.message_length), e.message);
                std::exit(1);
            }
        }
        return tokens;
    }

    double model_seconds() {
        char* json = nullptr;
        uint64_t length = 0;
        check(alia_engine_counters(engine, &json, &length));
        const std::string text(json, length);
        alia_text_free(json);
        return number_in(text, "model_seconds");
    }

    int finished = 0;
    std::vector<double> first;  // seconds to first tokens
    double step_seconds = 0;    // of the last step, as its caller sees it

  private:
    alia_engine* engine = nullptr;
    int32_t vocabulary = 0;
    uint64_t common = 1, own = 2;
    std::map<uint64_t, Clock::time_point> begun;
    std::vector<alia_event> events;
};

// Microseconds, of the values of one kind.
double microseconds(const std::vector<double>& seconds, double share) {
    std::vector<double> sorted = seconds;
    std::sort(sorted.begin(), sorted.end());
    return sorted.empty() ? 0 : 1e6 * sorted[size_t(share * double(sorted.size() - 1))];
}

void batch(alia_model* model, int requests, int64_t prompt, int32_t threads, int repeat) {
    constexpr int64_t tokens = 64;
    Engine engine(model, prompt + tokens + 1, requests, requests * (prompt + 2 * tokens + 64), threads);
    std::vector<double> first, last, whole, generation, beside;
    for (int round = 0; round <= repeat; ++round) {
        engine.first.clear(), engine.finished = 0;
        const Clock::time_point start = Clock::now();
        for (int i = 0; i < requests; ++i) engine.submit(prompt, tokens);
        while (int(engine.first.size()) < requests) engine.step();
        double model_seconds = engine.model_seconds(), generating = 0;
        int made = 0;
        while (engine.finished == 0) {  // all of them generate
            made += engine.step();
            const double model_then = std::exchange(model_seconds, engine.model_seconds());
            generating += engine.step_seconds;
            if (round > 0) beside.push_back(engine.step_seconds - (model_seconds - model_then));
        }
        while (engine.finished < requests) engine.step();
        const double seconds = seconds_since(start);
        if (round == 0) continue;
        first.push_back(median(engine.first));
        last.push_back(*std::max_element(engine.first.begin(), engine.first.end()));
        whole.push_back(double(requests) * double(tokens) / seconds);
        generation.push_back(made / generating);
    }
    std::printf(
        "{\"measure\": \"batch\", \"requests\": %d, \"prompt\": %lld, \"tokens\": %lld, \"first_token_seconds\": %.6f, "
        "\"last_first_token_seconds\": %.6f, \"tokens_per_second\": %.2f, \"generation_tokens_per_second\": %.2f, "
        "\"beside_the_model_microseconds\": {\"median\": %.2f, \"p90\": %.2f, \"mean\": %.2f}}\n",
        requests, (long long)prompt, (long long)tokens, median(first), median(last), median(whole), median(generation),
        microseconds(beside, 0.5), microseconds(beside, 0.9),
        1e6 * std::accumulate(beside.begin(), beside.end(), 0.0) / double(std::max<size_t>(1, beside.size())));
    std::fflush(stdout);
}

void prefix(alia_model* model, int64_t shared, int32_t threads, int repeat) {
    const int64_t length = shared + 16;
    std::vector<double> fresh, again, share;
    for (int round = 0; round < repeat; ++round) {
        Engine engine(model, 4096, 2, 8192, threads);
        for (int i = 0; i < 2; ++i) {
            engine.submit(length, 1, shared);
            while (engine.finished <= i) engine.step();
        }
        fresh.push_back(engine.first[0]), again.push_back(engine.first[1]);
        share.push_back(again.back() / fresh.back());
    }
    std::printf(
        "{\"measure\": \"prefix\", \"prompt\": %lld, \"shared\": %lld, \"first_seconds\": %.6f, \"second_seconds\": "
        "%.6f, "
        "\"share\": %.4f}\n",
        (long long)length, (long long)shared, median(fresh), median(again), median(share));
}

std::vector<int64_t> numbers(const char* list) {
    std::vector<int64_t> all;
    for (char* end; *list; list = *end ? end + 1 : end) all.push_back(std::max(1ll, std::strtoll(list, &end, 10)));
    return all;
}

int usage(int code) {
    std::fprintf(
        code ? stderr : stdout,
        "usage: alia_bench_serve MODEL [--threads N] [--repeat N] [--requests N,...] [--prompts N,...] [--shared N]\n"
        "Many requests on one engine, as JSON lines: by batch and prompt length, and with a shared beginning.\n"
        "example: alia_bench_serve smollm2.gguf --threads 2 --repeat 5\n");
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    int32_t threads = 0;
    int repeat = 5;
    int64_t shared = 3000;
    std::vector<int64_t> requests{1, 4, 16, 64}, prompts{32, 512};
    const char* path = nullptr;
    for (int i = 1; i < argc; ++i) {
        const std::string_view name = argv[i];
        if (name == "--help") return usage(0);
        if (name[0] != '-' && !path) {
            path = argv[i];
            continue;
        }
        if (i + 1 == argc) return usage(2);
        const char* value = argv[++i];
        if (name == "--threads")
            threads = std::atoi(value);
        else if (name == "--repeat")
            repeat = std::max(1, std::atoi(value));
        else if (name == "--requests")
            requests = numbers(value);
        else if (name == "--prompts")
            prompts = numbers(value);
        else if (name == "--shared")
            shared = std::atoi(value);
        else
            return usage(2);
    }
    if (!path) return usage(2);
    alia_model_options options = ALIA_MODEL_OPTIONS_INIT;
    options.threads = threads;
    alia_model* model = nullptr;
    check(alia_model_open(path, std::strlen(path), &options, &model));
    for (int64_t n : requests)
        for (int64_t prompt : prompts) batch(model, int(n), prompt, threads, repeat);
    if (shared > 0) prefix(model, shared, threads, repeat);
    alia_model_free(model);
    return 0;
}
