// The memory plan.
#include "engine/plan.h"

#include "engine/synthetic.h"

namespace alia {

MemoryPlan plan_memory(const std::string& path, const ModelOptions& model_options, const EngineOptions& o) {
    const Checkpoint checkpoint = open_model_files(path, {.json = model_options.json});
    const auto device = Device::open(model_options.device, {.threads = 1});
    const Kernels& k = device->kernels;
    const Model m = outline_model(checkpoint, k);
    const Format cache = o.cache.value_or(k.cache_format);
    const PassLimits limits = pass_limits(o);

    MemoryPlan plan{.device = k.name, .items = {}, .available = available_memory(*device)};
    for (auto [format, bytes] : m.weights) {
        const int64_t host = format == m.embed.format ? m.host_bytes : 0;
        plan.items.push_back({std::string("weights ") + info(format).name, bytes - host});
    }
    const int64_t cache_bytes = Cache::bytes(k, m.config, cache_positions(o), cache),
                  scratch = Runner::bytes(m, k, limits), sampling = k.sample_bytes(limits.outputs, m.config.vocabulary);
    plan.items.push_back({std::string("KV cache ") + info(cache).name, cache_bytes});
    plan.items.push_back({"scratch", scratch});
    plan.items.push_back({"sampling", sampling});
    // An engine takes these where the weights' staging was.
    plan.items.push_back({"more while loading", k.staging_bytes - cache_bytes - scratch - sampling});
    if (m.host_bytes) {
        plan.items.push_back({"embeddings on the host", m.host_bytes, true});
        plan.host_total = m.host_bytes;
        plan.host_available = available_memory();
    }
    std::erase_if(plan.items, [](const PlanItem& item) { return item.bytes <= 0; });
    for (const PlanItem& item : plan.items)
        if (!item.host) plan.total += item.bytes;
    return plan;
}

}  // namespace alia
