// The command line's own words in the user's language. What the library and CLI11 say stays English.
#pragma once
#include <CLI/CLI.hpp>
#include <string_view>

namespace cli {

// "es" or "en"; empty: as LC_ALL, LC_MESSAGES or LANG say, which is English unless Spanish.
void choose_language(std::string_view asked);
// The text in that language; itself where there is no other. Formats keep their order of values.
[[gnu::format_arg(1)]] const char* tr(const char* english);
// Descriptions, headings and footers of all commands.
void translate(CLI::App&);

// English to Spanish. Of a footer the key is what stands before its examples.
std::string_view spanish(std::string_view english);  // "": not there

}  // namespace cli
