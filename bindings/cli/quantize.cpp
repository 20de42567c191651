// alia quantize: a model to a GGUF file in another number format.
#include "bindings/cli/commands.h"
#include "bindings/cli/json.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

struct Options {
    std::string source, target, type, imatrix;
    int threads = 0;
    bool json = false;
};

std::string quantized(const Options& o) {
    ProgressBar bar("quantising");
    alia_quantize_options options = ALIA_QUANTIZE_OPTIONS_INIT;
    options.threads = o.threads;
    options.imatrix = o.imatrix.data();
    options.imatrix_length = o.imatrix.size();
    options.progress = show_progress;
    options.user = &bar;
    return text_from([&](char** text, uint64_t* length) {
        return alia_quantize(o.source.data(), o.source.size(), o.target.data(), o.target.size(), o.type.data(),
                             o.type.size(), &options, text, length);
    });
}

int quantize(const Options& o) {
    watch_interrupt();
    const std::string report = quantized(o);
    std::string shown = o.json ? report + "\n" : table(report, {"notes", "tensors"});
    if (!o.json)
        for (const std::string& note : strings_at(report, "notes")) shown += "note               " + note + "\n";
    std::fwrite(shown.data(), 1, shown.size(), stdout);
    return 0;
}

}  // namespace

void add_quantize(CLI::App& app, Run& chosen) {
    auto o = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("quantize", "Write a model as a GGUF file in another number format");
    command->add_option("SRC", o->source, "a GGUF file, a model directory, or a .safetensors file")->required();
    command->add_option("DST", o->target, "the GGUF file to write; one that is there is replaced")->required();
    command->add_option("--type", o->type, "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K_M, Q5_K_M or Q6_K")
        ->required();
    command->add_option("--imatrix", o->imatrix, "importance matrix by which errors are weighed (alia imatrix)");
    command->add_option("--threads", o->threads, "0: what the machine allows")->check(CLI::NonNegativeNumber);
    command->add_flag("--json", o->json, "one JSON object on standard output, every tensor in it");
    command->footer(
        "Rows that are no multiple of a format's blocks get the format named as fallback.\n"
        "Example:\n  alia quantize path/to/ALIA-40b alia-40b.Q4_K_M.gguf --type Q4_K_M --imatrix alia.imatrix.gguf");
    command->callback([o, &chosen] { chosen = [o] { return quantize(*o); }; });
}

}  // namespace cli
