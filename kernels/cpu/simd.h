// Sixteen lanes of floats or integers on any processor, from the compilers' vector extensions; the only file that may
// hold intrinsics. Included once per instruction set: everything here is private to its table.
#pragma once
#include <cmath>
#include <type_traits>
#if defined(__SSE4_1__)
#include <immintrin.h>
#endif

#include "kernels/formats.h"

namespace alia {
namespace {

constexpr int lanes = 16;

#if defined(__AVX512F__)
constexpr int width = 16;
#elif defined(__AVX2__)
constexpr int width = 8;
#else
constexpr int width = 4;
#endif
constexpr int parts = lanes / width;

typedef float FloatPart __attribute__((vector_size(4 * width)));
typedef int32_t IntPart __attribute__((vector_size(4 * width)));

// Compilers lower a vector wider than the machine's badly, so lanes are an array of vectors that fit.
template <class Part>
struct Vector {
    Part v[parts];
};
using Floats = Vector<FloatPart>;
using Ints = Vector<IntPart>;

template <class P>
inline Vector<P> operator+(Vector<P> a, Vector<P> b) {
    for (int i = 0; i < parts; ++i) a.v[i] += b.v[i];
    return a;
}
template <class P>
inline Vector<P> operator-(Vector<P> a, Vector<P> b) {
    for (int i = 0; i < parts; ++i) a.v[i] -= b.v[i];
    return a;
}
template <class P>
inline Vector<P> operator*(Vector<P> a, Vector<P> b) {
    for (int i = 0; i < parts; ++i) a.v[i] *= b.v[i];
    return a;
}
inline Floats operator/(Floats a, Floats b) {
    for (int i = 0; i < parts; ++i) a.v[i] /= b.v[i];
    return a;
}
inline Ints operator|(Ints a, Ints b) {
    for (int i = 0; i < parts; ++i) a.v[i] |= b.v[i];
    return a;
}
inline Ints operator&(Ints a, int32_t b) {
    for (int i = 0; i < parts; ++i) a.v[i] &= b;
    return a;
}
inline Ints operator+(Ints a, int32_t b) {
    for (int i = 0; i < parts; ++i) a.v[i] += b;
    return a;
}
inline Ints operator-(Ints a, int32_t b) { return a + -b; }
inline Ints operator*(Ints a, int32_t b) {
    for (int i = 0; i < parts; ++i) a.v[i] *= b;
    return a;
}
inline Ints operator<<(Ints a, int bits) {
    for (int i = 0; i < parts; ++i) a.v[i] <<= bits;
    return a;
}
inline Ints operator>>(Ints a, int bits) {
    for (int i = 0; i < parts; ++i) a.v[i] >>= bits;
    return a;
}

inline Floats broadcast(float x) {
    Floats r;
    for (int i = 0; i < parts; ++i) r.v[i] = x - FloatPart{};
    return r;
}
inline Ints broadcast(int32_t x) {
    Ints r;
    for (int i = 0; i < parts; ++i) r.v[i] = x - IntPart{};
    return r;
}

// a * b + c, in one rounding where the instruction set has it.
inline Floats multiply_add(Floats a, Floats b, Floats c) {
#if defined(__AVX512F__)
    c.v[0] = _mm512_fmadd_ps(a.v[0], b.v[0], c.v[0]);
    return c;
#elif defined(__FMA__)
    for (int i = 0; i < parts; ++i) c.v[i] = _mm256_fmadd_ps(a.v[i], b.v[i], c.v[i]);
    return c;
#else
    return a * b + c;
#endif
}

// Sixteen lanes from and to any address, part by part: compilers copy the whole in pieces of other widths, through
// which stores do not reach the loads behind them.
template <class V>
inline V load_parts(const void* p) {
    V r;
    for (int i = 0; i < parts; ++i) memcpy(&r.v[i], static_cast<const char*>(p) + i * sizeof r.v[i], sizeof r.v[i]);
    return r;
}
inline Floats load(const float* p) { return load_parts<Floats>(p); }
inline void store(float* p, Floats a) {
    for (int i = 0; i < parts; ++i) memcpy(p + i * width, &a.v[i], sizeof a.v[i]);
}
// The first n lanes, 0 <= n <= lanes; the others are 0.
inline Floats load(const float* p, int64_t n) {
    Floats r = broadcast(0.f);
    memcpy(&r, p, n * sizeof(float));
    return r;
}
inline void store(float* p, Floats a, int64_t n) { memcpy(p, &a, n * sizeof(float)); }

inline Ints bits(Floats a) {
    Ints r;
    for (int i = 0; i < parts; ++i) r.v[i] = (IntPart)a.v[i];
    return r;
}
inline Floats from_bits(Ints a) {
    Floats r;
    for (int i = 0; i < parts; ++i) r.v[i] = (FloatPart)a.v[i];
    return r;
}
inline Floats real(Ints a) {
    Floats r;
    for (int i = 0; i < parts; ++i) r.v[i] = __builtin_convertvector(a.v[i], FloatPart);
    return r;
}

// Sixteen unsigned bytes, or sixteen unsigned 16-bit words. The masked forms with all lanes set are the plain ones
// without GCC 12's warning about their undefined source.
inline Ints widen(const uint8_t* p) {
    Ints r;
#if defined(__AVX512F__)
    r.v[0] = (IntPart)_mm512_maskz_cvtepu8_epi32(0xFFFF, _mm_loadu_si128((const __m128i*)p));
#elif defined(__AVX2__)
    for (int i = 0; i < parts; ++i)
        r.v[i] = (IntPart)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)(p + 8 * i)));
