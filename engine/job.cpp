// A completion's own steps: beginning, records, accepted tokens.
#include "engine/job.h"

#include <algorithm>

namespace alia {

Job::Job(std::shared_ptr<Ticket> t, int completion, Cache& cache)
    : ticket(std::move(t)),
      request(ticket->request),
      completion(completion),
      sequence(ticket->resident ? &ticket->resident->sequence : &own),
      own(cache),
      stops(request.stop_texts) {}

void Job::prefetch(Part part) const {
    if (part == Part::tails) {
        __builtin_prefetch(&request.prompt);
        __builtin_prefetch(&request.max_tokens);
        __builtin_prefetch(&request.choose);
        sequence->prefetch();
        if (text) __builtin_prefetch(shown.data(), 1);
        return;
    }
    const auto bytes = [](const auto& of) { return reinterpret_cast<const char*>(&of); };
    const char* end = part == Part::planned ? bytes(text) : bytes(told_rows);
    for (const char* at = bytes(error) + sizeof error - 1; at < end; at += 64) __builtin_prefetch(at, 1);
}

void Job::begin(const Model& model, int64_t context) {
    Sampling sampling = request.sampling;
    sampling.seed += uint64_t(completion);
    ends = request.stop;
    if (!request.ignore_eos) ends.insert(ends.end(), model.config.eos.begin(), model.config.eos.end());
    std::sort(ends.begin(), ends.end());
    ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
    if (model.tokenizer) text.emplace(*model.tokenizer);
    stops.reserve();
    shown.reserve(256);
    rest.reserve(256);
    piece.reserve(256);
    top.reserve(size_t(std::max(request.top_tokens, 0)));
    if (completion == 0 && request.prompt_scores) scores.reserve(request.prompt.size());
    if (pools()) pooled.resize(size_t(model.config.hidden)), embedding.resize(size_t(model.config.hidden));
    if (request.choose) choice.reserve(size_t(model.config.vocabulary));

    const int64_t before = ticket->resident ? sequence->length() : 0;
    const bool slides = request.context.slides() && before + request.prompt_tokens() >= context;
    const int64_t kept = slides ? std::min(before, request.context.first + request.context.last) : before;
    if (kept + request.prompt_tokens() > context - (request.max_tokens != 0))
        fail(Status::context_full, {.file = {}, .item = "prompt"},
             "%lld tokens after %lld leave no room in a context of %lld", (long long)request.prompt_tokens(),
             (long long)kept, (long long)context);
    const int64_t asked = request.max_tokens < 0 ? context : std::min(request.max_tokens, context);
    const int64_t most = std::min(context, kept + request.prompt_tokens() + asked);
    sampler.emplace(sampling, std::span<const int32_t>{});
    sampler->reserve(most, int64_t(ends.size()));
    sequence->reserve(std::max(most, before + request.prompt_tokens()));
    // The memory is there: from here on nothing fails.
    const Job* first = completion > 0 ? ticket->first : nullptr;
    if (first && first->begun && first->sequence->computed() >= request.prompt_tokens() &&
        first->sequence->dropped() == 0) {
        sequence->fork(*first->sequence, request.prompt_tokens());
        sequence->rewind(request.prompt_tokens() - 1);
        cached = sequence->computed();
    } else {
        if (slides) sequence->slide(request.context.first, request.context.last);
        if (request.share && sequence->length() == 0) sequence->share(request.salt);
        prompt_start = sequence->dropped() + sequence->length();
        sequence->append(request.prompt, Role::prompt);
    }
    if (sequence->pending() == 0) sequence->rewind(sequence->length() - 1);
    told = prompt_start;
    begun = true;
    sampler->restart(sequence->tokens(), sequence->roles());
}

int64_t Job::match_pages() noexcept {
    return sequence->match(tells_all() ? told - sequence->dropped() : sequence->length());
}

SampleRow Job::record() {
    const bool early = generated < request.min_tokens;
    return sampler->row(uint64_t(position()), early ? std::span<const int32_t>(ends) : std::span<const int32_t>{});
}

bool Job::is_end(int32_t token) const { return std::binary_search(ends.begin(), ends.end(), token); }

Finish Job::accept(int32_t token, int64_t context) {
    const bool early = generated < request.min_tokens;
    const bool end = !early && is_end(token);
    shown.clear();
    bool stopped = false;
    if (text && !end) {
        if (early || stops.none()) {
            text->append(token, shown);
        } else {
            piece.clear();
            text->append(token, piece);
            stopped = stops.append(piece, shown);
        }
    }
    sampler->accept(token);
    sequence->append({&token, 1}, Role::generated);
    ++generated;
    if (end || stopped) {
        if (stopped) text.reset();  // what is left of its last character comes after the stop
        return Finish::stop;
    }
    if (generated == request.max_tokens) return Finish::length;
    if (sequence->length() < context) return Finish::none;
    if (!request.context.slides()) return Finish::context;
    sequence->slide(request.context.first, request.context.last);
    sampler->restart(sequence->tokens(), sequence->roles());
    return Finish::none;
}

void Job::finish_text() {
    rest.clear();
    if (!text) return;
    const std::string piece = text->finish();
    if (!stops.append(piece, rest)) rest += stops.finish();
}

}  // namespace alia
