// The CUDA table's operations on rows against the reference: norms, SwiGLU, angles, gathers, embeddings.
#include <algorithm>

#include "tests/catch.h"
#include "tests/on_device.h"
#ifndef ALIA_CARD
#include "tests/emulated/emulated.h"
#endif

using namespace alia;
using namespace alia::test;

namespace {

std::mt19937 rng(20261125);

std::vector<float> row(const std::vector<float>& all, int64_t i, int64_t columns) {
    return {all.begin() + i * columns, all.begin() + (i + 1) * columns};
}

}  // namespace

TEST_CASE("CUDA: what was written is what it was at the call, whatever becomes of the caller's memory") {
    auto cuda = open_cuda();
    for (size_t bytes : {size_t(1), size_t(70000), size_t(9) << 20}) {
        std::vector<uint8_t> source(bytes);
        for (uint8_t& b : source) b = uint8_t(rng());
        const std::vector<uint8_t> kept = source;
        const Buffer to(*cuda, int64_t(bytes));
        cuda->kernels.write(cuda->stream, to.data(), source.data(), to.size());
        std::fill(source.begin(), source.end(), uint8_t(0));
        CHECK((get<uint8_t>(*cuda, to.data(), to.size()) == kept));
    }
}

TEST_CASE("CUDA: norms and SwiGLU agree with the reference, and a row with itself alone") {
    auto ref = Device::open("ref"), cuda = open_cuda();
    Stream* s = cuda->stream;
    for (int64_t n : {1, 2, 3, 4, 15, 64, 130, 1031, 4100, 9001}) {
        INFO(n << " columns");
        const int64_t rows = 3;
        HostRows x(rows, n), a(rows, n), w(1, n), pair(rows, 2 * n), y(rows, n);
        for (HostRows* m : {&x, &a, &w, &pair}) randomise(*m, rng);
        DeviceRows dx(*cuda, x), da(*cuda, a), dw(*cuda, w), dpair(*cuda, pair), dy(*cuda, rows, n, Format::BF16);
        DeviceRows alone(*cuda, 1, n, Format::BF16), alone_x(*cuda, 1, n);
        const float* weight = dw.t.row(0);

        ref->kernels.norm(nullptr, y, x, w.t.row(0), 1e-5f);
        cuda->kernels.norm(s, dy, dx, weight, 1e-5f);
        CHECK(distance(dy.floats(), y.numbers) < bf16_rounding);
        cuda->kernels.norm(s, alone, row_of(dx, 1), weight, 1e-5f);
        CHECK(same_bits(alone.floats(), row(dy.floats(), 1, n)));

        const auto one = put(*cuda, std::vector<int32_t>{1});
        cuda->kernels.rows(s, alone_x, dx, at<int32_t>(one));
        ref->kernels.add_norm(nullptr, y, x, a, w.t.row(0), 1e-5f);
        cuda->kernels.add_norm(s, dy, dx, da, weight, 1e-5f);
        CHECK(same_bits(dx.floats(), x.numbers));
        CHECK(distance(dy.floats(), y.numbers) < bf16_rounding);
        cuda->kernels.add_norm(s, alone, alone_x, row_of(da, 1), weight, 1e-5f);
        CHECK(same_bits(alone.floats(), row(dy.floats(), 1, n)));

        ref->kernels.glu(nullptr, y, pair);
        cuda->kernels.glu(s, dy, dpair);
        CHECK(distance(dy.floats(), y.numbers) < bf16_rounding);
        cuda->kernels.glu(s, alone, row_of(dpair, 1));
        CHECK(same_bits(alone.floats(), row(dy.floats(), 1, n)));
    }
}

TEST_CASE("CUDA: rows and columns are gathered as they are, in F32 and BF16") {
    auto cuda = open_cuda();
    Stream* s = cuda->stream;
    for (Format format : {Format::F32, Format::BF16})
        for (int64_t n : {1, 2, 8, 61, 300}) {
            const std::vector<int32_t> index = {4, 0, 4, 2};
            std::vector<int32_t> order;
            for (int64_t i = 0; i < n; ++i) order.push_back(int32_t((7 * i + 3) % n));
            std::vector<uint8_t> bytes(size_t(5 * row_bytes(format, n)));
            for (uint8_t& b : bytes) b = uint8_t(rng() % 128);
            const auto from = put(*cuda, bytes), which = put(*cuda, index), where = put(*cuda, order);
            const Tensor x{from.data(), 5, n, row_bytes(format, n), format};
            DeviceRows picked(*cuda, 4, n, format), moved(*cuda, 5, n, format);
            cuda->kernels.rows(s, picked, x, at<int32_t>(which));
            cuda->kernels.columns(s, moved, x, at<int32_t>(where));
            const int64_t size = info(format).bytes;
            std::vector<uint8_t> rows, columns;
            for (int32_t i : index)
                rows.insert(rows.end(), bytes.begin() + i * n * size, bytes.begin() + (i + 1) * n * size);
            for (int64_t i = 0; i < 5; ++i)
                for (int32_t j : order)
                    columns.insert(columns.end(), bytes.begin() + (i * n + j) * size,
                                   bytes.begin() + (i * n + j + 1) * size);
            CHECK(get<uint8_t>(*cuda, picked.t.data, int64_t(rows.size())) == rows);
            CHECK(get<uint8_t>(*cuda, moved.t.data, int64_t(columns.size())) == columns);
        }
}

