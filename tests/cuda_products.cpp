// The CUDA products on the emulated device against sums in double: every format, both roles, odd sizes.
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"
#include "tests/catch.h"
#include "tests/environment.h"
#include "tests/random_weights.h"
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
        capability = 10 * major + minor, multiprocessors = 2, code = cuda::code_capability(*this);
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
        const int64_t bytes = row_bytes(f, columns);
        const std::vector<uint8_t> raw = test::random_weights(f, rows, columns, rng);
        for (int64_t r = 0; r < rows; ++r)
            decode_row(f, &raw[size_t(r * bytes)], columns, &numbers[size_t(r * columns)]);
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
    // As products take them: as they are, or rounded to E4M3 with a scale a row.
    std::vector<double> operands(bool rounded) const {
        std::vector<double> x;
        for (size_t first = 0; first < numbers.size(); first += size_t(stride)) {
            float most = 0;
            for (int64_t k = 0; k < columns; ++k)
                most = std::max(most, std::fabs(to_float(numbers[first + size_t(k)])));
            const float scale = most / 448;
            for (int64_t k = 0; k < columns; ++k) {
                const float number = to_float(numbers[first + size_t(k)]);
                x.push_back(rounded ? double(scale) * double(e4m3_to_float(to_e4m3(number / scale))) : double(number));
            }
        }
        return x;
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
double error(const std::vector<float>& y, const Weights& w, const Rows& rows_of_x, bool rounded = false) {
    double difference = 0, size = 0;
    const std::vector<double> x = rows_of_x.operands(rounded);
    const int64_t rows = w.t.rows, columns = w.t.columns;
    for (size_t i = 0; i < y.size(); ++i) {
        const float* a = &w.numbers[i % size_t(rows) * size_t(columns)];
        const double* b = &x[i / size_t(rows) * size_t(columns)];
        double sum = 0;
        for (int64_t k = 0; k < columns; ++k) {
            const double term = double(a[k]) * b[k];
            sum += term, size += term * term;
        }
        if (!std::isfinite(y[i])) return INFINITY;
        difference += (double(y[i]) - sum) * (double(y[i]) - sum);
    }
    return difference / size;
}

// Of float sums: products are exact. A card's tensor cores cut the sum of an instruction's products off: of BF16 behind
// 24 bits, of E4M3 behind 13 or 14 on cards of 9.0 (DeepSeek-V3 Technical Report, section 3.5.2).
#ifdef ALIA_CARD
constexpr double close_enough = 1e-11, close_rounded = 1e-6;
#else
constexpr double close_enough = 1e-12, close_rounded = 1e-12;
#endif

// `e4m3_inputs`: prompts' rows are rounded.
void expect_products(Format f, int64_t rows, int64_t columns, int64_t gap, std::initializer_list<int64_t> counts,
                     bool e4m3_inputs = false) {
    OwnQueue q;
    Weights w(q, f, rows, columns);
    w.t.e4m3_inputs = e4m3_inputs;
    const Rows x(*counts.begin(), columns, gap);
    for (Role role : {Role::generated, Role::prompt}) {
        INFO(info(f).name << " " << rows << "x" << columns << " role " << int(role));
        const Results all = multiply(q, role, x, 0, *counts.begin(), w.t);
        const bool rounded = e4m3_inputs && role == Role::prompt && q.code >= 89;
        CHECK(error(all.y, w, x, rounded) < (rounded ? close_rounded : close_enough));
        if (rounded) {  // three bits of a fraction: 2^-4 at most, and about a third of that squared
            CHECK(error(all.y, w, x) > 1e-5);
            CHECK(error(all.y, w, x) < 1e-3);
        }
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
    for (Format f : {Format::BF16, Format::E4M3, Format::Q8_0, Format::I8, Format::Q4_0, Format::Q4_K})  // tuned ones
        expect_products(f, 96, std::max(info(f).n, 64), 0, {129, 64, 32, 16, 8});
    expect_products(Format::BF16, 96, 72, 0, {256, 128, 65});
    expect_products(Format::Q4_1, 736, 32, 0, {273, 257, 256});  // blocks in bands, the last one narrower
}

TEST_CASE("CUDA: products of a shape that the seed draws", "[drawn]") {
    emulated::reset();
    rng.seed(uint32_t(from_environment("ALIA_TEST_SEED", 1)));
    auto from = [](int64_t first, int64_t last) { return first + int64_t(rng() % uint64_t(last - first + 1)); };
    const Format f = Format(from(0, Formats::size - 1));
    const int64_t n = info(f).n, rows = from(1, 150), columns = n * from(1, std::max<int64_t>(1, 400 / n));
    const int64_t most = from(1, std::clamp<int64_t>(1000000 / (rows * columns), 1, 140));
    const bool aligned = n > 1 || from(0, 1), rounded = f == Format::E4M3 && from(0, 1);
    INFO(most << " rows");
    expect_products(f, rows, columns, aligned ? 16 * from(0, 2) : 2, {most, from(1, most)}, rounded);
    rng.seed(20261125);
}

TEST_CASE("CUDA: a product may follow at once upon the weights it reads") {
    emulated::reset();
    OwnQueue q;
    const Rows x(3, 64, 0);
    const Memory raw(32 * row_bytes(Format::Q8_0, 64),
                     std::vector<uint8_t>(size_t(32 * row_bytes(Format::Q8_0, 64)), 1).data());
    const Memory packed(cuda::packed_bytes(Format::Q8_0, 32, 64)), operand(3 * 128, x.numbers.data()), y(3 * 32 * 4);
    const Tensor w{packed.data, 32, 64, 0, Format::Q8_0};
    for (int round = 0; round < 2; ++round) {
        cuda::repack(q, w, 0, 32, raw.data);
        cuda::linear(reinterpret_cast<Stream*>(static_cast<cuda::Queue*>(&q)), Role::generated,
                     {y.data, 3, 32, 128, Format::F32}, {operand.data, 3, 64, 128, Format::BF16}, w, nullptr);
    }
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
    CHECK(emulated::reports() == std::vector<std::string>());
}

TEST_CASE("CUDA: prompts meet weights in E4M3 with rows rounded to E4M3 where their file says so") {
    emulated::reset();
    expect_products(Format::E4M3, 37, 96, 16, {11, 1}, true);
    expect_products(Format::E4M3, 32, 32, 0, {9, 8}, true);
    expect_products(Format::E4M3, 37, 160, 2, {3}, true);  // rows that are not aligned
    expect_products(Format::E4M3, 160, 384, 0, {139, 128, 5}, true);
}

TEST_CASE("CUDA: a row that is rounded to E4M3 may be zero, and keeps what is not finite") {
    emulated::reset();
    OwnQueue q;
    if (q.code < 89) return;
    Weights w(q, Format::E4M3, 16, 64);
    w.t.e4m3_inputs = true;
    Rows x(4, 64, 0);
    for (size_t k = 0; k < 64; ++k) x.numbers[k] = {0};
    x.numbers[64 + 3] = to_bf16(NAN), x.numbers[128 + 5] = to_bf16(INFINITY);
    const std::vector<float> y = multiply(q, Role::prompt, x, 0, 4, w.t).y;
    for (size_t r = 0; r < 16; ++r) {
        CHECK(y[r] == 0);
        CHECK(std::isnan(y[16 + r]));
        CHECK(std::isnan(y[32 + r]));
        CHECK(std::isfinite(y[48 + r]));
    }
}

#ifndef ALIA_CARD
TEST_CASE("CUDA: cards without products of E4M3 take the rows as they are") {
    const emulated::Machine newer = emulated::machine;
    emulated::reset();
    emulated::machine.capability = 86;
    expect_products(Format::E4M3, 37, 96, 0, {11, 1}, true);
    for (Format f : {Format::BF16, Format::Q4_K}) expect_products(f, 128, 256, 0, {139, 40, 1});  // in 99 KiB
    emulated::machine = newer;
}

TEST_CASE("CUDA: code for older cards runs on newer ones, which then launch no kernel early") {
    const emulated::Machine newer = emulated::machine;
    emulated::reset();
    emulated::machine.code = 80;
    expect_products(Format::E4M3, 37, 96, 0, {11, 1}, true);
    emulated::machine = newer;
}

TEST_CASE("CUDA: every barrier of the products is needed, and no order of threads matters") {
    using emulated::Order;
    for (Order order : {Order::reversed, Order::random}) {
        emulated::options = {.order = order};
        emulated::reset();
        expect_products(Format::Q4_K, 64, 1024, 0, {33, 17});
    }
    struct Case {
        Format format;
        int64_t rows, columns;
        Role role;
        int64_t n;
    };
    const Case cases[] = {{Format::Q8_0, 64, 4096, Role::generated, 5},  // lanes read scales that others copied
                          {Format::Q8_0, 64, 4096, Role::generated, 33},
                          {Format::BF16, 64, 512, Role::prompt, 33},
                          {Format::E4M3, 64, 512, Role::prompt, 33}};
    emulated::options = {};
    for (const Case& c : cases) {
        emulated::reset();
        OwnQueue q;
        Weights packed(q, c.format, c.rows, c.columns);
        packed.t.e4m3_inputs = c.format == Format::E4M3;
        const Rows x(c.n, c.columns, 0);
        const Memory rows(c.n * c.columns * 2, x.numbers.data()),
            scratch(std::max<int64_t>(64, cuda::scratch_bytes(c.format, c.n, c.columns)));
        auto product = [&](const emulated::Options& o) {
            emulated::options = o;
            emulated::reset();
            const Memory y(c.n * c.rows * 4);
            cuda::linear(reinterpret_cast<Stream*>(static_cast<cuda::Queue*>(&q)), c.role,
                         {y.data, c.n, c.rows, c.rows * 4, Format::F32},
                         {rows.data, c.n, c.columns, c.columns * 2, Format::BF16}, packed.t, scratch.data);
            return cudaDeviceSynchronize() == cudaSuccess && emulated::reports().empty();
        };
        INFO(info(c.format).name << ", " << c.n << " rows");
        REQUIRE(product({}));
        const std::vector<emulated::Site> sites = emulated::sites();
        for (const emulated::Site& site : sites) {
            if (std::string_view(site.file).ends_with("reduce.h")) continue;  // mutations.py tries it with norms
            const bool survives = product({.order = Order::ahead, .without = site}) &&
                                  product({.order = Order::reversed, .without = site});
            INFO(info(c.format).name << ", " << c.n << " rows: " << site.file << " line " << site.line);
            CHECK(!survives);
        }
        emulated::options = {};
        emulated::reset();
    }
}
#endif
