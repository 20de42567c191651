// Decoding of every format against NumPy (tests/truth/formats.py): one row at a time and, through embed, sixteen.
#include "kernels/formats.h"

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