TEST_CASE("CUDA: angles are the reference's at every position and scaling") {
    auto ref = Device::open("ref"), cuda = open_cuda();
    for (int dim : {2, 6, 64, 126})
        for (double factor : {0.0, 4.0}) {
            std::vector<double> frequency;
            for (int i = 0; i < dim / 2; ++i) frequency.push_back(std::pow(10000, -2.0 * i / dim));
            const std::vector<int32_t> position = {0, 1, 17, 4095, 163839};
            const auto frequencies = put(*cuda, frequency), positions = put(*cuda, position);
            Rope rope{frequency.data(), dim / 2, 1.25f, dim > 2 ? factor : 0, 16};
            HostRows y(5, dim);
            DeviceRows z(*cuda, 5, dim);
            ref->kernels.angles(nullptr, y, position.data(), rope);
            rope.frequency = at<double>(frequencies);
            cuda->kernels.angles(cuda->stream, z, at<int32_t>(positions), rope);
            CHECK(distance(z.floats(), y.numbers) < 1e-14);
        }
}

TEST_CASE("CUDA: embedding rows in host memory are the reference's in every format") {
    auto ref = Device::open("ref"), cuda = open_cuda();
    for (int f = 0; f < Formats::size; ++f) {
        const Format format = Format(f);
        const int64_t n = info(format).n, rows = 7;
        for (int64_t columns : {n, 3 * n, n == 1 ? int64_t(2049) : 2048 + n}) {
            INFO(info(format).name << " " << columns);
            std::vector<uint8_t> bytes(size_t(rows * row_bytes(format, columns)));
            std::vector<float> block(static_cast<size_t>(n));
            for (size_t b = 0; b < bytes.size(); b += size_t(info(format).bytes)) do {
                    for (int i = 0; i < info(format).bytes; ++i) bytes[b + size_t(i)] = uint8_t(rng());
                    decode_row(format, &bytes[b], n, block.data());
                } while (!std::all_of(block.begin(), block.end(), [](float x) { return std::fabs(x) < 8; }));
            const std::vector<int32_t> token = {6, 0, 3, 3, 5};
            const auto table = put(*cuda, bytes, Home::host), tokens = put(*cuda, token);
            HostRows y(5, columns);
            DeviceRows z(*cuda, 5, columns);
            ref->kernels.embed(nullptr, y, {bytes.data(), rows, columns, 0, format}, token.data());
            const Tensor w{table.data(), rows, columns, row_bytes(format, columns), format};
            cuda->kernels.embed(cuda->stream, z, w, at<int32_t>(tokens));
            CHECK(distance(z.floats(), y.numbers) == 0);
        }
    }
}

#ifndef ALIA_CARD
TEST_CASE("CUDA: what a card reaches is measured; where a call fails, a typed error says so and nothing stays") {
    emulated::reset();
    const auto cuda = open_cuda();
    const emulated::Alive none = emulated::alive();
    const Roofs roofs = cuda->kernels.measure(cuda->stream);
    for (double rate : {roofs.read, roofs.copy, roofs.upload, roofs.f32, roofs.bf16, roofs.e4m3}) CHECK(rate > 0);
    CHECK(roofs.int8 == 0);
    CHECK(cuda->kernels.read_rate(cuda->stream, put(*cuda, std::vector<char>(1 << 16)).data(), 1 << 16) > 0);
    CHECK(emulated::alive() == none);
    int events = 0;
    for (int64_t n = 0; n < 24; ++n) {  // memory, events, the first kernels
        INFO("call " << n);
        emulated::fail_call(n, 2, false);
        try {
            cuda->kernels.measure(cuda->stream);
            CHECK(false);
        } catch (const Error& e) {
            CHECK(e.status == Status::out_of_memory);
            events += std::string(e.message).find("cudaEventCreate") != std::string::npos;
        }
        emulated::reset();
        CHECK(emulated::alive() == none);
    }
    CHECK(events == 2);
}
#endif
