// How values are written: Python's str, repr and json.dumps.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <utf8proc.h>

#include "engine/template_value.h"
#include "engine/utf8.h"

namespace alia::jinja {
namespace {

constexpr int max_depth = 100;

void check_depth(int depth) {
    if (depth > max_depth) fail(Status::limit, Place{{}, "chat_template"}, "prints values that are nested too deeply");
}

std::string escaped(const char* format, uint32_t code) {
    char buffer[16];
    return {buffer, size_t(std::snprintf(buffer, sizeof buffer, format, code))};
}

bool printable(char32_t code) {
    if (code < 0x7F) return code >= 0x20;
    switch (utf8proc_category(utf8proc_int32_t(code))) {
        case UTF8PROC_CATEGORY_CN:
        case UTF8PROC_CATEGORY_CC:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_CS:
        case UTF8PROC_CATEGORY_CO:
        case UTF8PROC_CATEGORY_ZL:
        case UTF8PROC_CATEGORY_ZP:
        case UTF8PROC_CATEGORY_ZS:
            return false;
        default:
            return true;
    }
}

std::string repr_escape(char32_t code, char quote) {
    if (code == '\n') return "\\n";
    if (code == '\r') return "\\r";
    if (code == '\t') return "\\t";
    if (code == char32_t(quote) || code == '\\') return {'\\', char(code)};
    return escaped(code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", uint32_t(code));
}

void repr_text(const Text& text, Text& out) {
    const std::string_view bytes = text.bytes;
    const bool doubled = bytes.find('\'') != bytes.npos && bytes.find('"') == bytes.npos;
    const char quote = doubled ? '"' : '\'';
    out.append({&quote, 1}, false);
    for (size_t at = 0, plain = 0; at <= bytes.size();) {
        const Utf8Char c = at < bytes.size() ? utf8_at(bytes, at) : Utf8Char{};
        const bool end = at == bytes.size();
        const bool escape = !end && (!c.valid() || c.code == char32_t(quote) || c.code == '\\' || !printable(c.code));
        if (end || escape) out.append(text, plain, at);
        if (end) break;
        const size_t length = c.valid() ? c.length : 1;
        if (escape) {
            // What is no UTF-8 would be a lone surrogate in Python.
            const char32_t code = c.valid() ? c.code : 0xDC00 + uint8_t(bytes[at]);
            out.append(repr_escape(code, quote), text.from_input(at));
            plain = at + length;
        }
        at += length;
    }
    out.append({&quote, 1}, false);
}

void repr_items(Heap& heap, const Value& v, Text& out, int depth) {
    const auto& items = v.list->items;
    out.append(v.is(Value::Kind::tuple) ? "(" : "[", false);
    for (size_t i = 0; i < items.size(); ++i) {
        if (i) out.append(", ", false);
        print_repr(heap, items[i], out, depth + 1);
    }
    out.append(!v.is(Value::Kind::tuple) ? "]" : items.size() == 1 ? ",)" : ")", false);
}

void repr_dict(Heap& heap, const Dict& dict, Text& out, int depth) {
    out.append("{", false);
    for (size_t i = 0; i < dict.items.size(); ++i) {
        if (i) out.append(", ", false);
        print_repr(heap, dict.items[i].first, out, depth + 1);
        out.append(": ", false);
        print_repr(heap, dict.items[i].second, out, depth + 1);
    }
    out.append("}", false);
}

// json.dumps escapes what JSON demands, and with `ascii` all beyond ASCII as UTF-16.
void json_text(const Text& text, bool ascii, Text& out) {
    const std::string_view bytes = text.bytes;
    out.append("\"", false);
    size_t plain = 0;
    auto escape = [&](size_t at, size_t length, std::string_view with) {
        out.append(text, plain, at);
        out.append(with, text.from_input(at));
        plain = at + length;
    };
    for (size_t at = 0; at < bytes.size();) {
        const uint8_t c = uint8_t(bytes[at]);
        size_t length = 1;
        if (c == '"' || c == '\\') {
            const char pair[] = {'\\', char(c)};
            escape(at, 1, {pair, 2});
        } else if (c < 32) {
            static constexpr std::string_view names = "\b\t\n\f\r", letters = "btnfr";
            const size_t found = names.find(char(c));
            escape(at, 1, found == names.npos ? escaped("\\u%04x", c) : std::string{'\\', letters[found]});
        } else if (ascii && c >= 0x7F + 1) {
            const Utf8Char u = utf8_at(bytes, at);
            length = u.valid() ? u.length : 1;
            const uint32_t code = u.code;
            escape(at, length,
                   code < 0x10000 ? escaped("\\u%04x", code)
                                  : escaped("\\u%04x", 0xD800 + ((code - 0x10000) >> 10)) +
                                        escaped("\\u%04x", 0xDC00 + ((code - 0x10000) & 0x3FF)));
        }
        at += length;
    }
    out.append(text, plain);
    out.append("\"", false);
}

void json_break(const JsonStyle& style, Text& out, int depth) {
    if (style.indent < 0) return;
    out.append("\n", false);
    out.append(std::string(size_t(style.indent) * size_t(depth), ' '), false);
}

std::string json_real(double r) {
    if (std::isnan(r)) return "NaN";
    if (std::isinf(r)) return r > 0 ? "Infinity" : "-Infinity";
    return real_text(r);
}

// Keys as json.dumps turns them into texts; undefined where it refuses.
Value json_key(Heap& heap, const Value& key) {
    switch (key.kind) {
        case Value::Kind::text:
            return key;
        case Value::Kind::none:
            return heap.text("null");
        case Value::Kind::boolean:
            return heap.text(key.boolean ? "true" : "false", key.input);
        case Value::Kind::integer:
            return heap.text(std::to_string(key.integer), key.input);
        case Value::Kind::real:
            return heap.text(json_real(key.real), key.input);
        default:
            return {};
    }
}

bool json_dict(Heap& heap, const Dict& dict, const JsonStyle& style, Text& out, const char*& wrong, int depth) {
    std::vector<std::pair<Value, Value>> items = dict.items;
    for (auto& item : items)
        if (item.first = json_key(heap, item.first); item.first.undefined()) return wrong = "key", false;
    if (style.sort)
        std::stable_sort(items.begin(), items.end(),
                         [](const auto& a, const auto& b) { return a.first.string() < b.first.string(); });
    out.append("{", false);
    for (size_t i = 0; i < items.size(); ++i) {
        if (i) out.append(style.item_separator);
        json_break(style, out, depth + 1);
        json_text(*items[i].first.text, style.ascii, out);
        out.append(style.key_separator);
        if (!print_json(heap, items[i].second, style, out, wrong, depth + 1)) return false;
    }
    if (!items.empty()) json_break(style, out, depth);
    out.append("}", false);
    return true;
}

bool json_list(Heap& heap, const List& list, const JsonStyle& style, Text& out, const char*& wrong, int depth) {
    out.append("[", false);
    for (size_t i = 0; i < list.items.size(); ++i) {
        if (i) out.append(style.item_separator);
        json_break(style, out, depth + 1);
        if (!print_json(heap, list.items[i], style, out, wrong, depth + 1)) return false;
    }
    if (!list.items.empty()) json_break(style, out, depth);
    out.append("]", false);
    return true;
}

}  // namespace

std::string real_text(double r) {
    if (std::isnan(r)) return "nan";
    if (std::isinf(r)) return r > 0 ? "inf" : "-inf";
    char buffer[40];
    const std::string_view shortest(
        buffer, size_t(std::to_chars(buffer, buffer + sizeof buffer, r, std::chars_format::scientific).ptr - buffer));
    const size_t e = shortest.find('e');
    const int exponent = std::atoi(std::string(shortest.substr(e + 1)).c_str());
    std::string digits, sign = shortest[0] == '-' ? "-" : "";
    for (const char c : shortest.substr(0, e))
        if (c >= '0' && c <= '9') digits += c;
    if (exponent < -4 || exponent >= 16) {
        if (digits.size() > 1) digits.insert(1, ".");
        char power[16];
        std::snprintf(power, sizeof power, "e%c%02d", exponent < 0 ? '-' : '+', std::abs(exponent));
        return sign + digits + power;
    }
    if (exponent < 0) return sign + "0." + std::string(size_t(-exponent) - 1, '0') + digits;
    const size_t whole = size_t(exponent) + 1;
    if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
    return sign + digits.insert(whole, ".");
}

void print(Heap& heap, const Value& v, Text& out) {
    if (v.is(Value::Kind::text))
        out.append(*v.text);
    else if (!v.undefined())
        print_repr(heap, v, out);
}

void print_repr(Heap& heap, const Value& v, Text& out, int depth) {
    check_depth(depth);
    heap.spend(1);
    switch (v.kind) {
        case Value::Kind::undefined:
            return out.append("Undefined", false);
        case Value::Kind::none:
            return out.append("None", false);
        case Value::Kind::boolean:
            return out.append(v.boolean ? "True" : "False", v.input);
        case Value::Kind::integer:
            return out.append(std::to_string(v.integer), v.input);
        case Value::Kind::real:
            return out.append(real_text(v.real), v.input);
        case Value::Kind::text:
            heap.spend(v.text->bytes.size() / 16);
            return repr_text(*v.text, out);
        case Value::Kind::list:
        case Value::Kind::tuple:
            return repr_items(heap, v, out, depth);
        case Value::Kind::dict:
            return repr_dict(heap, *v.dict, out, depth);
        case Value::Kind::space:
            out.append("<Namespace ", false);
            repr_dict(heap, v.space->values, out, depth);
            return out.append(">", false);
        case Value::Kind::loop:
            return out.append("<LoopContext>", false);
        case Value::Kind::callable:
            return out.append("<function " + v.callable->name + ">", false);
    }
}

bool print_json(Heap& heap, const Value& v, const JsonStyle& style, Text& out, const char*& wrong, int depth) {
    check_depth(depth);
    heap.spend(1);
    if (out.bytes.size() > heap.limits.output)
        fail(Status::limit, Place{{}, "chat_template"}, "tojson makes more than the output may have");
    switch (v.kind) {
        case Value::Kind::none:
            return out.append("null", false), true;
        case Value::Kind::boolean:
            return out.append(v.boolean ? "true" : "false", v.input), true;
        case Value::Kind::integer:
            return out.append(std::to_string(v.integer), v.input), true;
        case Value::Kind::real:
            return out.append(json_real(v.real), v.input), true;
        case Value::Kind::text:
            heap.spend(v.text->bytes.size() / 16);
            return json_text(*v.text, style.ascii, out), true;
        case Value::Kind::list:
        case Value::Kind::tuple:
            return json_list(heap, *v.list, style, out, wrong, depth);
        case Value::Kind::dict:
            return json_dict(heap, *v.dict, style, out, wrong, depth);
        default:
            return wrong = type_name(v), false;
    }
}

}  // namespace alia::jinja
