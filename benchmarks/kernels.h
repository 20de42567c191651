// What the kernel benchmarks stand on: the device, its roofs, and memory with numbers that no kernel stumbles over.
#pragma once
#include <algorithm>
#include <benchmark/benchmark.h>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device.h"

namespace alia {

struct Shape {
    int64_t columns, rows;  // of a weight matrix
    bool operator==(const Shape&) const = default;
};

// A model as the small operations see it.
struct Sized {
    int64_t hidden, kv, ffn, vocabulary, dim;
};
constexpr Sized alia_40b = {8192, 1024, 24576, 256000, 128}, tiny_sizes = {256, 64, 96, 500, 32};

// Packed copies of one matrix, enough to exceed the caches.
struct Weights {
    Format format;
    Shape shape;
    std::vector<Tensor> copies;
    std::vector<Buffer> buffers;
};

// Every byte has a small exponent's bits: all formats' scales, and floats, are positive, normal and small, and so are
// their products, as processors take their time over subnormal numbers. A mebibyte, repeated.
inline std::vector<uint8_t> small_numbers(int64_t bytes) {
    constexpr int64_t period = 1 << 20;
    std::vector<uint8_t> numbers(size_t(bytes), 0);
    uint64_t state = 1;
    for (int64_t i = 0; i < std::min(bytes, period); ++i)
        numbers[size_t(i)] = uint8_t((state = mix(state + 1)) & 0x0F) | 0x30;
    for (int64_t i = period; i < bytes; i += period)
        std::memcpy(&numbers[size_t(i)], numbers.data(), size_t(std::min(period, bytes - i)));
    return numbers;
}

class Bench {
  public:
    Bench(std::string_view name, const DeviceOptions& options, bool tiny)
        : device(Device::open(name, options)),
          k(device->kernels),
          own_memory(k.free_bytes(device->stream) >= 0),
          beyond_caches(tiny ? 1 : 256 << 20),
          model(tiny ? tiny_sizes : alia_40b),
          operand_bytes(row_bytes(k.operand_format, 1)) {}

    // Until the device has done what was queued.
    void wait() {
        char last;
        if (!probe) probe.emplace(bytes(1));
        k.read(device->stream, &last, probe->data(), 1);
    }

    // The machine's speed moves, so roofs are measured again when they are old.
    const Roofs& roofs() {
        const auto now = std::chrono::steady_clock::now();
        if (!measured || now - when > std::chrono::seconds(15)) {
            measured = k.measure(device->stream);
            when = std::chrono::steady_clock::now();
        }
        return *measured;
    }

    Buffer floats(int64_t count) { return bytes(count * 4); }

    Buffer bytes(int64_t count) {
        constexpr int64_t piece = 64 << 20;
        const std::vector<uint8_t> host = small_numbers(std::min(count, piece));
        Buffer buffer(*device, count);
        for (int64_t i = 0; i < count; i += piece)
            k.write(device->stream, buffer.data() + i, host.data(), std::min(piece, count - i));
        return buffer;
    }

    // For what an operation writes.
    Buffer room(int64_t floats) { return Buffer(*device, floats * 4); }

    Buffer integers(const std::vector<int32_t>& values) {
        Buffer buffer(*device, int64_t(values.size()) * 4);
        k.write(device->stream, buffer.data(), values.data(), buffer.size());
        return buffer;
    }

    // Kept until another format or shape is asked for: Google Benchmark calls a benchmark several times. The file that
    // they are packed from repeats the same rows.
    const Weights& weights(Format format, Shape shape) {
        if (kept && kept->format == format && kept->shape == shape) return *kept;
        kept.reset();
        Weights w{format, shape, {}, {}};
        const int64_t row = row_bytes(format, shape.columns);
        const int64_t packed = k.packed_bytes(format, shape.rows, shape.columns);
        const std::vector<uint8_t> file = small_numbers(row * pack_rows);
        std::vector<const void*> rows(size_t(shape.rows), nullptr);
        for (int64_t i = 0; i < shape.rows; ++i) rows[size_t(i)] = file.data() + i % pack_rows * row;
        for (int64_t bytes = 0; bytes < beyond_caches; bytes += packed) {
            Buffer& buffer = w.buffers.emplace_back(*device, packed);
            w.copies.push_back({buffer.data(), shape.rows, shape.columns, 0, format});
            k.pack(device->stream, w.copies.back(), 0, shape.rows, rows.data());
        }
        return kept.emplace(std::move(w));
    }

    // Rows as `linear` reads them, and `norm`, `glu` and `attend` write them.
    Tensor operand(const Buffer& b, int64_t rows, int64_t columns) const {
        return {b.data(), rows, columns, row_bytes(k.operand_format, columns), k.operand_format};
    }

    std::unique_ptr<Device> device;
    const Kernels& k;
    const bool own_memory;  // a card: work is queued, and a run of it is timed as one
    // Larger than any cache: operands are taken in turn from so many bytes, so that each comes from memory.
    const int64_t beyond_caches;
    const Sized model;
    const int64_t operand_bytes;  // of a number

  private:
    std::optional<Weights> kept;  // freed before the device, as the next
    std::optional<Buffer> probe;
    std::optional<Roofs> measured;
    std::chrono::steady_clock::time_point when;
};

inline Tensor matrix(const Buffer& b, int64_t rows, int64_t columns) {
    return {b.data(), rows, columns, columns * 4, Format::F32};
}

// Rates of a benchmark whose iteration moves `bytes` and does `products` multiply-adds, and their shares of the roofs;
// 0 leaves a rate out. `best` is the rate that the products are compared with.
inline void report(benchmark::State& state, double seconds, const Roofs& roofs, double bytes, double products = 0,
                   double best = 0) {
    const double n = double(state.iterations()) / seconds;
    if (bytes > 0) {
        state.counters["GB/s"] = bytes * n / 1e9;
        state.counters["of_read"] = bytes * n / roofs.read;
    }
    if (products > 0) {
        state.counters["GMAC/s"] = products * n / 1e9;
        state.counters["of_products"] = products * n / best;
    }
}

constexpr int queued_runs = 20;  // on a card, between two waits

// The seconds that `runs` of `f` and a `wait` for them take.
template <class F, class Wait>
double seconds_of(int runs, F&& f, Wait&& wait) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < runs; ++i) f();
    wait();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Runs `f` for as long as Google Benchmark wants and gives the seconds that it took; the first, untimed run warms up.
template <class F, class Wait>
double timed(benchmark::State& state, Bench& b, F&& f, Wait&& wait) {
    seconds_of(1, f, wait);
    const int runs = b.own_memory && b.beyond_caches > 1 ? queued_runs : 1;
    double seconds = 0;
    while (state.KeepRunningBatch(runs)) {
        const double taken = seconds_of(runs, f, wait);
        state.SetIterationTime(taken);
        seconds += taken;
    }
    return seconds;
}
template <class F>
double timed(benchmark::State& state, Bench& b, F&& f) {
    return timed(state, b, f, [&] { b.wait(); });
}

}  // namespace alia
