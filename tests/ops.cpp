// Every table against the reference: all operations and formats, odd sizes, buffers of exactly the bytes that are used.
#include <algorithm>
#include <cmath>
#include <memory>
#include <random>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/threads.h"
#include "kernels/device.h"
#include "tests/catch.h"

using namespace alia;

namespace {

std::vector<const Kernels*> tables() {
    auto t = cpu::tables();
    return {t.begin(), t.end()};
}

// A table with its stream.
struct Backend {
    explicit Backend(const Kernels& k, int threads = 2) : device(k, {.threads = threads}) {}
    Device device;
    const Kernels* operator->() const { return &device.kernels; }
    Stream* stream() const { return device.stream; }
};

// Memory of exactly the size asked for, so that a sanitizer sees the first byte beyond it.
class Exact {
  public:
    explicit Exact(int64_t bytes) : memory(new char[size_t(bytes)]), size(bytes) {}
    template <class T>
    T* as() const {
        return reinterpret_cast<T*>(memory.get());
    }
    std::unique_ptr<char[]> memory;
    int64_t size;
};

struct Matrix {
    Matrix(int64_t rows, int64_t columns, Format f = Format::F32)
        : memory(rows * row_bytes(f, columns)), t{memory.memory.get(), rows, columns, row_bytes(f, columns), f} {
        std::memset(memory.memory.get(), 0xFF, size_t(memory.size));  // NaN
    }
    Exact memory;
    Tensor t;
    operator Tensor() const { return t; }
};

std::mt19937 rng(20261124);

float normal() { return std::normal_distribution<float>()(rng); }

Matrix random_matrix(int64_t rows, int64_t columns) {
    Matrix m(rows, columns);
    for (int64_t i = 0; i < rows * columns; ++i) m.t.row(0)[i] = normal();
    return m;
}

// Numbers that eight bits hold with one scale for every 16, so that quantising them loses nothing.
Matrix random_bytes(int64_t rows, int64_t columns) {
    Matrix m(rows, columns);
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) {
            const int q = j % 16 == 7 ? 127 : int(rng() % 255) - 127;
            m.t.row(i)[j] = std::ldexp(float(q), -6 - int((i + j / 32) % 5));
        }
    return m;
}

// Rows of random bytes that decode to small finite numbers: bytes are drawn again while a block decodes to something
// large.
Matrix random_weights(Format f, int64_t rows, int64_t columns) {
    Matrix m(rows, columns, f);
    std::vector<float> block(size_t(info(f).n));
    auto* bytes = m.memory.as<uint8_t>();
    for (int64_t b = 0; b < m.memory.size; b += info(f).bytes) {
        bool small;
        do {
            for (int i = 0; i < info(f).bytes; ++i) bytes[b + i] = uint8_t(rng());
            decode_row(f, bytes + b, info(f).n, block.data());
            small = std::all_of(block.begin(), block.end(), [](float x) { return std::fabs(x) < 8; });
        } while (!small);
    }
    return m;
}

std::vector<const void*> row_pointers(const Matrix& m) {
    std::vector<const void*> rows;
    for (int64_t i = 0; i < m.t.rows; ++i) rows.push_back(m.t.row<char>(i));
    return rows;
}

struct Packed {
    Packed(const Backend& b, const Matrix& m) : memory(b->packed_bytes(m.t.format, m.t.rows, m.t.columns)), t(m.t) {
        t.data = memory.memory.get();
        t.stride = 0;
        const auto rows = row_pointers(m);  // in two slices where there are enough
        for (int64_t first = 0; first < t.rows; first += pack_rows)
            b->pack(b.stream(), t, first, std::min<int64_t>(pack_rows, t.rows - first), rows.data() + first);
    }
    Exact memory;
    Tensor t;
};

void linear(const Backend& b, Tensor y, Tensor x, Tensor w) {
    const Exact scratch(b->scratch_bytes(w.format, x.rows, x.columns));
    b->linear(b.stream(), Role::prompt, y, x, w, scratch.as<void>());
}

