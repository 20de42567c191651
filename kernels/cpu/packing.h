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

// A reader for `decode` of sixteen rows' blocks, interleaved byte by byte, whose values keep apart what the format
// multiplies and adds. All of that but d and m fits bytes.
struct Apart {
    const uint8_t* p;

    struct Real {
        Bytes v;
    };
    struct Half {
        Bytes low, high;
    };

    Bytes u8(int i) const { return load_sixteen(p + i * lanes); }
    Bytes i8(int i) const { return u8(i); }
    Half half(int i) const { return {u8(i), u8(i + 1)}; }
    static Real real(Bytes q) { return {q}; }
    static Real pick(const int8_t (&)[16], Bytes q) { return {q}; }
};
struct Once {  // d q, or the d s of a group
    Apart::Half d;
    Bytes q;
};
struct Scaled {  // d s q
    Apart::Half d;
    Bytes s, q;
};
struct Raised {  // d q + m
    Apart::Half d, m;
    Bytes q;
};
struct Lowered {  // d s q - m t
    Apart::Half d, m;
    Bytes s, t, q;
};
inline Once operator*(Apart::Half d, Apart::Real q) { return {d, q.v}; }
inline Scaled operator*(Once s, Apart::Real q) { return {s.d, s.q, q.v}; }
inline Raised operator+(Once x, Apart::Half m) { return {x.d, m, x.q}; }
inline Lowered operator-(Scaled x, Once least) { return {x.d, least.d, x.s, least.q, x.q}; }

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
    static inline __attribute__((always_inline)) Ints operand(const uint8_t* p, int i) {
        Ints q = take<low>(p, i, 0);
        if constexpr (high > 0) q = q | take<high>(p + low * 4 * lanes, i, low);
        return Form::levels ? pick(levels_128, q) : q;
    }

    // The blocks that lie `at` bytes into up to sixteen rows, to a tile's block.
    static void pack(uint8_t* tile, const void* const* rows, int filled, int64_t at) {
        if constexpr (Form::bits == 8)
            pack_bytes(tile, rows, filled, at);
        else
            pack_planes(tile, rows, filled, at);
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
    static inline __attribute__((always_inline)) Ints take(const uint8_t* plane, int i, int to) {
        const Ints v = load_bytes(plane + i * bits / 8 * 4 * lanes);
        const int shift = i * bits % 8 - to;
        return (shift > 0 ? v >> shift : v << -shift) & int32_t(mask(bits) << to);
    }

    // Bytes need no more than their places, and the offset, which is 0 or 128.
    static void pack_bytes(uint8_t* tile, const void* const* rows, int filled, int64_t at) {
        static_assert(Form::small == Small::none && head + 32 == F::bytes);
        if (filled < lanes) memset(tile, 0, block);
        for (int r = 0; r < filled; ++r) {
            const uint8_t* from = static_cast<const uint8_t*>(rows[r]) + at;
            for (int i = 0; i < head; i += wide) memcpy(tile + i * lanes + r * wide, from + i, wide);
            for (int i = 0; i < 8; ++i) {
                uint32_t four;
                memcpy(&four, from + head + 4 * i, 4);
                four ^= 0x01010101u * Form::offset;
                memcpy(tile + head * lanes + (i * lanes + r) * 4, &four, 4);
            }
        }
    }

    // The heads of sixteen rows' blocks; s and t for every group.
    struct Heads {
        Apart::Half d, m;
        Bytes s[groups], t[groups];

        void take(int, const Once& x) { d = x.d; }
        void take(int, const Raised& x) { d = x.d, m = x.m; }
        void take(int g, const Scaled& x) { d = x.d, s[g] = x.s; }
        void take(int g, const Lowered& x) { d = x.d, m = x.m, s[g] = x.s, t[g] = x.t; }
    };

    static void pack_planes(uint8_t* tile, const void* const* rows, int filled, int64_t at) {
        alignas(64) uint8_t bytes[(F::bytes + 3) / 4 * 4 * lanes], q[F::n * lanes];
        transpose(bytes, rows, filled, at);
        Heads heads{};
        F::decode(
            Apart{bytes}, [&](int k, const auto& x) __attribute__((always_inline)) {
                store(q + k * lanes, Form::levels ? x.q : x.q + Form::offset);
                if (k % Form::group == 0) heads.take(k / Form::group, x);
            });
        uint8_t* to = tile;
        auto write = [&](Bytes x) {
            store(to, x);
            to += lanes;
        };
        auto write_half = [&](Apart::Half h) {
            store_pairs(to, h.low, h.high);
            to += 2 * lanes;
        };
        write_half(heads.d);
        if constexpr (Form::has_least) write_half(heads.m);
        if constexpr (Form::small == Small::signed_eight)
            for (const Bytes& s : heads.s) write(s);
        if constexpr (Form::small == Small::pairs_of_four)
            for (int g = 0; g < groups; ++g) write(heads.s[g] | heads.t[g] << 4);
        if constexpr (Form::small == Small::pairs_of_six) {
            for (int g = 0; g < groups; ++g) write(heads.s[g] | heads.t[g] >> 4 << 6);
            for (int g = 0; g < groups; g += 2) write((heads.t[g] & 15) | heads.t[g + 1] << 4);
        }
        for (int b = 0; b < F::n / 32; ++b, to += planes) {
            put<low>(q + 32 * b * lanes, 0, to);
            if constexpr (high > 0) put<high>(q + 32 * b * lanes, low, to + low * 4 * lanes);
        }
    }

    // bytes[i][r] = byte at + i of row r, for a whole block; 0 for rows that are not there.
    static void transpose(uint8_t* bytes, const void* const* rows, int filled, int64_t at) {
        auto sixteen = [&](int first, auto skip) {  // bytes [first + skip, first + 16)
            Bytes x[lanes];
            for (int r = 0; r < lanes; ++r)
                x[r] = r < filled ? load_sixteen(static_cast<const uint8_t*>(rows[r]) + at + first) : Bytes{};
            alia::transpose(x);
            for (int i = skip; i < lanes; ++i) store(bytes + (first + i) * lanes, x[i]);
        };
        constexpr int rest = F::bytes % lanes;
        for (int i = 0; i + lanes <= F::bytes; i += lanes) sixteen(i, std::integral_constant<int, 0>{});
        if constexpr (rest > 0) sixteen(F::bytes - lanes, std::integral_constant<int, lanes - rest>{});
    }

    // Bits from `from` on of sixteen rows' 32 numbers.
    template <int bits>
    static void put(const uint8_t* q, int from, uint8_t* plane) {
        for (int v = 0; v < bits; ++v) {
            Bytes four[4] = {};
            for (int i = 0; i < 4; ++i)
                for (int c = 0; c < 8 / bits; ++c) {
                    const Bytes number = load_sixteen(q + (4 * (v * 8 / bits + c) + i) * lanes);
                    four[i] = four[i] | (number >> from & ((1 << bits) - 1)) << c * bits;
                }
            store_fours(plane + v * 4 * lanes, four);
        }
    }
};

}  // namespace
}  // namespace alia
