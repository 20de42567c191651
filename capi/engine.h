// What an engine handle stands for.
#pragma once
#include <atomic>
#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>

#include "capi/request.h"

namespace alia::capi {

// An event that owns what it tells of.
struct KeptEvent {
    KeptEvent(const Event&, int64_t columns);
    alia_event lend() const;  // points into this

    alia_event event;  // whose pointers say nothing
    std::string text, message;
    std::vector<float> values;
    std::vector<TopToken> top;
};

struct EngineHandle {
    static constexpr Kind kind = Kind::engine;

    EngineHandle(std::shared_ptr<const Model> model, const EngineOptions& options)
        : engine(std::move(model), options) {}
    ~EngineHandle() { stop(); }

    Engine engine;
    pid_t process = 0;

    // A step holds it, and so does what works on resident sequences. `callers` wait for it: the background thread lets
    // them in first.
    std::mutex stepping;
    std::atomic<int> callers{0};
    std::span<const Event> events;     // of the last step, not handed out yet; under `stepping`
    std::atomic<size_t> untaken{0};    // of these; not 0 while a step runs
    std::span<const Event> stepped();  // `events`, of a new step where there are none. Under `stepping`
    void handed_out(size_t count) { untaken = (events = events.subspan(count)).size(); }

    // Background mode.
    std::mutex control;  // of starting and stopping
    std::thread thread;
    std::mutex lock;               // of all below
    std::condition_variable work;  // something was submitted, taken, or is to end
    std::condition_variable news;  // events came, or nothing more will
    std::list<KeptEvent> kept;     // not taken yet
    size_t kept_values = 0;        // numbers that these lend
    std::list<KeptEvent> lent;     // by the last alia_engine_next
    std::optional<Error> failure;  // of a step, not told yet
    bool running = false, ending = false, closed = false, woken = false;

    void start();
    void stop();   // once the step that runs is done
    void close();  // the handle has ended: nobody waits any more
    void wake();

  private:
    void loop();
};

// The open engine of this process.
Held<EngineHandle> find_engine(const alia_engine*);

// Holds `stepping` for a caller.
class Turn {
  public:
    explicit Turn(EngineHandle& e) : e(e) {
        ++e.callers;
        e.stepping.lock();
        --e.callers;
    }
    ~Turn() { e.stepping.unlock(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

  private:
    EngineHandle& e;
};

}  // namespace alia::capi
