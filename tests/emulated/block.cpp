// Threads as fibers: who runs next, and what they wait for.
#include "tests/emulated/block.h"

#include <algorithm>
#include <boost/context/detail/fcontext.hpp>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <link.h>
#include <memory>
#include <sys/mman.h>

#include "tests/emulated/memory.h"

namespace emulated {

Options options;

namespace {

namespace fibers = boost::context::detail;

constexpr size_t stack_bytes = 128 << 10;
constexpr unsigned most_threads = 1024, warp_size = 32;

enum class Wait { nothing, barrier, warp, ended };

struct Copy {
    void* to;
    const void* from;
    int bytes;
    int group;
};

struct Thread {
    fibers::fcontext_t context;
    Index index;
    Actor actor;
    Wait wait;
    Site site;
    // With Wait::warp:
    Act act;
    uint32_t mask;
    void* mine;
    std::vector<Copy> copies;
    int groups;  // closed
};

struct Block {
    const Launch* launch = nullptr;
    Index index;
    unsigned count = 0;  // threads
    Thread threads[most_threads];
    fibers::fcontext_t scheduler;
    Thread* current = nullptr;
    uint32_t epoch = 0;
    uint32_t warp_epoch[most_threads / warp_size];
    bool failed = false;
    bool waited = false;  // some thread of the launch, for the kernel before
    int64_t steps = 0;
    uint64_t random = 1;

