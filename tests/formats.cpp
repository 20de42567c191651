// Decoding of every format against NumPy (tests/truth/formats.py): one row at a time and, through embed, sixteen; and
// the two-byte floats by themselves.
#include "kernels/formats.h"

#include <cmath>
#include <sstream>

#include "kernels/cpu/isa.h"
#include "kernels/device.h"
#include "tests/support.h"

using namespace alia;

namespace {

struct Record {
    Format format;
    int64_t rows, columns;
    std::string bytes;
    std::vector<float> expected;
};

std::vector<Record> records() {
    std::istringstream in(read_file(TEST_DATA "/formats.bin"));
    std::vector<Record> all;
    for (std::string line; std::getline(in, line);) {
        Record r;
        std::string name;
        int64_t bytes, number;
        std::istringstream(line) >> name >> number >> r.rows >> r.columns >> bytes;
        int f = 0;
        while (f < Formats::size && info(Format(f)).name != name) ++f;
        REQUIRE(f < Formats::size);
        REQUIRE(info(Format(f)).gguf == number);
        r.format = Format(f);
        r.bytes.resize(size_t(bytes));
        in.read(r.bytes.data(), bytes);
        r.expected.resize(size_t(r.rows * r.columns));
        in.read(reinterpret_cast<char*>(r.expected.data()), std::streamsize(r.expected.size() * sizeof(float)));
        all.push_back(std::move(r));
    }
    return all;
}

}  // namespace

TEST_CASE("every format decodes to NumPy's numbers") {
    const auto all = records();
    REQUIRE(int(all.size()) == Formats::size);
    for (const Record& r : all) {
        INFO(info(r.format).name);
        const int64_t size = row_bytes(r.format, r.columns);
        REQUIRE(int64_t(r.bytes.size()) == r.rows * size);
        std::vector<float> row(size_t(r.columns), 0.f);
        for (int64_t i = 0; i < r.rows; ++i) {
            decode_row(r.format, r.bytes.data() + i * size, r.columns, row.data());
            REQUIRE(std::memcmp(row.data(), &r.expected[size_t(i * r.columns)], row.size() * sizeof(float)) == 0);
        }
        for (const Kernels* table : cpu::tables()) {
            Device device(*table, {.threads = 1});
            std::vector<char> packed(size_t(table->packed_bytes(r.format, r.rows, r.columns)));
            const Tensor w{packed.data(), r.rows, r.columns, 0, r.format};
            std::vector<const void*> rows;
            for (int64_t i = 0; i < r.rows; ++i) rows.push_back(r.bytes.data() + i * size);
            table->pack(device.stream, w, 0, r.rows, rows.data());
            std::vector<float> y(r.expected.size());
            const std::vector<int32_t> ids = {0, 1, 2};
            table->embed(device.stream, Tensor{y.data(), r.rows, r.columns, r.columns * 4}, w, ids.data());
            REQUIRE(y == r.expected);
        }
    }
}

TEST_CASE("the table of formats says what the structs say") {
    CHECK(std::string(info(Format::Q4_K).name) == "Q4_K");
    CHECK(info(Format::IQ4_XS).gguf == 23);
    CHECK(row_bytes(Format::Q6_K, 512) == 420);
    CHECK(row_bytes(Format::F16, 7) == 14);
}

TEST_CASE("halves and brains convert to and from floats") {
    for (uint32_t bits = 0; bits < 65536; ++bits) {
        const float h = to_float(f16{uint16_t(bits)}), b = to_float(bf16{uint16_t(bits)});
        const int exponent = bits >> 10 & 31, fraction = bits & 1023;
        if (exponent < 31) {
            const double value = exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24);
            REQUIRE(h == float(bits & 0x8000 ? -value : value));
            REQUIRE(to_f16(h).bits == bits);
        } else {
            REQUIRE((fraction ? std::isnan(h) : std::isinf(h)));
        }
        if (!std::isnan(b)) REQUIRE(to_bf16(b).bits == bits);
    }
    CHECK(to_f16(1 + 0x1p-11f).bits == 0x3C00);  // a tie goes to the even one
    CHECK(to_f16(1 + 0x1p-11f + 0x1p-20f).bits == 0x3C01);
    CHECK(to_f16(65520).bits == 0x7C00);
    CHECK(to_f16(0x1p-25f).bits == 0);
    CHECK(to_f16(0x1.8p-25f).bits == 1);
    CHECK(to_bf16(1 + 0x1p-8f).bits == 0x3F80);
    CHECK(to_bf16(1 + 0x1.8p-8f).bits == 0x3F81);
    CHECK(std::isnan(to_float(to_bf16(NAN))));
    CHECK(std::isnan(to_float(to_f16(NAN))));
}

TEST_CASE("every table converts every half and brain as the scalar functions do") {
    constexpr int64_t side = 256;
    std::vector<uint16_t> numbers(side * side);
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = uint16_t(i);
    std::vector<const void*> rows;
    std::vector<int32_t> ids;
    for (int i = 0; i < side; ++i) rows.push_back(&numbers[size_t(i * side)]), ids.push_back(i);
    for (const Kernels* table : cpu::tables())
        for (Format format : {Format::F16, Format::BF16}) {
            Device device(*table, {.threads = 1});
            std::vector<char> packed(size_t(table->packed_bytes(format, side, side)));
            const Tensor w{packed.data(), side, side, 0, format};
            for (int64_t first = 0; first < side; first += pack_rows)
                table->pack(device.stream, w, first, pack_rows, rows.data() + first);
            std::vector<float> y(numbers.size());
            table->embed(device.stream, Tensor{y.data(), side, side, side * 4}, w, ids.data());
            for (size_t i = 0; i < y.size(); ++i) {
                const float x = format == Format::F16 ? to_float(f16{numbers[i]}) : to_float(bf16{numbers[i]});
                INFO(table->name << " " << info(format).name << " " << i);
                REQUIRE((std::isnan(x) ? std::isnan(y[i]) : as_bits(y[i]) == as_bits(x)));
            }
        }
}
