// The loop: which request runs, what it adds to the cache, and the token that follows.
#include "engine/engine.h"

#include <deque>
#include <list>
#include <mutex>
#include <unordered_set>

#include "engine/runner.h"

namespace alia {
namespace {

// A request between its submission and its end.
struct Job {
    Job(uint64_t id, Request r, const Tokenizer* tokenizer)
        : id(id), request(std::move(r)), sampler(request.sampling, request.prompt) {
        if (tokenizer) text.emplace(*tokenizer);
    }
    uint64_t id;
    Request request;
    Sampler sampler;
    std::optional<TextStream> text;
    int32_t last = -1;  // the token that was drawn and is not in the cache yet
    int64_t generated = 0;
};

}  // namespace

struct Engine::State {
    State(std::shared_ptr<const Model> m, const EngineOptions& o, const PassLimits& limits)
        : model(std::move(m)),
          options(o),
          device(model->device->kernels, {.ordinal = model->device->options.ordinal,
                                          .threads = o.threads ? o.threads : model->threads,
                                          .pin = model->pin}),
          cache(device, model->config, o.context, *o.cache),
          runner(device, *model, limits),
          sequence(cache) {}

    std::shared_ptr<const Model> model;
    EngineOptions options;
    Device device;
    Cache cache;
    Runner runner;
    Sequence sequence;  // of the running job
    std::list<Job> waiting;
    std::optional<Job> running;
    uint64_t last_id = 0;
    bool broken = false;  // a step failed half way

    std::vector<Event> events;
    std::deque<std::string> texts;  // that events point to
    std::vector<float> rows;        // of logits that events point to
    std::vector<float> row;         // that the sampler fetched
    SampleResult result;

    std::mutex mutex;  // of the two sets, which cancel() touches from any thread
    std::unordered_set<uint64_t> live, cancelled;

