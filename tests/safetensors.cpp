// safetensors and Hugging Face directories: what is read, and each error with its place.
#include "engine/checkpoint.h"
#include "tests/files.h"

using namespace alia;

namespace {

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape, int begin, int end) {
    return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
           std::to_string(begin) + "," + std::to_string(end) + "]}";
}

Checkpoint read(const std::string& bytes) {
    return read_safetensors({File::from_memory("x.safetensors", std::as_bytes(std::span(bytes)))});
}
Error refusal(const std::string& header, const std::string& data) {
    Error e = error_of([&] { read(safetensors(header, data)); });
    CHECK(std::string(e.message).starts_with("x.safetensors"));
    return e;
}
Error refusal(const std::string& bytes) {
    return error_of([&] { read(bytes); });
}

// A directory of two shards with an index.
struct Sharded : Folder {
    Sharded() {
        write("config.json", "{}");
        write("one.safetensors", safetensors("{" + entry("a", "F32", "[2,3]", 0, 24) + "}", floats(6)));
        write("two.safetensors", safetensors("{" + entry("b", "F32", "[4]", 0, 16) + "}", floats(4, 10)));
        index(R"("a":"one.safetensors","b":"two.safetensors")");
    }
    void index(const std::string& map) const {
        write("model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
    }
};

}  // namespace

TEST_CASE("matrices and vectors of three formats") {
    std::string header = "{\"__metadata__\":{\"format\":\"pt\"}," + entry("w", "F32", "[2,3]", 0, 24) + "," +
                         entry("h", "F16", "[2]", 24, 28) + "," + entry("b", "BF16", "[1,3]", 28, 34) + "}   ";
    std::string bytes = safetensors(
        header, floats(6) + std::string("\x00\x3C\x00\xC0", 4) + std::string("\x80\x3F\x00\x40\x40\xC0", 6));
    auto checkpoint = read(bytes);
    REQUIRE(checkpoint.arrays.size() == 3);
    CHECK(checkpoint.arrays[0].name == "b");
    const Array* w = checkpoint.find("w");
    REQUIRE(w);
    CHECK((w->rows == 2 && w->columns == 3 && w->format == Format::F32 && w->bytes == 24));
    CHECK(w->offset == int64_t(8 + header.size()));
    float out[6];
    decode_row(Format::F32, w->data + row_bytes(Format::F32, 3), 3, out);
    CHECK((out[0] == 3 && out[2] == 5));
    const Array* h = checkpoint.find("h");
    CHECK((h->rows == 1 && h->columns == 2));
    decode_row(Format::F16, h->data, 2, out);
    CHECK((out[0] == 1 && out[1] == -2));
    decode_row(Format::BF16, checkpoint.find("b")->data, 3, out);
    CHECK((out[0] == 1 && out[1] == 2 && out[2] == -3));
    CHECK(!checkpoint.find("c"));
    CHECK(checkpoint.place(*w).item == "w");
}

TEST_CASE("raw numbers are kept apart, and a shape may be of one number") {
    auto checkpoint = read(safetensors("{" + entry("q", "I32", "[2,2]", 0, 16) + "," + entry("s", "F16", "[]", 16, 18) +
                                           "," + entry("e", "F8_E4M3", "[1,6]", 18, 24) + "}",
                                       floats(6)));
    REQUIRE(checkpoint.arrays.size() == 1);
    const Array *s = checkpoint.find("s"), *q = checkpoint.find_part("q"), *e = checkpoint.find_part("e");
    REQUIRE((s && q && e));
    CHECK((s->rows == 1 && s->columns == 1 && s->raw == Raw::none));
    CHECK((q->rows == 2 && q->columns == 2 && q->bytes == 16 && q->raw == Raw::I32));
    CHECK((e->rows == 1 && e->columns == 6 && e->raw == Raw::F8_E4M3));
    CHECK(!checkpoint.find("q"));
    CHECK(!checkpoint.find_part("s"));
    CHECK(refusal("{" + entry("q", "I32", "[2,2]", 0, 16) + "," + entry("s", "F32", "[3]", 12, 24) + "}", floats(6))
              .status == Status::overlap);
    CHECK(refusal("{" + entry("q", "I32", "[3]", 0, 12) + "," + entry("q", "F32", "[3]", 12, 24) + "}", floats(6))
              .status == Status::duplicate);
}

TEST_CASE("raw numbers in shards") {
    Sharded directory;
    directory.write("two.safetensors", safetensors("{" + entry("b", "I32", "[4]", 0, 16) + "}", floats(4, 10)));
    auto checkpoint = open_checkpoint(directory.path);
    REQUIRE(checkpoint.find_part("b"));
    CHECK(checkpoint.files[size_t(checkpoint.find_part("b")->file)]->path.ends_with("two.safetensors"));
    CHECK(checkpoint.find("a"));
    directory.index(R"("a":"one.safetensors","b":"one.safetensors")");
    CHECK(error_of([&] { open_checkpoint(directory.path); }).status == Status::missing);
}

