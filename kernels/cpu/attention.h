// Attention over a paged cache: one pass with a running maximum.
//
// In a page, each KV head's numbers lie together: keys as [head_dim][64 positions], so that lanes are positions, values
// as [64 positions][head_dim]; in Q8_0 the scales follow, keys' as [head_dim / 32][64], values' as [64][head_dim / 32].
//
// Queries that read the same keys go together, the heads of a group and neighbouring tokens. The keys of each chunk of
// pages make a partial result of their own (maximum, sum of weights, weighted values), and partial results merge in
// order of position: the bits depend on positions only, and threads may share the chunks of a query.
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
constexpr int query_tile = width >= 8 ? 4 : 1;        // whose sums stay in registers
constexpr int64_t chunk_pages = 8, chunk_positions = chunk_pages * page_positions;
constexpr int64_t most_split_rows = 4;  // of a call whose threads share the chunks of a query

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
        const f16 d = q8_scale(largest(maximum(magnitudes(a), magnitudes(b))));
        const float scale = to_float(d), inverse = scale > 0 ? 1 / scale : 0;
        const Floats most = broadcast(127.f), least = broadcast(-127.f);
        round_to_bytes(clamp(a * broadcast(inverse), least, most), q);
        round_to_bytes(clamp(b * broadcast(inverse), least, most), q + lanes);
        return d;
    }
};

// A page's numbers as floats, for several queries that read them.
struct DecodedPage {
    alignas(64) float keys[most_head_dim * page_positions], values[page_positions * most_head_dim];

    template <class T>
    PageHead<float> decode_keys(PageHead<T> from) {
        for (int d = 0; d < from.dim; ++d)
            for (int v = 0; v < page_vectors; ++v) store(keys + d * page_positions + v * lanes, from.key(d, v));
        return {reinterpret_cast<char*>(keys), from.dim};
    }
    template <class T>
    PageHead<float> decode_values(PageHead<T> from) {
        for (int j = 0; j < page_positions; ++j) {
            float* to = values + j * from.dim;
            int d = 0;
            for (; d + lanes <= from.dim; d += lanes) store(to + d, from.value(j, d));
            if (d < from.dim) store(to + d, from.last_value(j, d), from.dim - d);
        }
        return {reinterpret_cast<char*>(values), from.dim};
    }
};

template <class T>
inline PageHead<T> page_head(Tensor cache, int64_t page, int64_t head, int dim) {
    const int64_t head_bytes = row_bytes(cache.format, dim) * page_positions;
    return {static_cast<char*>(cache.data) + page * page_positions * cache.stride + head * head_bytes, dim};
}

// What the keys of a chunk give a query: the highest score, the sum of the weights and the weighted values.
struct Partial {
    float* p;

    static constexpr int64_t floats(int dim) { return lanes + (int64_t(dim) + lanes - 1) / lanes * lanes; }
    float& highest() const { return p[0]; }
    float& weight() const { return p[1]; }
    float* value() const { return p + lanes; }  // [dim], and room up to a multiple of `lanes`

    void clear(int dim) const {
        memset(p, 0, sizeof(float) * size_t(floats(dim)));
        highest() = -INFINITY;
    }
    void scale(Floats factor, int dim) const {
        weight() *= lane(factor, 0);
        for (int d = 0; d < dim; d += lanes) store(value() + d, load(value() + d) * factor);
    }
    // Becomes itself and then `next`, which is used up.
    void merge(Partial next, int dim) const {
        const float top = next.highest() > highest() ? next.highest() : highest();
        scale(exp(broadcast(highest() - top)), dim);
        next.scale(exp(broadcast(next.highest() - top)), dim);
        highest() = top;
        weight() += next.weight();
        for (int d = 0; d < dim; d += lanes) store(value() + d, load(value() + d) + load(next.value() + d));
    }
};

// A query, and the positions of the page at hand that it sees.
struct Query {
    const float* q;
    int64_t token, head;
    int64_t length;  // positions it sees in all
    Partial part;
    int count;  // of this page
};

// Memory that is read after what is at hand: the processor's own prefetching ends with every 4 KiB. A page's keys and
// values together may fill the first cache, so they go to the second.
struct Ahead {
    const char* p = nullptr;
    int step = 0;  // bytes

    void fetch(int i) const {
        for (int at = 0; at < step; at += 64) prefetch(p + i * step + at);
    }
};

