// Added tokens as a trie.
#include "engine/added_tokens.h"

#include "engine/characters.h"
#include "engine/utf8.h"

namespace alia {

void AddedTokens::add(AddedToken token) {
    int32_t node = -1;
    for (const char byte : token.content) {
        const bool root = node < 0;
        int32_t next = root ? roots[uint8_t(byte)] : step(node, byte);
        if (next < 0) {
            next = int32_t(nodes.size());
            nodes.push_back({-1, root ? -1 : nodes[size_t(node)].child, -1, byte});
            (root ? roots[uint8_t(byte)] : nodes[size_t(node)].child) = next;
        }
        node = next;
    }
    if (nodes[size_t(node)].token >= 0) return;
    nodes[size_t(node)].token = int32_t(tokens.size());
    tokens.push_back(std::move(token));
}

bool word_before(std::string_view text, size_t end) {
    const Utf8Char c = end > 0 ? utf8_before(text, end) : Utf8Char{};
    return c.valid() && is_word(c.code);
}

bool word_after(std::string_view text, size_t begin) {
    const Utf8Char c = begin < text.size() ? utf8_at(text, begin) : Utf8Char{};
    return c.valid() && is_word(c.code);
}

size_t space_before(std::string_view text, size_t end) {
    while (end > 0) {
        const Utf8Char c = utf8_before(text, end);
        if (!c.valid() || char_class(c.code) != CharClass::space) break;
        end -= c.length;
    }
    return end;
}

size_t space_after(std::string_view text, size_t begin) {
    while (begin < text.size()) {
        const Utf8Char c = utf8_at(text, begin);
        if (!c.valid() || char_class(c.code) != CharClass::space) break;
        begin += c.length;
    }
    return begin;
}

}  // namespace alia
