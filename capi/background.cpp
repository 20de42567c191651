// Background mode: the thread that steps, and the events that wait.
#include "capi/engine.h"
#include "engine/attempt.h"
#include "kernels/signals.h"

namespace alia::capi {
namespace {

// Events, and numbers of logits among them; the thread pauses beyond.
constexpr size_t most_kept = 4096, most_values = size_t(64 << 20) / sizeof(float);

}  // namespace

KeptEvent::KeptEvent(const Event& e, int64_t columns)
    : event(event_of(e, columns)),
      text(e.text),
      message(e.message),
      values(e.values.begin(), e.values.end()),
      top(e.top.begin(), e.top.end()) {}

alia_event KeptEvent::lend() const {
    alia_event e = event;
    e.text = text.data();
    e.message = message.data();
    e.values = values.empty() ? nullptr : values.data();
    e.top = top.empty() ? nullptr : reinterpret_cast<const alia_top_token*>(top.data());
    return e;
}

void EngineHandle::start() {
    std::lock_guard one(control);
    const Turn turn(*this);
    std::lock_guard hold(lock);
    if (running) fail(Status::busy, Place{{}, "engine"}, "runs in the background already");
    ending = false;
    const auto error = attempt([&] {
        const NoSignals inherited;
        thread = std::thread([this] { loop(); });
    });
    if (error) fail(Status::out_of_memory, "the system gives no thread: %s", error->message);
    running = true;
}

void EngineHandle::stop() {
    std::lock_guard one(control);
    {
        std::lock_guard hold(lock);
        ending = true;
        work.notify_all();
    }
    if (thread.joinable()) thread.join();
    std::lock_guard hold(lock);
    running = false;
    news.notify_all();
}

void EngineHandle::close() {
    std::lock_guard hold(lock);
    closed = ending = true;
    work.notify_all();
    news.notify_all();
}

void EngineHandle::wake() {
    std::lock_guard hold(lock);
    woken = true;
    work.notify_one();
}

void EngineHandle::loop() {
    const int64_t columns = engine.model().config.vocabulary;
    for (;;) {
        {
            std::unique_lock hold(lock);
            while (!ending) {
                const bool room = kept.size() < most_kept && kept_values < most_values && !failure;
                if (room && (woken || untaken > 0)) break;
                const auto due = room ? engine.due() : Clock::time_point::max();
                if (due <= Clock::now()) break;
                if (due == Clock::time_point::max())
                    work.wait(hold);
                else
                    work.wait_until(hold, due);
            }
            if (ending) return;
            woken = false;
        }
        while (callers > 0) std::this_thread::yield();
        // An event that there is no memory to keep stays where it is, and so do those behind it.
        const auto error = attempt([&] {
            std::lock_guard turn(stepping);
            for (auto now = stepped(); !now.empty(); now = events) {
                std::list<KeptEvent> event;
                event.emplace_back(now[0], columns);
                std::lock_guard hold(lock);
                kept_values += event.front().values.size();
                kept.splice(kept.end(), event);
                handed_out(1);
            }
        });
        std::lock_guard hold(lock);
        if (error) failure = error;
        if (!kept.empty() || failure) news.notify_all();
    }
}

}  // namespace alia::capi

using namespace alia::capi;

alia_status alia_engine_start(alia_engine* engine) {
    return guard([&] { find_engine(engine)->start(); });
}

alia_status alia_engine_stop(alia_engine* engine) {
    return guard([&] { find_engine(engine)->stop(); });
}
