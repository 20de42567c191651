// Packed weights of the CUDA table: uploaded in slices, the same bytes on every device, and read back as rows of an
// embedding table, in every format.
#include <algorithm>
#include <map>
#include <string_view>

#include "tests/catch.h"
#include "tests/on_device.h"
#include "tests/random_weights.h"
#ifndef ALIA_CARD
#include "tests/emulated/emulated.h"
#endif

using namespace alia;
using namespace alia::test;

namespace {

std::mt19937 rng(20261125);

struct Weights {
    Weights(Device& cuda, Format f, int64_t rows, int64_t columns, std::mt19937& rng)
        : bytes(random_weights(f, rows, columns, rng)),
          host{bytes.data(), rows, columns, row_bytes(f, columns), f},
          memory(cuda, cuda.kernels.packed_bytes(f, rows, columns)),
          device{memory.data(), rows, columns, 0, f} {
        std::vector<const void*> pointers;
        for (int64_t i = 0; i < rows; ++i) pointers.push_back(host.row<char>(i));
        for (int64_t first = 0; first < rows; first += pack_rows)  // in slices
            cuda.kernels.pack(cuda.stream, device, first, std::min<int64_t>(pack_rows, rows - first),
                              pointers.data() + first);
    }
    std::vector<uint8_t> bytes;
    Tensor host;
    Buffer memory;
    Tensor device;
};

// FNV-1a.
uint64_t hash(const std::vector<uint8_t>& bytes) {
    uint64_t h = 0xCBF29CE484222325;
    for (uint8_t b : bytes) h = (h ^ b) * 0x100000001B3;
    return h;
}

// Of 67 rows of two blocks (131 numbers of formats without) from std::mt19937(1), packed: what a card makes of them is
// what the emulated device does.
const std::map<std::string_view, uint64_t> hashes = {
    {"F32", 0xe2f9666e84a427e3},  {"F16", 0x2fb3030ac3fcb233},    {"BF16", 0x5399dd30d71ba02},
    {"Q8_0", 0xefd713a711a939ef}, {"Q4_0", 0x80f5ec8bc7b55aa8},   {"Q4_1", 0x36e49d4e19521474},
    {"Q5_0", 0x959733700480959e}, {"Q5_1", 0xb2ed80c17891738b},   {"Q2_K", 0xc39237d0b5aa80d3},
    {"Q3_K", 0xd204347d04bde838}, {"Q4_K", 0x8153834893c0da67},   {"Q5_K", 0xc67c85371effa1d8},
    {"Q6_K", 0x3570b1bb34db722b}, {"IQ4_NL", 0x13f9f67c1673b7a5}, {"IQ4_XS", 0xcd74a4bcdc07f651},
    {"I8", 0x7ea7320f7a947dce},   {"U8", 0x54029708eaa466e9},     {"E4M3", 0x989432ad355a5edc},
};

}  // namespace

#ifndef ALIA_CARD
TEST_CASE("CUDA: weights come by a stream of their own, and are laid out once they have come") {
    const auto cuda = open_cuda();
    emulated::options.stream_waits = false;
    try {
        const Weights w(*cuda, Format::BF16, 3, 16, rng);
        get<uint8_t>(*cuda, w.memory.data(), w.memory.size());
        CHECK(false);
    } catch (const Error& e) {
        CHECK(e.status == Status::device_lost);
        CHECK(emulated::reports().at(0).find("never written") != std::string::npos);
    }
    emulated::options.stream_waits = true;
    emulated::reset();
}

TEST_CASE("CUDA: weights of four slots are on their way at a time: a fifth waits for the first alone") {
    const auto cuda = open_cuda();
    constexpr int64_t slices = 12, rows = slices * pack_rows, columns = 8, bytes = 2 * columns;
    const std::vector<uint8_t> source(rows * bytes, 1);
    std::vector<const void*> pointers;
    for (int64_t i = 0; i < rows; ++i) pointers.push_back(&source[size_t(i * bytes)]);
    const Buffer memory(*cuda, cuda->kernels.packed_bytes(Format::BF16, rows, columns));
    for (int64_t i = 0; i < slices; ++i) {
        cuda->kernels.pack(cuda->stream, {memory.data(), rows, columns, 0, Format::BF16}, i * pack_rows, pack_rows,
                           &pointers[size_t(i * pack_rows)]);
        // Each has a copy, a wait for it and a kernel. The first four give their small slots back, which waits for all.
        if (i >= 8) CHECK(emulated::waiting() == 4 * 3);
    }
    cuda->kernels.end_packing(cuda->stream);
    CHECK(emulated::waiting() == 0);
}
#endif

TEST_CASE("CUDA: packed weights are the same bytes on every device") {
    auto cuda = open_cuda();
    for (int f = 0; f < Formats::size; ++f) {
        const Format format = Format(f);
        const int64_t block = info(format).n;
        std::mt19937 fixed(1);
        const Weights w(*cuda, format, 67, block == 1 ? 131 : 2 * block, fixed);
        INFO(info(format).name);
        const auto wanted = hashes.find(info(format).name);
        REQUIRE(wanted != hashes.end());
        CHECK(hash(get<uint8_t>(*cuda, w.memory.data(), w.memory.size())) == wanted->second);
    }
}

TEST_CASE("CUDA: rows of packed tables are those that were uploaded, in every format") {
    auto ref = Device::open("ref"), cuda = open_cuda();
    for (int f = 0; f < Formats::size; ++f) {
        const Format format = Format(f);
        const int64_t block = info(format).n;
        for (auto [rows, blocks] : {std::array<int64_t, 2>{1, 1}, {17, 1}, {37, 2}, {67, block == 1 ? 131 : 3}}) {
            const int64_t columns = blocks * block;
            INFO(info(format).name << " [" << rows << "][" << columns << "]");
            const Weights w(*cuda, format, rows, columns, rng);
            const std::vector<int32_t> tokens = {int32_t(rows - 1), 0, int32_t(rows / 2)};
            const auto index = put(*cuda, tokens);
            HostRows known(3, columns);
            DeviceRows looked_up(*cuda, 3, columns);
            ref->kernels.embed(nullptr, known, w.host, tokens.data());
            cuda->kernels.embed(cuda->stream, looked_up, w.device, at<int32_t>(index));
            CHECK(distance(looked_up.floats(), known.numbers) < float_sums);
        }
    }
}
