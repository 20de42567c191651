// The loop: requests come in, a step is planned, its passes run, jobs end.
#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "engine/loop.h"

namespace alia {
namespace {

Place field(const char* name) { return {.file = {}, .item = name}; }

void in_range(const char* name, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most)
        fail(Status::invalid_argument, field(name), "%lld is not between %lld and %lld", (long long)value,
             (long long)least, (long long)most);
}

void check_stop_texts(const Request& r, const Model& model) {
    if (r.stop_texts.empty()) return;
    if (!model.tokenizer) fail(Status::no_tokenizer, field("stop_texts"), "the model came without a tokenizer");
    in_range("stop_texts", int64_t(r.stop_texts.size()), 0, max_stop_texts);
    for (const std::string& text : r.stop_texts)
        if (text.empty() || text.size() > max_stop_text || (uint8_t(text[0]) & 0xC0) == 0x80)
            fail(Status::invalid_argument, field("stop_texts"),
                 "one has %zu bytes, or starts inside a character: 1 to %zu bytes are allowed", text.size(),
                 max_stop_text);
}

void check_request(const Request& r, const Model& model, const EngineOptions& o) {
    const int64_t vocabulary = model.config.vocabulary;
    check(r.sampling, vocabulary);
    for (int32_t token : r.prompt)
        if (token < 0 || token >= vocabulary)
            fail(Status::invalid_argument, field("prompt"), "token %d is not in the vocabulary of %lld", token,
                 (long long)vocabulary);
    if (r.prompt.empty() && (r.sequence == 0 || r.pooling != Pooling::none))
        fail(Status::invalid_argument, field("prompt"), "it has no tokens");
    if (r.max_tokens < -1)
        fail(Status::invalid_argument, field("max_tokens"), "%lld is below -1", (long long)r.max_tokens);
    in_range("min_tokens", r.min_tokens, 0, INT64_MAX);
    in_range("completions", r.completions, 1, r.sequence ? 1 : max_completions);
    for (int32_t token : r.stop) in_range("stop", token, 0, vocabulary - 1);
    in_range("top_tokens", r.top_tokens, -1, max_top_tokens);
    in_range("pooling", int64_t(r.pooling), 0, int64_t(Pooling::last));
    in_range("context.first", r.context.first, 0, o.context - 1);
    in_range("context.last", r.context.last, 0, o.context - 1 - r.context.first);
    check_stop_texts(r, model);
}

}  // namespace

Engine::State::State(std::shared_ptr<const Model> m, const EngineOptions& o)
    : model(std::move(m)),
      options(o),
      device(model->device->kernels, {.ordinal = model->device->options.ordinal,
                                      .threads = o.threads ? o.threads : model->threads,
                                      .pin = model->pin}),
      cache(device, model->config, cache_positions(o), *o.cache),
      runner(device, *model, pass_limits(o)),
      scheduler({o.sequences, o.chunk, o.logit_rows, o.context}, *model, cache) {
    const size_t outputs = size_t(runner.limits.outputs);
    device.kernels.reserve(device.stream, runner.limits.outputs, model->config.vocabulary);
    events.reserve(size_t(6 * o.sequences + 64));
    work.reserve(size_t(o.sequences));
    records.resize(outputs);
    drawn.resize(outputs);
    results.resize(outputs);
    scheduler.drop_resident = [this] { return drop_resident(); };
    scheduler.failed = [this](Jobs::node_type node, const Error& e) {
        Job& job = *node.value();
        job.error = e;
        scheduler.waiting.insert(std::move(node));  // where it is tried again if even this fails
        finish(job, Finish::error);
    };
}

void Engine::State::check_device() const {
    if (lost) throw Error(*lost);
}

void Engine::State::check_queue(int completions) const {
    if (queued + completions > options.queue)
        fail(Status::limit, field("queue"), "%lld requests wait already", (long long)queued);
}

std::shared_ptr<Resident> Engine::State::find_continued(const Request& r) const {
    if (r.sequence == 0) return {};
    auto resident = find_resident(r.sequence);
    const int64_t length = resident->sequence.length();
    const int64_t kept = r.context.slides() ? std::min(length, r.context.first + r.context.last) : length;
    if (length + r.prompt_tokens() == 0)
        fail(Status::invalid_argument, field("prompt"), "neither it nor the sequence has tokens");
    if (kept + r.prompt_tokens() > options.context - (r.max_tokens != 0))
        fail(Status::context_full, field("prompt"), "%lld tokens after %lld leave no room in a context of %lld",
             (long long)r.prompt_tokens(), (long long)kept, (long long)options.context);
    return resident;
}