// Sum of squared differences over sum of squares, or over `least` where cancellation leaves less.
double distance(Tensor a, Tensor b, double least = 1e-30) {
    double difference = 0, size = 0;
    for (int64_t i = 0; i < a.rows; ++i)
        for (int64_t j = 0; j < a.columns; ++j) {
            const double x = a.row(i)[j], y = b.row(i)[j];
            if (!std::isfinite(x) || !std::isfinite(y)) return INFINITY;
            difference += (x - y) * (x - y);
            size += y * y;
        }
    return difference / std::max(size, least);
}

// What the sum of squares of x w^T would be on average over signs.
double expected_squares(Tensor x, Tensor w) {
    double of_x = 0, of_w = 0;
    std::vector<float> row(static_cast<size_t>(w.columns));
    for (int64_t i = 0; i < x.rows; ++i)
        for (int64_t j = 0; j < x.columns; ++j) of_x += double(x.row(i)[j]) * x.row(i)[j];
    for (int64_t i = 0; i < w.rows; ++i) {
        decode_row(w.format, w.row<char>(i), w.columns, row.data());
        for (float f : row) of_w += double(f) * f;
    }
    return of_x * of_w / double(x.columns);
}

bool same_bits(Tensor a, Tensor b) {
    for (int64_t i = 0; i < a.rows; ++i)
        if (std::memcmp(a.row(i), b.row(i), size_t(a.columns) * sizeof(float)) != 0) return false;
    return true;
}

constexpr double close_enough = 1e-12;  // relative squared error of float sums

// Sequences of the given lengths whose pages are scattered over a cache; the last `tokens` positions of each are new.
struct Paged {
    Paged(std::vector<int> lengths, int tokens) {
        for (int n : lengths) stride = std::max(stride, (n + page_positions - 1) / page_positions);
        total = stride * int(lengths.size()) + 1;
        std::vector<int32_t> free(static_cast<size_t>(total));
        for (int i = 0; i < total; ++i) free[size_t(i)] = i;
        std::shuffle(free.begin(), free.end(), rng);
        pages.assign(free.begin(), free.begin() + stride * int(lengths.size()));
        for (int s = 0; s < int(lengths.size()); ++s)
            for (int p = std::max(0, lengths[size_t(s)] - tokens); p < lengths[size_t(s)]; ++p) {
                position.push_back(p);
                sequence.push_back(s);
                slot.push_back(pages[size_t(s * stride + p / page_positions)] * page_positions + p % page_positions);
            }
    }
    Batch batch() const {
        return {.n = int(position.size()),
                .page_stride = stride,
                .position = position.data(),
                .slot = slot.data(),
                .sequence = sequence.data(),
                .pages = pages.data()};
    }
    int stride = 0, total = 0;
    std::vector<int32_t> pages, position, sequence, slot;
};

}  // namespace

TEST_CASE("linear and embed agree with the reference in every format") {
    Backend ref(ref_kernels);
    for (const Kernels* table : tables()) {
        Backend cpu(*table);
        for (int f = 0; f < Formats::size; ++f) {
            const Format format = Format(f);
            const int64_t n = info(format).n;
            for (int64_t rows : {1, 15, 16, 17, 53, 131})
                for (int64_t blocks :
                     {int64_t(1), n == 1 ? int64_t(257) : int64_t(3), n == 32 ? int64_t(17) : int64_t(2)})
                    for (int64_t tokens : {1, 2, 3, 7, 31, 263}) {
                        if (tokens >= 31 && rows != 53) continue;
                        if (rows == 131 && tokens != 2) continue;
                        const Matrix w = random_weights(format, rows, n * blocks);
                        const Packed a(ref, w), b(cpu, w);
                        INFO(table->name << " " << info(format).name << " " << rows << "x" << n * blocks << " by "
                                         << tokens);
                        for (bool exact : {true, false}) {
                            const Matrix x = (exact ? random_bytes : random_matrix)(tokens, n * blocks);
                            Matrix y(tokens, rows), z(tokens, rows);
                            linear(ref, y, x, a.t);
                            linear(cpu, z, x, b.t);
                            const double few_bits = n > 1 ? 3e-4 : format == Format::BF16 ? 3e-5 : close_enough;
                            REQUIRE(distance(z, y, expected_squares(x, w)) < (exact ? close_enough : few_bits));
                        }
                        std::vector<int32_t> ids;
                        for (int64_t i = 0; i < tokens; ++i) ids.push_back(int32_t(rng() % uint64_t(rows)));
                        Matrix e(tokens, n * blocks), g(tokens, n * blocks);
                        ref->embed(ref.stream(), e, a.t, ids.data());
                        cpu->embed(cpu.stream(), g, b.t, ids.data());
                        REQUIRE(distance(g, e) == 0);
                    }
        }
    }
}

