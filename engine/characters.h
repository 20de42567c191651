// What kind of character: the classes that patterns of tokenizer files speak of (Unicode 15, by utf8proc).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace alia {

enum class CharClass : uint8_t { other, letter, number, space };  // \p{L}, \p{N}, \s of regular expressions

CharClass char_class(char32_t code);
bool is_word(char32_t code);  // \w

// Canonical composition. Stretches that are not UTF-8 stay as they are.
std::string nfc(std::string_view text);

}  // namespace alia
