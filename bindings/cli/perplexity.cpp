// alia perplexity: how well a model foretells texts, and how far it has moved from a reference.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <thread>

#include "bindings/cli/chunks.h"
#include "bindings/cli/commands.h"
#include "bindings/cli/json.h"
#include "bindings/cli/scores.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

struct Options {
    ModelChoice model;
    std::vector<std::string> texts;
    std::string reference, save;
    int64_t context = 512;
    int32_t cache = ALIA_CACHE_AUTO;
    bool json = false;
};

constexpr int rows_a_step = 64;

// As many as the library takes.
int64_t threads_of(const ModelChoice& model) {
    if (model.threads > 0) return model.threads;
    return int64_t(number_at(text_from(alia_devices), "/threads"));
}

// Reads chunks in order and scores every token that has another before it in its chunk.
class Reading {
  public:
    Reading(alia_model* model, const Options& o, const std::vector<ChunkedText>& texts)
        : o(o), tokens(count_tokens(texts)), threads(threads_of(o.model)), bar("perplexity") {
        for (const ChunkedText& text : texts) chunks += int64_t(text.chunks.size());
        alia_engine_options options = ALIA_ENGINE_OPTIONS_INIT;
        options.context = o.context;
        options.cache = o.cache;
        options.chunk = options.logit_rows = rows_a_step;
        alia_engine* opened = nullptr;
        check(alia_engine_open(model, &options, &opened));
        engine.reset(opened);
    }

    void read(const std::vector<int32_t>& chunk, std::vector<Score>& scores) {
        submit(chunk);
        for (;;) {
            if (interrupted()) throw Failure("interrupted", ALIA_CANCELLED);
            alia_event event = ALIA_EVENT_INIT;
            uint32_t count = 0;
            check(alia_engine_step(engine.get(), &event, 1, &count));
            if (count == 0) continue;
            check(event);
            if (event.kind == ALIA_EVENT_FINISHED) break;
            if (event.kind == ALIA_EVENT_LOGITS) take(event, chunk, scores);
        }
        done += int64_t(chunk.size());
    }

    void finish() {
        if (reference) reference->finish();
        if (saved) saved->finish();
    }

  private:
    void submit(const std::vector<int32_t>& chunk) {
        alia_request_options options = ALIA_REQUEST_OPTIONS_INIT;
        options.flags = ALIA_REQUEST_PROMPT_LOGITS;
        options.max_tokens = 0;
        uint64_t request = 0;
        check(alia_engine_submit(engine.get(), chunk.data(), chunk.size(), &options, &request));
    }

    void take(const alia_event& event, const std::vector<int32_t>& chunk, std::vector<Score>& scores) {
        if (event.position == 0) begin(chunk, event.columns);
        const int64_t first = event.position, rows = std::min<int64_t>(event.rows, int64_t(chunk.size()) - 1 - first);
        if (reference)
            for (int64_t i = 0; i < rows; ++i) reference->row(expected[size_t(i)]);
        const size_t before = scores.size();
        scores.resize(before + size_t(rows));
        in_parallel(rows, [&](int64_t i) {
            const std::span logits(event.values + i * event.columns, size_t(event.columns));
            const int32_t next = chunk[size_t(first + i + 1)];
            scores[before + size_t(i)] = score(logits, next, reference ? &expected[size_t(i)] : nullptr);
        });
        for (int64_t i = 0; i < rows; ++i) {
            const Score& s = scores[before + size_t(i)];
            if (!std::isfinite(s.loss))
                throw Failure(
                    "the model's logits at position " + std::to_string(first + i) + " of a chunk are no finite numbers",
                    ALIA_MALFORMED);
            if (saved) saved->row(event.values + i * event.columns, s.top);
        }
        bar.show(done + first + event.rows, tokens);
    }

    // Calls f(0) .. f(n - 1), which do not throw.
    template <class F>
    void in_parallel(int64_t n, F&& f) const {
        const int64_t count = std::max<int64_t>(1, std::min(threads, n));
        std::vector<std::jthread> workers;
        for (int64_t t = 0; t < count; ++t)
            workers.emplace_back([&f, n, t, count] {
                for (int64_t i = t; i < n; i += count) f(i);
            });
    }

    void begin(const std::vector<int32_t>& chunk, int64_t vocabulary) {
        if (!o.reference.empty() && !reference) reference.emplace(o.reference, vocabulary, chunks);
        if (!o.save.empty() && !saved) saved.emplace(o.save, vocabulary, chunks);
        if (reference) reference->chunk(chunk);
        if (saved) saved->chunk(chunk);
    }

    const Options& o;
    const int64_t tokens, threads;
    int64_t chunks = 0, done = 0;
    ProgressBar bar;
    Engine engine;
    std::optional<LogitsReader> reference;
    std::optional<LogitsWriter> saved;
    std::vector<ReferenceRow> expected{rows_a_step};
};

struct Result {
    std::string name;
    Summary summary;
};

std::string format(const char* pattern, auto... numbers) {
    char text[256];
    std::snprintf(text, sizeof text, pattern, numbers...);
    return text;
}

