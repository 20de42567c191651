// What a model takes of memory, from its headers alone.
#pragma once
#include "engine/engine.h"

namespace alia {

struct PlanItem {
    std::string name;  // "weights Q4_1", "KV cache F32", "scratch", "embeddings on the host"
    int64_t bytes;
    bool host = false;  // of the host's memory, beside a device that has its own
};

struct MemoryPlan {
    std::string device;
    std::vector<PlanItem> items;
    int64_t total = 0;           // of the device
    int64_t available = 0;       // what the device, or the machine and the control group, has left; 0 where unknown
    int64_t host_total = 0;      // beside a device that has its own memory
    int64_t host_available = 0;  // likewise
    bool fits() const {
        return (available == 0 || total <= available) && (host_available == 0 || host_total <= host_available);
    }
};

MemoryPlan plan_memory(const std::string& path, const ModelOptions&, const EngineOptions&);

}  // namespace alia
