// How fast a model loads, reads prompts and generates, beside what the machine reaches at best.
#include "bindings/cli/speed.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <set>

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
    auto at = [&](const char* name) { return number_at(object, name); };
    return {at("/read"), at("/copy"), at("/upload"), at("/f32"), at("/int8"), at("/bf16"), at("/e4m3")};
}

// What an engine has to hold.
struct Room {
    int64_t context;    // of a sequence
    int streams;        // sequences at once
    int64_t positions;  // of all
};

int64_t whole_pages(int64_t positions) { return (positions + 63) / 64 * 64; }

// For all that begins with an empty cache: a prompt and the token after it, or tokens behind a first one.
Room empty_room(const SpeedPlan& plan) {
    const int streams = *std::max_element(plan.streams.begin(), plan.streams.end());
    const int64_t generated = plan.generate + streams + 3;  // the first streams may begin before the last
    int64_t longest = generated;
    for (int64_t n : plan.prompts) longest = std::max(longest, n + 1);
    return {longest, streams, std::max(whole_pages(longest), streams * whole_pages(generated))};
}

// For a context of each stream and what all repetitions generate after it; while the last streams' contexts are read,
// the first ones generate already.
Room filled_room(const SpeedPlan& plan, int64_t context, int streams) {
    const int64_t early = streams > 1 ? streams * context / plan.chunk + streams : 0;
    const int64_t longest = context + (plan.repeat + 1) * plan.generate + early + 2;
    return {longest, streams, streams * whole_pages(longest)};
}

alia_engine_options options_of(const SpeedPlan& plan, const Room& room) {
    alia_engine_options options = ALIA_ENGINE_OPTIONS_INIT;
    options.context = room.context;
    options.sequences = room.streams;
    options.positions = room.positions;
    options.chunk = plan.chunk;
    options.cache = plan.cache;
    return options;
}

std::string memory_plan(const ModelChoice& choice, const SpeedPlan& speeds, const Room& room) {
    const alia_model_options model = options_of(choice, ALIA_LOAD_ALL);
    const alia_engine_options engine = options_of(speeds, room);
    return text_from([&](char** text, uint64_t* length) {
        return alia_plan(choice.path.data(), choice.path.size(), &model, &engine, text, length);
    });
}

// Of a plan: what an engine takes beside the weights.
int64_t engine_bytes(const std::string& plan) {
    int64_t sum = 0;
    for (const auto& [name, bytes] : bytes_at(plan, "items", "name"))
        if (!name.starts_with("weights") && !name.starts_with("embeddings")) sum += bytes;
    return sum;
}

// Making random weights takes a while: what has no room beside them, all engines and the measurement of the roofs, is
// refused before.
void expect_room(const ModelChoice& choice, const SpeedPlan& speeds) {
    const std::string plan = memory_plan(choice, speeds, empty_room(speeds)), device = string_at(plan, "/device");
    double total = number_at(plan, "/total") + (device == "cuda" ? 1 << 30 : 256 << 20);  // alia_device_roofs
    for (int64_t context : speeds.contexts)
        for (int streams : speeds.streams)
            if (context > 0 && speeds.generate > 0)
                total += double(engine_bytes(memory_plan(choice, speeds, filled_room(speeds, context, streams))));
    auto expect = [&](const std::string& of, double wanted, double there) {
        if (there == 0 || wanted <= there) return;
        throw Failure(choice.path + ": needs " + human_bytes(wanted) + " of " + of + " and " + human_bytes(there) +
                          " are there; see `alia plan`",
                      ALIA_OUT_OF_MEMORY);
    };
    expect(device, total, number_at(plan, "/available"));
    if (!bool_at(plan, "/fits")) expect("the host", number_at(plan, "/host_total"), number_at(plan, "/host_available"));
}

