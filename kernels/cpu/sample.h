// A row of logits to candidates, log-sums and a draw.
#pragma once
#include "kernels/cpu/simd.h"
#include "kernels/cpu/threads.h"
#include "kernels/ops.h"

namespace alia {
namespace {

// The order of candidates: the higher logit, then the smaller token.
inline bool before(Candidate a, Candidate b) { return a.logit > b.logit || (a.logit == b.logit && a.token < b.token); }

// The best candidates, as a heap whose root is the last of them.
struct Best {
    Candidate* heap;
    int count = 0;

    bool wants(Candidate c) const { return count < max_candidates || before(c, heap[0]); }
    void add(Candidate c) {
        if (count < max_candidates) {
            int i = count++;
            for (; i > 0 && before(heap[(i - 1) / 2], c); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
            heap[i] = c;
        } else {
            sink(0, c, count);
        }
    }
    // Puts c at i and lets it sink below those that come after it.
    void sink(int i, Candidate c, int n) {
        for (int child; (child = 2 * i + 1) < n; i = child) {
            if (child + 1 < n && before(heap[child], heap[child + 1])) ++child;
            if (!before(c, heap[child])) break;
            heap[i] = heap[child];
        }
        heap[i] = c;
    }
    void sort() {
        for (int n = count - 1; n > 0; --n) {
            Candidate last = heap[n];
            heap[n] = heap[0];
            sink(0, last, n);
        }
    }
};

inline float changed(float logit, const LogitChange& c) {
    return (logit > 0 ? logit / c.divide : logit * c.divide) + c.add;
}

inline bool allowed(const SampleRow& row, int64_t token) {
    return !row.mask || (row.mask[token / 32] >> token % 32 & 1);
}

// Logits that one thread takes at once: the sum of their exponentials is added to that of those before.
constexpr int most_pieces = 64;
inline int64_t piece_of(int64_t n) { return (n + 256 * most_pieces - 1) / (256 * most_pieces) * 256; }

// NaN and what the mask does not allow become minus infinity in tokens [first, end).
inline void apply(float* logits, int64_t first, int64_t end, const SampleRow& row) {
    const Floats least = broadcast(-INFINITY);
    for (int64_t t = first; t < end; t += lanes)
        if (end - t >= lanes)
            store(logits + t, maximum(least, load(logits + t)));
        else
            store(logits + t, maximum(least, load(logits + t, end - t)), end - t);
    if (row.mask)
        for (int64_t t = first; t < end; ++t)
            if (!allowed(row, t)) logits[t] = -INFINITY;
}

// Sixteen at a time: few are above the last of the best so far.
inline void find_best(const float* logits, int64_t n, Best& best) {
    for (int64_t t = 0; t < n; t += lanes) {
        const bool whole = n - t >= lanes;
        const float least = best.count < max_candidates ? -INFINITY : best.heap[0].logit;
        if (whole && !any_above(load(logits + t), broadcast(least))) continue;
        for (int64_t i = t; i < (whole ? t + lanes : n); ++i)
            if (Candidate c{int32_t(i), logits[i]}; logits[i] > -INFINITY && best.wants(c)) best.add(c);
    }
}

inline double sum_exponentials(const float* logits, int64_t first, int64_t end, float highest,
                               float inverse_temperature) {
    Floats t = broadcast(inverse_temperature), h = broadcast(highest);
    double total = 0;
    for (int64_t i = first; i < end; i += 256) {
        Floats part = broadcast(0.f);
        for (int64_t j = i; j < i + 256 && j < end; j += lanes) {
            Floats x = broadcast(-INFINITY);
            memcpy(&x, logits + j, (end - j < lanes ? end - j : lanes) * sizeof(float));
            part = part + exp((x - h) * t);
        }
        total += sum(part);
    }
    return total;
}

// argmax of logit / T + noise. -log u >= 1 - u, so a token whose 1 - u is above e^(logit / T - best) cannot win and its
// logarithms are not taken; the margin covers the rounding of the test.
inline int32_t draw(const float* logits, int64_t n, const SampleRow& row, Candidate first) {
    if (row.inverse_temperature <= 0) return first.token;
    auto score = [&](int64_t t, double u) {
        return double(logits[t]) * row.inverse_temperature - std::log(-std::log(u));
    };
    int32_t token = first.token;
    double best = score(token, uniform(row.seed, row.position, token));
    for (int64_t t = 0; t < n; ++t) {
        if (logits[t] == -INFINITY) continue;
        const double reach = double(logits[t]) * row.inverse_temperature - best;
        if (reach < -37) continue;  // 1 - u is at least 2^-53
        const double u = uniform(row.seed, row.position, uint64_t(t));
        // Most are out of reach by e^-reach >= 1 - reach + reach^2 / 2, which costs no exponential.
        if (reach < 0 && (1 - u) * (1 - reach + reach * reach / 2) > 1.000001) continue;
        if (1 - u > std::exp(reach) * 1.000001) continue;
        if (const double x = score(t, u); x > best || (x == best && t < token)) best = x, token = int32_t(t);
    }
    return token;
}

// `each(n, f)` calls f(i) for every i in [0, n).
template <class Each>
void sample_row(SampleResult& r, float* row, int64_t n, const SampleRow& record, Each&& each) {
    const int64_t piece = piece_of(n), pieces = (n + piece - 1) / piece;
    auto end = [&](int64_t i) { return (i + 1) * piece < n ? (i + 1) * piece : n; };
    for (int i = 0; i < record.change_count; ++i) {
        float& l = row[record.changes[i].token];
        l = changed(l, record.changes[i]);
    }
    each(pieces, [&](int64_t i) { apply(row, i * piece, end(i), record); });
    Best best{r.candidates};
    find_best(row, n, best);
    best.sort();
    r.count = best.count;
    r.draw = -1;
    r.log_sum_1 = r.log_sum = -INFINITY;
    if (best.count == 0) return;
    const float highest = r.candidates[0].logit;
    auto log_sum = [&](float inverse_temperature) -> double {
        if (highest == INFINITY) return INFINITY;
        double sums[most_pieces], total = 0;
        each(pieces,
             [&](int64_t i) { sums[i] = sum_exponentials(row, i * piece, end(i), highest, inverse_temperature); });
        for (int64_t i = 0; i < pieces; ++i) total += sums[i];
        return std::log(total) + double(highest) * inverse_temperature;
    };
    r.log_sum_1 = log_sum(1);
    const float t = record.inverse_temperature;
    r.log_sum = t > 0 && t != 1 ? log_sum(t) : r.log_sum_1;
    r.draw = draw(row, n, record, r.candidates[0]);
}

// Threads share a single row, or take whole ones.
void sample(Stream* s, SampleResult* results, Tensor logits, const SampleRow* records) {
    const int64_t n = logits.columns;
    if (logits.rows == 1)
        return sample_row(results[0], logits.row(0), n, records[0], [&](int64_t m, auto&& f) { parallel(s, m, f); });
    parallel(s, logits.rows, [&](int64_t i) {
        sample_row(results[i], logits.row(i), n, records[i], [](int64_t m, auto&& f) {
            for (int64_t k = 0; k < m; ++k) f(k);
        });
    });
}

}  // namespace
}  // namespace alia
