// From candidates to a token: penalties, temperature, top-k, top-p, min-p, and a random stream per request.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "engine/config.h"
#include "kernels/ops.h"

namespace alia {

struct LogitBias {
    int32_t token;
    float bias;
};

// In this order: penalties and bias, temperature, top-k, top-p, min-p; then a draw among what is left.
struct Sampling {
    double temperature = 0;  // below 1e-5: the best token (ties: the smaller id)
    int64_t top_k = 0;       // 0: off
    double top_p = 1;        // the smallest set of best tokens whose probability reaches it
    double min_p = 0;        // tokens of at least this share of the best one's probability
    double repetition = 1;   // a logit of a token seen so far is divided by it if positive, multiplied otherwise
    double frequency = 0;    // taken off once for each time that the token was generated
    double presence = 0;     // taken off once if it was generated
    std::vector<LogitBias> bias;
    uint64_t seed = 0;

    bool greedy() const { return temperature < 1e-5; }
};

// What generation_config.json asks for, greedy where it says nothing.
Sampling default_sampling(const GenerationConfig&);
// invalid_argument, naming the field, where a number is out of its range or not finite.
void check(const Sampling&, int64_t vocabulary);

// The sampler's state of one request. Every number it draws follows from seed, position and token alone, and its counts
// from the tokens and their roles.
class Sampler {
  public:
    Sampler(const Sampling&, std::span<const int32_t> prompt);

    // Memory for so many tokens of a sequence and forbidden ones: until then nothing allocates.
    void reserve(int64_t tokens, int64_t forbidden);
    // Counts these tokens alone; roles that are not given are a prompt's.
    void restart(std::span<const int32_t> tokens, std::span<const Role> roles);
    void accept(int32_t token);  // that was generated

    // The record of the next row; borrowed until the next call of this object. The forbidden tokens are not drawn.
    SampleRow row(uint64_t position, std::span<const int32_t> forbidden = {});
    // The next token. `fetch_row` gives the row's logits with its record's changes applied; it is called only where the
    // candidates do not reach far enough.
    int32_t pick(const SampleResult&, uint64_t position,
                 const std::function<std::span<const float>()>& fetch_row) const;

  private:
    struct Seen {
        int32_t token;
        int32_t generated = 0;  // times
        float bias = 0;
        bool penalised = false;  // in the prompt or generated
    };
    bool counts() const { return sampling.repetition != 1 || sampling.frequency != 0 || sampling.presence != 0; }
    Seen& seen_of(int32_t token);

    Sampling sampling;
    std::vector<Seen> seen;  // by token
    std::vector<LogitChange> changes;
};

}  // namespace alia