TEST_CASE("a header that cannot be") {
    CHECK(refusal("").status == Status::truncated);
    CHECK(refusal("1234567").status == Status::truncated);
    CHECK(refusal(raw(uint64_t(3)) + "{}").status == Status::truncated);
    CHECK(refusal(raw(uint64_t(100'000'001)) + "{}").status == Status::limit);
    CHECK(refusal(raw(UINT64_MAX) + "{}").status == Status::limit);
    CHECK(refusal("", "").status == Status::malformed);
    CHECK(refusal("[]", "").status == Status::malformed);
    CHECK(refusal(" {}", "").status == Status::malformed);
    CHECK(refusal("{} x", "").offset == 11);
    CHECK(refusal("{", "}").status == Status::malformed);
    CHECK(refusal("{\"__metadata__\":{\"a\":1}}", "").status == Status::malformed);
    CHECK(refusal("{\"__metadata__\":[]}", "").status == Status::malformed);
    CHECK(read(safetensors("{}", "")).arrays.empty());
}

TEST_CASE("a tensor that cannot be") {
    std::string data = floats(6);
    auto alone = [&](const std::string& e) {
        Error error = refusal("{" + e + "}", data);
        CHECK(std::string(error.item) == "t");
        return error.status;
    };
    CHECK(alone("\"t\":1") == Status::malformed);
    CHECK(alone("\"t\":{}") == Status::malformed);
    CHECK(alone("\"t\":{\"dtype\":1,\"shape\":[6],\"data_offsets\":[0,24]}") == Status::malformed);
    CHECK(alone("\"t\":{\"dtype\":\"F32\",\"data_offsets\":[0,24]}") == Status::malformed);
    CHECK(alone("\"t\":{\"dtype\":\"F32\",\"shape\":[6]}") == Status::malformed);
    CHECK(alone(entry("t", "F4", "[48]", 0, 24)) == Status::unsupported);
    CHECK(alone(entry("t", "none", "[24]", 0, 24)) == Status::unsupported);
    CHECK(alone(entry("t", "I64", "[4]", 0, 24)) == Status::malformed);
    CHECK(alone(entry("t", "F8_E4M3", "[48]", 0, 48)) == Status::truncated);
    CHECK(alone(entry("t", "F32", "[1,2,3]", 0, 24)) == Status::unsupported);
    CHECK(alone(entry("t", "F32", "[0]", 0, 0)) == Status::shape);
    CHECK(alone(entry("t", "F32", "[-6]", 0, 24)) == Status::malformed);
    CHECK(alone(entry("t", "F32", "[6.0]", 0, 24)) == Status::malformed);
    CHECK(alone(entry("t", "F32", "6", 0, 24)) == Status::malformed);
    CHECK(alone(entry("t", "F32", "[5]", 0, 24)) == Status::malformed);
    CHECK(alone(entry("t", "F32", "[7]", 0, 24)) == Status::malformed);
    CHECK(alone(entry("t", "F32", "[6]", 24, 0)) == Status::malformed);
    CHECK(alone(entry("t", "F32", "[6]", -24, 0)) == Status::malformed);
    CHECK(alone(entry("t", "F32", "[7]", 0, 28)) == Status::truncated);
    CHECK(alone(entry("t", "F32", "[6]", 4, 28)) == Status::truncated);
    CHECK(alone("\"t\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24,0]}") == Status::malformed);
    // Products and sums beyond 64 bits.
    CHECK(alone(entry("t", "F32", "[4611686018427387904]", 0, 24)) == Status::truncated);
    CHECK(alone(entry("t", "F32", "[4294967296,4294967296]", 0, 24)) == Status::truncated);
    CHECK(alone("\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9223372036854775804,9223372036854775807]}") ==
          Status::truncated);
    CHECK(alone("\"t\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[9223372036854775783,9223372036854775807]}") ==
          Status::truncated);
}

