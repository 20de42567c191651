// What stands behind `|`.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/template_render.h"

namespace alia::jinja {
namespace {

using Kind = Value::Kind;
using Filter = Value (*)(Renderer&, const Value&, Arguments&);

bool flag(const Arguments& given, size_t i, std::string_view name, bool otherwise = false) {
    const Value* v = find_argument(given, i, name);
    return v ? truth(*v) : otherwise;
}
int64_t whole(Renderer& r, const Arguments& given, size_t i, std::string_view name, int64_t otherwise) {
    const Value* v = find_argument(given, i, name);
    if (!v || v->is(Kind::none)) return otherwise;
    if (!v->whole()) r.fail("'%s' object cannot be interpreted as an integer", type_name(*v));
    return v->as_integer();
}

// "a.b.0" goes down member by member.
Value member(Renderer& r, Value v, const Value& path) {
    if (path.whole()) return r.item(v, path);
    if (!path.is(Kind::text)) r.fail("an attribute's name must be str, not %s", type_name(path));
    for (std::string_view rest = path.string();;) {
        const size_t dot = std::min(rest.find('.'), rest.size());
        const std::string_view name = rest.substr(0, dot);
        int64_t index = 0;
        const auto number = std::from_chars(name.data(), name.data() + name.size(), index);
        const bool is_index = !name.empty() && number.ec == std::errc() && number.ptr == name.data() + name.size();
        v = r.item(v, is_index ? integer(index) : r.heap.text(name));
        if (dot == rest.size()) return v;
        rest.remove_prefix(dot + 1);
    }
}

// What to compare of an element: the member that `attribute` names, in lower case unless case counts.
Value sort_key(Renderer& r, const Value& v, const Value* attribute, bool with_case) {
    const Value key = attribute && !attribute->is(Kind::none) ? member(r, v, *attribute) : v;
    return key.is(Kind::text) && !with_case ? r.heap.text(cased(*key.text, Case::lower)) : key;
}

std::vector<std::pair<Value, Value>> keyed(Renderer& r, std::vector<Value> all, const Value* attribute,
                                           bool with_case) {
    std::vector<std::pair<Value, Value>> pairs;
    for (const Value& v : all) pairs.emplace_back(sort_key(r, v, attribute, with_case), v);
    return pairs;
}

void sort_pairs(Renderer& r, std::vector<std::pair<Value, Value>>& pairs, bool reverse) {
    std::stable_sort(pairs.begin(), pairs.end(), [&](const auto& a, const auto& b) {
        return reverse ? r.less(b.first, a.first, "<") : r.less(a.first, b.first, "<");
    });
}

Value sort(Renderer& r, const Value& v, Arguments& given) {
    auto pairs = keyed(r, r.items(v), find_argument(given, 2, "attribute"), flag(given, 1, "case_sensitive"));
    sort_pairs(r, pairs, flag(given, 0, "reverse"));
    std::vector<Value> sorted;
    for (const auto& pair : pairs) sorted.push_back(pair.second);
    return r.heap.list(std::move(sorted));
}

Value dictsort(Renderer& r, const Value& v, Arguments& given) {
    if (!v.is(Kind::dict)) r.fail("'%s' object has no attribute 'items'", type_name(v));
    const Value* by = find_argument(given, 1, "by");
    const Value which = integer(by && by->string() == "value");
    std::vector<Value> items;
    for (const auto& [key, value] : v.dict->items) items.push_back(r.heap.list({key, value}, Kind::tuple));
    auto pairs = keyed(r, std::move(items), &which, flag(given, 0, "case_sensitive"));
    sort_pairs(r, pairs, flag(given, 2, "reverse"));
    std::vector<Value> sorted;
    for (const auto& pair : pairs) sorted.push_back(pair.second);
    return r.heap.list(std::move(sorted));
}

Value unique(Renderer& r, const Value& v, Arguments& given) {
    std::vector<Value> seen, kept;
    for (const auto& pair :
         keyed(r, r.items(v), find_argument(given, 1, "attribute"), flag(given, 0, "case_sensitive"))) {
        const auto known = [&](const Value& s) { return equal(r.heap, s, pair.first); };
        if (std::any_of(seen.begin(), seen.end(), known)) continue;
        seen.push_back(pair.first);
        kept.push_back(pair.second);
    }
    return r.heap.list(std::move(kept));
}

template <bool greatest>
Value extreme(Renderer& r, const Value& v, Arguments& given) {
    const auto pairs = keyed(r, r.items(v), find_argument(given, 1, "attribute"), flag(given, 0, "case_sensitive"));
    if (pairs.empty()) return {};
    const auto* best = &pairs[0];
    for (const auto& pair : pairs)
        if (greatest ? r.less(best->first, pair.first, "<") : r.less(pair.first, best->first, "<")) best = &pair;
    return best->second;
}

Value sum(Renderer& r, const Value& v, Arguments& given) {
    const Value *attribute = find_argument(given, 0, "attribute"), *start = find_argument(given, 1, "start");
    Value total = start ? *start : integer(0);
    for (const Value& item : r.items(v))
        total = r.arithmetic('+', total, attribute && !attribute->is(Kind::none) ? member(r, item, *attribute) : item);
    return total;
}

// map: an attribute of each element, or a filter on each.
Value map(Renderer& r, const Value& v, Arguments& given) {
    if (!truth(v)) return r.heap.list({});
    std::vector<Value> mapped;
    const Value* attribute = find_argument(given, SIZE_MAX, "attribute");
    if (!attribute) {
        if (given.values.empty() || !given.values[0].is(Kind::text)) r.fail("map requires a filter argument");
        const std::string_view name = given.values[0].string();
        Arguments rest{{given.values.begin() + 1, given.values.end()}, given.named};
        for (const Value& item : r.items(v)) mapped.push_back(r.filter(name, item, rest));
        return r.heap.list(std::move(mapped));
    }
    const Value* otherwise = find_argument(given, SIZE_MAX, "default");
    for (const Value& item : r.items(v)) {
        const Value got = member(r, item, *attribute);
        mapped.push_back(got.undefined() && otherwise ? *otherwise : got);
    }
    return r.heap.list(std::move(mapped));
}

// select, reject, selectattr and rejectattr.
template <bool by_member, bool wanted>
Value choose(Renderer& r, const Value& v, Arguments& given) {
    if (!truth(v)) return r.heap.list({});  // even none
    if (by_member && given.values.empty()) r.fail("missing parameter for attribute name");
    const size_t at = by_member;
    const bool named = given.values.size() > at;
    if (named && !given.values[at].is(Kind::text)) r.fail("a test's name must be str");
    Arguments rest;
    if (named) rest = {{given.values.begin() + std::ptrdiff_t(at) + 1, given.values.end()}, given.named};
    std::vector<Value> kept;
    for (const Value& item : r.items(v)) {
        const Value looked = by_member ? member(r, item, given.values[0]) : item;
        if ((named ? r.test(given.values[at].string(), looked, rest) : truth(looked)) == wanted) kept.push_back(item);
    }
    return r.heap.list(std::move(kept));
}

Value join(Renderer& r, const Value& v, Arguments& given) {
    const Value *separator = find_argument(given, 0, "d"), *attribute = find_argument(given, 1, "attribute");
    const Text between = separator ? r.printed(*separator) : Text();
    Text out;
    bool first = true;
    for (const Value& item : r.items(v)) {
        if (!first) out.append(between);
        first = false;
        out.append(r.printed(attribute && !attribute->is(Kind::none) ? member(r, item, *attribute) : item));
        r.heap.charge(between.bytes.size() + 1);
    }
    return r.heap.text(std::move(out));
}

Value length(Renderer& r, const Value& v, Arguments&) {
    if (v.undefined()) return integer(0);
    r.heap.spend(v.string().size() / 16);
    if (v.is(Kind::text)) return integer(int64_t(count_characters(v.string())));
    if (v.sequence()) return integer(int64_t(v.list->items.size()));
    if (v.is(Kind::dict)) return integer(int64_t(v.dict->items.size()));
    r.fail("object of type '%s' has no len()", type_name(v));
}

template <bool last>
Value end(Renderer& r, const Value& v, Arguments&) {
    const std::vector<Value> all = r.items(v);
    if (all.empty()) return {};
    return last ? all.back() : all.front();
}

Value reverse(Renderer& r, const Value& v, Arguments&) {
    if (v.is(Kind::text)) return r.slice(v, none(), none(), integer(-1));
    std::vector<Value> all = r.items(v);
    std::reverse(all.begin(), all.end());
    return r.heap.list(std::move(all));
}

Value default_value(Renderer& r, const Value& v, Arguments& given) {
    const Value* otherwise = find_argument(given, 0, "default_value");
    const bool take = v.undefined() || (flag(given, 1, "boolean") && !truth(v));
    return !take ? v : otherwise ? *otherwise : r.heap.text("");
}

Value to_integer(Renderer& r, const Value& v, Arguments& given) {
    const Value* otherwise = find_argument(given, 0, "default");
    const int64_t base = whole(r, given, 1, "base", 10);
    if (v.whole()) return integer(v.as_integer(), v.input);
    const bool input = v.input || (v.is(Kind::text) && v.text->any_input());
    double number = v.is(Kind::real) ? v.real : NAN;
    if (v.is(Kind::text)) {
        std::string digits = stripped(r.heap, *v.text, nullptr, true, true).bytes;
        std::erase(digits, '_');
        const bool plus = digits.starts_with('+');
        const char *begin = digits.data() + plus, *stop = digits.data() + digits.size();
        int64_t result = 0;
        const auto read = std::from_chars(begin, stop, result, base >= 2 && base <= 36 ? int(base) : 10);
        if (read.ec == std::errc() && read.ptr == stop && begin != stop) return integer(result, input);
        const auto real_read = std::from_chars(begin, stop, number);
        if (real_read.ec != std::errc() || real_read.ptr != stop) number = NAN;
    }
    if (std::isfinite(number) && std::abs(number) < 9.2e18) return integer(int64_t(number), input);
    return otherwise ? *otherwise : integer(0);
}

Value to_real(Renderer& r, const Value& v, Arguments& given) {
    const Value* otherwise = find_argument(given, 0, "default");
    if (v.number()) return real(v.as_real(), v.input);
    if (v.is(Kind::text)) {
        const std::string digits = stripped(r.heap, *v.text, nullptr, true, true).bytes;
        double result = 0;
        const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), result);
        if (read.ec == std::errc() && read.ptr == digits.data() + digits.size() && !digits.empty())
            return real(result, v.text->any_input());
    }
    return otherwise ? *otherwise : real(0);
}

