// The number formats: how a block of numbers is laid out in bytes and becomes floats.
//
// A format is a struct with
//     name, gguf (the type's number in GGUF files, or -1), n (numbers a block), bytes (a block), unit (bytes that stay
//     together when a table interleaves the blocks of several rows), and decode(block, out): calls out(k, value) for
//     every k in [0, n).
// decode is written over lanes: `block` reads one row's block (One, below) or the same block of many rows side by side
// (cpu/simd.h), and the values it returns are scalars or vectors accordingly. Adding a format is one struct here, its
// entry in Formats and in Format.
//
// Layouts: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md names the types; little endian throughout.
// Multi-byte fields are f16 unless said otherwise.
#pragma once
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define ALIA_HD __host__ __device__
#else
#define ALIA_HD
#endif

namespace alia {

struct f16 {
    uint16_t bits;
};
struct bf16 {
    uint16_t bits;
};

ALIA_HD static inline float as_float(uint32_t bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
ALIA_HD static inline uint32_t as_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

// Shifting exponent and fraction into place leaves the value 2^-112 too small, subnormals included; infinities and NaN
// keep an exponent of all ones.
ALIA_HD static inline float to_float(f16 h) {
    uint32_t magnitude = uint32_t(h.bits & 0x7FFF) << 13, sign = uint32_t(h.bits & 0x8000) << 16;
    float f = as_float(magnitude) * as_float(0x77800000);  // 2^112
    return as_float((magnitude >= 0x0F800000 ? magnitude | 0x7F800000 : as_bits(f)) | sign);
}
ALIA_HD static inline float to_float(bf16 h) { return as_float(uint32_t(h.bits) << 16); }
// The eight bits of E4M3 without infinities (https://arxiv.org/abs/2209.05433): as above, 2^-120 too small in place.
ALIA_HD static inline float e4m3_to_float(uint8_t bits) {
    uint32_t magnitude = bits & 0x7F;
    float f = magnitude == 0x7F ? as_float(0x7FC00000) : as_float(magnitude << 20) * as_float(0x7B800000);  // 2^120
    return as_float(as_bits(f) | uint32_t(bits & 0x80) << 24);
}

// To the nearest, ties to even; NaN stays NaN.
ALIA_HD static inline bf16 to_bf16(float f) {
    uint32_t bits = as_bits(f);
    if ((bits & 0x7FFFFFFF) > 0x7F800000) return {uint16_t((bits >> 16) | 0x40)};
    return {uint16_t((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)};
}
ALIA_HD static inline f16 to_f16(float f) {
    uint32_t bits = as_bits(f), sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) return {uint16_t(sign | 0x7E00)};
    if (magnitude >= 0x477FF000) return {uint16_t(sign | 0x7C00)};
    if (magnitude < 0x38800000)  // below 2^-14: adding 0.5 rounds at the subnormals' last place
        return {uint16_t(sign | (as_bits(as_float(magnitude) + 0.5f) - 0x3F000000))};
    return {uint16_t(sign | ((magnitude - 0x38000000 + 0xFFF + ((magnitude >> 13) & 1)) >> 13))};
}

// To the nearest, ties to even; beyond 448 it is 448; NaN stays NaN.
ALIA_HD static inline uint8_t to_e4m3(float f) {
    uint32_t bits = as_bits(f), sign = (bits >> 24) & 0x80, magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) return uint8_t(sign | 0x7F);
    if (magnitude >= 0x43E00000) return uint8_t(sign | 0x7E);
    if (magnitude < 0x3C800000)  // below 2^-6: adding 2^14 rounds at the subnormals' last place
        return uint8_t(sign | (as_bits(as_float(magnitude) + 0x1p14f) - 0x46800000));
    return uint8_t(sign | ((magnitude - 0x3C000000 + 0x7FFFF + ((magnitude >> 20) & 1)) >> 20));
}
// The scale of 32 numbers in E4M3 whose largest is `largest`: the power of two that brings it to [128, 256).
ALIA_HD static inline float e4m3_scale(float largest) {
    uint32_t exponent = (as_bits(largest) >> 23) & 0xFF;
    return as_float((exponent > 8 ? exponent < 255 ? exponent - 7 : 247 : 1) << 23);
}

// The scale of 32 numbers in Q8_0 whose largest is `largest`; numbers that it is too small for are cut off.
ALIA_HD static inline f16 q8_scale(float largest) {
    const float d = largest / 127;
    return to_f16(d > 65504 ? 65504 : d);
}

// One row's block. Offsets are in bytes from the block's start.
struct One {
    const uint8_t* p;

