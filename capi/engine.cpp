// Engines: open, submit, step, cancel, free.
#include "capi/engine.h"

#include <unistd.h>

namespace alia::capi {
namespace {

std::shared_ptr<EngineHandle> find_engine(const alia_engine* engine) {
    auto e = std::static_pointer_cast<EngineHandle>(find_handle(engine, Kind::engine, "engine"));
    if (e->process != getpid())
        fail(Status::bad_handle, Place{{}, "engine"}, "belongs to the process that this one was forked from");
    return e;
}

// Where a step has failed, every later call does.
void check_whole(const EngineHandle& e) {
    if (!e.broken) return;
    HandleAtRisk risk;
    fail(Status::bad_handle, Place{{}, "engine"}, "failed in an earlier step; free it and open another");
}

Sampling sampling_of(const alia_request_options& r, const GenerationConfig& generation) {
    Sampling s = default_sampling(generation);
    if (r.temperature != -1) s.temperature = r.temperature;
    if (r.top_k != -1) s.top_k = r.top_k;
    if (r.top_p != -1) s.top_p = r.top_p;
    if (r.min_p != -1) s.min_p = r.min_p;
    if (r.repetition_penalty != -1) s.repetition = r.repetition_penalty;
    s.frequency = r.frequency_penalty;
    s.presence = r.presence_penalty;
    s.seed = r.seed;
    check_array(r.bias_token, r.bias_count, sizeof *r.bias_token, "options.bias_token");
    check_array(r.bias, r.bias_count, sizeof *r.bias, "options.bias");
    for (uint64_t i = 0; i < r.bias_count; ++i) s.bias.push_back({r.bias_token[i], r.bias[i]});
    return s;
}

Request request_of(const int32_t* ids, uint64_t id_count, const alia_request_options& r, const Config& config) {
    constexpr uint32_t known = ALIA_REQUEST_IGNORE_EOS | ALIA_REQUEST_PROMPT_LOGITS;
    check_array(ids, id_count, sizeof *ids, "ids");
    check_array(r.stop, r.stop_count, sizeof *r.stop, "options.stop");
    check_range(r.flags, 0, known, "options.flags");
    Request request;
    request.sampling = sampling_of(r, config.generation);
    request.prompt.assign(ids, ids + id_count);
    request.max_tokens = r.max_tokens;
    request.ignore_eos = (r.flags & ALIA_REQUEST_IGNORE_EOS) != 0;
    request.prompt_logits = (r.flags & ALIA_REQUEST_PROMPT_LOGITS) != 0;
    request.stop.assign(r.stop, r.stop + r.stop_count);
    return request;
}

alia_event event_of(const Event& e, int64_t columns) {
    alia_event event = ALIA_EVENT_INIT;
    event.kind = int32_t(e.kind);
    event.request = e.request;
    event.token = e.token;
    event.finish = int32_t(e.finish);
    event.rows = int32_t(e.rows);
    event.position = e.position;
    event.text = e.text.data();
    event.text_length = e.text.size();
    if (e.kind == Event::Kind::logits) {
        event.logits = e.values.data();
        event.columns = columns;
    }
    event.prompt_tokens = e.prompt_tokens;
    event.generated_tokens = e.generated_tokens;
    return event;
}

// The size that all of the caller's events say they have.
uint32_t check_events(const alia_event& first, uint32_t capacity) {
    if (capacity == 0) bad_argument("capacity", "is 0: a step needs room for one event at least");
    const uint32_t size = check_size(&first, "events");
    const auto* at = reinterpret_cast<const std::byte*>(&first);
    for (uint32_t i = 1; i < capacity; ++i)
        if (at += size; check_size(at, "events") != size) bad_argument("events", "differ in size: set up all of them");
    return size;
}

// Moves events that wait into the caller's array, whose elements lie `size` bytes apart.
uint32_t hand_out(EngineHandle& e, alia_event* events, uint32_t size, uint32_t capacity) {
    uint32_t count = uint32_t(std::min<size_t>(capacity, e.events.size()));
    const int64_t columns = e.engine.model().config.vocabulary;
    auto* to = reinterpret_cast<std::byte*>(events);
    for (uint32_t i = 0; i < count; ++i, to += size) {
        alia_event event = event_of(e.events[i], columns);
        write_sized(to, size, &event, sizeof event);
    }
    e.events = e.events.subspan(count);
    return count;
}

// A failure on the way leaves the engine between two states, which `broken` then records.
void run_step(EngineHandle& e) {
    struct Transaction {
        EngineHandle& e;
        HandleAtRisk risk = {};
        bool done = false;
        ~Transaction() {
            if (!done) e.broken = true;
        }
    } step{e};
    e.events = e.engine.step();
    step.done = true;
}

}  // namespace

EngineOptions engine_options(const alia_engine_options& given) {
    constexpr Format formats[] = {Format::F32, Format::F16, Format::BF16, Format::Q8_0};
    check_range(given.cache, ALIA_CACHE_AUTO, ALIA_CACHE_Q8_0, "options.cache");
    check_range(given.threads, 0, 1024, "options.threads");
    EngineOptions options;
    options.context = given.context;
    options.chunk = given.chunk;
    options.logit_rows = given.logit_rows;
    options.threads = given.threads;
    if (given.cache != ALIA_CACHE_AUTO) options.cache = formats[given.cache - 1];
    return options;
}

}  // namespace alia::capi

