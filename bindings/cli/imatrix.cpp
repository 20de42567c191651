// alia imatrix: which weights texts need most, for quantisers.
#include <chrono>

#include "bindings/cli/chunks.h"
#include "bindings/cli/commands.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

struct Options {
    ModelChoice model;
    std::vector<std::string> texts;
    std::string out;
    int64_t context = 512;
    bool head = false;
};

void measure(alia_model* model, const std::vector<ChunkedText>& texts, const Options& o) {
    std::vector<int32_t> ids;
    std::vector<uint64_t> lengths;
    std::string names;
    for (const ChunkedText& text : texts) {
        names += text.path + "\n";
        for (const std::vector<int32_t>& chunk : text.chunks) {
            ids.insert(ids.end(), chunk.begin(), chunk.end());
            lengths.push_back(chunk.size());
        }
    }
    ProgressBar bar("imatrix");
    alia_imatrix_options options = ALIA_IMATRIX_OPTIONS_INIT;
    options.flags = o.head ? ALIA_IMATRIX_HEAD : 0;
    options.datasets = names.data();
    options.datasets_length = names.size();
    options.progress = show_progress;
    options.user = &bar;
    check(alia_imatrix(model, ids.data(), ids.size(), lengths.data(), lengths.size(), &options, o.out.data(),
                       o.out.size()));
}

int imatrix(const Options& o) {
    watch_interrupt();
    const Model model = open_model(o.model);
    const std::vector<ChunkedText> texts = read_chunks(model.get(), o.texts, o.context);
    const auto start = std::chrono::steady_clock::now();
    measure(model.get(), texts, o);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double tokens = double(count_tokens(texts));
    std::printf("%s: %.0f tokens in %.1f s, %.1f tokens/s\n", o.out.c_str(), tokens, seconds, tokens / seconds);
    return 0;
}

}  // namespace

void add_imatrix(CLI::App& app, Run& chosen) {
    auto o = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("imatrix", "Measure which weights texts need most, for `alia quantize`");
    add_model_options(*command, o->model);
    command->add_option("--text", o->texts, "a text file; may be given several times")
        ->required()
        ->allow_extra_args(false);
    command->add_option("--out", o->out, "the file, as llama.cpp's imatrix.gguf")->required();
    command->add_option("--context", o->context, "tokens of a chunk; each is read by itself")
        ->check(CLI::Range(int64_t(2), int64_t(1) << 24))
        ->capture_default_str();
    command->add_flag("--head", o->head, "the matrix that gives the logits too, which takes their time");
    command->footer(
        "Texts should be of the kind and the languages that the model is for; some 100,000 tokens are plenty.\n"
        "Example:\n  alia imatrix path/to/ALIA-40b --text es.txt --text eu.txt --out alia.imatrix.gguf");
    command->callback([o, &chosen] { chosen = [o] { return imatrix(*o); }; });
}

}  // namespace cli
