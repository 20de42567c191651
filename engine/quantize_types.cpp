// Types by name, and llama.cpp's mixes.
#include "engine/quantize_types.h"

#include <algorithm>

namespace alia {
namespace {

constexpr QuantizeType types[] = {
    {"F32", 0, Format::F32, false},     {"F16", 1, Format::F16, false},    {"BF16", 32, Format::BF16, false},
    {"Q8_0", 7, Format::Q8_0, false},   {"Q4_0", 2, Format::Q4_0, false},  {"Q4_1", 3, Format::Q4_1, false},
    {"Q5_0", 8, Format::Q5_0, false},   {"Q5_1", 9, Format::Q5_1, false},  {"Q4_K_M", 15, Format::Q4_K, true},
    {"Q5_K_M", 17, Format::Q5_K, true}, {"Q6_K", 18, Format::Q6_K, false},
};

// The first and last eighth of the layers, and every third between.
bool more_bits(int64_t layer, int64_t layers) {
    return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

}  // namespace

const QuantizeType* find_quantize_type(std::string_view name) {
    const auto upper = [](char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; };
    const auto* found = std::find_if(std::begin(types), std::end(types), [&](const QuantizeType& t) {
        return std::equal(name.begin(), name.end(), std::string_view(t.name).begin(), std::string_view(t.name).end(),
                          [&](char a, char b) { return upper(a) == b; });
    });
    return found == std::end(types) ? nullptr : found;
}

std::string quantize_type_names() {
    std::string names;
    for (const QuantizeType& t : types) names += (names.empty() ? "" : ", ") + std::string(t.name);
    return names;
}

Format wanted_format(const QuantizeType& type, const MatrixPlace& at) {
    if (info(type.format).n == 1) return type.format;
    const bool head = at.kind == MatrixKind::head || (at.kind == MatrixKind::embedding && at.tied);
    if (head && type.format != Format::Q8_0) return Format::Q6_K;
    if (type.mixed && (at.kind == MatrixKind::v || at.kind == MatrixKind::down) && more_bits(at.layer, at.layers))
        return Format::Q6_K;
    if (at.kind == MatrixKind::down && at.weighted && at.layer < at.layers / 8) {
        if (type.format == Format::Q4_0) return Format::Q4_1;
        if (type.format == Format::Q5_0) return Format::Q5_1;
    }
    return type.format;
}

Format fitting_format(Format wanted, int64_t columns) {
    constexpr std::pair<Format, Format> instead[] = {
        {Format::Q4_K, Format::Q5_0}, {Format::Q5_K, Format::Q5_1}, {Format::Q6_K, Format::Q8_0}};
    for (const auto& [blocks, smaller] : instead)
        if (wanted == blocks && columns % info(blocks).n) wanted = smaller;
    return columns % info(wanted).n ? Format::F16 : wanted;
}

}  // namespace alia
