// What this machine reaches in loops that do nothing else.
#pragma once
#include <ctime>

#include "kernels/cpu/simd.h"
#include "kernels/cpu/threads.h"
#include "kernels/host.h"
#include "kernels/ops.h"

namespace alia {
namespace {

inline double seconds() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

// Its value is used, as far as the compiler knows.
template <class V>
inline void keep(const V& x) {
    volatile char first;
    char c;
    memcpy(&c, &x, 1);
    first = c;
    (void)first;
}

// The median of a few passes, in units a second: what neighbours on the machine leave changes within milliseconds.
template <class Pass>
double usual_rate(double units, Pass&& pass) {
    constexpr int passes = 21;
    double rate[passes];
    pass();
    for (int i = 0; i < passes; ++i) {
        const double start = seconds();
        pass();
        const double r = units / (seconds() - start);
        int at = i;
        for (; at > 0 && rate[at - 1] > r; --at) rate[at] = rate[at - 1];
        rate[at] = r;
    }
    return rate[passes / 2];
}

constexpr int chains = width == 16 ? 20 : width == 8 ? 5 : 3;  // sums side by side, so that none waits for the last

// `step` adds to a sum in a way that no compiler can take out of the loop.
template <class Sum, class Step>
double multiply_rate(Stream* s, Sum zero, double per_step, Step&& step) {
    constexpr int steps = 1000000;
    const int64_t n = cpu::threads(s);
    return usual_rate(per_step * chains * steps * double(n), [&] {
        parallel(s, n, [&](int64_t) {
            Sum sum[chains];
            for (Sum& x : sum) x = zero;
            for (int i = 0; i < steps; ++i) unroll<chains>([&](auto c) { step(sum[c]); });
            for (Sum& x : sum) keep(x);
        });
    });
}

constexpr int64_t piece_bytes = 256 << 10;  // that a thread reads or copies at once

double read_rate(Stream* s, const void* from, int64_t bytes) {
    const double start = seconds();
    parallel(s, (bytes + piece_bytes - 1) / piece_bytes, [&](int64_t i) {
        const auto* piece = static_cast<const char*>(from) + i * piece_bytes;
        const int64_t left = bytes - i * piece_bytes, end = (left < piece_bytes ? left : piece_bytes) / 512 * 512;
        Ints sum[8];
        for (Ints& x : sum) x = broadcast(0);
        for (int64_t j = 0; j < end; j += 8 * 64)
            for (int c = 0; c < 8; ++c) sum[c] = sum[c] | load_bytes(piece + j + c * 64);
        for (const Ints& x : sum) keep(x);
    });
    return double(bytes) / (seconds() - start);
}

Roofs measure(Stream* s) {
    constexpr int64_t bytes = 128 << 20, piece = piece_bytes;
    auto* from = static_cast<char*>(host::allocate(s, 2 * bytes, Home::device));
    char* to = from + bytes;
    parallel(s, bytes / piece,
             [&](int64_t i) { memset(from + i * piece, 1, piece), memset(to + i * piece, 2, piece); });
    Roofs r;
    r.read = usual_rate(double(bytes), [&] { read_rate(s, from, bytes); });
    r.copy = usual_rate(double(bytes), [&] {
        parallel(s, bytes / piece, [&](int64_t i) { memcpy(to + i * piece, from + i * piece, piece); });
    });
    host::release(s, from, Home::device);

    const Floats a = broadcast(1e-9f), b = broadcast(0.5f);
    r.f32 = multiply_rate(s, a, lanes, [&](Floats& x) { x = multiply_add(x, b, a); });
    const Ints ones = broadcast(0x01010101);
    r.int8 = multiply_rate(s, ones, 4 * lanes, [&](Ints& x) {
        Products<7, 1> sum{x};
        sum.add<0>(x, ones);
        x = sum.total;
    });
    if (has_brain_products)
        r.bf16 = multiply_rate(s, a, 2 * lanes, [&](Floats& x) { x = add_brain_products(x, bits(x), bits(b)); });
    return r;
}

}  // namespace
}  // namespace alia
