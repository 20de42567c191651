// Character classes and composition: the only user of utf8proc among the tokenizers.
#include "engine/characters.h"

#include <algorithm>
#include <array>
#include <utf8proc.h>
#include <vector>

#include "engine/utf8.h"
#include "kernels/error.h"

namespace alia {
namespace {

// White_Space of Unicode: what \s means in Oniguruma and in Rust.
constexpr bool white_space(char32_t c) {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

constexpr auto ascii = [] {
    std::array<CharClass, 128> table{};
    for (char32_t c = 0; c < 128; ++c) {
        const char32_t lower = c | 0x20;
        table[c] = white_space(c)                 ? CharClass::space
                   : lower >= 'a' && lower <= 'z' ? CharClass::letter
                   : c >= '0' && c <= '9'         ? CharClass::number
                                                  : CharClass::other;
    }
    return table;
}();

CharClass classify(char32_t code) {
    if (white_space(code)) return CharClass::space;
    switch (utf8proc_category(utf8proc_int32_t(code))) {
        case UTF8PROC_CATEGORY_LU:
        case UTF8PROC_CATEGORY_LL:
        case UTF8PROC_CATEGORY_LT:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_LO:
            return CharClass::letter;
        case UTF8PROC_CATEGORY_ND:
        case UTF8PROC_CATEGORY_NL:
        case UTF8PROC_CATEGORY_NO:
            return CharClass::number;
        default:
            return CharClass::other;
    }
}

// utf8proc's own ordering of combining marks takes quadratic time on long runs of them; a sort does not.
void order_marks(std::vector<utf8proc_int32_t>& codes) {
    const auto rank = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
    for (auto at = codes.begin(); at != codes.end();) {
        const auto end = std::find_if(at, codes.end(), [&](auto c) { return rank(c) == 0; });
        std::stable_sort(at, end, [&](auto a, auto b) { return rank(a) < rank(b); });
        at = end == codes.end() ? end : end + 1;
    }
}

void append_composed(std::string& result, std::string_view valid) {
    std::vector<utf8proc_int32_t> codes;
    codes.reserve(valid.size());
    for (size_t at = 0; at < valid.size();) {
        const Utf8Char c = utf8_at(valid, at);
        at += c.length;
        utf8proc_int32_t parts[8];  // no canonical decomposition is longer than four
        int boundary = 0;
        const auto n = utf8proc_decompose_char(utf8proc_int32_t(c.code), parts, 8, UTF8PROC_DECOMPOSE, &boundary);
        if (n < 0 || n > 8) fail(Status::internal, "decomposition of U+%04X", unsigned(c.code));
        codes.insert(codes.end(), parts, parts + n);
    }
    order_marks(codes);
    const auto n = utf8proc_normalize_utf32(codes.data(), utf8proc_ssize_t(codes.size()),
                                            utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    for (utf8proc_ssize_t i = 0; i < n; ++i) append_utf8(result, char32_t(codes[size_t(i)]));
}

}  // namespace

CharClass char_class(char32_t code) { return code < 128 ? ascii[code] : classify(code); }

bool is_word(char32_t code) {
    // Letters, marks, digits, letter numbers, connectors; Other_Alphabetic symbols; the two joiners.
    switch (utf8proc_category(utf8proc_int32_t(code))) {
        case UTF8PROC_CATEGORY_LU:
        case UTF8PROC_CATEGORY_LL:
        case UTF8PROC_CATEGORY_LT:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_LO:
        case UTF8PROC_CATEGORY_MN:
        case UTF8PROC_CATEGORY_MC:
        case UTF8PROC_CATEGORY_ME:
        case UTF8PROC_CATEGORY_ND:
        case UTF8PROC_CATEGORY_NL:
        case UTF8PROC_CATEGORY_PC:
            return true;
        default:
            break;
    }
    return code == 0x200C || code == 0x200D || (code >= 0x24B6 && code <= 0x24E9) ||
           (code >= 0x1F130 && code <= 0x1F149) || (code >= 0x1F150 && code <= 0x1F169) ||
           (code >= 0x1F170 && code <= 0x1F189);
}

std::string nfc(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    for (size_t at = 0, begin = 0; begin < text.size();) {
        while (at < text.size()) {
            const Utf8Char c = utf8_at(text, at);
            if (!c.valid()) break;
            at += c.length;
        }
        append_composed(result, text.substr(begin, at - begin));
        if (at < text.size()) result += text[at++];
        begin = at;
    }
    return result;
}

}  // namespace alia
