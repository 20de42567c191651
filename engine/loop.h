// The engine's inside: what one step does between the requests that came in and the events that go out.
#pragma once
#include <mutex>
#include <unordered_map>

#include "engine/engine.h"
#include "engine/scheduler.h"

namespace alia {

struct Engine::State {
    State(std::shared_ptr<const Model>, const EngineOptions&);

    std::shared_ptr<const Model> model;
    EngineOptions options;
    Device device;
    Cache cache;
    Runner runner;
    Scheduler scheduler;

    // Of one step.
    std::vector<Event> events;
    std::vector<Work> work;
    std::vector<SampleRow> records;  // of each row of logits
    std::vector<char> drawn;         // whether the row has a record
    std::vector<SampleResult> results;
    std::vector<float> rows;        // of logits that events point to; its memory is taken once
    std::vector<float> row;         // that a sampler fetched
    std::vector<std::byte> states;  // hidden states, on their way
    Jobs done;                      // their events point to them until the next step
    bool ended = false;             // jobs have ended since waiting ones were last looked at
    int choosing = 0;               // jobs that wait for a choice
    Counters work_done;             // by the stepping thread; `counts` is its copy
    std::optional<Error> failure;   // that came after events: the next step throws it

    // Anything below may be touched by any thread, under the lock.
    mutable std::mutex mutex;
    Jobs inbox;
    std::unordered_map<uint64_t, std::shared_ptr<Ticket>> tickets;
    std::unordered_map<uint64_t, std::shared_ptr<Resident>> residents;
    uint64_t last_request = 0, last_sequence = 0, uses = 0;
    int64_t queued = 0;  // jobs that have not begun
    Counters counts;
    int deadlines = 0;     // jobs that have one
    bool cancels = false;  // some ticket was cancelled since the last step
    std::optional<Error> lost;

    std::optional<Hash128> identity;  // of the model, once asked for

    void check_device() const;                                         // fails where it is lost; under the lock
    void check_queue(int completions) const;                           // limit; under the lock
    std::shared_ptr<Resident> find_resident(uint64_t sequence) const;  // not_found; busy; under the lock
    // What the request continues, or null; also what submit says of it.
    std::shared_ptr<Resident> find_continued(const Request&) const;
    bool drop_resident();
    uint64_t add_resident(std::shared_ptr<Resident>);  // under the lock

    void run_step();
    void end_jobs();      // those that were cancelled, or are too late
    void take_choices();  // that came since the last step
    void take_choice(Job&);
    void pass(Role, std::span<const Planned>);
    void prefetch(std::span<const Planned>, int row) const;
    void record(const Planned&, int row);
    void copy_told(const Planned&, int row, const Rows&, int state);
    void draw(Tensor logits);
    void read(void* to, const void* on_device, int64_t bytes);
    void sample(SampleResult*, Tensor logits, const SampleRow*);
    void settle(const Planned&, int row, Tensor logits, std::span<const std::byte> states, Format);
    void tell(Job&, const Planned&, int row, Tensor logits, int64_t first);
    void pool(Job&, const Planned&, std::span<const std::byte> states, Format, int64_t first);
    void take_token(Job&, const SampleResult&, Tensor row);
    std::span<float> room_for_rows(int64_t count);
    void finish(Job&, Finish);
    void fail_job(Job&, const Error&);
    void count_step(double seconds);
};

}  // namespace alia
