// Requests and events, as the caller and the engine see them.
#pragma once
#include "capi/model.h"
#include "engine/engine.h"

namespace alia::capi {

// What the caller asks for; only what the engine cannot check is checked. Errors name the field.
Request request_of(const int32_t* ids, uint64_t id_count, const alia_request_options&, const Config&);

// As the caller gets it; what it points to is lent. `columns` is the vocabulary.
alia_event event_of(const Event&, int64_t columns);

// As the engine takes them, checked.
EngineOptions engine_options(const alia_engine_options&);

}  // namespace alia::capi
