// GGUF: what is read, and each error with its place.
#include "engine/checkpoint.h"
#include "tests/files.h"
#include "tests/memory.h"

using namespace alia;

namespace {

Checkpoint read(const std::string& bytes, const CheckpointOptions& options = {}) {
    return read_gguf({File::from_memory("x.gguf", std::as_bytes(std::span(bytes)))}, options);
}
Error refusal(const std::string& bytes, const CheckpointOptions& options = {}) {
    Error e = error_of([&] { read(bytes, options); });
    CHECK(std::string(e.message).starts_with("x.gguf"));
    return e;
}
Error refusal(const Gguf& g) { return refusal(g.bytes()); }

std::string list(uint32_t type, uint64_t count, const std::string& values) { return raw(type) + raw(count) + values; }

Gguf part(int number, int count, int tensors) {
    Gguf g;
    g.key("split.no", 2, raw(uint16_t(number))).key("split.count", 2, raw(uint16_t(count)));
    g.key("split.tensors.count", 5, raw(int32_t(tensors)));
    return g;
}

}  // namespace

TEST_CASE("metadata of every type") {
    Gguf g;
    g.key("u8", 0, raw(uint8_t(200))).key("i8", 1, raw(int8_t(-3))).key("u16", 2, raw(uint16_t(65535)));
    g.key("i16", 3, raw(int16_t(-300))).key("u32", 4, raw(uint32_t(4000000000))).key("i32", 5, raw(int32_t(-7)));
    g.key("f32", 6, raw(0.5f)).key("bool", 7, raw(uint8_t(1))).string("text", "caf\xC3\xA9 \xFF");
    g.key("u64", 10, raw(uint64_t(INT64_MAX))).key("big", 10, raw(UINT64_MAX)).key("i64", 11, raw(INT64_MIN));
    g.key("f64", 12, raw(0.1)).strings("words", {"a", "", "ccc"}).key("none", 9, list(4, 0, ""));
    g.key("nested", 9, list(9, 2, list(0, 2, "\1\2") + list(0, 1, "\3")));
    for (uint32_t version : {2, 3}) {
        g.version = version;
        std::string bytes = g.bytes();
        auto checkpoint = read(bytes);
        const Json& m = checkpoint.metadata.root();
        CHECK(m.count == 16);
        CHECK(m.find("u8")->integer == 200);
        CHECK(m.find("i8")->integer == -3);
        CHECK(m.find("u16")->integer == 65535);
        CHECK(m.find("i16")->integer == -300);
        CHECK(m.find("u32")->integer == 4000000000);
        CHECK(m.find("i32")->integer == -7);
        CHECK(m.find("f32")->real == 0.5);
        CHECK((m.find("bool")->is(Json::Kind::boolean) && m.find("bool")->boolean));
        CHECK(m.find("text")->string() == "caf\xC3\xA9 \xFF");
        CHECK(m.find("u64")->integer == INT64_MAX);
        CHECK(m.find("big")->real == 0x1p64);
        CHECK(m.find("i64")->integer == INT64_MIN);
        CHECK(m.find("f64")->real == 0.1);
        CHECK(m.find("words")->items()[2].string() == "ccc");
        CHECK(m.find("none")->items().empty());
        CHECK(m.find("nested")->items()[0].items()[1].integer == 2);
        CHECK(m.find("nested")->items()[1].items()[0].integer == 3);
    }
}

