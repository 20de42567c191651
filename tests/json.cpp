// JSON: what is read, what is refused, and what it costs.
#include "engine/json.h"

#include "tests/files.h"
#include "tests/memory.h"

using namespace alia;
using Kind = Json::Kind;

namespace {

JsonDocument parse(const std::string& text, const JsonLimits& limits = {}) {
    return JsonDocument::parse(text, "x.json", limits);
}
Error refusal(const std::string& text, const JsonLimits& limits = {}) {
    INFO(text.substr(0, 80));
    return error_of([&] { parse(text, limits); });
}

}  // namespace

TEST_CASE("values of every kind") {
    auto document = parse(R"( {"a": [1, -2, 0.5, 1e3, true, false, null, "s"], "b": {"c": []}, "": 7} )");
    const Json& root = document.root();
    REQUIRE(root.is(Kind::object));
    REQUIRE(root.count == 3);
    CHECK(root.items()[0].key == "a");
    CHECK(root.items()[2].key == "");
    auto a = root.find("a")->items();
    REQUIRE(a.size() == 8);
    CHECK((a[0].is(Kind::integer) && a[0].integer == 1));
    CHECK((a[1].is(Kind::integer) && a[1].integer == -2));
    CHECK((a[2].is(Kind::real) && a[2].real == 0.5));
    CHECK((a[3].is(Kind::real) && a[3].real == 1000));
    CHECK((a[4].is(Kind::boolean) && a[4].boolean));
    CHECK((a[5].is(Kind::boolean) && !a[5].boolean));
    CHECK(a[6].is(Kind::null));
    CHECK(a[7].string() == "s");
    CHECK(root.find("b")->find("c")->is(Kind::array));
    CHECK(root.find("b")->find("c")->items().empty());
    CHECK(root.find("")->integer == 7);
    CHECK(!root.find("absent"));
    CHECK(!a[0].find("a"));
}

TEST_CASE("a value alone is a document") {
    CHECK(parse("17").root().integer == 17);
    CHECK(parse(" \"x\"\n").root().string() == "x");
    CHECK(parse("null").root().is(Kind::null));
    CHECK(parse("[]").root().is(Kind::array));
    CHECK(parse("{}").root().is(Kind::object));
    CHECK(JsonDocument().root().is(Kind::null));
}

TEST_CASE("a member that is null is as good as absent") {
    auto document = parse(R"({"a": null})");
    CHECK(document.root().count == 1);
    CHECK(!document.root().find("a"));
}

TEST_CASE("integers beyond 64 bits become reals") {
    auto document = parse(
        "[1000000000000000019884624838656, 9223372036854775807, -9223372036854775808, "
        "9223372036854775808, 18446744073709551616, -9223372036854775809]");
    auto n = document.root().items();
    CHECK((n[0].is(Kind::real) && n[0].real == 1e30));
    CHECK((n[1].is(Kind::integer) && n[1].integer == INT64_MAX));
    CHECK((n[2].is(Kind::integer) && n[2].integer == INT64_MIN));
    CHECK((n[3].is(Kind::real) && n[3].real == 0x1p63));
    CHECK((n[4].is(Kind::real) && n[4].real == 0x1p64));
    CHECK((n[5].is(Kind::real) && n[5].real == -0x1p63));
}

TEST_CASE("strings are unescaped, keys too") {
    auto document = parse(R"({"k\u00e9\n": "\"\\\/\b\f\n\r\t \u0041 \ud83d\ude00 ñ \u0000."})");
    const Json& member = document.root().items()[0];
    CHECK(member.key == "k\xC3\xA9\n");
    CHECK(member.string() == std::string_view("\"\\/\b\f\n\r\t A \xF0\x9F\x98\x80 \xC3\xB1 \0.", 21));
    CHECK(document.root().find("k\xC3\xA9\n") == &member);
}

TEST_CASE("a document outlives its text and its copies share it") {
    JsonDocument copy;
    {
        std::string text = R"(["some text that is long enough to live on the heap"])";
        JsonDocument document = parse(text);
        copy = document;
        text.assign(text.size(), 'x');
    }
    CHECK(copy.root().items()[0].string() == "some text that is long enough to live on the heap");
}

TEST_CASE("members are found in small and large objects") {
    for (int n : {1, 7, 8, 9, 10, 100, 5000}) {
        std::string text = "{";
        for (int i = 0; i < n; ++i) text += (i ? ",\"k" : "\"k") + std::to_string(i) + "\":" + std::to_string(i);
        auto document = parse(text + "}");
        REQUIRE(document.root().count == uint32_t(n));
        for (int i = 0; i < n; ++i) {
            const Json* found = document.root().find("k" + std::to_string(i));
            REQUIRE(found);
            REQUIRE(found->integer == i);
            REQUIRE(found == &document.root().items()[i]);
        }
        CHECK(!document.root().find("k" + std::to_string(n)));
        CHECK(!document.root().find(""));
    }
}

