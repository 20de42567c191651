// Products of weights that stay floats with float activations, or of bf16 with bf16 where the processor multiplies
// those.
//
// A tile holds sixteen rows, one a lane, interleaved by units (simd.h, Many). Each lane adds its products in order of
// K, a fresh sum for every `run` numbers, whatever the panel or the thread.
#pragma once
#include "kernels/cpu/panels.h"

namespace alia {
namespace {

// The first `count` units of up to sixteen rows side by side; rows that are not there are zero.
template <int unit>
inline void interleave(uint8_t* tile, const void* const* rows, int filled, int64_t count) {
    constexpr int64_t piece = 64 / unit;  // a row's cache line
    if (filled < lanes) memset(tile, 0, size_t(count * lanes * unit));
    for (int64_t u = 0; u < count; u += piece, tile += piece * lanes * unit) {
        const int64_t n = count - u < piece ? count - u : piece;
        for (int r = 0; r < filled; ++r) {
            const auto* from = static_cast<const uint8_t*>(rows[r]) + u * unit;
            for (int64_t i = 0; i < n; ++i) memcpy(tile + (i * lanes + r) * unit, from + i * unit, unit);
        }
    }
}

// What of a row of x and of a tile one step of the product takes: a number each.
template <class F>
struct Singles {
    static constexpr int numbers = 1;  // of K a step
    using X = float;
    static X convert(const float* x, int64_t) { return x[0]; }
    static Floats multiply_add(Floats w, const X* x, Floats sum) { return alia::multiply_add(w, broadcast(*x), sum); }
    using W = Floats;

    static int64_t tile_bytes(int64_t columns) { return lanes * row_bytes_of(columns); }
    static int64_t row_bytes_of(int64_t columns) { return columns / F::n * F::bytes; }
    static constexpr bool plain = F::n == 1 && F::bytes == 4;  // nothing to decode

    static void pack_tile(uint8_t* tile, const void* const* rows, int filled, int64_t columns) {
        interleave<F::unit>(tile, rows, filled, row_bytes_of(columns) / F::unit);
    }
    static void unpack_row(const uint8_t* tile, int r, int64_t columns, float* out) {
        for (int64_t k = 0; k < columns; k += F::n)
            F::decode(Many<F::unit>{tile + k / F::n * F::bytes * lanes},
                      [&](int j, Floats value) { out[k + j] = lane(value, r); });
    }
    // Calls f(j, weights) for steps [k, k + n) of a tile; k is a multiple of the format's block.
    template <class Each>
    static void decode(const uint8_t* tile, int64_t k, int n, Each&& f) {
        tile += k / F::n * F::bytes * lanes;
        for (int j = 0; j < n; j += F::n, tile += F::bytes * lanes)
            F::decode(Many<F::unit>{tile}, [&](int i, Floats value) { f(j + i, value); });
    }
};

// Two bf16 a step; an odd last column has a zero beside it.
struct Pairs {
    static constexpr int numbers = 2;
    struct X {
        bf16 a, b;
    };
    static X convert(const float* x, int64_t left) { return {to_bf16(x[0]), left > 1 ? to_bf16(x[1]) : bf16{0}}; }
    using W = Ints;
    static Floats multiply_add(Ints w, const X* x, Floats sum) { return add_brain_products(sum, w, broadcast_four(x)); }
    static constexpr bool plain = true;

    static int64_t tile_bytes(int64_t columns) { return lanes * 4 * ((columns + 1) / 2); }
    static void pack_tile(uint8_t* tile, const void* const* rows, int filled, int64_t columns) {
        interleave<4>(tile, rows, filled, columns / 2);
        if (columns % 2 == 0) return;
        tile += columns / 2 * 4 * lanes;
        memset(tile, 0, 4 * lanes);
        for (int r = 0; r < filled; ++r)
            memcpy(tile + 4 * r, static_cast<const uint8_t*>(rows[r]) + 2 * (columns - 1), 2);
    }
    static void unpack_row(const uint8_t* tile, int r, int64_t columns, float* out) {
        for (int64_t k = 0; k < columns; ++k) {
            bf16 b;
            memcpy(&b, tile + (k / 2 * lanes + r) * 4 + k % 2 * 2, 2);
            out[k] = to_float(b);
        }
    }
    template <class Each>
    static void decode(const uint8_t* tile, int64_t k, int n, Each&& f) {
        for (int j = 0; j < n; ++j) f(j, load_bytes(tile + (k + j) * 4 * lanes));
    }
};

template <class Step>
struct FloatProducts : Step {
    using Step::tile_bytes;
    using typename Step::W;
    using typename Step::X;
    static constexpr int run = 128 / Step::numbers;  // steps; a multiple of every format's block

    static int64_t steps(int64_t columns) { return (columns + Step::numbers - 1) / Step::numbers; }
    static int64_t scratch_bytes(int64_t rows, int64_t columns) { return rows * steps(columns) * int64_t(sizeof(X)); }

