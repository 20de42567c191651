// Messages: where they say the trouble is, and that fixed buffers never break a character.
#include "kernels/error.h"

#include <string>

#include "tests/catch.h"

using namespace alia;

namespace {

template <class F>
Error caught(F&& f) {
    try {
        f();
    } catch (const Error& e) {
        return e;
    }
    throw std::logic_error("nothing was thrown");
}

bool whole_characters(const std::string& s) {
    for (size_t i = 0; i < s.size();) {
        const auto lead = uint8_t(s[i]);
        const size_t n = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
        if (n == 0 || i + n > s.size()) return false;
        for (size_t k = 1; k < n; ++k)
            if ((uint8_t(s[i + k]) & 0xC0) != 0x80) return false;
        i += n;
    }
    return true;
}

}  // namespace

TEST_CASE("a message names file, item and byte, and each is also there alone") {
    const Error e = caught([] {
        fail(Status::truncated, {"model.gguf", "blk.0.attn_q.weight", 40}, "%d of %d", 3, 7);
    });
    CHECK(std::string(e.message) == "model.gguf, blk.0.attn_q.weight, byte 40: 3 of 7");
    CHECK(std::string(e.item) == "blk.0.attn_q.weight");
    CHECK(e.offset == 40);
    CHECK(e.status == Status::truncated);
    CHECK(std::string(caught([] { fail(Status::io, "no place"); }).message) == "no place");
}

TEST_CASE("control characters of a hostile file do not reach a terminal") {
    const Error e = caught([] { fail(Status::malformed, {"a\x1b[2Jb", "c\nd"}, "e\tf"); });
    CHECK(std::string(e.message) == "a?[2Jb, c?d: e?f");
}

TEST_CASE("texts of any length fit, keep the end of a path, and stay whole characters") {
    for (const char* unit : {"a", "ñ", "語", "😀"})
        for (int offset = 0; offset < 4; ++offset) {
            std::string text(size_t(offset), 'x');
            while (text.size() < 1000) text += unit;
            const std::string path = text + "/model.gguf";
            const Error e = caught([&] { fail(Status::io, {path, text, 1}, "%s", text.c_str()); });
            INFO(e.message);
            CHECK(whole_characters(e.message));
            CHECK(whole_characters(e.item));
            CHECK(std::string(e.message).find("/model.gguf, ") != std::string::npos);
        }
}
