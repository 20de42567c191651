// Writing and reading the JSON of the command line.
#include "bindings/cli/json.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <simdjson.h>

#include "bindings/cli/client.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

namespace od = simdjson::ondemand;

// Bytes of the UTF-8 character that starts the text; 0 where none does.
size_t character(std::string_view text) {
    const auto byte = [&](size_t i) { return i < text.size() ? uint8_t(text[i]) : 0; };
    const uint8_t first = byte(0);
    if (first < 0x80) return 1;
    const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4) return 0;
    const uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (byte(1) < low || byte(1) > high) return 0;
    for (size_t i = 2; i < length; ++i)
        if ((byte(i) & 0xC0) != 0x80) return 0;
    return length;
}

// What `read` takes from an object that `where` names in errors.
template <class F>
auto read_object(const std::string& line, const std::string& where, F&& read) {
    try {
        od::parser parser;
        const simdjson::padded_string padded(line);
        od::document document = parser.iterate(padded);
        auto result = read(document);
        return result;
    } catch (const simdjson::simdjson_error& e) {
        throw Failure(where + ": " + e.what(), ALIA_MALFORMED);
    } catch (const Failure& e) {
        throw Failure(where + ": " + e.what(), e.status);
    }
}
template <class F>
auto read_line(const std::string& line, int64_t number, F&& read) {
    return read_object(line, "line " + std::to_string(number), read);
}

template <class F>
auto at_pointer(const std::string& object, std::string_view pointer, F&& read) {
    od::parser parser;
    const simdjson::padded_string padded(object);
    od::document document = parser.iterate(padded);
    return read(document.at_pointer(pointer).value());
}

bool is_bytes(std::string_view key) { return key == "total" || key == "available" || key.ends_with("bytes"); }

std::string scalar(od::value value, std::string_view key) {
    switch (value.type().value()) {
        case od::json_type::string:
            return visible(value.get_string().value());
        case od::json_type::number:
            if (is_bytes(key)) return human_bytes(value.get_double().value());
            break;
        default:
            break;
    }
    std::string_view text = value.raw_json_token();
    while (!text.empty() && std::string_view(" \t\r\n").find(text.back()) != text.npos) text.remove_suffix(1);
    return std::string(text);
}

std::string joined(od::object object) {
    std::string text;
    for (auto field : object) {
        const std::string key(field.unescaped_key().value());
        if (!text.empty()) text += ", ";
        const std::string value = scalar(field.value(), key);
        text += is_bytes(key) || key == "format" || key == "name" || key == "kind" ? value : key + " " + value;
    }
    return text;
}

void add_row(std::string& out, const std::string& key, const std::string& value) {
    if (value.empty()) return;
    char row[64];
    std::snprintf(row, sizeof row, "%-18s ", key.substr(0, 40).c_str());
    out += row + value + "\n";
}

void add_list(std::string& out, std::string key, od::array items) {
    std::string scalars;
    bool objects = false;
    for (od::value item : items) {
        if (item.type().value() == od::json_type::object) {
            add_row(out, key, joined(item.get_object()));
            key.clear();
            objects = true;
        } else {
            if (!scalars.empty()) scalars += ' ';
            scalars += scalar(item, "");
        }
    }
    if (!objects) add_row(out, key, scalars);
}

}  // namespace

std::string json_string(std::string_view text) {
    std::string out = "\"";
    for (size_t at = 0; at < text.size();) {
        const size_t length = character(text.substr(at));
        const uint8_t first = uint8_t(text[at]);
        if (length == 0) {
            out += "\xEF\xBF\xBD";
        } else if (first < 32 || first == 127) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", unsigned(first));
            out += first == '\n' ? "\\n" : first == '\t' ? "\\t" : first == '\r' ? "\\r" : escape;
        } else {
            if (first == '"' || first == '\\') out += '\\';
            out += text.substr(at, length);
        }
        at += std::max<size_t>(length, 1);
    }
    return out + "\"";
}

std::string visible(std::string_view text, size_t most) {
    std::string clean;
    for (size_t at = 0; at < text.size() && most > 0; --most) {
        const size_t length = character(text.substr(at));
        if (most == 1 && at + length < text.size()) return clean + "…";
        const uint8_t first = uint8_t(text[at]), second = length > 1 ? uint8_t(text[at + 1]) : 0;
        const bool control = first < 32 || first == 127 || (first == 0xC2 && second < 0xA0);
        clean += length == 0 || control ? "?" : text.substr(at, length);
        at += std::max<size_t>(length, 1);
    }
    return clean;
}

std::string list(const std::vector<int32_t>& ids) {
    std::string out = "[";
    for (int32_t id : ids) {
        if (out.size() > 1) out += ", ";
        out += std::to_string(id);
    }
    return out + "]";
}

