// Float formats, blocks of 32 numbers, and the list of what can be encoded; blocks of 256 are in encode_k.cpp.
#include "engine/encode.h"

#include <algorithm>
#include <cfloat>

#include "engine/encode_blocks.h"
#include "engine/encode_fit.h"

namespace alia {
namespace {

void encode_f32(const float* x, const float*, uint8_t* out) { std::memcpy(out, x, 4); }
void encode_f16(const float* x, const float*, uint8_t* out) { put_half(out, to_f16(*x)); }
void encode_bf16(const float* x, const float*, uint8_t* out) {
    const bf16 h = to_bf16(*x);
    std::memcpy(out, &h.bits, 2);
}

void encode_q8_0(const float* x, const float* weight, uint8_t* out) {
    constexpr int most = 127;  // -128 is left out: products of bytes with signs moved from one to the other need it so
    const f16 scale = to_f16(fit_scale({{x, 32}, {weight, 32}}, -most, most));
    put_half(out, scale);
    for (int k = 0; k < 32; ++k) out[2 + k] = uint8_t(nearest(x[k], {to_float(scale), 0}, -most, most));
}

// Numbers k and k + 16 of 32 share a byte of nibbles; fifth bits, if `high` is given, are a little-endian word.
void put_nibbles(const uint8_t (&q)[32], uint8_t* low, uint8_t* high) {
    for (int k = 0; k < 16; ++k) low[k] = uint8_t((q[k] & 15) | (q[k + 16] & 15) << 4);
    if (!high) return;
    std::fill_n(high, 4, uint8_t(0));
    for (int k = 0; k < 32; ++k) high[k / 8] = uint8_t(high[k / 8] | (q[k] >> 4) << k % 8);
}

// Q4_0 and Q5_0: d[2], fifth bits, nibbles.
template <int bits>
void encode_scaled(const float* x, const float* weight, uint8_t* out) {
    constexpr int half = 1 << (bits - 1);
    const f16 scale = to_f16(fit_scale({{x, 32}, {weight, 32}}, -half, half - 1));
    put_half(out, scale);
    uint8_t q[32];
    for (int k = 0; k < 32; ++k) q[k] = uint8_t(nearest(x[k], {to_float(scale), 0}, -half, half - 1) + half);
    put_nibbles(q, out + (bits == 5 ? 6 : 2), bits == 5 ? out + 2 : nullptr);
}

// Q4_1 and Q5_1: d[2], m[2], fifth bits, nibbles.
template <int bits>
void encode_offset(const float* x, const float* weight, uint8_t* out) {
    constexpr int most = (1 << bits) - 1;
    const Line line = fit_line({{x, 32}, {weight, 32}}, most, Offset::any);
    const f16 scale = to_f16(line.scale), offset = to_f16(line.offset);
    put_half(out, scale);
    put_half(out + 2, offset);
    uint8_t q[32];
    for (int k = 0; k < 32; ++k) q[k] = uint8_t(nearest(x[k], {to_float(scale), to_float(offset)}, 0, most));
    put_nibbles(q, out + (bits == 5 ? 8 : 4), bits == 5 ? out + 4 : nullptr);
}

struct Encoder {
    Format format;
    float largest;
    void (*block)(const float* x, const float* weight, uint8_t* out);
};
constexpr float largest_half = 65504, largest_brain = 0x1.FEp127f;
constexpr Encoder encoders[] = {
    {Format::F32, FLT_MAX, encode_f32},
    {Format::F16, largest_half, encode_f16},
    {Format::BF16, largest_brain, encode_bf16},
    {Format::Q8_0, largest_half, encode_q8_0},
    {Format::Q4_0, largest_half, encode_scaled<4>},
    {Format::Q4_1, largest_half / 2, encode_offset<4>},
    {Format::Q5_0, largest_half, encode_scaled<5>},
    {Format::Q5_1, largest_half / 2, encode_offset<5>},
    {Format::Q4_K, largest_half, encode_q4_k},
    {Format::Q5_K, largest_half, encode_q5_k},
    {Format::Q6_K, largest_half, encode_q6_k},
};

const Encoder* find_encoder(Format format) {
    const auto* found =
        std::find_if(std::begin(encoders), std::end(encoders), [&](const Encoder& e) { return e.format == format; });
    return found == std::end(encoders) ? nullptr : found;
}

}  // namespace

bool can_encode(Format format) { return find_encoder(format) != nullptr; }
float largest_encoded(Format format) { return find_encoder(format)->largest; }

void encode_row(Format format, const float* x, int64_t columns, const float* importance, void* out) {
    const Encoder& encoder = *find_encoder(format);
    const int n = info(format).n, bytes = info(format).bytes;
    float weight[256];
    std::fill_n(weight, n, 1.0f);
    auto* at = static_cast<uint8_t*>(out);
    for (int64_t k = 0; k < columns; k += n, at += bytes) {
        if (importance && n > 1) block_weights(importance + k, n, weight);
        encoder.block(x + k, weight, at);
    }
}

void block_weights(const float* importance, int n, float* weight) {
    float sum = 0;
    for (int k = 0; k < n; ++k) sum += importance[k];
    const float mean = sum / float(n);
    for (int k = 0; k < n; ++k) weight[k] = mean > 0 ? importance[k] / mean + 1e-5f : 1;
}

}  // namespace alia
