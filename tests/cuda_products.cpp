// The CUDA products on the emulated device against sums in double: every format, both roles, odd sizes.
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"
#include "tests/catch.h"
#ifdef ALIA_CARD
#include "tests/gpu/card.h"
#else
#include "tests/emulated/emulated.h"
#endif

using namespace alia;

namespace {

std::mt19937 rng(20261125);

struct OwnQueue : cuda::Queue {
    OwnQueue() {
        int major = 0, minor = 0;
        REQUIRE(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess);
        REQUIRE(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0) == cudaSuccess);
        capability = 10 * major + minor, multiprocessors = 2;
        REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
    }
    ~OwnQueue() { cudaStreamDestroy(stream); }
};

// Exactly `bytes` of a device, from what is there or unwritten.
struct Memory {
    explicit Memory(int64_t bytes, const void* from = nullptr) : bytes(bytes) {
        REQUIRE(cudaMalloc(&data, size_t(bytes)) == cudaSuccess);
        if (from) REQUIRE(cudaMemcpy(data, from, size_t(bytes), cudaMemcpyHostToDevice) == cudaSuccess);
        // A copy may still be on its way, and the stream of q waits for none.
        REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    }
    Memory(const Memory&) = delete;
    ~Memory() { cudaFree(data); }
    template <class T>
    std::vector<T> read() const {
        std::vector<T> v(size_t(bytes) / sizeof(T));
        REQUIRE(cudaMemcpy(v.data(), data, size_t(bytes), cudaMemcpyDeviceToHost) == cudaSuccess);
        return v;
    }
    void* data = nullptr;
    int64_t bytes;
};

// Rows of random bytes that decode to small finite numbers, packed, and those numbers.
struct Weights {
    Weights(cuda::Queue& q, Format f, int64_t rows, int64_t columns)
        : numbers(size_t(rows * columns)),
          memory(cuda::packed_bytes(f, rows, columns)),
          t{memory.data, rows, columns, 0, f} {
        const int64_t bytes = row_bytes(f, columns), block = info(f).bytes, n = info(f).n;
        std::vector<uint8_t> raw(size_t(rows * bytes));
        for (int64_t i = 0; i < rows * bytes / block; ++i) {
            bool small = false;
            while (!small) {
                for (int64_t b = 0; b < block; ++b) raw[size_t(i * block + b)] = uint8_t(rng());
                decode_row(f, &raw[size_t(i * block)], n, &numbers[size_t(i * n)]);
                small = true;
                for (int64_t k = 0; k < n; ++k) small &= std::fabs(numbers[size_t(i * n + k)]) < 8;
            }
        }
        for (int64_t r = 0; r < rows; r += pack_rows) {  // in slices
            const int64_t count = std::min<int64_t>(pack_rows, rows - r);
            const Memory staged(count * bytes, &raw[size_t(r * bytes)]);
            cuda::repack(q, t, r, count, staged.data);
            REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
        }
    }
    std::vector<float> numbers;
    Memory memory;
    Tensor t;
};

// Rows of x in BF16; `gap` bytes between them.
struct Rows {
    Rows(int64_t rows, int64_t columns, int64_t gap)
        : numbers(size_t(rows * (columns + gap / 2))), columns(columns), stride(columns + gap / 2) {
        for (bf16& b : numbers) b = to_bf16(std::normal_distribution<float>()(rng));
    }
    std::vector<bf16> numbers;
    int64_t columns, stride;
};

struct Results {
    std::vector<float> y;
    std::vector<bf16> glu;
};
Results multiply(cuda::Queue& q, Role role, const Rows& x, int64_t first, int64_t n, Tensor w) {
    const Memory memory(n * x.stride * 2, &x.numbers[size_t(first * x.stride)]), y(n * w.rows * 4),
        both(n * w.rows * 4), glu(std::max<int64_t>(1, n * (w.rows / 2)) * 2),
        scratch(std::max<int64_t>(64, cuda::scratch_bytes(w.format, n, x.columns)));
    const Tensor operand{memory.data, n, x.columns, x.stride * 2, Format::BF16};
    Stream* s = reinterpret_cast<Stream*>(&q);
    cuda::linear(s, role, {y.data, n, w.rows, w.rows * 4, Format::F32}, operand, w, scratch.data);
    const bool paired = w.rows % 2 == 0;
    if (paired)
        cuda::linear_glu(s, role, {glu.data, n, w.rows / 2, w.rows, Format::BF16}, operand, w,
                         {both.data, n, w.rows, w.rows * 4, Format::F32}, scratch.data);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    return {y.read<float>(), paired ? glu.read<bf16>() : std::vector<bf16>()};
}