#elif defined(__SSE4_1__)
    for (int i = 0; i < parts; ++i) {
        int32_t four;
        memcpy(&four, p + 4 * i, 4);
        r.v[i] = (IntPart)_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
    }
#else
    for (int i = 0; i < lanes; ++i) r.v[i / width][i % width] = p[i];
#endif
    return r;
}
inline Ints widen(const uint16_t* p) {
    Ints r;
#if defined(__AVX512F__)
    r.v[0] = (IntPart)_mm512_maskz_cvtepu16_epi32(0xFFFF, _mm256_loadu_si256((const __m256i*)p));
#elif defined(__AVX2__)
    for (int i = 0; i < parts; ++i)
        r.v[i] = (IntPart)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)(p + 8 * i)));
#elif defined(__SSE4_1__)
    for (int i = 0; i < parts; ++i) r.v[i] = (IntPart)_mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i*)(p + 4 * i)));
#else
    for (int i = 0; i < lanes; ++i) r.v[i / width][i % width] = p[i];
#endif
    return r;
}

// Sixteen bytes, a lane each. Sums and products wrap.
struct Bytes {
    typedef uint8_t Part __attribute__((vector_size(lanes)));
    typedef uint16_t Words __attribute__((vector_size(lanes)));
    Part v;
};
inline Bytes operator|(Bytes a, Bytes b) { return {a.v | b.v}; }
inline Bytes operator+(Bytes a, Bytes b) { return {a.v + b.v}; }
inline Bytes operator&(Bytes a, int b) { return {a.v & uint8_t(b)}; }
inline Bytes operator+(Bytes a, int b) { return {a.v + uint8_t(b)}; }
inline Bytes operator-(Bytes a, int b) { return {a.v - uint8_t(b)}; }
inline Bytes operator*(Bytes a, int b) { return {a.v * uint8_t(b)}; }
// In words, as no instruction shifts bytes.
inline Bytes operator>>(Bytes a, int bits) { return Bytes{(Bytes::Part)((Bytes::Words)a.v >> bits)} & 255 >> bits; }
inline Bytes operator<<(Bytes a, int bits) { return Bytes{(Bytes::Part)((Bytes::Words)a.v << bits)} & 255 << bits; }

