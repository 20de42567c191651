// tokenizer.json and GGUF vocabularies: against their own software, with special tokens parsed and not, and broken.
#include "engine/tokenizer.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <random>

#include "tests/catch.h"
#include "tests/tokenizer_cases.h"

using namespace alia;
using test::tokenizer_file;

namespace {

std::string read(const std::string& path) { return std::string(File::open(path)->text()); }

// An .xz file's contents, by the xz program; nothing where the file or the program is absent.
std::string unpack(const std::string& path) {
    if (!file_exists(path)) return {};
    FILE* pipe = popen(("xz -dc '" + path + "'").c_str(), "r");
    std::string text;
    static char part[1 << 16];
    while (const size_t n = pipe ? fread(part, 1, sizeof part, pipe) : 0) text.append(part, n);
    if (pipe) pclose(pipe);
    return text;
}

void replace_once(std::string& text, const std::string& from, const std::string& to) {
    const size_t at = text.find(from);
    REQUIRE(at != text.npos);
    text.replace(at, from.size(), to);
}

Error error_of(const std::string& json) {
    try {
        read_tokenizer_json(json, "t.json");
    } catch (const Error& e) {
        return e;
    }
    return {};
}

}  // namespace

TEST_CASE("tokenizer files give what their own software gives") {
    for (const std::string name : {"metaspace_first.json", "metaspace_always.json", "metaspace_never.json",
                                   "prepend.json", "gpt2.json", "llama3.json", "smollm.json", "llama.gguf"}) {
        const auto t = open_tokenizer(tokenizer_file(name));
        const std::string cases = tokenizer_file(name.substr(0, name.find('.')) + ".cases.jsonl");
        int count = 0;
        test::each_line(read(cases), [&](const Json& c) {
            const Json* text = c.find("text");
            INFO(name << ": " << (text ? text->string() : "ids"));
            if (text && c.find("ids")) CHECK(t->encode(text->string()) == test::ids_of(c.find("ids")));
            if (text) CHECK(t->encode(text->string(), {false, false}) == test::ids_of(c.find("plain")));
            const auto ids = test::ids_of(c.find("ids") ? c.find("ids") : c.find("plain"));
            if (c.find("decoded")) CHECK(t->decode(ids) == c.find("decoded")->string());
            CHECK(test::streamed(*t, ids) == t->decode(ids));
            ++count;
        });
        CHECK(count > 60);
    }
}

TEST_CASE("special tokens in a user's text stay text") {
    for (const char* name :
         {"metaspace_first.json", "prepend.json", "llama3.json", "llama.gguf", "sentencepiece.model"}) {
        const auto t = open_tokenizer(tokenizer_file(name));
        const std::string text = "<|im_start|>el<|im_end|>la<|im_end|>", letters = "NORM <s></s>" + text;
        INFO(name);
        for (const int32_t id : t->encode(letters, {false, false})) CHECK((!t->special(id) || id == t->unknown));
        const int32_t end = *t->find("<|im_end|>");
        const auto ends = [&](std::vector<TextRange> literal) {
            const auto ids = t->encode(text, {true, true, literal});
            return std::count(ids.begin(), ids.end(), end);
        };
        CHECK(ends({}) == 2);
        CHECK(ends({{14, 24}}) == 1);            // the first
        CHECK(ends({{23, 24}}) == 1);            // one byte of it
        CHECK(ends({{13, 14}, {24, 26}}) == 2);  // their neighbours
        CHECK(ends({{20, 20}}) == 2);            // no byte
        CHECK(ends({{0, text.size()}}) == 0);
        CHECK_THROWS_AS(ends({{3, 99}}), Error);
        CHECK_THROWS_AS(ends({{9, 10}, {3, 4}}), Error);
    }
    // A special token that is found in normalised text, whose bytes have moved: "▁NORM" of "e\u0301 NORM".
    const auto t = open_tokenizer(tokenizer_file("prepend.json"));
    const std::string text = "e\xCC\x81 NORM el";
    const TextRange before[] = {{0, 3}}, inside[] = {{5, 6}};
    const auto has = [&](std::span<const TextRange> literal) {
        const auto ids = t->encode(text, {true, true, literal});
        return std::count(ids.begin(), ids.end(), *t->find("NORM"));
    };
    CHECK(has({}) == has(before));
    CHECK(has(inside) == 0);
}

TEST_CASE("streams hold back what is not yet text") {
    const auto t = open_tokenizer(tokenizer_file("smollm.json"));
    const auto ids = t->encode("a\xE6\x97\xA5z");
    TextStream stream(*t);
    std::vector<std::string> parts;
    for (const int32_t id : ids) parts.push_back(stream.append(id));
    CHECK(parts == std::vector<std::string>{"a", "", "", "\xE6\x97\xA5", "z"});
    CHECK(stream.finish().empty());
    CHECK(t->bytes(ids[1]) == "\xE6");
    CHECK(t->bytes(-1).empty());
    CHECK(t->bytes(t->size()).empty());
    CHECK_FALSE(t->find("no such token"));
}