    ALIA_HD int32_t u8(int i) const { return p[i]; }
    ALIA_HD int32_t i8(int i) const { return int8_t(p[i]); }
    ALIA_HD float half(int i) const { return to_float(f16{uint16_t(p[i] | p[i + 1] << 8)}); }
    ALIA_HD float brain(int i) const { return to_float(bf16{uint16_t(p[i] | p[i + 1] << 8)}); }
    ALIA_HD float single(int i) const {
        float f;
        memcpy(&f, p + i, 4);
        return f;
    }
    ALIA_HD float fp8(int i) const { return e4m3_to_float(p[i]); }
    ALIA_HD static float real(int32_t q) { return float(q); }
    // The q-th of sixteen values, 0 <= q < 16.
    ALIA_HD static float pick(const int8_t (&values)[16], int32_t q) { return values[q]; }
};

struct F32 {
    static constexpr auto name = "F32";
    static constexpr int gguf = 0, n = 1, bytes = 4, unit = 4;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        out(0, b.single(0));
    }
};

struct F16 {
    static constexpr auto name = "F16";
    static constexpr int gguf = 1, n = 1, bytes = 2, unit = 2;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        out(0, b.half(0));
    }
};

struct BF16 {
    static constexpr auto name = "BF16";
    static constexpr int gguf = 30, n = 1, bytes = 2, unit = 2;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        out(0, b.brain(0));
    }
};

// d[2], q[32] signed.   x = d q
struct Q8_0 {
    static constexpr auto name = "Q8_0";
    static constexpr int gguf = 8, n = 32, bytes = 34, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.half(0);
        for (int k = 0; k < 32; ++k) out(k, d * b.real(b.i8(2 + k)));
    }
};

// d[2], q[16]: number k in the low nibble of q[k], number k + 16 in the high one.   x = d (q - 8)
struct Q4_0 {
    static constexpr auto name = "Q4_0";
    static constexpr int gguf = 2, n = 32, bytes = 18, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.half(0);
        for (int k = 0; k < 16; ++k) {
            auto q = b.u8(2 + k);
            out(k, d * b.real((q & 15) - 8));
            out(k + 16, d * b.real((q >> 4) - 8));
        }
    }
};

// d[2], m[2], q[16] as in Q4_0.   x = d q + m
struct Q4_1 {
    static constexpr auto name = "Q4_1";
    static constexpr int gguf = 3, n = 32, bytes = 20, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.half(0), m = b.half(2);
        for (int k = 0; k < 16; ++k) {
            auto q = b.u8(4 + k);
            out(k, d * b.real(q & 15) + m);
            out(k + 16, d * b.real(q >> 4) + m);
        }
    }
};

// d[2], h[4], q[16] as in Q4_0; bit k of h (little endian) is the fifth bit of number k.   x = d (q - 16)
struct Q5_0 {
    static constexpr auto name = "Q5_0";
    static constexpr int gguf = 6, n = 32, bytes = 22, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.half(0);
        for (int k = 0; k < 16; ++k) {
            auto q = b.u8(6 + k), low = b.u8(2 + k / 8) >> k % 8, high = b.u8(4 + k / 8) >> k % 8;
            out(k, d * b.real(((q & 15) | (low & 1) << 4) - 16));
            out(k + 16, d * b.real(((q >> 4) | (high & 1) << 4) - 16));
        }
    }
};

// d[2], m[2], h[4], q[16] as in Q5_0.   x = d q + m
struct Q5_1 {
    static constexpr auto name = "Q5_1";
    static constexpr int gguf = 7, n = 32, bytes = 24, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.half(0), m = b.half(2);
        for (int k = 0; k < 16; ++k) {
            auto q = b.u8(8 + k), low = b.u8(4 + k / 8) >> k % 8, high = b.u8(6 + k / 8) >> k % 8;
            out(k, d * b.real((q & 15) | (low & 1) << 4) + m);
            out(k + 16, d * b.real((q >> 4) | (high & 1) << 4) + m);
        }
    }
};

// s[16], q[64], d[2], m[2]: sixteen groups of 16; s holds a scale in its low nibble and a minimum in its high one.
// Of each half of 128 numbers, group g takes bits 2 (g / 2) of bytes 16 (g % 2) onward.   x = d s q - m s'
struct Q2_K {
    static constexpr auto name = "Q2_K";
    static constexpr int gguf = 10, n = 256, bytes = 84, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.half(80), m = b.half(82);
        for (int g = 0; g < 16; ++g) {
            auto s = b.u8(g);
            auto scale = d * b.real(s & 15), least = m * b.real(s >> 4);
            for (int k = 0; k < 16; ++k)
                out(16 * g + k, scale * b.real((b.u8(16 + g / 8 * 32 + g % 2 * 16 + k) >> g % 8 / 2 * 2) & 3) - least);
        }
    }
};

