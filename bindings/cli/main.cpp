// The command line `alia`: options, commands, exit codes.
#include "bindings/cli/commands.h"
#include "bindings/cli/language.h"
#include "bindings/cli/terminal.h"

namespace cli {

void add_model_options(CLI::App& command, ModelChoice& choice) {
    command.add_option("MODEL", choice.path, "a GGUF file, a model directory, or a .safetensors file")->required();
    command.add_option("--device", choice.device,
                       "auto, cpu, cpu:avx512, cpu:avx2, cpu:base, ref (without it: $ALIA_DEVICE, else auto)");
    command.add_option("--threads", choice.threads, "threads of CPU devices (0: what the machine allows)")
        ->check(CLI::NonNegativeNumber);
    command.add_flag("--pin", choice.pin, "each of these threads keeps to one processor");
}

void add_sampling_options(CLI::App& command, alia_request_options& r) {
    command.add_option("-n", r.max_tokens, "tokens to generate at most (-1: until the answer or the context ends)")
        ->capture_default_str();
    command.add_option("--temp", r.temperature, "temperature; 0 takes the best token (-1: the checkpoint's, else 0)");
    command.add_option("--top-p", r.top_p, "keep the best tokens whose probability reaches it (1: off)");
    command.add_option("--top-k", r.top_k, "keep the best so many tokens (0: off)");
    command.add_option("--min-p", r.min_p, "keep tokens of at least this share of the best one's probability (0: off)");
    command.add_option("--seed", r.seed, "the same seed gives the same text")->capture_default_str();
}

void add_cache_option(CLI::App& command, int32_t& format) {
    static const std::map<std::string, int32_t> formats = {{"auto", ALIA_CACHE_AUTO}, {"f32", ALIA_CACHE_F32},
                                                           {"f16", ALIA_CACHE_F16},   {"bf16", ALIA_CACHE_BF16},
                                                           {"q8_0", ALIA_CACHE_Q8_0}, {"fp8", ALIA_CACHE_FP8}};
    auto choose = [&format](const std::string& name) { format = formats.at(name); };
    command
        .add_option_function<std::string>("--kv", choose, "format of the KV cache (without it: the device's choice)")
        ->type_name("FORMAT")
        ->check(CLI::IsMember({"auto", "f32", "f16", "bf16", "q8_0", "fp8"}));
}

namespace {

int report(const Failure& failure) {
    if (interrupted() && failure.status == ALIA_CANCELLED) return exit_interrupted;
    std::fprintf(stderr, "%salia:%s %s\n", red(), plain(), failure.what());
    return exit_error;
}

// What --lang says, known before the rest so that helps and errors follow it.
std::string_view asked_language(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (argument.starts_with("--lang=")) return argument.substr(7);
        if (argument == "--lang" && i + 1 < argc) return argv[i + 1];
    }
    return {};
}

int run(int argc, char** argv) {
    check(alia_check());
    CLI::App app("Runs the ALIA language models, and others of the Llama family.", "alia");
    const std::string version = std::string("alia ") + alia_version();
    app.set_version_flag("--version", version);
    app.require_subcommand(1);
    app.fallthrough();  // commands take the options of all
    std::string language;
    app.add_option("--lang", language, "language of these texts: en or es (without it: the locale's)")
        ->check(CLI::IsMember({"en", "es"}));
    app.footer(
        "Exit codes: 0; 1 an error; 2 wrong usage; 130 interrupted.\n"
        "Examples:\n"
        "  alia run model.gguf \"What is the capital of Spain?\"\n"
        "  alia info model.gguf\n"
        "  alia COMMAND --help");
    Run chosen;
    for (auto add : {add_run, add_chat, add_batch, add_embed, add_info, add_plan, add_doctor, add_tokenize, add_logits,
                     add_bench, add_perplexity, add_imatrix, add_quantize})
        add(app, chosen);
    choose_language(asked_language(argc, argv));
    translate(app);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : exit_usage;
    }
    const int code = chosen();
    if (std::fflush(stdout) != 0 || std::ferror(stdout))
        throw Failure("standard output: the system refused to write", ALIA_IO);
    return code;
}

}  // namespace
}  // namespace cli

int main(int argc, char** argv) {
    try {
        return cli::run(argc, argv);
    } catch (const cli::Failure& e) {
        std::fflush(stdout);
        return cli::report(e);
    } catch (const std::exception& e) {
        std::fflush(stdout);
        return cli::report(cli::Failure(e.what(), ALIA_INTERNAL));
    }
}