TEST_CASE("a row of linear has the same bits beside any other rows and with any number of threads") {
    for (const Kernels* table : tables())
        for (int f = 0; f < Formats::size; ++f) {
            const Format format = Format(f);
            Backend one(*table, 1), many(*table, 3);
            const Matrix w = random_weights(format, 37, 768), x = random_matrix(265, 768);
            const Packed p(one, w);
            Matrix all(265, 37), some(5, 37), row(1, 37);
            linear(many, all, x, p.t);
            for (int64_t i = 0; i < 265; ++i) {
                linear(one, row, Tensor{x.t.row(i), 1, 768, x.t.stride}, p.t);
                INFO(table->name << " " << info(format).name << " row " << i);
                REQUIRE(same_bits(row, Tensor{all.t.row(i), 1, 37, all.t.stride}));
            }
            linear(one, some, Tensor{x.t.row(100), 5, 768, x.t.stride}, p.t);
            REQUIRE(same_bits(some, Tensor{all.t.row(100), 5, 37, all.t.stride}));
        }
}

TEST_CASE("a row that is too long for a thread to keep for itself has the same bits beside another") {
    constexpr int64_t columns = 40960;
    for (const Kernels* table : tables())
        for (Format format : {Format::Q8_0, Format::BF16}) {
            INFO(table->name << " " << info(format).name);
            Backend b(*table, 3);
            const Packed p(b, random_weights(format, 33, columns));
            const Matrix x = random_matrix(2, columns);
            Matrix both(2, 33), row(1, 33);
            linear(b, both, x, p.t);
            for (int i : {0, 1}) {
                linear(b, row, Tensor{x.t.row(i), 1, columns, x.t.stride}, p.t);
                REQUIRE(same_bits(row, Tensor{both.t.row(i), 1, 33, both.t.stride}));
            }
        }
}

TEST_CASE("a NaN shows in all products of its row and in no other row") {
    std::vector<const Kernels*> all = tables();
    all.push_back(&ref_kernels);
    for (const Kernels* table : all)
        for (int f = 0; f < Formats::size; ++f) {
            Backend b(*table);
            const int64_t columns = info(Format(f)).n == 1 ? 33 : 256;
            const Matrix w = random_weights(Format(f), 17, columns);
            const Packed p(b, w);
            Matrix x = random_matrix(3, columns), before(3, 17), after(3, 17);
            linear(b, before, x, p.t);
            for (int64_t at = 0; at < 33; ++at) {
                const float number = std::exchange(x.t.row(1)[at], NAN);
                linear(b, after, x, p.t);
                INFO(table->name << " " << info(Format(f)).name << " column " << at);
                for (int i : {0, 2})
                    REQUIRE(same_bits(Tensor{after.t.row(i), 1, 17, after.t.stride},
                                      Tensor{before.t.row(i), 1, 17, before.t.stride}));
                REQUIRE(std::all_of(after.t.row(1), after.t.row(2), [](float y) { return std::isnan(y); }));
                x.t.row(1)[at] = number;
            }
        }
}