int64_t cache_bytes(const ModelChoice& choice, const SpeedPlan& speeds) {
    constexpr int64_t positions = 4096;
    const std::string plan = memory_plan(choice, speeds, {positions, 1, positions});
    for (const auto& [name, bytes] : bytes_at(plan, "items", "name"))
        if (name.starts_with("KV cache")) return bytes / positions;
    return 0;
}

// A model's weights as the roofs see them.
struct Work {
    double layer_products = 0, head_products = 0;  // multiply-adds a token
    std::string format;                            // that most of them are in

    // Of E4M3 that of checkpoints which have activations rounded, too.
    const char* roof(const Roofs& r) const {
        if (format == "E4M3" && r.e4m3 > 0) return "e4m3";
        const bool floats = format == "F32" || format == "F16" || format == "E4M3";
        if (!floats && format != "BF16" && r.int8 > 0) return "int8";
        return r.bf16 > 0 && (!floats || r.int8 == 0) ? "bf16" : "f32";
    }
    double products(int64_t prompt) const { return layer_products * double(prompt) + head_products; }
};

double rate(const Roofs& r, std::string_view roof) {
    return roof == "e4m3" ? r.e4m3 : roof == "bf16" ? r.bf16 : roof == "int8" ? r.int8 : roof == "f32" ? r.f32 : r.read;
}

class Bench {
  public:
    Bench(const ModelChoice& choice, const SpeedPlan& plan) : choice(choice), plan(plan), bar("bench") {
        if (choice.path.starts_with("synthetic:")) expect_room(choice, plan);
        load();
        describe();
        start = open(empty_room(plan));
        for (int64_t n : plan.prompts)
            r.speeds.push_back({.prompt = true, .tokens = n, .context = 0, .streams = 1, .roof = ""});
        for (int64_t n : plan.contexts)
            for (int streams : plan.streams)
                if (plan.generate > 0)
                    r.speeds.push_back(
                        {.prompt = false, .tokens = plan.generate, .context = n, .streams = streams, .roof = "read"});
        for (const Speed& s : r.speeds) total += steps(s) * (plan.repeat + 1) + (s.prompt ? 0 : s.streams * s.context);
    }

    SpeedReport run() {
        for (const Speed& s : r.speeds) fill(s);
        for (int i = 0; i <= plan.repeat; ++i) {
            note_peak();
            const Roofs roofs = roofs_of(choice);
            forget_peak();  // what the roofs took is not the model's
            if (i > 0) r.roofs.push_back(roofs);
            for (size_t k = 0; k < r.speeds.size(); ++k) measure(r.speeds[k], filled[k], i, roofs);
        }
        note_peak();
        return std::move(r);
    }

  private:
    // Sequences that go on without end.
    struct Running {
        Engine engine;  // null: `start`
        std::vector<uint64_t> requests;
        int64_t positions = 0;  // in their caches
    };

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

    Engine open(const Room& room) {
        const alia_engine_options options = options_of(plan, room);
        alia_engine* engine = nullptr;
        check(alia_engine_open(model.get(), &options, &engine));
        return Engine(engine);
    }

    // Queues a prompt of tokens that follow from nothing but their number.
    uint64_t submit(alia_engine* engine, int64_t tokens, int64_t generated) {
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
        return request;
    }

    // One step; calls of(event) for each event.
    template <class F>
    void step(alia_engine* engine, F&& of) {
        if (interrupted()) throw Failure("interrupted", ALIA_CANCELLED);
        uint32_t count = 0;
        check(alia_engine_step(engine, events.data(), uint32_t(events.size()), &count));
        bar.show(done, total);
        for (uint32_t i = 0; i < count; ++i) {
            check(events[i]);
            of(events[i]);
        }
    }

    // Whole steps until so many events of this kind have come; gives how many did.
    int64_t take(alia_engine* engine, int64_t wanted, int32_t kind = ALIA_EVENT_TOKEN) {
        int64_t taken = 0;
        while (taken < wanted) step(engine, [&](const alia_event& e) { taken += e.kind == kind; });
        return taken;
    }

