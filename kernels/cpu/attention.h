// Attention over a paged cache: one pass with a running maximum.
//
// The keys of each page make a partial result of their own (maximum, sum of weights, weighted values), and partial
// results merge in order of position: the bits depend on positions only.
#pragma once
#include "kernels/cpu/simd.h"
#include "kernels/cpu/threads.h"
#include "kernels/ops.h"

namespace alia {
namespace {

constexpr int most_head_dim = 512;  // config.h refuses more

// Sixteen numbers of a cache row in its format.
inline Floats load_as(const float* p) { return load(p); }
inline Floats load_as(const f16* p) { return half_to_float(widen(reinterpret_cast<const uint16_t*>(p))); }
inline Floats load_as(const bf16* p) { return brain_to_float(widen(reinterpret_cast<const uint16_t*>(p))); }
inline float single(float x) { return x; }
inline float single(f16 x) { return to_float(x); }
inline float single(bf16 x) { return to_float(x); }

template <class T>
inline float dot(const float* q, const T* k, int n) {
    Floats total = broadcast(0.f);
    int i = 0;
    for (; i + lanes <= n; i += lanes) total = multiply_add(load(q + i), load_as(k + i), total);
    float result = sum(total);
    for (; i < n; ++i) result += q[i] * single(k[i]);
    return result;
}

template <class T>
inline void add_scaled(float* out, float scale, const T* v, int n) {
    int i = 0;
    for (; i + lanes <= n; i += lanes) store(out + i, multiply_add(broadcast(scale), load_as(v + i), load(out + i)));
    for (; i < n; ++i) out[i] += scale * single(v[i]);
}

struct Partial {
    float highest = -INFINITY, weight = 0;
    alignas(64) float value[most_head_dim];
};

// The first `count` positions of a page, whose rows of K and V are `stride` bytes apart.
template <class T>
inline void attend_page(Partial& p, const float* q, const char* k, const char* v, int64_t stride, int count, int dim,
                        float scale) {
    alignas(64) float score[page_positions];
    for (int j = 0; j < page_positions; ++j)
        score[j] = j < count ? dot(q, reinterpret_cast<const T*>(k + j * stride), dim) * scale : -INFINITY;
    Floats top = load(score);
    for (int j = lanes; j < page_positions; j += lanes) top = maximum(top, load(score + j));
    p.highest = highest(top);
    Floats weight = broadcast(0.f);
    for (int j = 0; j < page_positions; j += lanes) {
        Floats e = exp(load(score + j) - broadcast(p.highest));
        store(score + j, e);
        weight = weight + e;
    }
    p.weight = sum(weight);
    for (int i = 0; i < dim; ++i) p.value[i] = 0;
    for (int j = 0; j < count; ++j) add_scaled(p.value, score[j], reinterpret_cast<const T*>(v + j * stride), dim);
}

// total becomes total and then p.
inline void merge(Partial& total, const Partial& p, int dim) {
    const float highest = total.highest > p.highest ? total.highest : p.highest;
    const float a = std::exp(total.highest - highest), b = std::exp(p.highest - highest);
    total.weight = total.weight * a + p.weight * b;
    for (int i = 0; i < dim; ++i) total.value[i] = total.value[i] * a + p.value[i] * b;
    total.highest = highest;
}

template <class T>
void attend_as(Stream* s, Tensor y, Tensor q, Tensor k, Tensor v, const Batch& b, int dim) {
    const int64_t heads = q.columns / dim, group = heads / (k.columns / dim);
    const float scale = float(1 / std::sqrt(double(dim)));
    parallel(s, q.rows * heads, [&](int64_t i) {
        const int64_t token = i / heads, head = i % heads;
        const float* query = q.row(token) + head * dim;
        const int32_t* pages = b.pages + int64_t(b.sequence[token]) * b.page_stride;
        const int64_t column = head / group * dim * int64_t(sizeof(T)), length = int64_t(b.position[token]) + 1;
        Partial total, part;
        for (int64_t first = 0; first < length; first += page_positions) {
            const int64_t row = int64_t(pages[first / page_positions]) * page_positions;
            const int count = int(length - first < page_positions ? length - first : page_positions);
            Partial& target = first == 0 ? total : part;
            attend_page<T>(target, query, k.row<char>(row) + column, v.row<char>(row) + column, k.stride, count, dim,
                           scale);
            if (first > 0) merge(total, part, dim);
        }
        float* out = y.row(token) + head * dim;
        for (int d = 0; d < dim; ++d) out[d] = total.value[d] / total.weight;
    });
}

void attend(Stream* s, Tensor y, Tensor q, Tensor k, Tensor v, const Batch& b, int head_dim) {
    auto f = k.format == Format::F32 ? attend_as<float> : k.format == Format::F16 ? attend_as<f16> : attend_as<bf16>;
    f(s, y, q, k, v, b, head_dim);
}

}  // namespace
}  // namespace alia
