// The emulated CUDA device, as tests see it: how kernels are scheduled, what was found wrong, and calls that fail.
//
// Kernels are the very sources of kernels/cuda, compiled as C++; a CUDA thread is a fiber, a block runs on one thread
// of the system. Every access of a kernel is checked: it lies in live memory, is aligned, reads what was written, and
// is ordered by a barrier against what other threads do to the same bytes. The first thing that is found ends the
// kernel as a fault does: its stream's device is lost until reset().
//
// It proves nothing about speed, memory order between blocks, bank conflicts, occupancy or compiler faults.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace emulated {

enum class Order {
    ahead,     // each warp runs as far as barriers allow, then the next
    reversed,  // the same from the last warp, and the last lane, to the first
    random     // warps, lanes and, at every `preempt`-th access or so, the running thread
};

// A barrier or a wait for copies, by its place in a kernel's source.
struct Site {
    const char* file = "";
    int line = 0;
    friend bool operator==(const Site& a, const Site& b) {
        return a.line == b.line && std::strcmp(a.file, b.file) == 0;
    }
};

struct Options {
    Order order = Order::ahead;
    uint64_t seed = 1;
    int preempt = 64;                  // accesses between preemptions, about; with Order::random
    bool checks = true;                // of accesses: off for long numerical tests
    int64_t steps = int64_t(1) << 31;  // accesses and meetings of a block, beyond which it is taken to have no end
    Site without;                      // the barrier or wait that does nothing
    bool stream_waits = true;          // cudaStreamWaitEvent does something
};
extern Options options;

// What was found since the last reset, a sentence each.
const std::vector<std::string>& reports();
// Every barrier and wait that was met since the last reset.
const std::vector<Site>& sites();
const std::vector<Site>& all_sites();  // in this process
// The devices are as new: none is lost, no report, no failure to come. Memory and streams stay.
void reset();

// What a launch that may begin early does to a stream that is captured: it is kept, or refused, or ends the capture.
enum class Early { kept, refused, ends_capture };

// The machine that the runtime tells of. Changes hold for devices opened afterwards.
struct Machine {
    int devices = 1;
    int capability = 90;  // 10 * major + minor
    int code = 0;         // the capability that kernels were compiled for; 0: the card's
    int driver = 13000;   // as cudaDriverGetVersion says; 0: no driver
    Early captured = Early::kept;
    int multiprocessors = 2;          // few, so that blocks loop over their work
    size_t memory = size_t(4) << 30;  // of each device
};
extern Machine machine;
inline int code_capability() { return machine.code ? machine.code : machine.capability; }

size_t shared_limit();  // bytes of shared memory that a block of such a card may have

// The n-th runtime call from now on (0: the next) returns `error`; a sticky one is returned by every call after it.
void fail_call(int64_t n, int error, bool sticky);
int64_t calls();    // runtime calls so far
int64_t waiting();  // pieces of work that streams have not done

// A kernel, by its address, with what a launch gave each block; the most where launches differ.
struct Launched {
    const void* kernel;
    int threads, shared;  // shared: bytes of dynamic shared memory
};
const std::vector<Launched>& launched();  // in this process

// What is alive: allocations on devices and of pinned memory, streams, events, graphs.
struct Alive {
    int64_t device = 0, pinned = 0, streams = 0, events = 0, graphs = 0;
    friend bool operator==(const Alive&, const Alive&) = default;
};
Alive alive();
int64_t allocations();    // on devices and of pinned memory so far
size_t used(int device);  // bytes

}  // namespace emulated
