// How weights lie on the device: in the order in which a warp multiplies them.
//
// A tile holds 16 rows. Along K it is a sequence of spans (64 numbers, or a block of the format where that is longer):
//     d[span / n][16] and, where there is one, m[span / n][16]: halves or floats
//     for every 64 numbers, a chunk: s[64 / group][16], t[64 / group][16]: the small scales, a byte each (Q2_K: both
//     in one); then the planes of q
// In a vector of 16, row r is number r % 8 * 2 + r / 8: lane (g, t) of a warp, g = lane / 4, t = lane % 4, reads rows
// g and g + 8 at once.
//
// Of every 16 numbers j of a chunk, lane (g, t) holds numbers 4 t + e, e < 4, of rows g and g + 8: as pairs
// p = 4 j + 2 (row / 8) + e / 2 of two neighbours, which are registers 0, 2, 1, 3 of an mma's A fragment. The mma's K
// is so a permutation of the numbers: its columns 2 t, 2 t + 1, 2 t + 8, 2 t + 9 are 4 t .. 4 t + 3, and its B
// fragment is eight neighbouring bytes of a row of x. A plane of `bits` has 16 / bits pairs in a word of 32 bits: pair
// p in word p bits / 16, its first number from bit p bits % 16 up, its second 16 bits higher. As 8-bit operands the
// same words are fragments of 32 numbers, whose bytes are numbers 0, 2, 1, 3 of four neighbours. Words lie so that a
// lane reads up to 16 bytes at once and the warp reads without gaps: vectors of four words a lane, one vector after
// another.
//
// Rows that fill up the last tile and numbers that fill up the last span are zero.
#pragma once
#include <alia/ptx.h>

#include "kernels/formats.h"

namespace alia::cuda {

constexpr int tile_rows = 16, chunk = 64;

// What q is: unsigned integers of few bits, signed bytes, indices of iq4_levels, E4M3, or 16 and 32 bits of a float.
enum class Number { few, byte, level, e4m3, brain, half, single };
enum class Small { none, nibbles, bytes, one };  // s and t in a byte; s and t; s alone, signed

// A weight is d s (q - offset) - m t, or d (q - offset) + m without small scales. `wide` is the bytes of d and m.
template <Number number_, int bits_, int group_, int offset_, int wide_, bool least_ = false,
          Small small_ = Small::none>
struct Form {
    static constexpr Number number = number_;
    static constexpr int bits = bits_, group = group_, offset = offset_, wide = wide_;
    static constexpr bool least = least_;
    static constexpr Small small = small_;
};
template <class F>
struct FormOf;
template <>
struct FormOf<F32> : Form<Number::single, 32, chunk, 0, 0> {};
template <>
struct FormOf<F16> : Form<Number::half, 16, chunk, 0, 0> {};
template <>
struct FormOf<BF16> : Form<Number::brain, 16, chunk, 0, 0> {};
template <>
struct FormOf<Q8_0> : Form<Number::byte, 8, 32, 0, 2> {};
template <>
struct FormOf<Q4_0> : Form<Number::few, 4, 32, 8, 2> {};
template <>
struct FormOf<Q4_1> : Form<Number::few, 4, 32, 0, 2, true> {};
template <>
struct FormOf<Q5_0> : Form<Number::few, 5, 32, 16, 2> {};
template <>
struct FormOf<Q5_1> : Form<Number::few, 5, 32, 0, 2, true> {};
template <>
struct FormOf<Q2_K> : Form<Number::few, 2, 16, 0, 2, true, Small::nibbles> {};
template <>
struct FormOf<Q3_K> : Form<Number::few, 3, 16, 4, 2, false, Small::one> {};
template <>
struct FormOf<Q4_K> : Form<Number::few, 4, 32, 0, 2, true, Small::bytes> {};
template <>
struct FormOf<Q5_K> : Form<Number::few, 5, 32, 0, 2, true, Small::bytes> {};
template <>
struct FormOf<Q6_K> : Form<Number::few, 6, 16, 32, 2, false, Small::one> {};
template <>
struct FormOf<IQ4_NL> : Form<Number::level, 4, 32, 0, 2> {};
template <>
struct FormOf<IQ4_XS> : Form<Number::level, 4, 32, 0, 2, false, Small::one> {};
template <>
struct FormOf<I8> : Form<Number::byte, 8, 32, 0, 4> {};
template <>
struct FormOf<U8> : Form<Number::byte, 8, 32, -128, 4, true> {};  // kept as q - 128
template <>
struct FormOf<E4M3> : Form<Number::e4m3, 8, 32, 0, 4> {};

// Where the parts of a tile are. Offsets and sizes in bytes, all multiples of 16.
template <class F>
struct Packed : FormOf<F> {
    using Form = FormOf<F>;
    static constexpr bool scaled = Form::wide > 0;
    static constexpr int span = F::n > chunk ? F::n : chunk, chunks = span / chunk, wides = scaled ? span / F::n : 0;
    static constexpr int groups = chunk / Form::group;                                         // of a chunk
    static constexpr int parts = Form::bits == 32 ? 3 : Form::number == Number::half ? 2 : 1;  // bf16 a number
    static constexpr int low = Form::bits >= 16 ? 16 : Form::bits == 8 ? 8 : Form::bits >= 4 ? 4 : 2;
    static constexpr int high = Form::bits - low;  // bits of the second plane, or 0
    static constexpr int head = wides * tile_rows * Form::wide * (Form::least ? 2 : 1);
    static constexpr int small_vectors = Form::small == Small::none ? 0 : Form::small == Small::bytes ? 2 : 1;
    static constexpr int small_bytes = groups * tile_rows * small_vectors;
    static constexpr int chunk_bytes = small_bytes + chunk * tile_rows / 8 * Form::bits;
    static constexpr int bytes = head + chunks * chunk_bytes;  // of a span
    static constexpr int record = head + chunk_bytes;          // what the product of one chunk reads