Value round_number(Renderer& r, const Value& v, Arguments& given) {
    if (!v.number()) r.fail("type %s doesn't define __round__ method", type_name(v));
    const int64_t places = std::clamp<int64_t>(whole(r, given, 0, "precision", 0), -300, 300);
    const Value* method = find_argument(given, 1, "method");
    const double x = v.as_real();
    if (method && method->string() != "common") {
        const double scale = std::pow(10.0, double(places));
        return real((method->string() == "ceil" ? std::ceil(x * scale) : std::floor(x * scale)) / scale, v.input);
    }
    if (v.whole() && places >= 0) return integer(v.as_integer(), v.input);
    if (places < 0) {
        const double scale = std::pow(10.0, double(-places));
        return real(std::nearbyint(x / scale) * scale, v.input);
    }
    char digits[700];  // rounds the exact value, halves to even, as Python does
    const int length = std::snprintf(digits, sizeof digits, "%.*f", int(places), x);
    double rounded = x;
    std::from_chars(digits, digits + std::min<size_t>(size_t(length), sizeof digits - 1), rounded);
    return real(rounded, v.input);
}

Value absolute(Renderer& r, const Value& v, Arguments&) {
    if (!v.number()) r.fail("bad operand type for abs(): '%s'", type_name(v));
    return v.as_real() < 0 ? r.arithmetic('-', integer(0), v) : v.is(Kind::boolean) ? integer(v.boolean, v.input) : v;
}

