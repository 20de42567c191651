// The memory plan.
#include "engine/plan.h"

namespace alia {

MemoryPlan plan_memory(const std::string& path, const ModelOptions& model_options, const EngineOptions& o) {
    const Checkpoint checkpoint = open_checkpoint(path, {.json = model_options.json});
    const auto device = Device::open(model_options.device, {.threads = 1});
    const Kernels& k = device->kernels;
    const Model m = outline_model(checkpoint, k);
    const Format cache = o.cache.value_or(k.cache_format);

    MemoryPlan plan{.device = k.name, .items = {}, .available = available_memory()};
    for (auto [format, bytes] : m.weights) plan.items.push_back({std::string("weights ") + info(format).name, bytes});
    plan.items.push_back(
        {std::string("KV cache ") + info(cache).name, Cache::bytes(k, m.config, cache_positions(o), cache)});
    plan.items.push_back({"scratch", Runner::bytes(m, k, pass_limits(o))});
    for (const PlanItem& item : plan.items) plan.total += item.bytes;
    return plan;
}

}  // namespace alia
