// What follows a forward pass: rows that are told, draws, and the events of both.
#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/loop.h"

namespace alia {
namespace {

float log_probability(float logit, const SampleResult& r) { return float(double(logit) - r.log_sum_1); }

}  // namespace

// Runs the planned work. Where a device call throws, no sequence has changed; from settle() on a job fails alone.
void Engine::State::pass(Role role, std::span<const Planned> planned) {
    if (planned.empty()) return;
    const auto start = Clock::now();
    work.clear();
    for (const Planned& p : planned) work.push_back(p.work);
    const Rows computed = runner.run(cache, role, work);
    std::fill(drawn.begin(), drawn.end(), 0);
    const int64_t state_bytes = computed.hidden.stride;
    int row = 0, state = 0;
    for (const Planned& p : planned) {
        prepare(p, row, computed, state);
        row += p.work.outputs, state += p.work.hidden;
    }
    draw(computed.logits);
    work_done.model_seconds += std::chrono::duration<double>(Clock::now() - start).count();
    ++work_done.passes;

    for (const Planned& p : planned) {
        p.job->sequence->advance(p.work.count);
        (role == Role::prompt ? work_done.prompt_tokens : work_done.generated_tokens) += p.work.count;
    }
    row = state = 0;
    for (const Planned& p : planned) {
        const auto own = std::span(states).subspan(size_t(state * state_bytes), size_t(p.work.hidden * state_bytes));
        settle(p, row, computed.logits, own, computed.hidden.format);
        row += p.work.outputs, state += p.work.hidden;
    }
}

// Records of the rows to draw from or to score, and copies of those that are told, before draws change them. What fails
// for want of memory fails the job alone, when it is settled.
void Engine::State::prepare(const Planned& p, int row, const Rows& computed, int state) {
    Job& job = *p.job;
    const bool last = p.ends && job.request.max_tokens != 0;
    auto read_rows = [&](int first, int count) {
        const std::span<float> to = room_for_rows(count);
        const Tensor& t = computed.logits;
        device.kernels.read(device.stream, to.data(), t.row(first), int64_t(to.size_bytes()));
        return to;
    };
    job.told_rows = {};
    job.error = attempt([&] {
        if (p.work.hidden > 0) {
            const int64_t bytes = computed.hidden.stride;
            if (int64_t(states.size()) < (state + p.work.hidden) * bytes)
                states.resize(size_t(runner.limits.hidden * bytes));
            device.kernels.read(device.stream, states.data() + state * bytes, computed.hidden.row(state),
                                p.work.hidden * bytes);
        }
        const int told = job.tells_logits() ? p.work.outputs : 0;
        if (job.request.prompt_logits && told > 0) job.told_rows = read_rows(row, told);
        for (int i = 0; job.request.prompt_scores && i < told - int(last); ++i)
            records[size_t(row + i)] = {}, drawn[size_t(row + i)] = 1;
        if (!last) return;
        const int end = row + p.work.outputs - 1;
        if (job.request.choose) {
            if (job.told_rows.empty()) job.told_rows = read_rows(end, 1);
            return;
        }
        records[size_t(end)] = job.record();
        drawn[size_t(end)] = 1;
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
        device.kernels.sample(device.stream, &results[size_t(first)], some, &records[size_t(first)]);
    }
}

void Engine::State::settle(const Planned& p, int row, Tensor logits, std::span<const std::byte> hidden, Format format) {
    Job& job = *p.job;
    const int64_t first = job.sequence->dropped() + job.sequence->computed() - p.work.count;
    const auto error = job.error ? job.error : attempt([&] {
        if (p.work.outputs > 0) tell(job, p, row, logits, first);
        if (p.work.hidden > 0) pool(job, p, hidden, format, first);
        job.told = std::max(job.told, std::min(first + p.work.count, job.prompt_end()));
        if (first + p.work.count >= job.prompt_end()) job.ticket->prompt_done = true;
        if (!p.ends) return;
        if (job.request.max_tokens == 0) return finish(scheduler.running, job, Finish::length);
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
        if (found == r.candidates + r.count)
            device.kernels.read(device.stream, &logit, logits.row(i) + token, sizeof logit);
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
        device.kernels.read(device.stream, row.data(), logits.data, logits.columns * int64_t(sizeof(float)));
        return std::span<const float>(row);
    });
    float logprob = 0;
    job.top.clear();
    if (job.request.top_tokens >= 0) {
        const Candidate* end = result.candidates + result.count;
        const auto found = std::find_if(result.candidates, end, [&](auto c) { return c.token == token; });
        float logit = found != end ? found->logit : 0;
        if (found == end) device.kernels.read(device.stream, &logit, logits.row(0) + token, sizeof logit);
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
    if (why != Finish::none) finish(scheduler.running, job, why);
}

void Engine::State::take_choices() {
    for (auto next = scheduler.running.begin(); next != scheduler.running.end();) {
        Job& job = **next++;
        if (!job.waits) continue;
        {
            std::lock_guard lock(mutex);
            if (!job.chosen) continue;
            job.waits = job.chosen = false;
        }
        const auto error = attempt([&] {
            const int64_t bytes = int64_t(std::span(job.choice).size_bytes());
            if (!chosen_row.data()) chosen_row = Buffer(device, bytes);
            const Tensor t{chosen_row.data(), 1, int64_t(job.choice.size()), bytes};
            device.kernels.write(device.stream, t.data, job.choice.data(), bytes);
            const SampleRow record = job.record();
            device.kernels.sample(device.stream, results.data(), t, &record);
            take_token(job, results[0], t);
        });
        if (error) fail_job(job, *error);
    }
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
