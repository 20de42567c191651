// alia.hpp without exceptions and without RTTI: the same, as values.
#include "tests/capi_hpp_plain.h"

#include "capi/alia.hpp"

std::string plain_answer(const char* path, const char* text) {
    auto model = alia::model::open(path, {.progress = [](const alia_progress&) { return true; }});
    if (!model) return model.error().message;
    auto engine = alia::engine::open(*model, {.context = 128});
    if (!engine) return engine.error().message;
    std::string answer;
    for (const auto& piece : engine->ask(text, {.max_tokens = 12})) {
        if (!piece) return piece.error().message;
        answer += *piece;
    }
    return answer;
}