inline Bytes load_sixteen(const uint8_t* p) {
    Bytes r;
    memcpy(&r, p, sizeof r);
    return r;
}
inline void store(uint8_t* p, Bytes a) { memcpy(p, &a, sizeof a); }
// a[0], b[0], a[1], b[1], ... a[7], b[7], and the same of the upper halves.
inline Bytes riffle_low(Bytes a, Bytes b) {
    return {__builtin_shufflevector(a.v, b.v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)};
}
inline Bytes riffle_high(Bytes a, Bytes b) {
    return {__builtin_shufflevector(a.v, b.v, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)};
}
inline void store_pairs(uint8_t* p, Bytes a, Bytes b) {
    store(p, riffle_low(a, b));
    store(p + lanes, riffle_high(a, b));
}
// x[0][0], x[1][0], x[2][0], x[3][0], x[0][1], ...
inline void store_fours(uint8_t* p, const Bytes (&x)[4]) {
    store_pairs(p, riffle_low(x[0], x[2]), riffle_low(x[1], x[3]));
    store_pairs(p + 2 * lanes, riffle_high(x[0], x[2]), riffle_high(x[1], x[3]));
}
// Lane j of vector i becomes lane i of vector j: each of four riffles moves a bit of the number from one to the other.
inline __attribute__((always_inline)) void transpose(Bytes (&x)[lanes]) {
    for (int round = 0; round < 4; ++round) {
        Bytes y[lanes];
        for (int i = 0; i < lanes / 2; ++i) {
            y[2 * i] = riffle_low(x[i], x[i + lanes / 2]);
            y[2 * i + 1] = riffle_high(x[i], x[i + lanes / 2]);
        }
        for (int i = 0; i < lanes; ++i) x[i] = y[i];
    }
}

// Lane by lane, from a table of sixteen bytes.
inline Ints pick(const uint8_t (&table)[16], Ints index) {
    Ints r;
#if defined(__AVX512F__)
    const __m512i t = _mm512_maskz_broadcast_i32x4(0xFFFF, _mm_loadu_si128((const __m128i*)table));
    r.v[0] = (IntPart)_mm512_shuffle_epi8(t, (__m512i)index.v[0]);
#elif defined(__AVX2__)
    const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)table));
    for (int i = 0; i < parts; ++i) r.v[i] = (IntPart)_mm256_shuffle_epi8(t, (__m256i)index.v[i]);
#elif defined(__SSE4_1__)
    const __m128i t = _mm_loadu_si128((const __m128i*)table);
    for (int i = 0; i < parts; ++i) r.v[i] = (IntPart)_mm_shuffle_epi8(t, (__m128i)index.v[i]);
#else
    const uint8_t* from = reinterpret_cast<const uint8_t*>(&index);
    uint8_t* to = reinterpret_cast<uint8_t*>(&r);
    for (int i = 0; i < 4 * lanes; ++i) to[i] = table[from[i] & 15];
#endif
    return r;
}

// As to_float of formats.h; the sign moves and is multiplied with the rest.
inline Floats half_to_float(Ints h) {
    const Ints value = ((h << 16) >> 3) & int32_t(0x8FFFFFFF);
    Ints r = bits(from_bits(value) * broadcast(as_float(0x77800000)));
    for (int i = 0; i < parts; ++i) r.v[i] |= (IntPart)((value.v[i] & 0x0F800000) == 0x0F800000) & 0x7F800000;
    return from_bits(r);
}
inline Floats brain_to_float(Ints b) { return from_bits(b << 16); }

// Sixteen numbers of a format that is one number a block.
inline Floats load_as(const float* p) { return load(p); }
inline Floats load_as(const bf16* p) { return brain_to_float(widen(reinterpret_cast<const uint16_t*>(p))); }
inline Floats load_as(const f16* p) {
#if defined(__AVX512F__)
    Floats r;
    r.v[0] = (FloatPart)_mm512_maskz_cvtph_ps(0xFFFF, _mm256_loadu_si256((const __m256i*)p));
    return r;
#elif defined(__F16C__)
    Floats r;
    for (int i = 0; i < parts; ++i) r.v[i] = (FloatPart)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8 * i)));
    return r;
#else
    return half_to_float(widen(reinterpret_cast<const uint16_t*>(p)));
