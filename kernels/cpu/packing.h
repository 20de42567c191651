// How quantised weights are packed for products with 8-bit activations: sixteen rows side by side, one a lane.
//
// A weight is scale * (q - offset) + least, q an unsigned number of few bits; scale and least are shared by a group of
// 16 or 32. A tile holds sixteen rows; along K it is a sequence of the format's blocks, each
//     d[16] and, where there is one, m[16]: halves or floats
//     small[k][16]: the bytes of a block's small scales
//     for every 32 numbers: planes of q, `bits` vectors of 64 bytes
// Operand i of 32 numbers is the numbers 4 i .. 4 i + 3 as bytes. A plane of 1, 2, 4 or 8 bits is as many vectors of
// four bytes a row: operand i in vector i p / 8, from bit i p % 8 of each byte. Other widths are two planes, the low
// bits first. Rows that fill up the last tile are zero.
#pragma once
#include "kernels/cpu/simd.h"

namespace alia {
namespace {

enum class Small { none, pairs_of_four, pairs_of_six, signed_eight };

// Bits, numbers that share a scale, what is taken off q, and the small scales of a block; `wide` is the bytes of d and
// m.
template <int b, int g, int o, bool m = false, Small s = Small::none, bool l = false>
struct Form {
    static constexpr int bits = b, group = g, offset = o, wide = 2;
    static constexpr bool has_least = m, levels = l;
    static constexpr Small small = s;
};

// Formats that have none are multiplied as floats.
template <class F>
struct FormOf {
    static constexpr int bits = 0;
};
template <>
struct FormOf<Q8_0> : Form<8, 32, 128> {};
template <>
struct FormOf<Q4_0> : Form<4, 32, 8> {};
template <>
struct FormOf<Q4_1> : Form<4, 32, 0, true> {};
template <>
struct FormOf<Q5_0> : Form<5, 32, 16> {};
template <>
struct FormOf<Q5_1> : Form<5, 32, 0, true> {};
template <>
struct FormOf<Q2_K> : Form<2, 16, 0, true, Small::pairs_of_four> {};
template <>
struct FormOf<Q3_K> : Form<3, 16, 4, false, Small::signed_eight> {};
template <>
struct FormOf<Q4_K> : Form<4, 32, 0, true, Small::pairs_of_six> {};
template <>
struct FormOf<Q5_K> : Form<5, 32, 0, true, Small::pairs_of_six> {};
template <>
struct FormOf<Q6_K> : Form<6, 16, 32, false, Small::signed_eight> {};
template <>
struct FormOf<IQ4_NL> : Form<4, 32, 128, false, Small::none, true> {};
template <>
struct FormOf<IQ4_XS> : Form<4, 32, 128, false, Small::signed_eight, true> {};
template <>
struct FormOf<I8> : Form<8, 32, 128> {
    static constexpr int wide = 4;
};
template <>
struct FormOf<U8> : Form<8, 32, 0, true> {
    static constexpr int wide = 4;
};

// iq4_levels + 128.
constexpr uint8_t levels_128[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};

// A reader of blocks for `decode` whose values keep apart what the format multiplies and adds: a weight comes out as
// d q, d q + m, d s q or d s q - m t.
struct Apart {
    const uint8_t* p;

    struct Real {
        int32_t v;
    };
    struct Half {  // or a float, as the block has it
        uint32_t bits;
        friend struct Once operator*(Half d, Real q);
    };

    int32_t u8(int i) const { return p[i]; }
    int32_t i8(int i) const { return int8_t(p[i]); }
    Half half(int i) const { return {uint32_t(p[i] | p[i + 1] << 8)}; }
    Half single(int i) const {
        uint32_t bits;
        memcpy(&bits, p + i, 4);
        return {bits};
    }
    static Real real(int32_t q) { return {q}; }
    static Real pick(const int8_t (&)[16], int32_t q) { return {q}; }
};
struct Once {  // d q, or the d s of a group
    uint32_t d;
    int32_t q;
};
struct Apiece {  // a weight
    uint32_t d = 0, m = 0;
    int32_t s = 0, t = 0, q = 0;
};
inline Once operator*(Apart::Half d, Apart::Real q) { return {d.bits, q.v}; }
inline Apiece operator*(Once s, Apart::Real q) { return {.d = s.d, .s = s.q, .q = q.v}; }
inline Apiece operator+(Once x, Apart::Half m) { return {.d = x.d, .m = m.bits, .q = x.q}; }
inline Apiece operator-(Apiece x, Once least) { return {.d = x.d, .m = least.d, .s = x.s, .t = least.q, .q = x.q}; }
inline Apiece apiece(Apiece x) { return x; }
inline Apiece apiece(Once x) { return {.d = x.d, .q = x.q}; }

template <class F>
struct Packing : FormOf<F> {
    using Form = FormOf<F>;
    static constexpr int groups = F::n / Form::group, wide = Form::wide;
    static constexpr int small_bytes = Form::small == Small::none           ? 0
                                       : Form::small == Small::pairs_of_six ? 12
                                                                            : groups;
    static constexpr int head = wide * (1 + Form::has_least) + small_bytes;           // bytes a row
    static constexpr int row_block = head + F::n / 8 * Form::bits;                    // bytes a row and block
    static constexpr int block = lanes * row_block, planes = lanes * 4 * Form::bits;  // bytes a tile; of 32 numbers

