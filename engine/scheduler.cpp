// Admission, plans and preemption.
#include "engine/scheduler.h"

#include <algorithm>

namespace alia {
namespace {

// A generated token, or one that is to be processed again, alone: its row is drawn from.
bool draws_one(const Job& job) { return job.sequence->pending() == 1 && job.sequence->next_role() == Role::generated; }

}  // namespace

Scheduler::Scheduler(const Limits& limits, const Model& model, Cache& cache)
    : limits(limits), model(model), cache(cache) {
    running.reserve(size_t(limits.sequences));
    sharing.reserve(size_t(limits.sequences));
    generated.reserve(size_t(limits.sequences));
    prompt.reserve(size_t(limits.sequences));
}

// The first that may run: completions after the first one wait until they can share its prompt.
Jobs::iterator Scheduler::next_waiting() {
    return std::find_if(waiting.begin(), waiting.end(), [](const std::unique_ptr<Job>& job) {
        return job->begun || job->completion == 0 || job->ticket->prompt_done;
    });
}

void Scheduler::admit(bool changed) {
    if (!changed && !running.empty() && cache.pages.available() <= refused) return;
    refused = -1;
    for (auto next = next_waiting(); next != waiting.end(); next = next_waiting()) {
        Job& job = **next;
        if (int(running.size()) >= limits.sequences) {
            if (Rank::of(running.back()).request.priority >= job.request.priority) return;
            preempt_last();
        }
        auto node = waiting.extract(next);
        if (!job.begun) {
            if (const auto error = attempt([&] { job.begin(model, limits.context); })) {
                failed(std::move(node), *error);
                continue;
            }
            ++begun;
        }
        const int64_t found = job.match_pages();
        if (!make_room(job)) {
            job.sequence->drop_pages();
            waiting.insert(std::move(node));
            refused = cache.pages.available();
            return;
        }
        cached_tokens += found;
        if (job.generated == 0) job.cached = std::max(job.cached, found);
        run(std::move(node));
    }
}

// Whether there are pages for all its tokens and one more: otherwise it would only be preempted. Alone it may always
// try.
bool Scheduler::make_room(const Job& job) {
    const int64_t missing = job.sequence->length() / page_positions + 1 - int64_t(job.sequence->pages().size());
    while (missing > cache.pages.available() && !running.empty()) {
        if (drop_resident()) continue;
        if (Rank::of(running.back()).request.priority >= job.request.priority) return false;
        preempt_last();
    }
    return true;
}

void Scheduler::run(Jobs::node_type job) {
    if (Resident* resident = job.value()->ticket->resident.get()) resident->in_run = true;
    const auto place = std::upper_bound(running.begin(), running.end(), *job.value(), Rank());
    running.insert(place, std::move(job));
}

Jobs::node_type Scheduler::extract(Job& job) {
    const auto place = std::lower_bound(running.begin(), running.end(), job, Rank());
    if (place == running.end() || place->value().get() != &job) return waiting.extract(waiting.find(job));
    auto node = std::move(*place);
    running.erase(place);
    return node;
}

void Scheduler::preempt_last() {
    Job& job = *running.back().value();
    job.sequence->drop_pages();
    if (Resident* resident = job.ticket->resident.get()) resident->in_run = false;
    waiting.insert(std::move(running.back()));
    running.pop_back();
    ++preemptions;
}

// False where the job itself had to give way.
bool Scheduler::take_pages(size_t place, int64_t count) {
    while (!running[place].value()->sequence->take_pages(count)) {
        if (drop_resident()) continue;
        preempt_last();
        if (place == running.size()) return false;
    }
    return true;
}

// How many tokens each of those that share the budget may have, so that it is used up.
int Scheduler::even_share() {
    sharing.clear();
    for (const auto& node : running)
        if (const Job& job = *node.value(); !job.waits && job.sequence->pending() > 0 && !draws_one(job))
            sharing.push_back(&job);
    if (sharing.empty()) return 0;
    auto used = [&](int share) {
        int64_t sum = 0;
        for (const Job* job : sharing) sum += job->sequence->run(share);
        return sum;
    };
    int least = 1, most = limits.chunk;
    while (least < most) {
        const int middle = (least + most + 1) / 2;
        if (used(middle) <= limits.chunk)
            least = middle;
        else
            most = middle - 1;
    }
    return least;
}

// What the job's next `count` tokens, which begin at `first`, are to give, dropped tokens counted.
Planned Scheduler::planned(Job& job, int64_t first, int count) const {
    const int64_t told = std::max(std::min(first + count, job.prompt_end()) - std::max(first, job.told), int64_t(0));
    const bool ends = count == job.sequence->pending();
    Work work{job.sequence, count, job.tells_logits() ? int(told) : 0};
    if (ends && job.request.max_tokens != 0) work.outputs = std::max(work.outputs, 1);
    if (job.pools()) work.hidden = job.request.pooling == Pooling::mean ? int(told) : int(ends && job.generated == 0);
    const bool copies = work.hidden > 0 || job.tells_logits() || (ends && job.request.choose);
    return {&job, work, ends, copies};
}

void Scheduler::plan() {
    generated.clear();
    prompt.clear();
    for (const auto& node : running) __builtin_prefetch(&node.value());
    for (const auto& node : running) node.value()->prefetch(Job::Part::planned);
    for (const auto& node : running) node.value()->prefetch(Job::Part::tails);
    const int share = even_share();
    int budget = limits.chunk, rows = limits.logit_rows;
    for (size_t place = 0; place < running.size(); ++place) {
        Job& job = *running[place].value();
        if (job.waits || job.sequence->pending() == 0) continue;
        const bool one = draws_one(job);
        const Role role = job.sequence->next_role();
        const int64_t first = job.sequence->dropped() + job.sequence->computed();
        int count = one ? 1 : int(job.sequence->run(std::min(share, budget)));
        if (!one && job.tells_logits())
            count = int(std::min<int64_t>(count, std::max(job.told - first, int64_t(0)) + rows));
        if (count == 0) continue;
        if (!take_pages(place, count)) break;
        const Planned p = planned(job, first, count);
        if (!one) budget -= count;
        if (job.tells_logits()) rows -= std::min(p.work.outputs, rows);
        (role == Role::generated ? generated : prompt).push_back(p);
    }
}

}  // namespace alia
