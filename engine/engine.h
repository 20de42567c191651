// Submit, step, cancel: many requests share one model.
#pragma once

#include "engine/request.h"
#include "engine/runner.h"

namespace alia {

struct EngineOptions {
    int64_t context = 4096;  // positions of the longest sequence
    int64_t positions = 0;   // of the KV cache, which all sequences share; at least `context`. 0: as `context`
    int sequences = 16;      // that run at once; others wait
    int queue = 1 << 20;     // requests that wait at most
    int chunk =
        256;  // tokens that a step processes at most, besides one of each running sequence; generated ones go first
    int logit_rows = 32;          // rows of prompt logits or scores that a step computes at most
    std::optional<Format> cache;  // as Cache takes it; nothing: what the device prefers
    int threads = 0;              // 0: as the model's
};

// Since the engine was opened, except where it says now.
struct Counters {
    int64_t steps = 0, passes = 0;
    int64_t prompt_tokens = 0, generated_tokens = 0;      // processed, those that were processed again included
    int64_t cached_tokens = 0;                            // found in the cache instead
    int64_t preemptions = 0, evictions = 0;               // of sequences; of pages
    int64_t rows_fetched = 0;                             // whole rows of logits that sampling read
    double step_seconds = 0, model_seconds = 0;           // in step(); of these for the device
    int64_t running = 0, waiting = 0;                     // now: sequences
    int64_t pages = 0, pages_free = 0, pages_cached = 0;  // now; cached ones belong to no sequence
};

// One thread at a time steps the engine and uses its resident sequences. submit, cancel, choose, idle, due and
// counters may be called from any thread at any time and never wait for a step. A request's tokens and numbers do not
// depend on what runs beside it, on how it was cut into steps, nor on what was cached, preempted or restored.
class Engine {
  public:
    // invalid_argument, naming the option; out_of_memory.
    Engine(std::shared_ptr<const Model>, const EngineOptions&);
    ~Engine();

    // The request's number, from 1. Nothing has changed after an error: invalid_argument, naming the field;
    // context_full (the prompt does not fit the context); limit (the queue is full); not_found (no such sequence); busy
    // (a request runs on the sequence); no_tokenizer (stop_texts); device_lost.
    uint64_t submit(Request);

    // One bounded step: at most one pass of generated tokens, then one of prompt tokens. Its events, in order for each
    // request, and what they point to are valid until the next step. A request that fails alone ends with
    // Finish::error. Where a whole pass fails, its error is thrown, after the events that came before it were given;
    // every sequence is as before that pass, and stepping again repeats it. device_lost is final: every later call
    // gives it.
    std::span<const Event> step();

    // False where no such request is waiting or running. Its finished events come with the next step.
    bool cancel(uint64_t request);
    // Answers a choice event: the logits of its position, [vocabulary], as the caller wants them; copied. The draw
    // comes with the next step, penalties and bias included. Errors: not_found (no completion of this request waits for
    // one), invalid_argument (the length).
    void choose(uint64_t request, int completion, std::span<const float> logits);

    bool idle() const;  // no request is waiting or running
    // When a step next has something to do: min() now; max() not before another call, since every request, if there is
    // any, waits for choose(); otherwise the first deadline of those.
    Clock::time_point due() const;
    Counters counters() const;

    // Resident sequences: tokens with their roles and pages, which outlive requests. A request that names one continues
    // it, and its generated tokens stay there. While it does, and for an unknown number, these functions fail with busy
    // and not_found. Pages of a sequence that no request runs on may be taken for others; its tokens are then processed
    // again when it continues.
    uint64_t make_sequence();                          // empty
    uint64_t fork(uint64_t sequence);                  // shares its pages
    void truncate(uint64_t sequence, int64_t length);  // invalid_argument beyond its length
    void free_sequence(uint64_t sequence);
    std::vector<int32_t> tokens(uint64_t sequence) const;
    // Tokens, roles, and K and V of their pages, checksummed, and bound to the model's numbers, its shape, the cache's
    // format and the kernel table. What a request draws follows from its seed, these tokens and their roles, so this is
    // a sampler's whole state too. The format is engine/state.h.
    std::vector<std::byte> save(uint64_t sequence) const;
    // Errors, naming the part: malformed, truncated, unsupported (another version, model, format or table),
    // context_full (it is longer than the context). Pages for which there is no room are processed again when the
    // sequence continues. Restored pages are never shared with requests that did not come from this sequence.
    uint64_t restore(std::span<const std::byte> state);

    const Model& model() const;
    const EngineOptions& options() const;

  private:
    struct State;
    std::unique_ptr<State> state;
};

// The limits of an engine's passes; invalid_argument, naming the option, where one is out of range.
PassLimits pass_limits(const EngineOptions&);
// Positions of its KV cache.
int64_t cache_positions(const EngineOptions&);
// What an engine takes beside the weights. The model may be an outline.
int64_t engine_bytes(const Model&, const Kernels&, const EngineOptions&);

}  // namespace alia
