// Packed weights of the CUDA table: uploaded in slices, and read back as rows of an embedding table, in every format.
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

// Rows of random bytes that decode to small numbers.
std::vector<uint8_t> random_weights(Format f, int64_t rows, int64_t columns) {
    const int n = info(f).n, size = info(f).bytes;
    std::vector<uint8_t> bytes(size_t(rows * row_bytes(f, columns)));
    std::vector<float> block(static_cast<size_t>(n));
    for (size_t b = 0; b < bytes.size(); b += size_t(size)) {
        bool small;
        do {
            for (int i = 0; i < size; ++i) bytes[b + size_t(i)] = uint8_t(rng());
            decode_row(f, &bytes[b], n, block.data());
            small = std::all_of(block.begin(), block.end(), [](float x) { return std::fabs(x) < 8; });
        } while (!small);
    }
    return bytes;
}

struct Weights {
    Weights(Device& cuda, Format f, int64_t rows, int64_t columns)
        : bytes(random_weights(f, rows, columns)),
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

}  // namespace

#ifndef ALIA_CARD
TEST_CASE("CUDA: weights come by a stream of their own, and are laid out once they have come") {
    const auto cuda = open_cuda();
    emulated::options.stream_waits = false;
    try {
        const Weights w(*cuda, Format::BF16, 3, 16);
        get<uint8_t>(*cuda, w.memory.data(), w.memory.size());
        CHECK(false);
    } catch (const Error& e) {
        CHECK(e.status == Status::device_lost);
        CHECK(emulated::reports().at(0).find("never written") != std::string::npos);
    }
    emulated::options.stream_waits = true;
    emulated::reset();
}
#endif

TEST_CASE("CUDA: rows of packed tables are those that were uploaded, in every format") {
    auto ref = Device::open("ref"), cuda = open_cuda();
    for (int f = 0; f < Formats::size; ++f) {
        const Format format = Format(f);
        const int64_t block = info(format).n;
        for (auto [rows, blocks] : {std::array<int64_t, 2>{1, 1}, {17, 1}, {37, 2}, {67, block == 1 ? 131 : 3}}) {
            const int64_t columns = blocks * block;
            INFO(info(format).name << " [" << rows << "][" << columns << "]");
            const Weights w(*cuda, format, rows, columns);
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
