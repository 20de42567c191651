// Encoders: how far what they write is from what they read, against another quantiser's figures, and at the edges.
#include "engine/encode.h"

#include <cmath>
#include <random>

#include "engine/encode_fit.h"
#include "engine/quantize_types.h"
#include "tests/catch.h"

using namespace alia;

namespace {

std::vector<float> normal(int64_t n, uint32_t seed, float spread = 1) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> d(0, spread);
    std::vector<float> x(static_cast<size_t>(n));
    for (float& v : x) v = d(rng);
    return x;
}

std::vector<uint8_t> encoded(Format f, const std::vector<float>& x, const float* importance = nullptr) {
    std::vector<uint8_t> bytes(size_t(row_bytes(f, int64_t(x.size()))));
    encode_row(f, x.data(), int64_t(x.size()), importance, bytes.data());
    return bytes;
}

std::vector<float> there_and_back(Format f, const std::vector<float>& x, const float* importance = nullptr) {
    std::vector<float> y(x.size());
    decode_row(f, encoded(f, x, importance).data(), int64_t(x.size()), y.data());
    return y;
}

double error_of(const std::vector<float>& x, const std::vector<float>& y, const float* importance = nullptr) {
    double error = 0, size = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        const double w = importance ? importance[i] : 1;
        error += w * (x[i] - y[i]) * (x[i] - y[i]);
        size += w * double(x[i]) * x[i];
    }
    return error / size;
}

// llama.cpp's relative squared errors on 512 rows of 4,096 normal numbers, without importance and with that of
// `weights` below; llama-cpp-python 0.3.36, llama_model_quantize with `pure`.
struct Peer {
    Format format;
    double plain, weighted;
};
constexpr Peer peers[] = {
    {Format::Q8_0, 2.866e-5, 2.868e-5}, {Format::Q4_0, 7.398e-3, 5.660e-3}, {Format::Q4_1, 6.127e-3, 3.666e-3},
    {Format::Q5_0, 1.822e-3, 1.396e-3}, {Format::Q5_1, 1.434e-3, 8.629e-4}, {Format::Q4_K, 5.093e-3, 3.806e-3},
    {Format::Q5_K, 1.305e-3, 1.012e-3}, {Format::Q6_K, 3.149e-4, 2.373e-4},
};

std::vector<float> weights(int64_t columns) {
    std::vector<float> w;
    for (int64_t k = 0; k < columns; ++k) w.push_back(std::pow(float(k * 37 % 256 + 1) / 256, 4.f));
    return w;
}

const std::vector<Format> all = [] {
    std::vector<Format> formats;
    for (int f = 0; f < Formats::size; ++f)
        if (can_encode(Format(f))) formats.push_back(Format(f));
    return formats;
}();

}  // namespace

TEST_CASE("blocks are as close to normal numbers as another quantiser's, or closer") {
    REQUIRE(all.size() == 11);
    constexpr int64_t columns = 4096, rows = 32;
    const auto importance = weights(columns);
    for (const Peer& peer : peers) {
        double plain = 0, weighted = 0;
        for (uint32_t row = 0; row < rows; ++row) {
            const auto x = normal(columns, 100 + row);
            plain += error_of(x, there_and_back(peer.format, x)) / rows;
            const auto y = there_and_back(peer.format, x, importance.data());
            weighted += error_of(x, y, importance.data()) / rows;
        }
        INFO(info(peer.format).name << " " << plain << " " << weighted);
        CHECK(plain < peer.plain);
        CHECK(weighted < peer.weighted);
        CHECK(plain > 0.5 * peer.plain);  // a figure that is too good would be another error
    }
}

TEST_CASE("importance moves errors to where they matter less") {
    const auto x = normal(4096, 3);
    std::vector<float> importance(4096);
    for (size_t i = 0; i < importance.size(); ++i) importance[i] = i % 32 < 4 ? 100.f : 1.f;
    for (const Peer& peer : peers) {
        const auto without = there_and_back(peer.format, x), with = there_and_back(peer.format, x, importance.data());
        CHECK(error_of(x, with, importance.data()) < error_of(x, without, importance.data()));
    }
}

TEST_CASE("rows of the models' widths, whatever their scale") {
    for (int64_t columns : {4096, 11008, 8192, 24576, 5440, 2048, 576, 1536})
        for (float spread : {1e-3f, 0.02f, 30.f})
            for (Format wanted : all) {
                const Format f = fitting_format(wanted, columns);
                const auto x = normal(columns, uint32_t(columns), spread);
                INFO(info(f).name << " " << columns << " " << spread);
                CHECK(error_of(x, there_and_back(f, x)) < 8e-3);
            }
}

