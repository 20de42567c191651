// What comes of requests, and the way it takes from an engine to those who wait for it.
#pragma once
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <map>
#include <mutex>

#include "options.hpp"

namespace alia {
inline namespace ALIA_HPP {

// What alia_event tells, kept: the members here hide its pointers, which are NULL.
struct event : alia_event {
    std::string text, message;
    std::vector<float> values;  // [rows][columns]
    std::vector<alia_top_token> top;

    event() : alia_event ALIA_EVENT_INIT {}
    explicit event(const alia_event& e)
        : alia_event(e),
          text(e.text ? e.text : "", e.text_length),
          message(e.message ? e.message : "", e.message_length),
          values(e.values, e.values + e.rows * e.columns),
          top(e.top, e.top + e.top_count) {
        alia_event::text = alia_event::message = nullptr;
        alia_event::values = nullptr;
        alia_event::top = nullptr;
    }
};

namespace detail {

// An engine and the events on their way out of it: one box for each request that has a stream, box 0 for the others.
// Whoever needs an event fetches for all; the others wait until that one is back.
class engine_core {
  public:
    explicit engine_core(std::shared_ptr<alia_model> m) : model(std::move(m)) {}
    ~engine_core() { alia_engine_free(handle); }
    engine_core(const engine_core&) = delete;
    engine_core& operator=(const engine_core&) = delete;

    alia_engine* handle = nullptr;
    const std::shared_ptr<alia_model> model;  // for its texts

    result<int32_t> idle() const { return made<int32_t>(alia_engine_idle, handle); }
    result<uint64_t> submit(std::span<const int32_t> ids, const request_options& options, bool boxed) {
        const raw_request raw(options);
        std::lock_guard hold(lock);  // until the box is there no event of it is sorted
        auto number = made<uint64_t>(alia_engine_submit, handle, ids.data(), ids.size(), &raw.c);
        if (number && boxed) boxes[*number].unfinished = options.completions;
        return number;
    }
    // Ends a request with its box; what still comes of it is dropped.
    void drop(uint64_t number) noexcept {
        {
            std::lock_guard hold(lock);
            const auto found = boxes.find(number);
            if (found->second.unfinished == 0) return void(boxes.erase(found));
            found->second.dropped = true;
            found->second.events.clear();
        }
        alia_engine_cancel(handle, number);
    }
    // A box's next event; none where no more will come.
    std::optional<result<event>> take(uint64_t number) {
        std::unique_lock hold(lock);
        box& mine = boxes[number];
        while (mine.events.empty()) {
            if (number && mine.unfinished == 0) return std::nullopt;
            if (fetching) {
                arrived.wait(hold);
                continue;
            }
            const auto nothing = idle();
            if (!nothing) return nothing.error();
            if (*nothing) {
                if (number == 0) return std::nullopt;
                return error(ALIA_BUSY, "the request waits for engine::choose", "request");
            }
            auto fetched = fetch(hold, [&](auto... room) {
                alia_status status = alia_engine_step(handle, room...);
                if (status == ALIA_BUSY) status = wait(-1, room...);
                return status == ALIA_BUSY ? ALIA_OK : status;  // background mode ended between the two
            });
            if (!fetched) return fetched.error();
        }
        event first = std::move(mine.events.front());
        mine.events.pop_front();
        return first;
    }
    // All of box 0, after a step where it was empty.
    result<std::vector<event>> step() {
        std::unique_lock hold(lock);
        arrived.wait(hold, [&] { return !fetching || !boxes[0].events.empty(); });
        if (boxes[0].events.empty()) {
            auto fetched = fetch(hold, [&](auto... room) { return alia_engine_step(handle, room...); });
            if (!fetched) return fetched.error();
        }
        return boxes[0].all();
    }
    // All of box 0, once something is there or `milliseconds` are over; -1: without end.
    result<std::vector<event>> next(int64_t milliseconds) {
        using clock = std::chrono::steady_clock;
        constexpr int64_t years = int64_t(1) << 40;
        const bool endless = milliseconds < 0;
        const auto end = clock::now() + std::chrono::milliseconds(std::min(endless ? years : milliseconds, years));
        std::unique_lock hold(lock);
        for (int64_t left = milliseconds;;) {
            if (fetching) {
                arrived.wait_until(hold, end);
            } else {
                auto fetched = fetch(hold, [&](auto... room) { return wait(left, room...); });
                if (!fetched) return fetched.error();
            }
            if (!boxes[0].events.empty() || (!endless && clock::now() >= end)) return boxes[0].all();
            if (!endless) left = std::chrono::ceil<std::chrono::milliseconds>(end - clock::now()).count();
        }
    }

  private:
    struct box {
        std::deque<event> events;
        int64_t unfinished = 0;  // completions
        bool dropped = false;
        std::vector<event> all() {
            std::vector<event> out(std::move_iterator(events.begin()), std::move_iterator(events.end()));
            return events.clear(), out;
        }
    };
    struct turn {  // `lock` is open while it lasts
        engine_core& core;
        std::unique_lock<std::mutex>& hold;
        turn(engine_core& c, std::unique_lock<std::mutex>& h) : core(c), hold(h) {
            core.fetching = true, hold.unlock();
        }
        ~turn() { hold.lock(), core.fetching = false, core.arrived.notify_all(); }
    };
    template <class F>
    result<void> fetch(std::unique_lock<std::mutex>& hold, F&& call) {
        std::vector<event> came;
        result<void> outcome;
        {
            const turn mine(*this, hold);
            alia_event raw[32];
            for (alia_event& e : raw) e = ALIA_EVENT_INIT;
            uint32_t count = 0;
            outcome = checked(call(raw, uint32_t(std::size(raw)), &count));
            for (uint32_t i = 0; outcome && i < count; ++i) came.emplace_back(raw[i]);
        }
        for (event& e : came) sort(std::move(e));
        return outcome;
    }
    alia_status wait(int64_t milliseconds, alia_event* events, uint32_t room, uint32_t* count) {
        return alia_engine_next(handle, events, room, milliseconds, count);
    }
    void sort(event e) {
        const auto found = boxes.find(e.request);
        if (found == boxes.end()) return void(boxes[0].events.push_back(std::move(e)));
        box& b = found->second;
        if (e.kind == ALIA_EVENT_FINISHED) --b.unfinished;
        if (!b.dropped) return b.events.push_back(std::move(e));
        if (b.unfinished == 0) boxes.erase(found);
    }

    std::mutex lock;  // of all below; open while the engine computes
    std::condition_variable arrived;
    std::map<uint64_t, box> boxes;
    bool fetching = false;
};

}  // namespace detail

}  // namespace ALIA_HPP
}  // namespace alia
