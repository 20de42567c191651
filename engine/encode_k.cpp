// Blocks of 256 numbers in groups: each group gets its own line, then the groups' scales and offsets become small whole
// numbers times two floats of the block. The whole numbers and the two floats are chosen in turn, each given the other,
// as long as the block's error falls.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "engine/encode_blocks.h"
#include "engine/encode_fit.h"

namespace alia {
namespace {

constexpr int turns = 3;

float half_of(double v) { return to_float(to_f16(float(v))); }

// Eight groups of 32: x = d s q - m o, with s and o in [0, 63].
struct Offsets {
    float d = 0, m = 0;
    int s[8] = {}, o[8] = {};

    Line line(int g) const { return {d * float(s[g]), -m * float(o[g])}; }
};

Group group(const float* x, const float* weight, int g, int n) {
    return {{x + g * n, size_t(n)}, {weight + g * n, size_t(n)}};
}

// The best s and o near those that the lines ask for. Returns the block's error.
float choose(Offsets& f, const Line (&lines)[8], const float* x, const float* weight, int high) {
    float total = 0;
    for (int g = 0; g < 8; ++g) {
        int s[16], o[16];
        Line line[16];
        float error[16];
        const int s0 = f.d > 0 ? int(std::min(lines[g].scale / f.d, 63.f)) : 0;
        const int o0 = f.m > 0 ? int(std::min(-lines[g].offset / f.m, 63.f)) : 0;
        for (int c = 0; c < 16; ++c) {
            s[c] = std::clamp(s0 - 1 + c % 4, 0, 63);
            o[c] = std::clamp(o0 - 1 + c / 4, 0, 63);
            line[c] = {f.d * float(s[c]), -f.m * float(o[c])};
        }
        fit_errors(group(x, weight, g, 32), 0, high, line, error);
        const auto best = std::min_element(error, error + 16) - error;
        f.s[g] = s[best];
        f.o[g] = o[best];
        total += error[best];
    }
    return total;
}

// d and m by least squares, given what q are now; false where the equations have no answer.
bool solve(Offsets& f, const float* x, const float* weight, int high) {
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;  // a = s q, b = -o
    for (int g = 0; g < 8; ++g) {
        const Line line = f.line(g);
        const double b = -f.o[g];
        for (int k = 32 * g; k < 32 * g + 32; ++k) {
            const double w = weight[k], a = f.s[g] * nearest(x[k], line, 0, high);
            aa += w * a * a, ab += w * a * b, bb += w * b * b;
            xa += w * a * x[k], xb += w * b * x[k];
        }
    }
    const double determinant = aa * bb - ab * ab;
    if (bb == 0 && aa > 0) {
        f.d = half_of(xa / aa);
        return f.d > 0;
    }
    if (determinant <= 1e-9 * aa * bb) return false;
    f.d = half_of((xa * bb - xb * ab) / determinant);
    f.m = half_of((xb * aa - xa * ab) / determinant);
    return f.d > 0 && f.m >= 0;
}

Offsets fit(const float* x, const float* weight, int high) {
    Line lines[8];
    float scale = 0, offset = 0;
    for (int g = 0; g < 8; ++g) {
        lines[g] = fit_line(group(x, weight, g, 32), high, Offset::not_positive);
        scale = std::max(scale, lines[g].scale);
        offset = std::max(offset, -lines[g].offset);
    }
    Offsets best, f;
    f.d = half_of(scale / 63);
    f.m = half_of(offset / 63);
    float least = std::numeric_limits<float>::infinity();
    for (int turn = 0; turn < turns; ++turn) {
        const float error = choose(f, lines, x, weight, high);
        if (error >= least) break;
        least = error;
        best = f;
        if (!solve(f, x, weight, high)) break;
    }
    return best;
}

// d[2], m[2], s[12]: six-bit s and o, as k_scale and k_least read them.
void put_offsets(const Offsets& f, uint8_t* out) {
    put_half(out, to_f16(f.d));
    put_half(out + 2, to_f16(f.m));
    uint8_t* packed = out + 4;
    for (int g = 0; g < 4; ++g) {
        packed[g] = uint8_t(f.s[g] | (f.s[g + 4] >> 4) << 6);
        packed[g + 4] = uint8_t(f.o[g] | (f.o[g + 4] >> 4) << 6);
        packed[g + 8] = uint8_t((f.s[g + 4] & 15) | (f.o[g + 4] & 15) << 4);
    }
}

// Q4_K and Q5_K: fifth bits, then nibbles of groups in pairs.
template <int bits>
void encode_offsets(const float* x, const float* weight, uint8_t* out) {
    constexpr int high = (1 << bits) - 1, fifths = 16, nibbles = bits == 5 ? 48 : 16;
    const Offsets f = fit(x, weight, high);
    put_offsets(f, out);
    std::fill(out + 16, out + nibbles + 128, uint8_t(0));
    for (int g = 0; g < 8; ++g) {
        for (int k = 0; k < 32; ++k) {
            const int q = nearest(x[32 * g + k], f.line(g), 0, high);
            uint8_t& low = out[nibbles + g / 2 * 32 + k];
            low = uint8_t(low | (q & 15) << g % 2 * 4);
            if (bits == 5) out[fifths + k] = uint8_t(out[fifths + k] | (q >> 4) << g);
        }
    }
}

// Sixteen groups of 16: x = d s q, with s in [-128, 127] and q in [-32, 31].
struct Scales {
    float d = 0;
    int s[16] = {};

