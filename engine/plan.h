// What a model takes of memory, from its headers alone.
#pragma once
#include "engine/engine.h"

namespace alia {

struct PlanItem {
    std::string name;  // "weights Q4_1", "KV cache F32", "scratch"
    int64_t bytes;
};

struct MemoryPlan {
    std::string device;
    std::vector<PlanItem> items;
    int64_t total = 0;
    int64_t available = 0;  // what the machine, or the control group, has left; 0 where unknown
    bool fits() const { return available == 0 || total <= available; }
};

MemoryPlan plan_memory(const std::string& path, const ModelOptions&, const EngineOptions&);

}  // namespace alia