// h[32], q[64], s[12], d[2]: groups and low bits as in Q2_K; the third bit of number 32 j + l is bit j of h[l], and
// absent it means -4. Scales have six bits: four in s[0..8) (groups 8 and up in the high nibble), two in s[8..12).
// x = d (s - 32) q
struct Q3_K {
    static constexpr auto name = "Q3_K";
    static constexpr int gguf = 11, n = 256, bytes = 110, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.half(108);
        for (int g = 0; g < 16; ++g) {
            auto s = ((b.u8(96 + g % 8) >> g / 8 * 4) & 15) | ((b.u8(104 + g % 4) >> g / 4 * 2) & 3) << 4;
            auto scale = d * b.real(s - 32);
            for (int k = 0; k < 16; ++k) {
                auto q = (b.u8(32 + g / 8 * 32 + g % 2 * 16 + k) >> g % 8 / 2 * 2) & 3;
                auto h = (b.u8(g % 2 * 16 + k) >> g / 2) & 1;
                out(16 * g + k, scale * b.real(q + h * 4 - 4));
            }
        }
    }
};

// The six-bit scales and minima of Q4_K and Q5_K: eight of each in twelve bytes from offset `at`.
template <class B>
ALIA_HD static inline auto k_scale(const B& b, int at, int g) {
    return g < 4 ? b.u8(at + g) & 63 : (b.u8(at + g + 4) & 15) | (b.u8(at + g - 4) >> 6) << 4;
}
template <class B>
ALIA_HD static inline auto k_least(const B& b, int at, int g) {
    return g < 4 ? b.u8(at + g + 4) & 63 : b.u8(at + g + 4) >> 4 | (b.u8(at + g) >> 6) << 4;
}

// d[2], m[2], s[12], q[128]: eight groups of 32; groups 2 j and 2 j + 1 share 32 bytes, low nibbles first.
// x = d s q - m s'
struct Q4_K {
    static constexpr auto name = "Q4_K";
    static constexpr int gguf = 12, n = 256, bytes = 144, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.half(0), m = b.half(2);
        for (int g = 0; g < 8; ++g) {
            auto scale = d * b.real(k_scale(b, 4, g)), least = m * b.real(k_least(b, 4, g));
            for (int k = 0; k < 32; ++k)
                out(32 * g + k, scale * b.real((b.u8(16 + g / 2 * 32 + k) >> g % 2 * 4) & 15) - least);
        }
    }
};

// d[2], m[2], s[12], h[32], q[128] as in Q4_K; bit g of h[k] is the fifth bit of number 32 g + k.
struct Q5_K {
    static constexpr auto name = "Q5_K";
    static constexpr int gguf = 13, n = 256, bytes = 176, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.half(0), m = b.half(2);
        for (int g = 0; g < 8; ++g) {
            auto scale = d * b.real(k_scale(b, 4, g)), least = m * b.real(k_least(b, 4, g));
            for (int k = 0; k < 32; ++k) {
                auto q = ((b.u8(48 + g / 2 * 32 + k) >> g % 2 * 4) & 15) | ((b.u8(16 + k) >> g) & 1) << 4;
                out(32 * g + k, scale * b.real(q) - least);
            }
        }
    }
};

// q[128], h[64], s[16] signed, d[2]: per half of 128 numbers, run j of 32 takes nibble j / 2 of bytes 32 (j % 2) onward
// of its 64 bytes of q, and bits 2 j of its 32 bytes of h; a scale for each 16.   x = d s (q - 32)
struct Q6_K {
    static constexpr auto name = "Q6_K";
    static constexpr int gguf = 14, n = 256, bytes = 210, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.half(208);
        for (int g = 0; g < 16; ++g) {
            int half = g / 8, j = g % 8 / 2;
            auto scale = d * b.real(b.i8(192 + g));
            for (int k = 0; k < 16; ++k) {
                int l = g % 2 * 16 + k;
                auto q = ((b.u8(half * 64 + j % 2 * 32 + l) >> j / 2 * 4) & 15) |
                         ((b.u8(128 + half * 32 + l) >> j * 2) & 3) << 4;
                out(16 * g + k, scale * b.real(q - 32));
            }
        }
    }
};

