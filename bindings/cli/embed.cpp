// alia embed: texts to vectors.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <unistd.h>

#include "bindings/cli/commands.h"
#include "bindings/cli/json.h"
#include "bindings/cli/language.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

struct Options {
    ModelChoice model;
    std::vector<std::string> texts;
    std::string file;
    int32_t pooling = ALIA_POOLING_MEAN;
    bool normalise = false, json = false;
    int64_t context = 4096;
    int32_t cache = ALIA_CACHE_AUTO;
};

struct Embedding {
    std::vector<float> values;
    int64_t tokens = -1;  // of its text, known once it is whole
};

std::vector<std::string> lines_of(const std::string& file) {
    const std::string all = file == "-" ? read_all(stdin, "standard input") : read_file(file);
    std::vector<std::string> lines;
    for (size_t at = 0; at < all.size();) {
        const size_t end = std::min(all.find('\n', at), all.size());
        lines.push_back(all.substr(at, end - at));
        if (lines.back().ends_with('\r')) lines.back().pop_back();
        at = end + 1;
    }
    return lines;
}

std::string named(size_t index) { return "text " + std::to_string(index + 1) + ": "; }

// Gives every text's embedding to `take(index, Embedding)`, in the order of the texts.
template <class F>
void embed_all(alia_model* model, const std::vector<std::string>& texts, const Options& o, F&& take) {
    alia_engine_options engine_options = ALIA_ENGINE_OPTIONS_INIT;
    engine_options.context = o.context;
    engine_options.cache = o.cache;
    alia_engine* opened = nullptr;
    check(alia_engine_open(model, &engine_options, &opened));
    const Engine engine(opened);
    alia_request_options request = ALIA_REQUEST_OPTIONS_INIT;
    request.max_tokens = 0;
    request.pooling = o.pooling;
    if (o.normalise) request.flags |= ALIA_REQUEST_NORMALISE;

    Stepper stepper(engine.get());
    ProgressBar bar(tr("embedding"));
    std::map<uint64_t, size_t> running;  // request to text
    std::map<size_t, Embedding> ready;   // those that an earlier text holds up
    size_t given = 0, taken = 0;
    const size_t ahead = 4 * size_t(engine_options.sequences);
    while (taken < texts.size()) {
        for (; given < texts.size() && given < taken + ahead; ++given) {
            const std::vector<int32_t> ids = encode(model, {{texts[given], ALIA_PART_LITERAL}}, true);
            if (ids.empty()) throw Failure(named(given) + "is empty, and this tokenizer adds nothing around a text");
            uint64_t number = 0;
            if (alia_engine_submit(engine.get(), ids.data(), ids.size(), &request, &number) != ALIA_OK)
                throw Failure(named(given) + alia_error_message(), alia_error_status());
            running.emplace(number, given);
        }
        if (interrupted()) throw Failure("interrupted", ALIA_CANCELLED);
        for (const alia_event& event : stepper.step()) {
            const size_t index = running.at(event.request);
            if (event.kind == ALIA_EVENT_EMBEDDING)
                ready[index].values.assign(event.values, event.values + event.columns);
            if (event.kind != ALIA_EVENT_FINISHED) continue;
            if (event.finish == ALIA_FINISH_ERROR)
                throw Failure(named(index) + std::string(event.message, event.message_length), event.status);
            ready[index].tokens = event.prompt_tokens;
            running.erase(event.request);
        }
        for (auto next = ready.find(taken); next != ready.end() && next->second.tokens >= 0; next = ready.find(taken)) {
            take(taken++, next->second);
            ready.erase(next);
        }
        bar.show(int64_t(taken), int64_t(texts.size()));
    }
}

void print_json(size_t index, const std::string& text, const Embedding& e) {
    std::string line = "{\"index\": " + std::to_string(index) + ", \"text\": " + json_string(text) +
                       ", \"tokens\": " + std::to_string(e.tokens) + ", \"embedding\": [";
    for (float value : e.values) {
        char number[32];
        if (line.back() != '[') line += ", ";
        line.append(number, std::to_chars(number, number + sizeof number, value).ptr);
    }
    line += "]}\n";
    std::fwrite(line.data(), 1, line.size(), stdout);
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        ab += double(a[i]) * b[i];
        aa += double(a[i]) * a[i];
        bb += double(b[i]) * b[i];
    }
    return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

int embed(const Options& o) {
    std::vector<std::string> texts = o.texts;
    if (texts.empty() || !o.file.empty())
        for (std::string& line : lines_of(o.file.empty() ? "-" : o.file)) texts.push_back(std::move(line));
    if (texts.empty()) throw Failure("there is no text to embed");
    watch_interrupt();
    const Model model = open_model(o.model);
    if (o.json || !isatty(STDOUT_FILENO)) {
        embed_all(model.get(), texts, o, [&](size_t i, const Embedding& e) { print_json(i, texts[i], e); });
        return 0;
    }
    std::vector<Embedding> all;
    embed_all(model.get(), texts, o, [&](size_t, const Embedding& e) { all.push_back(e); });
    std::printf("%zu texts, %zu dimensions\n", all.size(), all[0].values.size());
    std::printf("%8s %8s  %s\n", "tokens", "cosine", "text (cosine to the first)");
    for (size_t i = 0; i < all.size(); ++i)
        std::printf("%8lld %8.4f  %s\n", (long long)all[i].tokens, cosine(all[0].values, all[i].values),
                    visible(texts[i], 60).c_str());
    return 0;
}

}  // namespace

void add_embed(CLI::App& app, Run& chosen) {
    auto o = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("embed", "Turn texts into vectors");
    add_model_options(*command, o->model);
    command->add_option("TEXT", o->texts, "the texts (without any, and without --file: lines of standard input)");
    command->add_option("--file", o->file, "a file with a text a line; - is standard input");
    static const std::map<std::string, int32_t> poolings = {{"mean", ALIA_POOLING_MEAN}, {"last", ALIA_POOLING_LAST}};
    command
        ->add_option_function<std::string>(
            "--pooling", [o](const std::string& name) { o->pooling = poolings.at(name); },
            "of the tokens' last hidden states: mean, or last (without it: mean)")
        ->type_name("KIND")
        ->check(CLI::IsMember({"mean", "last"}));
    command->add_flag("--normalise", o->normalise, "vectors of length 1");
    command->add_option("--ctx", o->context, "positions of the KV cache, and of the longest text")
        ->capture_default_str();
    add_cache_option(*command, o->cache);
    command->add_flag("--json", o->json, "JSON Lines, which is what comes where standard output is no terminal");
    command->footer(
        "Each line is {\"index\", \"text\", \"tokens\", \"embedding\"}. On a terminal comes a table instead, with the\n"
        "cosine of each text's vector to the first one's.\n"
        "Examples:\n"
        "  alia embed model.gguf \"el gato\" \"the cat\" \"la bolsa de Madrid\"\n"
        "  alia embed model.gguf --normalise --file lines.txt > vectors.jsonl");
    command->callback([o, &chosen] { chosen = [o] { return embed(*o); }; });
}

}  // namespace cli