using namespace alia::capi;

alia_status alia_engine_open(alia_model* model, const alia_engine_options* options, alia_engine** engine) {
    return guard([&] {
        auto m = find_model(model);
        not_null(engine, "engine");
        alia_engine_options given = read_options(options, ALIA_ENGINE_OPTIONS_INIT, "options");
        auto e = std::make_shared<EngineHandle>(m->loaded(), engine_options(given));
        e->process = getpid();
        *engine = static_cast<alia_engine*>(add_handle(Kind::engine, std::move(e)));
    });
}

alia_status alia_engine_free(alia_engine* engine) {
    return guard([&] {
        if (!engine) return;
        std::unique_ptr<Owner> owner = remove_handle(engine, Kind::engine, "engine");
        // A forked child has none of its threads, so ending them would wait forever: it forgets the engine instead.
        if (static_cast<EngineHandle*>(owner->get())->process != getpid()) owner.release();
    });
}

alia_status alia_engine_submit(alia_engine* engine, const int32_t* ids, uint64_t id_count,
                               const alia_request_options* options, uint64_t* request) {
    return guard([&] {
        auto e = find_engine(engine);
        not_null(ids, "ids");
        not_null(request, "request");
        alia_request_options given = read_options(options, ALIA_REQUEST_OPTIONS_INIT, "options");
        alia::Request wanted = request_of(ids, id_count, given, e->engine.model().config);
        std::lock_guard hold(e->lock);
        check_whole(*e);
        *request = e->engine.submit(std::move(wanted));
    });
}

alia_status alia_engine_step(alia_engine* engine, alia_event* events, uint32_t capacity, uint32_t* count) {
    return guard([&] {
        auto e = find_engine(engine);
        uint32_t size = check_events(not_null(events, "events"), capacity);
        not_null(count, "count");
        std::lock_guard hold(e->lock);
        check_whole(*e);
        if (e->events.empty()) run_step(*e);
        if (!handle_stands(engine, Kind::engine))
            alia::fail(alia::Status::bad_handle, alia::Place{{}, "engine"}, "was freed during the step");
        *count = hand_out(*e, events, size, capacity);
    });
}

alia_status alia_engine_cancel(alia_engine* engine, uint64_t request) {
    return guard([&] {
        auto e = find_engine(engine);
        check_whole(*e);
        if (e->engine.cancel(request)) return;
        alia::fail(alia::Status::not_found, alia::Place{{}, "request"}, "number %llu is neither waiting nor running",
                   (unsigned long long)request);
    });
}

alia_status alia_engine_idle(alia_engine* engine, int32_t* idle) {
    return guard([&] {
        auto e = find_engine(engine);
        not_null(idle, "idle");
        std::lock_guard hold(e->lock);
        check_whole(*e);
        *idle = e->events.empty() && e->engine.idle();
    });
}