Engine::Engine(std::shared_ptr<const Model> model, const EngineOptions& o) {
    EngineOptions options = o;
    options.cache = o.cache.value_or(model->device->kernels.cache_format);
    const int64_t bytes = engine_bytes(*model, model->device->kernels, options),
                  room = available_memory(*model->device);
    if (room > 0 && bytes > room)
        fail(
            Status::out_of_memory, {model->path},
            "an engine with a cache of %lld positions takes %.2f GiB and %.2f GiB are available; ask for a smaller one",
            (long long)cache_positions(options), double(bytes) / (1 << 30), double(room) / (1 << 30));
    state = std::make_unique<State>(std::move(model), options);
}

Engine::~Engine() = default;

uint64_t Engine::submit(Request r) {
    State& s = *state;
    check_request(r, *s.model, s.options);
    auto ticket = std::make_shared<Ticket>();
    ticket->request = std::move(r);
    const Request& request = ticket->request;
    const int completions = request.completions;
    if (request.sequence == 0 && request.prompt_tokens() > s.options.context - (request.max_tokens != 0))
        fail(Status::context_full, field("prompt"), "%lld tokens leave no room in a context of %lld",
             (long long)request.prompt_tokens(), (long long)s.options.context);

    std::unique_lock lock(s.mutex);
    s.check_device();
    s.check_queue(completions);
    ticket->resident = s.find_continued(request);
    lock.unlock();
    // Memory first, the request's number last: nothing has happened where this throws.
    Jobs jobs;
    for (int i = 0; i < completions; ++i) jobs.insert(std::make_unique<Job>(ticket, i, s.cache));
    for (const auto& job : jobs) ticket->jobs.push_back(job.get());
    ticket->first = ticket->jobs[0];
    ticket->left = completions;

    lock.lock();
    s.check_device();
    s.check_queue(completions);
    s.find_continued(request);  // which others may have cut meanwhile
    ticket->id = s.last_request + 1;
    s.tickets.emplace(ticket->id, ticket);
    if (ticket->resident) ticket->resident->busy = true;
    s.inbox.merge(jobs);
    s.queued += completions;
    if (request.deadline) s.deadlines += completions;
    return ++s.last_request;
}

std::span<const Event> Engine::step() {
    State& s = *state;
    {
        std::lock_guard lock(s.mutex);
        s.check_device();
    }
    s.events.clear();
    s.rows.clear();
    s.done.clear();
    if (s.failure) {
        const Error e = *s.failure;
        s.failure.reset();
        throw e;
    }
    const auto start = Clock::now();
    const auto error = attempt([&] { s.run_step(); });
    s.count_step(seconds_since(start));
    if (!error) return s.events;
    if (error->status == Status::device_lost) {
        std::lock_guard lock(s.mutex);
        s.lost = *error;
    }
    if (s.events.empty()) throw Error(*error);
    s.failure = *error;
    return s.events;
}

void Engine::State::run_step() {
    bool changed;
    {
        std::lock_guard lock(mutex);
        changed = !inbox.empty();
        scheduler.waiting.merge(inbox);
    }
    end_jobs();
    take_choices();
    scheduler.admit(std::exchange(ended, false) || changed);
    scheduler.plan();
    // From here on a job's events need no memory, so that a pass has an end for everybody.
    events.reserve(events.size() + 6 * scheduler.running.size());
    pass(Role::generated, scheduler.generated);
    pass(Role::prompt, scheduler.prompt);
}

void Engine::State::end_jobs() {
    {
        std::lock_guard lock(mutex);
        if (!cancels && deadlines == 0) return;
        cancels = false;
    }
    const auto now = Clock::now();
    const auto error = attempt([&] {
        const auto ends = [&](Job& job) {
            const bool late = job.request.deadline && *job.request.deadline <= now;
            if (!job.ticket->cancelled && !late) return false;
            finish(job, job.ticket->cancelled ? Finish::cancelled : Finish::deadline);
            return true;
        };
        for (size_t i = 0; i < scheduler.running.size();) i += !ends(*scheduler.running[i].value());
        for (auto next = scheduler.waiting.begin(); next != scheduler.waiting.end();) ends(**next++);
    });
    if (!error) return;
    std::lock_guard lock(mutex);
    cancels = true;
    throw Error(*error);
}

