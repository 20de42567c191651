// The table behind the opaque handles.
#include "capi/handles.h"

#include <atomic>

namespace alia::capi {
namespace {

static_assert(sizeof(void*) == 8, "a handle's value takes 64 bits");

// A handle, from its low bits: slot, generation, the library's own tag, kind. The kind in the highest bits makes it an
// address that no processor maps.
constexpr int slot_bits = 12, generation_bits = 28, tag_bits = 20;
constexpr uint64_t slots = uint64_t(1) << slot_bits, last_generation = (uint64_t(1) << generation_bits) - 1;

// No lock: a child that was forked while another thread was in here must not wait for that thread. `word`, from its low
// bits: uses (32; an open handle's own is one), generation, kind (none once the handle has ended). A slot without uses
// is free. Constant-initialised and without a destructor: nothing runs at load or exit.
constexpr int use_bits = 32;
struct Slot {
    std::atomic<uint64_t> word;
    void* object;  // written between taking the slot and giving its word a kind
};
constinit Slot table[slots] = {};

uint64_t uses(uint64_t word) { return word & ((uint64_t(1) << use_bits) - 1); }
uint64_t generation(uint64_t word) { return word >> use_bits & last_generation; }
uint64_t word_of(uint64_t generation, Kind kind, uint64_t uses) {
    return uses | generation << use_bits | uint64_t(kind) << (use_bits + generation_bits);
}

// Two copies of the library in one process tell their handles apart by where their tables lie.
uint64_t library_tag() { return (reinterpret_cast<uintptr_t>(table) >> 12) & ((uint64_t(1) << tag_bits) - 1); }

uint64_t value_of(uint64_t slot, uint64_t generation, Kind kind) {
    return slot | generation << slot_bits | library_tag() << (slot_bits + generation_bits) |
           uint64_t(kind) << (slot_bits + generation_bits + tag_bits);
}

// The slot that a handle names, and whether its word says that this handle is open.
struct Name {
    Name(const void* handle, Kind kind) : value(reinterpret_cast<uintptr_t>(handle)), kind(kind) {}
    bool open(uint64_t word) const {
        return uses(word) > 0 && word == word_of(generation(word), kind, uses(word)) &&
               value == value_of(slot(), generation(word), kind);
    }
    uint64_t slot() const { return value & (slots - 1); }

    uint64_t value;
    Kind kind;
};

// Replaces the word of an open handle by change(word), or fails.
template <class F>
Use exchange(const void* handle, Kind kind, const char* argument, F&& change) {
    if (!handle) fail(Status::invalid_argument, Place{{}, argument}, "is NULL");
    const Name name(handle, kind);
    Slot& s = table[name.slot()];
    uint64_t word = s.word;
    while (name.open(word))
        if (s.word.compare_exchange_weak(word, change(word))) return {s.object, name.slot()};
    fail(Status::bad_handle, Place{{}, argument}, "is not an open %s: it was freed, or did not come from this library",
         kind == Kind::model ? "model" : "engine");
}

}  // namespace

void* add_handle(Kind kind, void* object) {
    for (uint64_t i = 0; i < slots; ++i) {
        Slot& s = table[i];
        uint64_t word = s.word;
        const uint64_t next = generation(word) + 1;
        if (uses(word) > 0 || next > last_generation) continue;  // one whose generations are used up rests for good
        if (!s.word.compare_exchange_strong(word, word_of(next, Kind::none, 1))) continue;
        s.object = object;
        s.word = word_of(next, kind, 1);
        return reinterpret_cast<void*>(value_of(i, next, kind));
    }
    fail(Status::limit, "%d handles are open; free some first", int(slots));
}

Use use_handle(const void* handle, Kind kind, const char* argument) {
    return exchange(handle, kind, argument, [](uint64_t word) { return word + 1; });
}

Use end_handle(const void* handle, Kind kind, const char* argument) {
    return exchange(handle, kind, argument,
                    [](uint64_t word) { return word_of(generation(word), Kind::none, uses(word)); });
}

bool handle_stands(const void* handle, Kind kind) {
    const Name name(handle, kind);
    return name.open(table[name.slot()].word);
}

bool last_use(uint64_t slot) { return uses(--table[slot].word) == 0; }

}  // namespace alia::capi