#endif
}
// Sixteen signed bytes.
inline Floats load_as(const int8_t* p) {
#if defined(__AVX512F__)
    Ints r;
    r.v[0] = (IntPart)_mm512_maskz_cvtepi8_epi32(0xFFFF, _mm_loadu_si128((const __m128i*)p));
    return real(r);
#else
    return real((widen(reinterpret_cast<const uint8_t*>(p)) << 24) >> 24);
#endif
}

// To the nearest integer, ties to even; |a| <= 127. 1.5 * 2^23 leaves it in the lowest bits.
inline void round_to_bytes(Floats a, int8_t* to) {
    const Ints r = bits(a + broadcast(12582912.f));
    for (int i = 0; i < lanes; ++i) to[i] = int8_t(r.v[i / width][i % width]);
}

// Sixteen numbers in the format, to the nearest, ties to even.
inline void store_as(float* p, Floats a) { store(p, a); }
inline void store_as(bf16* p, Floats a) {
    for (int i = 0; i < lanes; ++i) p[i] = to_bf16(a.v[i / width][i % width]);
}
inline void store_as(f16* p, Floats a) {
#if defined(__AVX512F__)
    _mm256_storeu_si256((__m256i*)p, _mm512_maskz_cvtps_ph(0xFFFF, (__m512)a.v[0], _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
    for (int i = 0; i < parts; ++i)
        _mm_storeu_si128((__m128i*)(p + 8 * i), _mm256_cvtps_ph((__m256)a.v[i], _MM_FROUND_TO_NEAREST_INT));
#else
    for (int i = 0; i < lanes; ++i) p[i] = to_f16(a.v[i / width][i % width]);
#endif
}

inline Ints load_bytes(const void* p) { return load_parts<Ints>(p); }
// The four bytes at p in every lane.
inline Ints broadcast_four(const void* p) {
    int32_t four;
    memcpy(&four, p, 4);
    return broadcast(four);
}

inline void prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }  // to the second cache

// f(0), f(1), ... f(n - 1), each with a constant.
template <int n, class F>
inline __attribute__((always_inline)) void unroll(F&& f) {
    if constexpr (n > 0) {
        unroll<n - 1>(f);
        f(std::integral_constant<int, n - 1>{});
    }
}

// The sum of `count` additions of four products a lane: unsigned bytes below 2^bits with signed bytes of -127 to 127.
// Where the instruction set has no such product for eight bits, `bias` is first taken off the unsigned bytes.
template <int bits, int count>
struct Products {
#if defined(__AVX512VNNI__)
    static constexpr int bias = 0;
    Ints total;
    template <int i>
    void add(Ints w, Ints x) {
        total.v[0] = (IntPart)_mm512_dpbusd_epi32((__m512i)total.v[0], (__m512i)w.v[0], (__m512i)x.v[0]);
    }
#elif defined(__SSE4_1__)
    static constexpr int bias = bits == 8 ? 128 : 0;
    // Pairs of products that 16 bits hold: 2 * 127 * (2^bits - 1) each.
    static constexpr int room = bits >= 7 ? 1 : 32767 / (254 * ((1 << bits) - 1)), batch = room > 8 ? 8 : room;
    Ints total, pairs;
    template <int i>
    void add(Ints w, Ints x) {
        if constexpr (bits == 8)
            for (int p = 0; p < parts; ++p) w.v[p] ^= int32_t(0x80808080);
        for (int p = 0; p < parts; ++p) {
#if defined(__AVX2__)
            __m256i a = (__m256i)w.v[p], b = (__m256i)x.v[p];
            if constexpr (bits == 8) b = _mm256_sign_epi8(b, a), a = _mm256_abs_epi8(a);
            __m256i product = _mm256_maddubs_epi16(a, b);
            if constexpr (i % batch > 0) product = _mm256_add_epi16((__m256i)pairs.v[p], product);
            if constexpr (i % batch == batch - 1 || i == count - 1)
                total.v[p] += (IntPart)_mm256_madd_epi16(product, _mm256_set1_epi16(1));
            else
                pairs.v[p] = (IntPart)product;
#else
            __m128i a = (__m128i)w.v[p], b = (__m128i)x.v[p];
            if constexpr (bits == 8) b = _mm_sign_epi8(b, a), a = _mm_abs_epi8(a);
            __m128i product = _mm_maddubs_epi16(a, b);
            if constexpr (i % batch > 0) product = _mm_add_epi16((__m128i)pairs.v[p], product);
            if constexpr (i % batch == batch - 1 || i == count - 1)
                total.v[p] += (IntPart)_mm_madd_epi16(product, _mm_set1_epi16(1));
            else
                pairs.v[p] = (IntPart)product;
#endif
        }
    }
#else
    static constexpr int bias = 0;
    Ints total;
    template <int i>
    void add(Ints w, Ints x) {
        for (int byte = 0; byte < 32; byte += 8)
            for (int p = 0; p < parts; ++p) total.v[p] += ((w.v[p] >> byte) & 255) * ((x.v[p] << (24 - byte)) >> 24);
    }
#endif
};

// Two products of bf16 a lane, added to f32 sums.
#if defined(__AVX512BF16__)
constexpr bool has_brain_products = true;
inline Floats add_brain_products(Floats sum, Ints w, Ints x) {
    sum.v[0] = (FloatPart)_mm512_dpbf16_ps((__m512)sum.v[0], (__m512bh)w.v[0], (__m512bh)x.v[0]);
    return sum;
}
#else
constexpr bool has_brain_products = false;
inline Floats add_brain_products(Floats sum, Ints, Ints) { return sum; }
#endif

// e^x to 2 units in the last place; 0 below -87.3, e^88 above 88, NaN of NaN. Range reduction to |r| <= ln 2 / 2 and
// the Taylor series to the seventh power.
inline Floats exp(Floats x) {
    Floats low = broadcast(-87.3f), high = broadcast(88.f), r;
    Ints power;
    for (int i = 0; i < parts; ++i) {
        FloatPart c = x.v[i];
        IntPart over = (IntPart)(c > high.v[i]);
        c = (FloatPart)((over & (IntPart)high.v[i]) | (~over & (IntPart)c));
        IntPart sane = ~(IntPart)(c <= low.v[i]);
        FloatPart t = (FloatPart)(sane & (IntPart)c) * 1.44269504f;
        t = (t + 12582912.f) - 12582912.f;  // to the nearest integer
        power.v[i] = __builtin_convertvector(t, IntPart);
        c = (c - t * 0.693359375f) + t * 2.12194440e-4f;
        FloatPart p = c * (1.f / 5040) + 1.f / 720;
        p = p * c + 1.f / 120;
        p = p * c + 1.f / 24;
        p = p * c + 1.f / 6;
        p = p * c + 0.5f;
        p = p * c * c + c + 1.f;
        r.v[i] = (FloatPart)(sane & (IntPart)(p * (FloatPart)((power.v[i] + 127) << 23)));
    }
    return r;
}

inline float lane(Floats a, int i) { return a.v[i / width][i % width]; }
// Lanes are joined in halves: 0 and 8, 1 and 9, ..., then fours, twos.
template <class Join>
inline float fold(Floats a, Join&& join) {
    typedef float Four __attribute__((vector_size(16)));
#if defined(__AVX512F__)
    const auto eight = join(__builtin_shufflevector(a.v[0], a.v[0], 0, 1, 2, 3, 4, 5, 6, 7),
                            __builtin_shufflevector(a.v[0], a.v[0], 8, 9, 10, 11, 12, 13, 14, 15));
    const Four four =
        join(__builtin_shufflevector(eight, eight, 0, 1, 2, 3), __builtin_shufflevector(eight, eight, 4, 5, 6, 7));
#elif defined(__AVX2__)
    const auto eight = join(a.v[0], a.v[1]);
    const Four four =
        join(__builtin_shufflevector(eight, eight, 0, 1, 2, 3), __builtin_shufflevector(eight, eight, 4, 5, 6, 7));
#else
    const Four four = join(join(a.v[0], a.v[2]), join(a.v[1], a.v[3]));
#endif
    const Four two = join(four, __builtin_shufflevector(four, four, 2, 3, 2, 3));
    return join(two, __builtin_shufflevector(two, two, 1, 1, 1, 1))[0];
}
inline float sum(Floats a) {
    return fold(a, [](auto x, auto y) { return x + y; });
}
inline int32_t lane(Ints a, int i) { return a.v[i / width][i % width]; }
// Of a and b the greater; where one is NaN, a.
template <class P>
inline Vector<P> maximum(Vector<P> a, Vector<P> b) {
    for (int i = 0; i < parts; ++i) {
        IntPart more = (IntPart)(b.v[i] > a.v[i]);
        a.v[i] = (P)((more & (IntPart)b.v[i]) | (~more & (IntPart)a.v[i]));
    }
    return a;
}
inline Floats clamp(Floats a, Floats least, Floats most) {
    a = maximum(a, least);
    for (int i = 0; i < parts; ++i) {
        IntPart more = (IntPart)(a.v[i] > most.v[i]);
        a.v[i] = (FloatPart)((more & (IntPart)most.v[i]) | (~more & (IntPart)a.v[i]));
    }
    return a;
}
// Whether any lane of a is above b's; NaN is not.
inline bool any_above(Floats a, Floats b) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask((__m512)a.v[0], (__m512)b.v[0], _CMP_GT_OQ) != 0;
#else
    IntPart above{};
    for (int i = 0; i < parts; ++i) above |= (IntPart)(a.v[i] > b.v[i]);
    for (int i = 0; i < width; ++i)
        if (above[i]) return true;
    return false;
#endif
}
inline float highest(Floats a) {
    return fold(a, [](auto x, auto y) { return y > x ? y : x; });
}
// As integers, magnitudes have the order of the floats, and NaN is above infinity.
inline Ints magnitudes(Floats a) { return bits(a) & 0x7FFFFFFF; }
inline float largest(Ints magnitudes) {
    return fold(from_bits(magnitudes), [](auto x, auto y) {
        typedef int32_t Bits __attribute__((vector_size(sizeof(x))));
        return (decltype(x))((Bits)y > (Bits)x ? (Bits)y : (Bits)x);
    });
}

