// What a request asks for, and the events that answer it.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "engine/sampler.h"

namespace alia {

using Clock = std::chrono::steady_clock;
inline double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

// What is done where a sequence has as many tokens as the context has positions and is to have another. Nothing: the
// request ends with Finish::context. Otherwise the first `first` and the last `last` tokens stay, the ones between them
// are dropped, and the last ones are processed again at their new positions, each in its role.
struct ContextPolicy {
    int64_t first = 0;
    int64_t last = 0;  // 0: the request ends; first + last is below the engine's context

    bool slides() const { return last > 0; }
};

// What is made of the last hidden states (after the final norm) of the prompt's tokens.
enum class Pooling : int32_t { none = 0, mean = 1, last = 2 };

constexpr int max_top_tokens = 20, max_completions = 128, max_stop_texts = 64;
constexpr size_t max_stop_text = 1024;  // bytes

struct Request {
    // At least one token; may be empty where `sequence` has tokens already.
    std::vector<int32_t> prompt;
    Sampling sampling;
    int64_t max_tokens = -1;  // generated; -1: until something else ends it. 0: only what is told of the prompt
    int64_t min_tokens = 0;   // until so many are generated, tokens that end it are not drawn, and texts do not end it
    bool ignore_eos = false;  // the model's own end tokens do not end it
    std::vector<int32_t> stop;            // tokens that end it besides the model's own
    std::vector<std::string> stop_texts;  // bytes that end it, wherever tokens cut them; they are not shown. Text that
                                          // may be the start of one is held back. Not without a tokenizer
    int completions = 1;                  // of the same prompt, which share its pages; completion i draws with seed + i

    bool prompt_logits = false;       // every position's logits come as events
    bool prompt_scores = false;       // the log-probability of every token of the prompt but the first comes as events
    int top_tokens = -1;              // log-probabilities: -1 none, 0 of the chosen token, n also of the n best
    Pooling pooling = Pooling::none;  // an embedding of the prompt comes as an event; best with max_tokens = 0
    bool normalise = false;           // it has length 1
    bool choose = false;  // logits of each drawn row come as an event, and the request waits for Engine::choose

    int32_t priority = 0;                       // higher ones run first and are preempted last
    std::optional<Clock::time_point> deadline;  // from then on it ends with Finish::deadline
    ContextPolicy context;
    uint64_t sequence = 0;  // the resident sequence that it continues; 0: one of its own. Not with several completions
    bool share = true;      // pages of the cache are shared with other requests that begin alike
    std::string salt;  // only with those of the same salt (a tenant's name, say). A resident sequence keeps both as the
                       // request said that began it

    int64_t prompt_tokens() const { return int64_t(prompt.size()); }
};

enum class Finish : int32_t {
    none = 0,
    stop = 1,     // an end token, or one of `stop` or `stop_texts`
    length = 2,   // max_tokens
    context = 3,  // the context is full
    cancelled = 4,
    deadline = 5,
    error = 6,  // this request failed; others did not. Event::status and message say why
};

struct TopToken {
    int32_t token;
    float logprob;
};

struct Event {
    enum class Kind : int32_t { token = 1, logits = 2, finished = 3, scores = 4, embedding = 5, choice = 6 };
    Kind kind;
    uint64_t request;
    int32_t completion = 0;  // which of the request's completions, from 0
    int32_t token = -1;      // token
    std::string_view text;   // token: what can be shown by now, whole UTF-8; finished: the rest
    // logits, choice: rows of vocabulary size, the first of position `position`. scores: natural logarithms of the
    // probabilities of the prompt's tokens from position `position` on. embedding: its numbers, [hidden].
    std::span<const float> values;
    int64_t position = 0;  // token: its own; finished: the sequence's length. Tokens that were dropped count
    int64_t rows = 0;      // logits, choice
    float logprob = 0;     // token, with top_tokens >= 0: natural logarithm, after penalties and bias, temperature 1
    std::span<const TopToken> top;                    // token, with top_tokens > 0: from the best down
    Finish finish = Finish::none;                     // finished
    Status status = Status::ok;                       // finished with Finish::error
    std::string_view message;                         // the same: a sentence
    int64_t prompt_tokens = 0, generated_tokens = 0;  // finished
    int64_t cached_tokens = 0;                        // finished: tokens of the prompt whose pages were there already
};

}  // namespace alia
