// Every operation in double precision, the obvious way: what the other tables are tested against.
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/host.h"
#include "kernels/ops.h"

namespace alia {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXd;
using FloatRows =
    Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, 0, Eigen::OuterStride<>>;
using FloatVector = Eigen::Map<const Eigen::VectorXf>;

FloatRows view(Tensor t) {
    return {t.row(0), t.rows, t.columns, Eigen::OuterStride<>(t.stride / int64_t(sizeof(float)))};
}

Stream* open(const DeviceOptions&) { return nullptr; }
void close(Stream*) {}

// Weights stay in their format's own layout.
int64_t packed_bytes(Format f, int64_t rows, int64_t columns) { return rows * row_bytes(f, columns); }

void pack(Stream*, Tensor w, int64_t first, int64_t count, const void* const* rows) {
    const int64_t size = row_bytes(w.format, w.columns);
    for (int64_t i = 0; i < count; ++i)
        std::copy_n(static_cast<const char*>(rows[i]), size, static_cast<char*>(w.data) + (first + i) * size);
}

void draw(Stream* s, Tensor w, uint64_t seed) { host::draw(s, w, seed, pack); }

Vector decoded_row(Tensor w, int64_t row) {
    Eigen::VectorXf f(w.columns);
    decode_row(w.format, static_cast<const char*>(w.data) + row * row_bytes(w.format, w.columns), w.columns, f.data());
    return f.cast<double>();
}

// Row `row` of a cache, from column `first`.
Vector cache_row(Tensor cache, int64_t row, int64_t first, int64_t count) {
    Eigen::VectorXf f(count);
    decode_row(cache.format, cache.row<char>(row) + row_bytes(cache.format, first), count, f.data());
    return f.cast<double>();
}

void embed(Stream*, Tensor y, Tensor w, const int32_t* token) {
    for (int64_t i = 0; i < y.rows; ++i) view(y).row(i) = decoded_row(w, token[i]).cast<float>();
}

void norm(Stream*, Tensor y, Tensor x, const float* w, float eps) {
    for (int64_t i = 0; i < x.rows; ++i) {
        Vector row = view(x).row(i).cast<double>();
        row /= std::sqrt(row.squaredNorm() / double(x.columns) + eps);
        view(y).row(i) = row.cwiseProduct(FloatVector(w, x.columns).cast<double>()).cast<float>();
    }
}

void add_norm(Stream* s, Tensor y, Tensor x, Tensor a, const float* w, float eps) {
    view(x) += view(a);
    norm(s, y, x, w, eps);
}

int64_t scratch_bytes(Format, int64_t, int64_t) { return 0; }

void linear(Stream*, Role, Tensor y, Tensor x, Tensor w, void*) {
    constexpr int64_t block = 64;  // rows of w decoded at once
    if (x.rows == 0) return;
    const Matrix input = view(x).cast<double>();
    for (int64_t first = 0; first < w.rows; first += block) {
        const int64_t n = std::min(block, w.rows - first);
        Matrix rows(n, w.columns);
        for (int64_t i = 0; i < n; ++i) rows.row(i) = decoded_row(w, first + i);
        // Row by row of x: the library's order of sums depends on the shapes it is given.
        for (int64_t i = 0; i < x.rows; ++i)
            view(y).row(i).segment(first, n) = (rows * input.row(i).transpose()).cast<float>();
    }
}

void angles(Stream*, Tensor y, const int32_t* position, Rope rope) {
    for (int64_t row = 0; row < y.rows; ++row)
        for (int i = 0; i < rope.pairs; ++i) {
            const double p = position[row];
            double f = rope.frequency[i];
            if (rope.factor > 0 && p >= rope.original)
                f /= std::pow(rope.factor * (p + 1) / rope.original - rope.factor + 1, 2.0 * i / (2 * rope.pairs - 2));
            y.row(row)[i] = float(std::cos(p * f) * rope.scale);
            y.row(row)[i + rope.pairs] = float(std::sin(p * f) * rope.scale);
        }
}

void rotate(Tensor x, Tensor angles) {
    const int64_t dim = angles.columns, half = dim / 2;
    for (int64_t row = 0; row < x.rows; ++row)
        for (int64_t i = 0; i < x.columns / dim * half; ++i) {
            float *a = x.row(row) + i / half * dim + i % half, *b = a + half;
            const double c = angles.row(row)[i % half], s = angles.row(row)[i % half + half], u = *a, v = *b;
            *a = float(u * c - v * s);
            *b = float(v * c + u * s);
        }
}

// d = largest / 127 as a half, q to the nearest. One NaN makes d NaN.
void store_block(const float* x, uint8_t* block) {
    float largest = 0;
    for (int i = 0; i < Q8_0::n; ++i)
        if (std::fabs(x[i]) > largest || std::isnan(x[i])) largest = std::fabs(x[i]);
    const f16 d = q8_scale(largest);
    std::memcpy(block, &d, 2);
    for (int i = 0; i < Q8_0::n; ++i) {
        const double q = to_float(d) > 0 ? std::nearbyint(double(x[i]) / to_float(d)) : 0;
        block[2 + i] = uint8_t(int8_t(std::clamp(q, -127.0, 127.0)));
    }
}

// d a power of two, so that the numbers are those of bf16.
void store_e4m3(const float* x, uint8_t* block) {
    float largest = 0;
    for (int i = 0; i < E4M3::n; ++i) largest = std::max(largest, std::fabs(x[i]));
    const float d = e4m3_scale(largest);
    std::memcpy(block, &d, 4);
    for (int i = 0; i < E4M3::n; ++i) block[4 + i] = to_e4m3(x[i] / d);
}

void store_row(Tensor cache, int64_t slot, const float* x) {
    for (int64_t i = 0; i < cache.columns; ++i)
        if (cache.format == Format::F32)
            cache.row(slot)[i] = x[i];
        else if (cache.format == Format::F16)
            cache.row<f16>(slot)[i] = to_f16(std::clamp(x[i], -65504.f, 65504.f));
        else if (cache.format == Format::BF16)
            cache.row<bf16>(slot)[i] = to_bf16(x[i]);
        else if (i % Q8_0::n == 0 && cache.format == Format::E4M3)
            store_e4m3(x + i, cache.row<uint8_t>(slot) + i / E4M3::n * E4M3::bytes);
        else if (i % Q8_0::n == 0)
            store_block(x + i, cache.row<uint8_t>(slot) + i / Q8_0::n * Q8_0::bytes);
}

void rotate_store(Stream*, Tensor q, Tensor k, Tensor v, Tensor angles, Tensor k_cache, Tensor v_cache,
                  const int32_t* slot) {
    rotate(q, angles);
    rotate(k, angles);
    for (int64_t i = 0; i < k.rows; ++i) {
        store_row(k_cache, slot[i], k.row(i));
        store_row(v_cache, slot[i], v.row(i));
    }
}

bool caches(Format f, int64_t head_dim) {
    return f == Format::F32 || f == Format::F16 || f == Format::BF16 ||
           ((f == Format::Q8_0 || f == Format::E4M3) && head_dim % info(f).n == 0);
}

int64_t attend_bytes(const Batch&, int64_t, int) { return 0; }

void attend(Stream*, Tensor y, Tensor q, Tensor k, Tensor v, const Batch& b, int dim, void*) {
    const int64_t heads = q.columns / dim, group = heads / (k.columns / dim);
    for (int64_t token = 0; token < q.rows; ++token)
        for (int64_t head = 0; head < heads; ++head) {
            const int32_t* pages = b.pages + int64_t(b.sequence[token]) * b.page_stride;
            const int64_t length = b.position[token] + 1, column = head / group * dim;
            Vector query = view(q).row(token).segment(head * dim, dim).cast<double>(), score(length),
                   out = Vector::Zero(dim);
            auto slot = [&](int64_t j) {
                return int64_t(pages[j / page_positions]) * page_positions + j % page_positions;
            };
            for (int64_t j = 0; j < length; ++j)
                score[j] = query.dot(cache_row(k, slot(j), column, dim)) / std::sqrt(double(dim));
            Vector weight = (score.array() - score.maxCoeff()).exp();
            for (int64_t j = 0; j < length; ++j) out += weight[j] / weight.sum() * cache_row(v, slot(j), column, dim);
            view(y).row(token).segment(head * dim, dim) = out.cast<float>();
        }
}

void glu(Stream*, Tensor y, Tensor x) {
    for (int64_t row = 0; row < y.rows; ++row)
        for (int64_t i = 0; i < y.columns; ++i) {
            const double gate = x.row(row)[i], up = x.row(row)[i + y.columns];
            y.row(row)[i] = float(gate / (1 + std::exp(-gate)) * up);
        }
}

void linear_glu(Stream* s, Role role, Tensor y, Tensor x, Tensor w, Tensor both, void* scratch) {
    linear(s, role, both, x, w, scratch);
    glu(s, y, both);
}

void rows(Stream*, Tensor y, Tensor x, const int32_t* index) {
    for (int64_t i = 0; i < y.rows; ++i) view(y).row(i) = view(x).row(index[i]);
}

void columns(Stream*, Tensor y, Tensor x, const int32_t* index) {
    for (int64_t j = 0; j < y.columns; ++j) view(y).col(j) = view(x).col(index[j]);
}

void sample_row(SampleResult& result, float* logits, int64_t n, const SampleRow& record) {
    for (int i = 0; i < record.change_count; ++i) {
        const LogitChange& c = record.changes[i];
        float& l = logits[c.token];
        l = (l > 0 ? l / c.divide : l * c.divide) + c.add;
    }
    std::vector<Candidate> all;
    for (int64_t t = 0; t < n; ++t)
        if (logits[t] > -INFINITY && (!record.mask || record.mask[t / 32] >> t % 32 & 1))
            all.push_back({int32_t(t), logits[t]});
    std::sort(all.begin(), all.end(),
              [](Candidate a, Candidate b) { return a.logit > b.logit || (a.logit == b.logit && a.token < b.token); });
    result.count = int(std::min<size_t>(all.size(), max_candidates));
    std::copy_n(all.begin(), result.count, result.candidates);
    result.draw = -1;
    result.log_sum_1 = result.log_sum = -INFINITY;
    if (all.empty()) return;
    auto log_sum = [&](double t) {
        double sum = 0;
        for (Candidate c : all) sum += std::exp((double(c.logit) - all[0].logit) * t);
        return std::log(sum) + all[0].logit * t;
    };
    const double t = record.inverse_temperature;
    result.log_sum_1 = log_sum(1);
    result.log_sum = t > 0 ? log_sum(t) : result.log_sum_1;
    result.draw = all[0].token;
    if (t <= 0) return;
    double best = -INFINITY;
    for (Candidate c : all) {
        const double score =
            c.logit * t - std::log(-std::log(uniform(record.seed, record.position, uint64_t(c.token))));
        if (score > best || (score == best && c.token < result.draw)) best = score, result.draw = c.token;
    }
}

void sample(Stream*, SampleResult* results, Tensor logits, const SampleRow* records) {
    for (int64_t i = 0; i < logits.rows; ++i) sample_row(results[i], logits.row(i), logits.columns, records[i]);
}

double read_rate(Stream*, const void*, int64_t) { return 0; }
Roofs measure(Stream*) { return {}; }

}  // namespace

const Kernels ref_kernels = {
    .name = "ref",
    .cache_format = Format::F32,
    .operand_format = Format::F32,
    .host_embeddings = false,
    .replays = false,
    .staging_bytes = 0,
    .open = open,
    .close = close,
    .free_bytes = host::free_bytes,
    .sample_bytes = host::sample_bytes,
    .reserve = host::reserve,
    .allocate = host::allocate,
    .release = host::release,
    .write = host::copy,
    .read = host::copy,
    .run = host::run,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .end_packing = host::end_packing,
    .embed = embed,
    .norm = norm,
    .add_norm = add_norm,
    .linear = linear,
    .scratch_bytes = scratch_bytes,
    .linear_glu = linear_glu,
    .glu = glu,
    .angles = angles,
    .rotate_store = rotate_store,
    .caches = caches,
    .attend = attend,
    .attend_bytes = attend_bytes,
    .rows = rows,
    .columns = columns,
    .sample = sample,
    .read_rate = read_rate,
    .measure = measure,
    .draw = draw,
};

}  // namespace alia
