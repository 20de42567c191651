// Weights from the host: rows are gathered into pinned memory, copied by a stream of their own, and laid out on the
// device, slot by slot, so that gathering, copying and laying out go on at once.
#include <algorithm>
#include <utility>

#include "kernels/cuda/gather.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"
#include "kernels/host.h"

namespace alia::cuda {
namespace {

// Slots have all of their size from the first use on, or that of pack_rows rows that are larger.
Slot& take_staging(Queue& q, bool host, int64_t bytes) {
    static_assert(staging_bytes == std::size(Queue().slots) * slot_bytes);
    const int64_t most = std::max(bytes, slot_bytes);
    Slot& slot = take_slot(q, host ? most : 0, most);
    if (host && !q.copies)
        check(q, cudaStreamCreateWithFlags(&q.copies, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    if (host && !slot.copied)
        check(q, cudaEventCreateWithFlags(&slot.copied, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    return slot;
}
// So many rows of `bytes` each take a slot.
int64_t rows_at_once(int64_t bytes) {
    return std::max<int64_t>(slot_bytes / std::max<int64_t>(bytes, 1) / pack_rows, 1) * pack_rows;
}

}  // namespace

void pack(Stream* s, Tensor w, int64_t first, int64_t count, const void* const* rows) {
    Queue& q = queue(s);
    const Current current(q);
    const int64_t bytes = row_bytes(w.format, w.columns);
    for (int64_t i = 0, n; i < count; i += n) {
        n = std::min(rows_at_once(bytes), count - i);
        Slot& slot = take_staging(q, true, n * bytes);
        if (!q.pool) q.pool = cpu::open_pool(q.threads, false);
        gather(q.pool, slot.host, rows + i, n, bytes);
        check(q, cudaMemcpyAsync(slot.device, slot.host, size_t(n * bytes), cudaMemcpyHostToDevice, q.copies),
              "cudaMemcpyAsync");
        check(q, cudaEventRecord(slot.copied, q.copies), "cudaEventRecord");
        check(q, cudaStreamWaitEvent(q.stream, slot.copied, 0), "cudaStreamWaitEvent");
        repack(q, w, first + i, n, slot.device);
        check(q, cudaEventRecord(slot.done, q.stream), "cudaEventRecord");
    }
}

void end_packing(Stream* s) {
    Queue& q = queue(s);
    const Current current(q);
    check(q, cudaStreamSynchronize(q.stream), "cudaStreamSynchronize");
    for (Slot& slot : q.slots) empty(q, slot);
    if (q.pool) cpu::close_pool(std::exchange(q.pool, nullptr));
}

// On the device alone: rows that repeat are drawn once, and laid out wherever they belong.
void draw(Stream* s, Tensor w, uint64_t seed) {
    if (w.stride != 0) return host::draw(s, w, seed, pack);
    Queue& q = queue(s);
    const Current current(q);
    const int64_t bytes = row_bytes(w.format, w.columns);
    const int64_t count = std::min(w.rows, rows_at_once(bytes));
    Slot& slot = take_staging(q, false, count * bytes);
    draw_rows(q, w, seed, count, slot.device);
    for (int64_t first = 0; first < w.rows; first += count)
        repack(q, w, first, std::min(count, w.rows - first), slot.device);
    check(q, cudaEventRecord(slot.done, q.stream), "cudaEventRecord");
}

}  // namespace alia::cuda
