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

// Without control characters, which must not reach a terminal; cut behind so many characters.
std::string visible(std::string_view text, size_t most = SIZE_MAX);

// One line of JSON Lines: the string `text`, or the ids in `ids`. Throws Failure, naming the line.
std::string text_of(const std::string& line, int64_t number);
std::vector<int32_t> ids_of(const std::string& line, int64_t number);

// A message of a conversation.
struct Message {
    std::string role, content;
};
std::string json_of(const Message&);
std::string json_of(const std::vector<Message>&);  // a list
// Of a file with an object whose "messages" is such a list; `path` names it in errors.
std::vector<Message> messages_of(const std::string& file, const std::string& path);

// A line of a batch's results; `where` names it in errors.
struct ResultLine {
    int64_t line;
    std::string input, options, model;
    bool failed;  // it has an "error"
};
ResultLine result_of(const std::string& text, const std::string& where);

// What stands at a JSON pointer of one of the library's objects.
double number_at(const std::string& object, std::string_view pointer);
bool bool_at(const std::string& object, std::string_view pointer);
std::string string_at(const std::string& object, std::string_view pointer);
std::string optional_string_at(const std::string& object, std::string_view pointer);  // "": null, or not there

// The devices of alia_devices.
struct Device {
    std::string name, title, reason;
    bool usable = false;
    double memory = 0;  // bytes
};
std::vector<Device> devices_at(const std::string& object);

// Its list of objects `list`: in each, the string `key` and the number "bytes".
std::vector<std::pair<std::string, int64_t>> bytes_at(const std::string& object, std::string_view list,
                                                      std::string_view key);

// Its list of strings `list`.
std::vector<std::string> strings_at(const std::string& object, std::string_view list);

// The library's JSON objects, laid out for people; members of the names in `hidden` are left out.
std::string table(const std::string& object, const std::vector<std::string_view>& hidden = {});

}  // namespace cli
