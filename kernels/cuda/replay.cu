// Passes that are repeated: called the first time, so that modules are loaded, captured the second, replayed after.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"

namespace alia::cuda {
namespace {

// The replay of a key; where it is new, in the place of the one that was not used for longest.
Replay& find_replay(Queue& q, uint64_t key) {
    Replay* oldest = &q.replays[0];
    for (Replay& r : q.replays) {
        if (r.key == key) return r;
        if (r.used < oldest->used) oldest = &r;
    }
    if (oldest->exec) cudaGraphExecDestroy(oldest->exec);
    *oldest = {};
    return *oldest;
}

// Ends the stream's capture whatever happens in the pass.
struct Capture {
    explicit Capture(Queue& q) : q(q) {
        check(q, cudaStreamBeginCapture(q.stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
        q.capturing = true, q.uncaptured = false;
    }
    ~Capture() {
        if (q.capturing) end();
        if (graph) cudaGraphDestroy(graph);
    }
    cudaError_t end() {
        q.capturing = false;
        return cudaStreamEndCapture(q.stream, &graph);
    }
    Queue& q;
    cudaGraph_t graph = nullptr;
};

// False where the runtime cannot keep the pass, as some drivers refuse to capture launches that overlap: it has not run
// then.
bool capture(Queue& q, Replay& r, void (*pass)(void*), void* context) {
    Capture c(q);
    pass(context);
    cudaError_t e = c.end();
    if (e == cudaSuccess && !q.uncaptured) {
        e = cudaGraphInstantiate(&r.exec, c.graph, 0);
        if (e == cudaSuccess) return true;
    }
    cudaGetLastError();
    r.exec = nullptr;
    return false;
}

}  // namespace

void run(Stream* s, uint64_t key, void (*pass)(void*), void* context) {
    Queue& q = queue(s);
    const Current current(q);
    if (key == 0) return pass(context);
    Replay& r = find_replay(q, key);
    r.used = ++q.runs;
    if (r.key != key || r.plain) {
        pass(context);
        r.key = key;
        return;
    }
    if (!r.exec && !capture(q, r, pass, context)) {
        r.plain = true;
        return pass(context);
    }
    check(q, cudaGraphLaunch(r.exec, q.stream), "cudaGraphLaunch");
}

void forget_replays(Queue& q) {
    for (Replay& r : q.replays) {
        if (r.exec) cudaGraphExecDestroy(r.exec);
        r = {};
    }
}

}  // namespace alia::cuda
