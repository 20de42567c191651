// Quantised safetensors: weights and logits against NumPy (tests/truth/make_quantised.py), and arrays that contradict
// each other.
#include "engine/quantised.h"

#include <cmath>
#include <map>

#include "kernels/cpu/isa.h"
#include "tests/files.h"
#include "tests/support.h"

using namespace alia;

namespace {

const std::string models = TEST_DATA "/quantised/";

std::vector<std::string> names() {
    std::istringstream lines(read_file(models + "manifest.txt"));
    std::vector<std::string> all;
    for (std::string name; lines >> name;) all.push_back(name);
    return all;
}

// As zlib's (https://www.rfc-editor.org/rfc/rfc1952#section-8).
uint32_t crc32(const void* data, size_t size) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; ++i) {
        crc ^= static_cast<const uint8_t*>(data)[i];
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
    }
    return ~crc;
}

std::vector<std::byte> blocks_of(const Quantised& q, int64_t first, int64_t count, int threads) {
    std::vector<std::byte> blocks(size_t(count * q.row_bytes()));
    convert_rows(q, first, count, blocks.data(), threads);
    return blocks;
}

// In the order of the file's columns; -0 as 0.
std::vector<float> numbers_of(const Quantised& q) {
    const auto blocks = blocks_of(q, 0, q.rows, 2);
    std::vector<float> numbers(size_t(q.rows * q.columns), NAN), row(size_t(q.columns), 0.f);
    for (int64_t r = 0; r < q.rows; ++r) {
        decode_row(q.format, &blocks[size_t(r * q.row_bytes())], q.columns, row.data());
        for (int64_t i = 0; i < q.columns; ++i) {
            const int64_t column = q.order.empty() ? i : q.order[size_t(i)];
            numbers[size_t(r * q.columns + column)] = row[size_t(i)] + 0.f;
        }
    }
    return numbers;
}

// Sum of squared differences over sum of squares.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
    REQUIRE(a.size() == b.size());
    double difference = 0, size = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        difference += double(a[i] - b[i]) * double(a[i] - b[i]);
        size += double(b[i]) * double(b[i]);
    }
    return difference / size;
}

// The arrays of one module, "m.", each of which a test may change.
struct Module {
    struct Entry {
        std::string dtype, shape, bytes;
    };
    std::map<std::string, Entry> arrays;

    std::string file() const {
        std::string header, data;
        for (auto& [name, a] : arrays) {
            header += (header.empty() ? "{\"m." : ",\"m.") + name + "\":{\"dtype\":\"" + a.dtype +
                      "\",\"shape\":" + a.shape + ",\"data_offsets\":[" + std::to_string(data.size()) + ",";
            data += a.bytes;
            header += std::to_string(data.size()) + "]}";
        }
        return safetensors(header + "}", data);
    }
};

std::string words(size_t n, uint32_t word) {
    std::string bytes;
    for (size_t i = 0; i < n; ++i) bytes += raw(word);
    return bytes;
}
std::string ones(size_t n) {  // F16
    std::string bytes;
    for (size_t i = 0; i < n; ++i) bytes += raw(uint16_t(0x3C00));
    return bytes;
}
// Every other column in group 1, but for the first two.
std::string alternating(int32_t first = 0, int32_t second = 1) {
    std::string bytes = raw(first) + raw(second);
    for (int32_t i = 2; i < 64; ++i) bytes += raw(i % 2);
    return bytes;
}

// 8 rows of 64 columns in groups of 32.
constexpr int64_t rows = 8, columns = 64;
Module gptq() {
    return {{{"qweight", {"I32", "[8,8]", words(64, 0x76543210)}},
             {"qzeros", {"I32", "[2,1]", words(2, 0x77777777)}},
             {"scales", {"F16", "[2,8]", ones(16)}},
             {"g_idx", {"I32", "[64]", alternating()}}}};
}
Module packed() {
    return {{{"weight_packed", {"I32", "[8,8]", words(64, 0x76543210)}},
             {"weight_shape", {"I64", "[2]", raw(int64_t(8)) + raw(int64_t(64))}},
             {"weight_scale", {"F16", "[8,2]", ones(16)}},
             {"weight_zero_point", {"I32", "[1,2]", words(2, 0x88888888)}}}};
}
Module floats8() {
    return {{{"weight", {"F8_E4M3", "[8,64]", std::string(512, '\x38')}},
             {"weight_scale", {"F32", "[8,1]", floats(8, 1)}}}};
}
const QuantisedConfig gptq_config{QuantisedConfig::Method::gptq, {{.bits = 4, .group = 32}}, 1, true};
const QuantisedConfig packed_config{
    QuantisedConfig::Method::compressed_tensors, {{.bits = 4, .symmetric = false, .group = 32}}, 0, false};
