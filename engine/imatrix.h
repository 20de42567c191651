// The importance matrix: how strongly texts drive the columns of each weight matrix, which quantisers weigh errors by.
#pragma once
#include "engine/model.h"

namespace alia {

// The matrices that read the same input, under the names that GGUF files give them.
struct Importance {
    std::vector<std::string> names;
    std::vector<double> squares;  // [columns] the sum of x[k]^2 over all tokens
    int64_t tokens = 0;
};

struct ImportanceOptions {
    bool head = false;          // the matrix that gives the logits too
    int threads = 0;            // 0: as the model's
    ProgressCallback progress;  // "tokens"
};

using TokenSpan = std::span<const int32_t>;

// Reads each sequence from an empty context. Errors: invalid_argument (no sequence, an empty one, a token out of
// range), malformed (numbers that are not finite), out_of_memory, cancelled.
std::vector<Importance> measure_importance(const Model&, std::span<const TokenSpan> sequences,
                                           const ImportanceOptions& = {});

// The bytes of a file as llama.cpp's imatrix.gguf: for each name, NAME.in_sum2 [columns] and NAME.counts [1], and where
// they come from.
std::string imatrix_file(std::span<const Importance>, std::span<const std::string> datasets, int64_t sequences,
                         int64_t longest);

}  // namespace alia