// How many vectors of a page's positions, or of its columns, go with n queries so that their sums stay in registers.
constexpr int vectors_beside(int n) {
    constexpr int sums = width == 16 ? 16 : 8;
    return n * parts * 4 <= sums ? 4 : n * parts * 2 <= sums ? 2 : 1;
}

// score[t][j] = q[t] . key j
template <int n, class T>
inline void score_page(const Query* query, PageHead<T> k, float (*score)[page_positions], Ahead ahead) {
    constexpr int vectors = vectors_beside(n);
    for (int first = 0; first < page_vectors; first += vectors) {
        Floats sum[n][vectors];
        for (auto& row : sum)
            for (Floats& f : row) f = broadcast(0.f);
        for (int d = 0; d < k.dim; ++d) {
            if (first == 0) ahead.fetch(d);
            Floats key[vectors];
            for (int v = 0; v < vectors; ++v) key[v] = k.key(d, first + v);
            for (int t = 0; t < n; ++t)
                for (int v = 0; v < vectors; ++v) sum[t][v] = multiply_add(broadcast(query[t].q[d]), key[v], sum[t][v]);
        }
        for (int t = 0; t < n; ++t)
            for (int v = 0; v < vectors; ++v) store(score[t] + (first + v) * lanes, sum[t][v]);
    }
}

// Scores become weights relative to the highest score so far; those of positions that the query does not see are 0.
inline void weigh(float* score, const Query& query, float scale, int dim) {
    Floats x[page_vectors];
    for (int j = query.count; j < page_positions; ++j) score[j] = -INFINITY;
    Floats top = x[0] = load(score) * broadcast(scale);
    for (int v = 1; v < page_vectors; ++v) top = maximum(top, x[v] = load(score + v * lanes) * broadcast(scale));
    const Partial part = query.part;
    if (const float high = highest(top); high > part.highest()) {
        part.scale(exp(broadcast(part.highest() - high)), dim);
        part.highest() = high;
    }
    Floats weight = broadcast(0.f);
    for (int v = 0; v < page_vectors; ++v) {
        const Floats e = exp(x[v] - broadcast(part.highest()));
        store(score + v * lanes, e);
        weight = weight + e;
    }
    part.weight() += sum(weight);
}

// The values of query t become larger by weights of positions [first, last) times theirs, from column d on.
// `value(j, d)` gives 16 of them.
template <int n, int vectors, class Value>
inline void add_columns(Value&& value, const float (*weight)[page_positions], int first, int last, int d,
                        const Query* query, Ahead ahead = {}) {
    Floats sum[n][vectors];
    for (int t = 0; t < n; ++t)
        for (int i = 0; i < vectors; ++i) sum[t][i] = load(query[t].part.value() + d + i * lanes);
    for (int j = first; j < last; ++j) {
        ahead.fetch(j);
        for (int i = 0; i < vectors; ++i) {
            const Floats v = value(j, d + i * lanes);
            for (int t = 0; t < n; ++t) sum[t][i] = multiply_add(broadcast(weight[t][j]), v, sum[t][i]);
        }
    }
    for (int t = 0; t < n; ++t)
        for (int i = 0; i < vectors; ++i) store(query[t].part.value() + d + i * lanes, sum[t][i]);
}
template <int n, class T>
inline void add_values(PageHead<T> v, const float (*weight)[page_positions], int first, int last, const Query* query,
                       Ahead ahead = {}) {
    constexpr int vectors = vectors_beside(n);
    auto whole = [&](int j, int d) { return v.value(j, d); };
    int d = 0;
    for (; d + vectors * lanes <= v.dim; d += vectors * lanes)
        add_columns<n, vectors>(whole, weight, first, last, d, query, d == 0 ? ahead : Ahead{});
    for (; d + lanes <= v.dim; d += lanes) add_columns<n, 1>(whole, weight, first, last, d, query);
    if (d < v.dim) add_columns<n, 1>([&](int j, int at) { return v.last_value(j, at); }, weight, first, last, d, query);
}

template <int n, class T>
inline void attend_page(const Query* query, PageHead<T> k, PageHead<T> v, float scale, Ahead values, Ahead keys) {
    alignas(64) float weight[n][page_positions];
    score_page<n>(query, k, weight, values);
    int common = page_positions;  // every query sees these
    for (int t = 0; t < n; ++t) {
        weigh(weight[t], query[t], scale, k.dim);
        common = query[t].count < common ? query[t].count : common;
    }
    add_values<n>(v, weight, 0, common, query, keys);
    for (int t = 0; t < n; ++t)
        if (query[t].count > common) add_values<1>(v, weight + t, common, query[t].count, query + t);
}