TEST_CASE("tensors of every format") {
    Gguf g;
    size_t written = 0;
    for (int i = 0; i < Formats::size; ++i) {
        const FormatInfo& f = info(Format(i));
        if (f.gguf < 0) continue;  // in memory only
        ++written;
        g.tensor(std::string("t.") + f.name, {uint64_t(2 * f.n), 3}, uint32_t(f.gguf),
                 std::string(6 * f.bytes, char(i)));
    }
    g.tensor("vector", {5}, 0, floats(5)).tensor("four", {2, 3, 1, 1}, 0, floats(6));
    std::string bytes = g.bytes();
    auto checkpoint = read(bytes);
    REQUIRE(checkpoint.arrays.size() == written + 2);
    for (int i = 0; i < Formats::size; ++i) {
        const FormatInfo& f = info(Format(i));
        if (f.gguf < 0) continue;
        const Array* a = checkpoint.find(std::string("t.") + f.name);
        REQUIRE(a);
        CHECK((a->format == Format(i) && a->rows == 3 && a->columns == 2 * f.n && a->bytes == 6 * f.bytes));
        CHECK((a->data[0] == std::byte(i) && a->data[a->bytes - 1] == std::byte(i)));
    }
    CHECK((checkpoint.find("vector")->rows == 1 && checkpoint.find("vector")->columns == 5));
    CHECK((checkpoint.find("four")->rows == 3 && checkpoint.find("four")->columns == 2));
    CHECK(read(bytes, {.arrays = false}).arrays.empty());
}

TEST_CASE("another alignment") {
    for (uint32_t alignment : {8u, 64u, 4096u}) {
        Gguf g;
        g.alignment = alignment;
        g.integer("general.alignment", alignment).tensor("a", {3}, 0, floats(3)).tensor("b", {2}, 0, floats(2, 7));
        std::string bytes = g.bytes();
        auto checkpoint = read(bytes);
        CHECK(checkpoint.find("b")->offset % alignment == 0);
        float out[2];
        decode_row(Format::F32, checkpoint.find("b")->data, 2, out);
        CHECK(out[1] == 8);
    }
    for (uint32_t alignment : {0u, 1u, 4u, 24u, 1u << 21}) {
        Error e = refusal(Gguf().integer("general.alignment", alignment));
        CHECK(e.status == Status::malformed);
        CHECK(std::string(e.item) == "general.alignment");
    }
    CHECK(refusal(Gguf().string("general.alignment", "32")).status == Status::malformed);
}

TEST_CASE("a header that cannot be") {
    CHECK(refusal("").status == Status::truncated);
    CHECK(refusal("GGU").status == Status::truncated);
    CHECK(refusal("GGML            ").status == Status::malformed);
    for (uint32_t version : {0u, 1u, 4u, 0x02000000u, 0x03000000u}) {
        Gguf g;
        g.version = version;
        Error e = refusal(g);
        CHECK(e.status == Status::unsupported);
        CHECK(e.offset == 4);
        CHECK((std::string(e.message).find("big endian") != std::string::npos) == (version > 4));
    }
    for (uint64_t n : {uint64_t(1), uint64_t(1) << 40, UINT64_MAX}) {
        Gguf keys, tensors;
        keys.key_count = tensors.tensor_count = n;
        CHECK(refusal(keys).status == Status::truncated);
        CHECK(refusal(tensors.head()).status == Status::truncated);
    }
    Gguf many;
    for (int64_t i = 0; i <= max_arrays; ++i) many.describe(std::to_string(i), {1}, 0, 0);
    CHECK(refusal(many).status == Status::limit);
}

TEST_CASE("metadata that cannot be") {
    CHECK(refusal(Gguf().integer("a", 1).integer("b", 2).integer("a", 3)).status == Status::duplicate);
    CHECK(refusal(Gguf().key("k", 13, raw(0))).status == Status::malformed);
    CHECK(refusal(Gguf().key("k", 9, list(13, 0, ""))).status == Status::malformed);
    CHECK(refusal(Gguf().key("k", 7, "\2")).status == Status::malformed);
    CHECK(refusal(Gguf().key("k", 8, raw(uint64_t(100)) + "short")).status == Status::truncated);
    CHECK(refusal(Gguf().key("k", 8, raw(UINT64_MAX) + "short")).status == Status::truncated);
    CHECK(refusal(Gguf().key("k", 9, list(4, uint64_t(1) << 62, "1234"))).status == Status::truncated);
    CHECK(refusal(Gguf().key("k", 9, list(8, 3, std::string(16, 0)))).status == Status::truncated);
    CHECK(refusal(Gguf().integer(std::string(70000, 'k'), 1)).status == Status::limit);
    Error e = refusal(Gguf().integer("a", 1).key("the key", 8, raw(uint64_t(100))));
    CHECK(std::string(e.item) == "the key");
    CHECK(e.offset > 24);
    std::string nest;
    for (int i = 0; i < 100; ++i) nest += list(9, 1, "");
    CHECK(refusal(Gguf().key("k", 9, nest + list(0, 0, ""))).status == Status::limit);
}

