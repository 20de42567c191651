// The queue of a CUDA device, the launch of kernels on it, and the one place where the runtime's errors are read.
#pragma once
#include <cuda_runtime.h>

#include "kernels/error.h"
#include "kernels/ops.h"

namespace alia::cuda {

// Pinned memory of the host and memory of the device, side by side.
struct Room {
    void *host = nullptr, *device = nullptr;
    int64_t host_bytes = 0, device_bytes = 0;
};

// A room for what is on its way to the device. It is free again when `done` has passed.
struct Slot : Room {
    cudaEvent_t done = nullptr, copied = nullptr;  // copied: of a slot that weights came by
};

// A pass that `run` has seen: without `exec` it is captured the next time, or never where that failed.
struct Replay {
    uint64_t key = 0, used = 0;  // used: the queue's count of runs when it last was; key 0: free
    cudaGraphExec_t exec = nullptr;
    bool plain = false;
};

// What a Stream* of the CUDA table points to.
struct Queue {
    int ordinal = 0;
    cudaStream_t stream = nullptr;
    int capability = 0;  // 10 * major + minor
    int code = 0;        // the capability that its kernels were compiled for: a card runs code for older ones too
    int multiprocessors = 0;
    bool lost = false;      // a kernel failed: every later call says so, and only closing works
    const char* loss = "";  // the runtime's name of that error
    Room sample_room;       // sample.cu
    Slot slots[4];
    cudaStream_t copies = nullptr;  // that weights come by (upload.cu)
    int next_slot = 0;
    Replay replays[64];
    uint64_t runs = 0;
    bool capturing = false, uncaptured = false;  // a pass is being captured; a call of it failed, and it will be called
    bool unsettled = false;                      // the last kernel lays weights out (pack.cu)
    int threads = 0;                             // that gather rows:
    Stream* pool = nullptr;                      // theirs, from `pack` to `end_packing`
};

inline Queue& queue(Stream* s) { return *reinterpret_cast<Queue*>(s); }

// Fails with out_of_memory, device_unavailable, device_lost after an error that the runtime keeps, or internal; `what`
// names the call. While a pass is captured, only a lost device fails.
void check(Queue&, cudaError_t, const char* what);

// The queue's device is the calling thread's while this lives, and the one before it afterwards. Fails with device_lost
// where the queue is.
class Current {
  public:
    explicit Current(Queue&);
    ~Current();
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;

  private:
    int before = -1;  // -1: nothing to restore
};

// Makes a room at least so large, 64-byte aligned; where it grows, what it held is over.
void grow(Queue&, Room&, int64_t host_bytes, int64_t device_bytes);
// Gives all of it back, also where the runtime says that this failed.
void empty(Queue&, Room&);
// The next slot, free and at least so large. Whoever fills it records `done` on the stream.
Slot& take_slot(Queue&, int64_t host_bytes, int64_t device_bytes);

struct Grid {
    dim3 blocks;
    int threads;
    int shared = 0;  // bytes of dynamic shared memory
};

// What the kernels that this device runs were compiled for, 10 * major + minor (prompt_e4m3.cu).
int code_capability(Queue&);

// Queues a kernel, which may begin before the one before it has ended: it calls grid_wait().
template <class... Parameters, class... Arguments>
void launch(Queue& q, void (*kernel)(Parameters...), const Grid& grid, Arguments&&... arguments) {
    const Current current(q);
    if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
    if (grid.shared > 48 << 10)
        check(q, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, grid.shared),
              "cudaFuncSetAttribute");
    cudaLaunchAttribute overlap = {};
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid.blocks;
    config.blockDim = dim3(unsigned(grid.threads));
    config.dynamicSmemBytes = size_t(grid.shared);
    config.stream = q.stream;
    config.attrs = &overlap;
    config.numAttrs = q.code >= 90 ? 1 : 0;  // grid_wait() of older code does not wait
    check(q, cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...), "cudaLaunchKernelEx");
    q.unsettled = false;
}

}  // namespace alia::cuda
