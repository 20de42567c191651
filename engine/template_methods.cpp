// Methods of Python's str, list and dict that templates call. Those that would change a value are not there: Hugging
// Face's sandbox refuses them too.
#include <algorithm>

#include "engine/template_render.h"
#include "engine/utf8.h"

namespace alia::jinja {
namespace {

using Kind = Value::Kind;

const Text& text_argument(Renderer& r, const Arguments& given, size_t i, std::string_view name) {
    const Value* v = find_argument(given, i, name);
    if (!v) r.fail("the argument '%s' is missing", name.data());
    if (v->undefined()) r.fail_undefined(*v);
    if (!v->is(Kind::text)) r.fail("must be str, not %s", type_name(*v));
    return *v->text;
}

int64_t integer_argument(Renderer& r, const Arguments& given, size_t i, std::string_view name, int64_t otherwise) {
    const Value* v = find_argument(given, i, name);
    if (!v) return otherwise;
    if (!v->whole()) r.fail("'%s' object cannot be interpreted as an integer", type_name(*v));
    return v->as_integer();
}

Value piece(Renderer& r, const Text& text, size_t begin, size_t end = std::string::npos) {
    Text part;
    part.append(text, begin, end);
    return r.heap.text(std::move(part));
}

// Python's start and end of what is searched.
void refuse_range(Renderer& r, const Arguments& given, const char* method) {
    if (given.values.size() > 1 || !given.named.empty())
        r.fail(Status::unsupported, "'%s' with a start or an end is not supported", method);
}

// str.strip, lstrip and rstrip.
template <bool left, bool right>
Value strip(Renderer& r, const Value& self, Arguments& given) {
    return r.heap.text(stripped(r.heap, *self.text, find_argument(given, 0, "chars"), left, right));
}

// Words between white space.
std::vector<Value> split_words(Renderer& r, const Text& text, int64_t most, bool from_right) {
    struct Range {
        size_t begin, end;
    };
    std::vector<Range> words;
    const std::string_view bytes = text.bytes;
    bool inside = false;
    for (size_t at = 0; at < bytes.size();) {
        const size_t length = character_length(bytes, at);
        const bool space = is_space(bytes, at, length);
        if (!space && !inside) words.push_back({at, at});
        if (!space) words.back().end = at + length;
        inside = !space;
        at += length;
    }
    if (most >= 0 && words.size() > size_t(most)) {
        // The rest stays as it is: behind the last word that was split off, or before the first one.
        if (from_right) {
            words[words.size() - size_t(most) - 1].begin = 0;
            words.erase(words.begin(), words.end() - most - 1);
        } else {
            words.resize(size_t(most) + 1);
            words.back().end = bytes.size();
        }
    }
    std::vector<Value> parts;
    for (const Range& word : words) parts.push_back(piece(r, text, word.begin, word.end));
    return parts;
}

template <bool from_right>
Value split(Renderer& r, const Value& self, Arguments& given) {
    const Text& text = *self.text;
    const Value* separator = find_argument(given, 0, "sep");
    const int64_t most = integer_argument(r, given, 1, "maxsplit", -1);
    if (!separator || separator->is(Kind::none)) return r.heap.list(split_words(r, text, most, from_right));
    const std::string& sep = text_argument(r, given, 0, "sep").bytes;
    if (sep.empty()) r.fail("empty separator");
    std::vector<Value> parts;
    if (from_right) {
        size_t end = text.bytes.size();
        while (most < 0 || parts.size() < size_t(most)) {
            const size_t found = find_last(r.heap, text.bytes, sep, end);
            if (found == std::string::npos) break;
            parts.push_back(piece(r, text, found + sep.size(), end));
            end = found;
        }
        parts.push_back(piece(r, text, 0, end));
        std::reverse(parts.begin(), parts.end());
        return r.heap.list(std::move(parts));
    }
    size_t at = 0;
    while (most < 0 || parts.size() < size_t(most)) {
        const size_t found = find_first(r.heap, text.bytes, sep, at);
        if (found == std::string::npos) break;
        parts.push_back(piece(r, text, at, found));
        at = found + sep.size();
    }
    parts.push_back(piece(r, text, at));
    return r.heap.list(std::move(parts));
}

Value splitlines(Renderer& r, const Value& self, Arguments& given) {
    const Value* keep = find_argument(given, 0, "keepends");
    std::vector<Value> lines;
    for (Text& line : lines_of(*self.text, keep && truth(*keep))) lines.push_back(r.heap.text(std::move(line)));
    return r.heap.list(std::move(lines));
}

template <bool from_right>
Value partition(Renderer& r, const Value& self, Arguments& given) {
    const Text &text = *self.text, &sep = text_argument(r, given, 0, "sep");
    if (sep.bytes.empty()) r.fail("empty separator");
    const size_t found =
        from_right ? find_last(r.heap, text.bytes, sep.bytes) : find_first(r.heap, text.bytes, sep.bytes);
    if (found == std::string::npos) {
        const Value empty = r.heap.text("");
        std::vector<Value> parts = {self, empty, empty};
        if (from_right) std::swap(parts[0], parts[2]);
        return r.heap.list(std::move(parts), Kind::tuple);
    }
    const size_t end = found + sep.bytes.size();
    return r.heap.list({piece(r, text, 0, found), piece(r, text, found, end), piece(r, text, end)}, Kind::tuple);
}

// str.startswith and endswith, of a text or a tuple of them.
template <bool start>
Value affix(Renderer& r, const Value& self, Arguments& given) {
    refuse_range(r, given, start ? "startswith" : "endswith");
    const Value* wanted = find_argument(given, 0, "prefix");
    const bool many = wanted && wanted->is(Kind::tuple);
    const std::vector<Value> all = many ? wanted->list->items : given.values;
    if (all.empty() && !many) r.fail("the argument is missing");
    for (const Value& v : all) {
        if (v.undefined()) r.fail_undefined(v);
        if (!v.is(Kind::text))
            r.fail("%s first arg must be str or a tuple of str, not %s", start ? "startswith" : "endswith",
                   type_name(v));
        if (start ? self.string().starts_with(v.string()) : self.string().ends_with(v.string())) return boolean(true);
        if (!many) break;
    }
    return boolean(false);
}

template <bool start>
Value remove_affix(Renderer& r, const Value& self, Arguments& given) {
    const std::string& affix = text_argument(r, given, 0, "prefix").bytes;
    const std::string_view all = self.string();
    if (start && all.starts_with(affix)) return piece(r, *self.text, affix.size());
    if (!start && all.ends_with(affix)) return piece(r, *self.text, 0, all.size() - affix.size());
    return self;
}

Value replace(Renderer& r, const Value& self, Arguments& given) {
    const Text &from = text_argument(r, given, 0, "old"), &to = text_argument(r, given, 1, "new");
    return r.heap.text(replaced(r.heap, *self.text, from, to, integer_argument(r, given, 2, "count", -1)));
}

template <bool from_right, bool must>
Value find(Renderer& r, const Value& self, Arguments& given) {
    refuse_range(r, given, from_right ? "rfind" : "find");
    const std::string& wanted = text_argument(r, given, 0, "sub").bytes;
    const size_t found =
        from_right ? find_last(r.heap, self.string(), wanted) : find_first(r.heap, self.string(), wanted);
    r.heap.spend(self.string().size() / 16);
    if (found != std::string::npos) return integer(int64_t(count_characters(self.string().substr(0, found))));
    if (must) r.fail("substring not found");
    return integer(-1);
}

Value count(Renderer& r, const Value& self, Arguments& given) {
    refuse_range(r, given, "count");
    const std::string& wanted = text_argument(r, given, 0, "sub").bytes;
    if (wanted.empty()) return integer(int64_t(count_characters(self.string())) + 1);
    int64_t n = 0;
    for (size_t at = find_first(r.heap, self.string(), wanted); at != std::string::npos;
         at = find_first(r.heap, self.string(), wanted, at + wanted.size()))
        ++n;
    return integer(n);
}

template <Case c>
Value change_case(Renderer& r, const Value& self, Arguments&) {
    return r.heap.text(cased(*self.text, c));
}
Value capitalize(Renderer& r, const Value& self, Arguments&) { return r.heap.text(capitalized(*self.text)); }

// Each run of letters begins with a capital.
Value title(Renderer& r, const Value& self, Arguments&) {
    const Text lower = cased(*self.text, Case::lower), upper = cased(*self.text, Case::upper);
    Text out;
    bool inside = false;
    if (lower.bytes.size() != upper.bytes.size()) return r.heap.text(capitalized(*self.text));
    for (size_t at = 0; at < lower.bytes.size();) {
        const size_t length = character_length(lower.bytes, at);
        const bool is_letter = lower.bytes.compare(at, length, upper.bytes, at, length) != 0;
        out.append(inside ? lower : upper, at, at + length);
        inside = is_letter;
        at += length;
    }
    return r.heap.text(std::move(out));
}

// str.isdigit and its like: every character, of at least one.
template <bool (*one)(std::string_view, size_t, size_t)>
Value every(Renderer&, const Value& self, Arguments&) {
    const std::string_view text = self.string();
    for (size_t at = 0; at < text.size();) {
        const size_t length = character_length(text, at);
        if (!one(text, at, length)) return boolean(false);
        at += length;
    }
    return boolean(!text.empty());
}
bool is_digit(std::string_view text, size_t at, size_t) { return text[at] >= '0' && text[at] <= '9'; }
bool is_letter(std::string_view text, size_t at, size_t length) {
    return length > 1 ? !is_space(text, at, length) : (text[at] | 32) >= 'a' && (text[at] | 32) <= 'z';
}
bool is_alphanumeric(std::string_view text, size_t at, size_t length) {
    return is_digit(text, at, length) || is_letter(text, at, length);
}

template <Case c>
Value is_case(Renderer& r, const Value& self, Arguments&) {
    r.heap.spend(self.string().size() / 8);  // copies
    const Text other = cased(*self.text, c == Case::lower ? Case::upper : Case::lower);
    return boolean(cased(*self.text, c).bytes == self.string() && other.bytes != self.string());
}

Value join(Renderer& r, const Value& self, Arguments& given) {
    const Value* list = find_argument(given, 0, "iterable");
    if (!list) r.fail("join() takes exactly one argument");
    Text out;
    size_t i = 0;
    for (const Value& v : r.items(*list)) {
        if (!v.is(Kind::text)) r.fail("sequence item %zu: expected str instance, %s found", i, type_name(v));
        if (i++) out.append(*self.text);
        out.append(*v.text);
        r.heap.charge(self.string().size() + v.string().size());
    }
    return r.heap.text(std::move(out));
}

// str.format with {}, {0} and {name}; what stands behind : or ! is not supported.
Value format(Renderer& r, const Value& self, Arguments& given) {
    const Text& text = *self.text;
    const std::string& all = text.bytes;
    Text out;
    size_t next = 0;
    for (size_t at = 0; at < all.size();) {
        const size_t found = std::min(all.find_first_of("{}", at), all.size());
        out.append(text, at, found);
        if (found == all.size()) break;
        if (found + 1 < all.size() && all[found + 1] == all[found]) {
            out.append(text, found, found + 1);
            at = found + 2;
            continue;
        }
        const size_t end = all.find('}', found);
        if (all[found] == '}' || end == std::string::npos) r.fail("a single brace in a format text");
        const std::string field = all.substr(found + 1, end - found - 1);
        if (field.find_first_of(":!.[{") != std::string::npos)
            r.fail(Status::unsupported, "the format field '%.60s' is not supported", field.c_str());
        const bool number = field.find_first_not_of("0123456789") == std::string::npos;
        const size_t position = !number            ? SIZE_MAX
                                : field.empty()    ? next++
                                : field.size() > 6 ? SIZE_MAX
                                                   : std::stoul(field);
        const Value* value = find_argument(given, position, field);
        if (!value) r.fail("no argument for the format field '%.60s'", field.c_str());
        out.append(r.printed(*value));
        at = end + 1;
    }
    return r.heap.text(std::move(out));
}

Value items(Renderer& r, const Value& self, Arguments&) {
    std::vector<Value> all;
    for (const auto& [key, value] : self.dict->items) all.push_back(r.heap.list({key, value}, Kind::tuple));
    return r.heap.list(std::move(all));
}
Value keys(Renderer& r, const Value& self, Arguments&) { return r.heap.list(r.items(self)); }
Value values(Renderer& r, const Value& self, Arguments&) {
    std::vector<Value> all;
    for (const auto& item : self.dict->items) all.push_back(item.second);
    return r.heap.list(std::move(all));
}
Value get(Renderer& r, const Value& self, Arguments& given) {
    const Value *key = find_argument(given, 0, "key"), *otherwise = find_argument(given, 1, "default");
    if (!key) r.fail("get expected at least 1 argument, got 0");
    for (const auto& [known, value] : self.dict->items)
        if (equal(r.heap, known, *key)) return value;
    return otherwise ? *otherwise : none();
}
Value copy(Renderer&, const Value& self, Arguments&) { return self; }

Value list_index(Renderer& r, const Value& self, Arguments& given) {
    if (given.values.empty()) r.fail("index expected at least 1 argument, got 0");
    const auto& all = self.list->items;
    for (size_t i = 0; i < all.size(); ++i)
        if (equal(r.heap, all[i], given.values[0])) return integer(int64_t(i));
    r.fail("the value is not in list");
}
Value list_count(Renderer& r, const Value& self, Arguments& given) {
    if (given.values.size() != 1) r.fail("count() takes exactly one argument");
    const auto& all = self.list->items;
    return integer(
        std::count_if(all.begin(), all.end(), [&](const Value& v) { return equal(r.heap, v, given.values[0]); }));
}
Value refused(Renderer& r, const Value& self, Arguments&) {
    r.fail("a method that changes a '%s' object is not safe", type_name(self));
}

struct Named {
    std::string_view name;
    Method method;
};
constexpr Named text_methods[] = {
    {"strip", strip<true, true>},
    {"lstrip", strip<true, false>},
    {"rstrip", strip<false, true>},
    {"split", split<false>},
    {"rsplit", split<true>},
    {"splitlines", splitlines},
    {"partition", partition<false>},
    {"rpartition", partition<true>},
    {"startswith", affix<true>},
    {"endswith", affix<false>},
    {"removeprefix", remove_affix<true>},
    {"removesuffix", remove_affix<false>},
    {"replace", replace},
    {"find", find<false, false>},
    {"rfind", find<true, false>},
    {"index", find<false, true>},
    {"rindex", find<true, true>},
    {"count", count},
    {"lower", change_case<Case::lower>},
    {"upper", change_case<Case::upper>},
    {"capitalize", capitalize},
    {"title", title},
    {"isdigit", every<is_digit>},
    {"isdecimal", every<is_digit>},
    {"isnumeric", every<is_digit>},
    {"isalpha", every<is_letter>},
    {"isalnum", every<is_alphanumeric>},
    {"isspace", every<is_space>},
    {"islower", is_case<Case::lower>},
    {"isupper", is_case<Case::upper>},
    {"join", join},
    {"format", format},
};
constexpr Named list_methods[] = {{"index", list_index}, {"count", list_count}, {"copy", copy},    {"append", refused},
                                  {"extend", refused},   {"insert", refused},   {"pop", refused},  {"remove", refused},
                                  {"reverse", refused},  {"sort", refused},     {"clear", refused}};
constexpr Named tuple_methods[] = {{"index", list_index}, {"count", list_count}};
constexpr Named dict_methods[] = {{"items", items},     {"keys", keys},    {"values", values},  {"get", get},
                                  {"copy", copy},       {"pop", refused},  {"update", refused}, {"setdefault", refused},
                                  {"popitem", refused}, {"clear", refused}};

}  // namespace

Method find_method(Value::Kind kind, std::string_view name) {
    const std::span<const Named> methods = kind == Kind::text    ? std::span<const Named>(text_methods)
                                           : kind == Kind::list  ? std::span<const Named>(list_methods)
                                           : kind == Kind::tuple ? std::span<const Named>(tuple_methods)
                                           : kind == Kind::dict  ? std::span<const Named>(dict_methods)
                                                                 : std::span<const Named>();
    for (const Named& m : methods)
        if (m.name == name) return m.method;
    return nullptr;
}

}  // namespace alia::jinja