std::string json_of(const Estimate& e) { return format("{\"value\": %.9g, \"error\": %.3g}", e.value, e.error); }

std::string json_of(const Result& r, bool reference) {
    const Summary& s = r.summary;
    std::string out = "{\"text\": " + json_string(r.name) + format(", \"positions\": %lld", (long long)s.positions) +
                      ", \"perplexity\": " + json_of(s.perplexity);
    if (reference)
        out += ", \"reference_perplexity\": " + json_of(s.reference_perplexity) + ", \"kl\": " + json_of(s.divergence) +
               format(", \"kl_median\": %.9g, \"kl_999\": %.9g, \"kl_max\": %.9g", s.divergence_median,
                      s.divergence_999, s.divergence_largest) +
               ", \"same_top\": " + json_of(s.same_top);
    return out + "}";
}

std::string row_of(const Result& r, size_t width, bool reference) {
    const Summary& s = r.summary;
    std::string out = r.name + std::string(width - r.name.size(), ' ') +
                      format(" %9lld %11.4f ± %-8.4f", (long long)s.positions, s.perplexity.value, s.perplexity.error);
    if (reference)
        out += format(" %11.4f  %9.3g ± %-8.2g %9.3g %9.3g %9.3g   %6.2f %%", s.reference_perplexity.value,
                      s.divergence.value, s.divergence.error, s.divergence_median, s.divergence_999,
                      s.divergence_largest, 100 * s.same_top.value);
    return out + "\n";
}

std::string table_of(const std::vector<Result>& results, bool reference) {
    size_t width = 4;
    for (const Result& r : results) width = std::max(width, r.name.size());
    std::string out = "text" + std::string(width - 4, ' ') + " positions  perplexity           ";
    if (reference) out += "   reference    mean KL              median    99.9 %   largest   same top";
    out += "\n";
    for (const Result& r : results)
        if (&r != &results.back() || results.size() > 2) out += row_of(r, width, reference);
    return out;
}

std::string json_of(const std::vector<Result>& results, bool reference, const Options& o, int64_t tokens,
                    double seconds) {
    std::string out =
        "{\"model\": " + json_string(o.model.path) + format(", \"context\": %lld, \"texts\": [", (long long)o.context);
    for (size_t i = 0; i + 1 < results.size(); ++i) out += (i ? ", " : "") + json_of(results[i], reference);
    return out + "], \"all\": " + json_of(results.back(), reference) +
           format(", \"tokens\": %lld, \"seconds\": %.3f}\n", (long long)tokens, seconds);
}

int perplexity(const Options& o) {
    watch_interrupt();
    const Model model = open_model(o.model);
    const std::vector<ChunkedText> texts = read_chunks(model.get(), o.texts, o.context);
    const auto start = std::chrono::steady_clock::now();
    std::vector<Result> results;
    std::vector<Score> all;
    {
        Reading reading(model.get(), o, texts);
        for (const ChunkedText& text : texts) {
            const size_t first = all.size();
            for (const std::vector<int32_t>& chunk : text.chunks) reading.read(chunk, all);
            results.push_back({text.path, summarise(std::span(all).subspan(first))});
        }
        reading.finish();
    }
    results.push_back({"all", summarise(all)});
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const int64_t tokens = count_tokens(texts);
    const bool reference = !o.reference.empty();
    const std::string out = o.json ? json_of(results, reference, o, tokens, seconds) : table_of(results, reference);
    std::fwrite(out.data(), 1, out.size(), stdout);
    if (!o.json)
        std::printf("%lld tokens in %.1f s, %.1f tokens/s\n", (long long)tokens, seconds, double(tokens) / seconds);
    return 0;
}

}  // namespace

void add_perplexity(CLI::App& app, Run& chosen) {
    auto o = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("perplexity", "Measure how well a model foretells texts");
    add_model_options(*command, o->model);
    command->add_option("--text", o->texts, "a text file; may be given several times")
        ->required()
        ->allow_extra_args(false);
    command->add_option("--context", o->context, "tokens of a chunk")
        ->check(CLI::Range(int64_t(2), int64_t(1) << 24))
        ->capture_default_str();
    command->add_option("--save", o->save, "keep the logits in this file, as a reference for other runs");
    command->add_option("--reference", o->reference, "compare with the logits that another run saved");
    add_cache_option(*command, o->cache);
    command->add_flag("--json", o->json, "one JSON object on standard output");
    command->footer(
        "A text is cut into chunks of --context tokens, each read by itself and starting with what the tokenizer puts\n"
        "before a text (<s>, or nothing). Every token that has another before it in its chunk counts, the first ones\n"
        "too; special tokens spelled in a text are letters. Standard errors take positions as independent.\n"
        "KL is the divergence from the reference to this model in nats; same top: share of positions with the same\n"
        "best token.\n"
        "Examples:\n"
        "  alia perplexity model-bf16.gguf --text es.txt --text eu.txt --save bf16.logits\n"
        "  alia perplexity model-q4_0.gguf --text es.txt --text eu.txt --reference bf16.logits");
    command->callback([o, &chosen] { chosen = [o] { return perplexity(*o); }; });
}

}  // namespace cli
