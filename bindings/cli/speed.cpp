// How fast a model loads, reads prompts and generates, beside what the machine reaches at best.
#include "bindings/cli/speed.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "bindings/cli/json.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Linux forgets the peak of resident memory where 5 is written here.
void forget_peak() {
    if (std::FILE* f = std::fopen("/proc/self/clear_refs", "we")) {
        std::fputs("5", f);
        std::fclose(f);
    }
}

// The process's peak of resident memory in bytes.
double peak_memory() {
    const std::string text = read_file("/proc/self/status");
    const size_t at = text.find("VmHWM:");
    if (at == text.npos) throw Failure("/proc/self/status: has no VmHWM", ALIA_UNSUPPORTED);
    return 1024 * std::strtod(text.c_str() + at + std::strlen("VmHWM:"), nullptr);
}

Roofs roofs_of(const ModelChoice& choice) {
    const std::string object = text_from([&](char** text, uint64_t* length) {
        return alia_device_roofs(choice.device.data(), choice.device.size(), choice.threads, text, length);
    });
    return {number_at(object, "/read"), number_at(object, "/copy"), number_at(object, "/f32"),
            number_at(object, "/int8"), number_at(object, "/bf16")};
}

std::string memory_plan(const ModelChoice& choice, const SpeedPlan& speeds, int64_t positions) {
    const alia_model_options model = options_of(choice, ALIA_LOAD_ALL);
    alia_engine_options engine = ALIA_ENGINE_OPTIONS_INIT;
    engine.context = positions;
    engine.chunk = speeds.chunk;
    engine.cache = speeds.cache;
    return text_from([&](char** text, uint64_t* length) {
        return alia_plan(choice.path.data(), choice.path.size(), &model, &engine, text, length);
    });
}

// Making random weights takes a while: what its caches will not leave room for is refused before.
void expect_room(const ModelChoice& choice, const SpeedPlan& speeds) {
    int64_t longest = speeds.generate + 2;
    for (int64_t n : speeds.prompts) longest = std::max(longest, n + 1);
    for (int64_t n : speeds.contexts) longest = std::max(longest, n + (speeds.repeat + 1) * speeds.generate + 2);
    const std::string plan = memory_plan(choice, speeds, longest);
    if (bool_at(plan, "/fits")) return;
    const bool device = number_at(plan, "/total") > number_at(plan, "/available");
    const std::string side = device ? "/" : "/host_";
    throw Failure(choice.path + ": needs " + human_bytes(number_at(plan, side + "total")) + " of " +
                      (device ? string_at(plan, "/device") : "the host") + " and " +
                      human_bytes(number_at(plan, side + "available")) + " are there; see `alia plan`",
                  ALIA_OUT_OF_MEMORY);
}

int64_t cache_bytes(const ModelChoice& choice, const SpeedPlan& speeds) {
    constexpr int64_t positions = 4096;
    const std::string plan = memory_plan(choice, speeds, positions);
    for (const auto& [name, bytes] : bytes_at(plan, "items", "name"))
        if (name.starts_with("KV cache")) return bytes / positions;
    return 0;
}

// A model's weights as the roofs see them.
struct Work {
    double layer_products = 0, head_products = 0;  // multiply-adds a token
    std::string format;                            // that most of them are in

    const char* roof(const Roofs& r) const {
        const bool floats = format == "F32" || format == "F16" || format == "E4M3";
        if (!floats && format != "BF16" && r.int8 > 0) return "int8";
        return r.bf16 > 0 && (!floats || r.int8 == 0) ? "bf16" : "f32";
    }
    double products(int64_t prompt) const { return layer_products * double(prompt) + head_products; }
};

double rate(const Roofs& r, std::string_view roof) {
    return roof == "bf16" ? r.bf16 : roof == "int8" ? r.int8 : roof == "f32" ? r.f32 : r.read;
}

class Bench {
  public:
    Bench(const ModelChoice& choice, const SpeedPlan& plan) : choice(choice), plan(plan), bar("bench") {
        if (choice.path.starts_with("synthetic:")) expect_room(choice, plan);
        load();
        describe();
        int64_t longest = plan.generate + 1;
        for (int64_t n : plan.prompts) longest = std::max(longest, n);
        start = open(longest + 1);
        for (int64_t n : plan.prompts) r.speeds.push_back({true, n, 0, "", {}, {}});
        for (int64_t n : plan.contexts)
            if (plan.generate > 0) r.speeds.push_back({false, plan.generate, n, "read", {}, {}});
        for (const Speed& s : r.speeds) total += steps(s) * (plan.repeat + 1) + (s.prompt ? 0 : s.context);
    }

    SpeedReport run() {
        for (const Speed& s : r.speeds) fill(s);
        for (int i = 0; i <= plan.repeat; ++i) {
            note_peak();
            const Roofs roofs = roofs_of(choice);
            forget_peak();  // what the roofs took is not the model's
            if (i > 0) r.roofs.push_back(roofs);
            for (size_t k = 0; k < r.speeds.size(); ++k) measure(r.speeds[k], engines[k].get(), i, roofs);
        }
        note_peak();
        return std::move(r);
    }

  private:
    void load() {
        forget_peak();
        const Clock::time_point begun = Clock::now();
        model = open_model(choice);
        r.load_seconds = since(begun);
        r.load_peak = peak_memory();
    }

