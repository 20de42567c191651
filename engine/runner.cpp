// Batches for the forward pass.
#include "engine/runner.h"

namespace alia {
namespace {

int64_t page_stride(const PassLimits& l) { return (l.context + page_positions - 1) / page_positions; }

int64_t array_count(const PassLimits& l) { return 4 * int64_t(l.tokens) + l.outputs + l.sequences * page_stride(l); }

int64_t arena_bytes(const Model& model, const Kernels& kernels, const PassLimits& l) {
    Tensor slots{nullptr, 1, model.config.kv_dim()};
    Cache::View none{std::vector<Tensor>(model.config.layers, slots), std::vector<Tensor>(model.config.layers, slots)};
    int64_t most = 0;
    for (Role role : {Role::generated, Role::prompt}) {
        Arena measure;
        const Batch b{.role = role, .n = l.tokens, .outputs = l.outputs, .page_stride = int(page_stride(l))};
        forward({kernels, nullptr, measure, role}, model, none, b);
        most = std::max(most, measure.peak());
    }
    return most;
}

}  // namespace

int64_t Runner::bytes(const Model& m, const Kernels& k, const PassLimits& l) {
    return array_count(l) * int64_t(sizeof(int32_t)) + arena_bytes(m, k, l);
}

Runner::Runner(Device& device, const Model& model, const PassLimits& limits)
    : limits(limits),
      device(device),
      model(model),
      arrays(device, array_count(limits) * int64_t(sizeof(int32_t))),
      memory(device, arena_bytes(model, device.kernels, limits)),
      staging(array_count(limits)) {}

Tensor Runner::run(const Cache& cache, Role role, std::span<const Work> work, Observer observer) {
    const int64_t stride = page_stride(limits);
    int32_t* host = staging.data();
    int32_t *token = host, *position = token + limits.tokens, *slot = position + limits.tokens;
    int32_t *sequence = slot + limits.tokens, *output = sequence + limits.tokens, *pages = output + limits.outputs;

    Batch b{.role = role, .page_stride = int(stride)};
    int sequences = 0;
    for (const Work& w : work) {
        const Sequence& s = *w.sequence;
        if (b.n + w.count > limits.tokens || b.outputs + w.outputs > limits.outputs || sequences == limits.sequences ||
            w.count > s.length() || w.outputs > w.count || int64_t(s.pages().size()) > stride)
            fail(Status::internal, "a pass of %d tokens and %d outputs is beyond its limits", b.n + w.count,
                 b.outputs + w.outputs);
        for (int i = 0; i < w.count; ++i, ++b.n) {
            const int64_t p = s.length() - w.count + i;
            token[b.n] = s.tokens()[p];
            position[b.n] = int32_t(p);
            slot[b.n] = s.slot(p);
            sequence[b.n] = sequences;
            if (i >= w.count - w.outputs) output[b.outputs++] = b.n;
        }
        std::copy(s.pages().begin(), s.pages().end(), pages + sequences++ * stride);
    }
    device.kernels.write(device.stream, arrays.data(), host, int64_t(staging.size() * sizeof(int32_t)));

    auto on_device = [&](const int32_t* p) { return reinterpret_cast<const int32_t*>(arrays.data()) + (p - host); };
    b.token = on_device(token);
    b.position = on_device(position);
    b.slot = on_device(slot);
    b.sequence = on_device(sequence);
    b.output = on_device(output);
    b.pages = on_device(pages);
    Arena arena(memory);
    return forward({device.kernels, device.stream, arena, role, observer}, model, cache.view, b);
}

}  // namespace alia
