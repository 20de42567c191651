// One completion of a request, from its submission to its last event.
#pragma once
#include <atomic>
#include <memory>
#include <set>

#include "engine/attempt.h"
#include "engine/request.h"
#include "engine/sequence.h"
#include "engine/stop_texts.h"

namespace alia {

struct Job;

// A sequence that outlives requests. `busy` belongs to the engine's lock; the rest to whoever made it busy, or holds
// the lock while it is not.
struct Resident {
    explicit Resident(Cache& cache) : sequence(cache) {}
    Sequence sequence;
    bool busy = false;    // a request has it, or a function works on it
    bool in_run = false;  // that request runs, so that its pages are not for others. The stepping thread's
    uint64_t used = 0;    // the engine's count of uses when it was last let go
};

// What the completions of a request share.
struct Ticket {
    uint64_t id = 0;
    Request request;
    std::shared_ptr<Resident> resident;  // that it continues, or null
    std::atomic<bool> cancelled{false};
    Job* first = nullptr;      // completion 0 while it runs or waits
    bool prompt_done = false;  // completion 0 has processed the prompt once, or has ended
    std::vector<Job*> jobs;    // by completion; null once ended. This and the next two: the engine's lock
    int left = 0;              // completions that have not ended
};

struct Job {
    // Memory is taken by begin(), so that those who wait hold little.
    Job(std::shared_ptr<Ticket>, int completion, Cache&);

    std::optional<Error> error;  // first, so that its flag lies beside what every step reads
    std::shared_ptr<Ticket> ticket;
    const Request& request;
    const int completion;

    bool begun = false;
    bool waits = false;        // for its choice
    bool chosen = false;       // it is there. With `waits`: the engine's lock
    int64_t prompt_start = 0;  // where its prompt starts, dropped tokens counted
    int64_t told = 0;          // positions from here on are to be told of (logits, scores, pooling), likewise
    int64_t generated = 0, cached = 0;
    Sequence* sequence;  // `own`, or a resident one
    Sequence own;
    std::vector<int32_t> ends;  // tokens that end it
    std::optional<Sampler> sampler;
    std::optional<TextStream> text;
    StopTexts stops;

    // What its events point to, until the next step.
    std::string shown;
    std::vector<TopToken> top;
    // From here on: what most steps leave alone.
    std::span<const float> told_rows;  // of the pass that was just run, or its row to choose from
    std::vector<float> scores, embedding;
    std::string rest;
    std::vector<float> choice;   // the caller's logits, once given
    std::vector<double> pooled;  // sums of hidden states
    std::string piece;           // text that a token adds, before stop texts are looked for

    // Asks the processor for what a step reads of this job, before its turn comes: a pass over the weights leaves
    // nothing of it in the caches. Tails: what the rest of it names.
    enum class Part { planned, all, tails };
    void prefetch(Part) const;

    // Position of the sequence's end, dropped tokens counted: where the next draw takes its noise from.
    int64_t position() const { return sequence->dropped() + sequence->length(); }
    int64_t prompt_end() const { return prompt_start + request.prompt_tokens(); }
    bool tells_logits() const { return completion == 0 && (request.prompt_logits || request.prompt_scores); }
    bool tells_all() const { return tells_logits() || (pools() && request.pooling == Pooling::mean); }
    bool pools() const { return completion == 0 && request.pooling != Pooling::none; }

    // Appends the prompt, or shares that of completion 0, and takes all memory that it needs for a sequence of at most
    // `context` tokens, so that later steps allocate nothing. context_full, std::bad_alloc: it has not begun.
    void begin(const Model&, int64_t context);
    // Takes pages that others have left, whenever it starts or starts again. How many tokens that spares.
    int64_t match_pages() noexcept;
    SampleRow record();
    // Adds the drawn token to sequence, counts and text; says whether that ends the job.
    Finish accept(int32_t token, int64_t context);
    // The text that is left.
    void finish_text();
    bool is_end(int32_t token) const;
};

// Who runs first: by priority, then in the order of submission.
struct Rank {
    using is_transparent = void;
    static const Job& of(const Job& job) { return job; }
    static const Job& of(const std::unique_ptr<Job>& job) { return *job; }
    template <class Node>
    static const Job& of(const Node& node) {
        return *node.value();
    }
    template <class A, class B>
    bool operator()(const A& left, const B& right) const {
        const Job &a = of(left), &b = of(right);
        if (a.request.priority != b.request.priority) return a.request.priority > b.request.priority;
        if (a.ticket->id != b.ticket->id) return a.ticket->id < b.ticket->id;
        return a.completion < b.completion;
    }
};
// Jobs move from one place to another with their nodes, which allocates nothing.
using Jobs = std::set<std::unique_ptr<Job>, Rank>;

}  // namespace alia
