// Sixteen lanes of floats or integers on any processor, from the compilers' vector extensions; the only file that may
// hold intrinsics. Included once per instruction set: everything here is private to its table.
#pragma once
#include <cmath>
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

inline Floats load(const float* p) {
    Floats r;
    memcpy(&r, p, sizeof r);
    return r;
}
inline void store(float* p, Floats a) { memcpy(p, &a, sizeof a); }
// The first n lanes, 0 <= n <= lanes; the others are 0.
inline Floats load(const float* p, int64_t n) {
    Floats r = broadcast(0.f);
    memcpy(&r, p, n * sizeof(float));
    return r;
}
inline void store(float* p, Floats a, int64_t n) { memcpy(p, &a, n * sizeof(float)); }

inline Ints bits(Floats a) {
    Ints r;
    memcpy(&r, &a, sizeof r);
    return r;
}
inline Floats from_bits(Ints a) {
    Floats r;
    memcpy(&r, &a, sizeof r);
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

// As to_float of formats.h.
inline Floats half_to_float(Ints h) {
    Ints magnitude = (h & 0x7FFF) << 13;
    Floats f = from_bits(magnitude) * broadcast(as_float(0x77800000));
    Ints sign = (h & 0x8000) << 16, r = bits(f);
    for (int i = 0; i < parts; ++i) {
        IntPart special = (IntPart)(magnitude.v[i] >= 0x0F800000);
        r.v[i] = (special & (magnitude.v[i] | 0x7F800000)) | (~special & r.v[i]);
    }
    return from_bits(r | sign);
}
inline Floats brain_to_float(Ints b) { return from_bits(b << 16); }

// e^x to 2 units in the last place; 0 below -87.3, e^88 above 88. Range reduction to |r| <= ln 2 / 2 and the Taylor
// series to the seventh power.
inline Floats exp(Floats x) {
    Floats low = broadcast(-87.3f), high = broadcast(88.f), r;
    Ints power;
    for (int i = 0; i < parts; ++i) {
        FloatPart c = x.v[i];
        IntPart over = (IntPart)(c > high.v[i]);
        c = (FloatPart)((over & (IntPart)high.v[i]) | (~over & (IntPart)c));
        IntPart sane = (IntPart)(c > low.v[i]);
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
// Lanes are added in halves: 0 + 8, 1 + 9, ..., then fours, twos.
inline float sum(Floats a) {
    float x[lanes];
    store(x, a);
    for (int half = lanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) x[i] += x[i + half];
    return x[0];
}
inline Floats maximum(Floats a, Floats b) {
    for (int i = 0; i < parts; ++i) {
        IntPart more = (IntPart)(b.v[i] > a.v[i]);
        a.v[i] = (FloatPart)((more & (IntPart)b.v[i]) | (~more & (IntPart)a.v[i]));
    }
    return a;
}
inline float highest(Floats a) {
    float x[lanes];
    store(x, a);
    for (int half = lanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) x[i] = x[i + half] > x[i] ? x[i + half] : x[i];
    return x[0];
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
    Floats half(int i) const { return half_to_float(u16(i)); }
    Floats brain(int i) const { return brain_to_float(u16(i)); }
    Floats single(int i) const { return load(reinterpret_cast<const float*>(p + i * lanes)); }
    static Floats real(Ints q) { return alia::real(q); }
    static Floats pick(const int8_t (&values)[16], Ints q) {
        Ints r;
        for (int i = 0; i < lanes; ++i) r.v[i / width][i % width] = values[q.v[i / width][i % width]];
        return alia::real(r);
    }
};

}  // namespace
}  // namespace alia
