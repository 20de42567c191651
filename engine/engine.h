// Submit, step, cancel: requests on one model.
#pragma once

#include "engine/runner.h"
#include "engine/sampler.h"

namespace alia {

struct EngineOptions {
    int64_t context = 4096;       // positions of the KV cache
    int chunk = 256;              // prompt tokens a step takes at most
    int logit_rows = 32;          // rows of logits a step computes at most
    std::optional<Format> cache;  // as Cache takes it; nothing: what the device prefers
    int threads = 0;              // 0: as the model's
};

struct Request {
    std::vector<int32_t> prompt;  // at least one token
    Sampling sampling;
    int64_t max_tokens = -1;  // generated; -1: until the end of the context. 0 with prompt_logits: only those
    bool ignore_eos = false;
    std::vector<int32_t> stop;   // tokens that end it besides the model's own
    bool prompt_logits = false;  // every position's logits come as events

    int64_t prompt_tokens() const { return int64_t(prompt.size()); }
};

enum class Finish : int32_t { none = 0, stop = 1, length = 2, context = 3, cancelled = 4 };

struct Event {
    enum class Kind : int32_t { token = 1, logits = 2, finished = 3 };
    Kind kind;
    uint64_t request;
    int32_t token = -1;             // token
    std::string_view text;          // token: what can be shown by now, whole UTF-8; finished: the rest
    std::span<const float> logits;  // logits: rows of vocabulary size, from position `position` on
    int64_t position = 0;           // token: its position in the sequence
    int64_t rows = 0;               // logits
    Finish finish = Finish::none;   // finished
    int64_t prompt_tokens = 0, generated_tokens = 0;  // finished
};

// Calls come from one thread at a time (capi locks); cancel may come from any thread at any time.
class Engine {
  public:
    Engine(std::shared_ptr<const Model>, const EngineOptions&);
    ~Engine();

    // The request's number, from 1. invalid_argument (sampling, empty prompt, token out of range), context_full (the
    // prompt does not fit the context).
    uint64_t submit(Request);
    // After an error the engine can only be destroyed. One bounded step: a chunk of a prompt or one token. Its events
    // are valid until the next step. Empty: nothing to do.
    std::span<const Event> step();
    // False where no such request is waiting or running. Its finished event comes with the next step.
    bool cancel(uint64_t request);
    bool idle() const;

    const Model& model() const;
    const EngineOptions& options() const;

  private:
    struct State;
    std::unique_ptr<State> state;
};

// The limits of an engine's passes; invalid_argument, naming the option, where one is out of range.
PassLimits pass_limits(const EngineOptions&);
// What an engine takes beside the weights. The model may be an outline.
int64_t engine_bytes(const Model&, const Kernels&, const EngineOptions&);

}  // namespace alia
