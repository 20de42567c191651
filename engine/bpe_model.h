// A vocabulary with merges: a word to the tokens that it becomes.
#pragma once
#include <array>
#include <string_view>
#include <vector>

#include "engine/bpe.h"
#include "engine/vocabulary.h"

namespace alia {

struct BpeModel {
    MergeTable merges;
    Cuts cuts;
    std::vector<int32_t> symbols;    // code point below 0x10000 -> the token of that character, or -1
    std::array<int32_t, 256> bytes;  // byte level: each byte's token; else its byte-fallback token; -1: none
    bool byte_level = false;         // words are bytes, not characters
    bool every_byte = false;         // all of `bytes` exist
    bool ignore_merges = false;      // a word that is a token is that token
    bool fuse_unknown = false;       // unknown characters in a row are one unknown token
    int32_t unknown = -1;            // without one, what is unknown is left out

    BpeModel() { bytes.fill(-1); }

    // What one call of encode() works with.
    struct Work {
        struct Seen {  // a word of this call and where its tokens stand in `out`
            uint32_t at = 0;
            uint16_t count = 0;
            uint16_t length = 0;
            char text[24];
        };
        Work(std::vector<int32_t>& out, size_t text_size);

        std::vector<int32_t>& out;
        std::vector<int32_t> word;
        std::vector<Seen> seen;
        MergeTable::Scratch scratch;
    };

    void encode(std::string_view word, const Vocabulary&, Work&) const;

    // Fills `symbols` from the vocabulary's tokens of one character; special tokens are no symbols.
    void collect_symbols(const Vocabulary&);
    // After `symbols` and `bytes`: allows cuts before every character that is a token.
    void build_cuts(std::vector<Cuts::Crossing> crossings);

  private:
    void encode_part(std::string_view part, const Vocabulary&, Work&) const;
    void append_symbols(std::string_view part, const Vocabulary&, Work&) const;
    int32_t symbol(char32_t code, std::string_view text, const Vocabulary&) const;
};

// The characters that byte-level vocabularies write bytes with: printable ones stand for themselves, others are 256 and
// up.
char32_t byte_to_char(uint8_t byte);
// The bytes that a byte-level token stands for; the name itself where a character stands for no byte.
std::string byte_level_bytes(std::string_view name);
std::string byte_level_name(std::string_view bytes);

}  // namespace alia