// Squared error over what the sum of squares would be on average over signs.
double error(const std::vector<float>& y, const Weights& w, const Rows& x) {
    double difference = 0, size = 0;
    const int64_t rows = w.t.rows, columns = w.t.columns;
    for (size_t i = 0; i < y.size(); ++i) {
        const float* a = &w.numbers[i % size_t(rows) * size_t(columns)];
        const bf16* b = &x.numbers[i / size_t(rows) * size_t(x.stride)];
        double sum = 0;
        for (int64_t k = 0; k < columns; ++k) {
            const double term = double(a[k]) * double(to_float(b[k]));
            sum += term, size += term * term;
        }
        if (!std::isfinite(y[i])) return INFINITY;
        difference += (double(y[i]) - sum) * (double(y[i]) - sum);
    }
    return difference / size;
}

constexpr double close_enough = 1e-12;  // of float sums: products are exact

void expect_products(Format f, int64_t rows, int64_t columns, int64_t gap, std::initializer_list<int64_t> counts) {
    OwnQueue q;
    const Weights w(q, f, rows, columns);
    const Rows x(*counts.begin(), columns, gap);
    for (Role role : {Role::generated, Role::prompt}) {
        INFO(info(f).name << " " << rows << "x" << columns << " role " << int(role));
        const Results all = multiply(q, role, x, 0, *counts.begin(), w.t);
        CHECK(error(all.y, w, x) < close_enough);
        for (size_t i = 0; i < all.glu.size(); ++i) {
            const size_t half = size_t(rows / 2), at = i / half * size_t(rows) + i % half;
            const float g = all.y[at], expected = g / (1 + std::exp(-g)) * all.y[at + half];
            REQUIRE(std::fabs(to_float(all.glu[i]) - expected) <= std::fabs(expected) / 128 + 1e-6f);
        }
        for (int64_t n : counts) {  // the last n rows alone
            const int64_t first = *counts.begin() - n;
            const Results some = multiply(q, role, x, first, n, w.t);
            INFO(n << " rows");
            CHECK(std::memcmp(some.y.data(), &all.y[size_t(first * rows)], some.y.size() * 4) == 0);
            if (!some.glu.empty())
                CHECK(std::memcmp(some.glu.data(), &all.glu[size_t(first * (rows / 2))], some.glu.size() * 2) == 0);
        }
        CHECK(emulated::reports() == std::vector<std::string>());
    }
}

}  // namespace

TEST_CASE("CUDA: products agree with sums in double in every format, and a row has the same bits beside any others") {
    emulated::reset();
    for (int f = 0; f < Formats::size; ++f) {
        const int64_t n = info(Format(f)).n;
        expect_products(Format(f), 37, n == 1 ? 77 : 3 * n, n == 1 ? 2 : 16, {11, 1});
        expect_products(Format(f), 32, n == 1 ? 136 : n, 0, {9, 8});
    }
    expect_products(Format::BF16, 1, 1, 0, {1});
}

TEST_CASE("CUDA: products of every block shape have the same bits") {
    emulated::reset();
    for (Format f : {Format::BF16, Format::Q6_K, Format::Q4_1}) expect_products(f, 128, 768, 0, {139, 64, 31, 13, 1});
}

#ifndef ALIA_CARD
TEST_CASE("CUDA: every barrier of the products is needed, and no order of threads matters") {
    using emulated::Order;
    for (Order order : {Order::reversed, Order::random}) {
        emulated::options = {.order = order};
        emulated::reset();
        expect_products(Format::Q4_K, 64, 1024, 0, {33, 17});
    }
    emulated::options = {};
    emulated::reset();
    OwnQueue q;
    const Weights packed(q, Format::Q8_0, 64, 4096);  // lanes read scales that others copied
    const Rows x(33, 4096, 0);
    emulated::reset();
    multiply(q, Role::generated, x, 0, 5, packed.t);
    multiply(q, Role::generated, x, 0, 33, packed.t);
    const std::vector<emulated::Site> sites = emulated::sites();
    CHECK(sites.size() >= 6);
    for (const emulated::Site& site : sites) {
        bool noticed = false;
        for (Order order : {Order::ahead, Order::reversed})
            for (int64_t n : {5, 33}) {
                if (noticed) continue;
                emulated::options = {.order = order, .without = site};
                emulated::reset();
                const Memory rows(n * 4096 * 2, x.numbers.data()), y(n * 64 * 4);
                cuda::linear(reinterpret_cast<Stream*>(static_cast<cuda::Queue*>(&q)), Role::generated,
                             {y.data, n, 64, 256, Format::F32}, {rows.data, n, 4096, 8192, Format::BF16}, packed.t,
                             nullptr);
                noticed |= cudaDeviceSynchronize() != cudaSuccess || !emulated::reports().empty();
                emulated::options = {};
                emulated::reset();
            }
        INFO(site.file << " line " << site.line);
        CHECK(noticed);
    }
}
#endif
