// Products of packed quantised weights with activations of 8 bits.
//
// A row of x is quantised in blocks of 16, each with its own scale, to -127..127: half the loss of blocks of 32
// (docs/benchmarks/cpu.md). One NaN makes its block's scale NaN. Sums over a block are exact integers; each lane adds
// them, scaled, in order of K. So neither the panel nor the thread shows in a bit.
#pragma once
#include "kernels/cpu/packing.h"
#include "kernels/cpu/panels.h"

namespace alia {
namespace {

template <class F>
struct ByteProducts {
    using P = Packing<F>;
    static constexpr int x_block = 16, groups = 32 / P::group;  // groups of 32 numbers
    using Sum = Products<P::levels ? 8 : P::bits, x_block / 4>;
    static constexpr int start_factor = Sum::bias - P::offset;  // times the sum of a block of x
    static constexpr int run = 256;                             // numbers whose operands are unpacked at once

    // The quantised rows: four arrays, each in panels.
    struct Inputs {
        int8_t* q;       // [columns / 4][panel][4]
        float* scale;    // [columns / 16][panel]
        int32_t* start;  // [columns / 16][panel] start_factor * sum of q
        float* sum;      // [columns / group][panel] sum of scale * q over a group of the weights
        int64_t columns;

        Inputs(void* scratch, int64_t rows, int64_t columns) : columns(columns) {
            q = static_cast<int8_t*>(scratch);
            scale = reinterpret_cast<float*>(q + rows * columns);
            start = reinterpret_cast<int32_t*>(scale + rows * (columns / x_block));
            sum = reinterpret_cast<float*>(start + rows * (columns / x_block));
        }
        // From row `first` on, and number k.
        const int8_t* q_at(int64_t first, int64_t k, int size) const { return q + first * columns + k * size; }
        template <class T>
        T* at(T* array, int per, int64_t first, int64_t k, int size) const {
            return array + first * (columns / per) + k / per * size;
        }
    };

    static int64_t scratch_bytes(int64_t rows, int64_t columns) {
        return rows * (columns + columns / x_block * 8 + columns / P::group * 4);
    }
    static int64_t tile_bytes(int64_t columns) { return columns / F::n * P::block; }

    static void pack_tile(uint8_t* tile, const void* const* rows, int filled, int64_t columns) {
        for (int64_t b = 0; b < columns / F::n; ++b) P::pack(tile + b * P::block, rows, filled, b * F::bytes);
    }

    // Decodes row `r` of a tile.
    static void unpack_row(const uint8_t* tile, int r, int64_t columns, float* out) {
        Floats scale[P::groups], least[P::groups];
        for (int64_t k = 0; k < columns; k += F::n, tile += P::block) {
            P::scales(tile, scale, least);
            for (int j = 0; j < F::n; j += 4) {
                const Ints four = P::operand(tile + lanes * P::head + j / 32 * P::planes, j % 32 / 4);
                for (int i = 0; i < 4; ++i) {
                    const float q = float((lane(four, r) >> 8 * i & 255) - P::offset);
                    const float product = lane(scale[j / P::group], r) * q;
                    out[k + j + i] = P::has_least ? product + lane(least[j / P::group], r) : product;
                }
            }
        }
    }

    // Numbers [k, k + 32) of row t of a panel.
    static void quantise_32(const float* x, const Inputs& in, int64_t first, int64_t k, int size, int t) {
        float group_sum = 0;
        for (int at = 0; at < 32; at += x_block) {
            const Floats v = load(x + at);
            const float most = largest(magnitudes(v));
            const float inverse = most > 0 ? 127 / most : 0, scale = most / 127;
            int8_t q[x_block];
            round_to_bytes(v * broadcast(inverse), q);
            int8_t* to = in.q + first * in.columns + (k + at) * size + 4 * t;
            int32_t sum = 0;
            for (int i = 0; i < x_block; ++i) sum += q[i];
            for (int i = 0; i < x_block / 4; ++i) memcpy(to + 4 * size * i, q + 4 * i, 4);
            in.at(in.scale, x_block, first, k + at, size)[t] = scale;
            in.at(in.start, x_block, first, k + at, size)[t] = start_factor * sum;
            group_sum = (at % P::group ? group_sum : 0) + scale * float(sum);
            in.at(in.sum, P::group, first, k + at, size)[t] = group_sum;
        }
    }

    // total[t] += 32 numbers of a tile times those of row t of a panel. `operand(i)` gives the weights' bytes.
    template <int size, class Operand>
    static void multiply_32(Operand&& operand, const Floats* scale, const Floats* least, const Inputs& in,
                            int64_t first, int64_t k, Floats* total) {
        const int8_t* q = in.q_at(first, k, size);
        const float* x_scale = in.at(in.scale, x_block, first, k, size);
        const float* x_sum = in.at(in.sum, P::group, first, k, size);
        const int32_t* start = in.at(in.start, x_block, first, k, size);
        unroll<32 / x_block>([&](auto b) __attribute__((always_inline)) {
            Sum sum[size];
            for (int t = 0; t < size; ++t) sum[t].total = broadcast(start_factor ? start[b * size + t] : 0);
            unroll<x_block / 4>([&](auto i) __attribute__((always_inline)) {
                const int at = b * (x_block / 4) + i;
                const Ints w = operand(at);
                for (int t = 0; t < size; ++t) sum[t].template add<i>(w, broadcast_four(q + (at * size + t) * 4));
            });
            const Floats s = scale[b * x_block / P::group];
            for (int t = 0; t < size; ++t)
                total[t] = multiply_add(real(sum[t].total), s * broadcast(x_scale[b * size + t]), total[t]);
        });
        if constexpr (P::has_least)
            for (int g = 0; g < groups; ++g)
                for (int t = 0; t < size; ++t)
                    total[t] = multiply_add(least[g], broadcast(x_sum[g * size + t]), total[t]);
    }

