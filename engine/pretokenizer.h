// Cutting a text into the words within which BPE merges, as the patterns of tokenizer files say.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace alia {

enum class Split : uint8_t {
    digits,     // every number (\p{N}) by itself, the rest between them in one piece
    numbers,    // runs of numbers, and the rest between them
    gpt2,       // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
    llama3,     // (?i:'s|...|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
    metaspace,  // before every U+2581
};

// The published spelling of the two regular expressions above.
extern const std::string_view gpt2_pattern, llama3_pattern;

// End of the piece that begins at `at` < text.size(), where an earlier piece ended or the text began. Bytes that are
// not UTF-8 count as characters that are neither letter nor number nor space.
size_t split_end(Split, std::string_view text, size_t at);

// Calls piece(std::string_view) for the pieces of each split within those of the splits before it.
template <class F>
void split_all(const std::vector<Split>& splits, size_t step, std::string_view text, F&& piece) {
    if (step == splits.size()) return piece(text);
    for (size_t at = 0; at < text.size();) {
        const size_t end = split_end(splits[step], text, at);
        split_all(splits, step + 1, text.substr(at, end - at), piece);
        at = end;
    }
}

}  // namespace alia
