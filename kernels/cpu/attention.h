// Attention over a paged cache: one pass with a running maximum.
//
// In a page, each KV head's numbers lie together: keys as [head_dim][64 positions], so that lanes are positions, values
// as [64 positions][head_dim]; in Q8_0 the scales follow, keys' as [head_dim / 32][64], values' as [64][head_dim / 32].
//
// Queries that read the same keys go together, the heads of a group and neighbouring tokens. The keys of each page make
// a partial result of their own (maximum, sum of weights, weighted values), and partial results merge in order of
// position: the bits depend on positions only.
#pragma once
#include <type_traits>

#include "kernels/cpu/simd.h"
#include "kernels/cpu/threads.h"
#include "kernels/ops.h"

namespace alia {
namespace {

constexpr int most_head_dim = 512;                    // config.h refuses more
constexpr int page_vectors = page_positions / lanes;  // of scores
constexpr int queries_at_once = 8;                    // that share a pass over the pages
constexpr int query_tile = width == 16 ? 4 : 1;       // whose sums stay in registers

// One KV head of a page whose numbers are of type T.
template <class T>
struct PageHead {
    static constexpr Format format = std::is_same_v<T, float> ? Format::F32
                                     : std::is_same_v<T, f16> ? Format::F16
                                                              : Format::BF16;
    char* p;
    int dim;

    Floats key(int d, int vector) const { return load_as(numbers() + d * page_positions + vector * lanes); }
    // Columns d to d + 15 of position j; of the last ones as many as there are.
    Floats value(int j, int d) const { return load_as(numbers() + j * dim + d); }
    Floats last_value(int j, int d) const {
        T last[lanes] = {};
        memcpy(last, numbers() + j * dim + d, size_t(dim - d) * sizeof(T));
        return load_as(last);
    }
    void store_key(int j, const float* x) const {
        T converted[most_head_dim];
        convert(x, converted);
        for (int d = 0; d < dim; ++d) numbers()[d * page_positions + j] = converted[d];
    }
    void store_value(int j, const float* x) const { convert(x, numbers() + j * dim); }

  private:
    T* numbers() const { return reinterpret_cast<T*>(p); }
    void convert(const float* x, T* to) const {
        for (int d = 0; d < dim; d += lanes) {
            Floats a = dim - d >= lanes ? load(x + d) : load(x + d, dim - d);
            if constexpr (std::is_same_v<T, f16>) a = clamp(a, broadcast(-65504.f), broadcast(65504.f));
            T part[lanes];
            store_as(part, a);
            memcpy(to + d, part, size_t(dim - d >= lanes ? lanes : dim - d) * sizeof(T));
        }
    }
};

// The same with 8-bit numbers and a scale for every 32 columns.
template <>
struct PageHead<Q8_0> {
    static constexpr Format format = Format::Q8_0;
    char* p;
    int dim;

    Floats key(int d, int vector) const {
        return load_as(numbers() + d * page_positions + vector * lanes) *
               load_as(scales() + d / 32 * page_positions + vector * lanes);
    }
    Floats value(int j, int d) const {
        return load_as(numbers() + j * dim + d) * broadcast(to_float(scales()[j * (dim / 32) + d / 32]));
    }
    Floats last_value(int j, int d) const { return value(j, d); }
    void store_key(int j, const float* x) const {
        for (int d = 0; d < dim; d += 32) {
            int8_t q[32];
            scales()[d / 32 * page_positions + j] = quantise(x + d, q);
            for (int i = 0; i < 32; ++i) numbers()[(d + i) * page_positions + j] = q[i];
        }
    }
    void store_value(int j, const float* x) const {
        for (int d = 0; d < dim; d += 32) scales()[j * (dim / 32) + d / 32] = quantise(x + d, numbers() + j * dim + d);
    }