// The same block of sixteen rows, interleaved by units: byte j of row r is at (j / unit * lanes + r) * unit + j % unit.
// The counterpart of One in formats.h.
template <int unit>
struct Many {
    const uint8_t* p;

    Ints u8(int i) const { return widen(p + i * lanes); }
    Ints i8(int i) const { return (u8(i) << 24) >> 24; }
    Ints u16(int i) const {
        if constexpr (unit == 2)
            return widen(reinterpret_cast<const uint16_t*>(p + i * lanes));
        else
            return u8(i) | u8(i + 1) << 8;
    }
    Floats half(int i) const {
        if constexpr (unit == 2)
            return load_as(reinterpret_cast<const f16*>(p + i * lanes));
        else
            return half_to_float(u16(i));
    }
    Floats brain(int i) const { return brain_to_float(u16(i)); }
    Floats single(int i) const {
        if constexpr (unit == 4)
            return load(reinterpret_cast<const float*>(p + i * lanes));
        else
            return from_bits(u8(i) | u8(i + 1) << 8 | u8(i + 2) << 16 | u8(i + 3) << 24);
    }
    // As One's: exponent and fraction land 2^120 too low.
    Floats fp8(int i) const {
        Ints b = u8(i), magnitude = b & 0x7F;
        Floats f = from_bits(magnitude << 20) * broadcast(as_float(0x7B800000));
        Ints r = bits(f) | (b & 0x80) << 24;
        for (int j = 0; j < parts; ++j) r.v[j] |= (IntPart)(magnitude.v[j] == 0x7F) & 0x7FC00000;
        return from_bits(r);
    }
    static Floats real(Ints q) { return alia::real(q); }
};

}  // namespace
}  // namespace alia
