// The queue of a CUDA device, the launch of kernels on it, and the one place where the runtime's errors are read.
#pragma once
#include <cuda_runtime.h>

#include "kernels/error.h"
#include "kernels/ops.h"

namespace alia::cuda {

// What `sample` keeps between calls, as large as its largest call so far; sample_release (sample.cu) frees it.
struct SampleRoom {
    void *host = nullptr, *device = nullptr;  // host: pinned
    int64_t host_bytes = 0, device_bytes = 0;
};

// What a Stream* of the CUDA table points to.
struct Queue {
    int ordinal = 0;
    cudaStream_t stream = nullptr;
    int capability = 0;  // 10 * major + minor
    int multiprocessors = 0;
    int shared_bytes = 0;  // that a block can have
    bool lost = false;     // a kernel failed: every later call says so, and only closing works
    SampleRoom sample_room;
};

inline Queue& queue(Stream* s) { return *reinterpret_cast<Queue*>(s); }

// Fails with out_of_memory, or device_lost after an error that the runtime keeps, or internal; `what` names the call.
void check(Queue&, cudaError_t, const char* what);
// Makes the queue's device the calling thread's; fails with device_lost where it is.
void use(Queue&);

struct Grid {
    dim3 blocks;
    int threads;
    int shared = 0;  // bytes of dynamic shared memory
};

// Queues a kernel, which may begin before the one before it has ended: it calls grid_wait().
template <class... Parameters, class... Arguments>
void launch(Queue& q, void (*kernel)(Parameters...), const Grid& grid, Arguments&&... arguments) {
    use(q);
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
    config.numAttrs = q.capability >= 90 ? 1 : 0;
    check(q, cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...), "cudaLaunchKernelEx");
}

}  // namespace alia::cuda