const QuantisedConfig floats_config{
    QuantisedConfig::Method::compressed_tensors, {{.bits = 8, .floats = true, .group = -1}}, 0, false};

// Exact copies on the heap: the sanitiser sees the first byte beyond the end.
std::vector<float> read(const std::string& bytes, const QuantisedConfig& config) {
    const std::vector<std::byte> copy(reinterpret_cast<const std::byte*>(bytes.data()),
                                      reinterpret_cast<const std::byte*>(bytes.data() + bytes.size()));
    const Checkpoint checkpoint = read_safetensors({File::from_memory("x.safetensors", copy)});
    const auto q = find_quantised(checkpoint, config, "m.", rows, columns);
    if (!q) fail(Status::missing, "no codes");
    return numbers_of(*q);
}

struct Change {
    const char* array;
    Module::Entry entry;
    Status status;
};

void check_changes(const Module& good, const QuantisedConfig& config, const std::vector<Change>& changes) {
    CHECK_NOTHROW(read(good.file(), config));
    for (const Change& c : changes) {
        INFO(c.array << " " << c.entry.dtype << " " << c.entry.shape);
        Module m = good;
        m.arrays[c.array] = c.entry;
        const Error e = error_of([&] { read(m.file(), config); });
        INFO(e.message);
        CHECK(int(e.status) == int(c.status));
        CHECK(std::string(e.message).starts_with("x.safetensors, m."));
    }
}

void check_needed(const Module& good, const QuantisedConfig& config, std::initializer_list<const char*> needed) {
    for (const char* name : needed) {
        Module m = good;
        m.arrays.erase(name);
        const Error e = error_of([&] { read(m.file(), config); });
        CHECK(int(e.status) == int(Status::missing));
        CHECK(std::string(e.item) == std::string("m.") + name);
    }
}

}  // namespace

TEST_CASE("weights are NumPy's, bit for bit") {
    REQUIRE(names().size() >= 17);
    for (const std::string& name : names()) {
        const Checkpoint checkpoint = open_checkpoint(models + name);
        const Config config = read_config(checkpoint);
        std::istringstream lines(read_file(models + name + "/weights.txt"));
        std::string module, format;
        int64_t r, n;
        uint32_t crc;
        int compared = 0;
        for (; lines >> module >> r >> n >> format >> crc; ++compared) {
            INFO(name << " " << module);
            const auto q = find_quantised(checkpoint, config.quantised, module, r, n);
            REQUIRE(q);
            REQUIRE(info(q->format).name == format);
            const auto numbers = numbers_of(*q);
            REQUIRE(crc32(numbers.data(), numbers.size() * sizeof(float)) == crc);
            // Any rows and threads give the same blocks.
            const auto whole = blocks_of(*q, 0, r, 1), some = blocks_of(*q, 3, r - 4, 3);
            REQUIRE(std::equal(some.begin(), some.end(), whole.begin() + 3 * q->row_bytes()));
        }
        CHECK(compared >= 6);
        CHECK(!find_quantised(checkpoint, config.quantised, "lm_head.", 40, 64));
    }
}

TEST_CASE("logits of whole models") {
    for (const std::string& name : names()) {
        std::vector<std::string> devices = {"ref"};
        for (const Kernels* k : cpu::tables()) devices.push_back("cpu:" + std::string(k->name).substr(4));
        for (const std::string& device : devices) {
            INFO(name << " on " << device);
            Engine engine(load_model(models + name, {.device = device, .threads = 2}), {.context = 64});
            const auto logits = teacher_forced(engine, read_ids(models + name + "/ids.txt"));
            // The CPU's tables multiply with activations of 8 bits.
            const double tolerance = device == "ref" ? 1e-11 : 2e-3;
            REQUIRE(distance(logits, read_npy(models + name + "/logits.npy")) < tolerance);
        }
    }
}