Value trim(Renderer& r, const Value& v, Arguments& given) {
    return r.heap.text(stripped(r.heap, r.printed(v), find_argument(given, 0, "chars"), true, true));
}

Value replace(Renderer& r, const Value& v, Arguments& given) {
    const Value *from = find_argument(given, 0, "old"), *to = find_argument(given, 1, "new");
    if (!from || !to) r.fail("replace takes what to replace and what with");
    const int64_t most = whole(r, given, 2, "count", -1);
    return r.heap.text(replaced(r.heap, r.printed(v), r.printed(*from), r.printed(*to), most));
}

// Each word between spaces, hyphens and opening brackets.
Value title(Renderer& r, const Value& v, Arguments&) {
    const Text text = r.printed(v);
    Text out, word;
    auto end_word = [&] {
        out.append(capitalized(word));
        word = Text();
    };
    for (size_t at = 0; at < text.bytes.size();) {
        const size_t length = character_length(text.bytes, at);
        const bool between =
            is_space(text.bytes, at, length) || std::string_view("-({[<").find(text.bytes[at]) != std::string::npos;
        if (between) end_word();
        (between ? out : word).append(text, at, at + length);
        at += length;
    }
    end_word();
    return r.heap.text(std::move(out));
}

Value indent(Renderer& r, const Value& v, Arguments& given) {
    const Value* width = find_argument(given, 0, "width");
    Text space;
    if (width && width->is(Kind::text)) {
        space = *width->text;
    } else {
        const int64_t count = whole(r, given, 0, "width", 4);
        if (count > 10000) r.fail(Status::limit, "an indentation of more than 10000 spaces");
        space.append(std::string(size_t(std::max<int64_t>(count, 0)), ' '), false);
    }
    const bool first = flag(given, 1, "first"), blank = flag(given, 2, "blank");
    Text all = r.printed(v);
    all.append("\n", false);
    const std::vector<Text> lines = lines_of(all, false);
    Text out;
    if (first) out.append(space);
    for (size_t i = 0; i < lines.size(); ++i) {
        if (i) out.append("\n", false);
        if (i && (blank || !lines[i].bytes.empty())) out.append(space);
        r.heap.charge(space.bytes.size() + 1);
        out.append(lines[i]);
    }
    return r.heap.text(std::move(out));
}

