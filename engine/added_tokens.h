// Tokens that are found in a text as they are written, before anything else looks at it.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace alia {

struct AddedToken {
    std::string content;
    int32_t id = 0;
    bool special = false;      // found only where the caller parses special tokens
    bool single_word = false;  // not inside a word
    bool lstrip = false;       // takes the white space before it along
    bool rstrip = false;       // and after it
};

class AddedTokens {
  public:
    AddedTokens() { roots.fill(-1); }
    void add(AddedToken token);  // not empty; of equal contents the first holds
    bool empty() const { return tokens.empty(); }

    // Leftmost, then longest. admit(begin, end) says whether a special token may stand there. text(begin, end) is
    // called for what lies between tokens, token(id) for tokens, in order.
    template <class Admit, class Text, class Token>
    void split(std::string_view s, Admit&& admit, Text&& text, Token&& token) const;

  private:
    struct Node {
        int32_t child = -1, sibling = -1;
        int32_t token = -1;
        char byte = 0;
    };
    int32_t step(int32_t node, char byte) const {
        for (node = nodes[size_t(node)].child; node >= 0 && nodes[size_t(node)].byte != byte;) {
            node = nodes[size_t(node)].sibling;
        }
        return node;
    }

    std::vector<AddedToken> tokens;
    std::vector<Node> nodes;
    std::array<int32_t, 256> roots;  // by first byte
};

bool word_before(std::string_view text, size_t end);
bool word_after(std::string_view text, size_t begin);
size_t space_before(std::string_view text, size_t end);   // where the white space that ends there begins
size_t space_after(std::string_view text, size_t begin);  // where the white space that begins there ends

template <class Admit, class Text, class Token>
void AddedTokens::split(std::string_view s, Admit&& admit, Text&& text, Token&& token) const {
    size_t done = 0;
    for (size_t at = 0; at < s.size();) {
        int32_t node = roots[uint8_t(s[at])];
        const AddedToken* found = nullptr;
        for (size_t i = at; node >= 0;) {
            ++i;
            const int32_t t = nodes[size_t(node)].token;
            if (t >= 0 && (!tokens[size_t(t)].special || admit(at, i))) found = &tokens[size_t(t)];
            node = i < s.size() ? step(node, s[i]) : -1;
        }
        if (!found) {
            ++at;
            continue;
        }
        size_t begin = at, end = at + found->content.size();
        at = end;
        if (found->single_word && (word_before(s, begin) || word_after(s, end))) continue;
        if (found->lstrip) begin = std::max(done, space_before(s, begin));
        if (found->rstrip) end = space_after(s, end);
        if (done < begin) text(done, begin);
        token(found->id);
        done = end;
    }
    if (done < s.size()) text(done, s.size());
}

}  // namespace alia
