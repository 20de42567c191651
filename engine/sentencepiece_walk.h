// A tokenizer.model read by ourselves. The sentencepiece library crashes on hostile files, so this walk comes first and
// refuses whatever the library must not see.
#pragma once
#include <string_view>
#include <vector>

#include "engine/vocabulary.h"

namespace alia {

struct SentencePieceFile {
    enum class Type : uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
    struct Piece {
        std::string_view text;  // into the file
        Type type = Type::normal;
        float score = 0;
    };
    std::vector<Piece> pieces;
    std::string_view bos = "<s>", eos = "</s>", unknown_surface;
    bool byte_fallback = false, add_dummy_prefix = true, remove_extra_whitespaces = true;
    bool normalizes = false;  // a table of normalisations (NFC, as a rule) is applied to texts
    size_t growth = 3;        // the most bytes that normalising makes of one
};

// Malformed, truncated, duplicate, unsupported (a model other than BPE; self tests, denormalisers, suffix spaces),
// limit.
SentencePieceFile walk_sentencepiece(std::string_view bytes, std::string_view file);

}  // namespace alia
