// What stands behind `is`.
#include "engine/template_render.h"

namespace alia::jinja {
namespace {

using Kind = Value::Kind;
using Test = bool (*)(Renderer&, const Value&, Arguments&);

const Value& other(Renderer& r, const Arguments& given) {
    if (given.values.empty()) r.fail("this test needs an argument");
    return given.values[0];
}

// Of whole numbers: the rest of a division, as Python has it.
int64_t rest(Renderer& r, const Value& v, int64_t by) {
    const Value result = r.arithmetic('%', v, integer(by));
    return result.whole() ? result.as_integer() : result.as_real() == 0 ? 0 : -1;
}

bool same(const Value& a, const Value& b) {
    if (a.kind != b.kind) return false;
    switch (a.kind) {
        case Kind::none:
            return true;
        case Kind::boolean:
            return a.boolean == b.boolean;
        case Kind::integer:
            return a.integer == b.integer;
        case Kind::real:
            return a.real == b.real;
        default:
            return a.text == b.text || (a.is(Kind::text) && a.string() == b.string());
    }
}

bool sized(const Value& v) {
    return v.undefined() || v.is(Kind::text) || v.sequence() || v.is(Kind::dict) || v.is(Kind::loop);
}

template <Case c>
bool is_case(Renderer& r, const Value& v, Arguments&) {
    const Text text = r.printed(v);
    const Text mine = cased(text, c), theirs = cased(text, c == Case::lower ? Case::upper : Case::lower);
    return mine.bytes == text.bytes && theirs.bytes != text.bytes;
}

struct Named {
    std::string_view name;
    Test test;
};
constexpr Named tests[] = {
    {"defined", [](Renderer&, const Value& v, Arguments&) { return !v.undefined(); }},
    {"undefined", [](Renderer&, const Value& v, Arguments&) { return v.undefined(); }},
    {"none", [](Renderer&, const Value& v, Arguments&) { return v.is(Kind::none); }},
    {"boolean", [](Renderer&, const Value& v, Arguments&) { return v.is(Kind::boolean); }},
    {"true", [](Renderer&, const Value& v, Arguments&) { return v.is(Kind::boolean) && v.boolean; }},
    {"false", [](Renderer&, const Value& v, Arguments&) { return v.is(Kind::boolean) && !v.boolean; }},
    {"integer", [](Renderer&, const Value& v, Arguments&) { return v.is(Kind::integer); }},
    {"float", [](Renderer&, const Value& v, Arguments&) { return v.is(Kind::real); }},
    {"number", [](Renderer&, const Value& v, Arguments&) { return v.number(); }},
    {"string", [](Renderer&, const Value& v, Arguments&) { return v.is(Kind::text); }},
    {"mapping", [](Renderer&, const Value& v, Arguments&) { return v.is(Kind::dict); }},
    {"sequence", [](Renderer&, const Value& v, Arguments&) { return sized(v) && !v.is(Kind::loop); }},
    {"iterable", [](Renderer&, const Value& v, Arguments&) { return sized(v); }},
    {"callable", [](Renderer&, const Value& v, Arguments&) { return v.is(Kind::callable); }},
    {"odd", [](Renderer& r, const Value& v, Arguments&) { return rest(r, v, 2) == 1; }},
    {"even", [](Renderer& r, const Value& v, Arguments&) { return rest(r, v, 2) == 0; }},
    {"divisibleby",
     [](Renderer& r, const Value& v, Arguments& given) {
         const Value result = r.arithmetic('%', v, other(r, given));
         return result.number() && result.as_real() == 0;
     }},
    {"sameas", [](Renderer& r, const Value& v, Arguments& given) { return same(v, other(r, given)); }},
    {"in", [](Renderer& r, const Value& v, Arguments& given) { return r.contains(other(r, given), v); }},
    {"lower", is_case<Case::lower>},
    {"upper", is_case<Case::upper>},
};

// Comparisons by name.
constexpr std::pair<std::string_view, char> comparisons[] = {
    {"eq", '='}, {"equalto", '='},  {"==", '='}, {"ne", '!'}, {"!=", '!'},
    {"lt", '<'}, {"lessthan", '<'}, {"<", '<'},  {"gt", '>'}, {"greaterthan", '>'},
    {">", '>'},  {"le", 'l'},       {"<=", 'l'}, {"ge", 'g'}, {">=", 'g'}};

}  // namespace

bool Renderer::test(std::string_view name, const Value& value, Arguments& given) {
    heap.spend(value.string().size() / 64);
    for (const Named& t : tests)
        if (t.name == name) return t.test(*this, value, given);
    for (const auto& [known, op] : comparisons) {
        if (known != name) continue;
        const Value& right = other(*this, given);
        switch (op) {
            case '=':
                return equal(heap, value, right);
            case '!':
                return !equal(heap, value, right);
            case '<':
                return less(value, right, "<");
            case '>':
                return less(right, value, ">");
            case 'l':
                return less(value, right, "<=") || equal(heap, value, right);
            default:
                return less(right, value, ">=") || equal(heap, value, right);
        }
    }
    fail(Status::unsupported, "the test '%.*s' is not supported", int(std::min<size_t>(name.size(), 60)), name.data());
}

}  // namespace alia::jinja