TEST_CASE("norm, rotary embedding, glu and rows agree with the reference") {
    Backend ref(ref_kernels);
    for (const Kernels* table : tables()) {
        Backend cpu(*table);
        for (int64_t n : {1, 2, 15, 16, 17, 64, 1031}) {
            const Matrix x = random_matrix(5, n), w = random_matrix(1, n), pair = random_matrix(5, 2 * n);
            Matrix y(5, n), z(5, n);
            ref->norm(ref.stream(), y, x, w.t.row(0), 1e-5f);
            cpu->norm(cpu.stream(), z, x, w.t.row(0), 1e-5f);
            CHECK(distance(z, y) < close_enough);
            Matrix sum = random_matrix(5, n), same(5, n);
            std::memcpy(same.t.data, sum.t.data, size_t(sum.memory.size));
            ref->add_norm(ref.stream(), y, sum, x, w.t.row(0), 1e-5f);
            cpu->add_norm(cpu.stream(), z, same, x, w.t.row(0), 1e-5f);
            CHECK(same_bits(same, sum));
            CHECK(distance(z, y) < close_enough);
            ref->glu(ref.stream(), y, pair);
            cpu->glu(cpu.stream(), z, pair);
            CHECK(distance(z, y) < close_enough);
            const int32_t index[] = {4, 0, 4, 2, 1};
            ref->rows(ref.stream(), y, x, index);
            cpu->rows(cpu.stream(), z, x, index);
            CHECK(same_bits(z, y));
            CHECK(y.t.row(0)[n - 1] == x.t.row(4)[n - 1]);
            std::vector<int32_t> order(static_cast<size_t>(n));
            for (int64_t i = 0; i < n; ++i) order[size_t(i)] = int32_t(n - 1 - i);
            ref->columns(ref.stream(), y, x, order.data());
            cpu->columns(cpu.stream(), z, x, order.data());
            CHECK(same_bits(z, y));
            CHECK(y.t.row(3)[0] == x.t.row(3)[n - 1]);
        }
        for (int dim : {2, 6, 64, 126}) {
            std::vector<double> frequency;
            for (int i = 0; i < dim / 2; ++i) frequency.push_back(std::pow(10000, -2.0 * i / dim));
            const int32_t position[] = {0, 1, 17, 4095, 163839};
            for (double factor : {0.0, 4.0}) {
                const Rope rope{frequency.data(), dim / 2, 1.25f, dim > 2 ? factor : 0, 16};
                const int32_t slot[] = {0, 1, 2, 3, 4};
                Matrix a(5, dim), b(5, dim), x = random_matrix(5, 3 * dim), y(5, 3 * dim);
                Matrix k = random_matrix(5, dim), cache(2 * page_positions, dim);
                ref->angles(ref.stream(), a, position, rope);
                cpu->angles(cpu.stream(), b, position, rope);
                CHECK(distance(b, a) < close_enough);
                std::memcpy(y.t.data, x.t.data, size_t(x.memory.size));
                Tensor keys{cache.t.row(0), page_positions, dim, cache.t.stride};
                Tensor values{cache.t.row(page_positions), page_positions, dim, cache.t.stride};
                ref->rotate_store(ref.stream(), x, k, k, a, keys, values, slot);
                cpu->rotate_store(cpu.stream(), y, k, k, a, keys, values, slot);
                CHECK(distance(y, x) < close_enough);
            }
        }
    }
}

// K and V as they are: turned by no angle.
void store(const Backend& b, Tensor k_cache, Tensor v_cache, Tensor k, Tensor v, const int32_t* slot, int dim) {
    Matrix angles(k.rows, dim), q(k.rows, dim), turned(k.rows, k.columns);
    for (int64_t i = 0; i < k.rows; ++i) {
        std::fill_n(angles.t.row(i), dim, 0.f);
        std::fill_n(angles.t.row(i), dim / 2, 1.f);
        std::fill_n(q.t.row(i), dim, 0.f);
        std::copy_n(k.row(i), k.columns, turned.t.row(i));
    }
    b->rotate_store(b.stream(), q, turned, v, angles, k_cache, v_cache, slot);
}

