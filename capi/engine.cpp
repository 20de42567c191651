// Engines: open, submit, step, wait for events, cancel, free.
#include "capi/engine.h"

#include <algorithm>
#include <chrono>
#include <unistd.h>

#include "capi/json_writer.h"

namespace alia::capi {

Held<EngineHandle> find_engine(const alia_engine* engine) {
    auto e = find_handle<EngineHandle>(engine, "engine");
    if (e->process != getpid())
        fail(Status::bad_handle, Place{{}, "engine"}, "belongs to the process that this one was forked from");
    return e;
}

std::span<const Event> EngineHandle::stepped() {
    if (!events.empty()) return events;
    struct Told {
        EngineHandle& e;
        ~Told() { e.untaken = e.events.size(); }
    } told{*this};
    untaken = 1;
    return events = engine.step();
}

namespace {

// The caller's array of events, whose elements lie `size` bytes apart.
struct EventArray {
    EventArray(alia_event* events, uint32_t capacity) : at(reinterpret_cast<std::byte*>(events)), room(capacity) {
        not_null(events, "events");
        if (capacity == 0) bad_argument("capacity", "is 0: there must be room for one event at least");
        size = check_size(events, "events");
        for (uint32_t i = 1; i < capacity; ++i)
            if (check_size(at + size_t(i) * size, "events") != size)
                bad_argument("events", "differ in size: set up all of them");
    }
    bool full() const { return count == room; }
    void add(const alia_event& event) { write_sized(at + size_t(count++) * size, size, &event, sizeof event); }

    std::byte* at;
    uint32_t room, size = 0, count = 0;
};

// Events that background mode left behind. What they lend lasts until the next call.
void take_kept(EngineHandle& e, EventArray& out) {
    e.lent.clear();
    while (!e.kept.empty() && !out.full()) {
        out.add(e.kept.front().lend());
        e.kept_values -= e.kept.front().values.size();
        e.lent.splice(e.lent.end(), e.kept, e.kept.begin());
    }
}

[[noreturn]] void freed_meanwhile() { fail(Status::bad_handle, Place{{}, "engine"}, "was freed during the call"); }

void step(EngineHandle& e, const alia_engine* engine, EventArray& out) {
    const Turn turn(e);
    {
        std::lock_guard hold(e.lock);
        if (e.running) fail(Status::busy, Place{{}, "engine"}, "runs in the background: use alia_engine_next");
        if (!e.kept.empty()) return take_kept(e, out);
        if (e.failure) {
            const Error error = *e.failure;
            e.failure.reset();
            throw Error(error);
        }
    }
    const std::span<const Event> events = e.stepped();
    if (!handle_stands(engine, Kind::engine)) freed_meanwhile();
    const int64_t columns = e.engine.model().config.vocabulary;
    while (out.count < events.size() && !out.full()) out.add(event_of(events[out.count], columns));
    e.handed_out(out.count);
}

void next(EngineHandle& e, int64_t milliseconds, EventArray& out) {
    std::unique_lock hold(e.lock);
    if (!e.running && e.kept.empty() && !e.failure)
        fail(Status::busy, Place{{}, "engine"}, "does not run in the background: use alia_engine_start");
    const auto there = [&] { return e.closed || !e.running || !e.kept.empty() || e.failure; };
    if (milliseconds < 0)
        e.news.wait(hold, there);
    else
        e.news.wait_for(hold, std::chrono::milliseconds(milliseconds), there);
    if (e.closed) freed_meanwhile();
    if (e.kept.empty() && e.failure) {
        const Error error = *e.failure;
        e.failure.reset();
        e.work.notify_one();
        throw Error(error);
    }
    take_kept(e, out);
    e.work.notify_one();
}

std::string describe(const Counters& c) {
    JsonWriter json;
    json.open('{');
    for (auto [name, value] : {std::pair<const char*, int64_t>{"steps", c.steps},
                               {"passes", c.passes},
                               {"prompt_tokens", c.prompt_tokens},
                               {"generated_tokens", c.generated_tokens},
                               {"cached_tokens", c.cached_tokens},
                               {"preemptions", c.preemptions},
                               {"evictions", c.evictions},
                               {"rows_fetched", c.rows_fetched},
                               {"running", c.running},
                               {"waiting", c.waiting},
                               {"pages", c.pages},
                               {"pages_free", c.pages_free},
                               {"pages_cached", c.pages_cached}})
        json.key(name).integer(value);
    json.key("step_seconds").real(c.step_seconds);
    json.key("model_seconds").real(c.model_seconds);
    json.close('}');
    return json.out;
}

}  // namespace
}  // namespace alia::capi

