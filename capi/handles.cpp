// The table behind the opaque handles.
#include "capi/handles.h"

#include <mutex>
#include <utility>

namespace alia::capi {
namespace {

static_assert(sizeof(void*) == 8, "a handle's value takes 64 bits");

// A handle, from its low bits: slot, generation, the library's own tag, kind. The kind in the highest bits makes it an
// address that no processor maps.
constexpr int slot_bits = 12, generation_bits = 28, tag_bits = 20;
constexpr uint64_t slots = uint64_t(1) << slot_bits, last_generation = (uint64_t(1) << generation_bits) - 1;

// Constant-initialised and without a destructor: nothing runs at load or exit.
struct Slot {
    Owner* owner;         // null: free
    uint32_t generation;  // of the handle that it has now or had last
    Kind kind;
};
constinit Slot table[slots] = {};
constinit std::mutex table_lock;

// Two copies of the library in one process tell their handles apart by where their tables lie.
uint64_t library_tag() { return (reinterpret_cast<uintptr_t>(table) >> 12) & ((uint64_t(1) << tag_bits) - 1); }

uint64_t value_of(uint64_t slot, const Slot& s) {
    return slot | uint64_t(s.generation) << slot_bits | library_tag() << (slot_bits + generation_bits) |
           uint64_t(s.kind) << (slot_bits + generation_bits + tag_bits);
}

// The slot whose present handle this is, or null. Under the lock.
Slot* look_up(const void* handle, Kind kind) {
    uint64_t value = reinterpret_cast<uintptr_t>(handle), slot = value & (slots - 1);
    Slot& s = table[slot];
    return s.owner && s.kind == kind && value_of(slot, s) == value ? &s : nullptr;
}

Slot& demand(const void* handle, Kind kind, const char* argument) {
    if (!handle) fail(Status::invalid_argument, Place{{}, argument}, "is NULL");
    if (Slot* s = look_up(handle, kind)) return *s;
    fail(Status::bad_handle, Place{{}, argument}, "is not an open %s: it was freed, or did not come from this library",
         kind == Kind::model ? "model" : "engine");
}

}  // namespace

void* add_handle(Kind kind, Owner object) {
    auto owner = std::make_unique<Owner>(std::move(object));
    std::lock_guard hold(table_lock);
    for (uint64_t i = 0; i < slots; ++i) {
        Slot& s = table[i];
        if (s.owner || s.generation == last_generation)
            continue;  // a slot whose generations are used up rests for good
        s = {owner.release(), s.generation + 1, kind};
        return reinterpret_cast<void*>(value_of(i, s));
    }
    fail(Status::limit, "%d handles are open; free some first", int(slots));
}

Owner find_handle(const void* handle, Kind kind, const char* argument) {
    std::lock_guard hold(table_lock);
    return *demand(handle, kind, argument).owner;
}

bool handle_stands(const void* handle, Kind kind) {
    std::lock_guard hold(table_lock);
    return look_up(handle, kind) != nullptr;
}

std::unique_ptr<Owner> remove_handle(const void* handle, Kind kind, const char* argument) {
    std::lock_guard hold(table_lock);
    Slot& s = demand(handle, kind, argument);
    return std::unique_ptr<Owner>(std::exchange(s.owner, nullptr));
}

}  // namespace alia::capi
