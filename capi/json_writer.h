// Writing JSON.
#pragma once
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "engine/utf8.h"

namespace alia::capi {

// Writes value after value; whoever calls keeps brackets in pairs.
class JsonWriter {
  public:
    std::string out;

    JsonWriter& key(std::string_view name) {
        text(name);
        out += ": ";
        return *this;
    }
    void open(char bracket) { comma(), out += bracket; }
    void close(char bracket) { out += bracket; }
    void null() { comma(), out += "null"; }
    void boolean(bool value) { comma(), out += value ? "true" : "false"; }
    void integer(int64_t value) { comma(), out += std::to_string(value); }
    void real(double value) {
        if (!std::isfinite(value)) return null();
        comma();
        char buffer[40];
        out.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
    }
    // Bytes that are no UTF-8 become U+FFFD.
    void text(std::string_view value) {
        comma();
        out += '"';
        for (size_t at = 0; at < value.size();) {
            Utf8Char c = utf8_at(value, at);
            append(c.valid() ? value.substr(at, c.length) : replacement_character);
            at += c.length;
        }
        out += '"';
    }

  private:
    void comma() {
        if (!out.empty() && out.back() != '[' && out.back() != '{' && out.back() != ' ') out += ", ";
    }
    void append(std::string_view character) {
        uint8_t first = uint8_t(character[0]);
        if (first == '"' || first == '\\') out += '\\';
        if (first >= 32) {
            out += character;
        } else {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", unsigned(first));
            out += escape;
        }
    }
};

}  // namespace alia::capi