// The operands of an `attend`.
struct Attention {
    Tensor y, q, k, v;
    const Batch& batch;
    int dim;
    float scale = float(1 / std::sqrt(double(dim)));

    int64_t heads() const { return q.columns / dim; }
    int64_t kv_heads() const { return k.columns / dim; }
    int64_t group() const { return heads() / kv_heads(); }
    int64_t length(int64_t token) const { return int64_t(batch.position[token]) + 1; }
    int64_t chunks(int64_t token) const { return (length(token) + chunk_positions - 1) / chunk_positions; }
    const int32_t* pages(int64_t token) const {
        return batch.pages + int64_t(batch.sequence[token]) * batch.page_stride;
    }

    void finish(Partial total, int64_t token, int64_t head) const {
        float* out = y.row(token) + head * dim;
        for (int d = 0; d < dim; ++d) out[d] = total.value()[d] / total.weight();
    }
};

// What the keys of a chunk give up to queries_at_once queries of one sequence and one KV head, the ones that see more
// last.
template <class T>
void attend_chunk(const Attention& a, Query* query, int n, int64_t chunk) {
    const int32_t* pages = a.pages(query[0].token);
    const int64_t kv_head = query[0].head / a.group();
    for (int t = 0; t < n; ++t) query[t].part.clear(a.dim);
    int t = 0;
    for (int64_t page = chunk * chunk_pages; page < (chunk + 1) * chunk_pages; ++page) {
        while (t < n && query[t].length <= page * page_positions) ++t;
        if (t == n) return;
        for (int i = t; i < n; ++i) {
            const int64_t left = query[i].length - page * page_positions;
            query[i].count = int(left < page_positions ? left : page_positions);
        }
        const PageHead<T> keys = page_head<T>(a.k, pages[page], kv_head, a.dim),
                          values = page_head<T>(a.v, pages[page], kv_head, a.dim);
        const int64_t bytes = row_bytes(a.k.format, a.dim) * page_positions;
        Ahead next_values{values.p, int(bytes / a.dim)}, next_keys;
        if ((page + 1) * page_positions < query[n - 1].length && page + 1 < (chunk + 1) * chunk_pages)
            next_keys = {page_head<T>(a.k, pages[page + 1], kv_head, a.dim).p, int(bytes / page_positions)};
        auto attend = [&](auto k, auto v) {
            int i = t;
            auto step = [&](auto size) {
                attend_page<size>(query + i, k, v, a.scale, next_values, next_keys);
                i += size;
                next_values = next_keys = {};
            };
            while (n - i >= query_tile) step(std::integral_constant<int, query_tile>{});
            if constexpr (query_tile == 4) {
                if (n - i == 3) step(std::integral_constant<int, 3>{});
                if (n - i == 2) step(std::integral_constant<int, 2>{});
            }
            if (n - i == 1) step(std::integral_constant<int, 1>{});
        };
        if constexpr (width == 4 && !std::is_same_v<T, float>)  // where decoding costs more than a product
            if (n - t > 1) {
                DecodedPage page;
                next_values = {};
                attend(page.decode_keys(keys), page.decode_values(values));
                continue;
            }
        attend(keys, values);
    }
}

// Calls f(queries, how many) for the heads of a KV head's group at tokens [first, end): together those of one sequence,
// the ones that see more last.
template <class F>
void for_queries(const Attention& a, int64_t first, int64_t end, int64_t kv_head, F&& f) {
    Query query[queries_at_once];
    int n = 0;
    for (int64_t token = first; token < end; ++token)
        for (int64_t head = kv_head * a.group(); head < (kv_head + 1) * a.group(); ++head) {
            if (n == queries_at_once || (n > 0 && (a.batch.sequence[token] != a.batch.sequence[query[0].token] ||
                                                   a.length(token) < query[n - 1].length))) {
                f(query, n);
                n = 0;
            }
            query[n++] = {a.q.row(token) + head * a.dim, token, head, a.length(token), {}, 0};
        }
    if (n > 0) f(query, n);
}

