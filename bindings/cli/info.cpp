// alia info, alia plan: what a model is and what it takes.
#include "bindings/cli/commands.h"
#include "bindings/cli/json.h"

namespace cli {
namespace {

struct Options {
    ModelChoice model;
    int64_t context = 4096;
    int32_t cache = ALIA_CACHE_AUTO;
    bool json = false;
};

void print(const std::string& object, bool json) {
    const std::string shown = json ? object + "\n" : table(object);
    std::fwrite(shown.data(), 1, shown.size(), stdout);
}

int info(const Options& o) {
    const Model model = open_model(o.model, ALIA_LOAD_HEADERS);
    print(text_from([&](char** text, uint64_t* n) { return alia_model_info(model.get(), text, n); }), o.json);
    return 0;
}

int plan(const Options& o) {
    const alia_model_options model = options_of(o.model, ALIA_LOAD_ALL);
    alia_engine_options engine = ALIA_ENGINE_OPTIONS_INIT;
    engine.context = o.context;
    engine.cache = o.cache;
    const std::string object = text_from([&](char** text, uint64_t* length) {
        return alia_plan(o.model.path.data(), o.model.path.size(), &model, &engine, text, length);
    });
    print(object, o.json);
    return 0;
}

}  // namespace

void add_info(CLI::App& app, Run& chosen) {
    auto o = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("info", "Say what a model is, from its headers alone");
    add_model_options(*command, o->model);
    command->add_flag("--json", o->json, "one JSON object on standard output");
    command->footer("Examples:\n  alia info model.gguf\n  alia info --json path/to/ALIA-40b");
    command->callback([o, &chosen] { chosen = [o] { return info(*o); }; });
}

void add_plan(CLI::App& app, Run& chosen) {
    auto o = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("plan", "Say what running a model takes of memory, without loading it");
    add_model_options(*command, o->model);
    command->add_option("--ctx", o->context, "positions of the KV cache")->capture_default_str();
    add_cache_option(*command, o->cache);
    command->add_flag("--json", o->json, "one JSON object on standard output");
    command->footer("Examples:\n  alia plan model.gguf --ctx 32768\n  alia plan --kv bf16 --json path/to/ALIA-40b");
    command->callback([o, &chosen] { chosen = [o] { return plan(*o); }; });
}

}  // namespace cli
