// State and history of every byte of the emulated devices.
#include "tests/emulated/memory.h"

#include <cstring>
#include <map>
#include <sys/mman.h>

namespace emulated {
namespace {

constexpr size_t space = size_t(1) << 36, page = 4096, offset = 256;
// Of a byte; above them, from bit `owner` on, 1 + the device whose memory it is, or 0.
constexpr uint8_t allocated = 1, written = 2, arriving = 4;
constexpr int owner = 3;

// The last thread that read or wrote a word.
struct Touch {
    uint32_t launch, block, epoch;
    uint32_t thread : 10, many : 2, warp_epoch : 16;
};
enum Many : uint32_t { one, warp, block, launch };  // threads of a warp, of several warps, of several blocks
struct Word {
    Touch write, read;
};
constexpr uint32_t split = ~0u;  // as write.launch: a part of the word was touched, so that its bytes are told apart

uint8_t* reserve(size_t bytes) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? nullptr : static_cast<uint8_t*>(p);
}
uint8_t* in_huge_pages(uint8_t* p) {
    madvise(p, space, MADV_HUGEPAGE);  // a wish: much of it is written at once
    return p;
}
struct Space {
    uint8_t* data = in_huge_pages(reserve(space));
    uint8_t* state = in_huge_pages(reserve(space));
    Word* words = reinterpret_cast<Word*>(reserve(space / 4 * sizeof(Word)));
    Word* bytes = reinterpret_cast<Word*>(reserve(space * sizeof(Word)));  // of words that are split
    uint8_t* shared = data + page;
    size_t next = page + shared_capacity / page * page + 2 * page;
    struct Allocation {
        size_t bytes;
        Kind kind;
    };
    std::map<uint8_t*, Allocation> allocations;
};
Space& memory() {
    static Space s;
    return s;
}

uint8_t* state_of(const void* p) { return memory().state + (static_cast<const uint8_t*>(p) - memory().data); }

const Space::Allocation* allocation_with(const void* p, size_t bytes) {
    auto& all = memory().allocations;
    auto* at = static_cast<uint8_t*>(const_cast<void*>(p));
    auto next = all.upper_bound(at);
    if (next == all.begin()) return nullptr;
    auto& [begin, a] = *--next;
    return at + bytes <= begin + a.bytes ? &a : nullptr;
}

bool same_warp(uint32_t a, uint32_t b) { return a / 32 == b / 32; }

// Whether what t tells of has certainly ended before the actor goes on.
bool ordered(const Touch& t, const Actor& a, bool shared) {
    if (t.launch == 0) return true;
    if (t.launch != a.launch) return shared || t.launch != a.previous;
    if (t.many == launch || t.block != a.block) return shared;
    if (t.epoch < a.epoch) return true;
    if (t.many == block) return false;
    if (t.many == one && t.thread == a.thread) return true;
    return same_warp(t.thread, a.thread) && t.warp_epoch < (a.warp_epoch & 0xFFFF);
}

Touch touch_of(const Actor& a) { return {a.launch, a.block, a.epoch, a.thread & 1023, one, a.warp_epoch & 0xFFFF}; }

void add_read(Touch& t, const Actor& a, bool shared) {
    if (t.launch != a.launch || (shared && t.block != a.block) ||
        (t.block == a.block && t.many != launch && t.epoch < a.epoch)) {
        t = touch_of(a);
        return;
    }
    const uint32_t many = t.block != a.block               ? launch
                          : !same_warp(t.thread, a.thread) ? block
                          : t.thread != (a.thread & 1023)  ? warp
                                                           : one;
    const uint32_t before = t.many;
    t = touch_of(a);
    t.many = many > before ? many : before;
}

const char* check(const Actor& a, Word& word, bool write, bool shared) {
    if (!ordered(word.write, a, shared))
        return write ? "writes what another thread writes, with no barrier between"
                     : "reads what another thread writes, with no barrier between";
    if (!write) {
        add_read(word.read, a, shared);
        return nullptr;
    }
    if (!ordered(word.read, a, shared)) return "writes what another thread reads, with no barrier between";
    word.write = touch_of(a);
    return nullptr;
}

const char* check(const Actor& a, const uint8_t* p, size_t bytes, bool write) {
    Space& m = memory();
    const bool shared = is_shared(p, 1);
    const size_t last = size_t(p - m.data) + bytes;
    for (size_t at = size_t(p - m.data); at < last;) {
        Word& word = m.words[at / 4];
        const bool whole = at % 4 == 0 && at + 4 <= last;
        if (whole && word.write.launch != split) {
            if (const char* wrong = check(a, word, write, shared)) return wrong;
            at += 4;
            continue;
        }
        if (word.write.launch != split) {
            for (size_t i = 0; i < 4; ++i) m.bytes[at / 4 * 4 + i] = word;
            word.write.launch = split;
        }
        for (const size_t end = at / 4 * 4 + 4; at < last && at < end; ++at)
            if (const char* wrong = check(a, m.bytes[at], write, shared)) return wrong;
    }
    return nullptr;
}

}  // namespace

