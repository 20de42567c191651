// tokenizer.model: against the library that it is made for, and broken in every way.
#include <algorithm>

#include "engine/tokenizer.h"
#include "tests/catch.h"
#include "tests/tokenizer_cases.h"

using namespace alia;

TEST_CASE("a tokenizer.model gives what sentencepiece gives") {
    const auto t = open_tokenizer(test::tokenizer_file("sentencepiece.model"));
    CHECK(t->bos == 1);
    CHECK(t->eos == 2);
    CHECK(t->unknown == 0);
    int count = 0;
    test::each_line(File::open(test::tokenizer_file("sentencepiece.cases.jsonl"))->text(), [&](const Json& c) {
        const std::string text(c.find("text")->string());
        INFO(text);
        const auto plain = test::ids_of(c.find("plain"));
        CHECK(t->encode(text, {false, false}) == plain);
        if (c.find("ids")) CHECK(t->encode(text) == test::ids_of(c.find("ids")));
        CHECK(t->decode(plain) == c.find("decoded")->string());
        CHECK(test::streamed(*t, plain) == c.find("decoded")->string());
        ++count;
    });
    CHECK(count > 60);
}

TEST_CASE("control pieces are found only where the caller parses them") {
    const auto t = open_tokenizer(test::tokenizer_file("sentencepiece.model"));
    auto want = t->encode("el", {false, false});
    want.insert(want.begin(), *t->find("<|im_start|>"));
    want.push_back(*t->find("<|im_end|>"));
    CHECK(t->encode("<|im_start|>el<|im_end|>", {false, true}) == want);
    for (const int32_t id : t->encode("<|im_start|>el<|im_end|>", {false, false})) CHECK_FALSE(t->special(id));
}

TEST_CASE("broken models give typed errors", "[sweep]") {
    const std::string bytes(File::open(test::tokenizer_file("sentencepiece.model"))->text());
    CHECK(test::sweep(bytes, [](std::string_view text) { return read_tokenizer_model(text, "t.model"); }) > 0);
}

TEST_CASE("ALIA's rebuilt tokenizer.model loads and reads back what it wrote", "[shared]") {
    const std::string path = SHARED_DATA "/alia-tokenizer/alia-40b.tokenizer.model";
    if (!file_exists(path)) {
        WARN("skipped: " << path << " is absent");
        return;
    }
    const auto t = open_tokenizer(path);
    CHECK(t->size() == 256000);
    const std::string text = "La qüestió \xC3\xA9s aquesta: 3.14 \xE6\x97\xA5\xE6\x9C\xAC";
    CHECK(t->decode(t->encode(text)) == text);
}
