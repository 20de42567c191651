// What follows a forward pass: rows that are told, draws, and the events of both.
#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/loop.h"

namespace alia {
namespace {

constexpr size_t jobs_ahead = 8;  // of the one that is settled, asked for

float log_probability(float logit, const SampleResult& r) { return float(double(logit) - r.log_sum_1); }

}  // namespace

// Both wait for the passes that the device still runs.
void Engine::State::read(void* to, const void* from, int64_t bytes) {
    const auto start = Clock::now();
    device.kernels.read(device.stream, to, from, bytes);
    work_done.model_seconds += seconds_since(start);
}

void Engine::State::sample(SampleResult* to, Tensor logits, const SampleRow* rows) {
    const auto start = Clock::now();
    device.kernels.sample(device.stream, to, logits, rows);
    work_done.model_seconds += seconds_since(start);
}

// Runs the planned work. Where a device call throws, no sequence has changed; from settle() on a job fails alone.
void Engine::State::pass(Role role, std::span<const Planned> planned) {
    if (planned.empty()) return;
    work.clear();
    std::fill(drawn.begin(), drawn.end(), 0);
    int row = 0, state = 0;
    for (const Planned& p : planned) {
        work.push_back(p.work);
        record(p, row);
        row += p.work.outputs;
    }
    const Rows computed = runner.run(cache, role, work);
    work_done.model_seconds += runner.seconds;
    row = 0;
    for (const Planned& p : planned) {
        if (p.copies) copy_told(p, row, computed, state);
        row += p.work.outputs, state += p.work.hidden;
    }
    draw(computed.logits);
    ++work_done.passes;

    const int64_t state_bytes = computed.hidden.stride;
    row = state = 0;
    const auto first = planned.first(std::min(planned.size(), jobs_ahead));
    for (const Planned& p : first) p.job->prefetch(Job::Part::all);
    for (const Planned& p : first) p.job->prefetch(Job::Part::tails);
    for (size_t i = 0; i < planned.size(); ++i) {
        prefetch(planned.subspan(i), row);
        const Planned& p = planned[i];
        p.job->sequence->advance(p.work.count);
        (role == Role::prompt ? work_done.prompt_tokens : work_done.generated_tokens) += p.work.count;
        const auto own = std::span(states).subspan(size_t(state * state_bytes), size_t(p.work.hidden * state_bytes));
        settle(p, row, computed.logits, own, computed.hidden.format);
        row += p.work.outputs, state += p.work.hidden;
    }
}

// Asks the processor for what jobs soon after the first one are settled with: nothing of it has outlasted the pass in
// the caches. Where each has one row, as generated tokens do, the tokens that win are looked at, too.
void Engine::State::prefetch(std::span<const Planned> planned, int row) const {
    if (planned.size() > jobs_ahead) planned[jobs_ahead].job->prefetch(Job::Part::all);
    if (planned.size() > 4) planned[4].job->prefetch(Job::Part::tails);
    if (size_t(row) + jobs_ahead >= results.size()) return;
    __builtin_prefetch(&results[size_t(row) + jobs_ahead].count);
    __builtin_prefetch(&results[size_t(row) + jobs_ahead].candidates[0]);
    if (!model->tokenizer || !drawn[size_t(row) + 4]) return;
    model->tokenizer->prefetch(results[size_t(row) + 4].candidates[0].token);
    model->tokenizer->prefetch_bytes(results[size_t(row) + 2].candidates[0].token);
}

// The records of the rows to draw from or to score.
void Engine::State::record(const Planned& p, int row) {
    Job& job = *p.job;
    const bool last = p.ends && job.request.max_tokens != 0;
    const int scores = job.request.prompt_scores && job.tells_logits() ? p.work.outputs - int(last) : 0;
    for (int i = row; i < row + scores; ++i) records[size_t(i)] = {}, drawn[size_t(i)] = 1;
    if (!last || job.request.choose) return;
    const size_t end = size_t(row + p.work.outputs - 1);
    records[end] = job.record();
    drawn[end] = 1;
}

// Copies of what is told, before draws change the rows. What fails for want of memory fails the job alone, when it is
// settled.
void Engine::State::copy_told(const Planned& p, int row, const Rows& computed, int state) {
    Job& job = *p.job;
    const auto copy_rows = [&](int first, int count) {
        job.told_rows = {};
        const std::span<float> to = room_for_rows(count);
        read(to.data(), computed.logits.row(first), int64_t(to.size_bytes()));
        job.told_rows = to;
    };
    job.error = attempt([&] {
        if (p.work.hidden > 0) {
            const int64_t bytes = computed.hidden.stride;
            if (int64_t(states.size()) < (state + p.work.hidden) * bytes)
                states.resize(size_t(runner.limits.hidden * bytes));
            read(states.data() + state * bytes, computed.hidden.row(state), p.work.hidden * bytes);
        }
        if (job.request.prompt_logits && job.tells_logits() && p.work.outputs > 0)
            copy_rows(row, p.work.outputs);
        else if (job.request.choose && p.ends && p.work.outputs > 0)
            copy_rows(row + p.work.outputs - 1, 1);
    });
    if (job.error && job.error->status != Status::out_of_memory) throw Error(*std::exchange(job.error, {}));
}

// Draws from the rows with records, those side by side in one call.
void Engine::State::draw(Tensor logits) {
    for (int64_t first = 0, end; first < logits.rows; first = end) {
        for (end = first; end < logits.rows && drawn[size_t(end)] == drawn[size_t(first)];) ++end;
        if (!drawn[size_t(first)]) continue;
        Tensor some = logits;
        some.data = logits.row(first);
        some.rows = end - first;
        sample(&results[size_t(first)], some, &records[size_t(first)]);
    }
}

void Engine::State::settle(const Planned& p, int row, Tensor logits, std::span<const std::byte> hidden, Format format) {
    Job& job = *p.job;
    const int64_t first = job.sequence->dropped() + job.sequence->computed() - p.work.count;
    if (job.error) return fail_job(job, *job.error);
    const auto error = attempt([&] {
        if (p.work.outputs > 0) tell(job, p, row, logits, first);
        if (p.work.hidden > 0) pool(job, p, hidden, format, first);
        if (first < job.prompt_end()) {
            job.told = std::max(job.told, std::min(first + p.work.count, job.prompt_end()));
            if (first + p.work.count >= job.prompt_end()) job.ticket->prompt_done = true;
        }
        if (!p.ends) return;
        if (job.request.max_tokens == 0) return finish(job, Finish::length);
        const int end = row + p.work.outputs - 1;
        Tensor last = logits;
        last.data = logits.row(end);
        last.rows = 1;
        if (!job.request.choose) return take_token(job, results[size_t(end)], last);
        events.push_back({.kind = Event::Kind::choice,
                          .request = job.ticket->id,
                          .completion = job.completion,
                          .values = job.told_rows.last(size_t(logits.columns)),
                          .position = job.position(),
                          .rows = 1});
        std::lock_guard lock(mutex);
        job.waits = true;
        ++choosing;
    });
    if (error) fail_job(job, *error);
}

namespace {
[[noreturn]] void fail_damaged(const char* what) {
    fail(Status::malformed, "the model's %s are not numbers: its weights are damaged", what);
}
}  // namespace

// Logits and scores of the prompt's rows.
void Engine::State::tell(Job& job, const Planned& p, int row, Tensor logits, int64_t first) {
    const int64_t from = std::max(first, job.told), end = std::min(first + p.work.count, job.prompt_end());
    if (!job.tells_logits() || from >= end) return;
    if (job.request.prompt_logits)
        events.push_back({.kind = Event::Kind::logits,
                          .request = job.ticket->id,
                          .values = job.told_rows.first(size_t((end - from) * logits.columns)),
                          .position = from,
                          .rows = end - from});
    if (!job.request.prompt_scores) return;
    job.scores.clear();
    for (int64_t position = from; position < std::min(end, job.prompt_end() - 1); ++position) {
        const int64_t i = row + (position - from);
        const int32_t token = job.sequence->tokens()[size_t(position + 1 - job.sequence->dropped())];
        const SampleResult& r = results[size_t(i)];
        if (r.count == 0) fail_damaged("logits");
        const auto found = std::find_if(r.candidates, r.candidates + r.count, [&](auto c) { return c.token == token; });
        float logit = found != r.candidates + r.count ? found->logit : 0;
        if (found == r.candidates + r.count) read(&logit, logits.row(i) + token, sizeof logit);
        job.scores.push_back(log_probability(logit, r));
    }
    if (!job.scores.empty())
        events.push_back(
            {.kind = Event::Kind::scores, .request = job.ticket->id, .values = job.scores, .position = from + 1});
}

// Sums hidden states in order of position, so that the result does not depend on how the prompt was cut.
void Engine::State::pool(Job& job, const Planned& p, std::span<const std::byte> hidden, Format format, int64_t first) {
    const size_t columns = job.pooled.size(), bytes = hidden.size() / size_t(p.work.hidden);
    for (int i = 0; i < p.work.hidden; ++i) {
        decode_row(format, hidden.data() + size_t(i) * bytes, int64_t(columns), job.embedding.data());
        for (size_t c = 0; c < columns; ++c) job.pooled[c] += job.embedding[c];
    }
    if (first + p.work.count < job.prompt_end()) return;
    double scale = job.request.pooling == Pooling::mean ? 1.0 / double(job.request.prompt_tokens()) : 1;
    if (job.request.normalise) {
        double squares = 0;
        for (double x : job.pooled) squares += x * x;
        scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
    }
    std::transform(job.pooled.begin(), job.pooled.end(), job.embedding.begin(),
                   [&](double x) { return float(x * scale); });
    if (!std::all_of(job.embedding.begin(), job.embedding.end(), [](float x) { return std::isfinite(x); }))
        fail_damaged("hidden states");
    events.push_back({.kind = Event::Kind::embedding,
                      .request = job.ticket->id,
                      .values = job.embedding,
                      .position = job.prompt_end()});
}

// Picks the token that the row gives, and adds it to the job.
void Engine::State::take_token(Job& job, const SampleResult& result, Tensor logits) {
    const uint64_t position = uint64_t(job.position());
    const int32_t token = job.sampler->pick(result, position, [&] {
        ++work_done.rows_fetched;
        row.resize(size_t(logits.columns));
        read(row.data(), logits.data, logits.columns * int64_t(sizeof(float)));
        return std::span<const float>(row);
    });
    float logprob = 0;
    job.top.clear();
    if (job.request.top_tokens >= 0) {
        const Candidate* end = result.candidates + result.count;
        const auto found = std::find_if(result.candidates, end, [&](auto c) { return c.token == token; });
        float logit = found != end ? found->logit : 0;
        if (found == end) read(&logit, logits.row(0) + token, sizeof logit);
        logprob = log_probability(logit, result);
        for (int i = 0; i < std::min(job.request.top_tokens, result.count); ++i)
            job.top.push_back({result.candidates[i].token, log_probability(result.candidates[i].logit, result)});
    }
    const Finish why = job.accept(token, options.context);
    events.push_back({.kind = Event::Kind::token,
                      .request = job.ticket->id,
                      .completion = job.completion,
                      .token = token,
                      .text = job.shown,
                      .position = int64_t(position),
                      .logprob = logprob,
                      .top = job.top});
    if (why != Finish::none) finish(job, why);
}

void Engine::State::take_choices() {
    if (choosing == 0) return;
    for (size_t i = 0; i < scheduler.running.size();) {
        const size_t before = scheduler.running.size();
        take_choice(*scheduler.running[i].value());
        i += scheduler.running.size() == before;  // otherwise it has ended
    }
}

void Engine::State::take_choice(Job& job) {
    if (!job.waits) return;
    {
        std::lock_guard lock(mutex);
        if (!job.chosen) return;
        job.waits = job.chosen = false;
        --choosing;
    }
    const auto error = attempt([&] {
        const Tensor t = runner.room_for_row();
        device.kernels.write(device.stream, t.data, job.choice.data(), t.stride);
        const SampleRow record = job.record();
        sample(results.data(), t, &record);
        take_token(job, results[0], t);
    });
    if (error) fail_job(job, *error);
}

// Room for so many more rows of logits in this step. Its memory is taken once, since events point to it.
std::span<float> Engine::State::room_for_rows(int64_t count) {
    const size_t columns = size_t(model->config.vocabulary), used = rows.size();
    if (rows.capacity() == 0) rows.reserve(size_t(runner.limits.outputs) * columns);
    if (rows.capacity() - used < size_t(count) * columns) fail(Status::internal, "more rows are told than a step may");
    rows.resize(used + size_t(count) * columns);
    return std::span(rows).subspan(used);
}

}  // namespace alia
