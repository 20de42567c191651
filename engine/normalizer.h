// What a tokenizer file does to a text before splitting it.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer.h"

namespace alia {

struct Normalizer {
    struct Step {
        enum class Kind : uint8_t { prepend, replace, nfc } kind;
        std::string from = {}, to = {};  // prepend: `to`
    };
    std::vector<Step> steps;

    bool empty() const { return steps.empty(); }
    // `origins`, if given, becomes the bytes of `text` that each byte of the result came from.
    std::string apply(std::string_view text, std::vector<TextRange>* origins = nullptr) const;
};

}  // namespace alia