    void check_whole() const {
        if (broken) fail(Status::bad_handle, "the engine failed in an earlier step; free it and open another");
    }
    void finish(Job& job, Finish why);
    void finish_cancelled();
    void prompt(Job& job);
    void generate(Job& job);
    Tensor extend(std::span<const int32_t> tokens, int outputs, Role role);
    void next_token(Job& job, Tensor logits);
    void give_logits(Job& job, Tensor logits, int64_t position);
    std::span<const float> fetch(Tensor row_of_logits);
    bool ends(const Job& job, int32_t token) const;
};

void Engine::State::finish(Job& job, Finish why) {
    texts.push_back(job.text ? job.text->finish() : "");
    events.push_back({.kind = Event::Kind::finished,
                      .request = job.id,
                      .text = texts.back(),
                      .position = job.request.prompt_tokens() + job.generated,
                      .finish = why,
                      .prompt_tokens = job.request.prompt_tokens(),
                      .generated_tokens = job.generated});
    std::lock_guard lock(mutex);
    live.erase(job.id);
    cancelled.erase(job.id);
}

void Engine::State::finish_cancelled() {
    std::unordered_set<uint64_t> ids;
    {
        std::lock_guard lock(mutex);
        ids = cancelled;
    }
    if (ids.empty()) return;
    if (running && ids.contains(running->id)) {
        finish(*running, Finish::cancelled);
        running.reset();
    }
    for (auto job = waiting.begin(); job != waiting.end();) {
        const bool ends = ids.contains(job->id);
        if (ends) finish(*job, Finish::cancelled);
        job = ends ? waiting.erase(job) : std::next(job);
    }
}

// Processes the next chunk of the prompt; its last token's logits give the first token.
void Engine::State::prompt(Job& job) {
    const auto rest = std::span(job.request.prompt).subspan(size_t(sequence.length()));
    const int most = job.request.prompt_logits ? options.logit_rows : options.chunk;
    const int count = int(std::min<int64_t>(most, int64_t(rest.size())));
    const bool last = count == int(rest.size());
    const int outputs = job.request.prompt_logits ? count : last && job.request.max_tokens != 0 ? 1 : 0;
    const int64_t start = sequence.length();
    Tensor logits = extend(rest.first(size_t(count)), outputs, Role::prompt);
    if (job.request.prompt_logits) give_logits(job, logits, start);
    if (last && job.request.max_tokens == 0) {
        finish(job, Finish::length);
        running.reset();
    } else if (last) {
        next_token(job, logits);
    }
}

void Engine::State::generate(Job& job) { next_token(job, extend({&job.last, 1}, 1, Role::generated)); }

// Processes these tokens.
Tensor Engine::State::extend(std::span<const int32_t> tokens, int outputs, Role role) {
    sequence.append(tokens);
    const Work work{&sequence, int(tokens.size()), outputs};
    return runner.run(cache, role, {&work, 1});
}

// Draws the token that follows the last row of the logits.
void Engine::State::next_token(Job& job, Tensor logits) {
    const uint64_t position = uint64_t(sequence.length());
    Tensor last{logits.row(logits.rows - 1), 1, logits.columns, logits.stride};
    const SampleRow record = job.sampler.row(position);
    device.kernels.sample(device.stream, &result, last, &record);
    const int32_t token = job.sampler.pick(result, position, [&] { return fetch(last); });
    job.sampler.accept(token);
    job.last = token;
    ++job.generated;

    const bool end = ends(job, token);
    texts.push_back(job.text && !end ? job.text->append(token) : "");
    events.push_back({.kind = Event::Kind::token,
                      .request = job.id,
                      .token = token,
                      .text = texts.back(),
                      .position = int64_t(position)});
    const Finish why = end                                        ? Finish::stop
                       : job.generated == job.request.max_tokens  ? Finish::length
                       : int64_t(position) + 1 >= options.context ? Finish::context
                                                                  : Finish::none;
    if (why == Finish::none) return;
    finish(job, why);
    running.reset();
}

void Engine::State::give_logits(Job& job, Tensor logits, int64_t position) {
    rows.resize(size_t(logits.rows * logits.columns));
    device.kernels.read(device.stream, rows.data(), logits.data, int64_t(rows.size() * sizeof(float)));
    events.push_back(
        {.kind = Event::Kind::logits, .request = job.id, .values = rows, .position = position, .rows = logits.rows});
}

std::span<const float> Engine::State::fetch(Tensor logits) {
    row.resize(size_t(logits.columns));
    device.kernels.read(device.stream, row.data(), logits.data, logits.columns * int64_t(sizeof(float)));
    return row;
}

bool Engine::State::ends(const Job& job, int32_t token) const {
    auto has = [token](const auto& ids) { return std::find(ids.begin(), ids.end(), token) != ids.end(); };
    return has(job.request.stop) || (!job.request.ignore_eos && has(model->config.eos));
}

Engine::Engine(std::shared_ptr<const Model> model, const EngineOptions& o) {
    EngineOptions options = o;
    options.cache = o.cache.value_or(model->device->kernels.cache_format);
    const PassLimits limits = pass_limits(options);
    const int64_t bytes = engine_bytes(*model, model->device->kernels, options), room = available_memory();
    if (room > 0 && bytes > room)
        fail(Status::out_of_memory, {model->path},
             "a context of %lld positions takes %.1f GiB and %.1f GiB are available; ask for a smaller one",
             (long long)options.context, double(bytes) / (1 << 30), double(room) / (1 << 30));
    state = std::make_unique<State>(std::move(model), options, limits);
}

Engine::~Engine() = default;

uint64_t Engine::submit(Request r) {
    state->check_whole();
    const Config& c = state->model->config;
    check(r.sampling, c.vocabulary);
    if (r.prompt.empty()) fail(Status::invalid_argument, {.file = {}, .item = "prompt"}, "it has no tokens");
    for (int32_t token : r.prompt)
        if (token < 0 || token >= c.vocabulary)
            fail(Status::invalid_argument, {.file = {}, .item = "prompt"}, "token %d is not in the vocabulary of %lld",
                 token, (long long)c.vocabulary);
    if (r.max_tokens < -1)
        fail(Status::invalid_argument, {.file = {}, .item = "max_tokens"}, "%lld is below -1", (long long)r.max_tokens);
    if (r.prompt_tokens() > state->options.context ||
        (r.prompt_tokens() == state->options.context && r.max_tokens != 0))
        fail(Status::context_full, {.file = {}, .item = "prompt"}, "%lld tokens leave no room in a context of %lld",
             (long long)r.prompt_tokens(), (long long)state->options.context);
    const uint64_t id = state->last_id + 1;
    std::list<Job> job;
    job.emplace_back(id, std::move(r), state->model->tokenizer.get());
    {
        std::lock_guard lock(state->mutex);
        state->live.insert(id);
    }
    state->waiting.splice(state->waiting.end(), job);
    return state->last_id = id;
}

std::span<const Event> Engine::step() {
    State& s = *state;
    s.check_whole();
    s.broken = true;  // until this step has ended well
    s.events.clear();
    s.texts.clear();
    s.finish_cancelled();
    if (!s.running && !s.waiting.empty()) {
        s.sequence.truncate(0);
        s.running.emplace(std::move(s.waiting.front()));
        s.waiting.pop_front();
    }
    if (s.running) {
        if (s.sequence.length() < s.running->request.prompt_tokens())
            s.prompt(*s.running);
        else
            s.generate(*s.running);
    }
    s.broken = false;
    return s.events;
}

bool Engine::cancel(uint64_t request) {
    std::lock_guard lock(state->mutex);
    if (!state->live.contains(request)) return false;
    state->cancelled.insert(request);
    return true;
}

bool Engine::idle() const { return !state->running && state->waiting.empty(); }
const Model& Engine::model() const { return *state->model; }
const EngineOptions& Engine::options() const { return state->options; }

PassLimits pass_limits(const EngineOptions& o) {
    auto in_range = [](const char* name, int64_t value, int64_t most) {
        if (value < 1 || value > most)
            fail(Status::invalid_argument, {.file = {}, .item = name}, "%lld is not between 1 and %lld",
                 (long long)value, (long long)most);
    };
    in_range("context", o.context, int64_t(1) << 24);
    in_range("chunk", o.chunk, 65536);
    in_range("logit_rows", o.logit_rows, 4096);
    return {.tokens = std::max(o.chunk, o.logit_rows), .outputs = o.logit_rows, .sequences = 1, .context = o.context};
}

int64_t engine_bytes(const Model& m, const Kernels& k, const EngineOptions& o) {
    return Cache::bytes(k, m.config, o.context, o.cache.value_or(k.cache_format)) + Runner::bytes(m, k, pass_limits(o));
}

}  // namespace alia