    // total[w][at + t] += steps [0, n) of tile w, which lie at weights + w * apart, times those of row t of a panel.
    template <int size, int tile_count>
    static void multiply_run(const uint8_t* weights, int64_t apart, const X* x, int n,
                             Floats (*const total)[token_group], int64_t at) {
        Floats sum[tile_count * size];
        unroll<tile_count * size>([&](auto i) { sum[i] = broadcast(0.f); });
        for (int j = 0; j < n; ++j) {
            W v[tile_count];
            unroll<tile_count>([&](auto w) { v[w] = load_parts<W>(weights + w * apart + j * int64_t(sizeof(W))); });
            // Rows outside: with tiles outside, GCC keeps every row's number in a register, and sums on the stack.
            unroll<tile_count * size>([&](auto i) __attribute__((always_inline)) {
                constexpr int w = i % tile_count, t = i / tile_count;
                sum[i] = Step::multiply_add(v[w], x + j * size + t, sum[i]);
            });
        }
        for (int w = 0; w < tile_count; ++w)
            for (int t = 0; t < size; ++t) total[w][at + t] = total[w][at + t] + sum[t * tile_count + w];
    }

    template <int tile_count>
    static void multiply_rows(const uint8_t* tile, const X* x, int64_t first, int n, Tensor y, int64_t column,
                              int64_t columns) {
        constexpr int beside = width == 16 ? tile_count : 1;  // tiles whose sums registers hold
        alignas(64) Floats total[tile_count][token_group];
        alignas(64) W decoded[Step::plain ? 1 : tile_count][run];
        for (auto& sums : total) memset(sums, 0, size_t(n) * sizeof sums[0]);
        const int64_t all = steps(columns), bytes = tile_bytes(columns);
        for (int64_t k = 0; k < all; k += run) {
            const int length = int(all - k < run ? all - k : run);
            if constexpr (!Step::plain)
                for (int w = 0; w < tile_count; ++w)
                    Step::decode(tile + w * bytes, k, length, [&](int j, W v) { decoded[w][j] = v; });
            const auto* weights = Step::plain ? tile + k * int64_t(sizeof(W)) : reinterpret_cast<uint8_t*>(decoded);
            const int64_t apart = Step::plain ? bytes : int64_t(sizeof decoded[0]);
            for_panels(n, [&](int64_t i, auto size) {
                const X* from = x + (first + i) * all + k * size;
                for (int w = 0; w < tile_count; w += beside)
                    multiply_run<size, beside>(weights + w * apart, apart, from, length, total + w, i);
            });
        }
        for (int i = 0; i < n; ++i)
            for (int w = 0; w < tile_count; ++w) store_row(y, first + i, column + w * lanes, total[w][i]);
    }

    // One row of x: each weight goes from memory to the product.
    static Floats multiply_row(const uint8_t* tile, const X* x, int64_t columns) {
        Floats total = broadcast(0.f);
        const int64_t all = steps(columns);
        for (int64_t k = 0; k < all; k += run) {
            Floats sum = broadcast(0.f);
            Step::decode(tile, k, int(all - k < run ? all - k : run),
                         [&](int j, W v) { sum = Step::multiply_add(v, x + k + j, sum); });
            total = total + sum;
        }
        return total;
    }

    // One row of x: threads convert it for themselves where their stacks have room, which is sooner done than waiting
    // for one of them and asking its cache.
    static void linear_row(Stream* s, Tensor y, Tensor x, Tensor w, void* scratch) {
        constexpr int64_t most = std::is_same_v<X, float> ? 1 : 16 << 10;
        const int64_t all = steps(x.columns), bytes = tile_bytes(w.columns);
        auto convert = [&](X* to) {
            for (int64_t k = 0; k < all; ++k)
                to[k] = Step::convert(x.row(0) + k * Step::numbers, x.columns - k * Step::numbers);
            return to;
        };
        const X* shared = nullptr;
        if constexpr (std::is_same_v<X, float>)
            shared = x.row(0);
        else if (all > most)
            shared = convert(static_cast<X*>(scratch));
        parallel_threads(s, tiles(w.rows), [&](auto&& each) {
            X memory[most];
            const X* in = shared ? shared : convert(memory);
            each([&](int64_t t) {
                store_row(y, 0, t * lanes,
                          multiply_row(static_cast<const uint8_t*>(w.data) + t * bytes, in, x.columns));
            });
        });
    }

    static void linear(Stream* s, Tensor y, Tensor x, Tensor w, void* scratch) {
        if (x.rows == 1) return linear_row(s, y, x, w, scratch);
        X* const inputs = static_cast<X*>(scratch);
        const int64_t all = steps(x.columns), n = tiles(w.rows), bytes = tile_bytes(w.columns);
        parallel_panels(s, x.rows, [&](int64_t first, int size) {
            X* to = inputs + first * all;
            for (int64_t k = 0; k < all; ++k)
                for (int t = 0; t < size; ++t)
                    to[k * size + t] =
                        Step::convert(x.row(first + t) + k * Step::numbers, x.columns - k * Step::numbers);
        });
        const auto* packed = static_cast<const uint8_t*>(w.data);
        parallel(s, (n + tiles_at_once - 1) / tiles_at_once, [&](int64_t i) {
            const int64_t t = i * tiles_at_once;
            for (int64_t first = 0; first < x.rows; first += token_group) {
                const int group = int(x.rows - first < token_group ? x.rows - first : token_group);
                auto f = n - t < tiles_at_once ? multiply_rows<1> : multiply_rows<tiles_at_once>;
                f(packed + t * bytes, inputs, first, group, y, t * lanes, w.columns);
            }
        });
    }
};

}  // namespace
}  // namespace alia
