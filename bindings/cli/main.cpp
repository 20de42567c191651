// The command line `alia`: options, commands, exit codes.
#include "bindings/cli/commands.h"
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

void add_cache_option(CLI::App& command, int32_t& format) {
    static const std::map<std::string, int32_t> formats = {{"auto", ALIA_CACHE_AUTO},
                                                           {"f32", ALIA_CACHE_F32},
                                                           {"f16", ALIA_CACHE_F16},
                                                           {"bf16", ALIA_CACHE_BF16},
                                                           {"q8_0", ALIA_CACHE_Q8_0}};
    auto choose = [&format](const std::string& name) { format = formats.at(name); };
    command
        .add_option_function<std::string>("--kv", choose, "format of the KV cache (without it: the device's choice)")
        ->type_name("FORMAT")
        ->check(CLI::IsMember({"auto", "f32", "f16", "bf16", "q8_0"}));
}

namespace {

int report(const Failure& failure) {
    if (interrupted() && failure.status == ALIA_CANCELLED) return exit_interrupted;
    std::fprintf(stderr, "%salia:%s %s\n", red(), plain(), failure.what());
    return exit_error;
}

int run(int argc, char** argv) {
    check(alia_check());
    CLI::App app("Runs the ALIA language models, and others of the Llama family.", "alia");
    const std::string version = std::string("alia ") + alia_version();
    app.set_version_flag("--version", version);
    app.require_subcommand(1);
    app.footer(
        "Examples:\n"
        "  alia run model.gguf \"What is the capital of Spain?\"\n"
        "  alia info model.gguf\n"
        "  alia COMMAND --help\n"
        "Exit codes: 0; 1 an error; 2 wrong usage; 130 interrupted.");
    Run chosen;
    for (auto add :
         {add_run, add_info, add_plan, add_tokenize, add_logits, add_bench, add_perplexity, add_imatrix, add_quantize})
        add(app, chosen);
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
