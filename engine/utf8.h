// UTF-8 read from any bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace alia {

inline constexpr std::string_view replacement_character = "\xEF\xBF\xBD";  // U+FFFD
inline constexpr std::string_view metaspace = "\xE2\x96\x81";              // U+2581, a space in vocabularies
inline constexpr std::string_view unknown_surface = " \xE2\x81\x87 ";  // what sentencepiece shows for the unknown token

struct Utf8Char {
    enum class Kind : uint8_t { valid, incomplete, invalid };  // incomplete: the text ends inside a valid start

    char32_t code = 0xFFFD;
    uint8_t length = 1;  // not valid: the bytes that could start a character, one at least (Unicode's maximal subpart)
    Kind kind = Kind::invalid;

    bool valid() const { return kind == Kind::valid; }
};

// The character at `at` < text.size(). Surrogates, overlong forms and codes beyond U+10FFFF are invalid.
inline Utf8Char utf8_at(std::string_view text, size_t at) {
    using Kind = Utf8Char::Kind;
    const uint8_t first = uint8_t(text[at]);
    if (first < 0x80) return {first, 1, Kind::valid};
    if (first < 0xC2 || first > 0xF4) return {};
    const int length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    char32_t code = first & (0x7F >> length);
    uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    for (int i = 1; i < length; ++i) {
        if (at + i == text.size()) return {0xFFFD, uint8_t(i), Kind::incomplete};
        const uint8_t next = uint8_t(text[at + i]);
        if (next < low || next > high) return {0xFFFD, uint8_t(i), Kind::invalid};
        code = code << 6 | (next & 0x3F);
        low = 0x80, high = 0xBF;
    }
    return {code, uint8_t(length), Kind::valid};
}

// The character that ends before `end` > 0; bytes that end no character are invalid, one by one.
inline Utf8Char utf8_before(std::string_view text, size_t end) {
    for (size_t length = 1; length <= 4 && length <= end; ++length) {
        if ((uint8_t(text[end - length]) & 0xC0) == 0x80) continue;
        const Utf8Char c = utf8_at(text.substr(0, end), end - length);
        return c.valid() && c.length == length ? c : Utf8Char{};
    }
    return {};
}

inline bool utf8_valid(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
        const Utf8Char c = utf8_at(text, at);
        if (!c.valid()) return false;
        at += c.length;
    }
    return true;
}

inline void append_utf8(std::string& text, char32_t code) {
    if (code < 0x80) {
        text += char(code);
    } else if (code < 0x800) {
        text += {char(0xC0 | code >> 6), char(0x80 | (code & 0x3F))};
    } else if (code < 0x10000) {
        text += {char(0xE0 | code >> 12), char(0x80 | (code >> 6 & 0x3F)), char(0x80 | (code & 0x3F))};
    } else {
        text += {char(0xF0 | code >> 18), char(0x80 | (code >> 12 & 0x3F)), char(0x80 | (code >> 6 & 0x3F)),
                 char(0x80 | (code & 0x3F))};
    }
}

// Every `from` (not empty) replaced, left to right.
inline std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
    std::string result;
    result.reserve(text.size() + text.size() / 8);
    for (size_t at = 0;;) {
        const size_t found = text.find(from, at);
        result += text.substr(at, found - at);
        if (found == text.npos) return result;
        result += to;
        at = found + from.size();
    }
}

}  // namespace alia
