// Weights from the host: rows are gathered into pinned memory, copied, and laid out on the device, slot by slot, so
// that gathering, copying and laying out go on at once.
#include <algorithm>

#include "kernels/cuda/gather.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"
#include "kernels/host.h"

namespace alia::cuda {
namespace {

constexpr int64_t slot_bytes = 16 << 20;

}  // namespace

int64_t overhead_bytes(int64_t rows, int64_t columns) {
    return int64_t(std::size(Queue().slots)) * slot_bytes + sample_bytes(rows, columns);
}

void pack(Stream* s, Tensor w, int64_t first, int64_t count, const void* const* rows) {
    Queue& q = queue(s);
    const Current current(q);
    const int64_t bytes = row_bytes(w.format, w.columns);
    const int64_t at_once = std::max<int64_t>(slot_bytes / std::max<int64_t>(bytes, 1) / pack_rows, 1) * pack_rows;
    for (int64_t i = 0, n; i < count; i += n) {
        n = std::min(at_once, count - i);
        Slot& slot = take_slot(q, n * bytes, n * bytes);
        gather(slot.host, rows + i, n, bytes, q.threads);
        check(q, cudaMemcpyAsync(slot.device, slot.host, size_t(n * bytes), cudaMemcpyHostToDevice, q.stream),
              "cudaMemcpyAsync");
        repack(q, w, first + i, n, slot.device);
        check(q, cudaEventRecord(slot.done, q.stream), "cudaEventRecord");
    }
}

// On the device alone: rows that repeat are drawn once, and laid out wherever they belong.
void draw(Stream* s, Tensor w, uint64_t seed) {
    if (w.stride != 0) return host::draw(s, w, seed, pack);
    Queue& q = queue(s);
    const Current current(q);
    const int64_t bytes = row_bytes(w.format, w.columns);
    const int64_t count = std::min(w.rows, std::max<int64_t>(slot_bytes / bytes / pack_rows, 1) * pack_rows);
    Slot& slot = take_slot(q, 0, count * bytes);
    draw_rows(q, w, seed, count, slot.device);
    for (int64_t first = 0; first < w.rows; first += count)
        repack(q, w, first, std::min(count, w.rows - first), slot.device);
    check(q, cudaEventRecord(slot.done, q.stream), "cudaEventRecord");
}

}  // namespace alia::cuda
