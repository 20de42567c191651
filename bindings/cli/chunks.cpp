// Texts cut into pieces that a model reads one by one.
#include "bindings/cli/chunks.h"

#include <algorithm>

namespace cli {
namespace {

// The special tokens before `plain`, found by encoding the same text with them.
std::vector<int32_t> prefix_of(alia_model* model, std::string_view text, const std::vector<int32_t>& plain) {
    const std::vector<int32_t> full = encode(model, {{text, ALIA_PART_LITERAL}}, true);
    return {full.begin(), std::search(full.begin(), full.end(), plain.begin(), plain.end())};
}

ChunkedText cut(alia_model* model, const std::string& path, int64_t context) {
    const std::string text = read_file(path);
    const std::vector<int32_t> ids = encode(model, {{text, ALIA_PART_LITERAL}}, false);
    const std::vector<int32_t> prefix = prefix_of(model, text, ids);
    const size_t room = size_t(context) - std::min(prefix.size(), size_t(context));
    if (room == 0) throw Failure("--context: " + std::to_string(context) + " tokens leave no room for text");
    ChunkedText result{path, {}};
    for (size_t at = 0; at < ids.size(); at += room) {
        std::vector<int32_t> chunk = prefix;
        chunk.insert(chunk.end(), ids.begin() + at, ids.begin() + std::min(at + room, ids.size()));
        if (chunk.size() > 1) result.chunks.push_back(std::move(chunk));
    }
    if (result.chunks.empty()) throw Failure(path + ": it holds fewer than two tokens");
    return result;
}

}  // namespace

std::vector<ChunkedText> read_chunks(alia_model* model, const std::vector<std::string>& paths, int64_t context) {
    std::vector<ChunkedText> texts;
    for (const std::string& path : paths) texts.push_back(cut(model, path, context));
    return texts;
}

int64_t count_tokens(const std::vector<ChunkedText>& texts) {
    size_t sum = 0;
    for (const ChunkedText& text : texts)
        for (const std::vector<int32_t>& chunk : text.chunks) sum += chunk.size();
    return int64_t(sum);
}

}  // namespace cli