TEST_CASE("a tensor that cannot be") {
    auto alone = [](const std::vector<uint64_t>& size, uint32_t type, uint64_t offset, size_t bytes) {
        Gguf g;
        g.describe("t", size, type, offset).data = std::string(bytes, 0);
        Error e = refusal(g);
        CHECK(std::string(e.item) == "t");
        CHECK(e.offset > 0);
        return e.status;
    };
    CHECK(alone({}, 0, 0, 32) == Status::unsupported);
    CHECK(alone({1, 1, 1, 1, 1}, 0, 0, 32) == Status::unsupported);
    CHECK(alone({2, 2, 2}, 0, 0, 32) == Status::unsupported);
    CHECK(alone({0}, 0, 0, 32) == Status::shape);
    CHECK(alone({4, 0}, 0, 0, 32) == Status::shape);
    CHECK(alone({UINT64_MAX}, 0, 0, 32) == Status::shape);
    CHECK(alone({33}, 8, 0, 64) == Status::shape);
    CHECK(alone({9}, 0, 0, 32) == Status::truncated);
    CHECK(alone({8}, 0, 32, 32) == Status::truncated);
    CHECK(alone({8}, 0, uint64_t(1) << 62, 32) == Status::truncated);
    CHECK(alone({8}, 0, UINT64_MAX - 31, 32) == Status::truncated);
    CHECK(alone({8}, 0, 0x7FFFFFFFFFFFFFE0, 32) == Status::truncated);
    CHECK(alone({uint64_t(1) << 62}, 0, 0, 32) == Status::truncated);
    CHECK(alone({uint64_t(1) << 32, uint64_t(1) << 32}, 0, 0, 32) == Status::truncated);
    CHECK(alone({4}, 0, 4, 32) == Status::malformed);
    CHECK(alone({8}, 24, 0, 32) == Status::unsupported);
    CHECK(alone({8}, 4, 0, 32) == Status::unsupported);
    CHECK(alone({8}, 0xFFFFFFFF, 0, 32) == Status::unsupported);
    Gguf named;
    named.describe("t", {256}, 16, 0).data = std::string(256, 0);
    CHECK(std::string(refusal(named).message).find("IQ2_XXS") != std::string::npos);
    CHECK(refusal(Gguf().tensor(std::string(65, 'n'), {1}, 0, floats(1))).status == Status::limit);
}

TEST_CASE("tensors that contradict each other") {
    Error e = refusal(Gguf().tensor("a", {8}, 0, floats(8)).tensor("a", {8}, 0, floats(8)));
    CHECK(e.status == Status::duplicate);
    CHECK(std::string(e.item) == "a");
    e = refusal(Gguf().tensor("a", {16}, 0, floats(16)).describe("b", {8}, 0, 32));
    CHECK(e.status == Status::overlap);
    CHECK(std::string(e.item) == "b");
    CHECK(refusal(Gguf().tensor("a", {16}, 0, floats(16)).describe("b", {8}, 0, 0)).status == Status::overlap);
    std::string hole = Gguf().tensor("a", {1}, 0, floats(1)).tensor("b", {1}, 0, floats(1)).bytes();
    CHECK(read(hole).arrays.size() == 2);  // padding between tensors is no error
}