    // Scale and least of every group of a tile's block.
    static void scales(const uint8_t* p, Floats* scale, Floats* least) {
        const Floats d = wide_number(p);
        const uint8_t* small = p + lanes * wide * (1 + Form::has_least);
        auto byte = [&](int i) { return widen(small + i * lanes); };
        if constexpr (Form::small == Small::none) {
            scale[0] = d;
            if constexpr (Form::has_least) least[0] = wide_number(p + lanes * wide);
        } else if constexpr (Form::small == Small::signed_eight) {
            for (int g = 0; g < groups; ++g) scale[g] = d * load_as(reinterpret_cast<const int8_t*>(small + g * lanes));
        } else {
            const Floats m = broadcast(0.f) - wide_number(p + lanes * wide);
            for (int g = 0; g < groups; ++g) {
                Ints s = byte(g), t;
                if constexpr (Form::small == Small::pairs_of_four) {
                    t = s >> 4;
                    s = s & 15;
                } else {  // the upper two bits of eight bytes belong to t, whose low nibbles lie in four more
                    t = ((byte(8 + g / 2) >> g % 2 * 4) & 15) | (s >> 6) << 4;
                    s = s & 63;
                }
                scale[g] = d * real(s);
                least[g] = m * real(t);
            }
        }
    }

    // The numbers 4 i .. 4 i + 3 of 32 as bytes.
    static Ints operand(const uint8_t* p, int i) {
        Ints q = take<low>(p, i, 0);
        if constexpr (high > 0) q = q | take<high>(p + low * 4 * lanes, i, low);
        return Form::levels ? pick(levels_128, q) : q;
    }

    struct Row {
        uint8_t q[F::n], s[F::n], t[F::n];  // s and t for every number: what loops over k can be made vectors
        uint32_t d, m;
    };
    // Apart from `pack`, so that compilers make vectors of it.
    __attribute__((noinline)) static void split(const uint8_t* __restrict block, Row* __restrict row) {
        F::decode(
            Apart{block}, [&](int k, auto x) __attribute__((always_inline)) {
                const Apiece a = apiece(x);
                row->q[k] = uint8_t(a.q + (Form::levels ? 0 : Form::offset));
                if constexpr (Form::small != Small::none) row->s[k] = uint8_t(a.s), row->t[k] = uint8_t(a.t);
                row->d = a.d, row->m = a.m;
            });
    }

    // One row's block to row `r` of a tile's block.
    static void pack(const uint8_t* block, uint8_t* tile, int r) {
        Row row;
        split(block, &row);
        memcpy(tile + r * wide, &row.d, wide);
        if constexpr (Form::has_least) memcpy(tile + (lanes + r) * wide, &row.m, wide);
        uint8_t* small = tile + lanes * wide * (1 + Form::has_least) + r;
        if constexpr (Form::small != Small::none)
            for (int g = 0; g < groups; ++g) {
                const int k = g * Form::group;
                const int of_t = Form::small == Small::pairs_of_four ? row.t[k] << 4 : row.t[k] >> 4 << 6;
                small[g * lanes] = uint8_t(row.s[k] | (Form::small == Small::signed_eight ? 0 : of_t));
            }
        if constexpr (Form::small == Small::pairs_of_six)
            for (int g = 0; g < groups; g += 2)
                small[(8 + g / 2) * lanes] = uint8_t((row.t[g * 32] & 15) | row.t[g * 32 + 32] << 4);
        for (int b = 0; b < F::n / 32; ++b) {
            uint8_t* to = tile + lanes * head + b * planes + 4 * r;
            put<low>(row.q + 32 * b, 0, to);
            if constexpr (high > 0) put<high>(row.q + 32 * b, low, to + low * 4 * lanes);
        }
    }

  private:
    static Floats wide_number(const uint8_t* p) {
        if constexpr (wide == 4)
            return load(reinterpret_cast<const float*>(p));
        else
            return load_as(reinterpret_cast<const f16*>(p));
    }

    static constexpr int low = Form::bits == 8 ? 8 : Form::bits >= 4 ? 4 : 2, high = Form::bits - low;
    static constexpr uint32_t mask(int bits) { return 0x01010101u * uint32_t((1 << bits) - 1); }

    // Operand i of a plane of `bits`, moved to bit `to` of each byte.
    template <int bits>
    static Ints take(const uint8_t* plane, int i, int to) {
        const Ints v = load_bytes(plane + i * bits / 8 * 4 * lanes);
        const int shift = i * bits % 8 - to;
        return (shift > 0 ? v >> shift : v << -shift) & int32_t(mask(bits) << to);
    }

    // Bits from `from` on of one row's 32 numbers, to its four bytes in each vector.
    template <int bits>
    static void put(const uint8_t* q, int from, uint8_t* plane) {
        for (int v = 0; v < bits; ++v) {
            uint32_t bytes = 0, four;
            for (int c = 0; c < 8 / bits; ++c) {
                memcpy(&four, q + 4 * (v * 8 / bits + c), 4);
                bytes |= (four >> from & mask(bits)) << c * bits;
            }
            memcpy(plane + v * 4 * lanes, &bytes, 4);
        }
    }
};

}  // namespace
}  // namespace alia