// Ends the job, wherever it is. Its own pages go at once, and the rest of it with the next step.
void Engine::State::finish(Job& job, Finish why) {
    if (events.size() == events.capacity()) events.reserve(2 * events.capacity());
    if (job.error) why = Finish::error;
    if (const auto error = attempt([&] { job.finish_text(); }); error && why != Finish::error) {
        job.error = error;
        why = Finish::error;
    }
    events.push_back({.kind = Event::Kind::finished,
                      .request = job.ticket->id,
                      .completion = job.completion,
                      .text = job.rest,
                      .position = job.position(),
                      .finish = why,
                      .status = job.error ? job.error->status : Status::ok,
                      .message = job.error ? std::string_view(job.error->message) : std::string_view(),
                      .prompt_tokens = job.request.prompt_tokens(),
                      .generated_tokens = job.generated,
                      .cached_tokens = job.cached});
    job.own.drop_pages();
    Ticket& ticket = *job.ticket;
    if (ticket.first == &job) {
        ticket.first = nullptr;
        ticket.prompt_done = true;
    }
    choosing -= job.waits;
    done.insert(scheduler.extract(job));
    ended = true;
    std::lock_guard lock(mutex);
    queued -= !job.begun;
    deadlines -= job.request.deadline.has_value();
    ticket.jobs[size_t(job.completion)] = nullptr;
    if (--ticket.left > 0) return;
    if (ticket.resident) {
        ticket.resident->busy = ticket.resident->in_run = false;
        ticket.resident->used = ++uses;
    }
    tickets.erase(ticket.id);
}

void Engine::State::fail_job(Job& job, const Error& error) {
    if (error.status == Status::device_lost) throw Error(error);  // everybody's
    job.error = error;
    finish(job, Finish::error);
}

void Engine::State::count_step(double seconds) {
    ++work_done.steps;
    work_done.step_seconds += seconds;
    work_done.cached_tokens = scheduler.cached_tokens;
    work_done.preemptions = scheduler.preemptions;
    work_done.evictions = cache.pages.evictions;
    work_done.running = int64_t(scheduler.running.size());
    work_done.pages = cache.pages.count();
    work_done.pages_free = cache.pages.free();
    work_done.pages_cached = cache.pages.cached();
    const int64_t waiting = int64_t(scheduler.waiting.size());
    std::lock_guard lock(mutex);
    queued -= std::exchange(scheduler.begun, 0);
    counts = work_done;
    counts.waiting = waiting + int64_t(inbox.size());
}

bool Engine::cancel(uint64_t request) {
    State& s = *state;
    std::lock_guard lock(s.mutex);
    const auto ticket = s.tickets.find(request);
    if (ticket == s.tickets.end()) return false;
    ticket->second->cancelled = true;
    s.cancels = true;
    return true;
}

void Engine::choose(uint64_t request, int completion, std::span<const float> logits) {
    State& s = *state;
    std::lock_guard lock(s.mutex);
    const auto ticket = s.tickets.find(request);
    Job* job = nullptr;
    if (ticket != s.tickets.end() && completion >= 0 && completion < ticket->second->request.completions)
        job = ticket->second->jobs[size_t(completion)];
    if (!job || !job->waits || job->chosen)
        fail(Status::not_found, field("request"), "completion %d of request %llu does not wait for logits", completion,
             (unsigned long long)request);
    if (int64_t(logits.size()) != s.model->config.vocabulary)
        fail(Status::invalid_argument, field("logits"), "there are %zu; the vocabulary has %lld", logits.size(),
             (long long)s.model->config.vocabulary);
    job->choice.assign(logits.begin(), logits.end());
    job->chosen = true;
}

bool Engine::idle() const {
    std::lock_guard lock(state->mutex);
    return state->tickets.empty();
}

Clock::time_point Engine::due() const {
    std::lock_guard lock(state->mutex);
    auto due = Clock::time_point::max();
    for (const auto& [id, ticket] : state->tickets) {
        if (ticket->cancelled) return Clock::time_point::min();
        for (const Job* job : ticket->jobs)
            if (job && (!job->waits || job->chosen)) return Clock::time_point::min();
        due = std::min(due, ticket->request.deadline.value_or(due));
    }
    return due;
}

Counters Engine::counters() const {
    std::lock_guard lock(state->mutex);
    return state->counts;
}

const Model& Engine::model() const { return *state->model; }
const EngineOptions& Engine::options() const { return state->options; }

int64_t cache_positions(const EngineOptions& o) { return o.positions ? o.positions : o.context; }

PassLimits pass_limits(const EngineOptions& o) {
    in_range("context", o.context, 1, int64_t(1) << 24);
    in_range("positions", cache_positions(o), o.context, int64_t(1) << 30);
    in_range("sequences", o.sequences, 1, 4096);
    in_range("queue", o.queue, 1, INT32_MAX);
    in_range("chunk", o.chunk, 1, 65536);
    in_range("logit_rows", o.logit_rows, 1, 4096);
    const int tokens = o.chunk + o.sequences;
    return {.tokens = tokens,
            .outputs = o.logit_rows + o.sequences,
            .sequences = o.sequences,
            .context = o.context,
            .hidden = tokens};
}

int64_t engine_bytes(const Model& m, const Kernels& k, const EngineOptions& o) {
    const PassLimits limits = pass_limits(o);
    return Cache::bytes(k, m.config, cache_positions(o), o.cache.value_or(k.cache_format)) +
           Runner::bytes(m, k, limits) + k.sample_bytes(limits.outputs, m.config.vocabulary);
}

}  // namespace alia