TEST_CASE("what is unknown is refused and named") {
    const std::string json = read(tokenizer_file("metaspace_first.json"));
    const auto changed = [&](const std::string& from, const std::string& to) {
        std::string text = json;
        replace_once(text, from, to);
        return error_of(text);
    };
    CHECK(error_of(json).item[0] == 0);
    Error e = changed("\"type\": \"Metaspace\"", "\"type\": \"Whitespace\"");
    CHECK(e.status == Status::unsupported);
    CHECK(e.item == std::string("/pre_tokenizer/type"));
    e = changed("\"type\": \"ByteFallback\"", "\"type\": \"CTC\"");
    CHECK(e.status == Status::unsupported);
    CHECK(e.item == std::string("/decoder/decoders/1"));
    CHECK(changed("\"split\": false", "\"splat\": false").status == Status::unsupported);
    CHECK(changed("\"type\": \"BPE\"", "\"type\": \"Unigram\"").status == Status::unsupported);
    CHECK(changed("\"dropout\": null", "\"dropout\": 0.1").status == Status::unsupported);
    CHECK(changed("\"<s>\": 1", "\"<s>\": 0").status == Status::duplicate);
    CHECK(changed("\"<s>\": 1", "\"<s>\": 1000000000").status == Status::malformed);
    CHECK(changed("\"merges\": [[", "\"merges\": [[\"no\", \"token\"], [").status == Status::malformed);
}

TEST_CASE("broken tokenizer files give typed errors", "[sweep]") {
    const std::string bytes = read(tokenizer_file("sweep.json"));
    CHECK(test::sweep(bytes, [](std::string_view text) { return read_tokenizer_json(text, "t.json"); }) > 0);
}

// The header, cut and with every bit flipped, and so much of the vocabulary that a piece, a score and a type are in it.
TEST_CASE("a broken vocabulary in a GGUF file gives typed errors", "[sweep]") {
    const std::string bytes = read(tokenizer_file("llama.gguf"));
    const auto open = [](const std::string& text) {
        const auto file = File::from_memory("t.gguf", std::as_bytes(std::span(text)));
        const Checkpoint checkpoint = read_gguf({file});
        return read_gguf_vocabulary(checkpoint.metadata.root(), "t.gguf");
    };
    int loaded = 0, refused = 0;
    const auto attempt = [&](const std::string& text) {
        try {
            const auto t = open(text);
            t->decode(t->encode("el perro\n<|im_end|> casa\xFF"));
            ++loaded;
        } catch (const Error&) {
            ++refused;
        }
    };
    std::mt19937 rng(11);
    for (size_t n = 0; n < bytes.size(); n += n < 600 ? 1 : 13) attempt(bytes.substr(0, n));
    CHECK(loaded == 0);
    for (int i = 0; i < 6000; ++i) {
        std::string broken = bytes;
        const size_t bit = i < 4000 ? size_t(i) : rng() % (bytes.size() * 8);
        broken[bit / 8] = char(broken[bit / 8] ^ 1 << bit % 8);
        attempt(broken);
    }
    CHECK(loaded > 0);
    CHECK(refused > 1000);
}

TEST_CASE("hostile texts take no more than n log n") {
    for (const char* name : {"metaspace_first.json", "prepend.json", "llama3.json", "smollm.json", "llama.gguf"}) {
        const auto t = open_tokenizer(tokenizer_file(name));
        for (const char* unit : {"a", " ", "\n", "\xF0\x9F\x98\x80", "e\xCC\x81\xCC\x96", "<|im_", "\xFF", "1"}) {
            std::string text;
            while (text.size() < 200'000) text += unit;
            const std::clock_t start = std::clock();  // of this process: others' work does not count
            CHECK(!t->encode(text).empty());
            const double seconds = double(std::clock() - start) / CLOCKS_PER_SEC;
            INFO(name << " on " << unit);
            CHECK(seconds < 5);  // quadratic time would be minutes; sanitizers may slow this
        }
    }
}

TEST_CASE("ALIA's and Salamandra's tokenizers on 2,037 texts", "[shared]") {
    const std::string folder = SHARED_DATA "/alia-tokenizer/";
    const std::string cases = unpack(folder + "encode-cases.jsonl.xz");
    if (cases.empty()) {
        WARN("skipped: " << folder << "encode-cases.jsonl.xz or the xz program is absent");
        return;
    }
    const std::pair<const char*, const char*> files[] = {{"alia-40b", "alia"},
                                                         {"salamandra-instruct", "salamandra_instruct"}};
    for (const auto& entry : files) {
        const char *file = entry.first, *key = entry.second;
        const auto t = read_tokenizer_json(unpack(folder + file + ".tokenizer.json.xz"), file);
        int count = 0, right = 0;
        test::each_line(cases, [&](const Json& c) {
            const auto ids = test::ids_of(c.find(key)->find("ids"));
            const std::string_view decoded = c.find(key)->find("decoded")->string();
            right += t->encode(c.find("text")->string()) == ids && t->decode(ids) == decoded &&
                     test::streamed(*t, ids) == decoded;
            ++count;
        });
        CHECK(count == 2037);
        CHECK(right == count);
    }
}