TEST_CASE("what is not JSON is malformed, with the byte") {
    for (std::string text : {"",
                             " ",
                             "[",
                             "]",
                             "{",
                             "}",
                             "[1",
                             "[1,",
                             "[1,]",
                             "[,1]",
                             "[1 2]",
                             "[1,2]]",
                             "1 2",
                             "1,2",
                             "1],[2",
                             "],[",
                             "{\"a\"}",
                             "{\"a\":}",
                             "{\"a\":1,}",
                             "{1:2}",
                             "{\"a\" 1}",
                             "{a:1}",
                             "'a'",
                             "\"a",
                             "\"\\x\"",
                             "\"\\u12\"",
                             "\"\\ud800\"",
                             "\"a\nb\"",
                             "tru",
                             "truex",
                             "nul",
                             "nan",
                             "NaN",
                             "Infinity",
                             "-",
                             "+1",
                             "01",
                             "1.",
                             ".5",
                             "1e",
                             "1e400",
                             "0x1",
                             "1x",
                             "[1]x",
                             "{}{}",
                             "[}",
                             "{]",
                             "[[1}]",
                             "\"a\"b",
                             "[\"a\"\"b\"]",
                             "// c\n1",
                             "\xEF\xBB\xBF"
                             "1"}) {
        Error e = refusal(text);
        CHECK(e.status == Status::malformed);
        CHECK(std::string(e.message).starts_with("x.json"));
        CHECK(e.offset >= 0);
        CHECK(e.offset <= int64_t(text.size()));
    }
    CHECK(refusal("[1, 2, x]").offset == 7);
    CHECK(error_of([] { JsonDocument::parse({}, "x"); }).status == Status::malformed);
    CHECK(JsonDocument::parse("[1]", "x", {}, 100).root().count == 1);
    CHECK(error_of([] { JsonDocument::parse("[1, 2, x]", "x", {}, 100); }).offset == 107);
}

TEST_CASE("invalid UTF-8 is malformed, with the byte") {
    for (std::string bad :
         {"\x80", "\xC0\x80", "\xC3", "\xE2\x82", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "\xFF"}) {
        Error e = refusal("[\"\xC3\xB1 " + bad + "\"]");
        CHECK(e.status == Status::malformed);
        CHECK(e.offset == 5);
    }
}

TEST_CASE("a key twice is refused, however it is written") {
    CHECK(refusal(R"({"a": 1, "b": 2, "a": 3})").status == Status::duplicate);
    CHECK(refusal(R"({"a": 1, "\u0061": 3})").status == Status::duplicate);
    CHECK(refusal(R"([{"x": {"": 1, "": 2}}])").status == Status::duplicate);
    std::string text = "{";
    for (int i = 0; i < 1000; ++i) text += "\"k" + std::to_string(i) + "\":0,";
    Error e = refusal(text + "\"k500\":1}");
    CHECK(e.status == Status::duplicate);
    CHECK(std::string(e.item) == "k500");
    CHECK_NOTHROW(parse(text + "\"k1000\":1}"));
    CHECK_NOTHROW(parse(R"([{"a": 1}, {"a": 1}])"));
}

TEST_CASE("depth is limited") {
    auto nested = [](int n) { return std::string(n, '[') + std::string(n, ']'); };
    CHECK_NOTHROW(parse(nested(64)));
    CHECK(refusal(nested(65)).status == Status::limit);
    CHECK(refusal(nested(100000)).status == Status::limit);
    CHECK_NOTHROW(parse(nested(3), {.depth = 3}));
    CHECK(refusal(nested(4), {.depth = 3}).status == Status::limit);
    CHECK(refusal(std::string(100000, '[')).status != Status::ok);
}

TEST_CASE("memory is limited, to 17 times the text and by option") {
    std::string words = "[", zeros = "[", brackets = "[", commas(1 << 20, ',');
    for (int i = 0; i < 100000; ++i) words += "\"word" + std::to_string(i) + "\", ";
    for (int i = 0; i < 1000000; ++i) zeros += "0,", brackets += "[],";
    words += "0]", zeros += "0]", brackets += "0]";
    for (const std::string& text : {words, zeros, brackets, commas, std::string("[1]"), std::string(1 << 20, '"')}) {
        int64_t peak = heap_of([&] {
            try {
                parse(text);
            } catch (const Error& e) {
                CHECK((e.status == Status::limit || e.status == Status::malformed));
            }
        });
        CHECK(peak > 0);
        CHECK(peak <= int64_t(17 * text.size() + (1 << 20)));
    }
    CHECK(parse(words).root().count == 100001);
    CHECK(refusal(words, {.bytes = 1 << 20}).status == Status::limit);
    int64_t peak = heap_of([&] { refusal(words, {.bytes = 1 << 20}); });
    CHECK(peak < 1 << 20);
}

TEST_CASE("time is linear in hostile text") {
    // Half a million members, and deep nests of wide arrays: seconds if anything were quadratic.
    std::string object = "{";
    for (int i = 0; i < 500000; ++i) object += "\"" + std::to_string(i) + "\":\"....\",";
    CHECK(parse(object + "\"\":0}").root().count == 500001);
    std::string row = "[";
    for (int i = 0; i < 1000; ++i) row += "\"....\",";
    std::string rows = "[";
    for (int i = 0; i < 300; ++i) rows += row + "0],";
    CHECK(parse(std::string(60, '[') + rows + "0]" + std::string(60, ']')).root().count == 1);
}

TEST_CASE("a builder's tree is a document like any other") {
    JsonBuilder builder("x", 1 << 16);
    auto children = builder.children(builder.root(), Kind::object, 2);
    children[0].key = builder.copy("list");
    builder.children(children[0], Kind::array, 3)[1].kind = Kind::boolean;
    children[1].key = builder.copy("text");
    builder.string(children[1], "\xFF");
    builder.index(builder.root());
    auto document = builder.finish();
    CHECK(document.root().find("list")->count == 3);
    CHECK(document.root().find("text")->string() == "\xFF");

    JsonBuilder small("x", 1000);
    CHECK(error_of([&] { small.children(small.root(), Kind::array, 1000); }).status == Status::limit);
    JsonBuilder twice("x", 1 << 16);
    auto same = twice.children(twice.root(), Kind::object, 2);
    same[0].key = same[1].key = "k";
    CHECK(error_of([&] { twice.index(twice.root()); }).status == Status::duplicate);
}
