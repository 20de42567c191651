// Texts cut into pieces that a model reads one by one.
#pragma once
#include "bindings/cli/client.h"

namespace cli {

struct ChunkedText {
    std::string path;
    std::vector<std::vector<int32_t>> chunks;  // each starts with what the tokenizer puts before a text, such as <s>
};

// Each chunk has at most `context` tokens and at least two. A special token that a text spells stays letters.
std::vector<ChunkedText> read_chunks(alia_model*, const std::vector<std::string>& paths, int64_t context);

int64_t count_tokens(const std::vector<ChunkedText>&);

}  // namespace cli