TEST_CASE("tensors that contradict each other") {
    auto pair = [&](const std::string& a, const std::string& b, size_t n) {
        return refusal("{" + a + "," + b + "}", floats(n));
    };
    Error e = pair(entry("a", "F32", "[3]", 0, 12), entry("b", "F32", "[3]", 8, 20), 5);
    CHECK(e.status == Status::overlap);
    CHECK(std::string(e.item) == "b");
    CHECK(pair(entry("a", "F32", "[3]", 0, 12), entry("b", "F32", "[3]", 0, 12), 3).status == Status::overlap);
    CHECK(pair(entry("a", "F32", "[3]", 0, 12), entry("a", "F32", "[3]", 12, 24), 6).status == Status::duplicate);
    // Holes and a tail: the format has none.
    CHECK(pair(entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[3]", 12, 24), 6).status == Status::malformed);
    CHECK(pair(entry("a", "F32", "[2]", 4, 12), entry("b", "F32", "[3]", 12, 24), 6).status == Status::malformed);
    CHECK(pair(entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[3]", 8, 20), 6).status == Status::malformed);
}

TEST_CASE("a directory with one file") {
    Folder folder;
    CHECK(error_of([&] { open_checkpoint(folder.path); }).status == Status::not_found);
    CHECK(error_of([&] { open_checkpoint(folder.path + "/absent"); }).status == Status::not_found);
    std::string file =
        folder.write("model.safetensors", safetensors("{" + entry("a", "F32", "[2]", 0, 8) + "}", floats(2)));
    Error e = error_of([&] { open_checkpoint(folder.path); });
    CHECK(e.status == Status::missing);
    CHECK(std::string(e.message).find("config.json") != std::string::npos);
    folder.write("config.json", R"({"hidden_size": 8})");
    for (const std::string& path : {folder.path, file}) {
        auto checkpoint = open_checkpoint(path);
        CHECK(checkpoint.kind == Checkpoint::Kind::safetensors);
        CHECK(checkpoint.path == path);
        CHECK(checkpoint.find("a")->columns == 2);
        CHECK(checkpoint.metadata.root().find("hidden_size")->integer == 8);
        CHECK(checkpoint.generation.root().is(Json::Kind::null));
    }
    folder.write("generation_config.json", R"({"do_sample": true})");
    CHECK(open_checkpoint(folder.path).generation.root().find("do_sample")->boolean);

    folder.remove("model.safetensors");
    CHECK(error_of([&] { open_checkpoint(folder.path); }).status == Status::missing);
    auto metadata = open_checkpoint(folder.path, {.arrays = false});
    CHECK(metadata.arrays.empty());
    CHECK(metadata.metadata.root().find("hidden_size"));
    folder.write("config.json", "{");
    CHECK(error_of([&] { open_checkpoint(folder.path, {.arrays = false}); }).status == Status::malformed);
}

TEST_CASE("files of no known kind") {
    Folder folder;
    CHECK(error_of([&] { open_checkpoint(folder.write("x.bin", "something")); }).status == Status::unsupported);
    CHECK(error_of([&] { open_checkpoint(folder.write("x.gguf", "something")); }).status == Status::malformed);
    CHECK(error_of([&] { open_checkpoint(folder.write("x.safetensors", "")); }).status == Status::truncated);
    CHECK(error_of([&] { open_checkpoint("/dev/null"); }).status == Status::io);
    CHECK(error_of([&] { open_checkpoint(""); }).status == Status::not_found);
    CHECK(error_of([&] { open_checkpoint(std::string("a\0b", 3)); }).status == Status::invalid_argument);
}

TEST_CASE("shards") {
    Sharded folder;
    auto checkpoint = open_checkpoint(folder.path);
    REQUIRE(checkpoint.arrays.size() == 2);
    CHECK(checkpoint.files.size() == 2);
    CHECK(checkpoint.find("a")->rows == 2);
    float out[4];
    decode_row(Format::F32, checkpoint.find("b")->data, 4, out);
    CHECK(out[3] == 13);
    CHECK(std::string(checkpoint.place(*checkpoint.find("b")).file).ends_with("two.safetensors"));
}

TEST_CASE("an index that its shards contradict") {
    Sharded folder;
    auto status = [&](const std::string& item) {
        Error e = error_of([&] { open_checkpoint(folder.path); });
        CHECK(std::string(e.item) == item);
        return e.status;
    };
    folder.index(R"("a":"one.safetensors","b":"two.safetensors","c":"two.safetensors")");
    CHECK(status("c") == Status::missing);
    folder.index(R"("a":"two.safetensors","b":"one.safetensors")");
    CHECK(status("a") == Status::missing);
    folder.index(R"("a":"one.safetensors","b":"three.safetensors")");
    CHECK(status("") == Status::missing);
    folder.index(R"("a":"one.safetensors","b":7)");
    CHECK(status("weight_map") == Status::malformed);
    folder.write("model.safetensors.index.json", "{}");
    CHECK(status("weight_map") == Status::malformed);
    folder.write("model.safetensors.index.json", "[");
    CHECK(status("") == Status::malformed);
    folder.index(R"("a":"one.safetensors","b":"two.safetensors")");
    folder.write("two.safetensors", safetensors("{" + entry("a", "F32", "[2,3]", 0, 24) + "}", floats(6)));
    CHECK(status("a") == Status::duplicate);
    folder.remove("two.safetensors");
    Error e = error_of([&] { open_checkpoint(folder.path); });
    CHECK(e.status == Status::missing);
    CHECK(std::string(e.message).find("two.safetensors") != std::string::npos);
}

TEST_CASE("an index cannot lead out of its directory") {
    Folder outside;
    outside.write("b.safetensors", safetensors("{" + entry("b", "F32", "[4]", 0, 16) + "}", floats(4)));
    Sharded folder;
    std::string relative = "../" + std::filesystem::path(outside.path).filename().string() + "/b.safetensors";
    for (std::string name :
         {relative, outside.path + "/b.safetensors", std::string(".."), std::string("."), std::string(""),
          std::string("./two.safetensors"), std::string("a\\\\b"), std::string("two.safetensors\\u0000x")}) {
        folder.index("\"a\":\"one.safetensors\",\"b\":\"" + name + "\"");
        Error e = error_of([&] { open_checkpoint(folder.path); });
        CHECK(e.status == Status::malformed);
        CHECK(std::string(e.item) == "b");
    }
}
