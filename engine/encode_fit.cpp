// Many candidates are tried at once, one a lane: every loop over lanes has a fixed length, so that compilers make
// vectors of it and the sums keep one order everywhere. A candidate is rounded to q, solved for by weighted least
// squares, and rounded again, which can only lessen its error (Lloyd's method); the best of all ends is taken.
#include "engine/encode_fit.h"

#include <algorithm>
#include <cmath>

namespace alia {
namespace {

constexpr int lanes = 16;
constexpr int rounds = 3;

using Lanes = float[lanes];

// To whole numbers below 2^22 in magnitude.
inline float rounded(float v) { return (v + 12582912.f) - 12582912.f; }
inline float clamped(float v, float low, float high) {
    v = v > low ? v : low;
    return v < high ? v : high;
}
inline float inverse(float v) { return v == 0 ? 0 : 1 / v; }

struct Sums {
    Lanes q = {}, qq = {}, xq = {};  // weighted sums over the group
};

// q of each lane is x inverse + shift, rounded.
void add(Sums& s, Group g, const Lanes& inverses, const Lanes& shifts, float low, float high) {
    for (size_t i = 0; i < g.x.size(); ++i) {
        const float x = g.x[i], w = g.weight[i];
        for (int c = 0; c < lanes; ++c) {
            const float q = rounded(clamped(x * inverses[c] + shifts[c], low, high)), wq = w * q;
            s.q[c] += wq;
            s.qq[c] += wq * q;
            s.xq[c] += wq * x;
        }
    }
}

float farthest(std::span<const float> x) {
    float most = 0;
    for (float v : x)
        if (std::fabs(v) > std::fabs(most)) most = v;
    return most;
}

}  // namespace

int nearest(float x, Line line, int low, int high) {
    return int(rounded(clamped((x - line.offset) * inverse(line.scale), float(low), float(high))));
}

void fit_errors(Group g, int low, int high, std::span<const Line> lines, std::span<float> errors) {
    for (size_t first = 0; first < lines.size(); first += lanes) {
        const size_t count = std::min<size_t>(lanes, lines.size() - first);
        Lanes scale = {}, offset = {}, inverses = {}, sum = {};
        for (size_t c = 0; c < count; ++c) {
            scale[c] = lines[first + c].scale;
            offset[c] = lines[first + c].offset;
            inverses[c] = inverse(scale[c]);
        }
        for (size_t i = 0; i < g.x.size(); ++i) {
            const float w = g.weight[i];
            for (int c = 0; c < lanes; ++c) {
                const float x = g.x[i] - offset[c];
                const float q = rounded(clamped(x * inverses[c], float(low), float(high)));
                const float miss = x - scale[c] * q;
                sum[c] += w * miss * miss;
            }
        }
        std::copy_n(sum, count, errors.begin() + ptrdiff_t(first));
    }
}

float fit_scale(Group g, int low, int high) {
    const float most = farthest(g.x);
    if (most == 0) return 0;
    // The farthest number comes near the range's end, a little inside it or out of reach, on the longer side (even
    // lanes) or on the other.
    Lanes inverses, shifts = {};
    for (int c = 0; c < lanes; ++c) {
        const int end = c % 2 == 0 ? low : high;
        const float reach = float(std::abs(end)) + 0.25f * float(c / 2) - 1.0f;
        inverses[c] = (end < 0 ? -reach : reach) / most;
    }
    Sums s;
    for (int round = 0; round < rounds; ++round) {
        s = {};
        add(s, g, inverses, shifts, float(low), float(high));
        for (int c = 0; c < lanes; ++c) inverses[c] = s.xq[c] == 0 ? 0 : s.qq[c] / s.xq[c];
    }
    int best = 0;
    float gain = -1;  // xq^2 / qq is how much of the sum of squares the fit explains
    for (int c = 0; c < lanes; ++c) {
        const float this_gain = s.qq[c] > 0 ? s.xq[c] * (s.xq[c] / s.qq[c]) : 0;
        if (this_gain > gain) gain = this_gain, best = c;
    }
    return s.qq[best] > 0 ? s.xq[best] / s.qq[best] : 0;
}

Line fit_line(Group g, int high, Offset kind) {
    auto [least, most] = std::minmax_element(g.x.begin(), g.x.end());
    float low = *least;
    if (kind == Offset::not_positive) low = std::min(low, 0.f);
    if (*most <= low) return {0, low};
    const float width = *most - low;

    // Counted from `low`: a narrow group far from zero keeps its digits.
    float above[256], sw = 0, sx = 0;
    for (size_t i = 0; i < g.x.size(); ++i) {
        above[i] = g.x[i] - low;
        sw += g.weight[i], sx += g.weight[i] * above[i];
    }
    g.x = {above, g.x.size()};
    // Both ends of the group, or either of them, come to lie a little beyond the range.
    Lanes inverses, shifts, scale = {}, offset = {}, gain = {};
    for (int c = 0; c < lanes; ++c) {
        inverses[c] = (float(high) + 0.25f * float(c / 2) - 0.75f) / width;
        shifts[c] = c % 2 ? -0.4f : 0.f;
    }
    for (int round = 0; round < rounds; ++round) {
        Sums s;
        add(s, g, inverses, shifts, 0, float(high));
        for (int c = 0; c < lanes; ++c) {
            const float determinant = sw * s.qq[c] - s.q[c] * s.q[c];
            scale[c] = determinant > 0 ? (sw * s.xq[c] - sx * s.q[c]) / determinant : 0;
            offset[c] = sw > 0 ? (sx - scale[c] * s.q[c]) / sw : 0;
            if (kind == Offset::not_positive && offset[c] > -low)
                offset[c] = -low, scale[c] = s.qq[c] > 0 ? (s.xq[c] + low * s.q[c]) / s.qq[c] : 0;
            // Where nearly all weight is on one q, what is left of the sums may be rounding: such a line is none.
            if (!(scale[c] <= width && offset[c] >= -width / 2)) scale[c] = 0;
            // How much of the sum of squares the line explains.
            gain[c] = scale[c] > 0
                          ? 2 * (scale[c] * s.xq[c] + offset[c] * sx) -
                                (scale[c] * (scale[c] * s.qq[c] + 2 * offset[c] * s.q[c]) + offset[c] * offset[c] * sw)
                          : -1;
            inverses[c] = scale[c] > 0 ? 1 / scale[c] : 0;
            shifts[c] = -offset[c] * inverses[c];
        }
    }
    const int best = int(std::max_element(gain, gain + lanes) - gain);
    if (gain[best] < 0) return {width / float(high), low};
    return {scale[best], low + offset[best]};
}

}  // namespace alia
