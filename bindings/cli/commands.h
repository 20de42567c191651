// The commands; each file adds one to the application.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>

#include "bindings/cli/client.h"

namespace cli {

using Run = std::function<int()>;  // what was chosen, run after parsing; gives the exit code

constexpr int exit_error = 1, exit_usage = 2, exit_interrupted = 130;

void add_run(CLI::App&, Run&);
void add_info(CLI::App&, Run&);
void add_plan(CLI::App&, Run&);
void add_tokenize(CLI::App&, Run&);
void add_chat(CLI::App&, Run&);
void add_batch(CLI::App&, Run&);
void add_embed(CLI::App&, Run&);
void add_doctor(CLI::App&, Run&);
void add_logits(CLI::App&, Run&);
void add_bench(CLI::App&, Run&);
void add_perplexity(CLI::App&, Run&);
void add_imatrix(CLI::App&, Run&);
void add_quantize(CLI::App&, Run&);

// MODEL, --device and --threads.
void add_model_options(CLI::App& command, ModelChoice&);
// -n, --temp, --top-p, --top-k, --min-p and --seed.
void add_sampling_options(CLI::App& command, alia_request_options&);
// --kv.
void add_cache_option(CLI::App& command, int32_t& format);

}  // namespace cli
