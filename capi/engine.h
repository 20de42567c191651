// What an engine handle stands for.
#pragma once
#include <atomic>
#include <mutex>

#include "capi/model.h"
#include "engine/engine.h"

namespace alia::capi {

struct EngineHandle {
    EngineHandle(std::shared_ptr<const Model> model, const EngineOptions& options)
        : engine(std::move(model), options) {}

    Engine engine;
    pid_t process = 0;
    std::mutex lock;                  // of what follows and of `engine`, except for cancel
    std::span<const Event> events;    // of the last step, that the caller has not taken yet
    std::atomic<bool> broken{false};  // a step failed half-way: only free is left
};

// As the engine takes them, checked.
EngineOptions engine_options(const alia_engine_options&);

}  // namespace alia::capi