// Sixteen levels, denser near zero, of IQ4_NL and IQ4_XS.
#ifdef __CUDACC__
__device__
#endif
    constexpr int8_t iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// d[2], q[16] as in Q4_0.   x = d level[q]
struct IQ4_NL {
    static constexpr auto name = "IQ4_NL";
    static constexpr int gguf = 20, n = 32, bytes = 18, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.half(0);
        for (int k = 0; k < 16; ++k) {
            auto q = b.u8(2 + k);
            out(k, d * b.pick(iq4_levels, q & 15));
            out(k + 16, d * b.pick(iq4_levels, q >> 4));
        }
    }
};

// d[2], h[2], s[4], q[128]: eight groups of 32, each as IQ4_NL's q; six-bit scales: nibble g of s, two bits of h.
// x = d (s - 32) level[q]
struct IQ4_XS {
    static constexpr auto name = "IQ4_XS";
    static constexpr int gguf = 23, n = 256, bytes = 136, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.half(0);
        for (int g = 0; g < 8; ++g) {
            auto s = ((b.u8(4 + g / 2) >> g % 2 * 4) & 15) | ((b.u8(2 + g / 4) >> g % 4 * 2) & 3) << 4;
            auto scale = d * b.real(s - 32);
            for (int k = 0; k < 16; ++k) {
                auto q = b.u8(8 + 16 * g + k);
                out(32 * g + k, scale * b.pick(iq4_levels, q & 15));
                out(32 * g + k + 16, scale * b.pick(iq4_levels, q >> 4));
            }
        }
    }
};

// The three below exist in memory only: what 8-bit safetensors are turned into.

// d[4] f32, q[32] signed.   x = d q
struct I8 {
    static constexpr auto name = "I8";
    static constexpr int gguf = -1, n = 32, bytes = 36, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.single(0);
        for (int k = 0; k < 32; ++k) out(k, d * b.real(b.i8(4 + k)));
    }
};

// d[4] f32, m[4] f32, q[32].   x = d q + m
struct U8 {
    static constexpr auto name = "U8";
    static constexpr int gguf = -1, n = 32, bytes = 40, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.single(0), m = b.single(4);
        for (int k = 0; k < 32; ++k) out(k, d * b.real(b.u8(8 + k)) + m);
    }
};

// d[4] f32, q[32] in E4M3.   x = d q
struct E4M3 {
    static constexpr auto name = "E4M3";
    static constexpr int gguf = -1, n = 32, bytes = 36, unit = 1;
    template <class B, class Out>
    ALIA_HD static void decode(const B& b, Out&& out) {
        auto d = b.single(0);
        for (int k = 0; k < 32; ++k) out(k, d * b.fp8(4 + k));
    }
};

template <class... F>
struct List {
    static constexpr int size = sizeof...(F);
};

using Formats =
    List<F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, I8, U8, E4M3>;

// In the order of Formats.
enum class Format : uint8_t {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
    I8,
    U8,
    E4M3
};
static_assert(int(Format::E4M3) + 1 == Formats::size);

struct FormatInfo {
    const char* name;
    int gguf;   // the type's number in GGUF files, or -1
    int n;      // numbers in a block
    int bytes;  // bytes of a block
};

namespace detail {
template <class... F>
static inline const FormatInfo& format_info(List<F...>, Format f) {
    static constexpr FormatInfo table[] = {{F::name, F::gguf, F::n, F::bytes}...};
    return table[int(f)];
}
template <class... F>
static inline void decode_row(List<F...>, Format f, const void* row, int64_t columns, float* out) {
    static constexpr void (*table[])(const uint8_t*, int64_t, float*) = {[](const uint8_t* p, int64_t n, float* o) {
        for (int64_t k = 0; k < n; k += F::n, p += F::bytes, o += F::n)
            F::decode(One{p}, [&](int i, float value) { o[i] = value; });
    }...};
    table[int(f)](static_cast<const uint8_t*>(row), columns, out);
}
}  // namespace detail

static inline const FormatInfo& info(Format f) { return detail::format_info(Formats{}, f); }

// Bytes of a row of `columns` numbers; columns is a multiple of the format's block.
static inline int64_t row_bytes(Format f, int64_t columns) { return columns / info(f).n * info(f).bytes; }

// A row in the format's own layout to floats, the scalar way.
static inline void decode_row(Format f, const void* row, int64_t columns, float* out) {
    detail::decode_row(Formats{}, f, row, columns, out);
}

}  // namespace alia