TEST_CASE("memory stays within the file's size and 64 MiB") {
    auto peak = [](const std::string& bytes) {
        return heap_of([&] {
            try {
                read(bytes);
            } catch (const Error& e) {
                CHECK((e.status == Status::limit || e.status == Status::truncated || e.status == Status::malformed));
            }
        });
    };
    const int64_t room = int64_t(64) << 20;
    std::string small = Gguf().key("k", 9, list(0, 4 << 20, std::string(4 << 20, 1))).bytes();
    CHECK(peak(small) <= int64_t(small.size()) + room);
    std::string empty = Gguf().key("k", 9, list(8, 1 << 20, std::string(8 << 20, 0))).bytes();
    CHECK(peak(empty) <= int64_t(empty.size()) + room);
    Gguf keys;
    for (int i = 0; i < 300000; ++i) keys.key(std::to_string(i), 0, "x");
    CHECK(peak(keys.bytes()) <= int64_t(keys.bytes().size()) + room);
    Gguf tensors;
    tensors.alignment = 8;
    tensors.integer("general.alignment", 8);
    for (int i = 0; i < max_arrays; ++i) tensors.tensor(std::string(50, 'n') + std::to_string(i), {1}, 0, floats(1));
    std::string bytes = tensors.bytes();
    CHECK(peak(bytes) <= int64_t(bytes.size()) + room);
    CHECK(read(bytes).arrays.size() == size_t(max_arrays));
}

TEST_CASE("one model in several files") {
    Folder folder;
    Gguf one = part(0, 3, 3), two = part(1, 3, 3), three = part(2, 3, 3);
    one.string("general.name", "split").tensor("a", {2}, 0, floats(2));
    two.tensor("b", {2}, 0, floats(2, 5));
    three.tensor("c", {2}, 0, floats(2, 9));
    folder.write("m-00001-of-00003.gguf", one.bytes());
    std::string middle = folder.write("m-00002-of-00003.gguf", two.bytes());
    folder.write("m-00003-of-00003.gguf", three.bytes());
    for (const std::string& path : {middle, folder.path}) {
        auto checkpoint = open_checkpoint(path);
        REQUIRE(checkpoint.arrays.size() == 3);
        CHECK(checkpoint.metadata.root().find("general.name")->string() == "split");
        float out[2];
        decode_row(Format::F32, checkpoint.find("c")->data, 2, out);
        CHECK(out[1] == 10);
        CHECK(std::string(checkpoint.place(*checkpoint.find("b")).file) == middle);
    }
    auto status = [&] { return error_of([&] { open_checkpoint(middle); }).status; };
    folder.write("m-00003-of-00003.gguf", part(2, 3, 3).bytes());
    CHECK(status() == Status::missing);  // a tensor fewer than promised
    folder.write("m-00003-of-00003.gguf", part(1, 3, 3).tensor("c", {2}, 0, floats(2)).bytes());
    CHECK(status() == Status::malformed);
    folder.write("m-00003-of-00003.gguf", part(2, 4, 3).tensor("c", {2}, 0, floats(2)).bytes());
    CHECK(status() == Status::missing);
    folder.write("m-00003-of-00003.gguf", part(2, 3, 3).tensor("a", {2}, 0, floats(2)).bytes());
    CHECK(status() == Status::duplicate);
    folder.remove("m-00003-of-00003.gguf");
    Error e = error_of([&] { open_checkpoint(middle); });
    CHECK(e.status == Status::missing);
    CHECK(std::string(e.message).find("m-00003-of-00003.gguf") != std::string::npos);
    // A part under another name cannot find its siblings.
    std::string renamed = folder.write("renamed.gguf", two.bytes());
    CHECK(error_of([&] { open_checkpoint(renamed); }).status == Status::missing);
}

TEST_CASE("a directory with GGUF files") {
    Folder folder;
    folder.write("notes.txt", "x");
    CHECK(error_of([&] { open_checkpoint(folder.path); }).status == Status::not_found);
    std::string path = folder.write("m.gguf", Gguf().tensor("a", {2}, 0, floats(2)).bytes());
    CHECK(open_checkpoint(folder.path).find("a"));
    CHECK(open_checkpoint(folder.path).path == path);
    folder.write("config.json", "{}");  // of the model that the GGUF was made from
    CHECK(open_checkpoint(folder.path).path == path);
    folder.write("n.gguf", Gguf().bytes());
    CHECK(error_of([&] { open_checkpoint(folder.path); }).status == Status::invalid_argument);
}
