// What Python's operators do with values: members, slices, arithmetic, order, iteration.
#include <algorithm>
#include <cmath>

#include "engine/template_render.h"

namespace alia::jinja {
namespace {

// Python says so of missing members.
std::string described(const Value& v) {
    return v.is(Value::Kind::none) ? "None" : std::string(type_name(v)) + " object";
}

Value loop_member(Renderer& r, const Value& v, std::string_view name) {
    const Loop& loop = *v.loop;
    const auto& items = loop.items->items;
    const int64_t index = int64_t(loop.index), length = int64_t(items.size());
    if (name == "index") return integer(index + 1);
    if (name == "index0") return integer(index);
    if (name == "revindex") return integer(length - index);
    if (name == "revindex0") return integer(length - index - 1);
    if (name == "first") return boolean(index == 0);
    if (name == "last") return boolean(index + 1 == length);
    if (name == "length") return integer(length);
    if (name == "depth") return integer(1);  // no loop here is recursive
    if (name == "depth0") return integer(0);
    if (name == "previtem" && index > 0) return items[size_t(index) - 1];
    if (name == "nextitem" && index + 1 < length) return items[size_t(index) + 1];
    if (name == "cycle")
        return r.heap.callable("cycle", [v](Renderer& at, Arguments& given) {
            if (given.values.empty()) at.fail("no items for cycling given");
            return given.values[v.loop->index % given.values.size()];
        });
    if (name == "changed")
        return r.heap.callable("changed", [v](Renderer& at, Arguments& given) {
            Loop& l = *v.loop;
            const bool same = l.changed_before && l.changed.size() == given.values.size() &&
                              std::equal(l.changed.begin(), l.changed.end(), given.values.begin(),
                                         [&](const Value& x, const Value& y) { return equal(at.heap, x, y); });
            l.changed_before = true;
            l.changed = given.values;
            return boolean(!same);
        });
    return {};
}

void check(Renderer& r, bool overflow) {
    if (overflow) r.fail(Status::limit, "an integer beyond 64 bits");
}

Value integers(Renderer& r, char op, int64_t a, int64_t b, bool input) {
    int64_t result = 0;
    if (op == '+' || op == '-' || op == '*') {
        check(r, op == '+'   ? __builtin_add_overflow(a, b, &result)
                 : op == '-' ? __builtin_sub_overflow(a, b, &result)
                             : __builtin_mul_overflow(a, b, &result));
        return integer(result, input);
    }
    if (op == 'p') {
        if (b < 0) return real(std::pow(double(a), double(b)), input);
        result = 1;
        for (int64_t i = 0; i < b && result != 0 && !(a == 1) && !(a == -1 && i > 1); ++i)
            check(r, __builtin_mul_overflow(result, a, &result));
        if (a == -1) result = b % 2 ? -1 : 1;
        return integer(result, input);
    }
    if (b == 0) r.fail(op == '/' ? "division by zero" : "integer division or modulo by zero");
    if (op == '/') return real(double(a) / double(b), input);
    if (b == -1) return op == 'f' ? integers(r, '-', 0, a, input) : integer(0, input);
    const bool down = a % b != 0 && (a < 0) != (b < 0);
    return integer(op == 'f' ? a / b - down : a % b + (down ? b : 0), input);
}

Value reals(Renderer& r, char op, double a, double b, bool input) {
    switch (op) {
        case '+':
            return real(a + b, input);
        case '-':
            return real(a - b, input);
        case '*':
            return real(a * b, input);
        case 'p':
            return real(std::pow(a, b), input);
        default:
            break;
    }
    if (b == 0)
        r.fail(op == '/' ? "float division by zero" : op == 'f' ? "float floor division by zero" : "float modulo");
    if (op == '/') return real(a / b, input);
    double rest = std::fmod(a, b);
    if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
    return real(op == '%' ? rest : std::floor((a - rest) / b + 0.5), input);
}

// `text * n` and `list * n`.
Value repeated(Renderer& r, const Value& v, int64_t times) {
    const uint64_t size = v.is(Value::Kind::text) ? v.text->bytes.size() : v.list->items.size() * sizeof(Value);
    uint64_t total = 0;
    if (times < 0 || size == 0) times = 0;
    if (__builtin_mul_overflow(size, uint64_t(times), &total)) total = UINT64_MAX;
    r.heap.charge(total);
    if (v.is(Value::Kind::text)) {
        Text text;
        for (int64_t i = 0; i < times; ++i) text.append(*v.text);
        return r.heap.text(std::move(text));
    }
    std::vector<Value> items;
    for (int64_t i = 0; i < times; ++i) items.insert(items.end(), v.list->items.begin(), v.list->items.end());
    return r.heap.list(std::move(items), v.kind);
}

const char* sign(char op) {
    switch (op) {
        case '+':
            return "+";
        case '-':
            return "-";
        case '*':
            return "*";
        case '/':
            return "/";
        case 'f':
            return "//";
        case '%':
            return "%";
        default:
            return "** or pow()";
    }
}

// First, end and step of a slice over `length` elements, as Python clamps them.
struct Steps {
    int64_t first, last, step;
};
Steps steps_of(Renderer& r, const Value& first, const Value& last, const Value& step, int64_t length) {
    for (const Value* v : {&first, &last, &step})
        if (!v->whole() && !v->is(Value::Kind::none))
            r.fail("slice indices must be integers or None or have an __index__ method");
    const int64_t by = step.is(Value::Kind::none) ? 1 : step.as_integer();
    if (by == 0) r.fail("slice step cannot be zero");
    const int64_t low = by > 0 ? 0 : -1, high = by > 0 ? length : length - 1;
    auto bound = [&](const Value& v, int64_t otherwise) {
        if (v.is(Value::Kind::none)) return otherwise;
        const int64_t i = v.as_integer();
        return std::clamp(i < 0 ? std::max(i, -length - 1) + length : i, low, high);
    };
    return {bound(first, by > 0 ? low : high), bound(last, by > 0 ? high : low), by};
}

// Calls f with each index of the slice.
template <class F>
void each_index(const Steps& s, F&& f) {
    for (__int128 i = s.first; s.step > 0 ? i < s.last : i > s.last; i += s.step) f(size_t(i));
}

}  // namespace

Value Renderer::attribute(const Value& object, std::string_view name) {
    if (object.undefined()) fail_undefined(object);
    if (const Method method = find_method(object.kind, name))
        return heap.callable(std::string(name), [object, method](Renderer& r, Arguments& given) {
            r.heap.spend(object.string().size() / 64);
            return method(r, object, given);
        });
    if (object.is(Value::Kind::dict) || object.is(Value::Kind::space)) {
        const Dict& dict = object.is(Value::Kind::dict) ? *object.dict : object.space->values;
        heap.spend(dict.items.size() / 8);
        if (const Value* found = dict.find(name)) return *found;
    }
    if (object.is(Value::Kind::loop))
        if (const Value member = loop_member(*this, object, name); !member.undefined()) return member;
    return undefined("'" + described(object) + "' has no attribute '" + std::string(name.substr(0, 100)) + "'");
}

Value Renderer::item(const Value& object, const Value& index) {
    if (object.undefined()) fail_undefined(object);
    if (object.is(Value::Kind::dict)) {
        for (const auto& [key, value] : object.dict->items)
            if (equal(heap, key, index)) return value;
    } else if (index.whole() && (object.sequence() || object.is(Value::Kind::text))) {
        const bool text = object.is(Value::Kind::text);
        const std::vector<size_t> starts = text ? character_starts(object.string()) : std::vector<size_t>();
        if (text) heap.charge(object.string().size());
        const int64_t length = int64_t(text ? starts.size() - 1 : object.list->items.size());
        const int64_t i = index.as_integer() < 0 ? index.as_integer() + length : index.as_integer();
        if (i >= 0 && i < length) {
            if (!text) return object.list->items[size_t(i)];
            Text character;
            character.append(*object.text, starts[size_t(i)], starts[size_t(i) + 1]);
            return heap.text(std::move(character));
        }
        return undefined(described(object) + " has no element " + std::to_string(index.as_integer()));
    }
    if (index.is(Value::Kind::text)) return attribute(object, index.string());
    return undefined(described(object) + " has no such element");
}

Value Renderer::slice(const Value& object, const Value& first, const Value& last, const Value& step) {
    if (object.undefined()) fail_undefined(object);
    if (object.sequence()) {
        std::vector<Value> kept;
        const auto& all = object.list->items;
        each_index(steps_of(*this, first, last, step, int64_t(all.size())), [&](size_t i) { kept.push_back(all[i]); });
        return heap.list(std::move(kept), object.kind);
    }
    if (!object.is(Value::Kind::text)) fail("'%s' object is not subscriptable", type_name(object));
    heap.charge(object.string().size());
    const std::vector<size_t> starts = character_starts(object.string());
    const Steps steps = steps_of(*this, first, last, step, int64_t(starts.size()) - 1);
    Text text;
    if (steps.step == 1) {
        if (steps.first < steps.last)
            text.append(*object.text, starts[size_t(steps.first)], starts[size_t(steps.last)]);
    } else {
        each_index(steps, [&](size_t i) { text.append(*object.text, starts[i], starts[i + 1]); });
    }
    return heap.text(std::move(text));
}

Value Renderer::arithmetic(char op, const Value& a, const Value& b) {
    using Kind = Value::Kind;
    if (a.undefined()) fail_undefined(a);
    if (op == '%' && a.is(Kind::text)) {
        if (b.is(Kind::tuple)) return heap.text(percent_format(*a.text, b.list->items));
        return heap.text(percent_format(*a.text, {b}));
    }
    if (b.undefined()) fail_undefined(b);
    const bool input = a.input || b.input;
    if (a.whole() && b.whole()) return integers(*this, op, a.as_integer(), b.as_integer(), input);
    if (a.number() && b.number()) return reals(*this, op, a.as_real(), b.as_real(), input);
    if (op == '*' && b.whole() && (a.is(Kind::text) || a.sequence())) return repeated(*this, a, b.as_integer());
    if (op == '*' && a.whole() && (b.is(Kind::text) || b.sequence())) return repeated(*this, b, a.as_integer());
    if (op == '+' && a.is(Kind::text)) {
        if (!b.is(Kind::text)) fail("can only concatenate str (not \"%s\") to str", type_name(b));
        Text text = *a.text;
        text.append(*b.text);
        return heap.text(std::move(text));
    }
    if (op == '+' && a.sequence()) {
        if (a.kind != b.kind)
            fail("can only concatenate %s (not \"%s\") to %s", type_name(a), type_name(b), type_name(a));
        std::vector<Value> all = a.list->items;
        all.insert(all.end(), b.list->items.begin(), b.list->items.end());
        return heap.list(std::move(all), a.kind);
    }
    fail("unsupported operand type(s) for %s: '%s' and '%s'", sign(op), type_name(a), type_name(b));
}

bool Renderer::less(const Value& a, const Value& b, const char* sign) {
    heap.spend(1 + std::min(a.string().size(), b.string().size()) / 64);
    if (a.undefined() || b.undefined()) fail_undefined(a.undefined() ? a : b);
    if (a.whole() && b.whole()) return a.as_integer() < b.as_integer();
    if (a.number() && b.number()) return a.as_real() < b.as_real();
    if (a.is(Value::Kind::text) && b.is(Value::Kind::text)) return a.string() < b.string();
    if (a.sequence() && a.kind == b.kind) {
        const auto &x = a.list->items, &y = b.list->items;
        const size_t common = std::min(x.size(), y.size());
        for (size_t i = 0; i < common; ++i)
            if (!equal(heap, x[i], y[i])) return less(x[i], y[i], sign);
        return x.size() < y.size();
    }
    const bool swapped = sign[0] == '>';
    fail("'%s' not supported between instances of '%s' and '%s'", sign, type_name(swapped ? b : a),
         type_name(swapped ? a : b));
}

bool Renderer::contains(const Value& container, const Value& value) {
    if (container.is(Value::Kind::text)) {
        if (value.undefined()) fail_undefined(value);
        if (!value.is(Value::Kind::text))
            fail("'in <string>' requires string as left operand, not %s", type_name(value));
        return find_first(heap, container.string(), value.string()) != std::string_view::npos;
    }
    if (container.is(Value::Kind::dict)) {
        for (const auto& item : container.dict->items)
            if (equal(heap, item.first, value)) return true;
        return false;
    }
    if (container.undefined()) return false;
    if (!container.sequence()) fail("argument of type '%s' is not iterable", type_name(container));
    return std::any_of(container.list->items.begin(), container.list->items.end(),
                       [&](const Value& v) { return equal(heap, v, value); });
}

std::vector<Value> Renderer::items(const Value& v) {
    std::vector<Value> all;
    switch (v.kind) {
        case Value::Kind::undefined:
            return {};
        case Value::Kind::list:
        case Value::Kind::tuple:
            heap.charge(v.list->items.size() * sizeof(Value));
            return v.list->items;
        case Value::Kind::dict:
            heap.charge(v.dict->items.size() * sizeof(Value));
            for (const auto& item : v.dict->items) all.push_back(item.first);
            return all;
        case Value::Kind::text:
            for (size_t at = 0; at < v.string().size();) {
                const size_t length = character_length(v.string(), at);
                Text character;
                character.append(*v.text, at, at + length);
                all.push_back(heap.text(std::move(character)));
                at += length;
            }
            return all;
        default:
            fail("'%s' object is not iterable", type_name(v));
    }
}

}  // namespace alia::jinja