    // One row of x: operands go from memory to the products. Nothing is fetched ahead: processors do that better for
    // what is read in order (docs/benchmarks/cpu.md).
    static Floats multiply_row(const uint8_t* tile, const Inputs& in, int64_t row) {
        Floats total = broadcast(0.f), scale[P::groups], least[P::groups];
        for (int64_t k = 0; k < in.columns; k += F::n, tile += P::block) {
            P::scales(tile, scale, least);
            for (int b = 0; b < F::n / 32; ++b) {
                const uint8_t* planes = tile + lanes * P::head + b * P::planes;
                multiply_32<1>([&](int i) { return P::operand(planes, i); }, scale + b * groups, least + b * groups, in,
                               row, k + 32 * b, &total);
            }
        }
        return total;
    }

    // Operands, scales and leasts of `run` numbers of a tile.
    struct Run {
        Ints operand[run / 4];
        Floats scale[run / P::group], least[run / P::group];

        void unpack(const uint8_t* tile, int64_t k, int length) {
            tile += k / F::n * P::block;
            for (int at = 0; at < length; at += F::n, tile += P::block) {
                P::scales(tile, scale + at / P::group, least + at / P::group);
                for (int b = 0; b < F::n / 32; ++b)
                    for (int i = 0; i < 8; ++i)
                        operand[at / 4 + b * 8 + i] = P::operand(tile + lanes * P::head + b * P::planes, i);
            }
        }
    };

    // A few tiles with rows [first, first + n) of x.
    static void multiply_rows(const uint8_t* tile, int tile_count, const Inputs& in, int64_t first, int n, Tensor y,
                              int64_t column) {
        alignas(64) Floats total[tiles_at_once][token_group];
        alignas(64) Run runs[tiles_at_once];
        for (auto& sums : total) memset(sums, 0, size_t(n) * sizeof sums[0]);
        for (int64_t k = 0; k < in.columns; k += run) {
            const int length = int(in.columns - k < run ? in.columns - k : run);
            for (int w = 0; w < tile_count; ++w) runs[w].unpack(tile + w * tile_bytes(in.columns), k, length);
            for_panels(n, [&](int64_t i, auto size) {
                for (int w = 0; w < tile_count; ++w) {
                    Floats sum[size];
                    memcpy(sum, total[w] + i, sizeof sum);
                    for (int b = 0; b < length / 32; ++b)
                        multiply_32<size>([&](int j) { return runs[w].operand[8 * b + j]; }, runs[w].scale + b * groups,
                                          runs[w].least + b * groups, in, first + i, k + 32 * b, sum);
                    memcpy(total[w] + i, sum, sizeof sum);
                }
            });
        }
        for (int i = 0; i < n; ++i)
            for (int w = 0; w < tile_count; ++w) store_row(y, first + i, column + w * lanes, total[w][i]);
    }

    // Row `first` + t of x, that row of a panel.
    static void quantise_row(Tensor x, const Inputs& in, int64_t first, int size, int t) {
        for (int64_t k = 0; k < x.columns; k += 32) quantise_32(x.row(first + t) + k, in, first, k, size, t);
    }

    // One row of x: threads quantise it for themselves where their stacks have room, which is sooner done than waiting
    // for one of them and asking its cache.
    static void linear_row(Stream* s, Tensor y, Tensor x, Tensor w, void* scratch) {
        constexpr int64_t most = 64 << 10;  // bytes
        const bool own = scratch_bytes(1, x.columns) <= most;
        if (!own) quantise_row(x, Inputs(scratch, 1, x.columns), 0, 1, 0);
        parallel_threads(s, tiles(w.rows), [&](auto&& each) {
            alignas(64) uint8_t memory[most];
            const Inputs in(own ? memory : scratch, 1, x.columns);
            if (own) quantise_row(x, in, 0, 1, 0);
            each([&](int64_t t) {
                const auto* tile = static_cast<const uint8_t*>(w.data) + t * tile_bytes(w.columns);
                store_row(y, 0, t * lanes, multiply_row(tile, in, 0));
            });
        });
    }

    static void linear(Stream* s, Tensor y, Tensor x, Tensor w, void* scratch) {
        if (x.rows == 1) return linear_row(s, y, x, w, scratch);
        const Inputs in(scratch, x.rows, x.columns);
        parallel_panels(s, x.rows, [&](int64_t first, int size) {
            for (int t = 0; t < size; ++t) quantise_row(x, in, first, size, t);
        });
        const auto* packed = static_cast<const uint8_t*>(w.data);
        const int64_t n = tiles(w.rows), bytes = tile_bytes(w.columns);
        parallel(s, (n + tiles_at_once - 1) / tiles_at_once, [&](int64_t i) {
            const int64_t t = i * tiles_at_once;
            const int count = int(n - t < tiles_at_once ? n - t : tiles_at_once);
            for (int64_t first = 0; first < x.rows; first += token_group)
                multiply_rows(packed + t * bytes, count, in, first,
                              int(x.rows - first < token_group ? x.rows - first : token_group), y, t * lanes);
        });
    }
};

}  // namespace
}  // namespace alia