TEST_CASE("an outline counts what a load takes") {
    for (const std::string name : {"gptq-4-128-order", "mixed"}) {
        const auto loaded = load_model(models + name, {.device = "ref"});
        const Model outline = outline_model(open_checkpoint(models + name), ref_kernels);
        CHECK(outline.weights == loaded->weights);
        CHECK(outline.parameters == loaded->parameters);
        CHECK(loaded->memory.size() == loaded->weight_bytes());
        CHECK(outline.layers[0].down[0].ordered == (name != "mixed"));
        CHECK(outline.layers[0].down[0].order == nullptr);
    }
}

TEST_CASE("GPTQ arrays that contradict each other") {
    check_changes(gptq(), gptq_config,
                  {{"qweight", {"I64", "[4,8]", words(64, 0)}, Status::unsupported},
                   {"qweight", {"I32", "[4,16]", words(64, 0)}, Status::shape},
                   {"qweight", {"I32", "[16,8]", words(128, 0)}, Status::shape},
                   {"qzeros", {"I32", "[1,2]", words(2, 0x77777777)}, Status::shape},
                   {"qzeros", {"U32", "[2,1]", words(2, 0x77777777)}, Status::unsupported},
                   {"qzeros", {"I32", "[2,1]", words(2, 0x77787777)}, Status::malformed},
                   {"scales", {"F16", "[8,2]", ones(16)}, Status::shape},
                   {"scales", {"F16", "[2,8]", ones(15) + raw(uint16_t(0x7C00))}, Status::malformed},
                   {"scales", {"F16", "[2,8]", ones(15) + raw(uint16_t(0xFE00))}, Status::malformed},
                   {"scales", {"F32", "[2,8]", floats(16, 65490)}, Status::malformed},
                   {"scales", {"I16", "[2,8]", ones(16)}, Status::missing},
                   {"g_idx", {"I32", "[32]", words(32, 0)}, Status::shape},
                   {"g_idx", {"I64", "[64]", words(128, 0)}, Status::unsupported},
                   {"g_idx", {"I32", "[64]", words(64, 0)}, Status::malformed},
                   {"g_idx", {"I32", "[64]", alternating(0, 2)}, Status::malformed},
                   {"g_idx", {"I32", "[64]", alternating(-1, 0)}, Status::malformed},
                   {"g_idx", {"I32", "[64]", alternating(0, 0)}, Status::malformed},
                   {"g_idx", {"I32", "[64]", alternating(INT32_MIN, INT32_MAX)}, Status::malformed},
                   {"weight", {"F16", "[8,64]", ones(512)}, Status::malformed}});
    check_needed(gptq(), gptq_config, {"scales", "qzeros", "g_idx"});

    QuantisedConfig other = gptq_config;
    for (int64_t group : {16, 48, 128}) {
        other.schemes[0].group = group;
        CHECK(error_of([&] { read(gptq().file(), other); }).status == Status::unsupported);
    }
    other = gptq_config;
    other.schemes[0].bits = 8;
    CHECK(error_of([&] { read(gptq().file(), other); }).status == Status::shape);
    // Without `desc_act` a file may do without g_idx.
    other = gptq_config;
    other.ordered = false;
    Module plain = gptq();
    plain.arrays.erase("g_idx");
    CHECK_NOTHROW(read(plain.file(), other));
}