    uint64_t draw(uint64_t n) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        return random % n;
    }
};

std::vector<std::string> found;
std::vector<Site> met, ever;  // barriers and waits: since the reports were forgotten, and in the process
uint32_t launches = 0;
thread_local Block* running = nullptr;
thread_local bool busy = false;  // the emulator's own accesses, of library code that kernels may share, do not count
struct Busy {
    Busy() { busy = true; }
    ~Busy() { busy = false; }
};

char* stacks() {
    static char* all = static_cast<char*>(mmap(nullptr, stack_bytes * most_threads, PROT_READ | PROT_WRITE,
                                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    return all;
}
Block& the_block() {
    static auto block = std::make_unique<Block>();
    return *block;
}

void add_report(const Block& b, const std::string& what) {
    const Thread* t = b.current;
    char place[200];
    if (t)
        std::snprintf(place, sizeof place, "block (%u, %u, %u), thread %u: ", b.index.x, b.index.y, b.index.z,
                      t->actor.thread);
    found.push_back((t ? place : "") + what);
}

std::string name(Site s) { return std::string(s.file) + ":" + std::to_string(s.line); }

void yield(Thread& t) {
    auto back = fibers::jump_fcontext(running->scheduler, &t);
    running->scheduler = back.fctx;
}

void enter(fibers::transfer_t from) {
    auto* t = static_cast<Thread*>(from.data);
    running->scheduler = from.fctx;
    running->launch->call(running->launch->arguments);
    t->wait = Wait::ended;
    yield(*t);
    std::abort();
}

void resume(Block& b, Thread& t) {
    b.current = &t;
    t.context = fibers::jump_fcontext(t.context, &t).fctx;
    b.current = nullptr;
}

// True where the site's barrier is there, which a mutation may have taken away.
bool stands(Site site) {
    Busy here;
    for (const Site& s : met)
        if (s == site) return !(site == options.without);
    met.push_back(site);
    if (std::find(ever.begin(), ever.end(), site) == ever.end()) ever.push_back(site);
    return !(site == options.without);
}

// Warp operations of which all lanes have come. False where none has.
bool settle(Block& b, unsigned warp) {
    Thread* lanes = b.threads + warp * warp_size;
    const unsigned count = std::min(warp_size, b.count - warp * warp_size);
    for (unsigned i = 0; i < count; ++i) {
        const Thread& t = lanes[i];
        if (t.wait != Wait::warp) continue;
        void* mine[32] = {};
        bool all = true;
        for (unsigned j = 0; j < warp_size && all; ++j) {
            if (!(t.mask >> j & 1)) continue;
            if (j >= count || lanes[j].wait == Wait::ended) {
                b.current = &lanes[i];
                add_report(b, "a warp operation at " + name(t.site) + " waits for a lane that is not there");
                b.failed = true;
                return false;
            }
            all = lanes[j].wait == Wait::warp && lanes[j].mask == t.mask && lanes[j].act == t.act &&
                  lanes[j].site == t.site;
            mine[j] = lanes[j].mine;
        }
        if (!all) continue;
        for (unsigned j = 0; j < count; ++j)
            if (t.mask >> j & 1) lanes[j].wait = Wait::nothing;
        if (t.act)
            t.act(mine);
        else
            ++b.warp_epoch[warp];
        for (unsigned j = 0; j < count; ++j) lanes[j].actor.warp_epoch = b.warp_epoch[warp];
        return true;
    }
    return false;
}

bool ready(const Block& b, unsigned warp) {
    for (unsigned i = warp * warp_size; i < std::min(b.count, (warp + 1) * warp_size); ++i)
        if (b.threads[i].wait == Wait::nothing) return true;
    return false;
}

// Runs a warp until its lanes wait or have ended; with Order::random, perhaps less far.
void run_warp(Block& b, unsigned warp) {
    const unsigned first = warp * warp_size, count = std::min(warp_size, b.count - first);
    const unsigned turn = options.order == Order::random     ? unsigned(b.draw(warp_size))
                          : options.order == Order::reversed ? warp_size - 1
                                                             : 0;
    do {
        while (ready(b, warp) && !b.failed) {
            for (unsigned i = 0; i < warp_size && !b.failed; ++i) {
                const unsigned lane = i ^ turn;
                if (lane < count && b.threads[first + lane].wait == Wait::nothing) resume(b, b.threads[first + lane]);
            }
            if (options.order == Order::random && b.draw(2)) break;
        }
    } while (!b.failed && !ready(b, warp) && settle(b, warp));
}

// Every thread waits: at one barrier, or for ever.
void open_barrier(Block& b) {
    const Thread* first = nullptr;
    for (unsigned i = 0; i < b.count; ++i) {
        Thread& t = b.threads[i];
        if (t.wait == Wait::ended) continue;
        b.current = &t;
        if (t.wait == Wait::warp) {
            add_report(b, "waits for ever at " + name(t.site) + ": other lanes do not come");
            b.failed = true;
            return;
        }
        if (first && !(first->site == t.site)) {
            add_report(b, "waits at the barrier " + name(t.site) + ", and thread " +
                              std::to_string(first->actor.thread) + " at " + name(first->site));
            b.failed = true;
            return;
        }
        first = &t;
    }
    ++b.epoch;
    for (unsigned i = 0; i < b.count; ++i) {
        Thread& t = b.threads[i];
        if (t.wait == Wait::barrier) t.wait = Wait::nothing;
        t.actor.epoch = b.epoch;
    }
    b.current = nullptr;
}

void run_block(Block& b, uint32_t number) {
    begin_block(b.launch->shared);
    b.epoch = 0;
    b.steps = 0;
    const Index size = b.launch->block;
    for (unsigned i = 0; i < b.count; ++i) {
        Thread& t = b.threads[i];
        t.index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
        t.actor = {.launch = launches,
                   .previous = b.launch->previous,
                   .block = number,
                   .thread = i,
                   .device = b.launch->device};
        t.wait = Wait::nothing;
        t.copies.clear();
        t.groups = 0;
        t.context = fibers::make_fcontext(stacks() + (i + 1) * stack_bytes, stack_bytes, enter);
    }
    const unsigned warps = (b.count + warp_size - 1) / warp_size;
    std::memset(b.warp_epoch, 0, sizeof b.warp_epoch);
    for (;;) {
        bool any = false, left = false;
        const unsigned turn = options.order == Order::random ? unsigned(b.draw(warps)) : 0;
        for (unsigned i = 0; i < warps && !b.failed; ++i) {
            const unsigned w = options.order == Order::reversed ? warps - 1 - i : (i + turn) % warps;
            if (!ready(b, w)) continue;
            any = true;
            run_warp(b, w);
        }
        if (b.failed) return;
        for (unsigned i = 0; i < b.count; ++i) left |= b.threads[i].wait != Wait::ended;
        if (!left) return;
        if (!any) open_barrier(b);
    }
}

// Constants that kernels read lie in the program and its libraries.
bool in_program(const void* p) {
    struct Range {
        uintptr_t first, last;
    };
    static const std::vector<Range> ranges = [] {
        std::vector<Range> all;
        dl_iterate_phdr(
            [](dl_phdr_info* info, size_t, void* to) {
                for (int i = 0; i < info->dlpi_phnum; ++i)
                    if (info->dlpi_phdr[i].p_type == PT_LOAD) {
                        const uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
                        static_cast<std::vector<Range>*>(to)->push_back({begin, begin + info->dlpi_phdr[i].p_memsz});
                    }
                return 0;
            },
            &all);
        return all;
    }();
    for (const Range& r : ranges)
        if (uintptr_t(p) >= r.first && uintptr_t(p) < r.last) return true;
    return false;
}

Thread& me() { return *running->current; }

}  // namespace

const std::vector<std::string>& reports() { return found; }
const std::vector<Site>& sites() { return met; }
const std::vector<Site>& all_sites() { return ever; }
void forget_reports() { found.clear(), met.clear(); }

uint32_t run(const Launch& launch) {
    Block& b = the_block();
    ++launches;
    b.launch = &launch;
    b.count = launch.block.x * launch.block.y * launch.block.z;
    b.failed = b.waited = false;
    b.random = (options.seed + launches) * 0x9E3779B97F4A7C15u | 1;
    running = &b;
    uint32_t number = 0;
    for (unsigned z = 0; z < launch.grid.z; ++z)
        for (unsigned y = 0; y < launch.grid.y; ++y)
            for (unsigned x = 0; x < launch.grid.x && !b.failed; ++x) {
                b.index = {x, y, z};
                run_block(b, number++);
            }
    running = nullptr;
    // The kernel behind it waits for this one alone: for those before, this one must have waited.
    if (!b.failed && launch.previous && !b.waited) {
        add_report(b, "the kernel ends and has not waited for the kernel before it");
        b.failed = true;
    }
    return b.failed ? 0 : launches;
}

Index thread_index() { return me().index; }
Index block_index() { return running->index; }
Index block_size() { return running->launch->block; }
Index grid_size() { return running->launch->grid; }

uint8_t* dynamic_shared(size_t bytes) {
    if (bytes > running->launch->shared)
        report("uses %zu bytes of shared memory and was given %zu", bytes, running->launch->shared);
    return shared_memory();
}

void report(const char* format, ...) {
    char what[400];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    {
        Busy here;
        add_report(*running, what);
    }
    running->failed = true;
    yield(me());
    std::abort();  // a failed block's threads never run again
}

// Counts what a thread does that others could wait for.
void step() {
    if (++running->steps > options.steps) report("has no end: %lld accesses and meetings", (long long)options.steps);
}

void barrier(Site site) {
    step();
    if (!stands(site)) return;
    Thread& t = me();
    t.wait = Wait::barrier;
    t.site = site;
    yield(t);
}

void meet(Act act, uint32_t mask, void* mine, Site site) {
    step();
    Thread& t = me();
    if (!(mask >> t.actor.thread % warp_size & 1)) report("is not in its own mask at %s:%d", site.file, site.line);
    t.wait = Wait::warp;
    t.act = act, t.mask = mask, t.mine = mine, t.site = site;
    yield(t);
}

void order_warp(uint32_t mask, Site site) {
    if (mask != ~0u) report("orders a part of a warp, which is not told from the whole here");
    if (stands(site)) meet(nullptr, mask, nullptr, site);
}

void copy_later(void* shared, const void* global, int bytes) {
    Thread& t = me();
    if (bytes < 0 || bytes > 16) report("copies more than 16 bytes, or fewer than none");
    if (bytes > 0 && uintptr_t(global) % 16 != 0) report("copies from memory that is not aligned to 16 bytes");
    if (bytes > 0) touch(global, size_t(bytes), false, /*aligned=*/false);
    if (!is_shared(shared, 16)) report("copies to memory that is not shared");
    if (const char* wrong = begin_arrival(t.actor, shared, 16)) report("an asynchronous copy %s", wrong);
    Busy here;
    t.copies.push_back({shared, global, bytes, t.groups});
}

void expect_shared(const void* p, size_t bytes) {
    if (!is_shared(p, bytes)) report("takes memory that is not shared for a matrix's row");
}

void close_copies() { ++me().groups; }

void wait_copies(int pending, Site site) {
    if (!stands(site)) return;
    Thread& t = me();
    size_t kept = 0;
    for (const Copy& c : t.copies) {
        if (c.group >= t.groups - pending) {
            t.copies[kept++] = c;
            continue;
        }
        std::memset(c.to, 0, 16);
        if (c.bytes > 0) std::memcpy(c.to, c.from, size_t(c.bytes));
        end_arrival(t.actor, c.to, 16);
    }
    t.copies.resize(kept);
}

void misaligned(const void* p) {
    if (running && running->current && !busy) report("touches memory that is not aligned to its type, at %p", p);
}

void wait_grid() {
    running->waited = true;
    me().actor.previous = 0;
}
void begin_next_grid() {
    if (me().actor.previous) report("lets the next kernel begin and has not waited for the kernel before");
}

void touch(const void* p, size_t bytes, bool write, bool aligned) {
    Block* b = running;
    if (!b || !b->current || busy) return;
    step();
    if (!options.checks) return;
    const Thread& t = *b->current;
    if (!inside(p)) {
        const char* stack = stacks() + t.actor.thread * stack_bytes;
        const auto* at = static_cast<const char*>(p);
        if (at >= stack && at + bytes <= stack + stack_bytes) return;
        const auto* arguments = static_cast<const char*>(b->launch->arguments);
        if (!write && at >= arguments && at + bytes <= arguments + b->launch->argument_bytes) return;
        if (!write && in_program(p)) return;
        report(write ? "writes memory of the host" : "reads memory of the host");
    }
    if (const char* wrong = access(t.actor, p, bytes, write, aligned)) report("%s (%zu bytes at %p)", wrong, bytes, p);
    if (options.order == Order::random && b->draw(uint64_t(options.preempt)) == 0) yield(*b->current);
}

}  // namespace emulated