    Line line(int g) const { return {d * float(s[g]), 0}; }
};

float choose(Scales& f, const float (&scales)[16], const float* x, const float* weight) {
    float total = 0;
    for (int g = 0; g < 16; ++g) {
        int s[16];
        Line line[16];
        float error[16];
        const int near = f.d == 0 ? 0 : int(std::lround(std::clamp(scales[g] / f.d, -128.f, 127.f)));
        for (int c = 0; c < 16; ++c) {
            s[c] = std::clamp(near - 8 + c, -128, 127);
            line[c] = {f.d * float(s[c]), 0};
        }
        fit_errors(group(x, weight, g, 16), -32, 31, line, error);
        const auto best = std::min_element(error, error + 16) - error;
        f.s[g] = s[best];
        total += error[best];
    }
    return total;
}

Scales fit(const float* x, const float* weight) {
    float scales[16], most = 0;
    for (int g = 0; g < 16; ++g) {
        scales[g] = fit_scale(group(x, weight, g, 16), -32, 31);
        if (std::fabs(scales[g]) > std::fabs(most)) most = scales[g];
    }
    Scales best, f;
    f.d = half_of(most / -128);
    float least = std::numeric_limits<float>::infinity();
    for (int turn = 0; turn < turns; ++turn) {
        const float error = choose(f, scales, x, weight);
        if (error >= least) break;
        least = error;
        best = f;
        double aa = 0, xa = 0;
        for (int k = 0; k < 256; ++k) {
            const double a = f.s[k / 16] * nearest(x[k], f.line(k / 16), -32, 31);
            aa += weight[k] * a * a, xa += weight[k] * a * x[k];
        }
        if (aa == 0) break;
        f.d = half_of(xa / aa);
    }
    return best;
}

}  // namespace

void encode_q4_k(const float* x, const float* weight, uint8_t* out) { encode_offsets<4>(x, weight, out); }
void encode_q5_k(const float* x, const float* weight, uint8_t* out) { encode_offsets<5>(x, weight, out); }

void encode_q6_k(const float* x, const float* weight, uint8_t* out) {
    const Scales f = fit(x, weight);
    std::fill(out, out + 192, uint8_t(0));
    for (int g = 0; g < 16; ++g) {
        const int half = g / 8, j = g % 8 / 2;
        for (int k = 0; k < 16; ++k) {
            const int l = g % 2 * 16 + k, q = nearest(x[16 * g + k], f.line(g), -32, 31) + 32;
            uint8_t &low = out[half * 64 + j % 2 * 32 + l], &high = out[128 + half * 32 + l];
            low = uint8_t(low | (q & 15) << j / 2 * 4);
            high = uint8_t(high | (q >> 4) << j * 2);
        }
        out[192 + g] = uint8_t(f.s[g]);
    }
    put_half(out + 208, to_f16(f.d));
}

}  // namespace alia