    // Steps until each of so many new sequences, which begin with so many tokens, has had a token.
    void begin(Running& of, alia_engine* engine, int64_t tokens, int streams) {
        of.requests.clear();
        of.positions = streams * (tokens - 1);  // a sequence's last token is not in the cache yet
        for (int i = 0; i < streams; ++i) of.requests.push_back(submit(engine, tokens, -1));
        std::set<uint64_t> waiting(of.requests.begin(), of.requests.end());
        while (!waiting.empty())
            step(engine, [&](const alia_event& e) {
                if (e.kind == ALIA_EVENT_TOKEN) waiting.erase(e.request), ++of.positions;
            });
    }

    // A long context is filled once; repetitions go on from where the last one stopped.
    void fill(const Speed& s) {
        Running& running = filled.emplace_back();
        if (s.prompt || s.context == 0) return;
        running.engine = open(filled_room(plan, s.context, s.streams));
        begin(running, running.engine.get(), s.context, s.streams);
        done += s.streams * s.context;
    }

    void measure(Speed& s, Running& running, int repetition, const Roofs& roofs) {
        s.prompt ? measure_prompt(s, repetition, roofs) : measure_generation(s, running, repetition);
        done += steps(s);
    }

    void measure_prompt(Speed& s, int repetition, const Roofs& roofs) {
        const Clock::time_point begun = Clock::now();
        submit(start.get(), s.tokens, 1);
        take(start.get(), 1, ALIA_EVENT_FINISHED);  // which comes with the token
        const double seconds = since(begun);
        if (repetition == 0) return;
        s.roof = work.roof(roofs);
        s.work = work.products(s.tokens) / double(s.tokens);
        s.speeds.push_back(double(s.tokens) / seconds);
        s.shares.push_back(s.work * s.speeds.back() / rate(roofs, s.roof));
    }

    void measure_generation(Speed& s, Running& running, int repetition) {
        alia_engine* engine = running.engine ? running.engine.get() : start.get();
        if (!running.engine) begin(running, engine, 1, s.streams);
        const auto work_of = [&](int64_t tokens) {  // bytes a token while so many are generated
            const double positions = double(running.positions) + double(tokens) / 2;
            return (double(r.token_bytes) + double(r.position_bytes) * positions) / s.streams;
        };
        const int64_t wanted = s.streams * s.tokens;
        s.work = work_of(wanted);
        int64_t taken = 0;
        double seconds = 0;
        for (Reading before = read(), after; taken < wanted; before = after) {
            const Clock::time_point begun = Clock::now();
            int64_t turn = 0;
            do turn += take(engine, 1);
            while (taken + turn < wanted && since(begun) < before.seconds);
            const double spent = since(begun);
            after = read();
            if (repetition > 0)
                s.shares.push_back(work_of(turn) * double(turn) / spent / ((before.rate + after.rate) / 2));
            running.positions += turn;
            taken += turn;
            seconds += spent;
        }
        if (!running.engine) {
            for (uint64_t request : running.requests) check(alia_engine_cancel(engine, request));
            take(engine, s.streams, ALIA_EVENT_FINISHED);
        }
        if (repetition == 0) return;
        s.speeds.push_back(double(taken) / seconds);
    }

    struct Reading {
        double rate = 0, seconds = 0;
    };
    Reading read() {
        const Clock::time_point begun = Clock::now();
        double rate = 0;
        check(alia_model_read_rate(model.get(), &rate));
        return {rate, since(begun)};
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
    std::vector<Running> filled;  // for each of r.speeds
    std::vector<alia_event> events = std::vector<alia_event>(1024, alia_event ALIA_EVENT_INIT);
};

}  // namespace

SpeedReport measure_speed(const ModelChoice& choice, const SpeedPlan& plan) { return Bench(choice, plan).run(); }

}  // namespace cli
