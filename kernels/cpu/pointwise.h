// Operations that touch each number a few times: norm, rotary embedding, SwiGLU, sums, rows.
#pragma once
#include "kernels/cpu/simd.h"
#include "kernels/cpu/threads.h"
#include "kernels/ops.h"

namespace alia {
namespace {

void norm_row(float* out, const float* in, const float* w, int64_t n, float eps) {
    Floats squares = broadcast(0.f);
    for (int64_t i = 0; i < n; i += lanes) {
        Floats a = i + lanes <= n ? load(in + i) : load(in + i, n - i);
        squares = multiply_add(a, a, squares);
    }
    const Floats scale = broadcast(1 / std::sqrt(sum(squares) / float(n) + eps));
    for (int64_t i = 0; i < n; i += lanes)
        if (i + lanes <= n)
            store(out + i, load(in + i) * scale * load(w + i));
        else
            store(out + i, load(in + i, n - i) * scale * load(w + i, n - i), n - i);
}

void norm(Stream* s, Tensor y, Tensor x, const float* w, float eps) {
    parallel(s, x.rows, [&](int64_t row) { norm_row(y.row(row), x.row(row), w, x.columns, eps); });
}

void add_norm(Stream* s, Tensor y, Tensor x, Tensor a, const float* w, float eps) {
    parallel(s, x.rows, [&](int64_t row) {
        float* sum = x.row(row);
        const float* in = a.row(row);
        for (int64_t i = 0; i < x.columns; ++i) sum[i] += in[i];
        norm_row(y.row(row), sum, w, x.columns, eps);
    });
}

void angles(Stream* s, Tensor y, const int32_t* position, Rope rope) {
    parallel(s, y.rows, [&](int64_t row) {
        const double p = position[row];
        double stretch = 0;  // log of what divides the last frequency but for its exponent
        if (rope.factor > 0 && position[row] >= rope.original)
            stretch = std::log(rope.factor * (p + 1) / rope.original - rope.factor + 1);
        float* out = y.row(row);
        for (int i = 0; i < rope.pairs; ++i) {
            double f = rope.frequency[i];
            if (stretch != 0) f *= std::exp(-stretch * 2 * i / (2 * rope.pairs - 2));
            out[i] = float(std::cos(p * f)) * rope.scale;
            out[i + rope.pairs] = float(std::sin(p * f)) * rope.scale;
        }
    });
}

// A head's two halves, which do not overlap with the angles.
inline void rotate_head(float* __restrict a, const float* __restrict angles, int64_t half) {
    float* __restrict b = a + half;
    const float *c = angles, *n = c + half;
    for (int64_t i = 0; i < half; ++i) {
        const float u = a[i], v = b[i];
        a[i] = u * c[i] - v * n[i];
        b[i] = v * c[i] + u * n[i];
    }
}

void rotate(Stream* s, Tensor x, Tensor angles) {
    const int64_t dim = angles.columns;
    parallel(s, x.rows, [&](int64_t row) {
        for (int64_t d = 0; d < x.columns; d += dim) rotate_head(x.row(row) + d, angles.row(row), dim / 2);
    });
}

void glu(Stream* s, Tensor y, Tensor x) {
    constexpr int64_t piece = 2048;  // columns of a row, which one thread computes in a microsecond or two
    const int64_t pieces = (y.columns + piece - 1) / piece;
    parallel(s, y.rows * pieces, [&](int64_t item) {
        const int64_t row = item / pieces, first = item % pieces * piece;
        const int64_t end = first + piece < y.columns ? first + piece : y.columns;
        const float *gate = x.row(row), *up = gate + y.columns;
        float* out = y.row(row);
        auto swiglu = [](Floats g, Floats u) { return g / (broadcast(1.f) + exp(broadcast(0.f) - g)) * u; };
        int64_t i = first;
        for (; i + lanes <= end; i += lanes) store(out + i, swiglu(load(gate + i), load(up + i)));
        if (const int64_t m = end - i; m > 0) store(out + i, swiglu(load(gate + i, m), load(up + i, m)), m);
    });
}

void rows(Stream* s, Tensor y, Tensor x, const int32_t* index) {
    parallel(s, y.rows, [&](int64_t row) { memcpy(y.row(row), x.row(index[row]), y.columns * sizeof(float)); });
}

void columns(Stream* s, Tensor y, Tensor x, const int32_t* index) {
    parallel(s, y.rows, [&](int64_t row) {
        const float* in = x.row(row);
        float* out = y.row(row);
        for (int64_t j = 0; j < y.columns; ++j) out[j] = in[index[j]];
    });
}

}  // namespace
}  // namespace alia