void attend(const Backend& b, Tensor y, Tensor q, Tensor k, Tensor v, const Batch& batch, int dim) {
    const Exact scratch(b->attend_bytes(batch, q.columns, dim));
    b->attend(b.stream(), y, q, k, v, batch, dim, scratch.as<void>());
}

constexpr Format cache_formats[] = {Format::F32, Format::F16, Format::BF16, Format::Q8_0};

// K and V of all positions of `paged`, stored by each backend in its own way.
struct Caches {
    Caches(const Backend& b, const Paged& paged, Format format, Tensor keys, Tensor values, int dim)
        : k(int64_t(paged.total) * page_positions, keys.columns, format), v(k.t.rows, keys.columns, format) {
        std::vector<int32_t> all;
        for (int32_t page : paged.pages)
            for (int i = 0; i < page_positions; ++i) all.push_back(page * page_positions + i);
        store(b, k, v, keys, values, all.data(), dim);
    }
    Matrix k, v;
};

TEST_CASE("attention over scattered pages agrees with the reference") {
    Backend ref(ref_kernels);
    for (const Kernels* table : tables())
        for (Format format : cache_formats)
            for (int dim : {2, 6, 16, 64, 72, 96})
                for (int64_t group : {1, 3, 8, 11}) {
                    if (dim % info(format).n) continue;
                    Backend cpu(*table);
                    const Paged paged({1, 63, 64, 65, 131, 200}, 3);
                    const Batch b = paged.batch();
                    const int64_t heads = 2, columns = heads * dim,
                                  slots = int64_t(paged.pages.size()) * page_positions;
                    const Matrix keys = random_matrix(slots, columns), values = random_matrix(slots, columns);
                    const Caches a(ref, paged, format, keys, values, dim), c(cpu, paged, format, keys, values, dim);
                    const Matrix q = random_matrix(b.n, group * columns);
                    Matrix y(b.n, group * columns), z(b.n, group * columns), alone(1, group * columns);
                    attend(ref, y, q, a.k, a.v, b, dim);
                    attend(cpu, z, q, c.k, c.v, b, dim);
                    INFO(table->name << " " << info(format).name << " head dim " << dim << " group " << group);
                    // A number between two of the 8-bit ones may be rounded to either.
                    REQUIRE(distance(z, y) < (format == Format::Q8_0 ? 1e-8 : close_enough));

                    for (int i = 0; i < b.n; ++i) {
                        Batch one = b;
                        one.n = 1, one.position += i, one.sequence += i;
                        const Tensor query{q.t.row(i), 1, q.t.columns, q.t.stride};
                        attend(cpu, alone, query, c.k, c.v, one, dim);
                        REQUIRE(same_bits(alone, Tensor{z.t.row(i), 1, z.t.columns, z.t.stride}));
                    }
                }
}

TEST_CASE("attention over long sequences: however threads share the keys, the same bits") {
    Backend ref(ref_kernels);
    for (const Kernels* table : tables())
        for (Format format : cache_formats) {
            const int dim = 32;
            const Paged paged({500, 512, 513, 1025, 1301}, 2);
            const Batch all = paged.batch();
            const int64_t heads = 3, kv_heads = 1, slots = int64_t(paged.pages.size()) * page_positions;
            Backend one_thread(*table, 1);
            const Matrix keys = random_matrix(slots, kv_heads * dim), values = random_matrix(slots, kv_heads * dim);
            const Caches a(ref, paged, format, keys, values, dim), c(one_thread, paged, format, keys, values, dim);
            const Matrix q = random_matrix(all.n, heads * dim);
            Matrix y(all.n, heads * dim), z(all.n, heads * dim);
            attend(ref, y, q, a.k, a.v, all, dim);
            attend(one_thread, z, q, c.k, c.v, all, dim);
            INFO(table->name << " " << info(format).name);
            REQUIRE(distance(z, y) < (format == Format::Q8_0 ? 1e-8 : close_enough));
            for (int threads : {2, 5}) {
                Backend some(*table, threads);
                for (int n : {1, 3, 4, all.n})
                    for (int first = 0; first + n <= all.n; ++first) {
                        Batch b = all;
                        b.n = n, b.position += first, b.sequence += first;
                        Matrix part(n, heads * dim);
                        attend(some, part, {q.t.row(first), n, q.t.columns, q.t.stride}, c.k, c.v, b, dim);
                        REQUIRE(same_bits(part, Tensor{z.t.row(first), n, z.t.columns, z.t.stride}));
                    }
            }
        }
}

