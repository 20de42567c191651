// kernels/cuda/alia/ptx.h for the emulated device: the same declarations, by the meaning that the PTX manual gives.
#pragma once
#include <cuda_runtime.h>

#include "kernels/formats.h"

namespace alia {

constexpr int warp_size = 32;

template <class T>
T& shared() {
    return *reinterpret_cast<T*>(emulated::dynamic_shared(sizeof(T)));
}

inline void cp_async16_part(void* shared, const void* global, int bytes) {
    emulated::copy_later(shared, global, bytes);
}
inline void cp_async16(void* shared, const void* global, bool valid = true) {
    cp_async16_part(shared, global, valid ? 16 : 0);
}
inline void cp_async_commit() { emulated::close_copies(); }
template <int pending>
void cp_async_wait(ALIA_SITE) {
    emulated::wait_copies(pending, {file, line});
}

inline uint4 load_once(const void* global) {
    emulated::touch(global, 16, false);
    uint4 v;
    std::memcpy(&v, global, 16);
    return v;
}

namespace detail {

struct Rows {
    uint32_t* r;
    const uint16_t* row;
};
template <bool transposed>
inline void load_matrices(void* const (&lane)[32]) {
    for (int l = 0; l < 32; ++l)
        for (int m = 0; m < 4; ++m) {
            auto element = [&](int row, int column) {
                return uint32_t(static_cast<Rows*>(lane[8 * m + row])->row[column]);
            };
            const int g = l / 4, t = l % 4 * 2;
            static_cast<Rows*>(lane[l])->r[m] =
                transposed ? element(t, g) | element(t + 1, g) << 16 : element(g, t) | element(g, t + 1) << 16;
        }
}
template <bool transposed>
inline void ldmatrix(uint32_t (&r)[4], const void* row, emulated::Site site) {
    emulated::expect_shared(row, 16);
    emulated::touch(row, 16, false);
    Rows rows{r, static_cast<const uint16_t*>(row)};
    emulated::meet(load_matrices<transposed>, ~0u, &rows, site);
}

struct Product {
    float* c;
    const uint32_t *a, *b;
};
inline float bf16_at(uint32_t v, int i) { return to_float(bf16{uint16_t(v >> 16 * i)}); }
inline float f16_at(uint32_t v, int i) { return to_float(f16{uint16_t(v >> 16 * i)}); }
// c += a b for fragments of K columns, `packed` numbers a register that at(register, i) tells: in double, rounded once.
template <int K, int packed, class At>
inline void multiply(void* const (&lane)[32], At at) {
    float a[16][K], b[K][8];
    for (int l = 0; l < 32; ++l) {
        const auto& p = *static_cast<Product*>(lane[l]);
        const int g = l / 4, t = l % 4 * packed;
        for (int i = 0; i < packed; ++i) {
            a[g][t + i] = at(p.a[0], i), a[g + 8][t + i] = at(p.a[1], i);
            a[g][t + i + K / 2] = at(p.a[2], i), a[g + 8][t + i + K / 2] = at(p.a[3], i);
            b[t + i][g] = at(p.b[0], i), b[t + i + K / 2][g] = at(p.b[1], i);
        }
    }
    for (int l = 0; l < 32; ++l)
        for (int i = 0; i < 4; ++i) {
            const int row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
            float& c = static_cast<Product*>(lane[l])->c[i];
            double sum = double(c);
            for (int k = 0; k < K; ++k) sum += double(a[row][k]) * double(b[k][column]);
            c = float(sum);
        }
}
inline void multiply_bf16(void* const (&lane)[32]) { multiply<16, 2>(lane, bf16_at); }
inline void multiply_e4m3(void* const (&lane)[32]) {
    multiply<32, 4>(lane, [](uint32_t v, int i) { return e4m3_to_float(uint8_t(v >> 8 * i)); });
}

// To float so that a second rounding to fewer bits gives what one rounding would: the last bit is set where any is
// lost.
inline float to_odd(double d) {
    const float f = float(d);
    if (double(f) == d || !std::isfinite(f)) return f;
    const float toward = std::fabs(double(f)) > std::fabs(d) ? std::nextafterf(f, 0) : f;
    return as_float(as_bits(toward) | 1);
}

}  // namespace detail

inline void ldmatrix(uint32_t (&r)[4], const void* row, ALIA_SITE) { detail::ldmatrix<false>(r, row, {file, line}); }
inline void ldmatrix_transposed(uint32_t (&r)[4], const void* row, ALIA_SITE) {
    detail::ldmatrix<true>(r, row, {file, line});
}
inline void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], ALIA_SITE) {
    detail::Product p{c, a, b};
    emulated::meet(detail::multiply_bf16, ~0u, &p, {file, line});
}
inline void mma_e4m3(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], ALIA_SITE) {
    if (emulated::code_capability() < 89) emulated::report("multiplies E4M3 and the device cannot");
    detail::Product p{c, a, b};
    emulated::meet(detail::multiply_e4m3, ~0u, &p, {file, line});
}

inline uint32_t pack_bf16(float low, float high) { return to_bf16(low).bits | uint32_t(to_bf16(high).bits) << 16; }
inline float2 unpack_f16(uint32_t v) { return {detail::f16_at(v, 0), detail::f16_at(v, 1)}; }
inline uint32_t fma_bf16x2(uint32_t a, uint32_t b, uint32_t c) {
    auto half = [&](int i) {
        const double product = double(detail::bf16_at(a, i)) * double(detail::bf16_at(b, i));
        return detail::to_odd(product + double(detail::bf16_at(c, i)));
    };
    return pack_bf16(half(0), half(1));
}

inline float exp2_fast(float x) {
    if (std::fabs(x) < 0x1p-126f) x = 0;
    const float y = std::exp2(x);
    return y < 0x1p-126f ? 0 : y;
}

inline void grid_wait() { emulated::wait_grid(); }
inline void grid_launch_next() { emulated::begin_next_grid(); }

}  // namespace alia
