// Random weights for measurements without a model: blocks of any format, whose numbers are small and finite.
#pragma once
#include "kernels/formats.h"
#include "kernels/ops.h"

namespace alia {

// How blocks of a format are drawn: where their bytes are no integers.
struct DrawnBlock {
    enum class Wide : uint8_t { half, brain, single };
    int bytes = 0;      // of a block
    int wides = 0;      // scales and, of float formats, numbers
    int at[4] = {};     // the byte where each begins
    Wide wide[4] = {};  // and what it is
    int e4m3 = 0;       // bytes from here on are E4M3; `bytes`: none
    float size = 0;     // of a wide, about
};

// Of blocks whose numbers have a mean square of about 0.02 squared.
DrawnBlock drawn_block(Format);

// Block `index` of those that follow from a seed.
ALIA_HD inline void draw_block(const DrawnBlock& b, uint64_t seed, uint64_t index, uint8_t* to) {
    auto noise = [&](uint64_t i) {
        return mix((seed ^ index * 0x9E3779B97F4A7C15u) + i * 0xD1B54A32D192ED03u + 0x632BE59BD9B4E019u);
    };
    uint64_t bits = 0;
    for (int i = 0; i < b.bytes; ++i) {
        if (i % 8 == 0) bits = noise(uint64_t(i / 8));
        const uint8_t byte = uint8_t(bits >> i % 8 * 8);
        to[i] = i < b.e4m3 ? byte : uint8_t(byte & 0xBF);  // below 2, so never NaN
    }
    for (int i = 0; i < b.wides; ++i) {
        const uint64_t word = noise(1000 + uint64_t(i));
        const float magnitude = b.size * (0.5f + float(word >> 40) * 0x1p-24f),
                    value = word & 1 ? -magnitude : magnitude;
        const bool single = b.wide[i] == DrawnBlock::Wide::single;
        const uint32_t all = single                                ? as_bits(value)
                             : b.wide[i] == DrawnBlock::Wide::half ? uint32_t(to_f16(value).bits)
                                                                   : uint32_t(to_bf16(value).bits);
        for (int byte = 0; byte < (single ? 4 : 2); ++byte) to[b.at[i] + byte] = uint8_t(all >> 8 * byte);
    }
}

}  // namespace alia
