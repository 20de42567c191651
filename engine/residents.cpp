// Sequences that outlive requests.
#include "engine/loop.h"
#include "engine/state.h"

namespace alia {

std::shared_ptr<Resident> Engine::State::find_resident(uint64_t sequence) const {
    const auto found = residents.find(sequence);
    if (found == residents.end())
        fail(Status::not_found, {.file = {}, .item = "sequence"}, "there is no sequence %llu",
             (unsigned long long)sequence);
    if (found->second->busy)
        fail(Status::busy, {.file = {}, .item = "sequence"}, "a request runs on sequence %llu",
             (unsigned long long)sequence);
    return found->second;
}

// Gives up the pages of the one that has been unused for longest, of those that nothing runs on. Their tokens stay.
bool Engine::State::drop_resident() {
    std::lock_guard lock(mutex);
    Resident* oldest = nullptr;
    for (const auto& [number, r] : residents)
        if (!r->in_run && !r->sequence.pages().empty() && (!oldest || r->used < oldest->used)) oldest = r.get();
    if (oldest) oldest->sequence.drop_pages();
    return oldest;
}

uint64_t Engine::State::add_resident(std::shared_ptr<Resident> r) {
    r->used = ++uses;
    residents.emplace(last_sequence + 1, std::move(r));
    return ++last_sequence;
}

uint64_t Engine::make_sequence() {
    std::lock_guard lock(state->mutex);
    state->check_device();
    return state->add_resident(std::make_shared<Resident>(state->cache));
}

uint64_t Engine::fork(uint64_t sequence) {
    std::lock_guard lock(state->mutex);
    state->check_device();
    const auto from = state->find_resident(sequence);
    auto to = std::make_shared<Resident>(state->cache);
    to->sequence.fork(from->sequence, from->sequence.length());
    return state->add_resident(std::move(to));
}

void Engine::truncate(uint64_t sequence, int64_t length) {
    std::lock_guard lock(state->mutex);
    Sequence& s = state->find_resident(sequence)->sequence;
    if (length < 0 || length > s.length())
        fail(Status::invalid_argument, {.file = {}, .item = "length"}, "%lld is not between 0 and the sequence's %lld",
             (long long)length, (long long)s.length());
    s.truncate(length);
}

void Engine::free_sequence(uint64_t sequence) {
    std::lock_guard lock(state->mutex);
    state->find_resident(sequence);
    state->residents.erase(sequence);
}

std::vector<int32_t> Engine::tokens(uint64_t sequence) const {
    std::lock_guard lock(state->mutex);
    const auto tokens = state->find_resident(sequence)->sequence.tokens();
    return {tokens.begin(), tokens.end()};
}

namespace {

// Keeps requests off a sequence while it is read without the lock.
struct Reserved {
    Reserved(std::mutex& mutex, std::shared_ptr<Resident> r) : mutex(mutex), resident(std::move(r)) {
        resident->busy = true;
    }
    ~Reserved() {
        std::lock_guard lock(mutex);
        resident->busy = false;
    }
    std::mutex& mutex;
    std::shared_ptr<Resident> resident;
};

}  // namespace

std::vector<std::byte> Engine::save(uint64_t sequence) const {
    State& s = *state;
    std::unique_lock lock(s.mutex);
    s.check_device();
    const Reserved reserved(s.mutex, s.find_resident(sequence));
    lock.unlock();
    if (!s.identity) s.identity = model_identity(*s.model, s.device);
    return save_state(reserved.resident->sequence, s.cache, s.model->config, s.device, *s.identity);
}

uint64_t Engine::restore(std::span<const std::byte> bytes) {
    State& s = *state;
    {
        std::lock_guard lock(s.mutex);
        s.check_device();
    }
    if (!s.identity) s.identity = model_identity(*s.model, s.device);
    auto r = std::make_shared<Resident>(s.cache);
    load_state(bytes, r->sequence, s.cache, s.model->config, s.device, *s.identity, s.options.context);
    std::lock_guard lock(s.mutex);
    return s.add_resident(std::move(r));
}

}  // namespace alia
