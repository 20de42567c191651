// How fast each operation is at ALIA's own shapes, beside what the machine reaches in the same process:
//
//     alia_bench_kernels [--device=cpu:avx512] [--threads=2] [--pin=1] [--max_gib=4] [Google Benchmark's options]
//     alia_bench_kernels --benchmark_filter='linear/Q4_K/8192x24576/' --benchmark_format=json
//     alia_bench_kernels --device=cuda:0
//
// --tiny=1 takes small shapes, which say nothing of speed: every benchmark can then be tried in seconds.
//
// of_read, of_products and of_upload are shares of the machine's read bandwidth, of its best multiply-adds and of what
// copies from pinned memory reach. Operands of products and attention come from memory; those of the small operations
// stay in the caches, as they do in a model. Heads take few rows, as only those that want logits have one.
#include "benchmarks/kernels.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <span>

#include "benchmarks/kernels_cublas.h"
#include "kernels/cpu/threads.h"

namespace alia {
namespace {

constexpr int row_counts[] = {1, 8, 64, 512}, card_row_counts[] = {1, 8, 16, 64, 512, 4096}, tiny_row_counts[] = {1, 9};

// ---- Products

// ALIA-40b's, Salamandra-7b's and Salamandra-2b's attention output, gate or up, down and head.
constexpr Shape shapes[] = {{8192, 8192},  {8192, 24576},  {24576, 8192}, {8192, 256000}, {4096, 4096}, {4096, 11008},
                            {11008, 4096}, {4096, 256000}, {2048, 2048},  {2048, 5440},   {5440, 2048}, {2048, 256000}};

constexpr Shape tiny_shapes[] = {{256, 64}, {512, 96}};
constexpr int64_t least_head = 100000;  // rows of w: more are a head's
constexpr int most_outputs = 64;        // rows of x that a head multiplies

// As checkpoints in E4M3 state it, a prompt's activations are rounded too.
double best_products(const Roofs& r, Format f, Role role) {
    if (r.int8 == 0 && r.bf16 > 0)  // a card: but for those, all formats are multiplied as bf16
        return f == Format::E4M3 && role == Role::prompt && r.e4m3 > 0 ? r.e4m3 : r.bf16;
    if (f == Format::F32 || f == Format::F16 || f == Format::E4M3) return r.f32;
    if (f == Format::BF16) return r.bf16 > 0 ? r.bf16 : r.f32;
    return r.int8 > 0 ? r.int8 : r.f32;
}

// multiply(w, x, scratch), over copies of w that no cache holds together.
template <class F>
void product(benchmark::State& state, Bench& b, Format format, Shape shape, int rows, Role role, F&& multiply) {
    const Weights& w = b.weights(format, shape);
    const Buffer x = b.floats(rows * shape.columns);
    const Buffer scratch(*b.device, b.k.scratch_bytes(format, rows, shape.columns));
    const Roofs& roofs = b.roofs();
    size_t next = 0;
    const double seconds = timed(state, b, [&] {
        Tensor copy = w.copies[next++ % w.copies.size()];
        copy.e4m3_inputs = format == Format::E4M3;
        multiply(copy, b.operand(x, rows, shape.columns), scratch.data());
    });
    report(state, seconds, roofs, double(w.buffers[0].size()), double(rows) * double(shape.rows * shape.columns),
           best_products(roofs, format, role));
}

void linear(benchmark::State& state, Bench& b, Format format, Shape shape, int rows, Role role) {
    const Buffer y = b.room(rows * shape.rows);
    product(state, b, format, shape, rows, role, [&](Tensor w, Tensor x, void* scratch) {
        b.k.linear(b.device->stream, role, matrix(y, rows, shape.rows), x, w, scratch);
    });
}

// Gate and up with SwiGLU: `shape` is both.
void linear_glu(benchmark::State& state, Bench& b, Format format, Shape shape, int rows, Role role) {
    const Buffer both = b.room(rows * shape.rows), y = b.room(rows * shape.rows);
    product(state, b, format, shape, rows, role, [&](Tensor w, Tensor x, void* scratch) {
        b.k.linear_glu(b.device->stream, role, b.operand(y, rows, shape.rows / 2), x, w, matrix(both, rows, shape.rows),
                       scratch);
    });
}

// The fastest that cuBLASLt has for the product that `linear` makes of BF16 weights.
void cublas(benchmark::State& state, Bench& b, Cublas& library, Shape shape, int rows) {
    constexpr int64_t workspace_bytes = 32 << 20;
    const Buffer x = b.bytes(2 * rows * shape.columns), y(*b.device, 2 * rows * shape.rows),
                 workspace(*b.device, workspace_bytes);
    const int64_t bytes = 2 * shape.rows * shape.columns;
    std::vector<Buffer> w;
    for (int64_t sum = 0; sum < b.beyond_caches; sum += bytes) w.push_back(b.bytes(bytes));
    size_t next = 0;
    auto multiply = [&] { library.multiply(y.data(), x.data(), w[next++ % w.size()].data()); };
    bool good = true;
    auto wait = [&] { good = library.wait() && good; };
    b.wait();  // for the operands: the library's stream is another
    const bool chosen = library.choose(shape.rows, shape.columns, rows, workspace.data(), workspace_bytes, [&] {
        good = true;
        seconds_of(1, multiply, wait);
        const double seconds = seconds_of(queued_runs, multiply, wait);
        return good ? seconds : std::numeric_limits<double>::infinity();
    });
    if (!chosen) return state.SkipWithError("cuBLASLt has no algorithm for it");
    const Roofs& roofs = b.roofs();
    good = true;
    const double seconds = timed(state, b, multiply, wait);
    if (!good) return state.SkipWithError("cuBLASLt failed");
    report(state, seconds, roofs, double(bytes), double(rows) * double(shape.rows * shape.columns), roofs.bf16);
}

// From the host's memory, where a file would be mapped.
void pack(benchmark::State& state, Bench& b, Format format, Shape shape) {
    const int64_t row = row_bytes(format, shape.columns);
    const std::vector<uint8_t> source = small_numbers(row * shape.rows);
    const Buffer packed(*b.device, b.k.packed_bytes(format, shape.rows, shape.columns));
    std::vector<const void*> rows(size_t(shape.rows), nullptr);
    for (int64_t i = 0; i < shape.rows; ++i) rows[size_t(i)] = source.data() + i * row;
    const Roofs& roofs = b.roofs();
    const double seconds = timed(state, b, [&] {
        b.k.pack(b.device->stream, {packed.data(), shape.rows, shape.columns, 0, format}, 0, shape.rows, rows.data());
    });
    report(state, seconds, roofs, double(source.size()));
    const bool card = roofs.upload > 0;
    state.counters[card ? "of_upload" : "of_copy"] =
        double(state.iterations()) / seconds * double(source.size()) / (card ? roofs.upload : roofs.copy);
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

// Sequences of `positions` each, their pages in order; the last `n` positions of each are the batch.
struct Positions {
    Positions(Bench& b, int sequences, int n, int positions) {
        const int stride = (positions + page_positions - 1) / page_positions;
        std::vector<int32_t> position, slot, sequence, pages;
        for (int s = 0; s < sequences; ++s) {
            for (int i = positions - n; i < positions; ++i) {
                position.push_back(i), sequence.push_back(s);
                slot.push_back(s * stride * page_positions + i);
            }
            for (int i = 0; i < stride; ++i) pages.push_back(s * stride + i);
        }
        for (const auto& values : {position, slot, sequence, pages}) arrays.push_back(b.integers(values));
        auto at = [&](size_t i) { return reinterpret_cast<const int32_t*>(arrays[i].data()); };
        batch = {.role = n == 1 ? Role::generated : Role::prompt,
                 .n = sequences * n,
                 .page_stride = stride,
                 .position = at(0),
                 .slot = at(1),
                 .sequence = at(2),
                 .pages = at(3)};
        slots = int64_t(pages.size()) * page_positions;
    }
    int64_t slots;
    std::vector<Buffer> arrays;
    Batch batch;
};

void attention(benchmark::State& state, Bench& b, Heads h, Format format, int sequences, int positions, int n) {
    const Positions all(b, sequences, positions, positions), last(b, sequences, n, positions);
    const int64_t kv = h.kv * h.dim, bytes = row_bytes(format, kv) * all.slots, rows = int64_t(sequences) * n,
                  stored = int64_t(sequences) * positions;
    const Buffer k = b.floats(stored * kv), v = b.floats(stored * kv), angles = b.floats(stored * h.dim);
    const Buffer q = b.floats(rows * h.query * h.dim), y = b.room(rows * h.query * h.dim);
    const Buffer queries = b.floats(stored * kv);  // of the positions before, which nobody asks for
    const Buffer scratch(*b.device, b.k.attend_bytes(last.batch, h.query * h.dim, h.dim));
    std::vector<Buffer> memory;
    std::vector<Tensor> caches;  // K and V of a layer side by side
    for (int64_t sum = 0; sum < b.beyond_caches; sum += 2 * bytes) {
        for (int side = 0; side < 2; ++side)
            caches.push_back(
                {memory.emplace_back(*b.device, bytes).data(), all.slots, kv, row_bytes(format, kv), format});
        b.k.rotate_store(b.device->stream, matrix(queries, stored, kv), matrix(k, stored, kv), matrix(v, stored, kv),
                         matrix(angles, stored, h.dim), caches.end()[-2], caches.back(), all.batch.slot);
    }
    const Roofs& roofs = b.roofs();
    size_t next = 0;
    const double seconds = timed(state, b, [&] {
        const size_t layer = next++ % (caches.size() / 2);
        b.k.attend(b.device->stream, b.operand(y, rows, h.query * h.dim), matrix(q, rows, h.query * h.dim),
                   caches[2 * layer], caches[2 * layer + 1], last.batch, h.dim, scratch.data());
    });
    // Pairs of query and key, a head.
    const double seen = sequences * double(n) * (double(positions) - double(n - 1) / 2),
                 products = 2.0 * h.query * h.dim * seen;
    report(state, seconds, roofs, 2.0 * double(row_bytes(format, kv)) * double(stored), products,
           b.own_memory ? roofs.bf16 : roofs.f32);
    if (b.own_memory) state.counters["TFLOP/s"] = 2 * products * double(state.iterations()) / seconds / 1e12;
}

// ---- Small operations, at the model's sizes

struct Small {
    const char* name;
    void (*run)(benchmark::State&, Bench&, int rows);
};

template <class F>
void small(benchmark::State& state, Bench& b, double bytes, F&& f) {
    const Roofs& roofs = b.roofs();
    report(state, timed(state, b, f), roofs, bytes);
}

void norm(benchmark::State& state, Bench& b, int rows) {
    const int64_t hidden = b.model.hidden;
    const Buffer x = b.floats(rows * hidden), y = b.room(rows * hidden), w = b.floats(hidden);
    small(state, b, double(4 + b.operand_bytes) * rows * hidden, [&] {
        b.k.norm(b.device->stream, b.operand(y, rows, hidden), matrix(x, rows, hidden),
                 reinterpret_cast<const float*>(w.data()), 1e-5f);
    });
}

void angles(benchmark::State& state, Bench& b, int rows) {
    const int64_t dim = b.model.dim;
    const Buffer y = b.room(rows * dim), frequency = b.bytes(dim * 4);
    const Positions p(b, 1, rows, rows);
    const Rope rope{.frequency = reinterpret_cast<const double*>(frequency.data()), .pairs = int(dim / 2)};
    small(state, b, 4.0 * rows * dim,
          [&] { b.k.angles(b.device->stream, matrix(y, rows, dim), p.batch.position, rope); });
}

void rotate_store(benchmark::State& state, Bench& b, int rows) {
    const int64_t hidden = b.model.hidden, kv = b.model.kv, dim = b.model.dim;
    const int64_t row = row_bytes(b.k.cache_format, kv);
    const Positions p(b, 1, rows, rows);
    const Buffer q = b.floats(rows * hidden), angles = b.floats(rows * dim);
    const Buffer k = b.floats(rows * kv), v = b.floats(rows * kv), ks(*b.device, p.slots * row),
                 vs(*b.device, p.slots * row);
    const Tensor k_cache{ks.data(), p.slots, kv, row, b.k.cache_format},
        v_cache{vs.data(), p.slots, kv, row, b.k.cache_format};
    small(state, b, rows * double(8 * hidden + 8 * kv + 2 * row), [&] {
        b.k.rotate_store(b.device->stream, matrix(q, rows, hidden), matrix(k, rows, kv), matrix(v, rows, kv),
                         matrix(angles, rows, dim), k_cache, v_cache, p.batch.slot);
    });
}

void glu(benchmark::State& state, Bench& b, int rows) {
    const int64_t ffn = b.model.ffn;
    const Buffer x = b.floats(rows * 2 * ffn), y = b.room(rows * ffn);
    small(state, b, double(8 + b.operand_bytes) * rows * ffn,
          [&] { b.k.glu(b.device->stream, b.operand(y, rows, ffn), matrix(x, rows, 2 * ffn)); });
}

void add_norm(benchmark::State& state, Bench& b, int rows) {
    const int64_t hidden = b.model.hidden;
    const Buffer x = b.floats(rows * hidden), a = b.floats(rows * hidden), y = b.room(rows * hidden);
    const Buffer w = b.floats(hidden);
    small(state, b, double(12 + b.operand_bytes) * rows * hidden, [&] {
        b.k.add_norm(b.device->stream, b.operand(y, rows, hidden), matrix(x, rows, hidden), matrix(a, rows, hidden),
                     reinterpret_cast<const float*>(w.data()), 1e-5f);
    });
}

void gather_rows(benchmark::State& state, Bench& b, int rows) {
    const int64_t hidden = b.model.hidden;
    const Buffer x = b.floats(rows * hidden), y = b.room(rows * hidden);
    const Positions p(b, 1, rows, rows);
    small(state, b, 8.0 * rows * hidden,
          [&] { b.k.rows(b.device->stream, matrix(y, rows, hidden), matrix(x, rows, hidden), p.batch.position); });
}

void gather_columns(benchmark::State& state, Bench& b, int rows) {
    const int64_t hidden = b.model.hidden;
    const Buffer x = b.floats(rows * hidden), y = b.room(rows * hidden);
    std::vector<int32_t> order(size_t(hidden), 0);
    for (int64_t i = 0; i < hidden; ++i) order[size_t(i)] = int32_t(i * 5 % hidden);
    const Buffer index = b.integers(order);
    small(state, b, 8.0 * rows * hidden, [&] {
        b.k.columns(b.device->stream, matrix(y, rows, hidden), matrix(x, rows, hidden),
                    reinterpret_cast<const int32_t*>(index.data()));
    });
}

void embed(benchmark::State& state, Bench& b, int rows) {
    const int64_t hidden = b.model.hidden;
    const Weights& w = b.weights(Format::Q8_0, {hidden, 8192});
    const Buffer y = b.room(rows * hidden);
    std::vector<int32_t> tokens;
    for (int i = 0; i < rows; ++i) tokens.push_back(i * 1237 % 8192);
    const Buffer token = b.integers(tokens);
    small(state, b, double(rows) * double(row_bytes(Format::Q8_0, hidden) + 4 * hidden), [&] {
        b.k.embed(b.device->stream, matrix(y, rows, hidden), w.copies[0],
                  reinterpret_cast<const int32_t*>(token.data()));
    });
}

void sample(benchmark::State& state, Bench& b, int rows) {
    const int64_t vocabulary = b.model.vocabulary;
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
    timed(state, b, [&] { parallel(pool, cpu::threads(pool), [](int64_t) {}); });
}

// ---- The list

template <class F>
void add_benchmark(const std::string& name, F&& f) {
    benchmark::RegisterBenchmark(name.c_str(), f)->UseManualTime()->Unit(benchmark::kMicrosecond);
}

// What the shares are shares of.
void roofs(benchmark::State& state, Bench& b) {
    Roofs r;
    timed(state, b, [&] { r = b.k.measure(b.device->stream); });
    state.counters["read GB/s"] = r.read / 1e9;
    state.counters["copy GB/s"] = r.copy / 1e9;
    state.counters["upload GB/s"] = r.upload / 1e9;
    for (auto [name, rate] :
         {std::pair("f32", r.f32), std::pair("int8", r.int8), std::pair("bf16", r.bf16), std::pair("e4m3", r.e4m3)})
        state.counters[std::string(name) + " GMAC/s"] = rate / 1e9;
}

struct Sizes {
    std::span<const Shape> shapes;
    std::span<const int> rows, positions;
    std::span<const Heads> heads;
    int64_t packed;  // rows of the matrix that `pack` is measured with
};
constexpr int all_positions[] = {128, 1024, 4096}, tiny_positions[] = {70}, streams = 16;
constexpr Heads tiny_heads[] = {{"tiny", 4, 2, 32}};

void register_products(Bench& b, const Sizes& sizes, double max_gib, Cublas* library) {
    auto role = [&](int n) { return n <= (b.own_memory ? 16 : 1) ? Role::generated : Role::prompt; };
    for (int f = 0; f < Formats::size; ++f) {
        const Format format = Format(f);
        for (Shape s : sizes.shapes) {
            const std::string shape =
                std::string(info(format).name) + "/" + std::to_string(s.columns) + "x" + std::to_string(s.rows);
            if (s.columns % info(format).n != 0) continue;
            if (double(b.k.packed_bytes(format, s.rows, s.columns)) > max_gib * (1 << 30)) continue;
            for (int n : sizes.rows) {
                if (s.rows > least_head && n > most_outputs) continue;
                const std::string rows = "/rows:" + std::to_string(n);
                const Role r = role(n);
                add_benchmark("linear/" + shape + rows,
                              [=, &b](benchmark::State& state) { linear(state, b, format, s, n, r); });
                if (format == Format::BF16 && library)
                    add_benchmark("cublaslt/" + shape + rows,
                                  [=, &b](benchmark::State& state) { cublas(state, b, *library, s, n); });
                if (s.rows % 2 == 0 && s.rows > s.columns && s.rows < least_head) {  // as if it were gate and up
                    const std::string name = "linear_glu/" + shape + rows;
                    add_benchmark(name, [=, &b](benchmark::State& state) { linear_glu(state, b, format, s, n, r); });
                }
            }
            if (s.rows == sizes.packed)
                add_benchmark("pack/" + shape, [&b, format, s](benchmark::State& state) { pack(state, b, format, s); });
        }
    }
}

void register_all(Bench& b, double max_gib, bool tiny, Cublas* library) {
    const Sizes sizes = {tiny ? std::span<const Shape>(tiny_shapes) : shapes,
                         tiny           ? std::span<const int>(tiny_row_counts)
                         : b.own_memory ? std::span<const int>(card_row_counts)
                                        : row_counts,
                         tiny ? std::span<const int>(tiny_positions) : all_positions,
                         tiny ? std::span<const Heads>(tiny_heads) : heads, tiny ? 96 : 11008};
    add_benchmark("roofs", [&b](benchmark::State& state) { roofs(state, b); });
    register_products(b, sizes, max_gib, library);
    for (Heads h : sizes.heads)
        for (Format format : {Format::F32, Format::F16, Format::BF16, Format::Q8_0, Format::E4M3}) {
            if (!b.k.caches(format, h.dim)) continue;
            for (int positions : sizes.positions) {
                auto add = [&](const char* kind, int sequences, int n) {
                    add_benchmark(
                        std::string("attend/") + h.model + "/" + info(format).name + "/" + std::to_string(positions) +
                            kind + std::to_string(sequences * n),
                        [=, &b](benchmark::State& state) { attention(state, b, h, format, sequences, positions, n); });
                };
                for (int n : {1, 16, 64, 4096})
                    if (n <= positions && (n <= 64 || b.own_memory)) add("/rows:", 1, n);
                if (b.own_memory) add("/streams:", streams, 1);
            }
        }
    for (const Small& s : small_operations)
        for (int n : sizes.rows)
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
    const bool tiny = option(argc, argv, "--tiny", "0") == "1";
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    Bench b(device, {.threads = threads, .pin = pin}, tiny);
    const std::unique_ptr<Cublas> library = b.own_memory && !tiny ? Cublas::open(b.device->options.ordinal) : nullptr;
    benchmark::AddCustomContext("device", b.k.name);
    if (b.own_memory) benchmark::AddCustomContext("cublaslt", library ? "yes" : "not found");
    register_all(b, max_gib, tiny, library.get());
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
