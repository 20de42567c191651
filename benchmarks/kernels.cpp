// How fast each operation is at ALIA's own shapes, beside what the machine reaches in the same process:
//
//     alia_bench_kernels [--device=cpu:avx512] [--threads=2] [--pin=1] [--max_gib=4] [Google Benchmark's options]
//     alia_bench_kernels --benchmark_filter='linear/Q4_K/8192x24576/' --benchmark_format=json
//
// of_read and of_products are shares of the machine's read bandwidth and of its best multiply-adds. Operands of
// products and attention come from memory; those of the small operations stay in the caches, as they do in a model.
#include "benchmarks/kernels.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/cpu/threads.h"

namespace alia {
namespace {

constexpr int row_counts[] = {1, 8, 64, 512};

// ---- Products

// ALIA-40b's, Salamandra-7b's and Salamandra-2b's attention output, gate or up, down and head.
constexpr Shape shapes[] = {{8192, 8192},  {8192, 24576},  {24576, 8192}, {8192, 256000}, {4096, 4096}, {4096, 11008},
                            {11008, 4096}, {4096, 256000}, {2048, 2048},  {2048, 5440},   {5440, 2048}, {2048, 256000}};

double best_products(const Roofs& r, Format f) {
    if (f == Format::F32 || f == Format::F16 || f == Format::E4M3) return r.f32;
    if (f == Format::BF16) return r.bf16 > 0 ? r.bf16 : r.f32;
    return r.int8 > 0 ? r.int8 : r.f32;
}

void linear(benchmark::State& state, Bench& b, Format format, Shape shape, int rows) {
    const Weights& w = b.weights(format, shape);
    const Buffer x = b.floats(rows * shape.columns), y = b.floats(rows * shape.rows);
    const Buffer scratch(*b.device, b.k.scratch_bytes(format, rows, shape.columns));
    const Roofs& roofs = b.roofs();
    size_t next = 0;
    const double seconds = timed(state, [&] {
        b.k.linear(b.device->stream, rows == 1 ? Role::generated : Role::prompt, matrix(y, rows, shape.rows),
                   matrix(x, rows, shape.columns), w.copies[next++ % w.copies.size()], scratch.data());
    });
    report(state, seconds, roofs, double(w.buffers[0].size()), double(rows) * double(shape.rows * shape.columns),
           best_products(roofs, format));
}

void pack(benchmark::State& state, Bench& b, Format format, Shape shape) {
    const int64_t row = row_bytes(format, shape.columns);
    const Buffer source = b.bytes(row * shape.rows);
    const Buffer packed(*b.device, b.k.packed_bytes(format, shape.rows, shape.columns));
    std::vector<const void*> rows(size_t(shape.rows), nullptr);
    for (int64_t i = 0; i < shape.rows; ++i) rows[size_t(i)] = source.data() + i * row;
    const Roofs& roofs = b.roofs();
    const double seconds = timed(state, [&] {
        b.k.pack(b.device->stream, {packed.data(), shape.rows, shape.columns, 0, format}, 0, shape.rows, rows.data());
    });
    report(state, seconds, roofs, double(source.size()), 0, 0);
    state.counters["of_copy"] = double(state.iterations()) / seconds * double(source.size()) / roofs.copy;
}

// ---- Attention

struct Heads {
    const char* model;
    int query, kv, dim;
};
constexpr Heads heads[] = {{"alia-40b", 64, 8, 128},
                           {"salamandra-7b", 32, 8, 128},
                           {"salamandra-2b", 16, 16, 128},
                           {"smollm2-135m", 9, 3, 64}};

// One sequence of `positions`, its pages in order; the last `n` positions are the batch.
struct Positions {
    Positions(Bench& b, int n, int positions) : n(n), positions(positions) {
        std::vector<int32_t> position, slot, sequence(size_t(n), 0), pages;
        for (int i = positions - n; i < positions; ++i) position.push_back(i), slot.push_back(i);
        for (int i = 0; i * page_positions < positions; ++i) pages.push_back(i);
        for (const auto& values : {position, slot, sequence, pages}) arrays.push_back(b.integers(values));
        auto at = [&](size_t i) { return reinterpret_cast<const int32_t*>(arrays[i].data()); };
        batch = {.role = n == 1 ? Role::generated : Role::prompt,
                 .n = n,
                 .page_stride = int(pages.size()),
                 .position = at(0),
                 .slot = at(1),
                 .sequence = at(2),
                 .pages = at(3)};
        slots = int64_t(pages.size()) * page_positions;
    }
    int n, positions;
    int64_t slots;
    std::vector<Buffer> arrays;
    Batch batch;
};

void attention(benchmark::State& state, Bench& b, Heads h, Format format, int positions, int n) {
    const int64_t kv = h.kv * h.dim,
                  bytes = row_bytes(format, kv) * ((positions + page_positions - 1) / page_positions) * page_positions;
    const Positions all(b, positions, positions), last(b, n, positions);
    const Buffer k = b.floats(positions * kv), v = b.floats(positions * kv), angles = b.floats(positions * h.dim);
    const Buffer q = b.floats(int64_t(n) * h.query * h.dim), y = b.floats(int64_t(n) * h.query * h.dim);
    const Buffer scratch(*b.device, b.k.attend_bytes(last.batch, h.query * h.dim, h.dim));
    std::vector<Buffer> memory;
    std::vector<Tensor> caches;  // K and V of a layer side by side
    for (int64_t sum = 0; sum < beyond_caches; sum += 2 * bytes) {
        for (int side = 0; side < 2; ++side)
            caches.push_back(
                {memory.emplace_back(*b.device, bytes).data(), all.slots, kv, row_bytes(format, kv), format});
        b.k.rotate_store(b.device->stream, matrix(k, positions, kv), matrix(k, positions, kv), matrix(v, positions, kv),
                         matrix(angles, positions, h.dim), caches.end()[-2], caches.back(), all.batch.slot);
    }
    const Roofs& roofs = b.roofs();
    size_t next = 0;
    const double seconds = timed(state, [&] {
        const size_t layer = next++ % (caches.size() / 2);
        b.k.attend(b.device->stream, matrix(y, n, h.query * h.dim), matrix(q, n, h.query * h.dim), caches[2 * layer],
                   caches[2 * layer + 1], last.batch, h.dim, scratch.data());
    });
    const double seen = double(n) * (double(positions) - double(n - 1) / 2);  // pairs of query and key, a head
    report(state, seconds, roofs, 2.0 * double(row_bytes(format, kv)) * positions, 2.0 * h.query * h.dim * seen,
           roofs.f32);
}

// ---- Small operations, at ALIA-40b's sizes

constexpr int64_t hidden = 8192, ffn = 24576, vocabulary = 256000;

struct Small {
    const char* name;
    void (*run)(benchmark::State&, Bench&, int rows);
};

template <class F>
void small(benchmark::State& state, Bench& b, double bytes, F&& f) {
    const Roofs& roofs = b.roofs();
    report(state, timed(state, f), roofs, bytes, 0, 0);
}

void norm(benchmark::State& state, Bench& b, int rows) {
    const Buffer x = b.floats(rows * hidden), y = b.floats(rows * hidden), w = b.floats(hidden);
    small(state, b, 8.0 * rows * hidden, [&] {
        b.k.norm(b.device->stream, matrix(y, rows, hidden), matrix(x, rows, hidden),
                 reinterpret_cast<const float*>(w.data()), 1e-5f);
    });
}

void angles(benchmark::State& state, Bench& b, int rows) {
    const Buffer y = b.floats(rows * 128), frequency = b.bytes(64 * 8);
    const Positions p(b, rows, rows);
    const Rope rope{.frequency = reinterpret_cast<const double*>(frequency.data()), .pairs = 64};
    small(state, b, 4.0 * rows * 128,
          [&] { b.k.angles(b.device->stream, matrix(y, rows, 128), p.batch.position, rope); });
}

void rotate_store(benchmark::State& state, Bench& b, int rows) {
    const int64_t kv = 1024, row = row_bytes(b.k.cache_format, kv);
    const Positions p(b, rows, rows);
    const Buffer q = b.floats(rows * hidden), angles = b.floats(rows * 128);
    const Buffer k = b.floats(rows * kv), v = b.floats(rows * kv), ks(*b.device, p.slots * row),
                 vs(*b.device, p.slots * row);
    const Tensor k_cache{ks.data(), p.slots, kv, row, b.k.cache_format},
        v_cache{vs.data(), p.slots, kv, row, b.k.cache_format};
    small(state, b, rows * double(8 * hidden + 8 * kv + 2 * row), [&] {
        b.k.rotate_store(b.device->stream, matrix(q, rows, hidden), matrix(k, rows, kv), matrix(v, rows, kv),
                         matrix(angles, rows, 128), k_cache, v_cache, p.batch.slot);
    });
}

void glu(benchmark::State& state, Bench& b, int rows) {
    const Buffer x = b.floats(rows * 2 * ffn), y = b.floats(rows * ffn);
    small(state, b, 12.0 * rows * ffn,
          [&] { b.k.glu(b.device->stream, matrix(y, rows, ffn), matrix(x, rows, 2 * ffn)); });
}

void add_norm(benchmark::State& state, Bench& b, int rows) {
    const Buffer x = b.floats(rows * hidden), a = b.floats(rows * hidden), y = b.floats(rows * hidden);
    const Buffer w = b.floats(hidden);
    small(state, b, 16.0 * rows * hidden, [&] {
        b.k.add_norm(b.device->stream, matrix(y, rows, hidden), matrix(x, rows, hidden), matrix(a, rows, hidden),
                     reinterpret_cast<const float*>(w.data()), 1e-5f);
    });
}

void gather_rows(benchmark::State& state, Bench& b, int rows) {
    const Buffer x = b.floats(rows * hidden), y = b.floats(rows * hidden);
    const Positions p(b, rows, rows);
    small(state, b, 8.0 * rows * hidden,
          [&] { b.k.rows(b.device->stream, matrix(y, rows, hidden), matrix(x, rows, hidden), p.batch.position); });
}

void gather_columns(benchmark::State& state, Bench& b, int rows) {
    const Buffer x = b.floats(rows * hidden), y = b.floats(rows * hidden);
    std::vector<int32_t> order(size_t(hidden), 0);
    for (int64_t i = 0; i < hidden; ++i) order[size_t(i)] = int32_t(i * 5 % hidden);
    const Buffer index = b.integers(order);
    small(state, b, 8.0 * rows * hidden, [&] {
        b.k.columns(b.device->stream, matrix(y, rows, hidden), matrix(x, rows, hidden),
                    reinterpret_cast<const int32_t*>(index.data()));
    });
}

void embed(benchmark::State& state, Bench& b, int rows) {
    const Weights& w = b.weights(Format::Q8_0, {hidden, 8192});
    const Buffer y = b.floats(rows * hidden);
    std::vector<int32_t> tokens;
    for (int i = 0; i < rows; ++i) tokens.push_back(i * 1237 % 8192);
    const Buffer token = b.integers(tokens);
    small(state, b, double(rows) * double(row_bytes(Format::Q8_0, hidden) + 4 * hidden), [&] {
        b.k.embed(b.device->stream, matrix(y, rows, hidden), w.copies[0],
                  reinterpret_cast<const int32_t*>(token.data()));
    });
}

void sample(benchmark::State& state, Bench& b, int rows) {
    const Buffer logits = b.floats(rows * vocabulary);
    std::vector<SampleResult> results(size_t(rows), SampleResult{});
    const std::vector<SampleRow> records(size_t(rows), SampleRow{.inverse_temperature = 0});
    small(state, b, 4.0 * rows * vocabulary,
          [&] { b.k.sample(b.device->stream, results.data(), matrix(logits, rows, vocabulary), records.data()); });
}

constexpr Small small_operations[] = {
    {"norm", norm}, {"add_norm", add_norm}, {"angles", angles},          {"rotate_store", rotate_store},
    {"glu", glu},   {"rows", gather_rows},  {"columns", gather_columns}, {"embed", embed}};

// An operation of the CPU's pool that does nothing: what starting and ending one costs.
void dispatch(benchmark::State& state, Bench& b) {
    Stream* pool = b.device->stream;
    for (auto _ : state) parallel(pool, cpu::threads(pool), [](int64_t) {});
}

// ---- The list

template <class F>
void add_benchmark(const std::string& name, F&& f) {
    benchmark::RegisterBenchmark(name.c_str(), f)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

void register_all(Bench& b, double max_gib) {
    for (int f = 0; f < Formats::size; ++f) {
        const Format format = Format(f);
        const std::string name = info(format).name;
        for (Shape s : shapes) {
            const std::string shape = name + "/" + std::to_string(s.columns) + "x" + std::to_string(s.rows);
            if (s.columns % info(format).n != 0) continue;
            if (double(b.k.packed_bytes(format, s.rows, s.columns)) > max_gib * (1 << 30)) continue;
            for (int n : row_counts)
                add_benchmark("linear/" + shape + "/rows:" + std::to_string(n),
                              [&b, format, s, n](benchmark::State& state) { linear(state, b, format, s, n); });
            if (s.columns == 4096 && s.rows == 11008)
                add_benchmark("pack/" + shape, [&b, format, s](benchmark::State& state) { pack(state, b, format, s); });
        }
    }
    for (Heads h : heads)
        for (Format format : {Format::F32, Format::F16, Format::BF16, Format::Q8_0})
            for (int positions : {128, 1024, 4096})
                for (int n : {1, 64})
                    add_benchmark(std::string("attend/") + h.model + "/" + info(format).name + "/" +
                                      std::to_string(positions) + "/rows:" + std::to_string(n),
                                  [=, &b](benchmark::State& state) { attention(state, b, h, format, positions, n); });
    for (const Small& s : small_operations)
        for (int n : row_counts)
            add_benchmark(std::string(s.name) + "/rows:" + std::to_string(n),
                          [&b, s, n](benchmark::State& state) { s.run(state, b, n); });
    add_benchmark("sample/rows:1", [&b](benchmark::State& state) { sample(state, b, 1); });
    if (std::strncmp(b.k.name, "cpu", 3) == 0)
        add_benchmark("dispatch", [&b](benchmark::State& state) { dispatch(state, b); });
}

// Takes "--name=value" out of the arguments.
std::string option(int& argc, char** argv, const char* name, const char* value) {
    const size_t length = std::strlen(name);
    for (int i = 1; i < argc; ++i) {
        if (std::strncmp(argv[i], name, length) != 0 || argv[i][length] != '=') continue;
        value = argv[i] + length + 1;
        for (int j = i--; j + 1 < argc; ++j) argv[j] = argv[j + 1];
        --argc;
    }
    return value;
}

int run(int argc, char** argv) {
    const std::string device = option(argc, argv, "--device", "");
    const int threads = std::atoi(option(argc, argv, "--threads", "0").c_str());
    const bool pin = option(argc, argv, "--pin", "0") == "1";
    const double max_gib = std::atof(option(argc, argv, "--max_gib", "4").c_str());
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    Bench b(device, {.threads = threads, .pin = pin});
    benchmark::AddCustomContext("device", b.k.name);
    register_all(b, max_gib);
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}

}  // namespace
}  // namespace alia

int main(int argc, char** argv) {
    try {
        return alia::run(argc, argv);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "alia_bench_kernels: %s\n", e.what());
        return 1;
    }
}
