// What filters and methods do with texts, byte by byte knowing where they come from.
#include <algorithm>
#include <cstring>
#include <utf8proc.h>

#include "engine/template_render.h"
#include "engine/utf8.h"

namespace alia::jinja {
namespace {

char32_t cased(char32_t code, Case c) {
    const auto u = utf8proc_int32_t(code);
    return char32_t(c == Case::lower ? utf8proc_tolower(u) : utf8proc_toupper(u));
}

// Appends the character at [at, at + length) in that case.
void append_cased(const Text& text, size_t at, size_t length, Case c, Text& out) {
    const Utf8Char u = utf8_at(text.bytes, at);
    if (!u.valid()) return out.append(text, at, at + length);
    if (u.code == 0xDF && c == Case::upper) return out.append("SS", text.from_input(at));
    std::string changed;
    append_utf8(changed, cased(u.code, c));
    out.append(changed, text.from_input(at));
}

}  // namespace

size_t find_first(Heap& heap, std::string_view text, std::string_view wanted, size_t at) {
    if (at > text.size()) return text.npos;
    const std::string_view rest = text.substr(at);
    heap.spend(wanted.size() / 64);
    // std::string's search would take the product of the lengths.
    const void* found = memmem(rest.data(), rest.size(), wanted.data(), wanted.size());
    const size_t read = found ? size_t(static_cast<const char*>(found) - rest.data()) : rest.size();
    heap.spend(read / 64);
    return found ? at + read : text.npos;
}

size_t find_last(Heap& heap, std::string_view text, std::string_view wanted, size_t end) {
    end = std::min(end, text.size());
    if (end < wanted.size()) return text.npos;
    heap.spend(wanted.size() < 64 ? 0 : end * (wanted.size() / 64));  // at worst all of it is compared everywhere
    const size_t found = text.rfind(wanted, end - wanted.size());
    heap.spend((end - (found == text.npos ? 0 : found)) / 64);
    return found;
}

Text cased(const Text& text, Case c) {
    Text out;
    for (size_t at = 0; at < text.bytes.size();) {
        const size_t length = character_length(text.bytes, at);
        append_cased(text, at, length, c, out);
        at += length;
    }
    return out;
}

Text capitalized(const Text& text) {
    Text out;
    for (size_t at = 0; at < text.bytes.size();) {
        const size_t length = character_length(text.bytes, at);
        append_cased(text, at, length, at == 0 ? Case::upper : Case::lower, out);
        at += length;
    }
    return out;
}

// Of white space, or of the characters of a text.
Text stripped(Heap& heap, const Text& text, const Value* characters, bool left, bool right) {
    const std::string_view bytes = text.bytes;
    auto cut = [&](size_t at, size_t length) {
        if (!characters || !characters->is(Value::Kind::text)) return is_space(bytes, at, length);
        heap.spend(1 + characters->string().size() / 64);
        return characters->string().find(bytes.substr(at, length)) != std::string_view::npos;
    };
    size_t begin = 0, end = bytes.size();
    while (left && begin < end) {
        const size_t length = character_length(bytes, begin);
        if (!cut(begin, length)) break;
        begin += length;
    }
    while (right && end > begin) {
        const Utf8Char last = utf8_before(bytes, end);
        const size_t length = last.valid() ? last.length : 1;
        if (!cut(end - length, length)) break;
        end -= length;
    }
    Text out;
    out.append(text, begin, end);
    return out;
}

// At most `most` times, without end where that is negative.
Text replaced(Heap& heap, const Text& text, const Text& from, const Text& to, int64_t most) {
    Text out;
    size_t at = 0;
    for (int64_t count = 0; most < 0 || count < most; ++count) {
        // An empty text stands before each character and at the end.
        size_t found = from.bytes.empty() ? at : find_first(heap, text.bytes, from.bytes, at);
        if (from.bytes.empty() && count > 0)
            found = at == text.bytes.size() ? std::string::npos : at + character_length(text.bytes, at);
        if (found == std::string::npos) break;
        heap.charge(to.bytes.size() + 1);
        out.append(text, at, found);
        out.append(to);
        at = found + from.bytes.size();
    }
    out.append(text, at);
    return out;
}

std::vector<Text> lines_of(const Text& text, bool keep_ends) {
    std::vector<Text> lines;
    const std::string_view bytes = text.bytes;
    size_t begin = 0;
    for (size_t at = 0; at < bytes.size();) {
        size_t length = character_length(bytes, at);
        const char32_t c = length == 1 ? char32_t(uint8_t(bytes[at])) : utf8_at(bytes, at).code;
        const bool ends =
            (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || (length > 1 && c == 0x85) || c == 0x2028 || c == 0x2029;
        if (c == '\r' && at + 1 < bytes.size() && bytes[at + 1] == '\n') length = 2;
        if (ends) {
            lines.emplace_back().append(text, begin, keep_ends ? at + length : at);
            begin = at + length;
        }
        at += length;
    }
    if (begin < bytes.size()) lines.emplace_back().append(text, begin);
    return lines;
}

}  // namespace alia::jinja
