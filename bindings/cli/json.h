// Writing and reading the JSON of the command line.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

// A JSON string, quotes included. Bytes that are no UTF-8 become U+FFFD.
std::string json_string(std::string_view text);
std::string list(const std::vector<int32_t>& ids);  // "[1, 2]"

// One line of JSON Lines: the string `text`, or the ids in `ids`. Throws Failure, naming the line.
std::string text_of(const std::string& line, int64_t number);
std::vector<int32_t> ids_of(const std::string& line, int64_t number);

// The library's JSON objects, laid out for people.
std::string table(const std::string& object);

}  // namespace cli
