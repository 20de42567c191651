// A running block: its threads as fibers, barriers, warp operations and asynchronous copies.
#pragma once
#include <cstdint>

#include "tests/emulated/emulated.h"

namespace emulated {

struct Index {
    unsigned x, y, z;
};
struct Launch {
    void (*call)(const void* arguments);  // the kernel, called by each thread
    const void* arguments;
    size_t argument_bytes;
    Index grid, block;
    size_t shared = 0;
    int device = 0;
    uint32_t previous = 0;  // the kernel that may not have ended when this one begins, as run() numbered it; 0: none
};
// Runs every block; the kernel's number, from 1. 0 where something was found, which is then the last of reports().
uint32_t run(const Launch&);

// ---- What kernels call, on the running thread

Index thread_index();
Index block_index();
Index block_size();
Index grid_size();
uint8_t* dynamic_shared(size_t bytes);  // of which the launch has given at least so many

void barrier(Site);
// Lanes of a warp meet, then `act` runs once with a pointer from each lane of the mask (null for others).
using Act = void (*)(void* const (&lane)[32]);
void meet(Act act, uint32_t mask, void* mine, Site);
void order_warp(uint32_t mask, Site);  // __syncwarp

void copy_later(void* shared, const void* global, int bytes);
void expect_shared(const void*, size_t bytes);  // reports where it is not
void close_copies();
void wait_copies(int pending, Site);
void wait_grid();
void begin_next_grid();

[[noreturn, gnu::format(printf, 1, 2)]] void report(const char* format, ...);  // ends the kernel
// An access of the running thread; nothing outside of kernels.
void touch(const void*, size_t bytes, bool write, bool aligned = true);
void misaligned(const void*);

}  // namespace emulated
