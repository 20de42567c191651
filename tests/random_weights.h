// Weights for tests: random bytes of a format that decode to small finite numbers.
#pragma once
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/formats.h"

namespace alia::test {

// [rows][columns], in the format's own layout; the same for the same state of `rng` everywhere.
inline std::vector<uint8_t> random_weights(Format f, int64_t rows, int64_t columns, std::mt19937& rng) {
    const int n = info(f).n, size = info(f).bytes;
    std::vector<uint8_t> bytes(size_t(rows * row_bytes(f, columns)));
    std::vector<float> block(static_cast<size_t>(n));
    for (size_t b = 0; b < bytes.size(); b += size_t(size)) {
        bool small;
        do {
            for (int i = 0; i < size; ++i) bytes[b + size_t(i)] = uint8_t(rng());
            decode_row(f, &bytes[b], n, block.data());
            small = std::all_of(block.begin(), block.end(), [](float x) { return std::fabs(x) < 8; });
        } while (!small);
    }
    return bytes;
}

}  // namespace alia::test