TEST_CASE("a cache keeps finite numbers finite, NaN as NaN, and its other positions as they were") {
    std::vector<const Kernels*> all = tables();
    all.push_back(&ref_kernels);
    for (const Kernels* table : all)
        for (Format format : cache_formats) {
            const int dim = 32;
            Backend b(*table);
            const Paged paged({130}, 3);
            const int32_t* slot = paged.slot.data() + 2;  // of the last position
            const int64_t slots = int64_t(paged.pages.size()) * page_positions;
            Matrix keys = random_matrix(slots, dim), values = random_matrix(slots, dim), huge(1, dim);
            const Caches c(b, paged, format, keys, values, dim);
            const Matrix q = random_matrix(paged.batch().n, dim);
            Matrix before(q.t.rows, dim), after(q.t.rows, dim);
            attend(b, before, q, c.k, c.v, paged.batch(), dim);
            for (float size : {1e5f, 1e30f}) {
                for (int i = 0; i < dim; ++i) huge.t.row(0)[i] = i % 2 ? size : -size;
                store(b, c.k, c.v, huge, huge, slot, dim);
                attend(b, after, q, c.k, c.v, paged.batch(), dim);
                INFO(table->name << " " << info(format).name << " " << size);
                for (int i : {0, 1})
                    CHECK(same_bits(Tensor{before.t.row(i), 1, dim, before.t.stride},
                                    Tensor{after.t.row(i), 1, dim, after.t.stride}));
                CHECK(std::all_of(after.t.row(2), after.t.row(3), [](float y) { return std::isfinite(y); }));
                CHECK(std::memcmp(after.t.row(2), before.t.row(2), dim * sizeof(float)) != 0);
            }
            for (int at = 0; at < dim; ++at) {
                Matrix value = random_matrix(1, dim);
                value.t.row(0)[at] = NAN;
                store(b, c.k, c.v, Tensor{keys.t.row(0), 1, dim, keys.t.stride}, value, slot, dim);
                attend(b, after, q, c.k, c.v, paged.batch(), dim);
                INFO(table->name << " " << info(format).name << " column " << at);
                CHECK(std::isfinite(after.t.row(1)[at]));
                CHECK(std::isnan(after.t.row(2)[at]));
            }
        }
}

TEST_CASE("a NaN among the keys shows in every answer that sees it and in no other") {
    std::vector<const Kernels*> all = tables();
    all.push_back(&ref_kernels);
    for (const Kernels* table : all)
        for (Format format : cache_formats)
            for (int n : {1, 64, 65, 700}) {
                const int dim = 32;
                const int64_t heads = 2, group = 3, columns = heads * dim;
                Backend b(*table, 2);
                const Paged paged({n + 2}, 2);
                const int64_t slots = int64_t(paged.pages.size()) * page_positions;
                const Matrix keys = random_matrix(slots, columns), values = random_matrix(slots, columns);
                const Matrix q = random_matrix(2, group * columns);
                Matrix before(2, group * columns), after(2, group * columns);
                const Caches clean(b, paged, format, keys, values, dim);
                attend(b, before, q, clean.k, clean.v, paged.batch(), dim);
                for (int at : {0, n / 2, n - 1, n, n + 1}) {  // queries see n + 1 and n + 2 positions
                    const float number = std::exchange(keys.t.row(at)[dim + 5], NAN);  // the second KV head's
                    const Caches c(b, paged, format, keys, values, dim);
                    attend(b, after, q, c.k, c.v, paged.batch(), dim);
                    INFO(table->name << " " << info(format).name << " position " << at << " of " << n);
                    for (int i : {0, 1})
                        for (int64_t j = 0; j < group * columns; ++j) {
                            const bool seen = at <= n + i && j >= group * dim;
                            REQUIRE((seen ? std::isnan(after.t.row(i)[j]) : after.t.row(i)[j] == before.t.row(i)[j]));
                        }
                    keys.t.row(at)[dim + 5] = number;
                }
            }
}

