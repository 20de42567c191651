// Batches for the forward pass.
#include "engine/runner.h"

#include <algorithm>
#include <bit>
#include <chrono>

namespace alia {
namespace {

int64_t page_stride(const PassLimits& l) { return (l.context + page_positions - 1) / page_positions; }

// The arrays of a batch one behind the other, those of fixed size first. Padding has a row of `pages` of its own.
struct Arrays {
    Arrays(int32_t* start, const PassLimits& l) {
        for (int32_t** array : {&token, &position, &slot, &sequence}) *array = start, start += l.tokens;
        output = start;
        pages = start + l.outputs + l.hidden;
    }
    static int64_t count(const PassLimits& l) {
        return 4 * int64_t(l.tokens) + l.outputs + l.hidden + (l.sequences + 1) * page_stride(l);
    }
    int32_t *token, *position, *slot, *sequence, *output, *pages;
};

int64_t arena_bytes(const Model& model, const Kernels& kernels, const PassLimits& l) {
    Tensor slots{nullptr, 1, model.config.kv_dim()};
    Cache::View none{std::vector<Tensor>(model.config.layers, slots), std::vector<Tensor>(model.config.layers, slots)};
    int64_t most = 0;
    for (Role role : {Role::generated, Role::prompt}) {
        Arena measure;
        const Batch b{.role = role, .n = l.tokens, .outputs = l.outputs + l.hidden, .page_stride = int(page_stride(l))};
        forward({kernels, nullptr, measure, role}, model, none, b, l.outputs);
        most = std::max(most, measure.peak());
    }
    return most;
}

// The size that a pass of one generated token of each sequence is rounded up to; 0 for any other pass.
int replayed_size(std::span<const Work> work, const PassLimits& l) {
    const bool plain = std::all_of(work.begin(), work.end(),
                                   [](const Work& w) { return w.count == 1 && w.outputs == 1 && w.hidden == 0; });
    const int most = std::min({l.tokens, l.outputs, l.sequences});
    if (!plain || work.empty() || int(work.size()) > most) return 0;
    const int n = int(work.size());
    return std::min(n <= page_positions ? int(std::bit_ceil(work.size()))
                                        : (n + page_positions - 1) / page_positions * page_positions,
                    most);
}

// Which of the sizes that is, from 0.
size_t replay_of(int size) {
    return size_t(size <= page_positions ? std::bit_width(unsigned(size - 1))
                                         : 6 + (size + page_positions - 1) / page_positions);
}

}  // namespace

int64_t Runner::bytes(const Model& m, const Kernels& k, const PassLimits& l) {
    return Arrays::count(l) * int64_t(sizeof(int32_t)) + arena_bytes(m, k, l);
}

Runner::Runner(Device& device, const Model& model, const PassLimits& limits)
    : limits(limits),
      device(device),
      model(model),
      arrays(device, Arrays::count(limits) * int64_t(sizeof(int32_t))),
      memory(device, arena_bytes(model, device.kernels, limits)),
      staging(size_t(Arrays::count(limits))) {}

Tensor Runner::room_for_row() const {
    const int64_t columns = model.config.vocabulary;
    return {memory.data(), 1, columns, columns * int64_t(sizeof(float))};
}

Rows Runner::run(const Cache& cache, Role role, std::span<const Work> work, Observer observer) {
    const Arrays host(staging.data(), limits);
    const int size =
        device.kernels.replays && role == Role::generated && !observer.see ? replayed_size(work, limits) : 0;
    int64_t stride = size ? page_stride(limits) : 1, rows = 0, hidden = 0;
    int tokens = 0, sequences = 0;
    for (const Work& w : work) {
        const int64_t end = w.sequence->computed() + w.count;
        tokens += w.count, rows += w.outputs, hidden += w.hidden;
        stride = std::max(stride, (end + page_positions - 1) / page_positions);
        if (w.count > w.sequence->pending() || std::max(w.outputs, w.hidden) > w.count ||
            end > int64_t(w.sequence->pages().size()) * page_positions)
            fail(Status::internal, "a pass asks for %d tokens, %d outputs and %d states of a sequence", w.count,
                 w.outputs, w.hidden);
    }
    if (tokens > limits.tokens || rows > limits.outputs || hidden > limits.hidden ||
        int(work.size()) > limits.sequences || stride > page_stride(limits))
        fail(Status::internal, "a pass of %d tokens and %lld outputs is beyond its limits", tokens, (long long)rows);

    int n = 0;
    int32_t *next_output = host.output, *next_hidden = host.output + rows;
    for (const Work& w : work) {
        const Sequence& s = *w.sequence;
        for (int i = 0; i < w.count; ++i, ++n) {
            const int64_t p = s.computed() + i;
            host.token[n] = s.tokens()[size_t(p)];
            host.position[n] = int32_t(p);
            host.slot[n] = s.slot(p);
            host.sequence[n] = sequences;
            if (i >= w.count - w.outputs) *next_output++ = n;
            if (i >= w.count - w.hidden) *next_hidden++ = n;
        }
        const size_t pages = std::min(s.pages().size(), size_t(stride));
        std::copy_n(s.pages().begin(), pages, host.pages + sequences++ * stride);
    }
    // Fewer than a page has positions: each writes its own.
    int padding = 0;
    if (n < size) host.pages[sequences * stride] = cache.padding_page;
    for (; n < size; ++n) {
        host.token[n] = host.position[n] = 0;
        host.slot[n] = cache.padding_page * page_positions + padding++;
        host.sequence[n] = sequences;
        *next_output++ = n;
    }
    const auto start = std::chrono::steady_clock::now();
    const int64_t used = host.pages + (sequences + 1) * stride - staging.data();
    device.kernels.write(device.stream, arrays.data(), staging.data(), used * int64_t(sizeof(int32_t)));

    const Arrays on_device(reinterpret_cast<int32_t*>(arrays.data()), limits);
    struct Pass {
        Runner& runner;
        const Cache& cache;
        Observer observer;
        Batch batch;
        int logits;
        Rows result = {};
    } pass{*this,
           cache,
           observer,
           {.role = role,
            .n = n,
            .outputs = int(size ? size : rows + hidden),
            .page_stride = int(stride),
            .token = on_device.token,
            .position = on_device.position,
            .slot = on_device.slot,
            .sequence = on_device.sequence,
            .pages = on_device.pages,
            .output = on_device.output},
           int(size ? size : rows)};
    const auto queue = [](void* context) {
        Pass& p = *static_cast<Pass*>(context);
        Runner& r = p.runner;
        Arena arena(r.memory);
        const Ops ops{r.device.kernels, r.device.stream, arena, p.batch.role, p.observer};
        p.result = forward(ops, r.model, p.cache.view, p.batch, p.logits);
    };
    // A replayed pass is not called, and its rows lie where the first call of its key left them.
    device.kernels.run(device.stream, uint64_t(size), queue, &pass);
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (size) {
        if (pass.result.logits) replayed[replay_of(size)] = pass.result;
        pass.result = replayed[replay_of(size)];
        pass.result.logits.rows = rows;
    }
    return pass.result;
}

}  // namespace alia
