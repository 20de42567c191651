// How fast a model loads, reads prompts and generates, beside what the machine reaches at best.
#pragma once
#include "bindings/cli/client.h"

namespace cli {

struct SpeedPlan {
    std::vector<int64_t> prompts;    // lengths
    int64_t generate = 64;           // tokens a repetition; 0: none
    std::vector<int64_t> contexts;   // tokens before those that are generated; 0: a first token alone
    std::vector<int> streams = {1};  // sequences that generate at once, each with a context of its own
    int repeat = 5;
    int chunk = 512;  // prompt tokens a step takes at most
    int32_t cache = ALIA_CACHE_AUTO;
};

// As alia_device_roofs gives them.
struct Roofs {
    double read, copy, upload, f32, int8, bf16, e4m3;
};

// Tokens per second, of all streams together, once a repetition, and what they are of the roof: for a prompt the
// multiply-adds of its weights at the rate of the repetition's roof; for generated tokens, a few of them at a time, the
// bytes of weights and cache that they read at the rate at which the weights could be read just before and after.
struct Speed {
    bool prompt;
    int64_t tokens, context;  // of each stream
    int streams;
    const char* roof;  // "read", "f32", "int8", "bf16", "e4m3"
    double work = 0;   // multiply-adds or bytes a token, in the last repetition
    std::vector<double> speeds = {}, shares = {};
};

struct SpeedReport {
    std::string name, device;
    int threads = 0;  // as asked for
    int64_t parameters = 0, weight_bytes = 0;
    int64_t token_bytes = 0;                           // of weights that a token reads: all but the embedding table
    int64_t position_bytes = 0;                        // of the cache
    double load_seconds = 0, load_peak = 0, peak = 0;  // bytes resident at most: when loaded, and in all
    std::vector<Roofs> roofs;                          // once a repetition
    std::vector<Speed> speeds;
};

// Each repetition measures the roofs and then every length, and generation goes in turns with reading, so that a
// machine whose speed changes is compared with itself. The first, unmeasured one warms up. Shows a progress bar on a
// terminal; an interrupt is ALIA_CANCELLED.
SpeedReport measure_speed(const ModelChoice&, const SpeedPlan&);

}  // namespace cli