TEST_CASE("sampling: candidates, log-sums and draws agree with the reference") {
    Backend ref(ref_kernels);
    for (const Kernels* table : tables())
        for (int64_t n : {1, 31, 32, 255, 256, 257, 5003})
            for (int round = 0; round < 8; ++round) {
                Backend cpu(*table);
                Matrix a = random_matrix(2, n), b(2, n);
                for (int64_t i = 0; i < 2 * n; ++i) a.t.row(0)[i] = std::round(a.t.row(0)[i] * 30) / 10;  // ties
                if (n > 100) a.t.row(1)[17] = NAN;
                std::memcpy(b.t.data, a.t.data, size_t(a.memory.size));
                std::vector<uint32_t> mask(size_t((n + 31) / 32));
                for (auto& word : mask) word = uint32_t(rng());
                const LogitChange changes[] = {{int32_t(n / 2), 1.5f, -1}, {0, 1, 3}};
                const SampleRow records[] = {{.changes = changes,
                                              .change_count = n > 1 ? 2 : 1,
                                              .inverse_temperature = 0.7f,
                                              .seed = rng(),
                                              .position = 9},
                                             {.mask = n > 1 ? mask.data() : nullptr,
                                              .inverse_temperature = round % 2 ? 1.f : 0.f,
                                              .seed = rng(),
                                              .position = 1}};
                std::vector<SampleResult> x(2), y(2);
                ref->sample(ref.stream(), x.data(), a, records);
                cpu->sample(cpu.stream(), y.data(), b, records);
                for (int i = 0; i < 2; ++i) {
                    INFO(table->name << " " << n << " row " << i);
                    REQUIRE(y[size_t(i)].count == x[size_t(i)].count);
                    for (int c = 0; c < x[size_t(i)].count; ++c) {
                        REQUIRE(y[size_t(i)].candidates[c].token == x[size_t(i)].candidates[c].token);
                        REQUIRE(y[size_t(i)].candidates[c].logit == x[size_t(i)].candidates[c].logit);
                    }
                    REQUIRE(y[size_t(i)].draw == x[size_t(i)].draw);
                    if (x[size_t(i)].count == 0) continue;
                    REQUIRE(y[size_t(i)].log_sum_1 == Approx(x[size_t(i)].log_sum_1).margin(1e-6));
                    REQUIRE(y[size_t(i)].log_sum == Approx(x[size_t(i)].log_sum).margin(1e-6));
                }
            }
}

TEST_CASE("draws follow the probabilities") {
    Backend ref(ref_kernels);
    Matrix logits(1, 4);
    double expected[] = {0.1, 0.2, 0.3, 0.4}, seen[4] = {};
    SampleResult result;
    constexpr int draws = 20000;
    for (int i = 0; i < draws; ++i) {
        for (int t = 0; t < 4; ++t) logits.t.row(0)[t] = float(std::log(expected[t]));
        const SampleRow row{.seed = 5, .position = uint64_t(i)};
        ref->sample(ref.stream(), &result, logits, &row);
        seen[result.draw] += 1.0 / draws;
    }
    for (int t = 0; t < 4; ++t) CHECK(seen[t] == Approx(expected[t]).margin(0.015));
}