    // Word i of a lane's share of a plane, which is as many words as a number has bits there.
    ALIA_HD static int word(int words, int lane, int i) {
        return words >= 4 ? (i / 4 * warp_size + lane) * 16 + i % 4 * 4 : (lane * words + i) * 4;
    }
};

// Formats whose products come in every shape of block; the others take one shape for few rows of x and one for many.
template <class F>
constexpr bool tuned = false;
template <>
constexpr bool tuned<BF16> = true;
template <>
constexpr bool tuned<E4M3> = true;
template <>
constexpr bool tuned<Q8_0> = true;
template <>
constexpr bool tuned<I8> = true;
template <>
constexpr bool tuned<Q4_0> = true;
template <>
constexpr bool tuned<Q4_K> = true;
template <>
constexpr bool tuned<Q6_K> = true;

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A lane's words of one chunk.
template <class F>
struct Words {
    using P = Packed<F>;
    uint32_t low[P::low], high[P::high > 0 ? P::high : 1];

    // From the planes in shared memory.
    __device__ void load(const uint8_t* planes, int lane) {
        load_plane(low, planes, lane);
        if constexpr (P::high > 0) load_plane(high, planes + warp_size * 4 * P::low, lane);
    }

    // Pair p: for numbers of few bits two integers, 16 bits apart.
    __device__ uint32_t pair(int p) const {
        if constexpr (P::low == 16) return low[p];
        constexpr uint32_t mask = ((1u << P::low) - 1) * 0x10001u;
        uint32_t q = (low[p * P::low / 16] >> p * P::low % 16) & mask;
        if constexpr (P::high > 0) {
            constexpr uint32_t more = ((1u << P::high) - 1) * 0x10001u;
            q |= ((high[p * P::high / 16] >> p * P::high % 16) & more) << P::low;
        }
        return q;
    }

    // The A fragment of the chunk's numbers [16 j, 16 j + 16), as the sum of `parts` fragments. All are exact: an
    // integer up to 256 and an E4M3 are a bf16 each, an F16 is two and an F32 is three.
    __device__ void fragments(uint32_t (&a)[P::parts][4], int j) const {
        for (int i = 0; i < 4; ++i) {
            const int p = 4 * j + i, f = i / 2 + i % 2 * 2;
            if constexpr (P::number == Number::brain) {
                a[0][f] = low[p];
            } else if constexpr (P::number == Number::half) {
                float2 v = unpack_f16(low[p]);
                a[0][f] = pack_bf16(v.x, v.y);
                a[1][f] = rest(v, a[0][f]);
            } else if constexpr (P::number == Number::single) {
                float2 v = {as_float(high[p] << 16 | (low[p] & 0xFFFF)),
                            as_float((high[p] & 0xFFFF0000) | low[p] >> 16)};
                a[0][f] = pack_bf16(v.x, v.y);
                a[1][f] = rest(v, a[0][f]);
                a[2][f] = rest(v, a[1][f]);
            } else {
                a[0][f] = to_bf16x2(pair(p));
            }
        }
    }