Value escape(Renderer& r, const Value& v, Arguments&) {
    static constexpr std::pair<char, std::string_view> known[] = {
        {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&#34;"}, {'\'', "&#39;"}};
    const Text text = r.printed(v);
    Text out;
    for (size_t at = 0; at < text.bytes.size(); ++at) {
        const auto* found =
            std::find_if(std::begin(known), std::end(known), [&](const auto& k) { return k.first == text.bytes[at]; });
        if (found == std::end(known))
            out.append(text, at, at + 1);
        else
            out.append(found->second, text.from_input(at));
    }
    return r.heap.text(std::move(out));
}

// As Hugging Face defines it: json.dumps without ASCII escapes.
Value tojson(Renderer& r, const Value& v, Arguments& given) {
    JsonStyle style;
    style.ascii = flag(given, 0, "ensure_ascii");
    style.sort = flag(given, 3, "sort_keys");
    const Value *indent = find_argument(given, 1, "indent"), *separators = find_argument(given, 2, "separators");
    if (indent && !indent->is(Kind::none))
        style.indent = int(std::clamp<int64_t>(whole(r, given, 1, "indent", 0), 0, 101));
    if (style.indent > 100) r.fail(Status::limit, "an indentation of more than 100 spaces");
    style.item_separator.append(style.indent < 0 ? ", " : ",", false);
    style.key_separator.append(": ", false);
    if (separators && !separators->is(Kind::none)) {
        const std::vector<Value> two = r.items(*separators);
        if (two.size() != 2) r.fail("separators are two texts");
        style.item_separator = r.printed(two[0]), style.key_separator = r.printed(two[1]);
    }
    Text out;
    const char* wrong = nullptr;
    if (!print_json(r.heap, v, style, out, wrong)) r.fail("Object of type %s is not JSON serializable", wrong);
    return r.heap.text(std::move(out));
}

Value items(Renderer& r, const Value& v, Arguments& given) {
    if (v.undefined()) return r.heap.list({});
    if (!v.is(Kind::dict)) r.fail("Can only get item pairs from a mapping.");
    return find_method(Kind::dict, "items")(r, v, given);
}

Value format(Renderer& r, const Value& v, Arguments& given) {
    return r.heap.text(r.percent_format(r.printed(v), given.values));
}

Value attr(Renderer& r, const Value& v, Arguments& given) {
    const Value* name = find_argument(given, 0, "name");
    if (!name || !name->is(Kind::text)) r.fail("attr takes a name");
    return v.is(Kind::dict) && !find_method(v.kind, name->string()) ? Value{} : r.attribute(v, name->string());
}

struct Named {
    std::string_view name;
    Filter filter;
};
constexpr Named filters[] = {
    {"abs", absolute},
    {"attr", attr},
    {"capitalize", [](Renderer& r, const Value& v, Arguments&) { return r.heap.text(capitalized(r.printed(v))); }},
    {"count", length},
    {"d", default_value},
    {"default", default_value},
    {"dictsort", dictsort},
    {"e", escape},
    {"escape", escape},
    {"first", end<false>},
    {"float", to_real},
    {"format", format},
    {"indent", indent},
    {"int", to_integer},
    {"items", items},
    {"join", join},
    {"last", end<true>},
    {"length", length},
    {"list", [](Renderer& r, const Value& v, Arguments&) { return r.heap.list(r.items(v)); }},
    {"lower", [](Renderer& r, const Value& v, Arguments&) { return r.heap.text(cased(r.printed(v), Case::lower)); }},
    {"map", map},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", choose<false, false>},
    {"rejectattr", choose<true, false>},
    {"replace", replace},
    {"reverse", reverse},
    {"round", round_number},
    {"safe", [](Renderer& r, const Value& v, Arguments&) { return r.heap.text(r.printed(v)); }},
    {"select", choose<false, true>},
    {"selectattr", choose<true, true>},
    {"sort", sort},
    {"string", [](Renderer& r, const Value& v, Arguments&) { return r.heap.text(r.printed(v)); }},
    {"sum", sum},
    {"title", title},
    {"tojson", tojson},
    {"trim", trim},
    {"unique", unique},
    {"upper", [](Renderer& r, const Value& v, Arguments&) { return r.heap.text(cased(r.printed(v), Case::upper)); }},
};

}  // namespace

Value Renderer::filter(std::string_view name, const Value& value, Arguments& given) {
    heap.spend(value.string().size() / 64);
    for (const Named& f : filters)
        if (f.name == name) return f.filter(*this, value, given);
    fail(Status::unsupported, "the filter '%.*s' is not supported", int(std::min<size_t>(name.size(), 60)),
         name.data());
}

}  // namespace alia::jinja
