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

// What stands at a JSON pointer of one of the library's objects.
double number_at(const std::string& object, std::string_view pointer);
bool bool_at(const std::string& object, std::string_view pointer);
std::string string_at(const std::string& object, std::string_view pointer);
// Its list of objects `list`: in each, the string `key` and the number "bytes".
std::vector<std::pair<std::string, int64_t>> bytes_at(const std::string& object, std::string_view list,
                                                      std::string_view key);

// Its list of strings `list`.
std::vector<std::string> strings_at(const std::string& object, std::string_view list);

// The library's JSON objects, laid out for people; members of the names in `hidden` are left out.
std::string table(const std::string& object, const std::vector<std::string_view>& hidden = {});

}  // namespace cli