std::string text_of(const std::string& line, int64_t number) {
    return read_line(line, number, [](od::document& d) { return std::string(d["text"].get_string().value()); });
}

std::vector<int32_t> ids_of(const std::string& line, int64_t number) {
    return read_line(line, number, [](od::document& d) {
        std::vector<int32_t> ids;
        for (od::value item : d["ids"].get_array()) {
            const int64_t id = item.get_int64();
            if (id < 0 || id > INT32_MAX) throw Failure(std::to_string(id) + " is not a token id");
            ids.push_back(int32_t(id));
        }
        return ids;
    });
}

std::string json_of(const Message& m) {
    return "{\"role\": " + json_string(m.role) + ", \"content\": " + json_string(m.content) + "}";
}

std::string json_of(const std::vector<Message>& messages) {
    std::string out = "[";
    for (const Message& m : messages) out += (out.size() > 1 ? ", " : "") + json_of(m);
    return out + "]";
}

std::vector<Message> messages_of(const std::string& file, const std::string& path) {
    return read_object(file, path, [](od::document& d) {
        std::vector<Message> messages;
        for (od::object item : d["messages"].get_array()) {
            Message m;
            m.role = std::string_view(item["role"].get_string());
            m.content = std::string_view(item["content"].get_string());
            messages.push_back(std::move(m));
        }
        return messages;
    });
}

ResultLine result_of(const std::string& text, const std::string& where) {
    return read_object(text, where, [](od::document& d) {
        ResultLine r;
        r.line = d["line"].get_int64();
        r.input = std::string_view(d["input"].get_string());
        r.options = std::string_view(d["options"].get_string());
        r.model = std::string_view(d["model"].get_string());
        r.failed = d["error"].error() == simdjson::SUCCESS;
        return r;
    });
}

double number_at(const std::string& object, std::string_view pointer) {
    return at_pointer(object, pointer, [](od::value v) { return v.get_double().value(); });
}

bool bool_at(const std::string& object, std::string_view pointer) {
    return at_pointer(object, pointer, [](od::value v) { return v.get_bool().value(); });
}

std::string string_at(const std::string& object, std::string_view pointer) {
    return at_pointer(object, pointer, [](od::value v) { return std::string(v.get_string().value()); });
}

std::string optional_string_at(const std::string& object, std::string_view pointer) {
    od::parser parser;
    const simdjson::padded_string padded(object);
    od::document document = parser.iterate(padded);
    std::string_view text;
    return document.at_pointer(pointer).get_string().get(text) ? std::string() : std::string(text);
}

std::vector<Device> devices_at(const std::string& object) {
    return at_pointer(object, "/devices", [](od::value v) {
        std::vector<Device> devices;
        for (od::object item : v.get_array()) {
            Device d;
            for (auto field : item) {
                const std::string_view key = field.unescaped_key();
                if (key == "name") d.name = std::string_view(field.value().get_string());
                if (key == "title") d.title = std::string_view(field.value().get_string());
                if (key == "reason") d.reason = std::string_view(field.value().get_string());
                if (key == "usable") d.usable = field.value().get_bool();
                if (key == "memory_bytes") d.memory = field.value().get_double();
            }
            devices.push_back(std::move(d));
        }
        return devices;
    });
}

std::vector<std::pair<std::string, int64_t>> bytes_at(const std::string& object, std::string_view list,
                                                      std::string_view key) {
    return at_pointer(object, "/" + std::string(list), [&](od::value v) {
        std::vector<std::pair<std::string, int64_t>> found;
        for (od::object item : v.get_array()) {
            std::string name(item[key].get_string().value());
            found.emplace_back(std::move(name), item["bytes"].get_int64().value());
        }
        return found;
    });
}

std::vector<std::string> strings_at(const std::string& object, std::string_view list) {
    od::parser parser;
    const simdjson::padded_string padded(object);
    od::document document = parser.iterate(padded);
    std::vector<std::string> strings;
    for (od::value item : document[list].get_array()) strings.push_back(visible(item.get_string().value()));
    return strings;
}

std::string table(const std::string& object, const std::vector<std::string_view>& hidden) {
    od::parser parser;
    const simdjson::padded_string padded(object);
    od::document document = parser.iterate(padded);
    std::string out;
    for (auto field : document.get_object()) {
        const std::string key(field.unescaped_key().value());
        if (std::find(hidden.begin(), hidden.end(), key) != hidden.end()) continue;
        od::value value = field.value();
        switch (value.type().value()) {
            case od::json_type::object:
                add_row(out, key, joined(value.get_object()));
                break;
            case od::json_type::array:
                add_list(out, key, value.get_array());
                break;
            default:
                add_row(out, key, scalar(value, key));
        }
    }
    return out;
}

}  // namespace cli