    void describe() {
        const std::string info =
            text_from([&](char** text, uint64_t* length) { return alia_model_info(model.get(), text, length); });
        r.name = string_at(info, "/name");
        r.device = string_at(info, "/device");
        r.threads = choice.threads;
        r.parameters = int64_t(number_at(info, "/parameters"));
        r.position_bytes = cache_bytes(choice, plan);
        const bool tied = bool_at(info, "/tied_embeddings");
        const std::string embedding = string_at(info, "/embedding/format");
        int64_t most = -1;
        for (auto [format, bytes] : bytes_at(info, "weights", "format")) {
            r.weight_bytes += bytes;
            if (!tied && format == embedding) bytes -= int64_t(number_at(info, "/embedding/bytes"));
            r.token_bytes += bytes;
            if (bytes > most) work.format = format, most = bytes;
        }
        vocabulary = int64_t(number_at(info, "/vocabulary"));
        work.head_products = double(vocabulary) * number_at(info, "/hidden");
        work.layer_products = double(r.parameters) - (tied ? 1 : 2) * work.head_products;
    }

    void note_peak() { r.peak = std::max(r.peak, peak_memory()); }

    Engine open(int64_t context) {
        alia_engine_options options = ALIA_ENGINE_OPTIONS_INIT;
        options.context = context;
        options.chunk = plan.chunk;
        options.cache = plan.cache;
        alia_engine* engine = nullptr;
        check(alia_engine_open(model.get(), &options, &engine));
        return Engine(engine);
    }

    // Queues a prompt of tokens that follow from nothing but their number.
    void submit(alia_engine* engine, int64_t tokens, int64_t generated) {
        std::vector<int32_t> ids;
        uint32_t state = 12345;
        for (int64_t i = 0; i < tokens; ++i)
            ids.push_back(int32_t((state = state * 1664525 + 1013904223) % uint64_t(vocabulary)));
        alia_request_options options = ALIA_REQUEST_OPTIONS_INIT;
        options.flags = ALIA_REQUEST_IGNORE_EOS | ALIA_REQUEST_DO_NOT_SHARE;  // each prompt is computed
        options.max_tokens = generated;
        options.temperature = 0;
        uint64_t request = 0;
        check(alia_engine_submit(engine, ids.data(), ids.size(), &options, &request));
    }

    // Steps until so many events of this kind have come.
    void take(alia_engine* engine, int64_t wanted, int32_t kind = ALIA_EVENT_TOKEN) {
        while (wanted > 0) {
            if (interrupted()) throw Failure("interrupted", ALIA_CANCELLED);
            alia_event event = ALIA_EVENT_INIT;
            uint32_t count = 0;
            check(alia_engine_step(engine, &event, 1, &count));
            bar.show(done, total);
            if (count == 0) continue;
            check(event);
            if (event.kind == kind) --wanted;
        }
    }

    // A long context is filled once; repetitions go on from where the last one stopped.
    void fill(const Speed& s) {
        if (s.prompt || s.context == 0) return void(engines.emplace_back());
        engines.push_back(open(s.context + (plan.repeat + 1) * s.tokens + 2));
        submit(engines.back().get(), s.context, -1);
        take(engines.back().get(), 1);
        done += s.context;
    }

    void measure(Speed& s, alia_engine* filled, int repetition, const Roofs& roofs) {
        alia_engine* engine = filled ? filled : start.get();
        if (!s.prompt && !filled) {
            submit(engine, 1, s.tokens + 1);
            take(engine, 1);
        }
        const Clock::time_point begun = Clock::now();
        if (s.prompt) submit(engine, s.tokens, 1);
        take(engine, s.prompt ? 1 : s.tokens);
        const double seconds = since(begun);
        if (!filled) take(engine, 1, ALIA_EVENT_FINISHED);
        done += steps(s);
        if (repetition > 0) note(s, repetition, seconds, roofs);
    }

    void note(Speed& s, int repetition, double seconds, const Roofs& roofs) {
        s.speeds.push_back(double(s.tokens) / seconds);
        if (s.prompt) {
            s.roof = work.roof(roofs);
            s.shares.push_back(work.products(s.tokens) / seconds / rate(roofs, s.roof));
        } else {
            const int64_t before = s.context ? s.context + repetition * s.tokens : 1;
            const double positions = double(before) + double(s.tokens) / 2;
            const double bytes = double(r.token_bytes) + double(r.position_bytes) * positions;
            s.shares.push_back(bytes * s.speeds.back() / roofs.read);
        }
    }

    // For the progress bar: a generated token takes about as long as a few of a prompt.
    static int64_t steps(const Speed& s) { return s.prompt ? s.tokens : 4 * s.tokens; }

    const ModelChoice& choice;
    const SpeedPlan& plan;
    ProgressBar bar;
    int64_t done = 0, total = 0, vocabulary = 0;
    Work work;
    SpeedReport r;
    Model model;
    Engine start;                 // for what begins with an empty cache
    std::vector<Engine> engines;  // for each of r.speeds; null: `start`
};

}  // namespace

SpeedReport measure_speed(const ModelChoice& choice, const SpeedPlan& plan) { return Bench(choice, plan).run(); }

}  // namespace cli