using namespace alia::capi;

alia_status alia_engine_open(alia_model* model, const alia_engine_options* options, alia_engine** engine) {
    return guard([&] {
        auto m = find_model(model);
        not_null(engine, "engine");
        alia_engine_options given = read_options(options, ALIA_ENGINE_OPTIONS_INIT, "options");
        auto e = std::make_unique<EngineHandle>(m->loaded(), engine_options(given));
        e->process = getpid();
        *engine = static_cast<alia_engine*>(add_handle(std::move(e)));
    });
}

alia_status alia_engine_free(alia_engine* engine) {
    return guard([&] {
        if (!engine) return;
        auto e = remove_handle<EngineHandle>(engine, "engine");
        // A forked child has none of its threads, so ending them would wait forever: it forgets the engine instead.
        if (e->process != getpid())
            e.abandon();
        else
            e->close();
    });
}

alia_status alia_engine_submit(alia_engine* engine, const int32_t* ids, uint64_t id_count,
                               const alia_request_options* options, uint64_t* request) {
    return guard([&] {
        auto e = find_engine(engine);
        if (id_count > 0) not_null(ids, "ids");
        not_null(request, "request");
        alia_request_options given = read_options(options, ALIA_REQUEST_OPTIONS_INIT, "options");
        *request = e->engine.submit(request_of(ids, id_count, given, e->engine.model().config));
        e->wake();
    });
}

alia_status alia_engine_step(alia_engine* engine, alia_event* events, uint32_t capacity, uint32_t* count) {
    return guard([&] {
        auto e = find_engine(engine);
        EventArray out(events, capacity);
        not_null(count, "count");
        step(*e, engine, out);
        *count = out.count;
    });
}

alia_status alia_engine_next(alia_engine* engine, alia_event* events, uint32_t capacity, int64_t milliseconds,
                             uint32_t* count) {
    return guard([&] {
        auto e = find_engine(engine);
        EventArray out(events, capacity);
        check_range(milliseconds, -1, longest_wait, "milliseconds");
        not_null(count, "count");
        next(*e, milliseconds, out);
        *count = out.count;
    });
}

alia_status alia_engine_cancel(alia_engine* engine, uint64_t request) {
    return guard([&] {
        auto e = find_engine(engine);
        if (!e->engine.cancel(request))
            alia::fail(alia::Status::not_found, alia::Place{{}, "request"},
                       "number %llu is neither waiting nor running", (unsigned long long)request);
        e->wake();
    });
}

alia_status alia_engine_choose(alia_engine* engine, uint64_t request, int32_t completion, const float* logits,
                               uint64_t count) {
    return guard([&] {
        auto e = find_engine(engine);
        check_array(logits, count, sizeof *logits, "logits");
        e->engine.choose(request, completion, {logits, size_t(count)});
        e->wake();
    });
}

alia_status alia_engine_idle(alia_engine* engine, int32_t* idle) {
    return guard([&] {
        auto e = find_engine(engine);
        not_null(idle, "idle");
        // In this order: a step that has just left the engine idle still counts its events.
        const bool nothing = e->engine.due() > alia::Clock::now() && e->untaken == 0;
        std::lock_guard hold(e->lock);
        *idle = nothing && e->kept.empty();
    });
}

alia_status alia_engine_counters(alia_engine* engine, char** json, uint64_t* length) {
    return guard([&] {
        auto e = find_engine(engine);
        not_null(json, "json");
        not_null(length, "length");
        give_text(describe(e->engine.counters()), json, length);
    });
}
