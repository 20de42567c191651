// alia logits: teacher-forced logits of given tokens, for comparing engines.
#include <optional>

#include "bindings/cli/commands.h"
#include "bindings/cli/npy.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

struct Options {
    ModelChoice model;
    std::string ids, out;
    int32_t cache = ALIA_CACHE_AUTO;
    int32_t chunk = 32;
};

Engine open_engine(alia_model* model, const Options& o, int64_t context) {
    alia_engine_options options = ALIA_ENGINE_OPTIONS_INIT;
    options.context = context;
    options.cache = o.cache;
    options.chunk = options.logit_rows = o.chunk;
    alia_engine* engine = nullptr;
    check(alia_engine_open(model, &options, &engine));
    return Engine(engine);
}

void submit(alia_engine* engine, const std::vector<int32_t>& ids) {
    alia_request_options options = ALIA_REQUEST_OPTIONS_INIT;
    options.flags = ALIA_REQUEST_PROMPT_LOGITS;
    options.max_tokens = 0;
    uint64_t request = 0;
    check(alia_engine_submit(engine, ids.data(), ids.size(), &options, &request));
}

int logits(const Options& o) {
    const std::vector<int32_t> ids = parse_ids(read_file(o.ids), o.ids);
    if (ids.empty()) throw Failure(o.ids + ": it holds no token ids");
    watch_interrupt();
    const Model model = open_model(o.model);
    const Engine engine = open_engine(model.get(), o, int64_t(ids.size()));
    submit(engine.get(), ids);
    std::optional<NpyWriter> file;
    ProgressBar bar("logits");
    for (;;) {
        if (interrupted()) return exit_interrupted;
        alia_event event = ALIA_EVENT_INIT;
        uint32_t count = 0;
        check(alia_engine_step(engine.get(), &event, 1, &count));
        if (count == 0) continue;
        check(event);
        if (event.kind == ALIA_EVENT_LOGITS) {
            if (!file) file.emplace(o.out, int64_t(ids.size()), event.columns);
            file->write(event.values, event.rows * event.columns);
            bar.show(event.position + event.rows, int64_t(ids.size()));
        } else if (event.kind == ALIA_EVENT_FINISHED) {
            file->finish();
            return 0;
        }
    }
}

}  // namespace

void add_logits(CLI::App& app, Run& chosen) {
    auto o = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("logits", "Write the logits at every position of given tokens");
    add_model_options(*command, o->model);
    command->add_option("--ids", o->ids, "file of token ids parted by white space, taken as they are")->required();
    command->add_option("--out", o->out, "the .npy file: float32, one row a position")->required();
    command->add_option("--chunk", o->chunk, "tokens in one step; any number gives the same bits")
        ->capture_default_str();
    add_cache_option(*command, o->cache);
    command->footer("Example:\n  alia logits model.gguf --ids ids.txt --out logits.npy --device ref");
    command->callback([o, &chosen] { chosen = [o] { return logits(*o); }; });
}

}  // namespace cli
