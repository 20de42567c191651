// Weights packed in tiles of sixteen rows, one row a lane, and their products with f32 activations.
//
// A tile holds, block by block along K, the blocks of its rows interleaved by units (simd.h, Many); the rows that fill
// up the last tile are zero. Each lane adds its products in order of K, a fresh sum for every `run` numbers, so one row
// of x gives the same bits as many.
#pragma once
#include "kernels/cpu/simd.h"
#include "kernels/cpu/threads.h"
#include "kernels/ops.h"

namespace alia {
namespace {

constexpr int run = 256;                 // numbers of K that one partial sum covers; a multiple of every format's block
constexpr int token_group = 128;         // rows of x that share one decoding of a tile
constexpr int rows_at_once = width / 2;  // whose sums stay in registers

inline int64_t tiles(int64_t rows) { return (rows + lanes - 1) / lanes; }

inline int64_t packed_bytes(Format f, int64_t rows, int64_t columns) {
    return tiles(rows) * lanes * row_bytes(f, columns);
}

template <class F>
void pack_as(Stream* s, Tensor w, int64_t first, int64_t count, const void* const* rows) {
    const int64_t blocks = w.columns / F::n, row_size = blocks * F::bytes;
    parallel(s, tiles(count), [&](int64_t t) {
        uint8_t* tile = static_cast<uint8_t*>(w.data) + (first + t * lanes) * row_size;
        for (int r = 0; r < lanes; ++r) {
            const bool real_row = t * lanes + r < count;
            const uint8_t* from = real_row ? static_cast<const uint8_t*>(rows[t * lanes + r]) : nullptr;
            for (int64_t u = 0; u < row_size / F::unit; ++u) {
                uint8_t* to = tile + (u * lanes + r) * F::unit;
                if (real_row)
                    memcpy(to, from + u * F::unit, F::unit);
                else
                    memset(to, 0, F::unit);
            }
        }
    });
}

// Numbers [k0, k0 + n) of a tile's rows, decoded.
template <class F>
inline void decode_run(const uint8_t* tile, int64_t k0, int n, Floats* w) {
    for (int k = 0; k < n; k += F::n)
        F::decode(Many<F::unit>{tile + (k0 + k) / F::n * F::bytes * lanes},
                  [&](int i, Floats value) { w[k + i] = value; });
}

// sums[t] += the products of one run with `rows` rows of x at once.
template <int rows>
inline void multiply_run(const Floats* w, int n, const float* x, int64_t stride, Floats* sums) {
    Floats partial[rows];
    for (auto& p : partial) p = broadcast(0.f);
    for (int k = 0; k < n; ++k)
        for (int t = 0; t < rows; ++t) partial[t] = multiply_add(w[k], broadcast(x[t * stride + k]), partial[t]);
    for (int t = 0; t < rows; ++t) sums[t] = sums[t] + partial[t];
}

template <class F>
void linear_as(Stream* s, Tensor y, Tensor x, Tensor w) {
    const int64_t row_size = row_bytes(w.format, w.columns), x_stride = x.stride / int64_t(sizeof(float));
    parallel(s, tiles(w.rows), [&](int64_t t) {
        const uint8_t* tile = static_cast<const uint8_t*>(w.data) + t * lanes * row_size;
        const int64_t row = t * lanes, filled = w.rows - row < lanes ? w.rows - row : lanes;
        alignas(64) Floats decoded[run], sums[token_group];
        for (int64_t first = 0; first < x.rows; first += token_group) {
            const int n = int(x.rows - first < token_group ? x.rows - first : token_group);
            for (int i = 0; i < n; ++i) sums[i] = broadcast(0.f);
            for (int64_t k = 0; k < w.columns; k += run) {
                const int length = int(w.columns - k < run ? w.columns - k : run);
                decode_run<F>(tile, k, length, decoded);
                int i = 0;
                for (; i + rows_at_once <= n; i += rows_at_once)
                    multiply_run<rows_at_once>(decoded, length, x.row(first + i) + k, x_stride, sums + i);
                for (; i < n; ++i) multiply_run<1>(decoded, length, x.row(first + i) + k, x_stride, sums + i);
            }
            for (int i = 0; i < n; ++i) store(y.row(first + i) + row, sums[i], filled);
        }
    });
}

// y[i] = w[token[i]]: one lane of a tile.
template <class F>
void embed_as(Stream* s, Tensor y, Tensor w, const int32_t* token) {
    const int64_t row_size = row_bytes(w.format, w.columns);
    parallel(s, y.rows, [&](int64_t i) {
        const uint8_t* tile = static_cast<const uint8_t*>(w.data) + token[i] / lanes * lanes * row_size;
        float* out = y.row(i);
        for (int64_t k = 0; k < w.columns; k += F::n)
            F::decode(Many<F::unit>{tile + k / F::n * F::bytes * lanes},
                      [&](int j, Floats value) { out[k + j] = lane(value, token[i] % lanes); });
    });
}

template <class... F>
void pack_any(List<F...>, Stream* s, Tensor w, int64_t first, int64_t count, const void* const* rows) {
    static constexpr decltype(&pack_as<F32>) table[] = {&pack_as<F>...};
    table[int(w.format)](s, w, first, count, rows);
}
template <class... F>
void linear_any(List<F...>, Stream* s, Tensor y, Tensor x, Tensor w) {
    static constexpr decltype(&linear_as<F32>) table[] = {&linear_as<F>...};
    table[int(w.format)](s, y, x, w);
}
template <class... F>
void embed_any(List<F...>, Stream* s, Tensor y, Tensor w, const int32_t* token) {
    static constexpr decltype(&embed_as<F32>) table[] = {&embed_as<F>...};
    table[int(w.format)](s, y, w, token);
}

void pack(Stream* s, Tensor w, int64_t first, int64_t count, const void* const* rows) {
    pack_any(Formats{}, s, w, first, count, rows);
}
void linear(Stream* s, Role, Tensor y, Tensor x, Tensor w) { linear_any(Formats{}, s, y, x, w); }
void embed(Stream* s, Tensor y, Tensor w, const int32_t* token) { embed_any(Formats{}, s, y, w, token); }

}  // namespace
}  // namespace alia