TEST_CASE("compressed tensors that contradict each other") {
    auto shape = [](int64_t r, int64_t c) { return raw(r) + raw(c); };
    check_changes(packed(), packed_config,
                  {{"weight_packed", {"I32", "[4,16]", words(64, 0)}, Status::shape},
                   {"weight_packed", {"I32", "[16,8]", words(128, 0)}, Status::shape},
                   {"weight_packed", {"I8", "[8,64]", words(128, 0)}, Status::shape},
                   {"weight_shape", {"I64", "[2]", shape(8, 32)}, Status::shape},
                   {"weight_shape", {"I64", "[2]", shape(-8, 64)}, Status::shape},
                   {"weight_shape", {"I64", "[1]", raw(int64_t(8))}, Status::shape},
                   {"weight_shape", {"F64", "[2]", shape(8, 64)}, Status::unsupported},
                   {"weight_scale", {"F16", "[8,1]", ones(8)}, Status::shape},
                   {"weight_scale", {"F16", "[2,8]", ones(16)}, Status::shape},
                   {"weight_scale", {"F16", "[]", ones(1)}, Status::shape},
                   {"weight_scale", {"BF16", "[8,2]", words(8, 0x7F807F80)}, Status::malformed},
                   {"weight_zero_point", {"I32", "[2,1]", words(2, 0)}, Status::shape},
                   {"weight_zero_point", {"U8", "[8,2]", std::string(16, 0)}, Status::unsupported},
                   {"weight_zero_point", {"I8", "[2,8]", std::string(16, 0)}, Status::shape},
                   {"weight_zero_point", {"I8", "[8,2]", std::string(16, 9)}, Status::malformed},
                   {"weight_zero_point", {"I8", "[8,2]", std::string(16, -9)}, Status::malformed},
                   {"weight_g_idx", {"I32", "[64]", words(64, 2)}, Status::malformed},
                   {"weight_g_idx", {"I32", "[64]", words(32, UINT32_MAX) + words(32, 0)}, Status::malformed},
                   {"weight", {"F16", "[8,64]", ones(512)}, Status::malformed}});
    check_needed(packed(), packed_config, {"weight_shape", "weight_scale", "weight_zero_point"});
    check_changes(floats8(), floats_config,
                  {{"weight", {"I8", "[8,64]", std::string(512, 0)}, Status::shape},
                   {"weight", {"F8_E5M2", "[8,64]", std::string(512, 0)}, Status::shape},
                   {"weight", {"F8_E4M3", "[16,32]", std::string(512, 0)}, Status::shape},
                   {"weight_scale", {"F32", "[8,2]", floats(16)}, Status::shape},
                   {"weight_scale", {"F32", "[8]", floats(8)}, Status::shape},
                   {"weight_scale", {"F32", "[8,1]", floats(7) + raw(NAN)}, Status::malformed},
                   {"weight_zero_point", {"F8_E4M3", "[8,1]", std::string(8, 1)}, Status::unsupported}});
    check_needed(floats8(), floats_config, {"weight_scale"});

    // One scale for the whole tensor: its zero point is one number too, and never packed.
    QuantisedConfig whole = packed_config;
    whole.schemes[0].group = 0;
    Module single = packed();
    single.arrays["weight_scale"] = {"F16", "[1]", ones(1)};
    single.arrays["weight_zero_point"] = {"I8", "[1]", "\x02"};
    check_changes(single, whole, {{"weight_zero_point", {"I32", "[1,1]", words(1, 0x88888888)}, Status::unsupported}});
    CHECK(read(single.file(), whole)[64] == -10);

    // Where the configuration says symmetric, stored zero points are zeros; unset groups are runs of columns.
    QuantisedConfig symmetric = packed_config;
    symmetric.schemes[0].symmetric = true;
    Module m = packed();
    m.arrays["weight_g_idx"] = {"I32", "[64]", words(64, UINT32_MAX)};
    CHECK(read(m.file(), symmetric)[1] == -7);
    m.arrays["weight_zero_point"].bytes = words(2, 0x88888898);
    CHECK(error_of([&] { read(m.file(), symmetric); }).status == Status::malformed);
    CHECK(read(m.file(), packed_config)[64] == -9);
}

TEST_CASE("every cut and every flipped bit is a typed error or other numbers") {
    const std::pair<Module, QuantisedConfig> cases[] = {
        {gptq(), gptq_config}, {packed(), packed_config}, {floats8(), floats_config}};
    for (auto& c : cases) {
        const std::string file = c.first.file();
        int loads = 0, errors = 0;
        auto attempt = [&](const std::string& bytes) {
            try {
                read(bytes, c.second);
                ++loads;
            } catch (const Error& e) {
                ++errors;
                if (e.status == Status::ok || e.status == Status::internal || !e.message[0])
                    FAIL("an error without meaning: " << e.message);
            }
        };
        attempt(file);
        REQUIRE(loads == 1);
        for (size_t n = 0; n < file.size(); ++n) attempt(file.substr(0, n));
        CHECK(errors == int(file.size()));
        for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
            std::string damaged = file;
            damaged[bit / 8] = char(damaged[bit / 8] ^ 1 << bit % 8);
            attempt(damaged);
        }
        CHECK(errors > int(2 * file.size()));
        CHECK(loads > 1000);
    }
}
