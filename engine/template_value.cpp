// Values: their memory, truth and equality.
#include "engine/template_value.h"

#include <algorithm>

#include "engine/utf8.h"

namespace alia::jinja {

void Text::append(std::string_view text, bool from_input) {
    if (text.empty()) return;
    const size_t begin = bytes.size();
    bytes += text;
    if (!from_input) return;
    if (!input.empty() && input.back().end == begin)
        input.back().end = bytes.size();
    else
        input.push_back({begin, bytes.size()});
}

void Text::append(const Text& text, size_t begin, size_t end) {
    end = std::min(end, text.bytes.size());
    if (begin >= end) return;
    auto range = std::upper_bound(text.input.begin(), text.input.end(), begin,
                                  [](size_t at, const TextRange& r) { return at < r.end; });
    const std::string_view all = text.bytes;
    for (; range != text.input.end() && range->begin < end; ++range) {
        const size_t first = std::max(begin, range->begin), last = std::min(end, range->end);
        append(all.substr(begin, first - begin), false);
        append(all.substr(first, last - first), true);
        begin = last;
    }
    append(all.substr(begin, end - begin), false);
}

bool Text::from_input(size_t at) const { return overlaps(input, at, at + 1); }

const Value* Dict::find(std::string_view key) const {
    for (const auto& [name, value] : items)
        if (name.is(Value::Kind::text) && name.string() == key) return &value;
    return nullptr;
}

void Heap::spend(uint64_t count) {
    if (count > steps) fail(Status::limit, Place{{}, "chat_template"}, "rendering takes too many steps");
    steps -= count;
}

void Heap::charge(uint64_t count) {
    if (count > bytes) fail(Status::limit, Place{{}, "chat_template"}, "rendering takes too much memory");
    bytes -= count;
    spend(count / 64);
}

Value Heap::text(Text value) {
    charge(sizeof value + value.bytes.size() + value.input.size() * sizeof(TextRange));
    Value v;
    v.kind = Value::Kind::text;
    v.text = &texts.emplace_back(std::move(value));
    return v;
}

Value Heap::text(std::string_view value, bool from_input) {
    Text t;
    t.append(value, from_input);
    return text(std::move(t));
}

Value Heap::list(std::vector<Value> items, Value::Kind kind) {
    charge(sizeof(List) + items.size() * sizeof(Value));
    Value v;
    v.kind = kind;
    v.list = &lists.emplace_back(List{std::move(items)});
    return v;
}

Value Heap::dict(Dict dict) {
    charge(sizeof dict + dict.items.size() * 2 * sizeof(Value));
    Value v;
    v.kind = Value::Kind::dict;
    v.dict = &dicts.emplace_back(std::move(dict));
    return v;
}

Value Heap::space(Dict values) {
    charge(sizeof values + values.items.size() * 2 * sizeof(Value));
    Value v;
    v.kind = Value::Kind::space;
    v.space = &spaces.emplace_back(Namespace{std::move(values)});
    return v;
}

Value Heap::loop(const List& items) {
    charge(sizeof(Loop));
    Value v;
    v.kind = Value::Kind::loop;
    v.loop = &loops.emplace_back();
    v.loop->items = &items;
    return v;
}

Value Heap::callable(std::string name, std::function<Value(Renderer&, Arguments&)> call) {
    charge(sizeof(Callable) + 64);
    Value v;
    v.kind = Value::Kind::callable;
    v.callable = &callables.emplace_back(Callable{std::move(name), std::move(call)});
    return v;
}

Value Heap::value(const Json& json) {
    switch (json.kind) {
        case Json::Kind::null:
            return none();
        case Json::Kind::boolean:
            return boolean(json.boolean, true);
        case Json::Kind::integer:
            return integer(json.integer, true);
        case Json::Kind::real:
            return real(json.real, true);
        case Json::Kind::string:
            return text(json.string(), true);
        case Json::Kind::array: {
            std::vector<Value> items;
            for (const Json& item : json.items()) items.push_back(value(item));
            return list(std::move(items));
        }
        case Json::Kind::object:
            break;
    }
    Dict made;
    for (const Json& item : json.items()) made.items.emplace_back(text(item.key, true), value(item));
    return dict(std::move(made));
}

const char* type_name(const Value& v) {
    switch (v.kind) {
        case Value::Kind::undefined:
            return "Undefined";
        case Value::Kind::none:
            return "NoneType";
        case Value::Kind::boolean:
            return "bool";
        case Value::Kind::integer:
            return "int";
        case Value::Kind::real:
            return "float";
        case Value::Kind::text:
            return "str";
        case Value::Kind::list:
            return "list";
        case Value::Kind::tuple:
            return "tuple";
        case Value::Kind::dict:
            return "dict";
        case Value::Kind::space:
            return "Namespace";
        case Value::Kind::loop:
            return "LoopContext";
        case Value::Kind::callable:
            break;
    }
    return "function";
}

bool truth(const Value& v) {
    switch (v.kind) {
        case Value::Kind::undefined:
        case Value::Kind::none:
            return false;
        case Value::Kind::boolean:
            return v.boolean;
        case Value::Kind::integer:
            return v.integer != 0;
        case Value::Kind::real:
            return v.real != 0;
        case Value::Kind::text:
            return !v.text->bytes.empty();
        case Value::Kind::list:
        case Value::Kind::tuple:
            return !v.list->items.empty();
        case Value::Kind::dict:
            return !v.dict->items.empty();
        default:
            return true;
    }
}

namespace {

bool equal_to(Heap& heap, const Value& a, const Value& b, int depth) {
    heap.spend(1);
    if (depth > 100) fail(Status::limit, Place{{}, "chat_template"}, "compares values that are nested too deeply");
    if (a.number() && b.number())
        return a.whole() && b.whole() ? a.as_integer() == b.as_integer() : a.as_real() == b.as_real();
    if (a.kind != b.kind) return false;
    switch (a.kind) {
        case Value::Kind::text:
            heap.spend(a.text->bytes.size() / 64);
            return a.text->bytes == b.text->bytes;
        case Value::Kind::list:
        case Value::Kind::tuple:
            return std::equal(a.list->items.begin(), a.list->items.end(), b.list->items.begin(), b.list->items.end(),
                              [&](const Value& x, const Value& y) { return equal_to(heap, x, y, depth + 1); });
        case Value::Kind::dict: {
            if (a.dict->items.size() != b.dict->items.size()) return false;
            for (const auto& [key, value] : a.dict->items) {
                bool found = false;
                for (const auto& [other, theirs] : b.dict->items) {
                    if (!equal_to(heap, key, other, depth + 1)) continue;
                    found = equal_to(heap, value, theirs, depth + 1);
                    break;
                }
                if (!found) return false;
            }
            return true;
        }
        case Value::Kind::space:
            return a.space == b.space;
        case Value::Kind::loop:
            return a.loop == b.loop;
        case Value::Kind::callable:
            return a.callable == b.callable;
        default:
            return true;
    }
}

}  // namespace

bool equal(Heap& heap, const Value& a, const Value& b) { return equal_to(heap, a, b, 0); }

size_t character_length(std::string_view text, size_t at) {
    const Utf8Char c = utf8_at(text, at);
    return c.valid() ? c.length : 1;
}

size_t count_characters(std::string_view text) {
    size_t count = 0;
    for (size_t at = 0; at < text.size(); at += character_length(text, at)) ++count;
    return count;
}

std::vector<size_t> character_starts(std::string_view text) {
    std::vector<size_t> starts;
    starts.reserve(text.size() + 1);
    for (size_t at = 0; at < text.size(); at += character_length(text, at)) starts.push_back(at);
    starts.push_back(text.size());
    return starts;
}

bool is_space(std::string_view text, size_t at, size_t length) {
    const uint8_t first = uint8_t(text[at]);
    if (length == 1) return (first >= 9 && first <= 13) || (first >= 28 && first <= 32);
    const char32_t c = utf8_at(text, at).code;
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace alia::jinja