    // Takes a pair of bf16 off v and gives what is left, rounded.
    __device__ static uint32_t rest(float2& v, uint32_t taken) {
        v = {v.x - as_float(taken << 16), v.y - as_float(taken & 0xFFFF0000)};
        return pack_bf16(v.x, v.y);
    }

    __device__ static uint32_t to_bf16x2(uint32_t q) {
        constexpr uint32_t one = 0x3F803F80;
        if constexpr (P::number == Number::few) {  // 128 + q has q in its last bits
            constexpr uint32_t least = 0x10001u * (0xC300u + P::offset);
            return fma_bf16x2(q | 0x43004300, one, least);
        } else if constexpr (P::number == Number::e4m3) {  // in place it is 2^-120 too small
            return fma_bf16x2((q & 0x007F007F) << 4 | (q & 0x00800080) << 8, 0x7B807B80, 0x80008000);
        } else {
            if constexpr (P::number == Number::level) q = level(q & 15) | level(q >> 16) << 16;
            // 128 + (q & 127), less 128 or, where the sign is set, 256
            return fma_bf16x2((q & 0x007F007F) | 0x43004300, one, (q & 0x00800080) | 0xC300C300);
        }
    }

    // iq4_levels[i] as a byte: the table in two registers.
    __device__ static uint32_t level(uint32_t i) {
        constexpr uint64_t table[] = {0xF6EADDCFBFAD9881, 0x7159453526190D01};
        return uint32_t((i < 8 ? table[0] : table[1]) >> i % 8 * 8) & 255;
    }

  private:
    template <int words>
    __device__ static void load_plane(uint32_t (&to)[words], const uint8_t* plane, int lane) {
        if constexpr (words >= 4) {
            for (int i = 0; i < words; i += 4) {
                const uint4 v = *reinterpret_cast<const uint4*>(plane + P::word(words, lane, i));
                to[i] = v.x, to[i + 1] = v.y, to[i + 2] = v.z, to[i + 3] = v.w;
            }
        } else {
            for (int i = 0; i < words; ++i) to[i] = *reinterpret_cast<const uint32_t*>(plane + P::word(words, lane, i));
        }
    }
};

// Scale and least of group i of chunk c of a span, for rows g and g + 8: a weight is scale (q - offset) + least.
template <class F>
__device__ void scales(float2& scale, float2& least, const uint8_t* head, const uint8_t* small, int c, int i, int g) {
    using P = Packed<F>;
    auto wide = [&](int vector) -> float2 {
        const uint8_t* p = head + vector * tile_rows * P::wide + 2 * g * P::wide;
        if constexpr (P::wide == 4) return *reinterpret_cast<const float2*>(p);
        return unpack_f16(*reinterpret_cast<const uint32_t*>(p));
    };
    auto byte = [&](int vector) {
        return uint32_t(*reinterpret_cast<const uint16_t*>(small + vector * tile_rows + 2 * g));
    };
    const int block = (c * chunk + i * P::group) / F::n;
    scale = wide(block);
    if constexpr (P::least) least = wide(P::wides + block);
    if constexpr (P::small == Small::one) {
        const uint32_t s = byte(i);
        scale = {scale.x * float(int8_t(s)), scale.y * float(int8_t(s >> 8))};
    } else if constexpr (P::small != Small::none) {
        uint32_t s = byte(i), t = s >> 4 & 0x0F0F;
        if constexpr (P::small == Small::bytes) t = byte(P::groups + i);
        if constexpr (P::small == Small::nibbles) s &= 0x0F0F;
        scale = {scale.x * float(s & 255), scale.y * float(s >> 8)};
        least = {-least.x * float(t & 255), -least.y * float(t >> 8)};
    }
}

}  // namespace alia::cuda
