// Pages: hashes, sharing, eviction, copies of partly filled pages, and that a collision shares nothing.
#include "engine/pages.h"

#include <cstring>

#include "engine/sequence.h"
#include "engine/stop_texts.h"
#include "tests/support.h"

using namespace alia;

namespace {

const std::string path = TEST_DATA "/models/alia";

PageContent content(const Pages& pages, int32_t first, const char* salt = "") {
    PageContent c{.parent = pages.root(salt), .prompt_roles = ~uint64_t(0)};
    for (size_t i = 0; i < c.tokens.size(); ++i) c.tokens[i] = first + int32_t(i);
    return c;
}

std::vector<int32_t> counting(int count) {
    std::vector<int32_t> ids;
    for (int i = 0; i < count; ++i) ids.push_back(i % 90);
    return ids;
}

}  // namespace

// https://github.com/veorq/SipHash/blob/master/vectors.h, vectors_sip128: key 00..0f, input 00, 01, ...
TEST_CASE("the hash is SipHash-2-4 with 128 bits") {
    std::byte input[16];
    for (int i = 0; i < 16; ++i) input[i] = std::byte(i);
    Hash128 key;
    std::memcpy(&key, input, sizeof key);
    auto hex = [&](size_t n) {
        const Hash128 h = siphash(key, std::span(input).first(n));
        std::string text;
        for (size_t i = 0; i < sizeof h; ++i) {
            char two[3];
            std::snprintf(two, sizeof two, "%02x", reinterpret_cast<const uint8_t*>(&h)[i]);
            text += two;
        }
        return text;
    };
    CHECK(hex(0) == "a3817f04ba25a8e66df67214c7550293");
    CHECK(hex(1) == "da87c1d86b99af44347659119b22fc45");
}

TEST_CASE("a page is found by parent, tokens and roles, and by nothing less") {
    Pages pages(4);
    const PageContent a = content(pages, 7);
    const int32_t page = pages.publish(pages.take(), pages.key(a), a);
    CHECK(pages.find(pages.key(a), a) == page);
    for (int change = 0; change < 3; ++change) {
        PageContent b = a;
        if (change == 0) b.tokens[63] ^= 1;
        if (change == 1) b.prompt_roles ^= 1;
        if (change == 2) b.parent = pages.root("another tenant");
        CHECK(pages.key(b) != pages.key(a));
        CHECK(pages.find(pages.key(b), b) == -1);
        CHECK(pages.find(pages.key(a), b) == -1);  // as if the hashes were one
    }
    CHECK(Pages(1).key(a) != pages.key(a));  // each has a secret of its own
}

TEST_CASE("a page that is published twice is kept once") {
    Pages pages(2);
    const PageContent a = content(pages, 7);
    const int32_t first = pages.take(), second = pages.take();
    CHECK(pages.publish(first, pages.key(a), a) == first);
    CHECK(pages.publish(second, pages.key(a), a) == first);
    CHECK(pages.free() == 1);
    pages.release(first);
    CHECK(pages.cached() == 0);
    pages.release(first);
    CHECK(pages.cached() == 1);
}

TEST_CASE("the page unused for longest is evicted first, and one in use never") {
    Pages pages(3);
    int32_t page[3];
    PageContent all[3];
    for (int i = 0; i < 3; ++i) {
        all[i] = content(pages, i);
        page[i] = pages.publish(pages.take(), pages.key(all[i]), all[i]);
    }
    pages.release(page[1]);
    pages.release(page[0]);
    CHECK(pages.available() == 2);
    CHECK(pages.find(pages.key(all[1]), all[1]) == page[1]);
    pages.release(page[1]);  // used again: now the younger one
    CHECK(pages.take() == page[0]);
    CHECK(pages.find(pages.key(all[0]), all[0]) == -1);
    CHECK(pages.take() == page[1]);
    CHECK_THROWS_AS(pages.take(), Error);
    CHECK(pages.evictions == 2);
}

TEST_CASE("a fork shares pages and copies the one that both would write") {
    const auto model = load_model(path, {.device = "ref"});
    Cache cache(*model->device, model->config, 6 * page_positions, Format::F32);
    Sequence a(cache), b(cache);
    a.append(counting(100), Role::prompt);
    REQUIRE(a.take_pages(100));
    std::vector<std::byte> written(size_t(cache.page_bytes()), std::byte(1)), read = written;
    cache.write_page(a.pages()[1], written.data());
    a.advance(100);
    b.fork(a, 90);
    CHECK(cache.pages.free() == 4);
    b.append(counting(3), Role::generated);
    REQUIRE(b.take_pages(3));
    CHECK(a.pages()[0] == b.pages()[0]);
    CHECK(a.pages()[1] != b.pages()[1]);
    std::fill(read.begin(), read.end(), std::byte(0));
    cache.read_page(b.pages()[1], read.data());
    CHECK(read == written);
    CHECK(cache.pages.free() == 3);
}

TEST_CASE("a sequence finds the pages of one that began alike, but for its last token") {
    const auto model = load_model(path, {.device = "ref"});
    Cache cache(*model->device, model->config, 8 * page_positions, Format::F32);
    const auto ids = counting(128);
    auto matched = [&](std::string_view salt, Role role, size_t count) {
        Sequence s(cache);
        s.share(salt);
        s.append(std::span(ids).first(count), role);
        return s.match(int64_t(count));
    };
    {
        Sequence s(cache);
        s.share("a");
        s.append(ids, Role::prompt);
        REQUIRE(s.take_pages(128));
        s.advance(128);
    }
    CHECK(cache.pages.cached() == 2);
    CHECK(matched("a", Role::prompt, 128) == 64);
    CHECK(matched("a", Role::prompt, 65) == 64);
    CHECK(matched("a", Role::prompt, 64) == 0);
    CHECK(matched("b", Role::prompt, 128) == 0);
    CHECK(matched("a", Role::generated, 128) == 0);
}

TEST_CASE("sliding keeps both ends, and the last ones are pending") {
    const auto model = load_model(path, {.device = "ref"});
    Cache cache(*model->device, model->config, 4 * page_positions, Format::F32);
    Sequence s(cache);
    const auto ids = counting(200);
    s.append(ids, Role::prompt);
    REQUIRE(s.take_pages(200));
    s.advance(200);
    s.slide(70, 10);
    CHECK(s.length() == 80);
    CHECK(s.computed() == 70);
    CHECK(s.dropped() == 120);
    CHECK(s.tokens()[69] == ids[69]);
    CHECK(s.tokens()[70] == ids[190]);
    CHECK(s.pages().size() == 2);
}

TEST_CASE("stop texts end wherever the text is cut, and hold back only what may start one") {
    const std::vector<std::string> texts = {"STOP", "TOPS", "\n\n"};
    const std::string whole = "a S ST STO T\nb STOPS";
    for (size_t cut = 1; cut <= whole.size(); ++cut) {
        StopTexts stops(texts);
        std::string shown;
        bool found = false;
        for (size_t at = 0; at < whole.size() && !found; at += cut) found = stops.append(whole.substr(at, cut), shown);
        CHECK(found);
        CHECK(shown == "a S ST STO T\nb ");
    }
    StopTexts stops(texts);
    std::string shown;
    CHECK(!stops.append("xST", shown));
    CHECK(shown == "x");
    CHECK(!stops.append("a", shown));
    CHECK(shown == "xSTa");
    CHECK(!stops.append("\n", shown));
    CHECK(shown == "xSTa");
    CHECK(stops.finish() == "\n");
}
