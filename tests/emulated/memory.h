// Memory of the emulated devices: one stretch of addresses with a byte of state for every byte, and for every four
// bytes who touched them last.
#pragma once
#include <cstddef>
#include <cstdint>

namespace emulated {

enum class Kind : uint8_t { device, pinned };

// A thread of a running kernel, as accesses see it.
struct Actor {
    uint32_t launch = 0;    // counts kernels; from 1
    uint32_t previous = 0;  // the kernel that may still be running, until this thread waited for it; 0: none
    uint32_t block = 0, thread = 0;
    int device = 0;
    uint32_t epoch = 0;       // barriers of the block so far
    uint32_t warp_epoch = 0;  // of the warp
};

// Page-aligned but for 256 bytes, filled with NaN, unwritten (pinned memory counts as written, and is every device's).
// Addresses are not given twice. Null where the address space is used up.
void* allocate(Kind, size_t bytes, int device);
// The allocation's bytes, or -1 where none begins there.
int64_t size_of(const void*, Kind);
void release(void*);
bool is_device(const void*, size_t bytes);  // wholly inside one device allocation
bool is_pinned(const void*);

// The shared memory of the running block: `bytes` of it, poisoned; the rest cannot be touched.
constexpr size_t shared_capacity = 227 << 10;  // of the cards that have most
uint8_t* shared_memory();
void begin_block(size_t bytes);

// Copies from outside of kernels.
void mark_written(void*, size_t bytes);
void copy_written(void* to, const void* from, size_t bytes);

// What is wrong with an access of a kernel, or null. Records it otherwise.
const char* access(const Actor&, const void*, size_t bytes, bool write, bool aligned);
bool inside(const void*);  // the emulated memory at all
bool is_shared(const void*, size_t bytes);
// An asynchronous copy to shared memory: begun (checked as a write), and arrived.
const char* begin_arrival(const Actor&, void* to, size_t bytes);
void end_arrival(const Actor&, void* to, size_t bytes);

}  // namespace emulated