  private:
    int8_t* numbers() const { return reinterpret_cast<int8_t*>(p); }
    f16* scales() const { return reinterpret_cast<f16*>(p + int64_t(dim) * page_positions); }
    static f16 quantise(const float* x, int8_t* q) {
        const Floats a = load(x), b = load(x + lanes);
        const f16 d = to_f16(highest(maximum(absolute(a), absolute(b))) / 127);
        const float scale = to_float(d), inverse = scale > 0 ? 1 / scale : 0;
        const Floats most = broadcast(127.f), least = broadcast(-127.f);
        round_to_bytes(clamp(a * broadcast(inverse), least, most), q);
        round_to_bytes(clamp(b * broadcast(inverse), least, most), q + lanes);
        return d;
    }
};

template <class T>
inline PageHead<T> page_head(Tensor cache, int64_t page, int64_t head, int dim) {
    const int64_t head_bytes = row_bytes(cache.format, dim) * page_positions;
    return {static_cast<char*>(cache.data) + page * page_positions * cache.stride + head * head_bytes, dim};
}

struct Partial {
    float highest = -INFINITY, weight = 0;
    alignas(64) float value[most_head_dim];
};

// A query and the positions of the page that it sees.
struct Query {
    const float* q;
    float* out;
    int64_t length;  // positions it sees in all
    int count;       // of this page
};

// score[t][j] = q[t] . key j
template <int n, class T>
inline void score_page(const Query* query, PageHead<T> k, float (*score)[page_positions]) {
    Floats sum[n][page_vectors];
    for (auto& row : sum)
        for (Floats& f : row) f = broadcast(0.f);
    for (int d = 0; d < k.dim; ++d) {
        Floats key[page_vectors];
        for (int v = 0; v < page_vectors; ++v) key[v] = k.key(d, v);
        for (int t = 0; t < n; ++t)
            for (int v = 0; v < page_vectors; ++v)
                sum[t][v] = multiply_add(broadcast(query[t].q[d]), key[v], sum[t][v]);
    }
    for (int t = 0; t < n; ++t)
        for (int v = 0; v < page_vectors; ++v) store(score[t] + v * lanes, sum[t][v]);
}

// Scores become weights; those of positions that the query does not see are 0.
inline void weigh(float* score, int count, float scale, Partial& part) {
    for (int j = 0; j < page_positions; ++j) score[j] = j < count ? score[j] * scale : -INFINITY;
    Floats top = load(score);
    for (int j = lanes; j < page_positions; j += lanes) top = maximum(top, load(score + j));
    part.highest = highest(top);
    Floats weight = broadcast(0.f);
    for (int j = 0; j < page_positions; j += lanes) {
        const Floats e = exp(load(score + j) - broadcast(part.highest));
        store(score + j, e);
        weight = weight + e;
    }
    part.weight = sum(weight);
}

// part[t].value += weights of positions [first, last) times their values, from column d on. `value(j, i)` gives 16 of
// them.
template <int n, int vectors, class Value>
inline void add_columns(Value&& value, const float (*weight)[page_positions], int first, int last, int d,
                        Partial* part) {
    Floats sum[n][vectors];
    for (int t = 0; t < n; ++t)
        for (int i = 0; i < vectors; ++i) sum[t][i] = load(part[t].value + d + i * lanes);
    for (int j = first; j < last; ++j)
        for (int i = 0; i < vectors; ++i) {
            const Floats v = value(j, d + i * lanes);
            for (int t = 0; t < n; ++t) sum[t][i] = multiply_add(broadcast(weight[t][j]), v, sum[t][i]);
        }
    for (int t = 0; t < n; ++t)
        for (int i = 0; i < vectors; ++i) store(part[t].value + d + i * lanes, sum[t][i]);
}
template <int n, class T>
inline void add_values(PageHead<T> v, const float (*weight)[page_positions], int first, int last, Partial* part) {
    auto whole = [&](int j, int d) { return v.value(j, d); };
    int d = 0;
    for (; d + 4 * lanes <= v.dim; d += 4 * lanes) add_columns<n, 4>(whole, weight, first, last, d, part);
    for (; d + lanes <= v.dim; d += lanes) add_columns<n, 1>(whole, weight, first, last, d, part);
    if (d < v.dim) add_columns<n, 1>([&](int j, int at) { return v.last_value(j, at); }, weight, first, last, d, part);
}

template <int n, class T>
inline void attend_page(const Query* query, PageHead<T> k, PageHead<T> v, float scale, Partial* part) {
    alignas(64) float score[n][page_positions];
    score_page<n>(query, k, score);
    int common = page_positions;  // every query sees these
    for (int t = 0; t < n; ++t) {
        weigh(score[t], query[t].count, scale, part[t]);
        memset(part[t].value, 0, sizeof(float) * size_t((k.dim + lanes - 1) / lanes * lanes));
        common = query[t].count < common ? query[t].count : common;
    }
    add_values<n>(v, score, 0, common, part);
    for (int t = 0; t < n; ++t)
        if (query[t].count > common) add_values<1>(v, score + t, common, query[t].count, part + t);
}

// total becomes total and then p.
inline void merge(Partial& total, const Partial& p, int dim) {
    const float highest = total.highest > p.highest ? total.highest : p.highest;
    const float a = std::exp(total.highest - highest), b = std::exp(p.highest - highest);
    total.weight = total.weight * a + p.weight * b;
    for (int i = 0; i < dim; ++i) total.value[i] = total.value[i] * a + p.value[i] * b;
    total.highest = highest;
}

// Up to queries_at_once queries of one sequence and one KV head, the ones that see more last.
template <class T>
void attend_together(Query* query, int n, Tensor k, Tensor v, const int32_t* pages, int64_t head, int dim,
                     float scale) {
    Partial total[queries_at_once], part[query_tile];
    for (int64_t page = 0; page * page_positions < query[n - 1].length; ++page) {
        const PageHead<T> keys = page_head<T>(k, pages[page], head, dim),
                          values = page_head<T>(v, pages[page], head, dim);
        int t = 0;
        while (query[t].length <= page * page_positions) ++t;
        for (int i = t; i < n; ++i) {
            const int64_t left = query[i].length - page * page_positions;
            query[i].count = int(left < page_positions ? left : page_positions);
        }
        auto step = [&](auto size) {
            Partial* target = page == 0 ? total + t : part;
            attend_page<size>(query + t, keys, values, scale, target);
            if (page > 0)
                for (int i = 0; i < size; ++i) merge(total[t + i], part[i], dim);
            t += size;
        };
        while (n - t >= query_tile) step(std::integral_constant<int, query_tile>{});
        if constexpr (query_tile == 4) {
            if (n - t == 3) step(std::integral_constant<int, 3>{});
            if (n - t == 2) step(std::integral_constant<int, 2>{});
        }
        while (t < n) step(std::integral_constant<int, 1>{});
    }
    for (int t = 0; t < n; ++t)
        for (int d = 0; d < dim; ++d) query[t].out[d] = total[t].value[d] / total[t].weight;
}

template <class T>
void attend_as(Stream* s, Tensor y, Tensor q, Tensor k, Tensor v, const Batch& b, int dim) {
    const int64_t heads = q.columns / dim, kv_heads = k.columns / dim, group = heads / kv_heads;
    const int64_t rows = group >= queries_at_once ? 1 : queries_at_once / group;  // tokens taken together
    const float scale = float(1 / std::sqrt(double(dim)));
    parallel(s, (q.rows + rows - 1) / rows * kv_heads, [&](int64_t item) {
        const int64_t head = item % kv_heads, first = item / kv_heads * rows;
        const int64_t end = first + rows < q.rows ? first + rows : q.rows;
        Query query[queries_at_once];
        int n = 0;
        auto flush = [&](int64_t token) {
            if (n > 0)
                attend_together<T>(query, n, k, v, b.pages + int64_t(b.sequence[token]) * b.page_stride, head, dim,
                                   scale);
            n = 0;
        };
        for (int64_t token = first; token < end; ++token) {
            const int64_t length = int64_t(b.position[token]) + 1;
            if (n > 0 && (b.sequence[token] != b.sequence[token - 1] || length < query[n - 1].length)) flush(token - 1);
            for (int64_t h = head * group; h < (head + 1) * group; ++h) {
                if (n == queries_at_once) flush(token);
                query[n++] = {q.row(token) + h * dim, y.row(token) + h * dim, length, 0};
            }
        }
        flush(end - 1);
    });
}

// Calls f with a value of the type that a cache's numbers have.
template <class F>
void with_cache_type(Format f, F&& call) {
    if (f == Format::F32)
        call(float{});
    else if (f == Format::F16)
        call(f16{});
    else if (f == Format::BF16)
        call(bf16{});
    else
        call(Q8_0{});
}

int64_t attend_bytes(const Batch&, int64_t, int) { return 0; }

void attend(Stream* s, Tensor y, Tensor q, Tensor k, Tensor v, const Batch& b, int head_dim, void*) {
    with_cache_type(k.format, [&](auto t) { attend_as<decltype(t)>(s, y, q, k, v, b, head_dim); });
}

// A thread takes whole heads: the keys of neighbouring positions share cache lines.
void store_heads(Stream* s, Tensor k_cache, Tensor v_cache, Tensor k, Tensor v, const int32_t* slot, int dim) {
    with_cache_type(k_cache.format, [&](auto t) {
        using Head = PageHead<decltype(t)>;
        parallel(s, k.rows == 1 ? 1 : k.columns / dim, [&](int64_t head) {
            const int64_t end = k.rows == 1 ? k.columns / dim : head + 1;
            for (; head < end; ++head)
                for (int64_t i = 0; i < k.rows; ++i) {
                    const int64_t page = slot[i] / page_positions;
                    const int j = slot[i] % page_positions;
                    Head keys = page_head<decltype(t)>(k_cache, page, head, dim);
                    Head values = page_head<decltype(t)>(v_cache, page, head, dim);
                    keys.store_key(j, k.row(i) + head * dim);
                    values.store_value(j, v.row(i) + head * dim);
                }
        });
    });
}

}  // namespace
}  // namespace alia