// Each thread takes whole queries: for many tokens.
template <class T>
void attend_whole(Stream* s, const Attention& a) {
    const int64_t rows = a.group() >= queries_at_once ? 1 : queries_at_once / a.group();  // tokens taken together
    const int64_t floats = Partial::floats(a.dim);
    parallel(s, (a.q.rows + rows - 1) / rows * a.kv_heads(), [&](int64_t item) {
        const int64_t first = item / a.kv_heads() * rows;
        const int64_t end = first + rows < a.q.rows ? first + rows : a.q.rows;
        for_queries(a, first, end, item % a.kv_heads(), [&](Query* query, int n) {
            alignas(64) float memory[2 * queries_at_once * Partial::floats(most_head_dim)];
            auto total = [&](int t) { return Partial{memory + t * floats}; };
            for (int64_t chunk = 0; chunk < a.chunks(query[n - 1].token); ++chunk) {
                for (int t = 0; t < n; ++t) query[t].part = chunk == 0 ? total(t) : total(queries_at_once + t);
                attend_chunk<T>(a, query, n, chunk);
                for (int t = 0; t < n; ++t)
                    if (chunk > 0 && chunk < a.chunks(query[t].token)) total(t).merge(query[t].part, a.dim);
            }
            for (int t = 0; t < n; ++t) a.finish(total(t), query[t].token, query[t].head);
        });
    });
}

// Threads share the chunks of a query: for few tokens. Partial results lie in `scratch` [rows][heads][chunks].
template <class T>
void attend_split(Stream* s, const Attention& a, int64_t chunks, float* scratch) {
    const int64_t floats = Partial::floats(a.dim);
    auto part = [&](int64_t token, int64_t head, int64_t chunk) {
        return Partial{scratch + ((token * a.heads() + head) * chunks + chunk) * floats};
    };
    parallel(s, a.kv_heads() * chunks, [&](int64_t item) {
        const int64_t chunk = item % chunks;
        for_queries(a, 0, a.q.rows, item / chunks, [&](Query* query, int n) {
            for (int t = 0; t < n; ++t) query[t].part = part(query[t].token, query[t].head, chunk);
            attend_chunk<T>(a, query, n, chunk);
        });
    });
    parallel(s, a.heads(), [&](int64_t head) {
        for (int64_t token = 0; token < a.q.rows; ++token) {
            const Partial total = part(token, head, 0);
            for (int64_t chunk = 1; chunk < a.chunks(token); ++chunk) total.merge(part(token, head, chunk), a.dim);
            a.finish(total, token, head);
        }
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

int64_t attend_bytes(const Batch& b, int64_t columns, int dim) {
    const int64_t rows = b.n < most_split_rows ? b.n : most_split_rows;
    const int64_t chunks = (int64_t(b.page_stride) + chunk_pages - 1) / chunk_pages;
    return chunks > 1 ? rows * (columns / dim) * chunks * Partial::floats(dim) * int64_t(sizeof(float)) : 0;
}

void attend(Stream* s, Tensor y, Tensor q, Tensor k, Tensor v, const Batch& b, int head_dim, void* scratch) {
    const Attention a{y, q, k, v, b, head_dim};
    int64_t chunks = 1;
    if (q.rows <= most_split_rows && cpu::threads(s) > 1)
        for (int64_t token = 0; token < q.rows; ++token) chunks = a.chunks(token) > chunks ? a.chunks(token) : chunks;
    with_cache_type(k.format, [&](auto t) {
        using T = decltype(t);
        chunks > 1 ? attend_split<T>(s, a, chunks, static_cast<float*>(scratch)) : attend_whole<T>(s, a);
    });
}

// A thread takes whole heads: the keys of neighbouring positions share cache lines. Calls prepare(head, row) before it
// stores those.
template <class F>
void store_heads(Stream* s, Tensor k_cache, Tensor v_cache, Tensor k, Tensor v, const int32_t* slot, int dim,
                 F&& prepare) {
    constexpr int64_t least = 1024;  // numbers that are worth the other threads
    const int64_t heads = k.columns / dim, together = k.rows * k.columns < least ? heads : 1;
    with_cache_type(k_cache.format, [&](auto t) {
        using Head = PageHead<decltype(t)>;
        parallel(s, heads / together, [&](int64_t item) {
            for (int64_t head = item * together; head < (item + 1) * together; ++head)
                for (int64_t i = 0; i < k.rows; ++i) {
                    prepare(head, i);
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