void* allocate(Kind kind, size_t bytes, int device) {
    Space& m = memory();
    const size_t whole = (bytes + offset + page) / page * page + page;
    if (m.next + whole > space) return nullptr;
    uint8_t* p = m.data + m.next + offset;
    m.next += whole;
    std::memset(p, 0xFF, bytes);
    std::memset(state_of(p), kind == Kind::pinned ? allocated | written : allocated | (device + 1) << owner, bytes);
    m.allocations[p] = {bytes, kind};
    return p;
}

int64_t size_of(const void* p, Kind kind) {
    auto found = memory().allocations.find(static_cast<uint8_t*>(const_cast<void*>(p)));
    return found == memory().allocations.end() || found->second.kind != kind ? -1 : int64_t(found->second.bytes);
}

void release(void* p) {
    auto found = memory().allocations.find(static_cast<uint8_t*>(p));
    const size_t bytes = found->second.bytes;
    // Addresses are not given twice: what is known of them goes too, and their state is that of memory never allocated.
    Space& m = memory();
    const size_t first = size_t(found->first - offset - m.data), whole = (bytes + offset + page - 1) / page * page;
    madvise(m.data + first, whole, MADV_DONTNEED);
    madvise(m.state + first, whole, MADV_DONTNEED);
    madvise(m.words + first / 4, whole / 4 * sizeof(Word), MADV_DONTNEED);
    madvise(m.bytes + first, whole * sizeof(Word), MADV_DONTNEED);
    memory().allocations.erase(found);
}

bool is_device(const void* p, size_t bytes) {
    const auto* a = allocation_with(p, bytes);
    return a && a->kind == Kind::device;
}
bool is_pinned(const void* p) {
    const auto* a = allocation_with(p, 1);
    return a && a->kind == Kind::pinned;
}

uint8_t* shared_memory() { return memory().shared; }

void begin_block(size_t bytes) {
    static size_t before = 0;
    std::memset(state_of(memory().shared), 0, before > bytes ? before : bytes);
    std::memset(state_of(memory().shared), allocated, bytes);
    std::memset(memory().shared, 0xFF, bytes);
    before = bytes;
}

void mark_written(void* p, size_t bytes) {
    if (inside(p))
        for (uint8_t* s = state_of(p); s < state_of(p) + bytes; ++s) *s |= written;
}

void copy_written(void* to, const void* from, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i)
        state_of(to)[i] = uint8_t((state_of(to)[i] & ~written) | (state_of(from)[i] & written));
}

bool inside(const void* p) {
    const auto* at = static_cast<const uint8_t*>(p);
    return at >= memory().data && at < memory().data + space;
}

bool is_shared(const void* p, size_t bytes) {
    const auto* at = static_cast<const uint8_t*>(p);
    return at >= memory().shared && at + bytes <= memory().shared + shared_capacity;
}

const char* access(const Actor& a, const void* p, size_t bytes, bool write, bool aligned) {
    if (aligned && uintptr_t(p) % bytes != 0) return "touches memory that is not aligned to the access's size";
    uint8_t* state = state_of(p);
    for (size_t i = 0; i < bytes; ++i) {
        if (!(state[i] & allocated)) return "touches memory that is not allocated";
        if (state[i] >> owner && state[i] >> owner != a.device + 1) return "touches memory of another device";
        if (state[i] & arriving) return "touches memory before its asynchronous copy was waited for";
        if (!write && !(state[i] & written)) return "reads memory that was never written";
    }
    if (write)
        for (size_t i = 0; i < bytes; ++i) state[i] |= written;
    return check(a, static_cast<const uint8_t*>(p), bytes, write);
}

const char* begin_arrival(const Actor& a, void* to, size_t bytes) {
    if (const char* wrong = access(a, to, bytes, true, true)) return wrong;
    for (size_t i = 0; i < bytes; ++i) state_of(to)[i] |= arriving;
    return nullptr;
}

void end_arrival(const Actor& a, void* to, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) state_of(to)[i] &= uint8_t(~arriving);
    check(a, static_cast<const uint8_t*>(to), bytes, true);
}

}  // namespace emulated
