// The split patterns as hand-written matchers: each alternative of the regular expression is one step, in its order.
#include "engine/pretokenizer.h"

#include "engine/characters.h"
#include "engine/utf8.h"

namespace alia {

const std::string_view gpt2_pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string_view llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

struct Reader {
    std::string_view text;

    bool more(size_t at) const { return at < text.size(); }
    size_t after(size_t at) const { return at + utf8_at(text, at).length; }
    CharClass kind(size_t at) const {
        const uint8_t byte = uint8_t(text[at]);
        return char_class(byte < 0x80 ? byte : utf8_at(text, at).code);  // U+FFFD for what is invalid: `other`
    }
    bool is(size_t at, CharClass k) const { return more(at) && kind(at) == k; }
    bool newline(size_t at) const { return more(at) && (text[at] == '\r' || text[at] == '\n'); }
    size_t run(size_t at, CharClass k) const {
        while (is(at, k)) at = after(at);
        return at;
    }
};

// The end of an English contraction at an apostrophe, or 0.
size_t contraction(const Reader& r, size_t at, bool any_case) {
    if (r.text[at] != '\'' || !r.more(at + 1)) return 0;
    const auto letter = [&](size_t i) {
        const char c = r.more(i) ? r.text[i] : '\0';
        return any_case && c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
    };
    const char a = letter(at + 1), b = letter(at + 2);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return at + 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return at + 3;
    if (any_case && r.text.substr(at + 1, 2) == "\xC5\xBF") return at + 3;  // U+017F, the long s, folds to s
    return 0;
}

// \s+(?!\S)|\s+ : white space but for its last character, which goes with what follows; all of it at the end of the
// text.
size_t white_space(const Reader& r, size_t at) {
    size_t last = at, end = at;
    while (r.is(end, CharClass::space)) last = end, end = r.after(end);
    return end == r.text.size() || last == at ? end : last;
}

size_t gpt2(const Reader& r, size_t at) {
    if (const size_t end = contraction(r, at, false)) return end;
    const size_t word = r.text[at] == ' ' && r.more(at + 1) ? at + 1 : at;
    const CharClass kind = r.kind(word);
    return kind != CharClass::space ? r.run(word, kind) : white_space(r, at);
}

size_t llama3(const Reader& r, size_t at) {
    if (const size_t end = contraction(r, at, true)) return end;
    const CharClass kind = r.kind(at);
    if (kind == CharClass::letter) return r.run(at, CharClass::letter);
    if (kind != CharClass::number && !r.newline(at)) {
        const size_t word = r.after(at);
        if (r.is(word, CharClass::letter)) return r.run(word, CharClass::letter);
    }
    if (kind == CharClass::number) {
        size_t end = at;
        for (int i = 0; i < 3 && r.is(end, CharClass::number); ++i) end = r.after(end);
        return end;
    }
    const size_t symbols = r.text[at] == ' ' ? at + 1 : at;
    if (r.is(symbols, CharClass::other)) {
        size_t end = r.run(symbols, CharClass::other);
        while (r.newline(end)) ++end;
        return end;
    }
    size_t after_newline = 0;
    for (size_t end = at; r.is(end, CharClass::space); end = r.after(end)) {
        if (r.newline(end)) after_newline = end + 1;
    }
    return after_newline ? after_newline : white_space(r, at);
}

}  // namespace

size_t split_end(Split split, std::string_view text, size_t at) {
    const Reader r{text};
    const bool number = r.is(at, CharClass::number);
    size_t end = r.after(at);
    switch (split) {
        case Split::gpt2:
            return gpt2(r, at);
        case Split::llama3:
            return llama3(r, at);
        case Split::digits:
            if (number) return end;
            break;
        case Split::numbers:
            if (number) return r.run(at, CharClass::number);
            break;
        case Split::metaspace:
            end = text.find(metaspace, end);
            return end == text.npos ? text.size() : end;
    }
    while (r.more(end) && !r.is(end, CharClass::number)) end = r.after(end);
    return end;
}

}  // namespace alia