TEST_CASE("blocks of extremes") {
    for (Format f : all) {
        INFO(info(f).name);
        const size_t n = 256;
        const auto exact = [&](std::vector<float> x) { return there_and_back(f, x) == x; };
        CHECK(exact(std::vector<float>(n, 0.f)));
        std::vector<float> spike(n, 0.f);
        spike[77] = -1;
        CHECK(error_of(spike, there_and_back(f, spike)) < 1e-4);
        CHECK(error_of(std::vector<float>(n, 0.25f), there_and_back(f, std::vector<float>(n, 0.25f))) < 1e-4);
        std::vector<float> wide(n);
        for (size_t i = 0; i < n; ++i) wide[i] = (i % 2 ? 1.f : -1.f) * largest_encoded(f);
        for (float v : there_and_back(f, wide)) CHECK(std::isfinite(v));
        std::vector<float> tiny(n, 1e-30f);
        for (float v : there_and_back(f, tiny)) CHECK(std::fabs(v) <= 1e-7f);
        const std::vector<float> none(n, 0.f);
        const auto x = normal(int64_t(n), 9);
        CHECK(there_and_back(f, x, none.data()) == there_and_back(f, x));  // importance that says nothing
    }
}

TEST_CASE("narrow groups far from zero, and importance of few numbers, give lines that are near") {
    std::mt19937 rng(5);
    std::uniform_real_distribution<float> part(0, 1);
    for (Format f : all)
        for (float noise : {1e-7f, 1e-6f, 1e-4f, 1e-2f})
            for (int round = 0; round < 40; ++round) {
                std::vector<float> x(256), importance(256);
                for (size_t i = 0; i < x.size(); ++i) {
                    x[i] = (round % 2 ? -0.999f : 0.5f) * largest_encoded(f) * (1 - noise * part(rng));
                    if (round % 4 > 1 && rng() % 64 == 0) x[i] = -x[i];
                    importance[i] = rng() % 3 ? 1.f : std::pow(10.f, -20 * part(rng));
                }
                INFO(info(f).name << " " << noise << " " << round);
                for (const float* w : {static_cast<const float*>(nullptr), std::as_const(importance).data()})
                    for (float v : there_and_back(f, x, w)) REQUIRE(std::fabs(v) <= largest_encoded(f) * (1 + 1e-2f));
            }
}

TEST_CASE("what a block can hold exactly comes back exactly") {
    std::mt19937 rng(4);
    const auto check = [&](Format f, auto&& make) {
        for (int round = 0; round < 50; ++round) {
            std::vector<float> x(32);
            for (float& v : x) v = make();
            x[3] = -8 * 0.5f, x[9] = 7 * 0.5f;
            INFO(info(f).name);
            CHECK(error_of(x, there_and_back(f, x)) < 1e-12);
        }
    };
    check(Format::Q4_0, [&] { return 0.5f * float(int(rng() % 16) - 8); });
    check(Format::Q4_1, [&] { return 0.5f * float(int(rng() % 16) - 8); });
    check(Format::Q5_1, [&] { return 0.25f * float(int(rng() % 32) - 16); });
}

TEST_CASE("lines through groups") {
    const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8}, w(8, 1.f);
    const Line line = fit_line({x, w}, 7, Offset::any);
    CHECK(line.scale == Approx(1).epsilon(1e-5));
    CHECK(line.offset == Approx(1).epsilon(1e-5));
    CHECK(fit_line({x, w}, 15, Offset::not_positive).offset <= 0);
    const Line lines[] = {{1, 1}, {2, 1}, {0, 0}};
    float errors[3];
    fit_errors({x, w}, 0, 7, lines, errors);
    CHECK(errors[0] == 0);
    CHECK(errors[1] == 4);
    CHECK(errors[2] == 204);
}

TEST_CASE("types mix formats as llama.cpp does") {
    const auto wanted = [](const char* type, MatrixKind kind, int64_t layer, int64_t layers, bool weighted = false) {
        return wanted_format(*find_quantize_type(type), {kind, layer, layers, false, weighted});
    };
    // Layers of ffn_down that get Q6_K in a Q4_K_M of 32 layers, from llama_model_quantize.
    const std::vector<int64_t> more = {0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31};
    std::vector<int64_t> found;
    for (int64_t l = 0; l < 32; ++l)
        if (wanted("Q4_K_M", MatrixKind::down, l, 32) == Format::Q6_K) found.push_back(l);
    CHECK(found == more);
    CHECK(wanted("q5_k_m", MatrixKind::v, 0, 48) == Format::Q6_K);
    CHECK(wanted("Q5_K_M", MatrixKind::other, 0, 48) == Format::Q5_K);
    CHECK(wanted("Q4_0", MatrixKind::head, 0, 48) == Format::Q6_K);
    CHECK(wanted("Q8_0", MatrixKind::head, 0, 48) == Format::Q8_0);
    CHECK(wanted("BF16", MatrixKind::head, 0, 48) == Format::BF16);
    CHECK(wanted("Q4_0", MatrixKind::down, 0, 48, true) == Format::Q4_1);
    CHECK(wanted("Q4_0", MatrixKind::down, 6, 48, true) == Format::Q4_0);
    CHECK(fitting_format(Format::Q4_K, 5440) == Format::Q5_0);
    CHECK(fitting_format(Format::Q6_K, 576) == Format::Q8_0);
    CHECK(fitting_format(Format::Q4_K, 4096) == Format::Q4_K);
    CHECK(fitting_format(Format::Q4_0, 48) == Format::F16);
    CHECK(find_quantize_type("Q4_K") == nullptr);
    CHECK(find_quantize_type("") == nullptr);
}
